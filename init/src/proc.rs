//! The proc of init: the one on /proc when a box is made, before any program runs in it. Programs may mount other files
//! on /proc, or on any file in it; what is read through this one comes from the kernel.

use linux_raw_sys::general as k;
use nsbox_init::wire::Data;

use crate::sys::{self, ENOENT, EXDEV, Result};

/// Its root, and its directory `sys`, which is a mount of its own in many containers; -1 where there is none.
#[derive(Clone, Copy)]
pub struct Proc {
    root: i32,
    sys: i32,
}

/// A directory, opened only to find things in it.
const DIRECTORY: u32 = k::O_PATH | k::O_DIRECTORY;

impl Proc {
    /// Open it. `given` is a descriptor of one, or -1.
    pub fn find(given: i32) -> Self {
        let here = || sys::open(c"/proc".as_ptr().cast(), DIRECTORY);
        let found = if given < 0 { here() } else { Ok(given) };
        let proc = found.and_then(|proc| if sys::is_proc(proc) { Ok(proc) } else { Err(ENOENT) });
        let root = proc.or_else(|_| sys::detached_proc()).unwrap_or(-1);
        let sys = sys::open_at(root, c"sys".as_ptr().cast(), DIRECTORY).unwrap_or(-1);
        Proc { root, sys }
    }

    /// The descriptors that have to stay open.
    pub fn descriptors(self) -> [i32; 2] {
        [self.root, self.sys]
    }

    /// Open `path`, a C string without the `/proc/` it would begin with. A file that is mounted there is not opened: a
    /// new proc is used instead, mounted nowhere, if the kernel allows one.
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

    /// Open the directory of a process, whose PID in this proc may differ: the proc can be for an outer PID namespace.
    /// The fdinfo of a pidfd has it (proc_pid_fdinfo(5)). Without it a new proc is used, if the kernel allows one.
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

    /// The PID in this proc of the process of a pidfd, as a C string.
    fn number_of(self, pidfd: i32) -> Result<[u8; 12]> {
        let info = self.open(&fdinfo(pidfd), k::O_RDONLY)?;
        let mut lines = [0; FDINFO];
        let line = field(info, b"\nPid:\t", &mut lines)?;
        let mut number = [0; 12];
        number.get_mut(..line.len()).ok_or(ENOENT)?.copy_from_slice(line);
        // Neither 0 nor -1, which mean that the process has no PID in this proc.
        if matches!(number[0], b'1'..=b'9') { Ok(number) } else { Err(ENOENT) }
    }

    /// Open a namespace, as `self/ns/net`. Namespaces are on a file system of their own, so RESOLVE_NO_XDEV is only for
    /// their directory.
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

/// The PIDs of a process, in the PID namespace of a proc and inwards, as text. ENOENT if it has none there, and EXDEV if
/// something is mounted over the file that says so.
pub fn pids_in(proc: i32, pid: i32) -> Result<Data> {
    let pidfd = sys::pidfd_open(pid)?;
    let info = sys::open_here(proc, &fdinfo(pidfd), k::O_RDONLY)?;
    let mut lines = [0; FDINFO];
    let line = field(info, b"\nNSpid:\t", &mut lines)?;
    Data::read(|room| {
        room.get_mut(..line.len()).ok_or(ENOENT)?.copy_from_slice(line);
        Ok(line.len())
    })
}

/// Enough for the fdinfo of a pidfd, in bytes.
const FDINFO: usize = 1024;

/// The path of the fdinfo of one of our descriptors, as a C string.
fn fdinfo(fd: i32) -> [u8; 32] {
    let mut text = [0; 12];
    // SAFETY: `digits` returns a C string.
    let digits = unsafe { core::ffi::CStr::from_ptr(sys::digits(fd, &mut text).cast()) }.to_bytes_with_nul();
    let mut path = [0; 32];
    let directory = b"self/fdinfo/";
    path[..directory.len()].copy_from_slice(directory);
    path[directory.len()..][..digits.len()].copy_from_slice(digits);
    path
}

/// Read a file, close it, and return the rest of the line that begins with `name`.
fn field<'a>(file: i32, name: &[u8], lines: &'a mut [u8; FDINFO]) -> Result<&'a [u8]> {
    let length = sys::read(file, lines);
    sys::close(file);
    let lines = &lines[..length?];
    let at = lines.windows(name.len()).position(|window| window == name).ok_or(ENOENT)?;
    let rest = &lines[at + name.len()..];
    let end = rest.iter().position(|&byte| byte == b'\n').ok_or(ENOENT)?;
    Ok(&rest[..end])
}

/// A proc, and the list of our children in it (proc(5), /proc/PID/task/TID/children). The one on /proc is used,
/// whichever PID namespace it is for; without it a new one, mounted nowhere, if the kernel allows that.
pub fn open_children(given: i32) -> Result<(i32, i32)> {
    let children_in = |proc: i32| {
        let children = sys::open_at(proc, c"thread-self/children".as_ptr().cast(), k::O_RDONLY)?;
        if sys::is_proc(children) { Ok((proc, children)) } else { Err(sys::ENOENT) }
    };
    let proc = if given < 0 { sys::open(c"/proc".as_ptr().cast(), DIRECTORY) } else { Ok(given) };
    proc.and_then(children_in).or_else(|_| sys::detached_proc().and_then(children_in))
}
