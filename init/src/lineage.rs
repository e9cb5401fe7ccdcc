//! The namespaces of init, for a caller that may not read them in /proc: init is not dumpable (ptrace(2)).
//!
//! Init descends into a PID namespace that it joins (`join.rs`). The processes that it leaves behind wait, and cannot
//! reply to the caller. So it reads their namespaces before it descends.

use core::ffi::CStr;

use linux_raw_sys::general::{O_DIRECTORY, O_PATH};
use nsbox_init::wire::{Data, Report};

use crate::report::Channel;
use crate::sys;

/// The links in /proc/self/ns, in the order of the kinds in the extension, and then those for children.
const LINKS: [&CStr; 10] =
    [c"user", c"mnt", c"pid", c"ipc", c"uts", c"net", c"cgroup", c"time", c"pid_for_children", c"time_for_children"];
/// Number of processes of which the namespaces are kept.
const MAX_PROCESSES: usize = 4;

/// The namespaces of init and of its ancestors that are init as well, as inode numbers; 0 where one is unknown.
#[derive(Clone, Copy)]
pub struct Lineage {
    /// The outermost process first.
    ids: [[u64; LINKS.len()]; MAX_PROCESSES],
    count: usize,
}

impl Lineage {
    /// That of an init that has not read its namespaces.
    pub const UNKNOWN: Lineage = Lineage { ids: [[0; LINKS.len()]; MAX_PROCESSES], count: 0 };

    /// Add this process. Before a program can change what is on /proc; `proc` is a descriptor of a proc, or -1.
    pub fn add(&mut self, proc: i32) {
        let Some(ids) = self.ids.get_mut(self.count) else { return };
        self.count += 1;
        let flags = O_PATH | O_DIRECTORY;
        let found = if proc < 0 { sys::open(c"/proc".as_ptr().cast(), flags) } else { Ok(proc) };
        let Ok(root) = found else { return };
        if sys::is_proc(root)
            && let Ok(directory) = sys::open_at(root, c"self/ns".as_ptr().cast(), flags)
        {
            for (id, link) in ids.iter_mut().zip(LINKS) {
                *id = sys::namespace_at(directory, link.as_ptr().cast()).unwrap_or(0);
            }
            sys::close(directory);
        }
        if proc < 0 {
            sys::close(root);
        }
    }

    /// Send the namespaces of each of these processes: this one first, then its parent, and so on.
    pub fn send(&self, reply: &Channel) {
        for (level, ids) in self.ids[..self.count].iter().rev().enumerate() {
            let data = Data::read(|room| {
                for (bytes, id) in room.chunks_exact_mut(size_of::<u64>()).zip(ids) {
                    bytes.copy_from_slice(&id.to_ne_bytes());
                }
                Ok::<_, ()>(size_of_val(ids))
            });
            let Ok(data) = data else { return };
            let _ = reply.send(Report::Performed { step: level as u32, nanoseconds: 0, data }, None);
        }
        let _ = reply.send(Report::Done, None);
    }
}
