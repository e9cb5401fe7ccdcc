//! Starting a plan: from the clone until the payload runs, and to its end.

pub mod child;
pub mod clone;
pub mod exit;
pub mod handshake;
pub mod map_helper;
pub mod release;
#[cfg(test)]
mod report_tests;
pub mod spawn;
