//! From what is asked for to a plan: an ordered list of steps, which is pure data.

pub mod builder;
pub mod calls;
pub mod compile;
pub mod directory;
pub mod encode;
pub mod facts;
pub mod flags;
pub mod harden;
pub mod id_maps;
pub mod join;
pub mod launch;
pub mod look;
pub mod maps;
pub mod mounts;
pub mod payload;
#[expect(clippy::module_inception, reason = "the plan itself, among what it is made of")]
pub mod plan;
pub mod request;
pub mod rights;
pub mod rlimit;
pub mod setup;
pub mod spec;
pub mod step;
pub mod text;
pub mod view;
