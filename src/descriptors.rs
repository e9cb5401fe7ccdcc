//! Descriptors of this process.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::error::{Result, last};

/// The type of the file system of every proc (linux/magic.h).
#[allow(clippy::unnecessary_cast, reason = "C libraries differ in the type of these numbers")]
pub const PROC: i64 = libc::PROC_SUPER_MAGIC as i64;
/// The type of the file system of every mqueue (linux/magic.h).
pub const MQUEUE: i64 = 0x1980_0202;

/// What a descriptor is of.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The type of its file system (fstatfs(2)).
    pub file_system: i64,
    /// The type of the file, and its permissions (inode(7)).
    pub mode: libc::mode_t,
}

/// Find out what a descriptor is of.
///
/// # Errors
/// An errno.
#[allow(clippy::unnecessary_cast, reason = "C libraries differ in the type of these numbers")]
pub fn found(fd: &OwnedFd) -> std::result::Result<Found, i32> {
    // SAFETY: plain numbers, for which zero is valid.
    let (mut system, mut file): (libc::statfs, libc::stat) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both calls write the structure that they are given.
    let failed = unsafe {
        libc::fstatfs(fd.as_raw_fd(), &raw mut system) != 0 || libc::fstat(fd.as_raw_fd(), &raw mut file) != 0
    };
    if failed {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO));
    }
    Ok(Found { file_system: system.f_type as i64, mode: file.st_mode })
}

/// Whether a descriptor is of a proc.
///
/// # Errors
/// An errno.
pub fn is_proc(fd: &OwnedFd) -> std::result::Result<bool, i32> {
    found(fd).map(|found| found.file_system == PROC)
}

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
