//! A proc that is open, and its files.

use std::borrow::Cow;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use pyo3::prelude::*;

use crate::error::{Error, Result, os_error};
use crate::seeing::lookup::open_in_root_of;
use crate::seeing::nsfs::open_namespace;
use crate::seeing::proc::dir::Dir;
use crate::seeing::proc::numbering::Numbering;
use crate::seeing::proc::open;

/// A proc, to be read; mounted somewhere or nowhere.
#[pyclass(frozen, module = "nsbox._core")]
#[derive(Debug)]
pub struct Proc {
    pub(crate) directory: Dir,
    /// How it was found, for errors.
    pub(crate) path: Vec<u8>,
    /// The PID namespace that it shows, if that is known from elsewhere.
    pub(crate) known: Option<OwnedFd>,
}

#[pymethods]
impl Proc {
    /// The PID namespace it belongs to; nothing if that may not be known.
    fn namespace(&self, py: Python<'_>) -> Option<u64> {
        py.detach(|| self.numbering().namespace)
    }

    /// The PID namespace that it shows, that of the caller, and whether they are the same one. The last is known also
    /// where the first is not.
    fn numbers_of(&self, py: Python<'_>) -> (Option<u64>, Option<u64>, bool) {
        let found = py.detach(|| self.numbering());
        (found.namespace, found.caller, found.is_callers())
    }

    /// The proc that its process `pid` finds at `path`.
    fn seen_by(&self, py: Python<'_>, pid: i32, path: Vec<u8>) -> Result<Proc> {
        let name = CString::new(&*path).map_err(|_| Error::Spec("path: it cannot contain a NUL".into()))?;
        let path = [&self.path, format!("/{pid}/root").as_bytes(), &path].concat();
        match py.detach(|| self.directory.open_as_seen_by(pid, &name)) {
            Ok(directory) => Ok(Proc { directory, path, known: None }),
            Err(errno) => Err(os_error(errno, path)),
        }
    }

    /// Whether there is a file at `path` for its process `pid`; a symbolic link counts, wherever it leads.
    fn exists_for(&self, py: Python<'_>, pid: i32, path: Vec<u8>) -> Result<bool> {
        let name = CString::new(&*path).map_err(|_| Error::Spec("path: it cannot contain a NUL".into()))?;
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        match py.detach(|| open_in_root_of(&self.directory, pid, &name, flags, None)) {
            Ok(_) => Ok(true),
            Err(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => Ok(false),
            Err(errno) => Err(os_error(errno, [&self.path, format!("/{pid}/root").as_bytes(), &path].concat())),
        }
    }

    /// The contents of a file in it.
    fn file(&self, py: Python<'_>, path: Vec<u8>) -> Result<Cow<'static, [u8]>> {
        let name = CString::new(&*path).map_err(|_| Error::Spec("path: it cannot contain a NUL".into()))?;
        let read = || {
            let mut text = Vec::new();
            // Many of these files come in pieces.
            File::from(self.directory.open_at(&name, libc::O_RDONLY)?)
                .read_to_end(&mut text)
                .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
            Ok(text)
        };
        match py.detach(read) {
            Ok(text) => Ok(text.into()),
            Err(errno) => Err(os_error(errno, [&self.path, &b"/"[..], &path].concat())),
        }
    }

    /// An open file in it.
    fn open(&self, path: Vec<u8>) -> Result<ProcFile> {
        let name = CString::new(&*path).map_err(|_| Error::Spec("path: it cannot contain a NUL".into()))?;
        match self.directory.open_at(&name, libc::O_RDONLY) {
            Ok(file) => Ok(ProcFile { file }),
            Err(errno) => Err(os_error(errno, [&self.path, &b"/"[..], &path].concat())),
        }
    }

    /// An open namespace of its process `pid`: at a path below its directory, below its root if the path begins with a
    /// slash, or that of a socket, as `socket/NUMBER`, for which `pid` is the caller's PID of the process.
    fn open_namespace(&self, py: Python<'_>, pid: i32, path: Vec<u8>) -> Result<ProcFile> {
        match py.detach(|| open_namespace(&self.directory, pid, &path)) {
            Ok(file) => Ok(ProcFile { file }),
            Err(errno) => Err(os_error(errno, [&self.path, format!("/{pid}/").as_bytes(), &path].concat())),
        }
    }

    /// The mount it is in, as mountinfo numbers them; nothing before Linux 5.8.
    fn mount_id(&self) -> Option<u64> {
        self.directory.mount_id().ok().filter(|id| *id != 0)
    }

    fn __repr__(&self) -> String {
        format!("<proc {}>", self.path.escape_ascii())
    }
}

impl Proc {
    /// Of which PID namespace its numbers are.
    pub fn numbering(&self) -> Numbering {
        Numbering::of(&self.directory, self.known.as_ref())
    }
}

/// An open file of a proc, which is closed with the last reference to it: no signal can come between.
#[pyclass(frozen, module = "nsbox._core")]
#[derive(Debug)]
pub struct ProcFile {
    file: OwnedFd,
}

#[pymethods]
impl ProcFile {
    /// Its descriptor, which remains its own.
    fn fileno(&self) -> i32 {
        self.file.as_raw_fd()
    }
}

/// Open the proc at `path`. `pid_namespace` is a descriptor of the PID namespace that it shows, where that is known; the
/// descriptor stays the caller's.
#[pyfunction]
#[pyo3(signature = (path, pid_namespace=None))]
pub fn open_proc(path: Vec<u8>, pid_namespace: Option<RawFd>) -> Result<Proc> {
    let name = CString::new(&*path).map_err(|_| Error::Spec("proc: a path cannot contain a NUL".into()))?;
    // SAFETY: the caller keeps it open during this call.
    let known = pid_namespace.and_then(|fd| unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().ok());
    match Dir::open(&name) {
        Ok(directory) => Ok(Proc { directory, path, known }),
        Err(errno) => Err(os_error(errno, path)),
    }
}

/// Open a proc of the PID namespace of process `pid` of our /proc, whatever it has mounted itself.
#[pyfunction]
pub fn open_proc_of(py: Python<'_>, pid: i32) -> Result<Proc> {
    let path = format!("/proc/{pid}/ns/pid").into_bytes();
    match py.detach(|| open::of_namespace(pid)) {
        Ok((directory, known)) => Ok(Proc { directory, path, known }),
        Err(errno) => Err(os_error(errno, path)),
    }
}
