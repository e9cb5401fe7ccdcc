//! A new root, and what is mounted in it: by descriptors, so that a mount is on the file that a path was resolved to,
//! even if the path changes meanwhile.
//!
//! What has a source is copied or made first ([`copy_tree`], `layers.rs`), before anything is mounted, and kept in
//! [`Mounting`] until it is mounted: so a source is never looked up in one of the new mounts, and their order does not
//! matter. Between [`root`] and [`pivot`] the working directory is the new root.

use core::mem::size_of;
use linux_raw_sys::general as k;
use nsbox_init::wire::{MAX_KEPT, MountPart, Texts};
use syscalls::{Sysno, syscall};

use crate::sys;
use crate::targets::{Fd, Made, Result, call, find};

const EMPTY: *const u8 = c"".as_ptr().cast();
const TMPFS: &[u8] = c"tmpfs".to_bytes_with_nul();
const FSOPEN_CLOEXEC: usize = 1;
const FSMOUNT_CLOEXEC: usize = 1;

/// What one plan keeps from one of its operations to the next.
pub struct Mounting {
    /// Copies of mounts that are not mounted yet.
    pub trees: Kept,
    /// Overlays that are not mounted yet.
    pub overlays: Kept,
    /// The file systems that were made.
    pub made: Made,
}

impl Mounting {
    /// Nothing.
    pub const fn new() -> Self {
        Mounting { trees: Kept::new(), overlays: Kept::new(), made: Made::new() }
    }

    /// Keep a tree that was copied outside, for [`bind`].
    pub fn keep(&mut self, tree: i32) -> Result<()> {
        self.trees.keep(Fd(tree))
    }
}

/// Mounts that are not mounted yet, in the order in which they will be.
pub struct Kept {
    fds: [i32; MAX_KEPT],
    next: usize,
    count: usize,
}

impl Kept {
    const fn new() -> Self {
        Kept { fds: [-1; MAX_KEPT], next: 0, count: 0 }
    }

    /// Keep one more.
    pub fn keep(&mut self, tree: Fd) -> Result<()> {
        *self.fds.get_mut(self.count).ok_or((sys::EMFILE, MountPart::Source as i64))? = tree.into_raw();
        self.count += 1;
        Ok(())
    }

    /// Take the next one.
    fn next(&mut self) -> Result<Fd> {
        let kept = self.fds[..self.count].get(self.next).ok_or((sys::EINVAL, MountPart::Source as i64))?;
        self.next += 1;
        Ok(Fd(*kept))
    }
}

/// Make the directory at `path` a mount of its own, as a root has to be one (pivot_root(2)), and go there.
pub fn root(path: &[u8], attributes: u64) -> Result<()> {
    let directory = sys::open(path.as_ptr(), k::O_PATH | k::O_DIRECTORY)
        .map(Fd)
        .map_err(|errno| (errno, MountPart::Target as i64))?;
    let tree = copy(directory.0, EMPTY, k::AT_EMPTY_PATH | k::AT_RECURSIVE)?;
    if attributes != 0 {
        set_attributes(&tree, true, attributes)?;
    }
    attach(&tree, &directory)?;
    call!(Attach, fchdir, tree.0).map(drop)
}

/// Mount what was made for it over the root, and go there.
pub fn attach_root(mounting: &mut Mounting) -> Result<()> {
    let tree = mounting.overlays.next()?;
    over_root(&tree)?;
    call!(Attach, fchdir, tree.0).map(drop)
}

/// Mount it over the root: absolute paths still lead to what is below, as a process has its root by descriptor.
pub fn over_root(tree: &Fd) -> Result<()> {
    let root = sys::open(c"/".as_ptr().cast(), k::O_PATH | k::O_DIRECTORY)
        .map(Fd)
        .map_err(|errno| (errno, MountPart::Target as i64))?;
    attach(tree, &root)
}

/// Make the working directory the root, and unmount the old one: with both in the same place no directory is needed
/// to put the old one on, and the unmount finds it on top (pivot_root(2), NOTES).
pub fn pivot() -> Result<()> {
    let here = c".".as_ptr();
    call!(Attach, pivot_root, here, here)?;
    call!(Detach, umount2, here, k::MNT_DETACH)?;
    sys::chdir(c"/".as_ptr().cast()).map_err(|errno| (errno, MountPart::Attach as i64))
}

/// Copy what is mounted at `source`, and keep it for [`bind`].
pub fn copy_tree(mounting: &mut Mounting, source: &[u8], recursive: bool) -> Result<()> {
    mounting.trees.keep(tree(source, recursive)?)
}

/// A copy of what is mounted at `source`.
pub fn tree(source: &[u8], recursive: bool) -> Result<Fd> {
    copy(k::AT_FDCWD, source.as_ptr(), if recursive { k::AT_RECURSIVE } else { 0 })
}

