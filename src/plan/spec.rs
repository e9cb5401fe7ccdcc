//! What Python asks for, as owned Rust values: read by attribute from the dataclasses of Python, or made there.
//!
//! Only types are checked here. Python checks before whether the values make sense together.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::plan::id_maps::Wanted;

/// Which namespaces, and how they are set up (`nsbox.Spec`).
#[derive(Debug, FromPyObject)]
pub struct Spec {
    /// Names from the table in `kinds.rs`.
    pub unshare: Vec<String>,
    /// Whether the payload is a child in the new namespaces, or the unsharing process itself.
    pub fork: bool,
    /// Whether nsbox-init is the payload's parent, or the payload stands alone.
    pub init: bool,
    /// Where a new proc is mounted.
    pub mount_proc: Option<PyBackedBytes>,
    /// What becomes the root.
    pub root: Option<Root>,
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
    /// Names of sysctls of the new namespaces, with their values.
    pub sysctl: Vec<(String, String)>,
    /// The parts of `harden` that are on.
    pub hardened: Hardened,
}

/// The parts of `harden` that are on (`nsbox.spec.harden.Hardened`).
#[derive(Debug, FromPyObject)]
#[expect(clippy::struct_excessive_bools, reason = "each part is on or off by itself")]
pub struct Hardened {
    /// The kinds of namespaces that are added.
    pub namespaces: Vec<String>,
    /// Whether the ids inside are none of the caller's, where the caller is root.
    pub private_ids: bool,
    /// Whether the payload has no capabilities, and can get none.
    pub drop_capabilities: bool,
    /// Whether exec can no longer grant privileges.
    pub no_new_privs: bool,
    /// Whether system calls are filtered.
    pub seccomp: bool,
    /// Whether the payload is in a Landlock domain.
    pub landlock: bool,
    /// Whether the payload has a session keyring of its own.
    pub keyring: bool,
    /// Whether the payload cannot change the mounts.
    pub lock_mounts: bool,
    /// Whether parts of the new proc are hidden or read-only.
    pub mask_proc: bool,
    /// Whether /tmp, /var/tmp and /dev/shm are new.
    pub private_tmp: bool,
    /// Whether /sys is read-only.
    pub private_sys: bool,
    /// Whether the payload leads a session of its own.
    pub new_session: bool,
    /// The parts that this machine lacks, and why, with `harden="best"`.
    pub left_out: Vec<(String, String)>,
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

/// Id maps for a new user namespace, as `id_maps.rs` takes them.
#[derive(Debug, FromPyObject)]
pub struct Maps {
    /// Add a user namespace with a map to root when the caller may not make namespaces without one.
    pub auto: bool,
    /// uid_map.
    pub users: Vec<Wanted>,
    /// gid_map.
    pub groups: Vec<Wanted>,
    /// Whether uid_map is written first.
    pub users_first: bool,
}

/// What becomes the root. The variants differ by their attributes.
#[derive(Debug, FromPyObject)]
pub enum Root {
    /// A directory.
    #[pyo3(transparent)]
    Path(PyBackedBytes),
    /// A directory, with attributes for it and all mounts below.
    Bind {
        /// Where it is.
        source: PathBuf,
        /// Whether it cannot be written to.
        read_only: bool,
        /// Whether device nodes work.
        dev: bool,
    },
    /// Directories on top of each other. Without an upper one, that is in memory.
    Overlay {
        /// The layers that are only read, the topmost first.
        lower: Vec<PathBuf>,
        /// The layer that is written to.
        upper: Option<PathBuf>,
        /// An empty directory next to it.
        work: Option<PathBuf>,
        /// Bytes that an upper layer in memory may hold.
        size: Option<u64>,
    },
}

/// What is mounted (`nsbox.spec.mounts`). The variants differ by their attributes, so the one without
/// attributes of its own comes last.
#[derive(Debug, FromPyObject)]
pub enum Mount {
    /// A directory or file that is mounted elsewhere too.
    Bind {
        /// Where it is.
        source: PathBuf,
        /// Where it is mounted.
        target: PathBuf,
        /// Whether it cannot be written to there.
        read_only: bool,
        /// Whether what is mounted below comes along.
        recursive: bool,
        /// Whether device nodes work.
        dev: bool,
        /// Whether files have other owners there.
        idmap: bool,
        /// A descriptor of the copy in which they have.
        tree: i32,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Where.
        target: PathBuf,
        /// Bytes it may hold.
        size: Option<u64>,
        /// Permissions of its root.
        mode: u32,
        /// Files and directories it may hold.
        inodes: Option<u64>,
    },
    /// Directories on top of each other.
    Overlay {
        /// Where.
        target: PathBuf,
        /// The layers that are only read, the topmost first.
        lower: Vec<PathBuf>,
        /// The layer that is written to.
        upper: Option<PathBuf>,
        /// An empty directory next to it.
        work: Option<PathBuf>,
    },
    /// A proc for the PID namespace.
    Proc {
        /// Where.
        target: PathBuf,
    },
}

/// Namespaces to join, as open descriptors (`nsbox.namespaces.opened.Opened`).
#[derive(Debug, FromPyObject)]
pub struct Join {
    /// Names from the table in `kinds.rs`, each with a descriptor of the namespace.
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
