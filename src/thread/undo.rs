//! The way back from a scope.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::kinds::{self, KINDS, kinds_of};
use crate::thread::calls::{Failed, checked, chroot, mount_number, setns, unshare};

/// How the thread gets back to where it was.
#[derive(Default)]
pub struct Undo {
    /// CLONE_NEW* and a descriptor of each namespace that was left, in the order in which they were.
    pub namespaces: Vec<(u64, OwnedFd)>,
    /// The root and the working directory that a change of the mount namespace loses.
    pub directories: Option<[OwnedFd; 2]>,
    /// What was mounted, and the number of that mount.
    pub mounted: Option<(CString, u64)>,
}

impl Undo {
    /// Go back, as far as possible, and tell what was not.
    pub fn back(self) -> Vec<Failed> {
        let mut failures = Vec::new();
        let mut attempt = |step: &'static str, call: String, done: std::result::Result<(), i32>| {
            done.map_err(|errno| failures.push((step, call, errno))).is_ok()
        };
        if let Some((target, number)) = self.mounted {
            let covered = if mount_number(&target) == Some(number) { Ok(()) } else { Err(libc::EBUSY) };
            // SAFETY: a C string that outlives the call.
            let unmount =
                || checked(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) });
            attempt("unmount proc", format!("umount2({target:?}, MNT_DETACH)"), covered.and_then(|()| unmount()));
        }
        let mut at_home = true;
        for (flag, fd) in self.namespaces.into_iter().rev() {
            if flag == kinds::MOUNT {
                // Threads that were started in here share root and cwd with this one, until long after their join; they
                // keep them, and setns says what has failed if this does.
                let _ = unshare(libc::CLONE_FS);
            }
            let call = format!("setns({}, {})", fd.as_raw_fd(), names(flag));
            let back = attempt(join_step(flag), call, setns(fd.as_raw_fd(), flag));
            at_home &= back || flag != kinds::MOUNT;
        }
        if let Some([root, cwd]) = self.directories
            && at_home
        {
            attempt("root", "fchdir(root); chroot(\".\")".into(), chroot(&root));
            // SAFETY: plain numbers.
            attempt("cwd", "fchdir(cwd)".into(), checked(unsafe { libc::fchdir(cwd.as_raw_fd()) }));
        }
        failures
    }
}

pub fn names(flags: u64) -> String {
    kinds_of(flags).map(|kind| kind.flag_name).collect::<Vec<_>>().join("|")
}

pub fn join_step(flag: u64) -> &'static str {
    crate::plan::join::step_name(KINDS.into_iter().find(|kind| kind.flag == flag).unwrap_or(KINDS[0]))
}
