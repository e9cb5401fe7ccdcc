//! The result of a request.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nsbox_init::wire::Data;
use pyo3::prelude::*;

use crate::descriptors::Descriptor;
use crate::python;

/// The result of a request that nsbox-init carried out by itself.
#[pyclass(frozen, module = "nsbox._core")]
pub struct Outcome {
    /// How long it took, in nanoseconds.
    #[pyo3(get)]
    nanoseconds: i64,
    /// The contents of a short file, or what was found about the descriptor.
    #[pyo3(get)]
    data: Option<Vec<u8>>,
    /// A descriptor. It is owned by this object, so that a signal handler that raises cannot lose it.
    held: Mutex<Option<OwnedFd>>,
}

#[pymethods]
impl Outcome {
    /// The descriptor that came with the reply; None if none came, or if it has been taken. It belongs to this object.
    #[getter]
    fn fd(&self) -> Option<RawFd> {
        self.held().as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The same descriptor, which then belongs to the object that is returned.
    fn take(&self) -> PyResult<Option<Descriptor>> {
        self.held().take().map(Descriptor::own).transpose()
    }

    /// The same, as a file to read bytes from.
    fn file<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let open = python::open(py)?;
        let fd = self.held().as_ref().map(AsRawFd::as_raw_fd);
        // From here on no Python code runs, so no signal handler does.
        let file = python::call(&open, (fd, "rb"))?;
        let _ = self.held().take().map(IntoRawFd::into_raw_fd);
        Ok(file)
    }
}

impl Outcome {
    /// That of a request of which no operation has been carried out yet.
    pub fn new() -> Self {
        Outcome { nanoseconds: 0, data: None, held: Mutex::new(None) }
    }

    /// Add what one operation reports.
    pub fn add(&mut self, nanoseconds: i64, data: &Data, attached: Option<OwnedFd>) {
        self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds);
        self.data = Some(data.bytes().to_vec());
        self.held = Mutex::new(attached);
    }

    /// The descriptor that came with the reply.
    pub fn into_fd(self) -> Option<OwnedFd> {
        self.held().take()
    }

    fn held(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
