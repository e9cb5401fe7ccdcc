//! What Python asks for, as owned Rust values: read by attribute from the dataclasses of Python, or made there.
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

/// A `Spec` in our form. Python keeps it with its own, so that each is read once, however often it is carried out.
#[pyclass(frozen, module = "nsbox._core")]
pub struct SpecRead(Spec);

#[pymethods]
impl SpecRead {
    #[new]
    fn new(spec: Spec) -> Self {
        SpecRead(spec)
    }
}

/// `nsbox.Spec`, by the form of it that it keeps.
#[derive(FromPyObject)]
pub struct KnownSpec {
    #[pyo3(attribute("_core_spec"))]
    read: Py<SpecRead>,
}

impl std::ops::Deref for KnownSpec {
    type Target = Spec;

    fn deref(&self) -> &Spec {
        &self.read.get().0
    }
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

/// A program and its surroundings, everything in the form in which the kernel takes it.
#[pyclass(module = "nsbox._core")]
#[derive(Debug)]
pub struct Launch {
    /// Paths to try, in order.
    pub paths: Vec<PyBackedBytes>,
    /// The argument vector.
    pub argv: Vec<PyBackedBytes>,
    /// `NAME=value` each; None for the caller's environment.
    pub env: Option<Vec<PyBackedBytes>>,
    /// The working directory; None for the caller's.
    pub cwd: Option<PyBackedBytes>,
    /// What becomes descriptors 0, 1 and 2; -1 leaves one as it is.
    #[pyo3(get, set)]
    pub stdio: [i32; 3],
    /// Descriptors kept under their own number.
    #[pyo3(get, set)]
    pub pass_fds: Vec<i32>,
    /// Whether all others are closed.
    #[pyo3(get)]
    pub close_fds: bool,
    /// Whether SIGPIPE and SIGXFSZ, which Python ignores, get their default action back.
    pub restore_signals: bool,
    /// Whether setsid(2) is called.
    pub start_new_session: bool,
    /// The group for setpgid(2), 0 for a new one; None for the caller's.
    pub process_group: Option<i32>,
    /// Whether descriptor 0 becomes the controlling terminal.
    pub controlling_terminal: bool,
    /// The file mode creation mask; None for the caller's.
    pub umask: Option<i32>,
    /// The supplementary groups; None for the caller's.
    pub groups: Option<Vec<u32>>,
    /// The group id; None for the caller's.
    pub gid: Option<u32>,
    /// The user id; None for the caller's.
    pub uid: Option<u32>,
}

#[pymethods]
impl Launch {
    #[new]
    #[pyo3(signature = (
        *, paths, argv, env=None, cwd=None, stdio=[-1; 3], pass_fds=Vec::new(), close_fds=true, restore_signals=true,
        start_new_session=false, process_group=None, controlling_terminal=false, umask=None, groups=None, gid=None,
        uid=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "one for each field, all by keyword")]
    fn new(
        paths: Vec<PyBackedBytes>,
        argv: Vec<PyBackedBytes>,
        env: Option<Vec<PyBackedBytes>>,
        cwd: Option<PyBackedBytes>,
        stdio: [i32; 3],
        pass_fds: Vec<i32>,
        close_fds: bool,
        restore_signals: bool,
        start_new_session: bool,
        process_group: Option<i32>,
        controlling_terminal: bool,
        umask: Option<i32>,
        groups: Option<Vec<u32>>,
        gid: Option<u32>,
        uid: Option<u32>,
    ) -> Self {
        Launch {
            paths,
            argv,
            env,
            cwd,
            stdio,
            pass_fds,
            close_fds,
            restore_signals,
            start_new_session,
            process_group,
            controlling_terminal,
            umask,
            groups,
            gid,
            uid,
        }
    }
}

/// Namespaces to join, as open descriptors (`nsbox.namespaces.opened.Opened`).
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
