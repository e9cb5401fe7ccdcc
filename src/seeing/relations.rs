//! Parents and owners of namespaces, as far as the kernel shows them (ioctl_nsfs(2)).

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use pyo3::prelude::*;

use crate::channel::inits::Inits;
use crate::seeing::nsfs::{kind, open_namespace};
use crate::seeing::proc::dir::{Dir, inode_of};
use crate::seeing::proc::handle::Proc;

const NS_GET_USERNS: libc::Ioctl = 0xb701;
const NS_GET_PARENT: libc::Ioctl = 0xb702;
const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;

/// A namespace and its relations; None where there is none, or where the caller may not know it.
#[pyclass(frozen, get_all, module = "nsbox._core")]
#[derive(Debug)]
pub struct Relation {
    /// The inode number.
    pub id: u64,
    /// The kind's name.
    pub kind: &'static str,
    /// The parent, for user and PID namespaces.
    pub parent: Option<u64>,
    /// The user namespace that owns it; a user namespace is owned by its parent.
    pub owner: Option<u64>,
    /// The user who made the owning user namespace (or this one, if it is a user namespace), as an id in the caller's
    /// user namespace.
    pub owner_uid: Option<u32>,
}

/// Where a namespace can be opened: an id, a process, and a path, as for [`open_namespace`].
type Handle = (u64, i32, Vec<u8>);

/// Find the relations of namespaces of processes in a proc, and of their parents and owners. Handles that no longer
/// lead to the namespace are left out.
#[pyfunction]
pub fn namespace_relations(py: Python<'_>, proc: &Proc, handles: Vec<Handle>) -> Vec<Relation> {
    let inits = Inits::find();
    py.detach(|| relations(&proc.directory, &handles, &inits))
}

fn relations(proc: &Dir, handles: &[Handle], inits: &Inits) -> Vec<Relation> {
    let mut found = Vec::with_capacity(handles.len());
    let mut seen = HashSet::new();
    let mut owner_uids = HashMap::new();
    for (id, pid, path) in handles {
        if seen.contains(id) {
            continue;
        }
        let is_it = |namespace: &OwnedFd| inode_of(namespace) == Ok(*id);
        let opened = open_namespace(proc, *pid, path).ok().filter(is_it).or_else(|| inits.open(*id).filter(is_it));
        let Some(namespace) = opened else { continue };
        let mut waiting = vec![(*id, namespace)];
        while let Some((id, namespace)) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            let Some(kind) = kind(&namespace) else { continue };
            let parent = matches!(kind, "user" | "pid").then(|| related(&namespace, NS_GET_PARENT)).flatten();
            let owner = related(&namespace, NS_GET_USERNS);
            let owner_uid = match (&owner, kind) {
                (_, "user") => owner_uid(&namespace),
                (Some((id, owner)), _) => *owner_uids.entry(*id).or_insert_with(|| owner_uid(owner)),
                (None, _) => None,
            };
            found.push(Relation {
                id,
                kind,
                parent: parent.as_ref().map(|(id, _)| *id),
                owner: owner.as_ref().map(|(id, _)| *id),
                owner_uid,
            });
            waiting.extend(parent.into_iter().chain(owner));
        }
    }
    found
}

fn related(namespace: &OwnedFd, request: libc::Ioctl) -> Option<(u64, OwnedFd)> {
    // SAFETY: takes no argument, and makes a descriptor (CLOEXEC).
    let fd = unsafe { libc::ioctl(namespace.as_raw_fd(), request) };
    if fd < 0 {
        return None;
    }
    // SAFETY: a new descriptor, which nothing else owns.
    let other = unsafe { OwnedFd::from_raw_fd(fd) };
    Some((inode_of(&other).ok()?, other))
}

fn owner_uid(user_namespace: &OwnedFd) -> Option<u32> {
    let mut uid: libc::uid_t = 0;
    // SAFETY: writes the number it is given.
    let result = unsafe { libc::ioctl(user_namespace.as_raw_fd(), NS_GET_OWNER_UID, &raw mut uid) };
    (result == 0).then_some(uid)
}
