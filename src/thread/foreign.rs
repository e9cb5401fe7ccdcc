//! The mount namespaces in which other programs may have arranged the files: those that a scope has joined, and copies
//! of them.
//!
//! What counts is where a thread is, and not what it did: threads that are started in a scope stay where they began.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::thread::calls::own_namespace;

/// Device, inode and number of a mount namespace (namespaces(7)). The number, from NS_GET_MNTNS_ID (Linux 6.11), is
/// never used again; before, it is 0, and a later namespace may have the identity of one that has ended.
pub type Identity = (u64, u64, u64);

/// `_IOR(0xb7, 0x5, __u64)` (linux/nsfs.h).
const NS_GET_MNTNS_ID: libc::c_ulong = 0x8008_b705;

/// Those that were joined.
static FOREIGN: Mutex<Vec<Identity>> = Mutex::new(Vec::new());

/// Where this process was before its first scope.
static HOME: OnceLock<Option<Identity>> = OnceLock::new();

/// The identity of an open namespace.
pub fn identity(fd: RawFd) -> Option<Identity> {
    // SAFETY: plain numbers, for which zero is valid, and a structure that the kernel fills.
    unsafe {
        let (mut found, mut number): (libc::stat, u64) = std::mem::zeroed();
        if libc::ioctl(fd, NS_GET_MNTNS_ID as _, &raw mut number) != 0 {
            number = 0;
        }
        (libc::fstat(fd, &raw mut found) == 0).then_some((found.st_dev, found.st_ino, number))
    }
}

fn own() -> Option<Identity> {
    own_namespace("mount").ok().and_then(|fd: OwnedFd| identity(fd.as_raw_fd()))
}

/// Note where this process is.
pub fn note_home() {
    HOME.get_or_init(own);
}

fn change(at: Identity, foreign: bool) {
    let mut all = FOREIGN.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|known| *known != at);
    if foreign {
        all.push(at);
    }
}

fn is_foreign(at: Identity) -> bool {
    FOREIGN.lock().unwrap_or_else(PoisonError::into_inner).contains(&at)
}

/// Note that this thread joins the namespace `joined`, and return whether it is foreign. `kept` are the ones to which the
/// thread will go back.
pub fn note_joined(joined: RawFd, kept: impl Iterator<Item = RawFd>) -> bool {
    let Some(joined) = identity(joined) else { return true };
    let known = || kept.filter_map(identity).any(|at| at == joined && !is_foreign(at));
    let foreign = HOME.get() != Some(&Some(joined)) && !known();
    if foreign {
        change(joined, true);
    }
    foreign
}

/// Note that this thread has made a copy of the namespace `left`. Whoever may mount something in the copy of one that is
/// not foreign may trace this thread as well.
pub fn note_copied(left: RawFd) -> bool {
    let foreign = identity(left).is_none_or(is_foreign);
    if let Some(copy) = own() {
        change(copy, foreign);
    }
    foreign
}

/// Whether the calling thread is in one of them. If that cannot be found out, it counts as one.
pub fn is_here() -> bool {
    let none = FOREIGN.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
    !none && own().is_none_or(is_foreign)
}
