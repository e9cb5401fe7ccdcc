//! Requests that the nsbox-init of a box carries out by itself. Each is a plan of one step, so that it is named,
//! printed and reported like every other step.

use pyo3::prelude::*;

use crate::plan::flags::{MS_NODEV, MS_NOEXEC, MS_NOSUID};
use crate::plan::mounts::WHY_PROC;
use crate::plan::plan::{Arrangement, Plan};
use crate::plan::rights::Rights;
use crate::plan::step::{Action, Actor, Step};
use crate::step_name::StepName;
use nsbox_init::wire::{Blob, MaybeText, Op, Text};

/// Plans for such requests.
#[pyclass(frozen, name = "Request", module = "nsbox._core")]
pub struct Request;

fn plan(name: StepName, op: Op<Vec<u8>>, manual: &'static str, why: &'static str) -> Plan {
    Plan {
        steps: vec![Step { name, actor: Actor::Init, action: Action::Op(op), manual, why }],
        namespaces: 0,
        joined: 0,
        added: Vec::new(),
        arrangement: Arrangement::InitInside,
        keep: Vec::new(),
        close_fds: true,
        cgroup: None,
        left_out: Vec::new(),
        rights: Rights::default(),
        notes: Vec::new(),
    }
}

fn text(bytes: &[u8]) -> Text<Vec<u8>> {
    Text([bytes, b"\0"].concat())
}

fn maybe(bytes: Option<&[u8]>) -> MaybeText<Vec<u8>> {
    MaybeText(bytes.map(|bytes| [bytes, b"\0"].concat()).unwrap_or_default())
}

/// No argument may contain a NUL: the Python side checks that.
#[pymethods]
impl Request {
    /// mount(2).
    #[staticmethod]
    fn mount(source: Option<&[u8]>, target: &[u8], fstype: Option<&[u8]>, flags: u64) -> Plan {
        let op = Op::Mount { source: maybe(source), target: text(target), fstype: maybe(fstype), flags };
        plan(StepName::Mount, op, "mount(2)", "in the mount namespace of the box")
    }

    /// A new proc.
    #[staticmethod]
    fn mount_proc(target: &[u8]) -> Plan {
        let proc = maybe(Some(b"proc"));
        let flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
        let op = Op::Mount { source: proc.clone(), target: text(target), fstype: proc, flags };
        plan(StepName::MountProc, op, "proc(5)", WHY_PROC)
    }

    /// A new tmpfs for POSIX shared memory.
    #[staticmethod]
    fn mount_shm(target: &[u8]) -> Plan {
        let tmpfs = maybe(Some(b"tmpfs"));
        let flags = MS_NOSUID | MS_NODEV;
        let op = Op::Mount { source: tmpfs.clone(), target: text(target), fstype: tmpfs, flags };
        plan(StepName::MountShm, op, "shm_overview(7)", "POSIX shared memory is files there, in no IPC namespace")
    }

    /// umount2(2).
    #[staticmethod]
    fn unmount(target: &[u8], flags: u32) -> Plan {
        plan(
            StepName::Unmount,
            Op::Unmount { target: text(target), flags },
            "umount(2)",
            "the mount below is visible again",
        )
    }

    /// sethostname(2).
    #[staticmethod]
    fn hostname(name: &[u8]) -> Plan {
        let op = Op::SetHostname { name: Blob(name.to_vec()) };
        plan(StepName::Hostname, op, "sethostname(2)", "only this UTS namespace has it")
    }

    /// setdomainname(2).
    #[staticmethod]
    fn domainname(name: &[u8]) -> Plan {
        let op = Op::SetDomainname { name: Blob(name.to_vec()) };
        plan(StepName::Domainname, op, "setdomainname(2)", "only this UTS namespace has it")
    }

    /// Bring the loopback interface up.
    #[staticmethod]
    fn loopback() -> Plan {
        plan(
            StepName::Loopback,
            Op::LoopbackUp {},
            "netdevice(7)",
            "a new network namespace has nothing but lo, and lo is down",
        )
    }

    /// Write a file of proc, in one write(2). Here and below the path is without `/proc/`, and the proc is the one that
    /// was mounted before any program ran in the box.
    #[staticmethod]
    fn write(path: &[u8], data: &[u8]) -> Plan {
        let op = Op::WriteOwn { path: text(path), data: Blob(data.to_vec()) };
        plan(StepName::Write, op, "write(2)", "by a process in these namespaces")
    }

    /// Read a short file of proc.
    #[staticmethod]
    fn read(path: &[u8]) -> Plan {
        plan(StepName::Read, Op::Read { path: text(path) }, "read(2)", "by a process in these namespaces")
    }

    /// Open a file of proc for reading; or, with `link`, a namespace (proc_pid_ns(5)).
    #[staticmethod]
    pub fn open_own(path: &[u8], link: bool) -> Plan {
        let op = Op::OpenOwn { path: text(path), link: u32::from(link) };
        plan(StepName::Open, op, "open(2)", "by a process in these namespaces")
    }

    /// Copy a file, at most so many bytes. `any_type` allows other files than regular ones.
    #[staticmethod]
    fn copy(path: &[u8], max_bytes: u64, any_type: bool) -> Plan {
        let op = Op::Copy { path: text(path), max_bytes, any_type: u32::from(any_type) };
        plan(StepName::Open, op, "openat2(2)", "by a process in these namespaces; the caller gets a copy")
    }

    /// Copy what is mounted at a path, for the caller, who may change its owners.
    #[staticmethod]
    fn send_tree(source: &[u8], recursive: bool) -> Plan {
        let op = Op::SendTree { source: text(source), recursive: u32::from(recursive) };
        plan(StepName::Source, op, "open_tree(2)", "by a process in these namespaces; the caller gets the copy")
    }

    /// Open the proc that is mounted on a directory.
    #[staticmethod]
    fn open_proc(path: &[u8]) -> Plan {
        plan(StepName::Open, Op::OpenProc { path: text(path) }, "openat2(2)", "by a process in these namespaces")
    }

    /// A file system that is mounted nowhere.
    #[staticmethod]
    fn detached(fstype: &[u8]) -> Plan {
        plan(
            StepName::DetachedMount,
            Op::Detached { fstype: text(fstype) },
            "fsmount(2)",
            "for these namespaces, and mounted nowhere",
        )
    }

    /// A socket of the network namespace.
    #[staticmethod]
    fn socket(family: i32, kind: i32, protocol: i32) -> Plan {
        let op = Op::Socket { family, kind, protocol };
        plan(
            StepName::Socket,
            op,
            "socket(2)",
            "a socket belongs to the network namespace of the process that makes it",
        )
    }

    /// Reap orphans: `always` from now on, `now` those that have ended.
    #[staticmethod]
    fn reap(always: bool, now: bool) -> Plan {
        let op = Op::Reap { always: u32::from(always), now: u32::from(now) };
        plan(StepName::Reap, op, "wait(2)", "an ended process stays a zombie until its parent waits for it")
    }

    /// Kill the process that was started with this token.
    #[staticmethod]
    pub fn abort(token: u32) -> Plan {
        plan(StepName::Abort, Op::Abort { token }, "kill(2)", "the caller does not wait for it any more")
    }
}
