//! One pass over a proc, on as many CPUs as help.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicUsize, Ordering};

pub use crate::channel::inits::Ids;
use crate::channel::inits::Inits;
use crate::kinds::KINDS;
use crate::seeing::nsfs::namespace_at;
use crate::seeing::proc::dir::{Dir, Errno, list};
use crate::seeing::proc::numbering::Numbering;
use crate::seeing::proc::parse::{self, Stat};
use crate::seeing::proc::status::{Status, status};

/// The links to the namespaces in which children are created, where these can differ from the process's own.
const FOR_CHILDREN: [&CStr; 2] = [c"pid_for_children", c"time_for_children"];

/// What is read besides /proc/PID/stat: a file, a link or a directory each.
#[derive(Debug, Default, Clone, Copy)]
pub struct Wanted {
    pub status: bool,
    /// Only the PIDs out of status, which then needs to be read for few.
    pub pids: bool,
    pub cmdline: bool,
    pub namespaces: bool,
    pub for_children: bool,
    pub descriptors: bool,
    pub sockets: bool,
    pub exe: bool,
    pub cwd: bool,
    pub cgroup: bool,
    pub label: bool,
    pub threads: bool,
}

/// A process. What was not wanted, or could not be read, is `None`.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    /// Its PID in the PID namespace of the caller.
    pub outside: Option<i32>,
    pub owner: u32,
    pub stat: Stat,
    pub status: Option<Status>,
    /// From the namespace of the proc inwards.
    pub pids: Vec<i32>,
    pub cmdline: Option<Vec<u8>>,
    pub namespaces: Option<Ids>,
    pub for_children: [Option<u64>; FOR_CHILDREN.len()],
    pub descriptors: Option<Vec<Descriptor>>,
    pub sockets: Option<Vec<OpenSocket>>,
    pub exe: Option<Vec<u8>>,
    pub cwd: Option<Vec<u8>>,
    pub cgroup: Option<Vec<u8>>,
    pub label: Option<Vec<u8>>,
    pub threads: Vec<Thread>,
}

/// A thread besides the first one of its process.
#[derive(Debug)]
pub struct Thread {
    pub tid: i32,
    pub comm: Vec<u8>,
    pub namespaces: Option<Ids>,
}

/// An open descriptor of a namespace.
#[derive(Debug)]
pub struct Descriptor {
    pub fd: i32,
    pub kind: &'static str,
    pub id: u64,
}

/// An open socket.
#[derive(Debug)]
pub struct OpenSocket {
    pub fd: i32,
    /// The inode number of the socket.
    pub inode: u64,
    /// Its network namespace, once that was asked for.
    pub namespace: Option<u64>,
}

/// What a pass found.
#[derive(Debug, Default)]
pub struct Found {
    pub processes: Vec<Process>,
    /// Listed, but not to be entered (hidepid, proc(5)).
    pub hidden: Vec<i32>,
}

/// Read `pids`, or all there are, in this order. Processes that end meanwhile are left out.
pub fn read(proc: &Dir, numbering: &Numbering, pids: Option<Vec<i32>>, wanted: Wanted) -> Result<Found, Errno> {
    let pids = match pids {
        Some(pids) => pids,
        None => list(proc, &mut vec![0; 64 * 1024])?,
    };
    let workers = workers(pids.len());
    if workers == 1 {
        return Reader::new(proc, numbering, wanted).read(&pids);
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut reader = Reader::new(proc, numbering, wanted);
        let mut done = Vec::new();
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            match pids.chunks(BLOCK).nth(block) {
                Some(pids) => done.push((block, reader.read(pids)?)),
                None => return Ok(done),
            }
        }
    };
    let mut blocks = std::thread::scope(|scope| -> Result<Vec<_>, Errno> {
        // Where no thread can be made, as after an unshare of the PID namespace (unshare(2)), this one does it all.
        let others: Vec<_> =
            (1..workers).map_while(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut blocks = work()?;
        for other in others {
            blocks.extend(other.join().unwrap_or(Err(libc::EIO))?);
        }
        Ok(blocks)
    })?;
    blocks.sort_unstable_by_key(|(block, _)| *block);
    let mut all = Found::default();
    for (_, found) in blocks {
        all.processes.extend(found.processes);
        all.hidden.extend(found.hidden);
    }
    Ok(all)
}

/// Where the PID namespace is among the ids.
const PID: usize = 2;

/// Number of processes that a worker takes at a time.
const BLOCK: usize = 32;

/// Number of workers that pay off: a thread costs about as much as reading two processes.
fn workers(processes: usize) -> usize {
    // SAFETY: plain numbers, for which zero is valid; writes the structure it is given.
    let cpus = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        match libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) {
            0 => libc::CPU_COUNT(&set).unsigned_abs() as usize,
            _ => 1,
        }
    };
    processes.div_ceil(4 * BLOCK).clamp(1, cpus.clamp(1, 8))
}

