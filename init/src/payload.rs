//! The payload's process, from its start up to its exec: it carries out the rest of the plan's operations.

use core::ffi::c_void;

use linux_raw_sys::general::SIGCHLD;
use nsbox_init::vfork::Leaving;
use nsbox_init::wire::{Failure, Op, Ops, Plan, Report};

use crate::descriptors;
use crate::lifetime::{NOT_STARTED, die_with_init};
use crate::memory::{Exec, Notes};
use crate::mounts::Mounting;
use crate::operation::operation;
use crate::report::Channel;
use crate::sys::{self, Errno};

/// What one process needs. All of it is made before the fork.
pub struct Order<'a> {
    /// The step that is the fork.
    pub step: u16,
    /// CLONE_NEW* for the child.
    pub flags: u64,
    /// The whole plan.
    pub plan: Plan<'static>,
    /// The operations that the child carries out.
    pub ops: Ops<'static>,
    /// The connection to the caller.
    pub channel: &'a Channel,
    /// Whether the payload's process sends the caller its PID, which wakes the caller once more. PID 1 can send it
    /// instead, in the payload's name, unless its user has no id here. Outside a PID namespace the caller needs the PID
    /// early, to be able to end a set-up that hangs.
    pub announce: bool,
    /// Whether only a failure or the end is reported, and init is there for this process alone.
    pub quiet: bool,
    /// Descriptors that came with the request.
    pub received: &'a [i32],
    /// The directory to start in; -1 to stay.
    pub directory: i32,
    /// Init's own directories; -1 for none. The child closes its copies before it looks up any path: a path that a
    /// program has changed may lead through /proc/self/fd.
    pub own: [i32; 4],
    /// What its mounts keep from one operation to the next.
    pub mounting: Mounting,
}

impl Order<'_> {
    /// Whether the payload leaves the caller's process group.
    pub fn has_group(&self) -> bool {
        self.plan.ops().any(|(_, op)| matches!(op, Op::Setpgid { .. } | Op::Setsid {}))
    }

    /// Send the caller the PID of this process, if it is to be sent, change to the directory to start in, and close
    /// init's own directories.
    pub fn announce(&self) {
        if self.announce {
            let _ = self.channel.send(Report::Forked { pid: sys::getpid() }, None);
        }
        if self.directory >= 0 {
            let _ = sys::fchdir(self.directory);
        }
        for directory in [self.directory].into_iter().chain(self.own).filter(|&fd| fd >= 0) {
            sys::close(directory);
        }
    }
}

/// Everything the child uses.
pub struct Child<'a, 'b> {
    /// What it does.
    pub order: &'a mut Order<'b>,
    /// What it executes at the end.
    pub exec: Exec,
    /// How the caller left SIGCHLD.
    pub sigchld: sys::Sigaction,
    /// A pidfd of init; -1 if that is PID 1.
    pub parent: i32,
    /// What it reports to init.
    pub notes: &'static Notes,
    /// How init learns that the child has left its copy of init's memory; `None` if it has no copy.
    pub leaving: Option<Leaving>,
}

/// The child's side of the fork. Init does not touch what it uses until the exec.
///
/// # Safety
/// `data` is a live [`Child`].
pub unsafe extern "C" fn payload(data: *mut c_void) -> ! {
    // SAFETY: this function's own contract.
    let child = unsafe { &mut *data.cast::<Child<'_, '_>>() };
    if let Some(leaving) = &mut child.leaving {
        leaving.register(&child.notes.present);
    }
    child.notes.begin(child.order.step);
    if let Err(errno) = die_with_init(child.parent) {
        child.notes.fail(Failure { step: u32::from(child.order.step), errno, value: 0 });
        sys::exit(NOT_STARTED);
    }
    child.order.announce();
    while let Some((step, op)) = child.order.ops.next() {
        child.notes.begin(step);
        if let Err((errno, value)) = child.operation(&op) {
            child.notes.fail(Failure { step: u32::from(step), errno, value });
            sys::exit(NOT_STARTED);
        }
    }
    sys::exit(NOT_STARTED)
}

impl Child<'_, '_> {
    /// Carry out what only the payload's process can, and everything else as init does.
    fn operation(&mut self, op: &Op<&'static [u8]>) -> core::result::Result<(), (Errno, i64)> {
        match op {
            Op::Signals { mask, reset } => {
                sys::sigaction(SIGCHLD, &self.sigchld);
                for signal in (1..=64).filter(|signal| reset & (1 << (signal - 1)) != 0) {
                    sys::sigaction(signal, &sys::DEFAULT);
                }
                sys::set_signal_mask(*mask);
                Ok(())
            }
            Op::Received { stdio, pass } => descriptors::install(self.order.received, *stdio, pass, &mut self.parent),
            Op::Setuid { .. } => {
                operation(self.order.channel, &mut self.order.mounting, op)?;
                // The kernel has set the flag of the memory, which init shares, to fs.suid_dumpable (proc_sys_fs(5)).
                sys::set_dumpable(false).map_err(|errno| (errno, 0))
            }
            Op::Exec { .. } => {
                // A change of user or capabilities has cleared it (PR_SET_PDEATHSIG(2const)).
                die_with_init(self.parent).map_err(|errno| (errno, 0))?;
                self.notes.begin_exec();
                Err((self.exec.run(), 0))
            }
            _ => operation(self.order.channel, &mut self.order.mounting, op),
        }
    }
}
