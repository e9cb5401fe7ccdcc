//! A plan as the bytes that nsbox-init is given.

use std::borrow::{Borrow, Cow};

use nsbox_init::wire::{self, Op, Sink};

use crate::plan::plan::Plan;

impl Plan {
    /// The bytes nsbox-init is given.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self.ops())
    }

    /// The same, for a caller that wants to hear of the end alone: being told in between that the payload runs would be
    /// one more wake-up. Where killing nsbox-init does not kill the payload, it has to be known.
    pub fn to_quiet_bytes(&self) -> Vec<u8> {
        if !self.init_is_pid_1() {
            return self.to_bytes();
        }
        encode(self.ops().map(|(step, op)| match op {
            Op::Fork { flags, .. } => (step, Cow::Owned(Op::Fork { flags: *flags, quiet: 1 })),
            op => (step, Cow::Borrowed(op)),
        }))
    }

    /// The request by which the nsbox-init of a box starts another one, which then carries this plan out.
    pub fn nested_start(&self, outer: &Plan, token: u32) -> Vec<u8> {
        let mut ops: Vec<Op<Vec<u8>>> = vec![Op::Start { flags: self.clone_flags(), token, quiet: 0 }];
        ops.extend(outer.cgroup.as_ref().map(|cgroup| cgroup.join()));
        if outer.carries_capabilities() && !self.carries_capabilities() {
            // What carried the outer one over its exec is not for this one, nor for what will run there.
            ops.push(Op::Capabilities { inheritable: 0, ambient: 0 });
        }
        ops.push(Op::CopyInit {});
        let steps = std::iter::once(self.clone_step()).chain(std::iter::repeat(self.init_step()));
        encode(steps.zip(&ops))
    }
}

struct Buffer(Vec<u8>);

impl Sink for Buffer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// The bytes of a plan with these operations.
pub fn encode(ops: impl Iterator<Item = (u16, impl Borrow<Op<Vec<u8>>>)>) -> Vec<u8> {
    let (mut body, mut count) = (Buffer(Vec::with_capacity(4096)), 0);
    for (step, op) in ops {
        wire::encode_op(step, op.borrow(), &mut body);
        count += 1;
    }
    let mut bytes = wire::encode_header(count, &body.0).to_vec();
    bytes.append(&mut body.0);
    bytes
}
