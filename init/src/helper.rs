//! Requests that look up a path, for a box. A process in the box may serve the file system to which the path leads
//! (fuse(4)), and need not reply: then whoever looks the path up waits in the kernel, and not even SIGKILL ends the wait.
//! So a copy of init, its child, does it. Init goes on serving, and gives the child up after a time.
//!
//! When init has ended, the kernel kills all processes of its PID namespace (pid_namespaces(7)). With the process that
//! serves the file system ends the wait, too.

use linux_raw_sys::general as k;
use nsbox_init::wire::{Data, Failure, Op, Plan};

use crate::descriptors::close_others;
use crate::lifetime::die_with_init;
use crate::mounts::{Mounting, tree};
use crate::operation::operation;
use crate::proc::pids_in;
use crate::report::{Channel, performed};
use crate::sys::{self, EFBIG, EISDIR, ENOENT, ENXIO, Errno, Result};

/// How long a lookup of a path may take, in seconds; the same for the start of a program.
pub const LOOKUP_SECONDS: u64 = 15;

/// Exit status of a helper that has carried out everything. Init then sends the end of the reply.
pub const DONE: i32 = 0;
/// Exit status of a helper that has reported which step failed.
pub const FAILED: i32 = 1;

/// Whether init carries out the operation by itself: it looks up no path that a process in the box can change.
pub fn is_for_init(op: &Op<&'static [u8]>) -> bool {
    matches!(
        op,
        Op::OpenOwn { .. }
            | Op::WriteOwn { .. }
            | Op::Read { .. }
            | Op::WriteMap { .. }
            | Op::Detached { .. }
            | Op::DetachedProc { .. }
            | Op::Socket { .. }
            | Op::Abort { .. }
            | Op::Reap { .. }
            | Op::SetHostname { .. }
            | Op::SetDomainname { .. }
            | Op::LoopbackUp {}
    )
}

/// What a helper needs.
pub struct Helper {
    /// A pidfd of init; -1 if that is PID 1.
    pub parent: i32,
    /// The PID of init.
    pub init: i32,
}

impl Helper {
    /// Carry out the operations of a request and report each of them. The child of init does this, and exits.
    pub fn carry_out(&self, reply: &Channel, plan: Plan<'static>) -> ! {
        if let Err(errno) = die_with_init(self.parent) {
            reply.failed(Failure { step: 0, errno, value: 0 });
            sys::exit(FAILED)
        }
        // A reader must not wait for the end of a socket or pipe that stays open here.
        let _ = close_others(&mut [reply.socket]);
        for (step, op) in plan.ops() {
            let before = sys::nanoseconds();
            match self.operation(reply, &op) {
                Ok((data, attached)) => {
                    let attached = attached.map(|fd| sys::Attached { fd, sender: None });
                    let _ = reply.send(performed(step, before, data), attached);
                }
                Err((errno, value)) => {
                    reply.failed(Failure { step: u32::from(step), errno, value });
                    sys::exit(FAILED)
                }
            }
        }
        sys::exit(DONE)
    }

    fn operation(
        &self,
        reply: &Channel,
        op: &Op<&'static [u8]>,
    ) -> core::result::Result<(Data, Option<i32>), (Errno, i64)> {
        let plain = |errno| (errno, 0);
        match op {
            Op::Copy { path, max_bytes, any_type } => {
                let copied = copy(path.0, *max_bytes, *any_type != 0).map_err(plain)?;
                Ok((Data::NONE, Some(copied)))
            }
            Op::OpenProc { path } => {
                let found = open_in_root(path.0, AT_ONCE | k::O_DIRECTORY).map_err(plain)?;
                if !sys::is_proc(found) {
                    return Err((ENOENT, 1));
                }
                Ok((pids_in(found, self.init).unwrap_or(Data::NONE), Some(found)))
            }
            Op::SendTree { source, recursive } => Ok((Data::NONE, Some(tree(source.0, *recursive != 0)?.into_raw()))),
            op => operation(reply, &mut Mounting::new(), op).map(|()| (Data::NONE, None)),
        }
    }
}

/// For reading. Opening waits neither for the other end of a FIFO (fifo(7)) nor for the holder of a lease (fcntl(2),
/// F_SETLEASE).
const AT_ONCE: u32 = k::O_RDONLY | k::O_NONBLOCK | k::O_NOCTTY;

/// What a path means to a process whose root is ours.
fn open_in_root(path: &[u8], flags: u32) -> Result<i32> {
    let root = sys::open(c"/".as_ptr().cast(), k::O_PATH | k::O_DIRECTORY)?;
    sys::open_in_root(root, path, flags)
}

/// A copy of a file, in a file in memory.
fn copy(path: &[u8], max_bytes: u64, any_type: bool) -> Result<i32> {
    if !any_type {
        // To open a device can have effects already.
        regular(open_in_root(path, k::O_PATH)?)?;
    }
    let file = open_in_root(path, AT_ONCE)?;
    let size = if any_type { sys::type_and_size(file)?.1 } else { regular(file)? };
    if size > max_bytes {
        return Err(EFBIG);
    }
    let memory = sys::memory_file(c"nsbox-copy")?;
    let mut buffer = [0; 64 << 10];
    let mut copied = 0;
    loop {
        let length = sys::read(file, &mut buffer)?;
        if length == 0 {
            break;
        }
        copied += length as u64;
        // The files of /proc have the size 0, and a device may have no end.
        if copied > max_bytes {
            return Err(EFBIG);
        }
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            rest = &rest[sys::write(memory, rest)?..];
        }
    }
    sys::rewind(memory)?;
    Ok(memory)
}

/// The size of a regular file.
fn regular(file: i32) -> Result<u64> {
    match sys::type_and_size(file)? {
        (k::S_IFREG, size) => Ok(size),
        (k::S_IFDIR, _) => Err(EISDIR),
        _ => Err(ENXIO),
    }
}
