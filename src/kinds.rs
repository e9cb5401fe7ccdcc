//! The eight kinds of namespaces, in one table (namespaces(7)).

use pyo3::prelude::*;

/// One kind of namespace.
#[pyclass(frozen, get_all, module = "nsbox._core")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The name used throughout nsbox.
    pub name: &'static str,
    /// The letter of unshare(1)'s short option.
    pub letter: &'static str,
    /// The link in /proc/PID/ns; also accepted as a name.
    pub link: &'static str,
    /// The CLONE_NEW* flag.
    pub flag: u64,
    /// The name of that flag.
    pub flag_name: &'static str,
}

#[pymethods]
impl Kind {
    fn __repr__(&self) -> String {
        format!("<namespace kind {}>", self.name)
    }
}

const fn kind(
    name: &'static str,
    letter: &'static str,
    link: &'static str,
    flag: u64,
    flag_name: &'static str,
) -> Kind {
    Kind { name, letter, link, flag, flag_name }
}

/// All of them, in the order in which nsbox names them.
pub const KINDS: [Kind; 8] = [
    kind("user", "U", "user", 0x1000_0000, "CLONE_NEWUSER"),
    kind("mount", "m", "mnt", 0x0002_0000, "CLONE_NEWNS"),
    kind("pid", "p", "pid", 0x2000_0000, "CLONE_NEWPID"),
    kind("ipc", "i", "ipc", 0x0800_0000, "CLONE_NEWIPC"),
    kind("uts", "u", "uts", 0x0400_0000, "CLONE_NEWUTS"),
    kind("net", "n", "net", 0x4000_0000, "CLONE_NEWNET"),
    kind("cgroup", "C", "cgroup", 0x0200_0000, "CLONE_NEWCGROUP"),
    kind("time", "T", "time", 0x0000_0080, "CLONE_NEWTIME"),
];

/// CLONE_NEWUSER.
pub const USER: u64 = KINDS[0].flag;
/// CLONE_NEWNS.
pub const MOUNT: u64 = KINDS[1].flag;
/// CLONE_NEWPID.
pub const PID: u64 = KINDS[2].flag;
/// CLONE_NEWNET.
pub const NET: u64 = KINDS[5].flag;
/// CLONE_NEWTIME.
pub const TIME: u64 = KINDS[7].flag;

/// The kinds in `flags`, in the order of the table.
pub fn kinds_of(flags: u64) -> impl Iterator<Item = Kind> {
    KINDS.into_iter().filter(move |kind| flags & kind.flag != 0)
}

/// The kind called `name`.
pub fn by_name(name: &str) -> Option<Kind> {
    KINDS.into_iter().find(|kind| kind.name == name)
}

/// The table, for the Python side.
#[pyfunction]
pub fn kinds() -> Vec<Kind> {
    KINDS.to_vec()
}
