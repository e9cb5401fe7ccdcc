//! What was set up before, and is needed to the end.

use crate::cgroup::Cgroup;

/// Descriptors of what was set up.
#[derive(Clone, Copy)]
pub struct Setup {
    /// A descriptor of /proc; -1 where /proc itself is still there.
    pub proc: i32,
    /// The cgroup of what is started.
    pub cgroup: Option<Cgroup>,
}
