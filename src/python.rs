//! Every Python object that Rust looks up by name. All other objects are handed in as arguments.

use pyo3::prelude::*;

pyo3::import_exception!(nsbox.errors, SpecError);
pyo3::import_exception!(nsbox.errors, UnsupportedError);

/// `nsbox.diagnosis.failure.spawn_error(errno, step, actor, call, detail)` makes the exception for a step that failed: it chooses the
/// class (a PermissionError where `except PermissionError` should work) and finds the hint.
pub fn spawn_error(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("nsbox.diagnosis.failure")?.getattr("spawn_error")
}

/// `nsbox.errors.scope_error(problem, entered_by, current, failures)` makes the exception for a scope that was misused, or
/// that could not be undone.
pub fn scope_error(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("nsbox.errors")?.getattr("scope_error")
}

/// `io.open`.
pub fn open(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("io")?.getattr("open")
}

/// `object.__new__`, which makes an instance without calling `__init__`.
pub fn new(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.get_type::<PyAny>().getattr("__new__")
}
