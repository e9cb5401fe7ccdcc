//! Mounts that the caller copies by itself, as changing the ids of their files takes rights over the file system.

use std::ffi::CString;
use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::error::{Error, Result, last};

/// `struct mount_attr` (mount_setattr(2)).
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
const OPEN_TREE_CLONE: libc::c_uint = 1;

/// Copy the mounts at `path`, so that an id of a file is what a process in the user namespace with that id has: a file
/// of root outside belongs to root there. Returns a descriptor, which belongs to the caller.
#[pyfunction]
pub fn idmapped_tree(path: PyBackedBytes, user_namespace: RawFd) -> Result<RawFd> {
    let path = CString::new(&path[..]).map_err(|_| Error::Spec("source: embedded null byte".into()))?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint | libc::AT_RECURSIVE as libc::c_uint;
    // SAFETY: a C string, and plain numbers.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) } as RawFd;
    if tree < 0 {
        return Err(last("open_tree"));
    }
    let wanted =
        MountAttributes { set: MOUNT_ATTR_IDMAP, clear: 0, propagation: 0, user_namespace: user_namespace as u64 };
    let (empty, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH | libc::AT_RECURSIVE);
    // SAFETY: the kernel reads a structure of the size that is passed.
    let set = unsafe {
        libc::syscall(libc::SYS_mount_setattr, tree, empty, flags, &raw const wanted, size_of::<MountAttributes>())
    };
    if set < 0 {
        let error = last("mount_setattr");
        // SAFETY: a descriptor that nothing else has.
        unsafe { libc::close(tree) };
        return Err(error);
    }
    Ok(tree)
}
