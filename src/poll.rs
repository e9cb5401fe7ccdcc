//! Waiting until descriptors are readable (ppoll(2)).

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use crate::error::{Error, Result, last};

/// How often Python's signal handlers get a chance during a wait. A signal that arrives between the look at them and
/// the poll, or in another thread, does not interrupt the poll.
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

/// Wait until a process has ended, but not for ever; signals do not interrupt it.
pub fn wait_bounded(pidfd: &impl AsRawFd, limit: Duration) -> bool {
    let deadline = std::time::Instant::now() + limit;
    loop {
        let rest = deadline.saturating_duration_since(std::time::Instant::now());
        match poll_readable([pidfd.as_raw_fd()], Some(rest)) {
            Ok([true]) => return true,
            Ok([false]) if rest.is_zero() => return false,
            Ok([false]) | Err(Error::Os(_, libc::EINTR)) => {}
            Err(_) => return false,
        }
    }
}
