//! Waiting, and the time.

use linux_raw_sys::general as k;
use syscalls::{Sysno, syscall};

use super::errno::Result;

/// Returns the events of each descriptor; a negative descriptor is left out.
pub fn poll<const N: usize>(fds: [i32; N], milliseconds: Option<u32>) -> Result<[bool; N]> {
    let mut polled = fds.map(|fd| k::pollfd { fd, events: k::POLLIN as i16, revents: 0 });
    let timeout = k::__kernel_timespec {
        tv_sec: i64::from(milliseconds.unwrap_or(0) / 1000),
        tv_nsec: i64::from(milliseconds.unwrap_or(0) % 1000) * 1_000_000,
    };
    let timeout = if milliseconds.is_some() { &raw const timeout } else { core::ptr::null() };
    call!(ppoll, polled.as_mut_ptr(), N, timeout, 0, 0)?;
    Ok(polled.map(|one| one.revents != 0))
}

/// CLOCK_MONOTONIC, by a system call: there is no C library to find the vdso.
pub fn nanoseconds() -> u64 {
    let mut now = k::__kernel_timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = call!(clock_gettime, k::CLOCK_MONOTONIC, &raw mut now);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
