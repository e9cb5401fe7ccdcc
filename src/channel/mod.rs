//! The connection to nsbox-init: what is sent, and what is received.

pub mod report;
