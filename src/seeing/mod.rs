//! Reading processes, their namespaces, and what is in those.

pub mod ipc;
pub mod look;
pub mod proc;
pub mod relations;
