//! Descriptors of this process.

use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::{Result, last, os};
use crate::python::{self, call};

/// The type of the file system of every proc (linux/magic.h).
#[allow(clippy::unnecessary_cast, reason = "C libraries differ in the type of these numbers")]
pub const PROC: i64 = libc::PROC_SUPER_MAGIC as i64;
/// The type of the file system of every mqueue (linux/magic.h).
pub const MQUEUE: i64 = 0x1980_0202;

/// What a descriptor is of.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The type of its file system (fstatfs(2)).
    pub file_system: i64,
    /// The type of the file, and its permissions (inode(7)).
    pub mode: libc::mode_t,
}

/// Find out what a descriptor is of.
///
/// # Errors
/// An errno.
#[allow(clippy::unnecessary_cast, reason = "C libraries differ in the type of these numbers")]
pub fn found(fd: &OwnedFd) -> std::result::Result<Found, i32> {
    // SAFETY: plain numbers, for which zero is valid.
    let (mut system, mut file): (libc::statfs, libc::stat) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both calls write the structure that they are given.
    let failed = unsafe {
        libc::fstatfs(fd.as_raw_fd(), &raw mut system) != 0 || libc::fstat(fd.as_raw_fd(), &raw mut file) != 0
    };
    if failed {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO));
    }
    Ok(Found { file_system: system.f_type as i64, mode: file.st_mode })
}

/// The same descriptor, or a duplicate if it has the number of a standard stream. A program that has closed a standard
/// stream may open it again, and would then close or write into a descriptor of ours with that number.
pub fn above_stdio(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // SAFETY: plain numbers.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(last("fcntl(F_DUPFD_CLOEXEC)"));
    }
    // SAFETY: a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// A descriptor that belongs to this object from the moment in which it was opened. A number would be lost if a signal
/// handler raised between the call that opens it and the statement that keeps it.
#[pyclass(frozen, module = "nsbox._core")]
pub struct Descriptor(Mutex<Option<OwnedFd>>);

#[pymethods]
impl Descriptor {
    /// Open it: `Descriptor(os.open, path, flags)`. The function has to be one that is not written in Python and returns
    /// a new descriptor. It will be greater than 2.
    #[new]
    #[pyo3(signature = (function: "object", /, *arguments: "object"))]
    fn new(function: &Bound<'_, PyAny>, arguments: &Bound<'_, PyTuple>) -> PyResult<Self> {
        // No Python code runs in here, so no signal handler does.
        let number = call(function, arguments)?.extract::<RawFd>()?;
        // SAFETY: a new descriptor, which nothing else owns.
        Self::own(unsafe { OwnedFd::from_raw_fd(number) })
    }

    /// The same for a function that returns two, such as `os.pipe`.
    #[staticmethod]
    #[pyo3(signature = (function: "object", /, *arguments: "object"))]
    fn pair(function: &Bound<'_, PyAny>, arguments: &Bound<'_, PyTuple>) -> PyResult<(Self, Self)> {
        let numbers = call(function, arguments)?.extract::<(RawFd, RawFd)>()?;
        // SAFETY: new descriptors, which nothing else owns.
        let (first, second) = unsafe { (OwnedFd::from_raw_fd(numbers.0), OwnedFd::from_raw_fd(numbers.1)) };
        Ok((Self::own(first)?, Self::own(second)?))
    }

    /// Two connected sockets (unix(7), SOCK_STREAM), for what the first one sends. Nothing can be sent to it: with a message
    /// come descriptors, and a socket whose last descriptor is closed can keep the process waiting (socket(7), SO_LINGER).
    #[staticmethod]
    fn sockets() -> PyResult<(Self, Self)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (first, second) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, flags).map_err(os("socketpair"))?;
        shutdown(first.as_raw_fd(), Shutdown::Read).map_err(os("shutdown"))?;
        Ok((Self::own(first)?, Self::own(second)?))
    }

    /// Its number; -1 after it was closed.
    fn fileno(&self) -> RawFd {
        self.held().as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Close it, if it is open.
    fn close(&self) {
        drop(self.held().take());
    }

    /// The same descriptor as a `socket.socket`, to which it then belongs.
    fn socket<'py>(&self, py: Python<'py>, family: i32, kind: i32, protocol: i32) -> PyResult<Bound<'py, PyAny>> {
        let class = python::socket(py)?;
        let made = call(&class.getattr("__new__")?, (&class,))?;
        let number = self.fileno();
        // It is written in Python: a signal handler may raise in it, before or after the object has the descriptor.
        let ready = call(&made.getattr("__init__")?, (family, kind, protocol, number));
        if call(&made.getattr("fileno")?, ())?.extract::<RawFd>()? == number
            && let Some(fd) = self.held().take()
        {
            let _ = fd.into_raw_fd();
        }
        ready.map(|_| made)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception: "object"))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        match self.fileno() {
            -1 => "<descriptor, closed>".to_string(),
            number => format!("<descriptor {number}>"),
        }
    }
}

impl Descriptor {
    /// Take over a descriptor, or a duplicate of it that is no standard stream.
    pub fn own(fd: OwnedFd) -> PyResult<Self> {
        Ok(Descriptor(Mutex::new(Some(above_stdio(fd)?))))
    }

    fn held(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
