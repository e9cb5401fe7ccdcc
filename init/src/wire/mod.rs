//! The wire format between the extension and `nsbox-init`: plan down, reports up.
//!
//! It never allocates. A plan is a header and a list of operations; every byte after the header is covered by a checksum,
//! and [`Plan::parse`] validates all of it before the first operation is carried out, so that a truncated or
//! corrupted plan is refused whole.
//!
//! Numbers are in the machine's own byte order: both ends always run on the same kernel.

mod fields;
mod operations;
mod plan;
mod report;

pub use fields::{Blob, Fault, Malformed, MaybeText, Numbers, Sink, Text, Texts};
pub use operations::Op;
pub use plan::*;
pub use report::*;

/// First word of every plan and every report ("nsbx").
pub const MAGIC: u32 = u32::from_ne_bytes(*b"nsbx");

#[cfg(test)]
mod tests;
