//! Descriptors of this process.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::error::{Result, last};

/// The same descriptor, or a duplicate if it has the number of a standard stream. A program that has closed a standard
/// stream may open it again, and would then close or write into a descriptor of ours with that number.
pub fn above_stdio(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // SAFETY: plain numbers.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(last("fcntl(F_DUPFD_CLOEXEC)"));
    }
    // SAFETY: a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
