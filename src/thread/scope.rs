//! Namespaces for the calling thread alone, undone when its scope ends (unshare(2), setns(2)).
//!
//! A thread keeps a descriptor of each namespace that it leaves, and goes back by it: no path, no /proc and no other
//! thread can change that. All of entering, and all of leaving, is a single call without Python in between, so that
//! a signal handler that raises finds the thread either outside or inside.

use std::cell::RefCell;
use std::ffi::CString;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::error::{Error, Result, StepFailure};
use crate::kinds;
use crate::python::{call, scope_error};
use crate::thread::calls::{Failed, thread};
use crate::thread::change::Change;
use crate::thread::foreign;
use crate::thread::undo::Undo;

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
    /// Whether it is in mounts that other programs may have made.
    foreign: bool,
    /// Shared with the scope's object: set when that was left, in whichever thread.
    left: Arc<AtomicBool>,
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
        foreign::note_home();
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

    /// Enter.
    fn __enter__(slf: Py<Self>, py: Python<'_>) -> Result<Py<Self>> {
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
        // Imports what may be needed inside. Python may run here, as the thread has not moved yet.
        call(&slf.bind(py).getattr("_prepare")?, ())?;
        let undo = scope.enter()?;
        let foreign = scope.is_foreign(&undo);
        let (changed, new) = match &scope.change {
            Change::Unshare { flags, .. } => (*flags, true),
            Change::Join(targets) => (targets.iter().fold(0, |flags, (flag, _)| flags | flag), false),
            Change::MountProc(_) => (0, false),
        };
        STACK.with_borrow_mut(|stack| stack.push(Entry { undo, changed, new, foreign, left }));
        let _ = scope.entered.set(entered);
        Ok(slf)
    }

    /// Called before the thread moves.
    fn _prepare(&self) {}

    /// Leave.
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
        match self.change.apply(&mut undo) {
            Ok(()) => Ok(undo),
            Err((step, failed, errno)) => {
                // Undo what was done. That should not fail, as it has just succeeded the other way.
                let stuck = undo.back();
                let detail = stuck.into_iter().map(|(_, call, _)| format!("{call} failed as well")).collect::<Vec<_>>();
                let detail = detail.join("; ");
                Err(Error::Step(Box::new(StepFailure { errno, step, actor: "caller", calls: vec![failed], detail })))
            }
        }
    }

    /// Whether the thread is now in a mount namespace of others, which is noted for its other threads.
    fn is_foreign(&self, undo: &Undo) -> bool {
        let mounts =
            |undo: &Undo| undo.namespaces.iter().find(|(flag, _)| *flag == kinds::MOUNT).map(|(_, fd)| fd.as_raw_fd());
        let Some(left) = mounts(undo) else { return false };
        let Change::Join(targets) = &self.change else { return foreign::note_copied(left) };
        let outer: Vec<_> = STACK.with_borrow(|stack| stack.iter().filter_map(|entry| mounts(&entry.undo)).collect());
        let kept = || outer.iter().copied().chain([left]);
        let mut joined = targets.iter().filter(|(flag, _)| *flag == kinds::MOUNT);
        joined.any(|(_, fd)| foreign::note_joined(*fd, kept()))
    }

    fn leave(&self) -> Result<()> {
        let Some(entered) = self.entered.get() else { return Err(misused("never entered", None, Vec::new())) };
        if entered.generation != GENERATION.load(Ordering::Relaxed) {
            // A child of os.fork stays in the namespaces in which it was forked: it may not have the rights to go back.
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

/// The error for a scope that was misused, or that could not be undone.
fn misused(problem: &'static str, thread: Option<i32>, failures: Vec<Failed>) -> Error {
    let failures: Vec<(&str, String, i32)> =
        failures.into_iter().map(|(step, call, errno)| (step.text(), call.to_string(), errno)).collect();
    Python::attach(|py| {
        let here = crate::thread::calls::thread();
        let made = scope_error(py).and_then(|error| call(&error, (problem, thread, here, failures)));
        Error::Python(made.map_or_else(|error| error, PyErr::from_value))
    })
}

/// Whether the mount namespace the calling thread is in was made by one of its scopes.
fn has_own_mounts() -> bool {
    let last =
        |stack: &Vec<Entry>| stack.iter().rev().find(|entry| entry.changed & kinds::MOUNT != 0).map(|entry| entry.new);
    STACK.with_borrow(last).unwrap_or(false)
}

/// Whether the calling thread is in a mount namespace that a scope has joined, or in a copy of one: other programs may
/// have arranged the files there.
#[pyfunction]
pub fn in_foreign_mounts() -> bool {
    let last = |stack: &Vec<Entry>| {
        stack.iter().rev().find(|entry| entry.changed & kinds::MOUNT != 0).is_some_and(|entry| entry.foreign)
    };
    STACK.with_borrow(last) || foreign::is_here()
}

/// In a child of os.fork: its scopes were those of the parent.
#[pyfunction]
pub fn forget_scopes() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    STACK.with_borrow_mut(Vec::clear);
}