/// Mount the next tree on `target`. Attributes are set before the mount is visible (mount_setattr(2)).
pub fn bind(mounting: &mut Mounting, target: &[u8], inside: bool, recursive: bool, attributes: u64) -> Result<()> {
    let tree = mounting.trees.next()?;
    set_attributes(&tree, recursive, attributes)?;
    attach(&tree, &mounting.made.place(target, inside, &tree)?)
}

/// Mount on `target` the next of what was made before.
pub fn attach_next(mounting: &mut Mounting, target: &[u8], inside: bool) -> Result<()> {
    let made = mounting.overlays.next()?;
    attach(&made, &mounting.made.place(target, inside, &made)?)
}

/// Make a file system and mount it on `target`. The options are names and values in turn; no value makes it a flag.
pub fn mount(
    mounting: &mut Mounting,
    fstype: &[u8],
    options: &Texts<&'static [u8]>,
    attributes: u64,
    target: &[u8],
    inside: bool,
) -> Result<()> {
    let made = file_system(fstype, options, attributes)?;
    attach(&made, &mounting.made.place(target, inside, &made)?)?;
    mounting.made.add(&made);
    Ok(())
}

/// Make a file system that is mounted nowhere yet.
pub fn file_system(fstype: &[u8], options: &Texts<&'static [u8]>, attributes: u64) -> Result<Fd> {
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
    call!(FileSystem, fsmount, context.0, FSMOUNT_CLOEXEC, attributes).map(|fd| Fd(fd as i32))
}

/// As [`mount`], if there is such a directory, or it can be made. Where this process may not look it up, no program can.
pub fn private_mount(
    mounting: &mut Mounting,
    fstype: &[u8],
    options: &Texts<&'static [u8]>,
    attributes: u64,
    target: &[u8],
    inside: bool,
) -> Result<()> {
    const TARGET: i64 = MountPart::Target as i64;
    match unless_missing(mount(mounting, fstype, options, attributes, target, inside)) {
        Err((sys::EACCES, TARGET)) => Ok(()),
        result => result,
    }
}

/// Cover the `hidden` paths, and make the `read_only` ones read-only with all mounts below. Those that do not exist are
/// left out. The mounts below a covered directory are covered with it.
pub fn mask(hidden: &Texts<&'static [u8]>, read_only: &Texts<&'static [u8]>, inside: bool) -> Result<()> {
    hidden.iter().try_for_each(|path| unless_missing(cover(path, inside)))?;
    read_only.iter().try_for_each(|path| unless_missing(protect(path, inside)))
}

fn cover(path: &[u8], inside: bool) -> Result<()> {
    let target = find(path, inside)?;
    // On a directory only a directory can be mounted: EINVAL (move_mount(2)).
    match attach(&copy(k::AT_FDCWD, c"/dev/null".as_ptr().cast(), 0)?, &target) {
        Err((sys::EINVAL, _)) => {}
        attached => return attached,
    }
    let none = Texts { count: 0, joined: &[][..] };
    let attributes = u64::from(k::MOUNT_ATTR_RDONLY | k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NODEV);
    attach(&file_system(TMPFS, &none, attributes)?, &target)
}

fn protect(path: &[u8], inside: bool) -> Result<()> {
    let target = find(path, inside)?;
    let tree = copy(target.0, EMPTY, k::AT_EMPTY_PATH | k::AT_RECURSIVE)?;
    set_attributes(&tree, true, u64::from(k::MOUNT_ATTR_RDONLY))?;
    attach(&tree, &target)
}

/// Nothing to do where the target does not exist.
fn unless_missing(result: Result<()>) -> Result<()> {
    const TARGET: i64 = MountPart::Target as i64;
    if matches!(result, Err((sys::ENOENT | sys::ENOTDIR, TARGET))) { Ok(()) } else { result }
}

/// A copy of the mounts at a path, mounted nowhere yet (open_tree(2)).
fn copy(directory: i32, path: *const u8, flags: u32) -> Result<Fd> {
    let flags = flags | k::OPEN_TREE_CLONE | k::OPEN_TREE_CLOEXEC;
    call!(Source, open_tree, directory, path, flags).map(|fd| Fd(fd as i32))
}

fn set_attributes(tree: &Fd, recursive: bool, attributes: u64) -> Result<()> {
    let wanted = k::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = k::AT_EMPTY_PATH | if recursive { k::AT_RECURSIVE } else { 0 };
    call!(Attributes, mount_setattr, tree.0, EMPTY, flags, &raw const wanted, size_of::<k::mount_attr>()).map(drop)
}

fn attach(made: &Fd, target: &Fd) -> Result<()> {
    let flags = k::MOVE_MOUNT_F_EMPTY_PATH | k::MOVE_MOUNT_T_EMPTY_PATH;
    call!(Attach, move_mount, made.0, EMPTY, target.0, EMPTY, flags).map(drop)
}
