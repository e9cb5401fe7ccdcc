//! Starting a process in a box.

use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use nsbox_init::vfork::Method;
use nsbox_init::wire::Report;
use pyo3::prelude::*;

use crate::channel::connection::Connection;
use crate::channel::report::Message;
use crate::error::{Error, Result};
use crate::plan::plan::Plan;
use crate::poll::repeat;
use crate::start::child::Identity;

/// A process that runs.
pub struct Started {
    /// What it is known by.
    pub identity: Identity,
    /// A pidfd of it.
    pub pidfd: OwnedFd,
    /// The socket on which its end will be reported.
    pub socket: OwnedFd,
}

/// Request a process, and return when it runs.
pub fn start(
    py: Python<'_>,
    connection: &Arc<Connection>,
    plan: &Plan,
    bytes: &[u8],
    fds: &[RawFd],
    token: u32,
) -> Result<Started> {
    let socket = py.detach(|| connection.send_request(bytes, fds))?;
    match await_start(py, connection, plan, &socket) {
        Ok((identity, pidfd)) => Ok(Started { identity, pidfd, socket }),
        Err(error) => {
            py.detach(|| connection.abort_request(token, &socket, &error));
            Err(error)
        }
    }
}

fn await_start(
    py: Python<'_>,
    connection: &Arc<Connection>,
    plan: &Plan,
    socket: &OwnedFd,
) -> Result<(Identity, OwnedFd)> {
    let since = Instant::now();
    let mut announced = None;
    let (pid_inside, sender, attached) = repeat(py, || {
        Ok(match connection.receive_reply(socket, plan, since)? {
            Some(Message { report: Report::Started { pid }, sender, attached }) => Some((pid, sender, attached)),
            Some(Message { report: Report::Forked { .. }, sender, .. }) => {
                announced = Some(sender);
                None
            }
            _ => None,
        })
    })?;
    let reported = if connection.init_is_pid_1 { sender } else { pid_inside };
    let pidfd = attached.ok_or(Error::Os("recvmsg(SCM_RIGHTS)", libc::EBADMSG))?;
    let identity = Identity {
        pid: announced.unwrap_or(reported),
        pid_inside,
        init_pid: connection.init_pid,
        init_is_pid_1: connection.init_is_pid_1,
        method: Method::Clone3,
    };
    py.check_signals()?;
    Ok((identity, pidfd))
}
