//! Descriptors that no program may inherit: all of a range, by close_range(2). Where that call is refused, as by a
//! seccomp filter, one after the other, from the list of the kernel (proc_pid_fd(5)).
//!
//! Only makes raw system calls, on its own stack: the child of a vfork uses it, too.

use linux_raw_sys::general as k;
use syscalls::{Errno, Sysno, syscall};

/// What happens to each descriptor.
#[derive(Clone, Copy)]
pub enum Action {
    /// It is closed now.
    Close,
    /// It is closed by the next exec.
    CloseOnExec,
}

/// CLOSE_RANGE_CLOEXEC (close_range(2)).
const CLOSE_RANGE_CLOEXEC: usize = 4;
/// PROC_SUPER_MAGIC (statfs(2)).
const PROC: i64 = 0x9fa0;
/// Offsets in struct linux_dirent64 (getdents64(2)): the length of the record, and the name.
const LENGTH: usize = 16;
const NAME: usize = 19;

/// Do it to all open descriptors from `first` to `last`.
///
/// # Errors
/// The error number of close_range(2), if there is no proc to list them either.
pub fn close_range(first: i32, last: i32, action: Action) -> Result<(), i32> {
    let flags = match action {
        Action::Close => 0,
        Action::CloseOnExec => CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: plain numbers.
    let refused = match unsafe { syscall!(Sysno::close_range, first, last, flags) } {
        Ok(_) => return Ok(()),
        Err(errno) => errno,
    };
    // SAFETY: a C string, and plain numbers.
    let list = unsafe {
        let flags = k::O_RDONLY | k::O_DIRECTORY | k::O_CLOEXEC;
        syscall!(Sysno::openat, k::AT_FDCWD, c"/proc/self/fd".as_ptr(), flags, 0)
    };
    let Ok(list) = list else { return Err(refused.into_raw()) };
    let done = each(list as i32, first, last, action);
    // SAFETY: plain numbers.
    let _ = unsafe { syscall!(Sysno::close, list) };
    done.map_err(|_| refused.into_raw())
}

/// The kernel finds the next entry by the number of the descriptor, so closing one skips none.
fn each(list: i32, first: i32, last: i32, action: Action) -> Result<(), Errno> {
    if !is_proc(list) {
        return Err(Errno::ENOENT);
    }
    let mut entries = [0_u64; 128];
    loop {
        // SAFETY: the buffer and its size.
        let length = unsafe { syscall!(Sysno::getdents64, list, entries.as_mut_ptr(), size_of_val(&entries)) }?;
        if length == 0 {
            return Ok(());
        }
        // SAFETY: plain numbers may be read as bytes.
        let bytes = unsafe { core::slice::from_raw_parts(entries.as_ptr().cast::<u8>(), size_of_val(&entries)) };
        let mut rest = bytes.get(..length).ok_or(Errno::EIO)?;
        while !rest.is_empty() {
            let size = rest.get(LENGTH..).and_then(<[u8]>::first_chunk).ok_or(Errno::EIO)?;
            let (entry, others) = rest.split_at_checked(u16::from_ne_bytes(*size).into()).ok_or(Errno::EIO)?;
            let fd = number(entry.get(NAME..).ok_or(Errno::EIO)?);
            if let Some(fd) = fd.filter(|fd| (first..=last).contains(fd) && *fd != list) {
                act(fd, action)?;
            }
            rest = others;
        }
    }
}

fn act(fd: i32, action: Action) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    unsafe {
        match action {
            // An error of close(2) says nothing about the descriptor, which is closed all the same.
            Action::Close => drop(syscall!(Sysno::close, fd)),
            Action::CloseOnExec => drop(syscall!(Sysno::fcntl, fd, k::F_SETFD, k::FD_CLOEXEC)?),
        }
    }
    Ok(())
}

/// Whether the file system of a descriptor is a proc. Other files may be mounted on /proc.
pub fn is_proc(list: i32) -> bool {
    // The type is the first word of struct statfs, which has 15.
    let mut found = [0_i64; 16];
    // SAFETY: room for the structure.
    unsafe { syscall!(Sysno::fstatfs, list, found.as_mut_ptr()) }.is_ok() && found[0] == PROC
}

/// The number at the beginning of a name; none for `.` and `..`.
fn number(name: &[u8]) -> Option<i32> {
    let end = name.iter().position(|byte| *byte == 0)?;
    core::str::from_utf8(name.get(..end)?).ok()?.parse().ok()
}
