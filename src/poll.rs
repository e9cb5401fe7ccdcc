//! Waiting until descriptors are readable (ppoll(2)).

use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::error::{Error, Result, last};

/// How long one wait may last before Python's signal handlers get a chance to run. A signal that arrives
/// between their last run and the poll, or in another thread, does not interrupt the poll.
pub const SIGNAL_SLICE: Duration = Duration::from_millis(100);

/// How long a process may take to end after SIGKILL. One that hangs in the kernel cannot be waited for.
pub const KILL_TIMEOUT: Duration = Duration::from_secs(5);

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

/// Wait until a process has ended, at most `limit`; signals do not interrupt it. False if it has not ended.
pub fn wait_bounded(pidfd: &impl AsRawFd, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        match poll_readable([pidfd.as_raw_fd()], Some(rest)) {
            Ok([true]) => return true,
            Ok([false]) if rest.is_zero() => return false,
            Ok([false]) | Err(Error::Os(_, libc::EINTR)) => {}
            Err(_) => return false,
        }
    }
}

/// Wait until `fd` is readable, or `over` returns true; false if `timeout`, in seconds, passes first. Python's signal
/// handlers run meanwhile.
pub fn wait(py: Python<'_>, fd: RawFd, timeout: Option<f64>, mut over: impl FnMut() -> bool + Send) -> Result<bool> {
    let deadline = deadline(timeout);
    loop {
        let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let slice = rest.map_or(SIGNAL_SLICE, |rest| rest.min(SIGNAL_SLICE));
        match py.detach(|| poll_readable([fd], Some(slice)).map(|[readable]| readable || over())) {
            Ok(true) => return Ok(true),
            Ok(_) if rest.is_some_and(|rest| rest.is_zero()) => return Ok(false),
            Ok(_) | Err(Error::Os(_, libc::EINTR)) => py.check_signals()?,
            Err(error) => return Err(error),
        }
    }
}

/// When a timeout in seconds ends; `None` without one, and for one that is too long to be counted.
fn deadline(timeout: Option<f64>) -> Option<Instant> {
    let limit = timeout.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
    limit.and_then(|limit| Instant::now().checked_add(limit))
}

/// Call `turn` until it returns something. Python's signal handlers run in between.
pub fn repeat<T: Send>(py: Python<'_>, mut turn: impl FnMut() -> Result<Option<T>> + Send) -> Result<T> {
    loop {
        match py.detach(&mut turn) {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) | Err(Error::Os(_, libc::EINTR)) => py.check_signals()?,
            Err(error) => return Err(error),
        }
    }
}
