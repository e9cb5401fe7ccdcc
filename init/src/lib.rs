//! What nsbox-init and the extension share: the wire format, and the system calls that start a process.
//!
//! The program itself is `main.rs` and the modules it names. Both halves are built from this one crate, so that they
//! cannot drift apart.
#![cfg_attr(not(test), no_std)]

pub mod capabilities;
pub mod close_range;
pub mod hardening;
pub mod vfork;
pub mod wire;
