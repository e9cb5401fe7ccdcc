//! What a pass found, as instances of the classes that `nsbox.seeing.processes` defines.
//!
//! The classes are frozen and have slots. An attribute that was not asked for stays unset, so that it cannot be taken
//! for an unknown one; using it raises an error that says so.

use std::collections::HashMap;
use std::hash::Hash;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use pyo3::{ffi, intern};

use crate::python::call;
use crate::seeing::proc::numbering::{Numbering, boot_id, boottime_offset};
use crate::seeing::proc::parse::arguments;
use crate::seeing::proc::reader::{Ids, Process, Thread, Wanted};

/// The classes, in the order in which they are passed: `Process`, `Thread`, `NamespaceIds`, `Capabilities`.
pub type Classes<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Makes records. Most processes have the same namespaces and credentials as others, and share those objects.
pub struct Maker<'py> {
    py: Python<'py>,
    new: Bound<'py, PyAny>,
    classes: Classes<'py>,
    wanted: Wanted,
    reading: Bound<'py, PyAny>,
    ids: HashMap<Ids, Bound<'py, PyAny>>,
    users: HashMap<[u32; 4], Bound<'py, PyAny>>,
    groups: HashMap<Vec<u32>, Bound<'py, PyAny>>,
    capabilities: HashMap<[u64; 5], Bound<'py, PyAny>>,
    ticks_per_second: f64,
    page: u64,
}

impl<'py> Maker<'py> {
    pub fn new(py: Python<'py>, classes: Classes<'py>, wanted: Wanted, numbering: &Numbering) -> PyResult<Self> {
        let values = (numbering.namespace, numbering.caller, boot_id(), boottime_offset());
        let reading = call(&crate::python::reading(py)?, values)?;
        // SAFETY: plain numbers; neither can fail.
        let (ticks, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
        Ok(Maker {
            py,
            new: crate::python::new(py)?,
            classes,
            wanted,
            reading,
            ids: HashMap::new(),
            users: HashMap::new(),
            groups: HashMap::new(),
            capabilities: HashMap::new(),
            ticks_per_second: ticks as f64,
            page: page.unsigned_abs(),
        })
    }

    pub fn process(&mut self, process: &Process) -> PyResult<Bound<'py, PyAny>> {
        let (py, stat) = (self.py, &process.stat);
        let seconds = |ticks: u64| ticks as f64 / self.ticks_per_second;
        let record = call(&self.new, (&self.classes.0,))?;
        let set = Setter { record: &record };
        let pid = process.pid.into_bound_py_any(py)?;
        // The same object if it is the same number, to save memory.
        let outside = match process.outside {
            Some(outside) if outside == process.pid => pid.clone(),
            other => other.into_bound_py_any(py)?,
        };
        set.put(intern!(py, "pid"), pid)?;
        set.put(intern!(py, "pid_outside"), outside)?;
        set.put(intern!(py, "reading"), &self.reading)?;
        set.put(intern!(py, "ppid"), stat.ppid)?;
        set.put(intern!(py, "pgid"), stat.pgid)?;
        set.put(intern!(py, "sid"), stat.sid)?;
        set.put(intern!(py, "tty_nr"), stat.tty_nr)?;
        set.put(intern!(py, "tpgid"), stat.tpgid)?;
        set.put(intern!(py, "state"), char::from(stat.state))?;
        set.put(intern!(py, "nice"), stat.nice)?;
        set.put(intern!(py, "owner"), process.owner)?;
        set.put(intern!(py, "thread_count"), stat.threads)?;
        set.put(intern!(py, "comm"), PyBytes::new(py, &stat.comm))?;
        set.put(intern!(py, "kernel_thread"), process.is_kernel_thread())?;
        set.put(intern!(py, "start_ticks"), stat.start_ticks)?;
        set.put(intern!(py, "start_seconds"), seconds(stat.start_ticks))?;
        set.put(intern!(py, "utime"), seconds(stat.utime))?;
        set.put(intern!(py, "stime"), seconds(stat.stime))?;
        set.put(intern!(py, "vsize"), stat.vsize)?;
        let kib = process.status.as_ref().and_then(|status| status.rss_kib);
        let rough = stat.rss_pages.max(0).unsigned_abs().saturating_mul(self.page);
        set.put(intern!(py, "rss"), kib.map_or(rough, |kib| kib.saturating_mul(1024)))?;
        if self.wanted.status || self.wanted.pids {
            set.put(intern!(py, "pids"), PyTuple::new(py, &process.pids)?)?;
        }
        if let Some(status) = &process.status {
            set.put(intern!(py, "uids"), tuple_of(py, &mut self.users, status.uids)?)?;
            set.put(intern!(py, "gids"), tuple_of(py, &mut self.users, status.gids)?)?;
            set.put(
                intern!(py, "groups"),
                shared(&mut self.groups, &status.groups, |groups| PyTuple::new(py, groups).map(Bound::into_any))?,
            )?;
            set.put(intern!(py, "locked"), status.locked_kib.unwrap_or(0).saturating_mul(1024))?;
            let sets = status.capabilities.as_ref().map(|sets| {
                shared(&mut self.capabilities, sets, |sets| call(&self.classes.3, PyTuple::new(py, sets)?))
            });
            set.put(intern!(py, "capabilities"), sets.transpose()?)?;
            set.put(intern!(py, "no_new_privs"), status.no_new_privs)?;
            set.put(intern!(py, "seccomp"), status.seccomp)?;
        }
        if let Some(cmdline) = &process.cmdline {
            let words = arguments(cmdline).map(|word| PyBytes::new(py, word)).collect::<Vec<_>>();
            set.put(intern!(py, "cmdline"), PyTuple::new(py, words)?)?;
        }
        if self.wanted.namespaces {
            set.put(intern!(py, "namespaces"), self.namespaces(process.namespaces)?)?;
        }
        if self.wanted.for_children {
            set.put(intern!(py, "pid_for_children"), process.for_children[0])?;
            set.put(intern!(py, "time_for_children"), process.for_children[1])?;
        }
        if self.wanted.descriptors {
            let open = process.descriptors.as_ref().map(|open| {
                PyTuple::new(py, open.iter().map(|descriptor| (descriptor.fd, descriptor.kind, descriptor.id)))
            });
            set.put(intern!(py, "namespace_descriptors"), open.transpose()?)?;
        }
        if self.wanted.sockets {
            let known = process.sockets.as_ref().map(|sockets| {
                let known: Vec<_> = sockets.iter().filter_map(|one| Some((one.fd, one.namespace?))).collect();
                PyTuple::new(py, known)
            });
            set.put(intern!(py, "socket_namespaces"), known.transpose()?)?;
        }
        let files = [
            (self.wanted.exe, intern!(py, "exe"), &process.exe),
            (self.wanted.cwd, intern!(py, "cwd"), &process.cwd),
            (self.wanted.cgroup, intern!(py, "cgroup"), &process.cgroup),
            (self.wanted.label, intern!(py, "label"), &process.label),
        ];
        for (_, name, value) in files.into_iter().filter(|(wanted, ..)| *wanted) {
            set.put(name, value.as_ref().map(|bytes| PyBytes::new(py, bytes)))?;
        }
        let threads = process.threads.iter().map(|thread| self.thread(thread)).collect::<PyResult<Vec<_>>>()?;
        set.put(intern!(py, "threads"), PyTuple::new(py, threads)?)?;
        Ok(record)
    }

