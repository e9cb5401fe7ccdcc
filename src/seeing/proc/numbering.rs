//! Of which PID namespace the numbers in a proc are, and what they are in that of the caller (pid_namespaces(7)).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;

use pyo3::prelude::*;

use crate::pidfd;
use crate::seeing::proc::dir::{Dir, Errno, inode_of};
use crate::seeing::proc::open::find_namespace;
use crate::seeing::proc::status::status;
use crate::thread::calls::{own_pid_namespace, own_time_namespace};
use crate::thread::foreign;

/// `_IOR(0xb7, 0x6, int)`, Linux 6.11 (ioctl_nsfs(2)).
const NS_GET_PID_FROM_PIDNS: libc::Ioctl = 0x8004_b706_u32 as libc::Ioctl;
/// The inode number of the time namespace in which the machine was booted (linux/nsfs.h).
const INITIAL_TIME_NAMESPACE: u64 = 0xEFFF_FFFA;

/// The PID namespaces of a proc and of the caller. Nothing where one is unknown.
#[derive(Debug)]
pub struct Numbering {
    /// The one that the proc shows, as an inode number.
    pub namespace: Option<u64>,
    /// The caller's own.
    pub caller: Option<u64>,
    outside: Outside,
}

/// How the caller's PID of a process is found.
#[derive(Debug)]
enum Outside {
    /// It is the same: the proc shows the caller's PID namespace.
    Same,
    /// The proc shows a PID namespace in which that of the caller is nested, so many levels down.
    Listed(usize),
    /// The proc shows this other one, and the kernel translates.
    Translated(OwnedFd),
    Unknown,
}

impl Numbering {
    /// That of a proc. `known` is its PID namespace, if the caller of this function knows it.
    pub fn of(proc: &Dir, known: Option<&OwnedFd>) -> Self {
        let caller = own_pid_namespace().ok().and_then(|fd| inode_of(&fd).ok());
        // Where the proc shows the caller, these are the caller's PIDs from its namespace inwards.
        let levels = pids(proc, c"self/status", &mut Vec::new()).len();
        if levels == 1 {
            let namespace = caller.or_else(|| proc.inode(c"self/ns/pid").ok());
            return Self { namespace, caller: namespace, outside: Outside::Same };
        }
        let (namespace, fd) = match known.and_then(|fd| Some((inode_of(fd).ok()?, fd.try_clone().ok()?))) {
            Some((id, fd)) => (Some(id), Some(fd)),
            None => find_namespace(proc).map_or((None, None), |(id, fd)| (Some(id), fd)),
        };
        let outside = match fd {
            _ if levels > 1 => Outside::Listed(levels - 1),
            _ if namespace.is_some() && namespace == caller => Outside::Same,
            Some(fd) => Outside::Translated(fd),
            None => Outside::Unknown,
        };
        Self { namespace, caller, outside }
    }

    /// The caller's PID of process `pid` of the proc, whose directory there is `process`; nothing if the process is not
    /// in the caller's PID namespace, or if it is not known.
    ///
    /// It is right if the process has not ended since `process` was opened: until then no other one gets its PIDs. So
    /// the caller of this function has to read something in `process` afterwards.
    pub fn outside(&self, proc: &Dir, pid: i32, process: &Dir, buffer: &mut Vec<u8>) -> Option<i32> {
        match &self.outside {
            Outside::Same => Some(pid),
            Outside::Listed(depth) => {
                // A process of another PID namespace at this depth has such a number as well.
                let candidate = *pids(process, c"status", buffer).get(*depth)?;
                let pidfd = pidfd::open(candidate).ok()?;
                (number_in(proc, &pidfd, buffer) == Some(pid)).then_some(candidate)
            }
            Outside::Translated(namespace) => {
                // SAFETY: a plain number as the argument.
                let found = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PID_FROM_PIDNS, pid) };
                (found > 0).then_some(found)
            }
            Outside::Unknown => None,
        }
    }

    /// Whether the numbers in the proc are those of the caller.
    pub fn is_callers(&self) -> bool {
        matches!(self.outside, Outside::Same)
    }
}

/// The PIDs of a process, from the namespace of the proc inwards; none if they cannot be read.
fn pids(at: &Dir, name: &CStr, buffer: &mut Vec<u8>) -> Vec<i32> {
    at.read(name, buffer).map(|text| status(text).pids).unwrap_or_default()
}

/// The PID of a process in this proc (proc_pid_fdinfo(5)).
fn number_in(proc: &Dir, pidfd: &impl AsFd, buffer: &mut Vec<u8>) -> Option<i32> {
    let name = CString::new(format!("thread-self/fdinfo/{}", pidfd.as_fd().as_raw_fd())).ok()?;
    let text = str::from_utf8(proc.read(&name, buffer).ok()?).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
}

/// What the kernel calls the time since this machine was booted: /proc/sys/kernel/random/boot_id (random(4)). Nothing
/// where it cannot be read.
#[pyfunction]
pub fn boot_id() -> Option<String> {
    static FOUND: OnceLock<String> = OnceLock::new();
    if let Some(known) = FOUND.get() {
        return Some(known.clone());
    }
    // In a container another mount of the same proc is on /proc/sys. In the mount namespace of other processes it could
    // be anything.
    let path = c"sys/kernel/random/boot_id";
    let read = || -> Result<Vec<u8>, Errno> {
        let proc = Dir::open(c"/proc")?;
        let mut buffer = vec![0; 64];
        match proc.read(path, &mut buffer) {
            Err(libc::EXDEV) => std::fs::read("/proc/sys/kernel/random/boot_id").map_err(|_| libc::EIO),
            found => found.map(<[u8]>::to_vec),
        }
    };
    if foreign::is_here() {
        return None;
    }
    let found = String::from_utf8(read().ok()?).ok()?.trim().to_owned();
    Some(FOUND.get_or_init(|| found).clone())
}

/// The offset of the caller's clock of the time since boot, in nanoseconds (time_namespaces(7)): start times in /proc
/// include that of the process that reads them. Nothing where it is not known.
pub fn boottime_offset() -> Option<i128> {
    match own_time_namespace() {
        // A kernel without time namespaces.
        Err(libc::ENOENT) => Some(0),
        Err(_) => None,
        Ok(own) if inode_of(&own) == Ok(INITIAL_TIME_NAMESPACE) => Some(0),
        Ok(own) => {
            let proc = Dir::open(c"/proc").ok()?;
            // The file is that of the namespace for children.
            if proc.inode(c"thread-self/ns/time_for_children") != inode_of(&own) {
                return None;
            }
            let mut buffer = vec![0; 256];
            let text = str::from_utf8(proc.read(c"thread-self/timens_offsets", &mut buffer).ok()?).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("boottime"))?;
            let mut words = line.split_whitespace().map(str::parse::<i128>);
            let (seconds, nanoseconds) = (words.next()?.ok()?, words.next()?.ok()?);
            Some(seconds * 1_000_000_000 + nanoseconds)
        }
    }
}
