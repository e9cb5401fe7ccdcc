//! Namespaces for the calling thread alone, undone when its scope ends (unshare(2), setns(2)).
//!
//! A thread keeps a descriptor of each namespace that it leaves, and goes back by it: no name, no /proc and no other
//! thread has a say in that. All of entering, and all of leaving, is a single call without Python in between, so that
//! a signal handler that raises finds the thread either here or there.

use std::cell::RefCell;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use super::calls::{
    checked, chroot, directory, loopback_up, mount, mount_number, mount_proc, own_namespace, setns, thread, unshare,
};
use crate::error::{Error, Result, StepFailure};
use crate::kinds::{self, KINDS, kinds_of};
use crate::python::scope_error;

/// Counts the forks that this process comes from: a scope that was entered before one is the parent's.
static GENERATION: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The scopes this thread is in, the innermost last.
    static STACK: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// A scope that has been entered.
struct Entry {
    undo: Undo,
    /// CLONE_NEW* of what was changed.
    changed: u64,
    /// Whether that is new, not joined.
    new: bool,
    /// Shared with the scope's object: set when that was left, in whichever thread.
    left: Arc<AtomicBool>,
}

/// How the thread gets back to where it was.
#[derive(Default)]
struct Undo {
    /// CLONE_NEW* and a descriptor of each namespace that was left, in the order in which they were.
    namespaces: Vec<(u64, OwnedFd)>,
    /// The root and the working directory that a change of the mount namespace loses.
    directories: Option<[OwnedFd; 2]>,
    /// What was mounted, and the number of that mount.
    mounted: Option<(CString, u64)>,
}

/// Namespaces and directories that are about to be left.
type Kept = (Vec<(u64, OwnedFd)>, Option<[OwnedFd; 2]>);

/// A step that failed: its name, the call, and the error number.
pub type Failed = (&'static str, String, i32);

/// What a scope does.
enum Change {
    Unshare { flags: u64, private: bool, loopback: bool },
    Join(Vec<(u64, RawFd)>),
    MountProc(CString),
}

/// Where and when a scope was entered.
struct Entered {
    thread: i32,
    generation: u64,
    left: Arc<AtomicBool>,
}

/// Other namespaces for the calling thread, as a context manager.
#[pyclass(subclass, frozen, module = "nsbox._core")]
pub struct ThreadScope {
    change: Change,
    tried: AtomicBool,
    entered: OnceLock<Entered>,
}

#[pymethods]
impl ThreadScope {
    /// One of `unshare` (names), `join` (names with descriptors, which stay the caller's), or `mount_proc`.
    #[new]
    #[pyo3(signature = (*, unshare=Vec::new(), join=Vec::new(), mount_proc=None, private=true, loopback=true))]
    fn new(
        unshare: Vec<String>,
        join: Vec<(String, RawFd)>,
        mount_proc: Option<PyBackedBytes>,
        private: bool,
        loopback: bool,
    ) -> Result<Self> {
        let flag = |name: &String| {
            kinds::by_name(name)
                .map(|kind| kind.flag)
                .ok_or_else(|| Error::Spec(format!("kinds: no namespace is called {name:?}")))
        };
        let change = if let Some(target) = mount_proc {
            let no_path = |_| Error::Spec("target: embedded null byte".into());
            Change::MountProc(CString::new(&target[..]).map_err(no_path)?)
        } else if join.is_empty() {
            let flags = unshare.iter().try_fold(0, |flags, name| Ok::<_, Error>(flags | flag(name)?))?;
            Change::Unshare { flags, private, loopback }
        } else {
            Change::Join(join.iter().map(|(name, fd)| Ok((flag(name)?, *fd))).collect::<Result<_>>()?)
        };
        Ok(ThreadScope { change, tried: AtomicBool::new(false), entered: OnceLock::new() })
    }

    /// The thread that has entered it; nothing before.
    #[getter]
    fn thread(&self) -> Option<i32> {
        self.entered.get().map(|entered| entered.thread)
    }

    /// Whether a thread has entered it, or has tried to.
    #[getter]
    fn tried(&self) -> bool {
        self.tried.load(Ordering::Relaxed)
    }

    /// Whether a thread is in it.
    #[getter]
    fn active(&self) -> bool {
        let here = |entered: &Entered| {
            entered.generation == GENERATION.load(Ordering::Relaxed) && !entered.left.load(Ordering::Relaxed)
        };
        self.entered.get().is_some_and(here)
    }

    /// Go.
    fn __enter__(slf: Py<Self>) -> Result<Py<Self>> {
        let scope = slf.get();
        let left = Arc::new(AtomicBool::new(false));
        let entered =
            Entered { thread: thread(), generation: GENERATION.load(Ordering::Relaxed), left: Arc::clone(&left) };
        if scope.entered.get().is_some() {
            return Err(misused("entered twice", scope.thread(), Vec::new()));
        }
        scope.tried.store(true, Ordering::Relaxed);
        if let Change::MountProc(target) = &scope.change
            && !has_own_mounts()
        {
            let target = target.to_string_lossy();
            return Err(Error::Spec(format!(
                "mount_proc: this thread is in no mount namespace that a scope has made for it, so a proc on {target} would be \
                 there for all who share its mounts; write `with nsbox.unshare('mount'), nsbox.mount_proc():`"
            )));
        }
        let undo = scope.enter()?;
        let (changed, new) = match &scope.change {
            Change::Unshare { flags, .. } => (*flags, true),
            Change::Join(targets) => (targets.iter().fold(0, |flags, (flag, _)| flags | flag), false),
            Change::MountProc(_) => (0, false),
        };
        STACK.with_borrow_mut(|stack| stack.push(Entry { undo, changed, new, left }));
        let _ = scope.entered.set(entered);
        Ok(slf)
    }

    /// Go back.
    #[pyo3(signature = (_kind, value, _traceback, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: Option<&Bound<'_, PyAny>>,
        value: Option<&Bound<'_, PyBaseException>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let Err(error) = self.leave() else { return Ok(()) };
        let error = PyErr::from(error);
        if let Some(value) = value {
            error.value(py).setattr("__context__", value)?;
        }
        Err(error)
    }
}

