//! A plan on the wire: a header, and a list of operations.

use crate::wire::fields::{Fault, Malformed, Put, Reader, Sink, Take};
use crate::wire::operations::Op;

/// Size of the header, in bytes: the length of the whole plan in bytes, and the number of operations.
pub const HEADER: usize = 8;

struct Counter(usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// Append one operation, carried out as step `step` of the plan people see.
pub fn encode_op<S: AsRef<[u8]>>(step: u16, op: &Op<S>, out: &mut impl Sink) {
    let mut length = Counter(0);
    op.put_fields(&mut length);
    op.tag().put(out);
    step.put(out);
    (length.0 as u32).put(out);
    op.put_fields(out);
}

/// The header of a plan of `length` bytes with `count` operations.
pub fn encode_header(length: usize, count: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&(length as u32).to_ne_bytes());
    header[4..].copy_from_slice(&count.to_ne_bytes());
    header
}

/// How a plan ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Other,
    Exec,
    Serve,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A program in namespaces of its own: `Fork` once, an exec last.
    Program,
    /// A box, which waits for requests: `Serve` last.
    Box,
    /// A request: another process in the box. `Start` first, an exec last.
    Process,
    /// A request: operations that init carries out itself.
    Operations,
    /// A look into namespaces that exist: `Setns` first, then what is opened there and attached to the
    /// reports, or aborted.
    Look,
}

/// A validated plan, borrowed from its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    bytes: &'a [u8],
    /// What the plan is for.
    pub shape: Shape,
}

impl<'a> Plan<'a> {
    /// Check every byte of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let refuse = |fault, offset| Err(Malformed { fault, offset });
        let mut header = Reader { all: bytes, at: 0, end: bytes.len() };
        let length = u32::take(&mut header)?;
        let count = u32::take(&mut header)?;
        if length as usize != bytes.len() {
            return refuse(Fault::Truncated, 0);
        }
        let plan = Plan { bytes, shape: Shape::Operations };
        let mut ops = plan.ops();
        let (mut forks, mut starts, mut seen, mut last) = (0, 0, 0_u32, Last::Other);
        let (mut joins, mut opened, mut others) = (0, 0, 0_u32);
        while let Some((_, op)) = ops.try_next()? {
            if last != Last::Other {
                return refuse(Fault::Order, ops.reader.at);
            }
            match op {
                Op::Fork { .. } => forks += 1,
                Op::Start { .. } if seen == 0 => starts += 1,
                Op::Start { .. } => return refuse(Fault::Order, ops.reader.at),
                Op::Descend { .. } if forks != 0 => return refuse(Fault::Order, ops.reader.at),
                Op::Exec { .. } | Op::CopyInit {} => last = Last::Exec,
                Op::Serve {} => last = Last::Serve,
                _ => {}
            }
            match op {
                Op::Setns { .. } if opened == 0 => joins += 1,
                Op::OpenOwn { .. } | Op::Detached { .. } | Op::DetachedProc { .. } | Op::AbortFuse { .. } => {
                    opened += 1
                }
                _ => others += 1,
            }
            seen = seen.wrapping_add(1);
        }
        let shape = match (forks, starts, last) {
            (1, 0, Last::Exec) => Shape::Program,
            (0, 0, Last::Serve) => Shape::Box,
            (0, 1, Last::Exec) => Shape::Process,
            (0, 0, Last::Other) if joins == 0 && seen > 0 => Shape::Operations,
            (0, 0, Last::Other) if opened > 0 && others == 0 => Shape::Look,
            _ => return refuse(Fault::Order, bytes.len()),
        };
        if seen != count {
            return refuse(Fault::Order, bytes.len());
        }
        Ok(Plan { bytes, shape })
    }

    /// The same, for a receiver that accepts these shapes only.
    pub fn parse_as(bytes: &'a [u8], shapes: &[Shape]) -> Result<Self, Malformed> {
        let plan = Self::parse(bytes)?;
        if shapes.contains(&plan.shape) {
            Ok(plan)
        } else {
            Err(Malformed { fault: Fault::Order, offset: bytes.len() })
        }
    }

    /// The operations with the step each belongs to.
    pub fn ops(self) -> Ops<'a> {
        Ops { reader: Reader { all: self.bytes, at: HEADER, end: self.bytes.len() } }
    }
}

/// An operation and the step it belongs to.
pub type Numbered<'a> = (u16, Op<&'a [u8]>);

/// Iterator over the operations of a [`Plan`].
pub struct Ops<'a> {
    reader: Reader<'a>,
}

impl<'a> Ops<'a> {
    fn try_next(&mut self) -> Result<Option<Numbered<'a>>, Malformed> {
        if self.reader.at == self.reader.all.len() {
            return Ok(None);
        }
        self.reader.end = self.reader.all.len();
        let tag = u16::take(&mut self.reader)?;
        let step = u16::take(&mut self.reader)?;
        let length = u32::take(&mut self.reader)? as usize;
        let start = self.reader.at;
        match start.checked_add(length) {
            Some(end) if end <= self.reader.all.len() => self.reader.end = end,
            _ => return self.reader.fail(Fault::Truncated),
        }
        let op = Op::take(tag, &mut self.reader)?;
        if self.reader.at != self.reader.end {
            return self.reader.fail(Fault::Field);
        }
        Ok(Some((step, op)))
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Numbered<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // Only reached through a parsed plan, in which every operation has been read once already.
        self.try_next().ok().flatten()
    }
}
