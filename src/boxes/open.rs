//! Making a box, also one in a box.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, setsockopt, socketpair, sockopt};
use pyo3::prelude::*;

use crate::boxes::handle::BoxHandle;
use crate::boxes::process::begin;
use crate::channel::connection::Home;
use crate::descriptors::above_stdio;
use crate::error::{Error, Result, os};
use crate::pidfd;
use crate::plan::plan::Plan;
use crate::start::handshake::{Conversation, Ending};
use crate::start::spawn::{clone_init, converse};

/// Make a box by `plan`, and return when it waits for requests. `outer` is the box in which it is made.
#[pyfunction]
#[pyo3(signature = (plan, outer=None))]
pub fn open_box(py: Python<'_>, plan: Py<Plan>, outer: Option<&BoxHandle>) -> Result<BoxHandle> {
    let handle = plan;
    let plan = handle.get();
    let encoded = plan.to_bytes();
    let mut conversation = match outer {
        None => py.detach(|| clone_init(plan, &encoded))?,
        Some(outer) => nested(py, plan, &encoded, &outer.home, outer.plan.get())?,
    };
    let outer = outer.map(|outer| Arc::clone(&outer.home));
    let ready = converse(py, &mut conversation, Conversation::settle);
    match ready.and_then(|times| py.check_signals().map(|()| times).map_err(Error::from)) {
        Ok(times) => {
            let home = Home {
                pidfd: conversation.pidfd,
                socket: conversation.socket,
                init_pid: conversation.pid,
                init_is_pid_1: plan.init_is_pid_1(),
                requests: AtomicU32::new(0),
                events: Mutex::new(VecDeque::new()),
                outer,
            };
            let method = conversation.method.name();
            let (owner, exit) = (std::process::id(), Mutex::new(None));
            Ok(BoxHandle { home: Arc::new(home), plan: handle, owner, times, method, exit })
        }
        Err(error) => {
            py.detach(|| conversation.abandon());
            Err(error)
        }
    }
}

/// Have the nsbox-init of `home` start another one.
fn nested<'a>(
    py: Python<'_>,
    plan: &'a Plan,
    encoded: &[u8],
    home: &Arc<Home>,
    outer: &Plan,
) -> Result<Conversation<'a>> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(os("socketpair"))?;
    let ours = above_stdio(ours)?;
    setsockopt(&ours, sockopt::PassCred, &true).map_err(os("setsockopt(SO_PASSCRED)"))?;
    let lifeline = pidfd::open(std::process::id() as i32)?;
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    nix::sys::socket::send(ours.as_raw_fd(), encoded, flags).map_err(os("send(plan)"))?;
    let token = home.next_token();
    let bytes = plan.nested_start(outer, token);
    let fds = [&theirs, &lifeline].map(AsRawFd::as_raw_fd);
    let (parts, pidfd) = begin(py, home, plan, &bytes, &fds, token)?.0;
    Ok(Conversation {
        plan,
        pid: parts.pid,
        pidfd,
        socket: ours,
        method: parts.method,
        payload: None,
        member: None,
        maps: 0,
        maps_written: false,
        helper: None,
        outer: Some((Arc::clone(home), parts.pid_inside as u32)),
        times: Vec::new(),
        ending: Ending::Ahead,
    })
}
