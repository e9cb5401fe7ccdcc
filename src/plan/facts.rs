//! What a plan depends on besides what is asked for: the ids, capabilities and signals of the caller, and the kernel.

use std::path::PathBuf;

use pyo3::prelude::*;

/// What a plan depends on besides what is asked for.
#[pyclass(frozen, get_all, eq, from_py_object, module = "nsbox._core")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Effective capabilities (capabilities(7)).
    pub effective: u64,
    /// Permitted capabilities.
    pub permitted: u64,
    /// Inheritable capabilities.
    pub inheritable: u64,
    /// Ambient capabilities.
    pub ambient: u64,
    /// Signals blocked in the calling thread.
    pub sigmask: u64,
    /// The kernel's version.
    pub kernel: (u32, u32),
    /// The path of the working directory (getcwd(2)); `None` if it has none, as when it was removed.
    pub directory: Option<PathBuf>,
}

#[pymethods]
impl Facts {
    #[new]
    #[pyo3(signature = (
        *, euid, egid, effective=0, permitted=0, inheritable=0, ambient=0, sigmask=0, kernel=(6, 18), directory=Some("/".into())
    ))]
    #[expect(clippy::too_many_arguments, reason = "one for each field, all by keyword")]
    fn new(
        euid: u32,
        egid: u32,
        effective: u64,
        permitted: u64,
        inheritable: u64,
        ambient: u64,
        sigmask: u64,
        kernel: (u32, u32),
        directory: Option<PathBuf>,
    ) -> Self {
        Facts { euid, egid, effective, permitted, inheritable, ambient, sigmask, kernel, directory }
    }
}

impl Facts {
    /// Read them, for the calling thread.
    pub fn read() -> Self {
        let (mut effective, mut permitted, mut inheritable) = (0, 0, 0);
        let header = [0x2008_0522_u32, 0];
        let mut data = [[0_u32; 3]; 2];
        // SAFETY: version 3 of capget(2) fills two structures of three 32-bit words.
        if unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) } == 0 {
            let wide = |word: usize| u64::from(data[1][word]) << 32 | u64::from(data[0][word]);
            (effective, permitted, inheritable) = (wide(0), wide(1), wide(2));
        }
        let mut ambient = 0;
        if inheritable != 0 {
            for capability in 0..64 {
                // SAFETY: prctl(PR_CAP_AMBIENT) takes plain numbers.
                let set = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_IS_SET, capability, 0, 0) };
                ambient |= u64::from(set == 1) << capability;
            }
        }
        let mut sigmask = 0_u64;
        // SAFETY: the kernel's own signal set is 64 bits; the call only writes it.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_BLOCK,
                std::ptr::null::<u64>(),
                &raw mut sigmask,
                size_of::<u64>(),
            );
        }
        Facts {
            // SAFETY: always succeeds.
            euid: unsafe { libc::geteuid() },
            // SAFETY: always succeeds.
            egid: unsafe { libc::getegid() },
            effective,
            permitted,
            inheritable,
            ambient,
            sigmask,
            kernel: kernel_version(),
            directory: std::env::current_dir().ok(),
        }
    }
}

/// Major and minor number from uname(2).
fn kernel_version() -> (u32, u32) {
    // SAFETY: plain bytes, for which zero is valid.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the structure with C strings.
    let release = unsafe {
        libc::uname(&raw mut names);
        std::ffi::CStr::from_ptr(names.release.as_ptr())
    };
    let text = release.to_string_lossy();
    let mut numbers = text.split(|character: char| !character.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The facts of the calling thread.
#[pyfunction]
pub fn facts() -> Facts {
    Facts::read()
}
