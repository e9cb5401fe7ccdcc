//! A proc that nobody else has a hand in: what is on /proc when a box is made, before anything runs in it. Programs may
//! mount on it, or on any file in it, whatever they like; what is asked through this one is told by the kernel.

use linux_raw_sys::general as k;

use crate::sys::{self, ENOENT, EXDEV, Result};

/// Its root, and its directory `sys`, which is a mount of its own in many containers; -1 where there is none.
#[derive(Clone, Copy)]
pub struct Proc {
    root: i32,
    sys: i32,
}

/// What is a directory, only to find things in it.
const DIRECTORY: u32 = k::O_PATH | k::O_DIRECTORY;

impl Proc {
    /// Find it. `given` is a descriptor of one, or -1.
    pub fn find(given: i32) -> Self {
        let here = || sys::open(c"/proc".as_ptr().cast(), DIRECTORY);
        let found = if given < 0 { here() } else { Ok(given) };
        let proc = found.and_then(|proc| if sys::is_proc(proc) { Ok(proc) } else { Err(ENOENT) });
        let root = proc.or_else(|_| sys::detached_proc()).unwrap_or(-1);
        let sys = sys::open_at(root, c"sys".as_ptr().cast(), DIRECTORY).unwrap_or(-1);
        Proc { root, sys }
    }

    /// What has to stay open.
    pub fn descriptors(self) -> [i32; 2] {
        [self.root, self.sys]
    }

    /// Open `path`, a C string without the `/proc/` it would begin with. Nothing that is mounted there is looked at; where
    /// something is, a new proc serves, which is mounted nowhere, if the kernel lets us have one.
    pub fn open(self, path: &[u8], flags: u32) -> Result<i32> {
        let found = match path.strip_prefix(b"sys/") {
            Some(rest) => sys::open_here(self.sys, rest, flags),
            None => sys::open_here(self.root, path, flags),
        };
        if found != Err(EXDEV) {
            return found;
        }
        let new = sys::detached_proc().map_err(|_| EXDEV)?;
        let found = sys::open_here(new, path, flags);
        sys::close(new);
        found
    }

    /// Open the directory of a process, whose number here may be another one: this proc can be for an outer PID namespace. A
    /// pidfd tells it (proc_pid_fdinfo(5)). Where it does not, a new proc serves, if the kernel lets us have one.
    pub fn open_process(self, pid: i32) -> Result<i32> {
        let pidfd = sys::pidfd_open(pid)?;
        let found = self.number_of(pidfd).and_then(|number| self.open(&number, DIRECTORY));
        sys::close(pidfd);
        found.or_else(|_| {
            let new = sys::detached_proc()?;
            let found = sys::open_at(new, sys::digits(pid, &mut [0; 12]), DIRECTORY);
            sys::close(new);
            found
        })
    }

    /// The number that this proc has for the process of a pidfd, as a C string.
    fn number_of(self, pidfd: i32) -> Result<[u8; 12]> {
        const BEFORE: &[u8] = b"\nPid:\t";
        let mut text = [0; 12];
        // SAFETY: `digits` returns a C string.
        let digits = unsafe { core::ffi::CStr::from_ptr(sys::digits(pidfd, &mut text).cast()) }.to_bytes_with_nul();
        let mut path = [0; 32];
        let directory = b"self/fdinfo/";
        path[..directory.len()].copy_from_slice(directory);
        path[directory.len()..][..digits.len()].copy_from_slice(digits);
        let info = self.open(&path, k::O_RDONLY)?;
        let mut lines = [0; 256];
        let length = sys::read(info, &mut lines);
        sys::close(info);
        let lines = &lines[..length?];
        let at = lines.windows(BEFORE.len()).position(|window| window == BEFORE).ok_or(ENOENT)?;
        let rest = &lines[at + BEFORE.len()..];
        let end = rest.iter().position(|byte| !byte.is_ascii_digit()).ok_or(ENOENT)?;
        let mut number = [0; 12];
        number.get_mut(..end).ok_or(ENOENT)?.copy_from_slice(&rest[..end]);
        // Neither 0 nor -1, which stand for one that this proc does not know.
        if matches!(number[0], b'1'..=b'9') { Ok(number) } else { Err(ENOENT) }
    }

    /// Open what a link that is no path leads to: a namespace, as `self/ns/net`. Those are on a file system of their own,
    /// so only their directory can be looked at in this way.
    pub fn open_link(self, path: &[u8]) -> Result<i32> {
        let slash = path.iter().rposition(|&byte| byte == b'/').ok_or(EXDEV)?;
        let mut directory = [0; 64];
        directory.get_mut(..slash).ok_or(EXDEV)?.copy_from_slice(&path[..slash]);
        let directory = self.open(&directory, DIRECTORY)?;
        let result = sys::open_at(directory, path[slash + 1..].as_ptr(), k::O_RDONLY);
        sys::close(directory);
        result
    }
}

/// A proc, and the list of our children in it (proc(5), /proc/PID/task/TID/children). The one on /proc serves, whichever
/// PID namespace it is for; where there is none, one is made that is mounted nowhere, if we may.
pub fn open_children(given: i32) -> Result<(i32, i32)> {
    let children_in = |proc: i32| {
        let children = sys::open_at(proc, c"thread-self/children".as_ptr().cast(), k::O_RDONLY)?;
        if sys::is_proc(children) { Ok((proc, children)) } else { Err(sys::ENOENT) }
    };
    let proc = if given < 0 { sys::open(c"/proc".as_ptr().cast(), DIRECTORY) } else { Ok(given) };
    proc.and_then(children_in).or_else(|_| sys::detached_proc().and_then(children_in))
}
