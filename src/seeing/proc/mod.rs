//! The process table: one pass over a /proc directory (proc(5)).
//!
//! All of one process is read through a descriptor of its directory. When the process ends and its PID goes to
//! another one, that descriptor finds nothing more: a record never mixes two processes.

pub mod dir;
pub mod handle;
pub mod numbering;
pub mod open;
mod parse;
#[cfg(test)]
mod parse_tests;
mod reader;
mod record;
mod status;
pub mod table;
