//! The process table: one pass over a /proc directory (proc(5)).
//!
//! All of one process is read through a descriptor of its directory. When the process ends and its PID goes to
//! another one, that descriptor finds nothing more: a record never mixes two processes.

mod dir;
mod parse;

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::error::{Error, Result};
use crate::ns::KINDS;
use dir::{Dir, Errno};

/// Namespace ids (inode numbers) in the order of the table of kinds; nothing where a link could not be read.
type Ids = [Option<u64>; KINDS.len()];

/// A process, as one pass over /proc found it.
#[pyclass(frozen, get_all, module = "nsbox._core")]
#[derive(Debug)]
pub struct ProcessRecord {
    /// The PID in the PID namespace of this proc.
    pub pid: i32,
    /// The PIDs from that namespace inwards (NSpid); only the first one if they are not known.
    pub pids: Vec<i32>,
    /// The parent's PID, 0 if the parent is outside.
    pub ppid: i32,
    /// The process group.
    pub pgid: i32,
    /// The session.
    pub sid: i32,
    /// The controlling terminal as a device number, 0 without one.
    pub tty_nr: i32,
    /// The foreground process group of that terminal, -1 without one.
    pub tpgid: i32,
    /// One letter, as in proc_pid_stat(5).
    pub state: char,
    /// From -20 to 19.
    pub nice: i32,
    /// Real, effective, saved and file system user id; nothing if not asked for or not told.
    pub uids: Option<(u32, u32, u32, u32)>,
    /// The owner of the process' directory: the effective user, or root for a process that is not dumpable.
    pub owner: u32,
    /// How many threads it has.
    pub thread_count: u32,
    /// The name, any bytes.
    pub comm: Vec<u8>,
    /// The arguments; nothing if not asked for.
    pub cmdline: Option<Vec<Vec<u8>>>,
    /// Whether it is a thread of the kernel.
    pub kernel_thread: bool,
    /// Clock ticks from boot to start.
    pub start_ticks: u64,
    /// Seconds from boot to start.
    pub start_seconds: f64,
    /// Seconds in user mode.
    pub utime: f64,
    /// Seconds in kernel mode.
    pub stime: f64,
    /// Bytes in memory.
    pub rss: u64,
    /// Bytes of virtual memory.
    pub vsize: u64,
    /// The namespaces in the order of `kinds()`; nothing if not asked for.
    pub namespaces: Option<Ids>,
    /// The threads besides the first one; empty if not asked for.
    pub threads: Vec<ThreadRecord>,
}

/// A thread besides the first one of its process.
#[pyclass(frozen, get_all, module = "nsbox._core")]
#[derive(Debug, Clone)]
pub struct ThreadRecord {
    /// Its id in the PID namespace of this proc.
    pub tid: i32,
    /// Its own name, any bytes.
    pub comm: Vec<u8>,
    /// Its namespaces, as for a process.
    pub namespaces: Option<Ids>,
}

#[pymethods]
impl ProcessRecord {
    fn __repr__(&self) -> String {
        format!("<process {} {}>", self.pid, self.comm.escape_ascii())
    }
}

#[pymethods]
impl ThreadRecord {
    fn __repr__(&self) -> String {
        format!("<thread {} {}>", self.tid, self.comm.escape_ascii())
    }
}

/// What is read besides /proc/PID/stat.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    status: bool,
    cmdline: bool,
    namespaces: bool,
    threads: bool,
}

/// Read the processes in the /proc directory `proc`, in the order in which it lists them, or only `pids`, in that
/// order; or in what the process `of` of our /proc finds under that path. Processes that end meanwhile are left out, as are those whose directory may not be entered (hidepid).
#[pyfunction]
#[pyo3(signature = (proc, *, of=None, pids=None, status=true, cmdline=true, namespaces=true, threads=false))]
#[expect(clippy::too_many_arguments, reason = "one for each thing that may be asked for, nearly all by keyword")]
pub fn read_processes(
    py: Python<'_>,
    proc: PyBackedBytes,
    of: Option<i32>,
    pids: Option<Vec<i32>>,
    status: bool,
    cmdline: bool,
    namespaces: bool,
    threads: bool,
) -> Result<Vec<ProcessRecord>> {
    let wanted = Wanted { status, cmdline, namespaces, threads };
    let path = CString::new(&*proc).map_err(|_| Error::Spec("proc: a path cannot contain a NUL".into()))?;
    let read = py.detach(|| {
        let directory = match of {
            Some(pid) => Dir::open_as_seen_by(pid, &path),
            None => Dir::open(&path),
        };
        Reader::new(directory?, wanted).read(pids)
    });
    read.map_err(|errno| {
        let reason = std::io::Error::from_raw_os_error(errno).to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default().to_owned();
        let root = of.map(|pid| format!("/proc/{pid}/root")).unwrap_or_default();
        let path = OsString::from_vec([root.as_bytes(), &proc].concat());
        Error::Python(PyOSError::new_err((errno, reason, path)))
    })
}

/// The directory, what is wanted of it, and the buffers of the pass.
struct Reader {
    proc: Dir,
    wanted: Wanted,
    buffer: Vec<u8>,
    links: [CString; KINDS.len()],
    ticks_per_second: f64,
    page: u64,
}

