//! The payload's own cgroup (cgroups(7)): the payload's process enters it, init stays outside, so that no limit hits
//! init, and it can remove the cgroup when everything in it has ended.

use linux_raw_sys::general::{O_DIRECTORY, O_PATH, O_WRONLY, SIGKILL};

use crate::sys::{self, EBUSY, Result};

/// The directory, by the one above it.
#[derive(Clone, Copy)]
pub struct Cgroup {
    parent: i32,
    /// `cgroup.procs`, by which processes enter it. The caller has opened it, so the rights of the caller count.
    procs: i32,
    name: &'static [u8],
}

/// Number of attempts to remove a cgroup whose processes have been killed, but have not ended yet.
const MAX_ATTEMPTS: u32 = 400;
/// Interval between the attempts, in milliseconds.
const ATTEMPT_INTERVAL: u32 = 5;

impl Cgroup {
    /// Take the descriptors, which no other program may inherit.
    pub fn new(parent: i32, procs: i32, name: &'static [u8]) -> Result<Self> {
        sys::close_on_exec(parent)?;
        sys::close_on_exec(procs)?;
        Ok(Cgroup { parent, procs, name })
    }

    /// What has to stay open.
    pub fn descriptors(&self) -> [i32; 2] {
        [self.parent, self.procs]
    }

    /// Kill what is in it, which are only descendants of init, and remove it.
    pub fn remove(&self, pid_1: bool) {
        if let Ok(directory) = sys::open_at(self.parent, self.name.as_ptr(), O_PATH | O_DIRECTORY) {
            // Since Linux 5.14. Before, the SIGKILL below has to be enough.
            if let Ok(kill) = sys::open_at(directory, c"cgroup.kill".as_ptr().cast(), O_WRONLY) {
                let _ = sys::write(kill, b"1");
                sys::close(kill);
            }
            sys::close(directory);
        }
        if pid_1 {
            sys::kill(-1, SIGKILL);
        }
        for _ in 0..MAX_ATTEMPTS {
            while let Ok(Some(_)) = sys::wait(-1, &mut [0; 18], false) {}
            if sys::remove_directory(self.parent, self.name) != Err(EBUSY) {
                return;
            }
            let _ = sys::poll([-1], Some(ATTEMPT_INTERVAL));
        }
    }
}

/// Move this process into the cgroup whose cgroup.procs is open (cgroups(7)).
pub fn join(procs: i32) -> Result<()> {
    sys::write(procs, b"0").map(drop)
}
