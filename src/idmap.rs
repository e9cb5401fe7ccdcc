//! Copies of mounts in which files have other owners (mount_setattr(2), MOUNT_ATTR_IDMAP). nsbox-init cannot make them
//! in a user namespace: it takes CAP_SYS_ADMIN over the file system.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pyo3::prelude::*;

use crate::descriptors::Descriptor;
use crate::error::{Result, last};

/// linux/mount.h
const OPEN_TREE_CLONE: libc::c_uint = 1;
const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
const AT_RECURSIVE: libc::c_uint = 0x8000;

/// Copy what is mounted at `path`, and return its descriptor.
///
/// # Errors
/// OSError.
#[pyfunction]
pub fn copied_tree(path: PathBuf, recursive: bool) -> Result<Descriptor> {
    let depth = if recursive { AT_RECURSIVE } else { 0 };
    let path = [path.as_os_str().as_bytes(), b"\0"].concat();
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint | depth;
    // SAFETY: a C string.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    if tree < 0 {
        return Err(last("open_tree"));
    }
    // SAFETY: a new descriptor, which nothing else has.
    Ok(Descriptor::own(unsafe { OwnedFd::from_raw_fd(tree as RawFd) })?)
}

/// Change the owners of files in a copy that is mounted nowhere yet to what `user_namespace` maps them to. No mount that
/// is made in the copy appears elsewhere.
///
/// # Errors
/// OSError.
#[pyfunction]
pub fn idmap_tree(tree: RawFd, recursive: bool, user_namespace: RawFd) -> Result<()> {
    // struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
    let attributes = [MOUNT_ATTR_IDMAP, 0, libc::MS_PRIVATE, user_namespace as u64];
    let flags = libc::AT_EMPTY_PATH as libc::c_uint | if recursive { AT_RECURSIVE } else { 0 };
    let size = size_of_val(&attributes);
    // SAFETY: an empty C string, and a live structure of that size.
    let set = unsafe { libc::syscall(libc::SYS_mount_setattr, tree, c"".as_ptr(), flags, attributes.as_ptr(), size) };
    if set == 0 { Ok(()) } else { Err(last("mount_setattr")) }
}
