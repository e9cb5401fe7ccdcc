//! Processes by descriptor (pidfd_open(2)): open, signal, reap. The kernel may give a PID to another process; a pidfd
//! always refers to the same one.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::time::Duration;

use crate::error::{Error, Result, last};
use crate::owner::this_process;
use crate::poll::poll_readable;

/// A pidfd of a process.
pub fn open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(last("pidfd_open"));
    }
    // SAFETY: a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Send a signal (pidfd_send_signal(2)).
pub fn send_signal(pidfd: &OwnedFd, signal: i32) -> std::result::Result<(), i32> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: plain numbers and a null pointer, which means "as kill(2)".
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) }
}

/// The PID of the process in *this* /proc, which is not ours if /proc belongs to an outer PID namespace
/// (proc_pid_fdinfo(5)).
pub fn number_in_proc(pidfd: &impl AsFd) -> std::result::Result<i32, i32> {
    let path = format!("/proc/thread-self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
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

/// Reap a child (waitid(2), P_PIDFD). `None` if it still runs and `block` is false, or if it has been reaped elsewhere.
pub fn reap(pidfd: &OwnedFd, block: bool) -> Option<Status> {
    loop {
        match wait_once(pidfd, if block { 0 } else { libc::WNOHANG }) {
            Ok(status) => return status,
            Err(libc::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Whether children of this thread are in another PID namespace than the thread itself (unshare(2)). The first one would
/// be PID 1 there, and its end would be that of the namespace.
pub fn children_are_elsewhere() -> bool {
    let inode = |link: &str| std::fs::metadata(format!("/proc/thread-self/ns/{link}")).map(|status| status.ino()).ok();
    inode("pid").is_some_and(|own| inode("pid_for_children") != Some(own))
}

/// Children that were killed, and whose end was not waited for any longer, each with the process that is its parent.
static GIVEN_UP: Mutex<Vec<(u64, OwnedFd)>> = Mutex::new(Vec::new());

/// Keep a child that was killed and has not ended in time, as one that hangs in the kernel: [`reap_given_up`] reaps it
/// later. Without that it would stay a zombie until this process ends.
pub fn give_up(pidfd: &OwnedFd) {
    // In a child of os.fork a thread that does not exist there may hold the lock for ever.
    if let (Ok(mut given_up), Ok(pidfd)) = (GIVEN_UP.try_lock(), pidfd.try_clone()) {
        given_up.push((this_process(), pidfd));
    }
}

/// Reap the children that were given up and have ended since.
pub fn reap_given_up() {
    if let Ok(mut given_up) = GIVEN_UP.try_lock() {
        given_up.retain(|(owner, pidfd)| {
            let ended = || poll_readable([pidfd.as_raw_fd()], Some(Duration::ZERO)).is_ok_and(|[ended]| ended);
            let keep = *owner == this_process() && !ended();
            if !keep {
                reap(pidfd, false);
            }
            keep
        });
    }
}

/// How a child has ended; it is not reaped (waitid(2), WNOWAIT). `None` if it still runs, or has been reaped.
pub fn peek(pidfd: &OwnedFd) -> Option<Status> {
    wait_once(pidfd, libc::WNOHANG | libc::WNOWAIT).ok().flatten()
}

/// Wait for the end of a child and reap it. The status may be unknown if it is reaped elsewhere: by another thread, or
/// by the kernel where SIGCHLD is ignored.
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

/// Whether the process is stopped (SIGSTOP).
pub fn is_stopped(pidfd: &OwnedFd) -> bool {
    let Ok(pid) = number_in_proc(pidfd) else { return false };
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn wait_once(pidfd: &OwnedFd, options: libc::c_int) -> std::result::Result<Option<Status>, i32> {
    // SAFETY: plain numbers, for which zero is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | options;
    // SAFETY: writes the structure it is given.
    if unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &raw mut info, options) } != 0 {
        return match std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::ECHILD) {
            errno @ (libc::ECHILD | libc::EINTR) => Err(errno),
            // A filter may refuse this call and allow the older one (seccomp(2)).
            errno => wait_by_number(pidfd, options & libc::WNOHANG).ok_or(errno),
        };
    }
    // SAFETY: waitid filled in these fields, or left them zero when nothing had ended.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match (pid, info.si_code) {
        (0, _) => None,
        (_, libc::CLD_EXITED) => Some(Status::Exited(status)),
        _ => Some(Status::Killed(status)),
    })
}

/// The same by wait4(2): `None` if that fails too, as for a PID of an outer PID namespace, which is no child of ours.
fn wait_by_number(pidfd: &OwnedFd, options: libc::c_int) -> Option<Option<Status>> {
    let (pid, mut status) = (number_in_proc(pidfd).ok()?, 0);
    // SAFETY: writes the number it is given.
    match unsafe { libc::waitpid(pid, &raw mut status, options) } {
        0 => Some(None),
        found if found == pid => Some(Some(Status::from_wait_status(status))),
        _ => None,
    }
}

/// How a process ended that has been reaped elsewhere, which the kernel keeps for the pidfd (PIDFD_GET_INFO, Linux
/// 6.15). `None` if it does not.
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

    /// As in `subprocess`: a signal is a negative number.
    pub fn returncode(self) -> i32 {
        match self {
            Status::Exited(code) => code,
            Status::Killed(signal) => -signal,
        }
    }
}
