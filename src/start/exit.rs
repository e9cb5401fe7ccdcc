//! How something ended.

use std::os::fd::OwnedFd;

use nsbox_init::wire::Report;
use pyo3::prelude::*;

use crate::pidfd::{Status, send_signal};
use crate::poll::{KILL_TIMEOUT, wait_bounded};

/// How something ended.
#[pyclass(frozen, get_all, module = "nsbox._core")]
#[derive(Debug, Clone)]
pub struct Exit {
    /// The exit status, or the negative number of the signal that ended it.
    pub returncode: i32,
    /// Resource usage as `resource.struct_rusage` takes it; nothing if nsbox-init could not report it.
    pub rusage: Option<(f64, f64, [i64; 14])>,
}

impl Exit {
    /// nsbox-init was killed: by killing PID 1 of a namespace, most likely, and everything in it.
    pub fn without_report(status: Option<Status>, payload: Option<&OwnedFd>, init_is_pid_1: bool) -> Self {
        if let Some(payload) = payload
            && !init_is_pid_1
        {
            // It could not take the payload along. The kernel does that, unless the payload has changed its user; and
            // then we may not do it either.
            let _ = send_signal(payload, libc::SIGKILL);
            wait_bounded(payload, KILL_TIMEOUT);
        }
        // nsbox-init says by its own status what it could not report; killed, it is the payload that was killed.
        let returncode = match status {
            Some(Status::Exited(code)) if code <= 128 => code,
            Some(Status::Exited(code)) => 128 - code,
            Some(Status::Killed(signal)) => -signal,
            None => -libc::SIGKILL,
        };
        Exit { returncode, rusage: None }
    }

    /// From the record nsbox-init sent.
    pub fn from_report(report: Report) -> Self {
        let usage = report.rusage;
        let seconds = |at: usize| usage[at] as f64 + usage[at + 1] as f64 / 1e6;
        let mut counts = [0; 14];
        counts.copy_from_slice(&usage[4..]);
        let returncode = Status::from_wait_status(report.value as i32).returncode();
        Exit { returncode, rusage: Some((seconds(0), seconds(2), counts)) }
    }
}