impl Reader {
    fn new(proc: Dir, wanted: Wanted) -> Self {
        let links = KINDS.map(|kind| c_string(kind.link.as_bytes()));
        // SAFETY: plain numbers; neither can fail.
        let (ticks, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
        Reader {
            proc,
            wanted,
            buffer: vec![0; 16 * 1024],
            links,
            ticks_per_second: ticks as f64,
            page: page.unsigned_abs(),
        }
    }

    fn read(&mut self, pids: Option<Vec<i32>>) -> std::result::Result<Vec<ProcessRecord>, Errno> {
        let pids = match pids {
            Some(pids) => pids,
            None => list(&self.proc)?,
        };
        let mut found = Vec::with_capacity(pids.len());
        for pid in pids {
            match self.process(pid) {
                Ok(process) => found.extend(process),
                Err(errno) if is_shortage(errno) => return Err(errno),
                // Gone, or not to be entered.
                Err(_) => {}
            }
        }
        Ok(found)
    }

    fn process(&mut self, pid: i32) -> std::result::Result<Option<ProcessRecord>, Errno> {
        let dir = self.proc.enter(&c_string(pid.to_string().as_bytes()))?;
        let owner = dir.owner()?;
        let Some(mut process) = parse::stat(dir.read(c"stat", &mut self.buffer)?).map(|stat| ProcessRecord {
            pid,
            pids: vec![pid],
            ppid: stat.ppid,
            pgid: stat.pgid,
            sid: stat.sid,
            tty_nr: stat.tty_nr,
            tpgid: stat.tpgid,
            state: stat.state.into(),
            nice: stat.nice,
            uids: None,
            owner,
            thread_count: stat.threads,
            comm: stat.comm.to_vec(),
            cmdline: None,
            kernel_thread: stat.flags & PF_KTHREAD != 0,
            start_ticks: stat.start_ticks,
            start_seconds: stat.start_ticks as f64 / self.ticks_per_second,
            utime: stat.utime as f64 / self.ticks_per_second,
            stime: stat.stime as f64 / self.ticks_per_second,
            rss: stat.rss_pages.max(0).unsigned_abs().saturating_mul(self.page),
            vsize: stat.vsize,
            namespaces: None,
            threads: Vec::new(),
        }) else {
            return Ok(None);
        };
        if self.wanted.status {
            let status = parse::status(dir.read(c"status", &mut self.buffer)?);
            process.uids =
                status.uids.map(|[real, effective, saved, file_system]| (real, effective, saved, file_system));
            process.rss = status.rss_kib.map_or(process.rss, |kib| kib.saturating_mul(1024));
            if status.pids.first() == Some(&pid) {
                process.pids = status.pids;
            }
        }
        if self.wanted.cmdline {
            // A kernel thread has none: one call less for each of the hundreds there are.
            let none = process.kernel_thread;
            process.cmdline =
                Some(if none { Vec::new() } else { parse::cmdline(dir.read(c"cmdline", &mut self.buffer)?) });
        }
        if self.wanted.namespaces {
            process.namespaces = Some(self.namespaces(&dir)?);
        }
        // The count saves listing the threads of the many that have one.
        if self.wanted.threads && process.thread_count > 1 {
            process.threads = self.threads(&dir, pid)?;
        }
        Ok(Some(process))
    }

    fn threads(&mut self, process: &Dir, pid: i32) -> std::result::Result<Vec<ThreadRecord>, Errno> {
        let mut found = Vec::new();
        let tasks = process.list(c"task")?;
        for tid in list(&tasks)? {
            if tid == pid {
                continue;
            }
            match self.thread(&tasks, tid) {
                Ok(thread) => found.push(thread),
                Err(errno) if is_shortage(errno) => return Err(errno),
                Err(_) => {}
            }
        }
        Ok(found)
    }

    fn thread(&mut self, tasks: &Dir, tid: i32) -> std::result::Result<ThreadRecord, Errno> {
        let dir = tasks.enter(&c_string(tid.to_string().as_bytes()))?;
        let comm = parse::comm(dir.read(c"comm", &mut self.buffer)?).to_vec();
        let namespaces = if self.wanted.namespaces { Some(self.namespaces(&dir)?) } else { None };
        Ok(ThreadRecord { tid, comm, namespaces })
    }

    /// What cannot be read stays unknown: most links of a zombie, all of them without the permission to trace the
    /// process (PTRACE_MODE_READ, ptrace(2)), and kinds that this kernel does not have.
    fn namespaces(&self, task: &Dir) -> std::result::Result<Ids, Errno> {
        let mut ids = [None; KINDS.len()];
        let mut buffer = [0; 64];
        let directory = match task.enter(c"ns") {
            Ok(directory) => directory,
            Err(errno) if is_shortage(errno) => return Err(errno),
            Err(_) => return Ok(ids),
        };
        for (id, link) in ids.iter_mut().zip(&self.links) {
            match directory.read_link(link, &mut buffer) {
                Ok(target) => *id = parse::namespace_link(target),
                // The same permission is asked for with each.
                Err(libc::EACCES | libc::EPERM) => break,
                Err(errno) if is_shortage(errno) => return Err(errno),
                Err(_) => {}
            }
        }
        Ok(ids)
    }
}

/// PF_KTHREAD (include/linux/sched.h), part of what proc_pid_stat(5) calls flags.
const PF_KTHREAD: u32 = 0x0020_0000;

/// The numbers among the names in a directory, in its order.
fn list(directory: &Dir) -> std::result::Result<Vec<i32>, Errno> {
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let some = directory.entries(&mut buffer)?;
        if some.is_empty() {
            return Ok(found);
        }
        found.extend(parse::entries(some).filter_map(parse::pid));
    }
}

/// Whether this process lacks something: then nothing can be said about the others, and a short list would be a lie.
fn is_shortage(errno: Errno) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM)
}

/// For names that have no NUL: numbers and words of this file.
fn c_string(name: &[u8]) -> CString {
    CString::new(name).unwrap_or_default()
}
