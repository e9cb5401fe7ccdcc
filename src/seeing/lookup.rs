//! Opening a path in the root of another process, which may serve the file system to which the path leads.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use syscalls::{Sysno, raw_syscall, syscall};

use crate::seeing::aside::{Work, aside};

/// What is opened.
struct Wanted {
    /// A proc, and the root of a process in it.
    proc: RawFd,
    root: CString,
    path: CString,
    how: libc::open_how,
    /// The number of its file system (statfs(2)).
    magic: Option<i64>,
}

/// In a proc, open `path` as its process `pid` finds it. Links on the way lead where they lead for that process
/// (openat2(2), RESOLVE_IN_ROOT), but no link of /proc that is no path leads anywhere. A file of another file system
/// than that with the number `magic` is refused (ENOENT).
///
/// # Errors
/// An errno; ETIMEDOUT if the file system does not reply.
pub fn open_in_root_of(
    proc: &impl AsRawFd,
    pid: i32,
    path: &CStr,
    flags: libc::c_int,
    magic: Option<i64>,
) -> Result<OwnedFd, i32> {
    // SAFETY: plain numbers, for which zero is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    let root = CString::new(format!("{pid}/root")).map_err(|_| libc::EINVAL)?;
    aside(Wanted { proc: proc.as_raw_fd(), root, path: path.to_owned(), how, magic })
}

impl Work for Wanted {
    fn uses(&self) -> Option<RawFd> {
        Some(self.proc)
    }

    unsafe fn carry_out(&self) -> i32 {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: C strings and structures of the right size.
        unsafe {
            let root = raw_syscall!(Sysno::openat, self.proc, self.root.as_ptr(), flags) as i32;
            if root < 0 {
                return root;
            }
            let (path, how) = (self.path.as_ptr(), &raw const self.how);
            let found = raw_syscall!(Sysno::openat2, root, path, how, size_of::<libc::open_how>()) as i32;
            raw_syscall!(Sysno::close, root);
            let Some(magic) = self.magic.filter(|_| found >= 0) else { return found };
            let mut status = [0_i64; 32];
            let asked = syscall!(Sysno::fstatfs, found, status.as_mut_ptr());
            if asked.is_err() || status[0] != magic {
                raw_syscall!(Sysno::close, found);
                return -libc::ENOENT;
            }
            found
        }
    }
}
