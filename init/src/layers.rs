//! An overlay: layers of directories, of which only the upper one is written to.

use linux_raw_sys::general as k;
use nsbox_init::wire::{MountPart, Texts};
use syscalls::{Sysno, syscall};

use crate::mounts::{Mounting, file_system, over_root};
use crate::sys;
use crate::targets::{Fd, Result, call};

/// Permissions of the directory that is the root of the overlay, and of the one beside it.
const UPPER_MODE: u32 = 0o755;
const WORK_MODE: u32 = 0o700;
const UPPER: &[u8] = b"upper\0";
const WORK: &[u8] = b"work\0";

/// Make an overlay, and keep it until it is mounted. With options in `memory` its upper layer is in a new tmpfs, to
/// which `options` refer by relative paths, and which stays as long as the overlay or the descriptor that is returned.
///
/// Overlay takes layers only from what is mounted in the mount namespace. So the tmpfs is mounted meanwhile, over the
/// root, where it covers no path.
pub fn make(
    mounting: &mut Mounting,
    options: &Texts<&'static [u8]>,
    attributes: u64,
    memory: &Texts<&'static [u8]>,
) -> Result<Option<Fd>> {
    if memory.count == 0 {
        mounting.overlays.keep(file_system(b"overlay\0", options, attributes)?)?;
        return Ok(None);
    }
    let back = sys::open(c".".as_ptr().cast(), k::O_PATH | k::O_DIRECTORY).map(Fd).map_err(target)?;
    let tmpfs = file_system(b"tmpfs\0", memory, attributes)?;
    let mask = sys::umask(0).map_err(|errno| (errno, MountPart::Options as i64))?;
    let made = call!(Options, mkdirat, tmpfs.0, UPPER.as_ptr(), UPPER_MODE)
        .and_then(|_| call!(Options, mkdirat, tmpfs.0, WORK.as_ptr(), WORK_MODE));
    let _ = sys::umask(mask);
    made?;
    let upper = sys::open_at(tmpfs.0, UPPER.as_ptr(), k::O_RDONLY | k::O_DIRECTORY).map(Fd).map_err(target)?;
    over_root(&tmpfs)?;
    call!(Attach, fchdir, tmpfs.0)?;
    let made = file_system(b"overlay\0", options, attributes);
    call!(Detach, umount2, c".".as_ptr(), k::MNT_DETACH)?;
    call!(Attach, fchdir, back.0)?;
    let made = made?;
    mounting.made.add(&made);
    mounting.overlays.keep(made)?;
    Ok(Some(upper))
}

fn target(errno: sys::Errno) -> (sys::Errno, i64) {
    (errno, MountPart::Target as i64)
}
