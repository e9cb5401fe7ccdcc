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
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Where.
        target: PathBuf,
        /// Bytes it may hold.
        size: Option<u64>,
        /// Permissions of its root.
        mode: u32,
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
