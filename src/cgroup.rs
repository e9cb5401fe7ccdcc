//! A cgroup for one payload, or for one box: made before anything is started, removed when everything has ended.
//! Where it may be is decided in `cgroup.py`.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;

use crate::call::{Call, Value, call, write};
use crate::descriptors::above_stdio;
use crate::error::{Error, Result, StepFailure};
use crate::owner::this_process;
use crate::step_name::StepName;
use nsbox_init::wire::{Op, Text};

/// Number of attempts to remove a cgroup whose processes have been killed, but have not ended yet.
const MAX_ATTEMPTS: u32 = 1000;
/// Interval between the attempts.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(2);

/// The directory, and what is written there.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    settings: Vec<Setting>,
    /// The numbers of two descriptors that nsbox-init inherits: of the directory above, and of `cgroup.procs`.
    numbers: [AtomicI32; 2],
    /// The descriptors with these numbers, until nsbox-init has its own.
    open: Mutex<Option<[OwnedFd; 2]>>,
    /// Whether the directory exists.
    made: AtomicBool,
    /// The process that made it.
    owner: u64,
}

/// A file, its text, and whether it may be missing.
type Setting = (String, String, bool);

impl PartialEq for Directory {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}
impl Eq for Directory {}

/// A cgroup for one payload or one box.
#[pyclass(frozen, module = "nsbox._core")]
pub struct Cgroup(pub Arc<Directory>);

#[pymethods]
impl Cgroup {
    /// Describe it; nothing is made yet. The settings are files, their texts, and whether they may be missing.
    #[new]
    fn new(path: PathBuf, settings: Vec<Setting>) -> Self {
        Cgroup(Arc::new(Directory {
            path,
            settings,
            numbers: [const { AtomicI32::new(-1) }; 2],
            open: Mutex::new(None),
            made: AtomicBool::new(false),
            owner: this_process(),
        }))
    }

    /// Its directory.
    #[getter]
    fn path(&self) -> PathBuf {
        self.0.path.clone()
    }

    /// Make it.
    fn make(&self, py: Python<'_>) -> Result<()> {
        py.detach(|| self.0.make())
    }
}

impl Directory {
    fn make(&self) -> Result<()> {
        let failed = |call: Call, error: &std::io::Error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            let (step, actor, calls, detail) = (StepName::Cgroup, "caller", vec![call], String::new());
            Error::Step(Box::new(StepFailure { errno, step, actor, calls, detail }))
        };
        fs::create_dir(&self.path).map_err(|error| {
            failed(call("mkdir", [("pathname", Value::text(self.path.as_os_str().as_bytes()))]), &error)
        })?;
        self.made.store(true, Ordering::Release);
        for (file, text, may_be_missing) in &self.settings {
            // Not created: where a controller is not there, neither is its file.
            let written = fs::File::options()
                .write(true)
                .open(self.path.join(file))
                .and_then(|mut open| std::io::Write::write_all(&mut open, text.as_bytes()));
            match written {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) && *may_be_missing => {}
                Err(error) => {
                    self.remove();
                    return Err(failed(write(self.path.join(file).as_os_str().as_bytes(), Value::text(text)), &error));
                }
                Ok(()) => {}
            }
        }
        let opened = self.open_both();
        match opened {
            Ok(both) => {
                for (number, fd) in self.numbers.iter().zip(&both) {
                    number.store(fd.as_raw_fd(), Ordering::Release);
                }
                *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(both);
                Ok(())
            }
            Err(error) => {
                self.remove();
                Err(error)
            }
        }
    }

    fn open_both(&self) -> Result<[OwnedFd; 2]> {
        let errno = |error: std::io::Error| Error::Os("open(cgroup)", error.raw_os_error().unwrap_or(libc::EIO));
        let parent = fs::File::open(self.path.parent().unwrap_or(Path::new("/"))).map_err(errno)?;
        let procs = fs::File::options().write(true).open(self.path.join("cgroup.procs")).map_err(errno)?;
        Ok([above_stdio(parent.into())?, above_stdio(procs.into())?])
    }

    /// Close the descriptors: nsbox-init has its own now.
    pub fn close(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Kill what is in it and remove it, if nsbox-init has not done that. A child of os.fork must not: the cgroup
    /// belongs to its parent.
    pub fn remove(&self) {
        if self.owner != this_process() || !self.made.swap(false, Ordering::AcqRel) {
            return;
        }
        self.close();
        for attempt in 0..MAX_ATTEMPTS {
            match fs::remove_dir(&self.path) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    if attempt == 0 {
                        let _ = fs::write(self.path.join("cgroup.kill"), "1");
                    }
                    std::thread::sleep(ATTEMPT_INTERVAL);
                }
                _ => return,
            }
        }
    }

    /// Where it is made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that are written in it, with their texts.
    pub fn writes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(file, text, _)| (file.as_str(), text.as_str()))
    }

    /// The operation that makes nsbox-init remove it at the end.
    pub fn removal(&self) -> Op<Vec<u8>> {
        let name = self.path.file_name().unwrap_or_default();
        let [parent, procs] = [0, 1].map(|index: usize| self.numbers[index].load(Ordering::Acquire));
        Op::Cgroup { parent, procs, name: Text([name.as_bytes(), b"\0"].concat()) }
    }

    /// The operation by which a process enters it.
    pub fn join(&self) -> Op<Vec<u8>> {
        Op::JoinCgroup { procs: self.numbers[1].load(Ordering::Acquire) }
    }

    /// The descriptors that nsbox-init has to get.
    pub fn keep(&self) -> impl Iterator<Item = i32> {
        self.numbers.iter().map(|number| number.load(Ordering::Acquire)).filter(|&number| number >= 0)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.remove();
    }
}
