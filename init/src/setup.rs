//! What was set up before, and is needed to the end.

use crate::cgroup::Cgroup;
use crate::lineage::Lineage;

/// Descriptors of what was set up.
#[derive(Clone, Copy)]
pub struct Setup {
    /// A descriptor of /proc; -1 where /proc itself is still there.
    pub proc: i32,
    /// The cgroup of what is started.
    pub cgroup: Option<Cgroup>,
    /// A descriptor of the caller's /proc, from before other namespaces were joined; -1 if none were.
    pub outer_proc: i32,
    /// The namespaces of init.
    pub lineage: Lineage,
}

impl Setup {
    /// Nothing was set up.
    pub const NONE: Setup = Setup { proc: -1, cgroup: None, outer_proc: -1, lineage: Lineage::UNKNOWN };

    /// Read the namespaces of this process, before it descends or starts a program.
    pub fn read_namespaces(&mut self) {
        self.lineage.add(if self.outer_proc < 0 { self.proc } else { self.outer_proc });
    }
}
