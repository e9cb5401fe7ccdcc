//! The handle of something that was started: wait, signal, kill.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::pidfd::{Status, poll_readable, reap, remembered, send_signal, wait_bounded};
use crate::plan::Plan;
use crate::report::receive;
use nsbox_init::vfork::Method;
use nsbox_init::wire::{Report, ReportKind};

/// How long a payload may take to die of SIGKILL when nsbox-init is dead already.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// How something ended.
#[pyclass(frozen, get_all, module = "nsbox._core")]
#[derive(Debug, Clone)]
pub struct Exit {
    /// The exit status, or the negative number of the signal that ended it.
    pub returncode: i32,
    /// Resource usage as `resource.struct_rusage` takes it; nothing if nsbox-init could not report it.
    pub rusage: Option<(f64, f64, [i64; 14])>,
}

/// What a [`Child`] is made of.
pub struct Parts {
    /// The payload's PID as the caller sees it.
    pub pid: i32,
    /// The payload's PID in its own namespace.
    pub pid_inside: i32,
    /// nsbox-init's PID as the caller sees it.
    pub init_pid: i32,
    /// A pidfd of the payload.
    pub pidfd: OwnedFd,
    /// A pidfd of nsbox-init.
    pub init_pidfd: OwnedFd,
    /// The connection to nsbox-init.
    pub socket: OwnedFd,
    /// Whether killing nsbox-init kills everything.
    pub init_is_pid_1: bool,
    /// The system call that made nsbox-init.
    pub method: Method,
}

/// A running payload with its nsbox-init.
#[pyclass(frozen, module = "nsbox._core")]
pub struct Child {
    parts: Parts,
    plan: Py<Plan>,
    /// The process that started it.
    owner: u32,
    exit: Mutex<Option<Exit>>,
}

impl Child {
    /// Wrap what was started.
    pub fn new(parts: Parts, plan: Py<Plan>) -> Self {
        Child { parts, plan, owner: std::process::id(), exit: Mutex::new(None) }
    }

    fn known_exit(&self) -> Option<Exit> {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// nsbox-init is dead: learn how the payload ended. One thread does it, the others find the answer.
    fn collect(&self) -> Exit {
        let status = {
            let mut known = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(exit) = &*known {
                return exit.clone();
            }
            let status = reap(&self.parts.init_pidfd, false).or_else(|| remembered(&self.parts.init_pidfd));
            while let Ok(Some(message)) = receive(&self.parts.socket) {
                if message.kind == ReportKind::Exited {
                    return known.insert(Exit::from_report(message.report)).clone();
                }
            }
            status
        };
        if !self.parts.init_is_pid_1 {
            // nsbox-init was killed, and could not take the payload along. The kernel does that, unless the payload has
            // changed its user; and then we may not do it either.
            let _ = send_signal(&self.parts.pidfd, libc::SIGKILL);
            wait_bounded(&self.parts.pidfd, LAST_WAIT);
        }
        // nsbox-init says by its own status what it could not report; killed, it is the payload that was killed.
        let returncode = match status {
            Some(Status::Exited(code)) if code <= 128 => code,
            Some(Status::Exited(code)) => 128 - code,
            Some(Status::Killed(signal)) => -signal,
            None => -libc::SIGKILL,
        };
        let mut known = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert(Exit { returncode, rusage: None }).clone()
    }

    /// In a child of os.fork the process is somebody else's: it can neither be waited for nor asked.
    fn check_owner(&self) -> Result<()> {
        if self.owner == std::process::id() { Ok(()) } else { Err(Error::Os("waitid", libc::ECHILD)) }
    }
}

impl Drop for Child {
    /// What nobody holds any more, nobody can end. This is also what catches a start that a handler of a signal
    /// interrupts just before its caller gets hold of it.
    fn drop(&mut self) {
        if self.check_owner().is_ok() && self.known_exit().is_none() {
            let _ = self.kill();
            if wait_bounded(&self.parts.init_pidfd, LAST_WAIT) {
                self.collect();
            }
        }
    }
}

#[pymethods]
impl Child {
    /// The payload's PID as the caller sees it.
    #[getter]
    fn pid(&self) -> i32 {
        self.parts.pid
    }

