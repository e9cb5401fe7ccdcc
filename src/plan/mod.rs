//! From what is asked for to a plan: an ordered list of steps, which is pure data.

pub mod compile;
pub mod id_maps;
pub mod join;
pub mod mounts;
#[expect(clippy::module_inception, reason = "the plan itself, among what it is made of")]
pub mod plan;
pub mod request;
pub mod rlimit;
pub mod spec;
pub mod text;
