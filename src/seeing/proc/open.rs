//! Which proc is read: one at a path, one as a process sees it, or one of a process's PID namespace.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::capabilities::SYS_ADMIN;
use crate::kinds::{Kind, by_name};
use crate::plan::facts::Facts;
use crate::plan::look::Wanted;
use crate::seeing::look::{Opened, look, open_here};
use crate::seeing::proc::dir::{Dir, Errno, list};
use crate::seeing::proc::parse;
use crate::seeing::proc::status::status;

/// A proc of the PID namespace of process `pid`: its own /proc if it is one, else a new one that is mounted nowhere. Also
/// returns a descriptor of that namespace.
///
/// # Errors
/// An errno: ESRCH or ENOENT without such a process, EACCES where its namespaces may not be read; where only the new
/// proc is refused, the kernel's error for that, EINVAL before Linux 6.17.
pub fn of_namespace(pid: i32) -> Result<(Dir, Option<OwnedFd>), Errno> {
    let process = Dir::open(&c_path(format!("/proc/{pid}")))?;
    let namespace = namespace_of(&process)?;
    if let Ok(own) = Dir::open(c"/proc")?.open_as_seen_by(pid, c"/proc")
        && namespace_of_proc(&own, process.inner_pid()) == Some(namespace)
    {
        return Ok((own, process.open_at(c"ns/pid", libc::O_RDONLY).ok()));
    }
    let namespaces = Namespaces { process: &process };
    let pidns = process.open_at(c"ns/pid", libc::O_RDONLY)?;
    let ([found], _) = namespaces.look(&[], [Wanted::Proc(pidns.as_raw_fd())])?;
    Ok((found.map(Dir::from)?, Some(pidns)))
}

/// The namespaces of a process, to be looked into.
pub struct Namespaces<'a> {
    /// Its directory in our /proc.
    pub process: &'a Dir,
}

impl Namespaces<'_> {
    /// A descriptor of one of them.
    fn open(&self, kind: Kind) -> Result<OwnedFd, Errno> {
        let link = CString::new(format!("ns/{}", kind.link)).map_err(|_| libc::EINVAL)?;
        self.process.open_at(&link, libc::O_RDONLY)
    }

    /// Open `wanted` in the namespaces `enter` of the process: with our own rights if they suffice, else as root of its
    /// user namespace, which its owner may become (user_namespaces(7)). Mounting is then only allowed in its mount
    /// namespace. Also returns whether root was needed.
    pub fn look<const N: usize>(&self, enter: &[&str], wanted: [Wanted<'_>; N]) -> Result<([Opened; N], bool), Errno> {
        let kinds = |names: &[&str]| names.iter().filter_map(|name| by_name(name)).collect::<Vec<_>>();
        let facts = Facts::read();
        let first = match enter {
            [] => Ok(open_here(wanted)),
            // Entering any takes this capability in our own user namespace (setns(2)).
            _ if facts.effective & SYS_ADMIN == 0 => Err(libc::EPERM),
            _ => self.look_into(&kinds(enter), wanted, &facts),
        };
        let refused = match &first {
            Ok(results) => results.iter().any(|result| matches!(result, Err(libc::EPERM | libc::EACCES))),
            Err(errno) => *errno == libc::EPERM,
        };
        if !refused || self.process.inode(c"ns/user")? == Dir::open(c"/proc/thread-self")?.inode(c"ns/user")? {
            return first.map(|results| (results, false));
        }
        match self.look_into(&kinds(&[&["user", "mount"], enter].concat()), wanted, &facts) {
            Ok(results) => Ok((results, true)),
            Err(_) => first.map(|results| (results, false)),
        }
    }

    fn look_into<const N: usize>(
        &self,
        kinds: &[Kind],
        wanted: [Wanted<'_>; N],
        facts: &Facts,
    ) -> Result<[Opened; N], Errno> {
        let fds = kinds.iter().map(|kind| self.open(*kind)).collect::<Result<Vec<_>, _>>()?;
        let enter: Vec<_> = kinds.iter().copied().zip(fds.iter().map(AsRawFd::as_raw_fd)).collect();
        look(&enter, wanted, facts)
    }
}

/// The id of the PID namespace of a process, from its directory in a proc.
pub fn namespace_of(process: &Dir) -> Result<u64, Errno> {
    let mut buffer = [0; 64];
    let target = process.read_link(c"ns/pid", &mut buffer)?;
    parse::namespace_link(target).map(|(_, id)| id).ok_or(libc::ESRCH)
}

/// The PID namespace that a proc belongs to: that of a process to which it gives a single PID (NSpid,
/// proc_pid_status(5)). `likely` is tried first. `None` if there is none whose namespaces may be read.
pub fn namespace_of_proc(proc: &Dir, likely: Option<i32>) -> Option<u64> {
    likely.and_then(|pid| member_namespace(proc, pid)).or_else(|| find_namespace(proc)).map(|(id, _)| id)
}

/// The same, and a descriptor of it, if it can be opened.
pub fn find_namespace(proc: &Dir) -> Option<(u64, Option<OwnedFd>)> {
    // Through another descriptor, as this one may be listed from its beginning later.
    let pids = list(&proc.list(c".").ok()?, &mut vec![0; 64 * 1024]).ok()?;
    pids.into_iter().find_map(|pid| member_namespace(proc, pid))
}

/// The PID namespace of a process, if the proc gives it a single PID.
fn member_namespace(proc: &Dir, pid: i32) -> Option<(u64, Option<OwnedFd>)> {
    let process = proc.enter(&c_path(pid.to_string())).ok()?;
    let id = namespace_of(&process).ok()?;
    let fd = process.open_at(c"ns/pid", libc::O_RDONLY).ok();
    // The process may end in between: its directory then has no status any more.
    (process.pids().len() == 1).then_some((id, fd))
}

impl Dir {
    fn pids(&self) -> Vec<i32> {
        let mut buffer = Vec::new();
        self.read(c"status", &mut buffer).map(|text| status(text).pids).unwrap_or_default()
    }

    /// The PID of a process in its own PID namespace.
    fn inner_pid(&self) -> Option<i32> {
        self.pids().last().copied()
    }
}

fn c_path(path: String) -> CString {
    CString::new(path).unwrap_or_default()
}
