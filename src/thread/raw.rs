//! System calls as such: nothing is checked, nothing undone, and an error is the kernel's own number (`nsbox.raw`).

use std::ffi::{CString, c_char, c_int};
use std::ptr;

use nsbox_init::vfork::CloneArgs;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::error::{Error, Result, last};

/// A path or another text for the kernel.
fn text(argument: &str, bytes: PyBackedBytes) -> Result<CString> {
    CString::new(&bytes[..]).map_err(|_| Error::Spec(format!("{argument}: embedded null byte")))
}

fn checked(call: &'static str, result: c_int) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(last(call)) }
}

/// unshare(2): move the calling thread.
#[pyfunction]
pub fn unshare(flags: c_int) -> Result<()> {
    // SAFETY: plain numbers.
    checked("unshare", unsafe { libc::unshare(flags) })
}

/// setns(2): move the calling thread into a namespace, or into those of a process.
#[pyfunction]
#[pyo3(signature = (fd, nstype=0))]
pub fn setns(fd: c_int, nstype: c_int) -> Result<()> {
    // SAFETY: plain numbers.
    checked("setns", unsafe { libc::setns(fd, nstype) })
}

/// mount(2).
#[pyfunction]
#[pyo3(signature = (source, target, fstype=None, flags=0, data=None))]
pub fn mount(
    py: Python<'_>,
    source: Option<PyBackedBytes>,
    target: PyBackedBytes,
    fstype: Option<PyBackedBytes>,
    flags: u64,
    data: Option<PyBackedBytes>,
) -> Result<()> {
    let maybe = |argument: &str, bytes: Option<PyBackedBytes>| bytes.map(|bytes| text(argument, bytes)).transpose();
    let (source, fstype, data) = (maybe("source", source)?, maybe("fstype", fstype)?, maybe("data", data)?);
    let target = text("target", target)?;
    let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
    py.detach(|| {
        // SAFETY: NULL or C strings that outlive the call.
        let result =
            unsafe { libc::mount(pointer(&source), target.as_ptr(), pointer(&fstype), flags, pointer(&data).cast()) };
        checked("mount", result)
    })
}

/// umount2(2).
#[pyfunction]
#[pyo3(signature = (target, flags=0))]
pub fn umount2(py: Python<'_>, target: PyBackedBytes, flags: c_int) -> Result<()> {
    let target = text("target", target)?;
    // SAFETY: a C string that outlives the call.
    py.detach(|| checked("umount2", unsafe { libc::umount2(target.as_ptr(), flags) }))
}

/// pivot_root(2).
#[pyfunction]
pub fn pivot_root(new_root: PyBackedBytes, put_old: PyBackedBytes) -> Result<()> {
    let (new_root, put_old) = (text("new_root", new_root)?, text("put_old", put_old)?);
    // SAFETY: C strings that outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_pivot_root, new_root.as_ptr(), put_old.as_ptr()) };
    checked("pivot_root", result as c_int)
}

/// sethostname(2).
#[pyfunction]
pub fn sethostname(name: PyBackedBytes) -> Result<()> {
    // SAFETY: that many bytes.
    checked("sethostname", unsafe { libc::sethostname(name.as_ptr().cast::<c_char>(), name.len()) })
}

/// setdomainname(2).
#[pyfunction]
pub fn setdomainname(name: PyBackedBytes) -> Result<()> {
    // SAFETY: that many bytes.
    checked("setdomainname", unsafe { libc::setdomainname(name.as_ptr().cast::<c_char>(), name.len()) })
}

/// clone3(2) without sharing memory, as os.fork: 0 in the child, the PID in the parent, each with the pidfd, which is
/// -1 where CLONE_PIDFD is not among the flags. What the flags may be is decided in `nsbox.raw`.
#[pyfunction]
#[pyo3(signature = (flags, exit_signal, cgroup=0))]
pub fn clone3(flags: u64, exit_signal: u64, cgroup: u64) -> Result<(i64, i32)> {
    let mut pidfd = -1_i32;
    let args = CloneArgs { flags, exit_signal, cgroup, pidfd: (&raw mut pidfd) as u64, ..CloneArgs::default() };
    // SAFETY: a valid structure and its size; without CLONE_VM the child continues with a copy of our memory and stack,
    // as after fork(2). Python's own state is prepared for that by the three functions it has for it, with the GIL
    // held.
    let result = unsafe {
        pyo3::ffi::PyOS_BeforeFork();
        let result = libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>());
        if result == 0 {
            pyo3::ffi::PyOS_AfterFork_Child();
        } else {
            let errno = *libc::__errno_location();
            pyo3::ffi::PyOS_AfterFork_Parent();
            *libc::__errno_location() = errno;
        }
        result
    };
    if result < 0 { Err(last("clone3")) } else { Ok((result, pidfd)) }
}
