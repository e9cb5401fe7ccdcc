//! What Python asks for, as owned Rust values: read by attribute from the dataclasses of `nsbox.spec`.
//!
//! Only types are checked here. Whether a wish makes sense is decided in `spec.py`, before this crate is asked.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::idmap::Wanted;
use crate::mounts::Mount;

/// Which namespaces, and how they are set up (`nsbox.Spec`).
#[derive(Debug, FromPyObject)]
pub struct Spec {
    /// Names from the table in `ns.rs`.
    pub unshare: Vec<String>,
    /// Whether the payload is a child in the new namespaces, or the unsharing process itself.
    pub fork: bool,
    /// Whether nsbox-init is the payload's parent, or the payload stands alone.
    pub init: bool,
    /// Where a new proc is mounted.
    pub mount_proc: Option<PyBackedBytes>,
    /// The directory that becomes the root.
    pub root: Option<PyBackedBytes>,
    /// What is mounted, in order.
    pub mounts: Vec<Mount>,
    /// `private`, `shared`, `slave` or `unchanged`.
    pub propagation: String,
    /// The id maps, or how to choose them.
    pub maps: Maps,
    /// `allow`, `deny` or nothing.
    pub setgroups: Option<String>,
    /// A new host name.
    pub hostname: Option<PyBackedBytes>,
    /// A new NIS domain name.
    pub domainname: Option<PyBackedBytes>,
    /// The highest PID plus one in the new PID namespace.
    pub pid_max: Option<u32>,
    /// Whether the loopback interface of a new network namespace is brought up; by default it is.
    pub loopback: Option<bool>,
    /// Seconds and nanoseconds added to the boot-time clock.
    pub boottime: Option<(i64, i64)>,
    /// Seconds and nanoseconds added to the monotonic clock.
    pub monotonic: Option<(i64, i64)>,
    /// Whether the payload keeps the capabilities of the new user namespace.
    pub keep_caps: bool,
    /// Names of resources with the soft and the hard limit; -1 is unlimited.
    pub rlimits: Vec<(String, (i64, i64))>,
    /// Whether exec can no longer grant privileges.
    pub no_new_privs: bool,
}

/// Id maps for a new user namespace, as `idmap.rs` takes them.
#[derive(Debug, FromPyObject)]
pub struct Maps {
    /// Add a user namespace with a map to root when the caller may not make namespaces without one.
    pub auto: bool,
    /// uid_map.
    pub users: Vec<Wanted>,
    /// gid_map.
    pub groups: Vec<Wanted>,
}

/// What is run, and with which surroundings (`nsbox.spec.Launch`).
#[derive(Debug, FromPyObject)]
pub struct Launch {
    /// Paths to try, in order.
    pub paths: Vec<PyBackedBytes>,
    /// argv.
    pub argv: Vec<PyBackedBytes>,
    /// `NAME=value`, or nothing for the caller's own environment.
    pub env: Option<Vec<PyBackedBytes>>,
    /// Working directory.
    pub cwd: Option<PyBackedBytes>,
    /// What becomes descriptors 0, 1, 2; -1 leaves one as it is.
    pub stdio: [i32; 3],
    /// Descriptors kept under their own number.
    pub pass_fds: Vec<i32>,
    /// Whether all others are closed.
    pub close_fds: bool,
    /// Whether SIGPIPE and SIGXFSZ, which Python ignores, go back to their defaults.
    pub restore_signals: bool,
    /// Whether a new session is started.
    pub start_new_session: bool,
    /// The process group to join; 0 for a new one.
    pub process_group: Option<i32>,
    /// Whether standard input becomes the controlling terminal.
    pub controlling_terminal: bool,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Supplementary groups.
    pub groups: Option<Vec<u32>>,
    /// Group id.
    pub gid: Option<u32>,
    /// User id.
    pub uid: Option<u32>,
    /// What is joined before anything new is made.
    pub join: Option<Join>,
}

/// Namespaces to join, as open descriptors (`nsbox.join.Opened`).
#[derive(Debug, FromPyObject)]
pub struct Join {
    /// Names from the table in `ns.rs`, each with a descriptor of the namespace.
    pub namespaces: Vec<(String, i32)>,
    /// A directory that becomes the root directory.
    pub root: Option<i32>,
    /// A directory that becomes the working directory.
    pub wd: Option<i32>,
    /// Whether the ids are left alone when a user namespace is joined.
    pub preserve_credentials: bool,
    /// Whether the user namespace is joined only because the others belong to it.
    pub user_added: bool,
}

/// What the plan depends on besides the wish: the caller's own situation.
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
}

#[pymethods]
impl Facts {
    #[new]
    #[pyo3(signature = (*, euid, egid, effective=0, permitted=0, inheritable=0, ambient=0, sigmask=0, kernel=(6, 18)))]
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
    ) -> Self {
        Facts { euid, egid, effective, permitted, inheritable, ambient, sigmask, kernel }
    }
}

impl Facts {
    /// CAP_SYS_ADMIN, which every namespace but a user namespace asks for.
    pub const SYS_ADMIN: u64 = 1 << 21;

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

/// The calling thread's situation.
#[pyfunction]
pub fn facts() -> Facts {
    Facts::read()
}
