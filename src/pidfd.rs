//! Processes by descriptor (pidfd_open(2)): open, signal, poll, reap. A number can be another process's by now; these
//! cannot.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::error::{Error, Result, last};

/// A duplicate that is no standard stream. Descriptors that live on must not take the number of one that the program
/// has closed: it would lose them, or write into them, when it opens that stream again.
pub fn above_stdio(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { duplicate(fd.as_fd()) }
}

/// A duplicate (close-on-exec, and no standard stream).
pub fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: plain numbers.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(last("fcntl(F_DUPFD_CLOEXEC)"));
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// A pidfd of a process.
pub fn open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(last("pidfd_open"));
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Send a signal (pidfd_send_signal(2)).
pub fn send_signal(pidfd: &OwnedFd, signal: i32) -> std::result::Result<(), i32> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: plain numbers and a null pointer, which means "as kill(2)".
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) }
}

/// The number under which *this* /proc shows the process, which is another than ours when /proc belongs to an outer
/// PID namespace (proc_pid_fdinfo(5)).
pub fn number_in_proc(pidfd: &impl AsFd) -> std::result::Result<i32, i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|&pid: &i32| pid > 0).ok_or(libc::ESRCH)
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub enum Status {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// Reap a child (waitid(2), P_PIDFD). Nothing if it still runs and `block` is false, or if somebody else has reaped it.
pub fn reap(pidfd: &OwnedFd, block: bool) -> Option<Status> {
    loop {
        match wait_once(pidfd, if block { 0 } else { libc::WNOHANG }) {
            Ok(status) => return status,
            Err(libc::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Wait for the end of a child and reap it. When somebody else does that, as the kernel where SIGCHLD is ignored, the
/// status may be unknown.
///
/// # Errors
/// EINTR, when a signal came.
pub fn reap_interruptibly(pidfd: &OwnedFd) -> Result<Option<Status>> {
    match wait_once(pidfd, 0) {
        Ok(status) => Ok(status),
        Err(libc::EINTR) => Err(Error::Os("waitid", libc::EINTR)),
        Err(_) => poll_readable([pidfd.as_raw_fd()], None).map(|_| remembered(pidfd)),
    }
}

fn wait_once(pidfd: &OwnedFd, options: libc::c_int) -> std::result::Result<Option<Status>, i32> {
    // SAFETY: plain numbers, for which zero is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | options;
    // SAFETY: writes the structure it is given.
    if unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &raw mut info, options) } != 0 {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::ECHILD));
    }
    // SAFETY: waitid filled in these fields, or left them zero when nothing had ended.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match (pid, info.si_code) {
        (0, _) => None,
        (_, libc::CLD_EXITED) => Some(Status::Exited(status)),
        _ => Some(Status::Killed(status)),
    })
}

/// How a process ended that somebody else has reaped: the kernel remembers it for the pidfd (PIDFD_GET_INFO, Linux
/// 6.15). Nothing if it does not.
pub fn remembered(pidfd: &OwnedFd) -> Option<Status> {
    /// `struct pidfd_info` in its first size; the exit code is its last field.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        pid: [u32; 3],
        ids: [u32; 8],
        exit_code: i32,
    }
    const PIDFD_GET_INFO: libc::Ioctl = 0xc040_ff0b_u32 as libc::Ioctl;
    const PIDFD_INFO_EXIT: u64 = 8;
    let mut info = Info { mask: PIDFD_INFO_EXIT, ..Info::default() };
    // SAFETY: the request carries the size of the structure, which the kernel fills in.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    if result != 0 || info.mask & PIDFD_INFO_EXIT == 0 {
        return None;
    }
    Some(Status::from_wait_status(info.exit_code))
}

impl Status {
    /// From the number that wait(2) stores.
    pub fn from_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Status::Exited(status >> 8 & 0xff),
            signal => Status::Killed(signal),
        }
    }

    /// As `subprocess` says it: a signal is a negative number.
    pub fn returncode(self) -> i32 {
        match self {
            Status::Exited(code) => code,
            Status::Killed(signal) => -signal,
        }
    }
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
