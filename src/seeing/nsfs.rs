//! The files of namespaces (ioctl_nsfs(2)), among files that other processes have opened or mounted.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use crate::kinds::KINDS;
use crate::seeing::lookup::open_in_root_of;
use crate::seeing::proc::dir::{Dir, Errno};
use crate::seeing::sockets;
use crate::thread::calls::own_pid_namespace;

/// The number of their file system (linux/magic.h).
const NSFS_MAGIC: i64 = 0x6e73_6673;
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// Open a namespace of a process in a proc: at a path below its directory there; below its root, if the path begins
/// with a slash; or that of a socket, as `socket/NUMBER`, for which `pid` is a PID of the caller's namespace.
///
/// # Errors
/// An errno; EINVAL for what is no namespace. Another file may have taken its place, even one whose open blocks, or
/// whose file system does not reply. So its type is checked first, without a question to its file system.
pub fn open_namespace(proc: &Dir, pid: i32, path: &[u8]) -> Result<OwnedFd, Errno> {
    let name = CString::new(path).map_err(|_| libc::EINVAL)?;
    if let Some(number) = path.strip_prefix(b"socket/") {
        let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
        return sockets::open_namespace_of(pid, number.ok_or(libc::EINVAL)?);
    }
    let place = if path.starts_with(b"/") {
        open_in_root_of(proc, pid, &name, libc::O_PATH, Some(NSFS_MAGIC))?
    } else {
        let process = CString::new(pid.to_string()).map_err(|_| libc::EINVAL)?;
        proc.enter(&process)?.open_at(&name, libc::O_PATH)?
    };
    open_again(&place)
}

/// Open a namespace for reading, of which there is a descriptor for its place only (O_PATH).
fn open_again(place: &OwnedFd) -> Result<OwnedFd, Errno> {
    if !is_namespace(place.as_raw_fd(), c"") {
        return Err(libc::EINVAL);
    }
    let again = CString::new(place.as_raw_fd().to_string()).map_err(|_| libc::EINVAL)?;
    Dir::open(c"/proc/thread-self/fd")?.open_at(&again, libc::O_RDONLY)
}

/// The kind's name and the inode number of the namespace to which a link in a directory of descriptors leads; nothing
/// if it leads to another file.
pub fn namespace_at(directory: &Dir, name: &CStr) -> Option<(&'static str, u64)> {
    if !is_namespace(directory.as_raw_fd(), name) {
        return None;
    }
    let namespace = open_again(&directory.open_at(name, libc::O_PATH).ok()?).ok()?;
    Some((kind(&namespace)?, crate::seeing::proc::dir::inode_of(&namespace).ok()?))
}

/// The kind's name of a namespace.
pub fn kind(namespace: &OwnedFd) -> Option<&'static str> {
    // SAFETY: takes no argument.
    let flag = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) };
    KINDS.iter().find(|kind| i64::from(flag) == kind.flag as i64).map(|kind| kind.name)
}

/// Whether a file is a namespace: it is on the same device as those of the caller.
fn is_namespace(directory: RawFd, name: &CStr) -> bool {
    static DEVICE: OnceLock<(u32, u32)> = OnceLock::new();
    let device = DEVICE.get().copied().or_else(|| {
        let found = device_of(own_pid_namespace().ok()?.as_raw_fd(), c"")?;
        Some(*DEVICE.get_or_init(|| found))
    });
    device.is_some() && device_of(directory, name) == device
}

/// The device of a file, as far as that is known without a question to its file system, which may be served by another
/// process that does not reply (statx(2), AT_STATX_DONT_SYNC; fuse(4)).
fn device_of(directory: RawFd, name: &CStr) -> Option<(u32, u32)> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC | libc::AT_NO_AUTOMOUNT;
    // SAFETY: plain numbers, for which zero is valid; writes the structure it is given.
    let status = unsafe {
        let mut status: libc::statx = std::mem::zeroed();
        (libc::statx(directory, name.as_ptr(), flags, 0, &raw mut status) == 0).then_some(status)
    }?;
    Some((status.stx_dev_major, status.stx_dev_minor))
}
