//! System calls without side effects, whose results distinguish a seccomp filter or a Landlock domain from the kernel's
//! own rules.

use libc::{c_int, c_long};
use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::kinds::{self, kinds_of};

/// The results of the calls, as error numbers. A filter returns EPERM or ENOSYS before the kernel checks the arguments,
/// which are chosen so that the kernel refuses them for another reason.
#[pyclass(frozen, get_all, module = "nsbox._core")]
pub struct Probe {
    /// `unshare(0)`: 0 from the kernel.
    unshare: i32,
    /// `setns(-1, 0)`: EBADF from the kernel.
    setns: i32,
    /// `clone3(NULL, 1)`: EINVAL from the kernel.
    clone3: i32,
    /// The kinds of namespaces for which clone(2) fails before the kernel checks the arguments: the kernel returns
    /// EINVAL.
    clone_refused: Vec<&'static str>,
    /// `mount(NULL, NULL, NULL, 0, NULL)`: EFAULT from the kernel.
    mount: i32,
    /// `execveat(-1, NULL, NULL, NULL, 0)`: EFAULT from the kernel.
    execveat: i32,
}

fn errno(result: c_long) -> i32 {
    if result == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
}

/// Make the calls.
#[pyfunction]
pub fn probe() -> Probe {
    let null = std::ptr::null::<u8>();
    // clone(2) has no room for CLONE_NEWTIME: those bits are the signal at the child's end.
    let all = kinds_of(u64::MAX).filter(|kind| kind.flag != kinds::TIME);
    Probe {
        // SAFETY: no flags: nothing is unshared (unshare(2)).
        unshare: errno(unsafe { libc::syscall(libc::SYS_unshare, 0) }),
        // SAFETY: no descriptor is -1 (setns(2)).
        setns: errno(unsafe { libc::syscall(libc::SYS_setns, -1, 0) }),
        // SAFETY: a size below the smallest structure is refused before the pointer is read (clone(2)).
        clone3: errno(unsafe { libc::syscall(libc::SYS_clone3, null, 1) }),
        clone_refused: all.filter(|kind| clone(kind.flag) == libc::EPERM).map(|kind| kind.name).collect(),
        // SAFETY: there is no path, which the kernel checks first (mount(2)).
        mount: errno(unsafe { libc::syscall(libc::SYS_mount, null, null, null, 0_usize, null) }),
        // SAFETY: there is no path, which the kernel checks first (execve(2)).
        execveat: errno(unsafe { libc::syscall(libc::SYS_execveat, -1, null, null, null, 0) }),
    }
}

/// Call clone(2) for new namespaces with flags that it always refuses: for a thread that does not share signal
/// handlers.
fn clone(namespaces: u64) -> i32 {
    let flags = namespaces | libc::CLONE_THREAD as u64;
    // SAFETY: refused with EINVAL; a system that is no Linux and does it all the same makes a copy of this process,
    // which leaves at once, or a thread, which does as well.
    unsafe {
        let result = libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize);
        if result == 0 {
            libc::syscall(libc::SYS_exit, 0);
        }
        if result < 0 { errno(result) } else { 0 }
    }
}

/// Number of Landlock domains that can be stacked (linux/landlock.h).
const MAX_LANDLOCK_LAYERS: u32 = 16;
/// landlock_create_ruleset(2); the same number on every architecture.
const SYS_LANDLOCK_CREATE_RULESET: c_long = 444;
/// landlock_restrict_self(2).
const SYS_LANDLOCK_RESTRICT_SELF: c_long = 446;
/// LANDLOCK_ACCESS_FS_MAKE_SOCK, of the first version: a domain has to forbid something.
const LANDLOCK_MAKE_SOCK: u64 = 1 << 9;

/// Number of Landlock domains that the calling thread is in: any of them forbids all mounts (landlock(7)). None if the
/// kernel has no Landlock.
///
/// A thread enters as many more domains as the kernel allows, and ends: a domain belongs to a thread.
#[pyfunction]
pub fn landlock_layers(py: Python<'_>) -> Result<Option<u32>> {
    let count = || {
        let attributes = [LANDLOCK_MAKE_SOCK];
        // SAFETY: one live structure of the first version's size; then plain numbers on a descriptor of our own.
        unsafe {
            let ruleset = libc::syscall(SYS_LANDLOCK_CREATE_RULESET, attributes.as_ptr(), size_of_val(&attributes), 0);
            if ruleset < 0 {
                return None;
            }
            // Only for this thread (PR_SET_NO_NEW_PRIVS(2const)), which ends right after.
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let entered = (0..MAX_LANDLOCK_LAYERS)
                .take_while(|_| libc::syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)
                .count();
            libc::close(ruleset as c_int);
            Some(MAX_LANDLOCK_LAYERS - entered as u32)
        }
    };
    let thread = std::thread::Builder::new()
        .spawn(count)
        .map_err(|error| Error::Os("clone(thread)", error.raw_os_error().unwrap_or(0)))?;
    Ok(py.detach(|| thread.join()).unwrap_or(None))
}
