//! Processes.

use core::ffi::CStr;
use syscalls::{Sysno, syscall};

use linux_raw_sys::general as k;
use linux_raw_sys::{ioctl, prctl};

use super::errno::{ECHILD, EIO, Errno, Result};

pub fn exit(status: i32) -> ! {
    loop {
        let _ = call!(exit_group, status);
    }
}

pub fn set_name(name: &CStr) {
    let _ = call!(prctl, prctl::PR_SET_NAME, name.as_ptr());
}

pub fn set_dumpable(dumpable: bool) -> Result<()> {
    call!(prctl, prctl::PR_SET_DUMPABLE, usize::from(dumpable), 0, 0, 0).map(drop)
}

/// Whether every process of our user may trace us (PR_GET_DUMPABLE(2const)).
pub fn is_dumpable() -> bool {
    call!(prctl, prctl::PR_GET_DUMPABLE, 0, 0, 0, 0) == Ok(1)
}

pub fn become_subreaper() -> Result<()> {
    call!(prctl, prctl::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0).map(drop)
}

/// SIGKILL when the parent's thread ends (PR_SET_PDEATHSIG(2const)): for children of nsbox-init, which has only one.
pub fn die_with_parent() -> Result<()> {
    call!(prctl, prctl::PR_SET_PDEATHSIG, k::SIGKILL, 0, 0, 0).map(drop)
}

/// Whether that is asked for.
pub fn follows_parent() -> bool {
    let mut signal = 0_i32;
    call!(prctl, prctl::PR_GET_PDEATHSIG, &raw mut signal, 0, 0, 0).is_ok() && signal != 0
}

/// SIGKILL for this process after that many seconds (timer_create(2)); also while it is stopped.
pub fn end_after(seconds: u32) -> Result<()> {
    // `struct sigevent` of the kernel: the value, the signal, how it is sent, and room for more.
    let (mut event, mut timer) = ([0_u32; 16], 0_i32);
    event[2] = k::SIGKILL;
    call!(timer_create, k::CLOCK_MONOTONIC, event.as_ptr(), &raw mut timer)?;
    let once = [0, 0, i64::from(seconds), 0];
    call!(timer_settime, timer, 0, once.as_ptr(), 0).map(drop)
}

pub fn chdir(path: *const u8) -> Result<()> {
    call!(chdir, path).map(drop)
}

pub fn fchdir(directory: i32) -> Result<()> {
    call!(fchdir, directory).map(drop)
}

pub fn chroot(path: *const u8) -> Result<()> {
    call!(chroot, path).map(drop)
}

/// Set the mask; return the one that was set before.
pub fn umask(mask: u32) -> Result<u32> {
    call!(umask, mask).map(|before| before as u32)
}

pub fn getpid() -> i32 {
    call!(getpid).unwrap_or(0) as i32
}

pub fn setsid() -> Result<()> {
    call!(setsid).map(drop)
}

pub fn setpgid(group: i32) -> Result<()> {
    call!(setpgid, 0, group).map(drop)
}

/// The soft and the hard limit of our own (prlimit(2)).
pub fn limit(resource: u32, limits: [u64; 2]) -> Result<()> {
    call!(prlimit64, 0, resource, limits.as_ptr(), 0).map(drop)
}

/// A child with a copy of our memory: its PID and a pidfd of it, or `None` in the child itself. clone(2) has all
/// CLONE_NEW* but CLONE_NEWTIME; its first three arguments are the same on every machine.
pub fn fork(flags: u64) -> Result<Option<(i32, i32)>> {
    let mut pidfd = -1_i32;
    let flags = flags | u64::from(k::CLONE_PIDFD) | u64::from(k::SIGCHLD);
    let pid = call!(clone, flags, 0, &raw mut pidfd, 0, 0)? as i32;
    Ok((pid != 0).then_some((pid, pidfd)))
}

/// Make standard input the controlling terminal of this session (ioctl_tty(2)).
pub fn take_terminal() -> Result<()> {
    call!(ioctl, 0, ioctl::TIOCSCTTY, 0).map(drop)
}

pub fn pidfd_open(pid: i32) -> Result<i32> {
    call!(pidfd_open, pid, 0).map(|fd| fd as i32)
}

/// The child that ended, its wait status and what it used: `Ok(None)` when none has ended yet. The signal for its end
/// comes once, so a call that is refused is repeated once.
pub fn wait(pid: i32, rusage: &mut [i64; 18], block: bool) -> Result<Option<(i32, i32)>> {
    let mut status = 0_i32;
    let options = if block { 0 } else { k::WNOHANG };
    let mut wait4 = || call!(wait4, pid, &raw mut status, options, rusage.as_mut_ptr());
    let pid = wait4().or_else(|errno| if errno == ECHILD { Err(errno) } else { wait4() })? as i32;
    Ok((pid != 0).then_some((pid, status)))
}

/// Whether a child has been stopped since the last call (waitid(2)).
pub fn has_stopped(pidfd: i32) -> bool {
    const P_PIDFD: usize = 3;
    /// The PID is the fourth word behind the padding of `siginfo_t`: zero if nothing has happened.
    const PID: usize = 4;
    let mut info = [0_u32; 32];
    let asked = call!(waitid, P_PIDFD, pidfd, info.as_mut_ptr(), k::WSTOPPED | k::WNOHANG, 0);
    asked.is_ok() && info[PID] != 0
}

/// Wait for the end of a child, and return the signal that ended it, or 0; it is not reaped (waitid(2), WNOWAIT).
pub fn end_of(pidfd: i32) -> i32 {
    const P_PIDFD: usize = 3;
    /// Words of `siginfo_t`, and the values of its code for a child that exited.
    const CODE: usize = 2;
    const STATUS: usize = 6;
    const EXITED: u32 = 1;
    let mut info = [0_u32; 32];
    let waited = call!(waitid, P_PIDFD, pidfd, info.as_mut_ptr(), k::WEXITED | k::WNOWAIT, 0);
    if waited.is_err() || info[CODE] == EXITED { 0 } else { info[STATUS] as i32 }
}

/// Whether a process is a child that has not been reaped (waitid(2), WNOWAIT).
pub fn is_child(pid: i32) -> bool {
    const P_PID: usize = 1;
    pid > 0 && call!(waitid, P_PID, pid, 0, k::WEXITED | k::WNOHANG | k::WNOWAIT, 0).is_ok()
}

/// Replace this process; returns only the reason why not.
pub fn execve(path: *const u8, argv: *const *const u8, envp: *const *const u8) -> Errno {
    match call!(execve, path, argv, envp) {
        Ok(_) => EIO,
        Err(errno) => errno,
    }
}
