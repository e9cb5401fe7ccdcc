//! Mounts (mount(2), fsopen(2)).

use super::errno::Result;
use super::files::close;
use syscalls::{Sysno, syscall};

/// Whether the file is one of procfs (fstatfs(2)).
pub fn is_proc(fd: i32) -> bool {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    let mut status = [0_i64; 32];
    call!(fstatfs, fd, status.as_mut_ptr()).is_ok() && status[0] == PROC_SUPER_MAGIC
}

/// `None` is a NULL pointer.
pub fn mount(source: Option<&[u8]>, target: &[u8], fstype: Option<&[u8]>, flags: u64) -> Result<()> {
    let pointer = |text: Option<&[u8]>| text.map_or(core::ptr::null(), <[u8]>::as_ptr);
    call!(mount, pointer(source), target.as_ptr(), pointer(fstype), flags, 0).map(drop)
}

pub fn unmount(target: &[u8], flags: u32) -> Result<()> {
    call!(umount2, target.as_ptr(), flags).map(drop)
}

/// A proc for our PID namespace that is mounted nowhere.
pub fn detached_proc() -> Result<i32> {
    detached(c"proc".to_bytes_with_nul())
}

/// A file system of this type, for our namespaces, that is mounted nowhere (fsopen(2), fsmount(2)).
pub fn detached(fstype: &[u8]) -> Result<i32> {
    const FSOPEN_CLOEXEC: usize = 1;
    const FSCONFIG_CMD_CREATE: usize = 6;
    const FSMOUNT_CLOEXEC: usize = 1;
    let context = call!(fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC)? as i32;
    let made = call!(fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
    let mount = made.and_then(|_| call!(fsmount, context, FSMOUNT_CLOEXEC, 0));
    close(context);
    mount.map(|fd| fd as i32)
}