    fn thread(&mut self, thread: &Thread) -> PyResult<Bound<'py, PyAny>> {
        let record = call(&self.new, (&self.classes.1,))?;
        let set = Setter { record: &record };
        set.put(intern!(self.py, "tid"), thread.tid)?;
        set.put(intern!(self.py, "comm"), PyBytes::new(self.py, &thread.comm))?;
        set.put(intern!(self.py, "namespaces"), self.namespaces(thread.namespaces)?)?;
        Ok(record)
    }

    fn namespaces(&mut self, ids: Option<Ids>) -> PyResult<Bound<'py, PyAny>> {
        let ids = ids.unwrap_or_default();
        shared(&mut self.ids, &ids, |ids| call(&self.classes.2, PyTuple::new(self.py, ids)?))
    }
}

/// Return the object made for an equal key before, or make it.
fn shared<'py, K: Clone + Eq + Hash>(
    made: &mut HashMap<K, Bound<'py, PyAny>>,
    key: &K,
    make: impl FnOnce(&K) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    if let Some(object) = made.get(key) {
        return Ok(object.clone());
    }
    let object = make(key)?;
    made.insert(key.clone(), object.clone());
    Ok(object)
}

fn tuple_of<'py>(
    py: Python<'py>,
    made: &mut HashMap<[u32; 4], Bound<'py, PyAny>>,
    ids: Option<[u32; 4]>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    ids.map(|ids| shared(made, &ids, |ids| PyTuple::new(py, ids).map(Bound::into_any))).transpose()
}

/// Sets attributes past the `__setattr__` that makes the class frozen, as `object.__setattr__` does.
struct Setter<'a, 'py> {
    record: &'a Bound<'py, PyAny>,
}

impl<'py> Setter<'_, 'py> {
    fn put(&self, name: &Bound<'py, PyString>, value: impl IntoPyObject<'py>) -> PyResult<()> {
        let py = self.record.py();
        let value = value.into_bound_py_any(py)?;
        // SAFETY: three live objects; the GIL is held.
        match unsafe { ffi::PyObject_GenericSetAttr(self.record.as_ptr(), name.as_ptr(), value.as_ptr()) } {
            0 => Ok(()),
            _ => Err(PyErr::take(py).unwrap_or_else(|| PyRuntimeError::new_err("setting an attribute failed"))),
        }
    }
}
