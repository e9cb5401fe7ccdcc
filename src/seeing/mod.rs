//! Reading processes, their namespaces, and what is in those.

pub mod aside;
pub mod ipc;
pub mod look;
pub mod lookup;
pub mod nsfs;
pub mod proc;
pub mod relations;
pub mod sockets;
