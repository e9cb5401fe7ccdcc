//! One enum for everything that can go wrong, and one conversion to the exceptions of `nsbox.errors`.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

pyo3::import_exception!(nsbox.errors, SpecError);
pyo3::import_exception!(nsbox.errors, UnsupportedError);

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// A step that failed, with all that is known about it. Python makes the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailure {
    /// The error number.
    pub errno: i32,
    /// The step's name, such as `mount proc`.
    pub step: &'static str,
    /// Who carried it out: `caller`, `init` or `payload`.
    pub actor: &'static str,
    /// The system call with its arguments.
    pub call: String,
    /// What else was reported about it.
    pub detail: String,
}

/// Everything that can go wrong.
#[derive(Debug)]
pub enum Error {
    /// The request itself is impossible: which argument, and why.
    Spec(String),
    /// This kernel lacks something: what, and since when it is there.
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
            Error::Step(failure) => Python::attach(|py| spawn_error(py, &failure).unwrap_or_else(|error| error)),
            Error::Python(error) => error,
        }
    }
}

/// `nsbox.diagnosis.failure.spawn_error` chooses the class (a PermissionError where `except PermissionError` should work) and
/// finds the hint.
fn spawn_error(py: Python<'_>, failure: &StepFailure) -> PyResult<PyErr> {
    let StepFailure { errno, step, actor, call, detail } = failure;
    let error = py.import("nsbox.diagnosis.failure")?.getattr("spawn_error")?.call1((
        *errno,
        *step,
        *actor,
        call.as_str(),
        detail.as_str(),
    ))?;
    Ok(PyErr::from_value(error))
}

/// The calling thread's errno as an [`Error::Os`].
pub fn last(call: &'static str) -> Error {
    Error::Os(call, std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// An errno of `nix` as an [`Error::Os`].
pub fn os(call: &'static str) -> impl FnOnce(nix::Error) -> Error {
    move |errno| Error::Os(call, errno as i32)
}
