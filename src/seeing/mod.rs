//! Looking at processes, their namespaces and what is in those, without becoming one of them.

pub mod ipc;
pub mod proc;
pub mod relations;
pub mod visit;