    /// The payload's PID in its own PID namespace.
    #[getter]
    fn pid_inside(&self) -> i32 {
        self.parts.pid_inside
    }

    /// The PID of nsbox-init as the caller sees it.
    #[getter]
    fn init_pid(&self) -> i32 {
        self.parts.init_pid
    }

    /// A pidfd of the payload. It belongs to this object.
    #[getter]
    fn pidfd(&self) -> RawFd {
        self.parts.pidfd.as_raw_fd()
    }

    /// A pidfd of nsbox-init, readable when everything is over. It belongs to this object.
    #[getter]
    fn init_pidfd(&self) -> RawFd {
        self.parts.init_pidfd.as_raw_fd()
    }

    /// The plan by which it was started.
    #[getter]
    fn plan(&self, py: Python<'_>) -> Py<Plan> {
        self.plan.clone_ref(py)
    }

    /// The system call that made it: `clone3`, or `clone` where clone3 is missing.
    #[getter]
    fn method(&self) -> &'static str {
        match self.parts.method {
            Method::Clone3 => "clone3",
            Method::Clone => "clone",
        }
    }

    /// Wait for the end of everything: with a new PID namespace, of every process in it. `timeout` is in seconds;
    /// nothing is returned when it passes first.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> Result<Option<Exit>> {
        self.check_owner()?;
        if let Some(exit) = self.known_exit() {
            return Ok(Some(exit));
        }
        // What is too long to be counted is for ever.
        let limit = timeout.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match py.detach(|| poll_readable([self.parts.init_pidfd.as_raw_fd()], rest)) {
                Ok([true]) => return Ok(Some(py.detach(|| self.collect()))),
                Ok([false]) if rest.is_some_and(|rest| rest.is_zero()) => return Ok(None),
                Ok([false]) => {}
                Err(Error::Os(_, libc::EINTR)) => py.check_signals()?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Send a signal to the payload, through its pidfd.
    fn send_signal(&self, signal: i32) -> Result<()> {
        gone_is_fine(send_signal(&self.parts.pidfd, signal))
    }

    /// SIGKILL to PID 1 of the new PID namespace, and so to everything in it; without one, to the payload, after
    /// which nsbox-init ends the rest.
    fn kill(&self) -> Result<()> {
        if self.parts.init_is_pid_1 {
            return gone_is_fine(send_signal(&self.parts.init_pidfd, libc::SIGKILL));
        }
        let result = gone_is_fine(send_signal(&self.parts.pidfd, libc::SIGKILL));
        // A stopped nsbox-init could not do its part.
        let _ = send_signal(&self.parts.init_pidfd, libc::SIGCONT);
        result
    }

    /// Whether this process has started it, and so may wait for it: not so in a child of os.fork.
    #[getter]
    fn is_own(&self) -> bool {
        self.check_owner().is_ok()
    }

    fn __repr__(&self) -> String {
        let Parts { pid, pid_inside, .. } = self.parts;
        match self.known_exit() {
            None => format!("<child: process {pid} ({pid_inside} inside) runs>"),
            Some(exit) => format!("<child: process {pid} ended with {}>", exit.returncode),
        }
    }
}

/// As in subprocess, there is nothing to do when it is over already (pidfd_send_signal(2), ESRCH).
fn gone_is_fine(result: std::result::Result<(), i32>) -> Result<()> {
    match result {
        Err(libc::ESRCH) | Ok(()) => Ok(()),
        Err(errno) => Err(Error::Os("pidfd_send_signal", errno)),
    }
}

impl Exit {
    fn from_report(report: Report) -> Self {
        let usage = report.rusage;
        let seconds = |at: usize| usage[at] as f64 + usage[at + 1] as f64 / 1e6;
        let mut counts = [0; 14];
        counts.copy_from_slice(&usage[4..]);
        let returncode = Status::from_wait_status(report.value as i32).returncode();
        Exit { returncode, rusage: Some((seconds(0), seconds(2), counts)) }
    }
}
