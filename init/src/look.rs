//! A look into namespaces that exist, for the caller: enter them, open what is asked for, send it, and end.
//!
//! The processes in there are not to gain anything by this one. It is not dumpable, and its memory belongs to the user
//! namespace of the caller, so none of them can trace it or take its descriptors (ptrace(2), pidfd_getfd(2)). It holds
//! no other descriptors than those it needs.

use nsbox_init::wire::{Data, Failure, Op, Plan, Report};

use crate::descriptors::close_others;
use crate::fuse;
use crate::mounts::Mounting;
use crate::open::opened;
use crate::operation::operation;
use crate::proc::Proc;
use crate::report::{Channel, performed};
use crate::sys::{self, Attached};

/// Number of descriptors that a look may need besides its own.
const MAX_NEEDED: usize = 16;

/// How long a look may live, in seconds; the caller waits for ten at most.
const MAX_SECONDS: u32 = 12;

/// Carry out a look. What cannot be opened is reported, and the rest is opened all the same.
pub fn look(channel: &Channel, plan: Plan<'static>) -> ! {
    // Before any namespace is entered: this is the caller's proc.
    let proc = Proc::find(-1);
    // The caller may die while a program stops this process, or while it waits. The calling thread does nothing else
    // meanwhile, so the end of that thread is that of the look. The time is a second line.
    let _ = sys::die_with_parent();
    let _ = sys::end_after(MAX_SECONDS);
    if let Err(errno) = sys::set_dumpable(false).and_then(|()| close_unneeded(channel, proc, plan)) {
        channel.fail(0, errno, 0);
    }
    let mut mounting = Mounting::new();
    for (step, op) in plan.ops() {
        if let Op::Setns { .. } = op {
            // Where root enters the user namespace of another user, the kernel sets the flag to fs.suid_dumpable
            // (proc_sys_fs(5)).
            let entered = operation(channel, &mut mounting, &op);
            // A change of credentials clears it (PR_SET_PDEATHSIG(2const)).
            let _ = sys::die_with_parent();
            if let Err((errno, value)) = entered.and_then(|()| sys::set_dumpable(false).map_err(|errno| (errno, 0))) {
                channel.fail(step, errno, value);
            }
            continue;
        }
        let before = sys::nanoseconds();
        if let Op::AbortFuse { devices } = &op {
            match fuse::abort(proc, devices) {
                Ok(()) => drop(channel.performed(step, before)),
                Err(errno) => channel.failed(Failure { step: u32::from(step), errno, value: 0 }),
            }
            continue;
        }
        match opened(proc, &op) {
            Ok(fd) => {
                let report = performed(step, before, Data::NONE);
                let _ = channel.send(report, Some(Attached { fd, sender: None }));
                sys::close(fd);
            }
            Err(errno) => channel.failed(Failure { step: u32::from(step), errno, value: 0 }),
        }
    }
    let _ = channel.send(Report::Done, None);
    // While a process exits, some kernels let its descriptors be taken although it was not dumpable.
    let _ = close_others(&mut []);
    sys::exit(0)
}

/// Close all descriptors but those that the look needs.
fn close_unneeded(channel: &Channel, proc: Proc, plan: Plan<'static>) -> sys::Result<()> {
    let mut needed = [-1; MAX_NEEDED];
    let own = [channel.socket, channel.lifeline].into_iter().chain(proc.descriptors());
    let given = plan.ops().filter_map(|(_, op)| match op {
        Op::Setns { fd, .. } | Op::DetachedProc { namespace: fd } => Some(fd),
        _ => None,
    });
    let mut slots = needed.iter_mut();
    for fd in own.chain(given) {
        match slots.next() {
            Some(slot) => *slot = fd,
            None => return Err(sys::EMFILE),
        }
    }
    close_others(&mut needed)
}
