//! A plan on the wire: a header, and a list of operations.

use super::MAGIC;
use super::fields::{Fault, Malformed, Put, Reader, Sink, Take};
use super::operations::Op;

/// Raised whenever the meaning of a byte changes. Both ends are built together, so a difference is a bug.
pub const VERSION: u16 = 1;

pub(super) const HEADER: usize = 24;

/// FNV-1a on 64-bit words: enough to tell a damaged plan from a whole one, and two dozen instructions long.
pub fn checksum(bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &word| step(hash, u64::from_ne_bytes(word)));
    rest.iter().fold(hash, |hash, &byte| step(hash, u64::from(byte)))
}

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

/// The header that goes before the operations in `body`.
pub fn encode_header(count: u16, body: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0..4].copy_from_slice(&MAGIC.to_ne_bytes());
    header[4..6].copy_from_slice(&VERSION.to_ne_bytes());
    header[6..8].copy_from_slice(&count.to_ne_bytes());
    header[8..16].copy_from_slice(&((HEADER + body.len()) as u64).to_ne_bytes());
    header[16..24].copy_from_slice(&checksum(body).to_ne_bytes());
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
}

/// A validated plan, borrowed from its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    bytes: &'a [u8],
    /// What it is for.
    pub shape: Shape,
}

impl<'a> Plan<'a> {
    /// Check every byte of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let refuse = |fault, offset| Err(Malformed { fault, offset });
        let mut header = Reader { all: bytes, at: 0, end: bytes.len() };
        if u32::take(&mut header)? != MAGIC {
            return refuse(Fault::Magic, 0);
        }
        if u16::take(&mut header)? != VERSION {
            return refuse(Fault::Version, 4);
        }
        let count = u16::take(&mut header)?;
        let length = u64::take(&mut header)?;
        let sum = u64::take(&mut header)?;
        if length != bytes.len() as u64 {
            return refuse(Fault::Truncated, 8);
        }
        if sum != checksum(&bytes[HEADER..]) {
            return refuse(Fault::Checksum, 16);
        }
        let plan = Plan { bytes, shape: Shape::Operations };
        let mut ops = plan.ops();
        let (mut forks, mut starts, mut seen, mut last) = (0, 0, 0u16, Last::Other);
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
            seen = seen.wrapping_add(1);
        }
        let shape = match (forks, starts, last) {
            (1, 0, Last::Exec) => Shape::Program,
            (0, 0, Last::Serve) => Shape::Box,
            (0, 1, Last::Exec) => Shape::Process,
            (0, 0, Last::Other) if seen > 0 => Shape::Operations,
            _ => return refuse(Fault::Order, bytes.len()),
        };
        if seen != count {
            return refuse(Fault::Order, bytes.len());
        }
        Ok(Plan { bytes, shape })
    }

    /// The same, for somebody who can do with a plan of these shapes only.
    pub fn parse_as(bytes: &'a [u8], shapes: [Shape; 2]) -> Result<Self, Malformed> {
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
