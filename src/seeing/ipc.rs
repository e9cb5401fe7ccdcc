//! What is in an IPC namespace: the files that the kernel shows of it (ipc_namespaces(7)).

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, RawFd};

use nix::sys::stat::fstat;
use pyo3::prelude::*;

use crate::error::{Result, os_error};
use crate::plan::look::Wanted;
use crate::seeing::look::Opened;
use crate::seeing::proc::dir::{Dir, Errno};
use crate::seeing::proc::open::Namespaces;

/// The files of an IPC namespace; None for what could not be read.
#[pyclass(frozen, get_all, module = "nsbox._core")]
#[derive(Debug)]
pub struct IpcFiles {
    /// /proc/sysvipc/shm.
    pub shm: Option<Vec<u8>>,
    /// /proc/sysvipc/sem.
    pub sem: Option<Vec<u8>>,
    /// /proc/sysvipc/msg.
    pub msg: Option<Vec<u8>>,
    /// POSIX message queues: name, uid, gid, mode, and the file's text if it may be read (mq_overview(7)).
    pub queues: Option<Vec<Queue>>,
    /// Whether the ids of the first three are those of the process's user namespace instead of the caller's.
    pub ids_inside: bool,
}

/// The longest file that is read, in bytes: the objects of a namespace are as many as its processes make.
const MAX_TEXT: u64 = 64 << 20;
/// The largest number of message queues that are listed.
const MAX_QUEUES: usize = 1 << 16;

type Queue = (Vec<u8>, u32, u32, u32, Option<Vec<u8>>);

/// Read what is in the IPC namespace of process `pid`, or of the calling thread.
#[pyfunction]
#[pyo3(signature = (pid))]
pub fn read_ipc(py: Python<'_>, pid: Option<i32>) -> Result<IpcFiles> {
    let path = pid.map_or_else(|| "/proc/thread-self".into(), |pid| format!("/proc/{pid}"));
    py.detach(|| read(&path)).map_err(|errno| os_error(errno, format!("{path}/ns/ipc").into_bytes()))
}

/// The POSIX message queues in an mqueue that is mounted somewhere; None if it cannot be listed. The descriptor stays
/// the caller's.
#[pyfunction]
pub fn list_queues(py: Python<'_>, fd: RawFd) -> Option<Vec<Queue>> {
    // What fsmount(2) returns is no more than a place (O_PATH); it has to be opened to be read.
    let path = CString::new(format!("/proc/thread-self/fd/{fd}")).ok()?;
    py.detach(|| list(&Dir::open(&path).ok()?))
}

fn read(path: &str) -> std::result::Result<IpcFiles, Errno> {
    let process = Dir::open(&CString::new(path).map_err(|_| libc::EINVAL)?)?;
    // Those of the caller's proc: the process may have none mounted, and these files show the namespaces of the process
    // that opens them.
    Dir::open(c"/proc/sysvipc")?;
    let files = ["sysvipc/shm", "sysvipc/sem", "sysvipc/msg"].map(Wanted::File);
    let wanted = [files[0], files[1], files[2], Wanted::Queues];
    let own = process.inode(c"ns/ipc")? == Dir::open(c"/proc/thread-self")?.inode(c"ns/ipc")?;
    let enter = if own { &[][..] } else { &["ipc"] };
    let ([shm, sem, msg, queues], ids_inside) = Namespaces { process: &process }.look(enter, wanted)?;
    Ok(IpcFiles {
        shm: text(shm),
        sem: text(sem),
        msg: text(msg),
        queues: queues.ok().and_then(|fd| list(&Dir::from(fd))),
        ids_inside,
    })
}

/// A whole file that the kernel returns in pieces; `None` for one that is too long.
fn text(file: Opened) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    File::from(file.ok()?).take(MAX_TEXT + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= MAX_TEXT).then_some(text)
}

fn list(directory: &Dir) -> Option<Vec<Queue>> {
    let mut found = Vec::new();
    for name in directory.names(MAX_QUEUES).ok()? {
        let Ok(path) = CString::new(&*name) else { continue };
        // Not to read it: that needs no permission.
        let Ok(status) = directory.open_at(&path, libc::O_PATH).map(|queue| fstat(queue.as_fd())) else { continue };
        let Ok(status) = status else { continue };
        let text = text(directory.open_at(&path, libc::O_RDONLY | libc::O_NONBLOCK));
        found.push((name, status.st_uid, status.st_gid, status.st_mode & 0o7777, text));
    }
    Some(found)
}
