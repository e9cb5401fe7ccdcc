//! Namespaces, calls and privileges of the calling thread.

pub mod calls;
pub mod capabilities;
mod change;
pub mod foreign;
pub mod prctl;
pub mod privileges;
pub mod raw;
pub mod scope;
mod undo;
