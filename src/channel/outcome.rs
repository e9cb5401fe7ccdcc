//! What a request brought.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

use crate::seeing::proc::dir::is_proc;

/// What an errand brought.
#[pyclass(frozen, module = "nsbox._core")]
pub struct Outcome {
    /// How long it took, in nanoseconds.
    #[pyo3(get)]
    pub nanoseconds: i64,
    /// What a file says.
    #[pyo3(get)]
    pub data: Option<Vec<u8>>,
    /// A descriptor. It is held here, so that a handler of a signal that raises at the wrong moment does not lose it.
    pub held: Mutex<Option<OwnedFd>>,
}

#[pymethods]
impl Outcome {
    /// A descriptor that was brought; nothing if none was, or it has been taken. It belongs to this object.
    #[getter]
    fn fd(&self) -> Option<RawFd> {
        self.held().as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The same descriptor, which then belongs to the caller.
    fn take(&self) -> Option<RawFd> {
        self.held().take().map(std::os::fd::IntoRawFd::into_raw_fd)
    }

    /// The same, as a file to read bytes from.
    fn file<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let open = crate::python::open(py)?;
        let fd = self.held().as_ref().map(AsRawFd::as_raw_fd);
        // No code of Python's runs from here on, so neither does a handler of a signal.
        let file = open.call1((fd, "rb"))?;
        let _ = self.take();
        Ok(file)
    }

    /// Whether it is of a proc.
    fn is_proc(&self) -> bool {
        self.held().as_ref().is_some_and(|fd| is_proc(fd).unwrap_or(false))
    }
}

impl Outcome {
    fn held(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
