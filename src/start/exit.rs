//! How a payload or a box ended.

use std::os::fd::OwnedFd;

use nsbox_init::wire::Usage;
use pyo3::prelude::*;

use crate::channel::failure::forbidden;
use crate::error::Result;
use crate::pidfd::{Status, send_signal};
use crate::plan::plan::Plan;
use crate::poll::{KILL_TIMEOUT, wait_bounded};
use crate::step_name::StepName;

/// How a payload or a box ended.
#[pyclass(frozen, get_all, module = "nsbox._core")]
#[derive(Debug, Clone)]
pub struct Exit {
    /// The exit status, or the negative number of the signal that ended it.
    pub returncode: i32,
    /// Resource usage as `resource.struct_rusage` takes it; None if nsbox-init could not report it.
    pub rusage: Option<(f64, f64, [i64; 14])>,
}

/// Refuse the exit of a program that was not executed: a filter kills a process for that, and SIGSYS has ended it. Only
/// a trial distinguishes that from a program that has got SIGSYS later.
pub fn check_executed(plan: &Plan, exit: Exit) -> Result<Exit> {
    let error = (exit.returncode == -libc::SIGSYS).then(|| forbidden(plan, |_, step| step.name == StepName::Exec));
    error.flatten().map_or(Ok(exit), Err)
}

impl Exit {
    /// Of a payload whose end was not reported, because nsbox-init was killed. That is most often the kill of PID 1,
    /// which ends everything in its namespace.
    pub fn without_report(status: Option<Status>, payload: Option<&OwnedFd>, init_is_pid_1: bool) -> Self {
        if let Some(payload) = payload
            && !init_is_pid_1
        {
            // nsbox-init could not end the payload. The kernel does that, unless the payload has changed its user; and
            // then the caller may not do it either.
            let _ = send_signal(payload, libc::SIGKILL);
            wait_bounded(payload, KILL_TIMEOUT);
        }
        // The exit status of nsbox-init is that of the payload in the form of a shell; if nsbox-init was killed, so was
        // the payload.
        let returncode = match status {
            Some(Status::Exited(code)) if code <= 128 => code,
            Some(Status::Exited(code)) => 128 - code,
            Some(Status::Killed(signal)) => -signal,
            None => -libc::SIGKILL,
        };
        Exit { returncode, rusage: None }
    }

    /// As nsbox-init has reported it: a wait status, and what was used.
    pub fn reported(status: i32, usage: &Usage) -> Self {
        let seconds = |at: usize| usage[at] as f64 + usage[at + 1] as f64 / 1e6;
        let mut counts = [0; 14];
        counts.copy_from_slice(&usage[4..]);
        let returncode = Status::from_wait_status(status).returncode();
        Exit { returncode, rusage: Some((seconds(0), seconds(2), counts)) }
    }
}
