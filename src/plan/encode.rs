//! A plan as the bytes that are sent to nsbox-init.

use std::borrow::{Borrow, Cow};

use nsbox_init::wire::{self, Blob, HEADER, Op, Sink, Text};

use crate::plan::builder::c_bytes;
use crate::plan::plan::Plan;

impl Plan {
    /// The bytes that are sent to nsbox-init.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self.ops())
    }

    /// The same for a caller that needs a report of the end only: a report that the payload runs would wake the caller
    /// once more. Where killing nsbox-init does not kill the payload, the caller needs that report all the same.
    pub fn to_quiet_bytes(&self) -> Vec<u8> {
        if !self.init_is_pid_1() {
            return self.to_bytes();
        }
        encode(self.ops().map(|(step, op)| match op {
            Op::Fork { flags, .. } => (step, Cow::Owned(Op::Fork { flags: *flags, quiet: 1 })),
            op => (step, Cow::Borrowed(op)),
        }))
    }

    /// The request by which the nsbox-init of a box starts another nsbox-init, which then carries out this plan.
    pub fn nested_start(&self, outer: &Plan, token: u32) -> Vec<u8> {
        let (clone, init) = (self.clone_step(), self.init_step());
        let mut ops: Vec<(u16, Op<Vec<u8>>)> = vec![(clone, Op::Start { flags: self.clone_flags(), token, quiet: 0 })];
        ops.extend(self.new_user_step().map(|step| (step, Op::NewUser {})));
        ops.extend(self.maps().map(|(step, action)| {
            let (file, text) = action.map_file();
            (step, Op::WriteMap { file: Text(c_bytes(file.as_bytes())), data: Blob(text.into_bytes()) })
        }));
        ops.extend(outer.cgroup.as_ref().map(|cgroup| (init, cgroup.join())));
        if outer.carries_capabilities() && !self.carries_capabilities() {
            // The outer nsbox-init kept these capabilities over its exec; the inner one, and its payloads, must not
            // have them.
            ops.push((init, Op::Capabilities { inheritable: 0, ambient: 0 }));
        }
        ops.push((init, Op::CopyInit {}));
        encode(ops.into_iter())
    }
}

struct Buffer(Vec<u8>);

impl Sink for Buffer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// The bytes of a plan with these operations.
fn encode(ops: impl Iterator<Item = (u16, impl Borrow<Op<Vec<u8>>>)>) -> Vec<u8> {
    let (mut buffer, mut count) = (Buffer(Vec::with_capacity(4096)), 0);
    buffer.put(&[0; HEADER]);
    for (step, op) in ops {
        wire::encode_op(step, op.borrow(), &mut buffer);
        count += 1;
    }
    let Buffer(mut bytes) = buffer;
    let header = wire::encode_header(bytes.len(), count);
    bytes[..HEADER].copy_from_slice(&header);
    bytes
}