/// The directory, what is wanted of it, and the buffers of a worker.
struct Reader<'a> {
    proc: &'a Dir,
    numbering: &'a Numbering,
    wanted: Wanted,
    buffer: Vec<u8>,
    links: [CString; KINDS.len()],
    /// The PID namespace of the proc, once a process with a single PID was read. Other processes in it have a single
    /// PID too.
    own: Option<u64>,
}

impl<'a> Reader<'a> {
    fn new(proc: &'a Dir, numbering: &'a Numbering, wanted: Wanted) -> Self {
        let links = KINDS.map(|kind| c_string(kind.link.as_bytes()));
        Reader { proc, numbering, wanted, buffer: vec![0; 16 * 1024], links, own: None }
    }

    fn read(&mut self, pids: &[i32]) -> Result<Found, Errno> {
        let mut found = Found { processes: Vec::with_capacity(pids.len()), hidden: Vec::new() };
        for &pid in pids {
            match self.process(pid) {
                Ok(process) => found.processes.extend(process),
                Err(errno) if is_shortage(errno) => return Err(errno),
                Err(libc::EACCES | libc::EPERM | libc::EXDEV) => found.hidden.push(pid),
                // Gone.
                Err(_) => {}
            }
        }
        Ok(found)
    }

    fn process(&mut self, pid: i32) -> Result<Option<Process>, Errno> {
        let dir = self.proc.enter(&decimal(pid))?;
        let owner = dir.owner()?;
        // Before stat is read: a process that has one then had not ended.
        let outside = self.numbering.outside(self.proc, pid, &dir, &mut self.buffer);
        let Some(stat) = parse::stat(dir.read(c"stat", &mut self.buffer)?) else { return Ok(None) };
        let mut process = Process {
            pid,
            outside,
            owner,
            stat,
            status: None,
            pids: vec![pid],
            cmdline: None,
            namespaces: None,
            for_children: [None; FOR_CHILDREN.len()],
            descriptors: None,
            sockets: None,
            exe: None,
            cwd: None,
            cgroup: None,
            label: None,
            threads: Vec::new(),
        };
        let wanted = self.wanted;
        if wanted.cmdline {
            // A kernel thread has none: one call less for each of the hundreds there are.
            let none = process.is_kernel_thread();
            process.cmdline = Some(if none { Vec::new() } else { dir.read(c"cmdline", &mut self.buffer)?.to_vec() });
        }
        if wanted.namespaces || wanted.for_children {
            (process.namespaces, process.for_children) = self.namespaces(&dir)?;
        }
        let pid_namespace = process.namespaces.and_then(|ids| ids[PID]);
        if wanted.status || wanted.pids && (pid_namespace.is_none() || self.own != pid_namespace) {
            let status = status(dir.read(c"status", &mut self.buffer)?);
            if status.pids.first() == Some(&pid) {
                process.pids.clone_from(&status.pids);
                if status.pids.len() == 1 {
                    self.own = pid_namespace;
                }
            }
            process.status = wanted.status.then_some(status);
        }
        if wanted.descriptors || wanted.sockets {
            (process.descriptors, process.sockets) = known(self.descriptors(&dir))?.unzip();
        }
        if wanted.exe {
            process.exe = known(dir.read_link(c"exe", &mut self.buffer))?.map(<[u8]>::to_vec);
        }
        if wanted.cwd {
            process.cwd = known(dir.read_link(c"cwd", &mut self.buffer))?.map(<[u8]>::to_vec);
        }
        if wanted.cgroup {
            process.cgroup = known(dir.read(c"cgroup", &mut self.buffer))?.and_then(parse::cgroup).map(<[u8]>::to_vec);
        }
        if wanted.label {
            process.label =
                known(dir.read(c"attr/current", &mut self.buffer))?.map(|label| parse::label(label).to_vec());
        }
        // The count saves listing the threads of the many that have one.
        if wanted.threads && process.stat.threads > 1 {
            process.threads = self.threads(&dir, pid)?;
        }
        Ok(Some(process))
    }

    fn threads(&mut self, process: &Dir, pid: i32) -> Result<Vec<Thread>, Errno> {
        let mut found = Vec::new();
        let tasks = process.list(c"task")?;
        for tid in list(&tasks, &mut self.buffer)? {
            if tid != pid {
                found.extend(known(self.thread(&tasks, tid))?);
            }
        }
        Ok(found)
    }

    fn thread(&mut self, tasks: &Dir, tid: i32) -> Result<Thread, Errno> {
        let dir = tasks.enter(&decimal(tid))?;
        let comm = parse::comm(dir.read(c"comm", &mut self.buffer)?).to_vec();
        let namespaces = if self.wanted.namespaces { self.namespaces(&dir)?.0 } else { None };
        Ok(Thread { tid, comm, namespaces })
    }

