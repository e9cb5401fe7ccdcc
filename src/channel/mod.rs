//! The connection to nsbox-init: what is sent, and what is received.

pub mod connection;
pub mod event;
pub mod failure;
pub mod inits;
pub mod outcome;
pub mod report;
pub mod sockets;
