//! The payload's own cgroup (cgroups(7)): the payload's process enters it, init stays outside, so that no limit hits
//! init, and it can remove the cgroup when everything in it has ended.

use linux_raw_sys::general::{O_DIRECTORY, O_PATH, O_WRONLY, SIGKILL};

use crate::sys::{self, EBUSY, Result};

/// The directory, by the one above it.
#[derive(Clone, Copy)]
pub struct Cgroup {
    parent: i32,
    /// The file by which processes enter it. The caller has opened it, and that is whose rights count.
    procs: i32,
    name: &'static [u8],
}

/// How long it may take until everything in it is gone: so many times, so many milliseconds.
const PATIENCE: (u32, u32) = (400, 5);

impl Cgroup {
    /// Take over the descriptors. They are for us alone.
    pub fn new(parent: i32, procs: i32, name: &'static [u8]) -> Self {
        sys::set_cloexec(parent, true);
        sys::set_cloexec(procs, true);
        Cgroup { parent, procs, name }
    }

    /// What has to stay open.
    pub fn descriptors(&self) -> [i32; 2] {
        [self.parent, self.procs]
    }

    /// End what is in it, which is nothing but what descends from us, and remove it.
    pub fn remove(&self, pid_1: bool) {
        if let Ok(directory) = sys::open_at(self.parent, self.name.as_ptr(), O_PATH | O_DIRECTORY) {
            // Linux 5.14. Before, what follows has to be enough.
            if let Ok(kill) = sys::open_at(directory, c"cgroup.kill".as_ptr().cast(), O_WRONLY) {
                let _ = sys::write(kill, b"1");
                sys::close(kill);
            }
            sys::close(directory);
        }
        if pid_1 {
            sys::kill(-1, SIGKILL);
        }
        for _ in 0..PATIENCE.0 {
            while let Ok(Some(_)) = sys::wait(-1, &mut [0; 18], false) {}
            if sys::remove_directory(self.parent, self.name) != Err(EBUSY) {
                return;
            }
            let _ = sys::poll([-1], Some(PATIENCE.1));
        }
    }
}

/// Move this process into the cgroup whose cgroup.procs is open (cgroups(7)).
pub fn join(procs: i32) -> Result<()> {
    sys::write(procs, b"0").map(drop)
}
