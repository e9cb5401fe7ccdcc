//! Making a box, also one in a box.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

use pyo3::prelude::*;

use crate::boxes::handle::BoxHandle;
use crate::boxes::process::{Started, start};
use crate::channel::connection::Connection;
use crate::channel::failure::failure;
use crate::channel::sockets;
use crate::error::{Error, Result};
use crate::pidfd;
use crate::plan::plan::Plan;
use crate::plan::step::CallerAction;
use crate::poll::{SIGNAL_SLICE, repeat};
use crate::start::clone::{NewInit, clone_init};
use crate::start::handshake::Handshake;

/// Make a box by `plan`, and return when it waits for requests. `outer` is the box in which it is made.
#[pyfunction]
#[pyo3(signature = (plan, outer=None))]
pub fn open_box(py: Python<'_>, plan: Py<Plan>, outer: Option<&BoxHandle>) -> Result<BoxHandle> {
    let handle = plan;
    let plan = handle.get();
    let encoded = plan.to_bytes();
    let mut handshake = match outer {
        None => Handshake::new(plan, py.detach(|| clone_init(plan, &encoded))?),
        Some(outer) => nested(py, plan, &encoded, outer.connection(), outer.made_by())?,
    };
    let outer = outer.map(|outer| Arc::clone(outer.connection()));
    let mut checked = Instant::now();
    let ready = repeat(py, || {
        let ready = handshake.until_serving()?;
        if ready.is_none() && outer.is_some() && checked.elapsed() >= SIGNAL_SLICE {
            handshake.continue_if_stopped()?;
            checked = Instant::now();
        }
        Ok(ready)
    });
    match ready.and_then(|times| py.check_signals().map(|()| times).map_err(Error::from)) {
        Ok(times) => {
            let Handshake { pidfd, socket, pid, method, layer, .. } = handshake;
            let connection = Connection::new(pidfd, socket, pid, plan.init_is_pid_1(), outer);
            Ok(BoxHandle::new(connection, handle, times, method.name(), layer))
        }
        Err(error) => {
            py.detach(|| handshake.abandon());
            Err(error)
        }
    }
}

/// Have the nsbox-init of another box make this one.
fn nested<'a>(
    py: Python<'_>,
    plan: &'a Plan,
    encoded: &[u8],
    connection: &Arc<Connection>,
    outer: &Plan,
) -> Result<Handshake<'a>> {
    let (ours, theirs) = sockets::pair()?;
    let lifeline = pidfd::open(std::process::id() as i32)?;
    if !sockets::send(&ours, encoded, &plan.keep)? {
        sockets::send_in_file(&ours, encoded, &[], &plan.keep)?;
    }
    let token = connection.next_token();
    if let Some((step, _)) = plan.maps().find(|(_, action)| matches!(action, CallerAction::MapBy(..))) {
        // Only a member of the parent namespace may write a map. The program would run outside.
        return Err(failure(plan, step, libc::EPERM, String::new()));
    }
    let bytes = plan.nested_start(outer, token);
    let fds = [&theirs, &lifeline].map(AsRawFd::as_raw_fd);
    let Started { identity, pidfd, .. } = start(py, connection, plan, &bytes, &fds, token)?;
    let (pid, method) = (identity.pid, identity.method);
    let mut handshake = Handshake::new(plan, NewInit { pid, pidfd, socket: ours, method });
    handshake.with_programs = true;
    Ok(handshake)
}