impl ThreadScope {
    fn enter(&self) -> Result<Undo> {
        let mut undo = Undo::default();
        match self.apply(&mut undo) {
            Ok(()) => Ok(undo),
            Err((step, call, errno)) => {
                // Back from what had been done. That it fails as well is not to be expected of what has just succeeded.
                let stuck = undo.back();
                let detail = stuck.into_iter().map(|(_, call, _)| format!("{call} failed as well")).collect::<Vec<_>>();
                let detail = detail.join("; ");
                Err(Error::Step(Box::new(StepFailure { errno, step, actor: "caller", call, detail })))
            }
        }
    }

    fn apply(&self, undo: &mut Undo) -> std::result::Result<(), Failed> {
        match &self.change {
            Change::Unshare { flags, private, loopback } => {
                let (kept, directories) = keep(*flags)?;
                step("unshare", || format!("unshare({})", names(*flags)), unshare(*flags as i32))?;
                (undo.namespaces, undo.directories) = (kept, directories);
                if *flags & kinds::MOUNT != 0 && *private {
                    let call = || "mount(NULL, \"/\", NULL, MS_REC|MS_PRIVATE, NULL)".into();
                    step("propagation", call, mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE))?;
                }
                if *flags & kinds::NET != 0 && *loopback {
                    step("loopback", || "ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)".into(), loopback_up())?;
                }
                Ok(())
            }
            Change::Join(targets) => {
                let flags = targets.iter().fold(0, |flags, (flag, _)| flags | flag);
                let (mut kept, mut directories) = keep(flags)?;
                for &(flag, fd) in targets {
                    let call = || format!("setns({fd}, {})", names(flag));
                    step(join_step(flag), call, setns(fd, flag))?;
                    let own = kept.iter().position(|(kind, _)| *kind == flag).expect("one was kept for each");
                    undo.namespaces.push(kept.swap_remove(own));
                    if flag == kinds::MOUNT {
                        undo.directories = directories.take();
                    }
                }
                Ok(())
            }
            Change::MountProc(target) => {
                let pidns =
                    step("open own", || "ioctl(PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE)".into(), own_namespace("pid"))?;
                mount_proc(target, &pidns)?;
                let number = mount_number(target);
                undo.mounted = Some((target.clone(), number.unwrap_or_default()));
                Ok(())
            }
        }
    }

    fn leave(&self) -> Result<()> {
        let Some(entered) = self.entered.get() else { return Err(misused("never entered", None, Vec::new())) };
        if entered.generation != GENERATION.load(Ordering::Relaxed) {
            // A child of os.fork: where it has been born is its own place, and the way back is not always open to it.
            return Ok(());
        }
        if entered.left.swap(true, Ordering::Relaxed) {
            return Err(misused("left twice", Some(entered.thread), Vec::new()));
        }
        if entered.thread != thread() {
            return Err(misused("left in another thread", Some(entered.thread), Vec::new()));
        }
        let mut failures = Vec::new();
        let mut own = false;
        // Scopes that were left out of turn, or in another thread, are undone here as well, each at its place.
        while let Some(entry) = STACK.with_borrow_mut(|stack| stack.pop_if(|entry| entry.left.load(Ordering::Relaxed)))
        {
            own |= Arc::ptr_eq(&entry.left, &entered.left);
            failures.extend(entry.undo.back());
        }
        if !failures.is_empty() {
            return Err(misused("not undone", Some(entered.thread), failures));
        }
        if own { Ok(()) } else { Err(misused("left out of turn", Some(entered.thread), Vec::new())) }
    }
}

