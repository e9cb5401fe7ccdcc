//! Copies of mounts in which files have other owners (mount_setattr(2), MOUNT_ATTR_IDMAP). nsbox-init cannot make them
//! in a user namespace: it takes CAP_SYS_ADMIN over the file system.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pyo3::prelude::*;

use crate::error::{Result, last};

/// linux/mount.h
const OPEN_TREE_CLONE: libc::c_uint = 1;
const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
const AT_RECURSIVE: libc::c_uint = 0x8000;

/// Copy what is mounted at `path`, and return its descriptor: the owners of files there are what `user_namespace` maps
/// them to. No mount that is made in the copy appears elsewhere.
///
/// # Errors
/// OSError.
#[pyfunction]
pub fn idmapped_tree(path: PathBuf, recursive: bool, user_namespace: RawFd) -> Result<RawFd> {
    let depth = if recursive { AT_RECURSIVE } else { 0 };
    let path = [path.as_os_str().as_bytes(), b"\0"].concat();
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint | depth;
    // SAFETY: a C string.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    if tree < 0 {
        return Err(last("open_tree"));
    }
    // SAFETY: a new descriptor, which nothing else has.
    let tree = unsafe { OwnedFd::from_raw_fd(tree as RawFd) };
    // struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
    let attributes = [MOUNT_ATTR_IDMAP, 0, libc::MS_PRIVATE, user_namespace as u64];
    let raw = tree.into_raw_fd();
    let flags = libc::AT_EMPTY_PATH as libc::c_uint | depth;
    let size = size_of_val(&attributes);
    // SAFETY: an empty C string, and a live structure of that size.
    let set = unsafe { libc::syscall(libc::SYS_mount_setattr, raw, c"".as_ptr(), flags, attributes.as_ptr(), size) };
    if set != 0 {
        let error = last("mount_setattr");
        // SAFETY: the descriptor from above.
        unsafe { libc::close(raw) };
        return Err(error);
    }
    Ok(raw)
}
