//! Starting a process in a box.

use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use nsbox_init::wire::ReportKind;
use pyo3::prelude::*;

use crate::channel::connection::Home;
use crate::error::{Error, Result};
use crate::plan::plan::Plan;
use crate::start::child::Parts;

/// Ask for a process, and return when it runs, with the socket on which its end will be told.
pub fn begin(
    py: Python<'_>,
    home: &Arc<Home>,
    plan: &Plan,
    bytes: &[u8],
    fds: &[RawFd],
    token: u32,
) -> Result<((Parts, OwnedFd), OwnedFd)> {
    let socket = py.detach(|| home.ask(bytes, fds))?;
    match await_start(py, home, plan, &socket) {
        Ok(started) => Ok((started, socket)),
        Err(error) => {
            py.detach(|| home.give_up(token, &socket, &error));
            Err(error)
        }
    }
}

fn await_start(py: Python<'_>, home: &Arc<Home>, plan: &Plan, socket: &OwnedFd) -> Result<(Parts, OwnedFd)> {
    let since = Instant::now();
    let mut sender = None;
    loop {
        let message = match py.detach(|| home.hear(socket, plan, since)) {
            Ok(Some(message)) => message,
            Ok(None) | Err(Error::Os("ppoll", libc::EINTR)) => {
                py.check_signals()?;
                continue;
            }
            Err(error) => return Err(error),
        };
        match message.kind {
            ReportKind::Forked => sender = Some(message.sender),
            ReportKind::Started => {
                let pid_inside = message.report.value as i32;
                let told = if home.init_is_pid_1 { message.sender } else { pid_inside };
                let pidfd = message.attached.ok_or(Error::Os("recvmsg(SCM_RIGHTS)", libc::EMFILE))?;
                let parts = Parts {
                    pid: sender.unwrap_or(told),
                    pid_inside,
                    init_pid: home.init_pid,
                    init_is_pid_1: home.init_is_pid_1,
                    method: nsbox_init::vfork::Method::Clone3,
                };
                py.check_signals()?;
                return Ok((parts, pidfd));
            }
            _ => {}
        }
    }
}
