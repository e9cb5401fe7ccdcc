//! One enum for everything that can go wrong, and one conversion to the exceptions of `nsbox.errors`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::call::Call;
use crate::python::{SpecError, UnsupportedError, call, spawn_error};
use crate::step_name::StepName;

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// A step that failed, with all that is known about it. Python makes the text of the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailure {
    /// The error number.
    pub errno: i32,
    /// The step's name, such as `mount proc`.
    pub step: StepName,
    /// Who carried it out: `caller`, `init` or `payload`.
    pub actor: &'static str,
    /// The system calls, of which one failed.
    pub calls: Vec<Call>,
    /// More that was reported about it.
    pub detail: String,
}

impl StepFailure {
    fn exception(&self, py: Python<'_>) -> PyResult<PyErr> {
        let StepFailure { errno, step, actor, calls, detail } = self;
        let error = call(&spawn_error(py)?, (*errno, step.text(), *actor, calls.clone(), detail.as_str()))?;
        Ok(PyErr::from_value(error))
    }
}

/// Everything that can go wrong.
#[derive(Debug)]
pub enum Error {
    /// The request itself is impossible: which argument, and why.
    Spec(String),
    /// This kernel lacks a feature: which one, and since which version it exists.
    Unsupported(String),
    /// A step of the plan failed.
    Step(Box<StepFailure>),
    /// A system call outside any plan failed.
    Os(&'static str, i32),
    /// Python raised, as when a signal handler did.
    Python(PyErr),
}

impl From<PyErr> for Error {
    fn from(error: PyErr) -> Self {
        Error::Python(error)
    }
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Spec(message) => SpecError::new_err(message),
            Error::Unsupported(message) => UnsupportedError::new_err(message),
            Error::Os(call, errno) => {
                let reason = std::io::Error::from_raw_os_error(errno);
                PyOSError::new_err((errno, format!("{call}: {reason}")))
            }
            Error::Step(failure) => Python::attach(|py| failure.exception(py).unwrap_or_else(|error| error)),
            Error::Python(error) => error,
        }
    }
}

/// The calling thread's errno as an [`Error::Os`].
pub fn last(call: &'static str) -> Error {
    Error::Os(call, std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// An errno of `nix` as an [`Error::Os`].
pub fn os(call: &'static str) -> impl FnOnce(nix::Error) -> Error {
    move |errno| Error::Os(call, errno as i32)
}

/// An OSError about a path.
pub fn os_error(errno: i32, path: Vec<u8>) -> Error {
    let reason = std::io::Error::from_raw_os_error(errno).to_string();
    let reason = reason.split(" (os error").next().unwrap_or_default().to_owned();
    Error::Python(PyOSError::new_err((errno, reason, OsString::from_vec(path))))
}
