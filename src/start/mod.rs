//! Starting a plan: from the clone until the payload runs, and to its end.

pub mod child;
pub mod handshake;
pub mod spawn;
