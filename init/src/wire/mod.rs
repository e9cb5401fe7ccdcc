//! The wire format between the extension and `nsbox-init`: plans in, reports out.
//!
//! It never allocates. A plan is a header and a list of operations. [`Plan::parse`] validates all of it before the
//! first operation is carried out, so that a truncated or malformed plan is refused whole.
//!
//! Both ends are built together and run on the same kernel: there is no version, and numbers are in the machine's own
//! byte order.

mod fields;
mod operations;
mod plan;
mod report;

pub use fields::{Blob, Fault, Malformed, MaybeText, Numbers, Sink, Text, Texts};
pub use operations::{MAX_KEPT, Op};
pub use plan::{HEADER, Ops, Plan, Shape, encode_header, encode_op};
pub use report::{Data, END, Event, FILED, Failure, GO, MAX_DESCRIPTORS, MountPart, NAMESPACES, REPORT, Report, Usage};

#[cfg(test)]
mod tests;
