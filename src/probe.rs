//! Three calls without side effects whose answers tell a seccomp filter from the kernel.

use pyo3::prelude::*;

/// What the three calls answered, as error numbers.
#[pyclass(frozen, get_all, module = "nsbox._core")]
pub struct Probe {
    /// `unshare(0)`: 0 from the kernel.
    unshare: i32,
    /// `setns(-1, 0)`: EBADF from the kernel.
    setns: i32,
    /// `clone3(NULL, 1)`: EINVAL from the kernel.
    clone3: i32,
}

/// Ask. A filter answers EPERM or ENOSYS before the kernel looks at the arguments.
#[pyfunction]
pub fn probe() -> Probe {
    let errno = |result: libc::c_long| {
        if result == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
    };
    Probe {
        // SAFETY: no flags: nothing is unshared (unshare(2)).
        unshare: errno(unsafe { libc::syscall(libc::SYS_unshare, 0) }),
        // SAFETY: no descriptor is -1 (setns(2)).
        setns: errno(unsafe { libc::syscall(libc::SYS_setns, -1, 0) }),
        // SAFETY: a size below the smallest structure is refused before the pointer is read (clone(2)).
        clone3: errno(unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<u8>(), 1) }),
    }
}
