//! Mounts (mount(2), fsopen(2)).

use super::errno::Result;
use super::files::close;
use linux_raw_sys::general as k;
pub use nsbox_init::close_range::is_proc;
use syscalls::{Sysno, syscall};

/// `None` is a NULL pointer.
pub fn mount(source: Option<&[u8]>, target: &[u8], fstype: Option<&[u8]>, flags: u64) -> Result<()> {
    let pointer = |text: Option<&[u8]>| text.map_or(core::ptr::null(), <[u8]>::as_ptr);
    call!(mount, pointer(source), target.as_ptr(), pointer(fstype), flags, 0).map(drop)
}

pub fn unmount(target: &[u8], flags: u32) -> Result<()> {
    call!(umount2, target.as_ptr(), flags).map(drop)
}

/// Copy the mount of which `root` is the root, and mount the copy on `place` (open_tree(2), move_mount(2)).
pub fn mount_copy(root: i32, place: &core::ffi::CStr) -> Result<i32> {
    let (nothing, empty) = (c"".as_ptr(), k::AT_EMPTY_PATH);
    let flags = k::OPEN_TREE_CLONE | k::OPEN_TREE_CLOEXEC | empty | k::AT_RECURSIVE;
    let copy = call!(open_tree, root, nothing, flags)? as i32;
    call!(move_mount, copy, nothing, k::AT_FDCWD, place.as_ptr(), k::MOVE_MOUNT_F_EMPTY_PATH).map(|_| copy)
}

/// A proc for our PID namespace that is mounted nowhere.
pub fn detached_proc() -> Result<i32> {
    detached(c"proc".to_bytes_with_nul(), None)
}

/// A file system of this type that is mounted nowhere (fsopen(2), fsmount(2)): for our namespaces, or a proc for the
/// PID namespace behind a descriptor (Linux 6.17).
pub fn detached(fstype: &[u8], pid_namespace: Option<i32>) -> Result<i32> {
    const FSOPEN_CLOEXEC: usize = 1;
    const FSCONFIG_SET_FD: usize = 5;
    const FSCONFIG_CMD_CREATE: usize = 6;
    const FSMOUNT_CLOEXEC: usize = 1;
    let context = call!(fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC)? as i32;
    let set = match pid_namespace {
        Some(namespace) => call!(fsconfig, context, FSCONFIG_SET_FD, c"pidns".as_ptr(), 0, namespace),
        None => Ok(0),
    };
    let made = set.and_then(|_| call!(fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0));
    let mount = made.and_then(|_| call!(fsmount, context, FSMOUNT_CLOEXEC, 0));
    close(context);
    mount.map(|fd| fd as i32)
}