impl Undo {
    /// Go back, as far as possible, and tell what was not.
    fn back(self) -> Vec<Failed> {
        let mut failures = Vec::new();
        let mut attempt = |step: &'static str, call: String, done: std::result::Result<(), i32>| {
            done.map_err(|errno| failures.push((step, call, errno))).is_ok()
        };
        if let Some((target, number)) = self.mounted {
            let covered = if mount_number(&target) == Some(number) { Ok(()) } else { Err(libc::EBUSY) };
            // SAFETY: a C string that outlives the call.
            let unmount =
                || checked(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) });
            attempt("unmount proc", format!("umount2({target:?}, MNT_DETACH)"), covered.and_then(|()| unmount()));
        }
        let mut at_home = true;
        for (flag, fd) in self.namespaces.into_iter().rev() {
            if flag == kinds::MOUNT {
                // Threads that were started in here share root and cwd with this one, until long after their join; they
                // keep them, and setns says what has failed if this does.
                let _ = unshare(libc::CLONE_FS);
            }
            let call = format!("setns({}, {})", fd.as_raw_fd(), names(flag));
            let back = attempt(join_step(flag), call, setns(fd.as_raw_fd(), flag));
            at_home &= back || flag != kinds::MOUNT;
        }
        if let Some([root, cwd]) = self.directories
            && at_home
        {
            attempt("root", "fchdir(root); chroot(\".\")".into(), chroot(&root));
            // SAFETY: plain numbers.
            attempt("cwd", "fchdir(cwd)".into(), checked(unsafe { libc::fchdir(cwd.as_raw_fd()) }));
        }
        failures
    }
}

/// Open the namespaces the thread is in, and where the mounts are among them its directories. Its root, its working
/// directory and its umask are no longer those of other threads then (CLONE_FS), which is for good: the kernel would not
/// let the thread change its mount namespace otherwise, and it could not share them again.
fn keep(flags: u64) -> std::result::Result<Kept, Failed> {
    let mut namespaces = Vec::new();
    for kind in kinds_of(flags) {
        let fd = own_namespace(kind.name);
        namespaces.push((kind.flag, step("open own", || format!("ioctl(PIDFD_GET_{}_NAMESPACE)", kind.name), fd)?));
    }
    let directories = if flags & kinds::MOUNT != 0 {
        let root = step("open own", || "open(\"/\", O_PATH)".into(), directory(c"/"))?;
        let cwd = step("open own", || "open(\".\", O_PATH)".into(), directory(c"."))?;
        step("unshare", || "unshare(CLONE_FS)".into(), unshare(libc::CLONE_FS))?;
        Some([root, cwd])
    } else {
        None
    };
    Ok((namespaces, directories))
}

fn step<T>(
    name: &'static str,
    call: impl FnOnce() -> String,
    done: std::result::Result<T, i32>,
) -> std::result::Result<T, Failed> {
    done.map_err(|errno| (name, call(), errno))
}

fn names(flags: u64) -> String {
    kinds_of(flags).map(|kind| kind.flag_name).collect::<Vec<_>>().join("|")
}

fn join_step(flag: u64) -> &'static str {
    crate::plan::join::step_name(KINDS.into_iter().find(|kind| kind.flag == flag).unwrap_or(KINDS[0]))
}

/// `nsbox.errors.scope_error` makes the words.
fn misused(problem: &'static str, thread: Option<i32>, failures: Vec<Failed>) -> Error {
    Python::attach(|py| {
        let made = scope_error(py).and_then(|error| error.call1((problem, thread, super::calls::thread(), failures)));
        Error::Python(made.map_or_else(|error| error, PyErr::from_value))
    })
}

/// Whether the mount namespace the calling thread is in was made by one of its scopes.
fn has_own_mounts() -> bool {
    let last =
        |stack: &Vec<Entry>| stack.iter().rev().find(|entry| entry.changed & kinds::MOUNT != 0).map(|entry| entry.new);
    STACK.with_borrow(last).unwrap_or(false)
}

/// In a child of os.fork: its scopes were those of the parent.
#[pyfunction]
pub fn forget_scopes() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    STACK.with_borrow_mut(Vec::clear);
}
