//! Signals.

use core::mem::size_of;
use syscalls::{Sysno, syscall};

use linux_raw_sys::general as k;

use super::errno::Result;

/// The kernel's sigset_t is 64 bits on every architecture nsbox runs on.
const SIGSET: usize = size_of::<u64>();

/// The kernel's `struct sigaction`: handler, flags, restorer, mask.
pub type Sigaction = [u64; 4];

/// SIG_DFL, no flags.
pub const DEFAULT: Sigaction = [0; 4];

/// Replace the disposition of `signal` and return the old one.
pub fn sigaction(signal: u32, new: &Sigaction) -> Sigaction {
    let mut old = DEFAULT;
    let _ = call!(rt_sigaction, signal, new.as_ptr(), old.as_mut_ptr(), SIGSET);
    old
}

pub fn set_signal_mask(mask: u64) {
    let _ = call!(rt_sigprocmask, k::SIG_SETMASK, &raw const mask, 0, SIGSET);
}

/// A descriptor from which every pending signal can be read (signalfd(2)).
pub fn signal_fd() -> Result<i32> {
    let all = u64::MAX;
    call!(signalfd4, -1_i32, &raw const all, SIGSET, k::O_NONBLOCK | k::O_CLOEXEC).map(|fd| fd as i32)
}

/// The next pending signal's number (struct signalfd_siginfo begins with it).
pub fn read_signal(fd: i32) -> Result<u32> {
    let mut info = [0_u32; 32];
    call!(read, fd, info.as_mut_ptr(), size_of::<[u32; 32]>())?;
    Ok(info[0])
}

/// `process` is a pidfd or a directory of /proc.
pub fn signal_process(process: i32, signal: u32) -> Result<()> {
    call!(pidfd_send_signal, process, signal, 0, 0).map(drop)
}

/// For a child of ours that has not been reaped, or for all: no other process has its PID, and unlike
/// pidfd_send_signal(2), this call is in every filter of system calls.
pub fn try_kill(pid: i32, signal: u32) -> Result<()> {
    call!(kill, pid, signal).map(drop)
}

/// The same, where an error changes nothing.
pub fn kill(pid: i32, signal: u32) {
    let _ = try_kill(pid, signal);
}
