//! Every Python object that Rust looks up by name, and how Rust calls Python code. All other objects are handed in as
//! arguments.

use std::ffi::{CStr, c_char};
use std::hint::black_box;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{BoundObject, ffi};

pyo3::import_exception!(nsbox.errors, SpecError);
pyo3::import_exception!(nsbox.errors, UnsupportedError);

/// `nsbox.diagnosis.failure.spawn_error(errno, step, actor, call, detail)` makes the exception for a step that failed: it chooses
/// the class (a PermissionError where `except PermissionError` should work) and finds the hint.
pub fn spawn_error(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    import(py, c"nsbox.diagnosis.failure")?.getattr("spawn_error")
}

/// `nsbox.errors.scope_error(problem, entered_by, current, failures)` makes the exception for a scope that was misused,
/// or that could not be undone.
pub fn scope_error(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    import(py, c"nsbox.errors")?.getattr("scope_error")
}

/// `nsbox.records.processes.Reading(pid_namespace, outside, boot_id, boottime_offset)`: what all records of one pass have
/// in common.
pub fn reading(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    import(py, c"nsbox.records.processes")?.getattr("Reading")
}

/// `nsbox.seeing.layer.changes(spec, descriptor, max_files)` reads what was written to a root that is an overlay.
pub fn changes(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    import(py, c"nsbox.seeing.layer")?.getattr("changes")
}

/// `io.open`.
pub fn open(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    import(py, c"io")?.getattr("open")
}

/// `socket.socket`.
pub fn socket(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    import(py, c"socket")?.getattr("socket")
}

/// `object.__new__`, which makes an instance without calling `__init__`.
pub fn new(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.get_type::<PyAny>().getattr("__new__")
}

/// Call Python code. It may switch to other threads, and if the interpreter ends meanwhile, the thread ends in there: up
/// to Python 3.13 by pthread_exit(3), which removes one stack frame after the other, and aborts the whole process at
/// one of Rust that catches panics. So the thread stays here until the process ends, as with Python 3.14.
pub fn call<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: impl IntoPyObject<'py, Target = PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callable.py();
    let arguments = arguments.into_pyobject(py).map_err(Into::into)?.into_any();
    let stay = Stay;
    // SAFETY: two live objects and no keywords; the interpreter is attached. The result is a new reference, or NULL with
    // an exception set.
    let result = unsafe {
        let call: CallFunction =
            black_box(std::mem::transmute::<*const (), CallFunction>(ffi::PyObject_Call as *const ()));
        Bound::from_owned_ptr_or_err(py, call(callable.as_ptr(), arguments.as_ptr(), std::ptr::null_mut()))
    };
    std::mem::forget(stay);
    result
}

/// Import a module, which may run Python code; see [`call`].
fn import<'py>(py: Python<'py>, name: &CStr) -> PyResult<Bound<'py, PyAny>> {
    let stay = Stay;
    // SAFETY: a C string; the interpreter is attached. The result is a new reference, or NULL with an exception set.
    let result = unsafe {
        let import: ImportFunction =
            black_box(std::mem::transmute::<*const (), ImportFunction>(ffi::PyImport_ImportModule as *const ()));
        Bound::from_owned_ptr_or_err(py, import(name.as_ptr()))
    };
    std::mem::forget(stay);
    result
}

// pyo3 declares them as functions that never unwind, so nothing would be dropped when they do. The compiler must not
// find out that these are the same.
type CallFunction =
    unsafe extern "C-unwind" fn(*mut ffi::PyObject, *mut ffi::PyObject, *mut ffi::PyObject) -> *mut ffi::PyObject;
type ImportFunction = unsafe extern "C-unwind" fn(*const c_char) -> *mut ffi::PyObject;

/// Keeps a thread that is unwound where it is.
struct Stay;

impl Drop for Stay {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}
