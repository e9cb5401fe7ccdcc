//! The handle of something that was started: wait, signal, kill.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::error::{Error, Result, last};
use crate::plan::Plan;
use crate::spawn::receive;
use nsbox_init::vfork::Method;
use nsbox_init::wire::{Report, ReportKind};

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
    exit: Mutex<Option<Exit>>,
}

impl Child {
    /// Wrap what was started.
    pub fn new(parts: Parts, plan: Py<Plan>) -> Self {
        Child { parts, plan, exit: Mutex::new(None) }
    }

    fn known_exit(&self) -> Option<Exit> {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// nsbox-init is dead: learn how the payload ended. One thread does it, the others find the answer.
    fn collect(&self) -> Exit {
        let mut known = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exit) = &*known {
            return exit.clone();
        }
        let status = reap(&self.parts.init_pidfd, false);
        let mut report = None;
        while let Ok(Some(message)) = receive(&self.parts.socket) {
            if message.kind == ReportKind::Exited {
                report = Some(message.report);
                break;
            }
        }
        let exit = report.map_or_else(|| self.exit_without_report(status), Exit::from_report);
        *known = Some(exit.clone());
        exit
    }

    /// nsbox-init was killed. As PID 1 it took everything along; otherwise the payload may still run, and must not.
    fn exit_without_report(&self, status: Option<Status>) -> Exit {
        if !self.parts.init_is_pid_1 {
            send_signal(&self.parts.pidfd, libc::SIGKILL);
            let _ = poll_readable([self.parts.pidfd.as_raw_fd()], None);
        }
        let signal = status.and_then(|status| status.signal).unwrap_or(libc::SIGKILL);
        Exit { returncode: -signal, rusage: None }
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
        if let Some(exit) = self.known_exit() {
            return Ok(Some(exit));
        }
        let deadline = timeout
            .map(|seconds| Instant::now() + Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX / 4));
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
        match pidfd_send_signal(&self.parts.pidfd, signal) {
            // Already over: as subprocess, nothing to do.
            Err(libc::ESRCH) | Ok(()) => Ok(()),
            Err(errno) => Err(Error::Os("pidfd_send_signal", errno)),
        }
    }

    /// SIGKILL to PID 1 of the new PID namespace, and so to everything in it; without one, to the payload, after
    /// which nsbox-init ends the rest.
    fn kill(&self) {
        if self.parts.init_is_pid_1 {
            send_signal(&self.parts.init_pidfd, libc::SIGKILL);
        } else {
            send_signal(&self.parts.pidfd, libc::SIGKILL);
            send_signal(&self.parts.init_pidfd, libc::SIGCONT);
        }
    }

    fn __repr__(&self) -> String {
        let Parts { pid, pid_inside, .. } = self.parts;
        match self.known_exit() {
            None => format!("<child: process {pid} ({pid_inside} inside) runs>"),
            Some(exit) => format!("<child: process {pid} ended with {}>", exit.returncode),
        }
    }
}

impl Exit {
    fn from_report(report: Report) -> Self {
        let status = report.value as i32;
        let signal = status & 0x7f;
        let returncode = if signal == 0 { status >> 8 & 0xff } else { -signal };
        let usage = report.rusage;
        let seconds = |at: usize| usage[at] as f64 + usage[at + 1] as f64 / 1e6;
        let mut counts = [0; 14];
        counts.copy_from_slice(&usage[4..]);
        Exit { returncode, rusage: Some((seconds(0), seconds(2), counts)) }
    }
}

/// How a direct child ended.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// Its exit status, if no signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// Reap the child behind `pidfd` (waitid(2), P_PIDFD). Nothing if it still runs and `block` is false, or if somebody
/// else has reaped it.
pub fn reap(pidfd: &OwnedFd, block: bool) -> Option<Status> {
    // SAFETY: plain numbers, for which zero is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: writes the structure it is given.
        let result = unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &raw mut info, options) };
        if result == 0 {
            break;
        }
        if std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return None;
        }
    }
    // SAFETY: waitid filled in these fields, or left them zero when nothing had ended.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    match (pid, info.si_code) {
        (0, _) => None,
        (_, libc::CLD_EXITED) => Some(Status { code: status, signal: None }),
        _ => Some(Status { code: 0, signal: Some(status) }),
    }
}

fn pidfd_send_signal(pidfd: &OwnedFd, signal: i32) -> std::result::Result<(), i32> {
    // SAFETY: plain numbers and a null pointer, which means "as kill(2)".
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) }
}

/// Send a signal to a process that may be gone already.
pub fn send_signal(pidfd: &OwnedFd, signal: i32) {
    let _ = pidfd_send_signal(pidfd, signal);
}

/// Which of `fds` have something to read, or have ended (ppoll(2)).
pub fn poll_readable<const N: usize>(fds: [RawFd; N], timeout: Option<Duration>) -> Result<[bool; N]> {
    let mut polled = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let limit = timeout.map(|rest| libc::timespec {
        tv_sec: rest.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: i64::from(rest.subsec_nanos()),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: an array of that length, and pointers that are null or live.
    if unsafe { libc::ppoll(polled.as_mut_ptr(), N as libc::nfds_t, limit, std::ptr::null()) } < 0 {
        return Err(last("ppoll"));
    }
    Ok(polled.map(|one| one.revents != 0))
}
