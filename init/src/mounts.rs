//! A new root, and what is mounted in it: by descriptors, so that a mount is on the file that a path was resolved to,
//! even if the path changes meanwhile.
//!
//! Between [`root`] and [`pivot`] the working directory is the new root, and the paths of sources still mean the old
//! one.

use core::mem::size_of;
use linux_raw_sys::general as k;
use nsbox_init::wire::{MountPart, Texts};
use syscalls::{Sysno, syscall};

use crate::sys::{self, Errno};

/// The error number, and the part that failed.
type Result<T> = core::result::Result<T, (Errno, i64)>;

const EMPTY: *const u8 = c"".as_ptr().cast();
const FSOPEN_CLOEXEC: usize = 1;
const FSMOUNT_CLOEXEC: usize = 1;

macro_rules! call {
    ($part:ident, $name:ident $(, $argument:expr)* $(,)?) => {
        // SAFETY: each caller below passes pointers to live memory of the size the kernel expects.
        unsafe { syscall!(Sysno::$name $(, $argument)*) }
            .map_err(|error| (error.into_raw(), MountPart::$part as i64))
    };
}

/// A descriptor that is closed when the value is dropped.
struct Fd(i32);

impl Drop for Fd {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

/// Make the directory at `path` a mount of its own, as a root has to be one (pivot_root(2)), and go there.
pub fn root(path: &[u8]) -> Result<()> {
    let directory = sys::open(path.as_ptr(), k::O_PATH | k::O_DIRECTORY)
        .map(Fd)
        .map_err(|errno| (errno, MountPart::Target as i64))?;
    let tree = copy(directory.0, EMPTY, k::AT_EMPTY_PATH | k::AT_RECURSIVE)?;
    attach(&tree, &directory)?;
    call!(Attach, fchdir, tree.0).map(drop)
}

/// Make the working directory the root, and unmount the old one: with both in the same place no directory is needed
/// to put the old one on, and the unmount finds it on top (pivot_root(2), NOTES).
pub fn pivot() -> Result<()> {
    let here = c".".as_ptr();
    call!(Attach, pivot_root, here, here)?;
    call!(Detach, umount2, here, k::MNT_DETACH)?;
    sys::chdir(c"/".as_ptr().cast()).map_err(|errno| (errno, MountPart::Attach as i64))
}

/// Mount what is at `source` on `target` too. Attributes are set before the mount is visible (mount_setattr(2)).
pub fn bind(source: &[u8], target: &[u8], inside: bool, recursive: bool, attributes: u64) -> Result<()> {
    let depth = if recursive { k::AT_RECURSIVE } else { 0 };
    let tree = copy(k::AT_FDCWD, source.as_ptr(), depth)?;
    let wanted = k::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = k::AT_EMPTY_PATH | depth;
    call!(Attributes, mount_setattr, tree.0, EMPTY, flags, &raw const wanted, size_of::<k::mount_attr>())?;
    attach(&tree, &resolve(target, inside)?)
}

/// Make a file system and mount it on `target`. The options are names and values in turn; no value makes it a flag.
pub fn mount(
    fstype: &[u8],
    options: &Texts<&'static [u8]>,
    attributes: u64,
    target: &[u8],
    inside: bool,
) -> Result<()> {
    let context = Fd(call!(FileSystem, fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC)? as i32);
    let mut texts = options.iter();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        let (command, value) = match value {
            [0] => (k::fsconfig_command::FSCONFIG_SET_FLAG, core::ptr::null()),
            _ => (k::fsconfig_command::FSCONFIG_SET_STRING, value.as_ptr()),
        };
        call!(Options, fsconfig, context.0, command as usize, name.as_ptr(), value, 0)?;
    }
    call!(FileSystem, fsconfig, context.0, k::fsconfig_command::FSCONFIG_CMD_CREATE as usize, 0, 0, 0)?;
    let made = Fd(call!(FileSystem, fsmount, context.0, FSMOUNT_CLOEXEC, attributes)? as i32);
    attach(&made, &resolve(target, inside)?)
}

/// A copy of the mounts at a path, mounted nowhere yet (open_tree(2)).
fn copy(directory: i32, path: *const u8, flags: u32) -> Result<Fd> {
    let flags = flags | k::OPEN_TREE_CLONE | k::OPEN_TREE_CLOEXEC;
    call!(Source, open_tree, directory, path, flags).map(|fd| Fd(fd as i32))
}

fn attach(made: &Fd, target: &Fd) -> Result<()> {
    let flags = k::MOVE_MOUNT_F_EMPTY_PATH | k::MOVE_MOUNT_T_EMPTY_PATH;
    call!(Attach, move_mount, made.0, EMPTY, target.0, EMPTY, flags).map(drop)
}

/// What `path` means to a process whose root is the working directory, or else our own root.
fn resolve(path: &[u8], inside: bool) -> Result<Fd> {
    let part = |errno| (errno, MountPart::Target as i64);
    let start = if inside { c"." } else { c"/" };
    let start = sys::open(start.as_ptr().cast(), k::O_PATH | k::O_DIRECTORY).map(Fd).map_err(part)?;
    sys::open_in_root(start.0, path, k::O_PATH).map(Fd).map_err(part)
}