    /// What cannot be read stays unknown: most links of a zombie, all of them without the permission to trace the
    /// process (PTRACE_MODE_READ, ptrace(2)), and kinds that this kernel does not have.
    fn namespaces(&self, task: &Dir) -> Result<(Option<Ids>, [Option<u64>; FOR_CHILDREN.len()]), Errno> {
        let mut ids = [None; KINDS.len()];
        let mut for_children = [None; FOR_CHILDREN.len()];
        if let Some(directory) = known(task.enter(c"ns"))? {
            let mut links: Vec<(&CStr, &mut Option<u64>)> = Vec::with_capacity(ids.len() + for_children.len());
            if self.wanted.namespaces {
                links.extend(self.links.iter().map(CString::as_c_str).zip(&mut ids));
            }
            if self.wanted.for_children {
                links.extend(FOR_CHILDREN.into_iter().zip(&mut for_children));
            }
            let mut buffer = [0; 64];
            for (link, id) in links {
                match directory.read_link(link, &mut buffer) {
                    Ok(target) => *id = parse::namespace_link(target).map(|(_, id)| id),
                    // Every link takes the same permission.
                    Err(libc::EACCES | libc::EPERM) => break,
                    Err(errno) if is_shortage(errno) => return Err(errno),
                    Err(_) => {}
                }
            }
        }
        Ok((self.wanted.namespaces.then_some(ids), for_children))
    }

    /// The descriptors of namespaces, and the sockets.
    fn descriptors(&mut self, process: &Dir) -> Result<(Vec<Descriptor>, Vec<OpenSocket>), Errno> {
        let directory = process.list(c"fd")?;
        let (mut found, mut sockets) = (Vec::new(), Vec::new());
        let mut buffer = [0; 64];
        for fd in list(&directory, &mut self.buffer)? {
            let name = decimal(fd);
            let Some(target) = known(directory.read_link(&name, &mut buffer))? else { continue };
            if target.starts_with(b"/") {
                // A namespace that was opened where it is mounted has that path, even when it is mounted no longer.
                let opened = namespace_at(&directory, &name);
                found.extend(opened.map(|(kind, id)| Descriptor { fd, kind, id }));
            } else if let Some(inode) = parse::socket_link(target) {
                sockets.push(OpenSocket { fd, inode, namespace: None });
            } else if let Some((link, id)) = parse::namespace_link(target)
                // Other objects have other names: pipe, anon_inode.
                && let Some(kind) = KINDS.iter().find(|kind| kind.link.as_bytes() == link)
            {
                found.push(Descriptor { fd, kind: kind.name, id });
            }
        }
        Ok((found, sockets))
    }
}

impl Found {
    /// Add the namespaces of the nsbox-inits that the caller has started, where it may not read them. `inits` have to be
    /// those from before the pass: then no other process has had their PIDs.
    pub fn add_namespaces(&mut self, inits: &Inits) {
        let is_unknown = |process: &Process| !process.is_over() && process.namespaces == Some([None; KINDS.len()]);
        if !self.processes.iter().any(is_unknown) {
            return;
        }
        for lineage in inits.lineages() {
            let mut found = self.processes.iter_mut().find(|process| process.outside == Some(lineage.pid));
            for namespaces in &lineage.namespaces {
                let Some(process) = found else { break };
                if is_unknown(process) {
                    process.namespaces = Some(namespaces.ids);
                    process.for_children = namespaces.for_children;
                }
                let parent = process.stat.ppid;
                found = self.processes.iter_mut().find(|process| process.pid == parent);
            }
        }
    }
}

impl Process {
    /// Whether it has ended, and has no namespaces any more.
    fn is_over(&self) -> bool {
        matches!(self.stat.state, b'Z' | b'X')
    }

    /// Whether it is a thread of the kernel: PF_KTHREAD (include/linux/sched.h), part of what proc_pid_stat(5) calls
    /// flags.
    pub fn is_kernel_thread(&self) -> bool {
        self.stat.flags & 0x0020_0000 != 0
    }
}

/// `None` for what cannot be read; the error only if this process has run out of something.
fn known<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(errno) if is_shortage(errno) => Err(errno),
        Err(_) => Ok(None),
    }
}

/// Whether this process has run out of something: then others cannot be read, and a short list would be wrong.
fn is_shortage(errno: Errno) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM)
}

fn decimal(number: i32) -> CString {
    c_string(number.to_string().as_bytes())
}

/// For names without a NUL: numbers and the names in this file.
fn c_string(name: &[u8]) -> CString {
    CString::new(name).unwrap_or_default()
}
