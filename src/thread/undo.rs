//! The way back from a scope.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::call::{Call, Value, call};
use crate::kinds::{self, KINDS};
use crate::plan::calls;
use crate::step_name::StepName;
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
    /// Go back, as far as possible; returns what failed.
    pub fn back(self) -> Vec<Failed> {
        let mut failures = Vec::new();
        let mut attempt = |step: StepName, call: Call, done: std::result::Result<(), i32>| {
            done.map_err(|errno| failures.push((step, call, errno))).is_ok()
        };
        if let Some((target, number)) = self.mounted {
            let covered = if mount_number(&target) == Some(number) { Ok(()) } else { Err(libc::EBUSY) };
            // SAFETY: a C string that outlives the call.
            let unmount =
                || checked(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) });
            attempt(
                StepName::UnmountProc,
                call("umount2", [("target", Value::text(target.to_bytes())), ("flags", Value::constant("MNT_DETACH"))]),
                covered.and_then(|()| unmount()),
            );
        }
        let mut at_home = true;
        for (flag, fd) in self.namespaces.into_iter().rev() {
            if flag == kinds::MOUNT {
                // Threads that were started inside share root and cwd with this one, until long after their join. They
                // keep them. If this call fails, so does setns, which reports it.
                let _ = unshare(libc::CLONE_FS);
            }
            let back = attempt(join_step(flag), calls::setns(fd.as_raw_fd(), flag), setns(fd.as_raw_fd(), flag));
            at_home &= back || flag != kinds::MOUNT;
        }
        if let Some([root, cwd]) = self.directories
            && at_home
        {
            attempt(StepName::Root, call("chroot", [("path", Value::File("root".into()))]), chroot(&root));
            // SAFETY: plain numbers.
            attempt(
                StepName::Cwd,
                call("fchdir", [("fd", Value::File("cwd".into()))]),
                checked(unsafe { libc::fchdir(cwd.as_raw_fd()) }),
            );
        }
        failures
    }
}

pub fn join_step(flag: u64) -> StepName {
    crate::plan::join::step_name(KINDS.into_iter().find(|kind| kind.flag == flag).unwrap_or(KINDS[0]))
}
