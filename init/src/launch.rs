//! Starting a process: the payload by a vfork, the init of an inner box by a copy.

use core::sync::atomic::{AtomicI32, Ordering};

use linux_raw_sys::general::{CLONE_NEWUSER, CLONE_PARENT, SIGCHLD, SIGCONT, SIGKILL};
use nsbox_init::vfork::{Born, Leaving, Method, vfork_unwatched, vfork_watched};
use nsbox_init::wire::{Failure, Op, Plan};

use crate::descriptors::close_others;
use crate::holder::{Held, Holder, Waited};
use crate::lifetime::{NOT_STARTED, die_with_init};
use crate::memory::Memory;
use crate::operation::{operation, write_and_close};
use crate::payload::{Child, Order, payload};
use crate::proc::Proc;
use crate::report::Channel;
use crate::supervise::{Payload, Supervisor};
use crate::sys::{self, ESRCH, ETIMEDOUT, Result};

/// Number of SIGCONT sent to a process that is stopped before its exec, at least a tenth of a second apart; then
/// SIGKILL.
const MAX_SIGCONT: u32 = 10;

/// Gets the plan of an inner box from a connection, and carries it out.
pub type Begin = fn(&Channel) -> !;

/// A new user namespace for a copy of init.
struct User {
    /// The step that has made it.
    step: u16,
    holder: Holder,
}

/// What is the same for every process that this init starts.
pub struct Launcher {
    /// A pidfd of init; -1 if init is PID 1.
    parent: i32,
    /// How the caller left SIGCHLD. Init needs the default: where the caller ignores SIGCHLD, init inherits that, and
    /// the kernel would reap its children (wait(2), NOTES).
    sigchld: sys::Sigaction,
    /// Whether a child gets a copy of init's memory. The kernel does not let a process that shares its memory enter a
    /// new time namespace (time_namespaces(7)).
    copied: bool,
}

impl Launcher {
    /// Prepare. `pid_1` says that the end of init ends everything; elsewhere the payload has to follow init by itself,
    /// even while init is suspended.
    pub fn new(pid_1: bool, time_namespace: bool) -> Result<Self> {
        let parent = if pid_1 { -1 } else { sys::pidfd_open(sys::getpid())? };
        Ok(Launcher { parent, sigchld: sys::sigaction(SIGCHLD, &sys::DEFAULT), copied: time_namespace })
    }

    /// The descriptor that has to stay open.
    pub fn parent(&self) -> i32 {
        self.parent
    }

    /// Start a process and return when it has exec'd. One whose set-up failed is reaped. A quiet one is supervised at
    /// once, to its end, and this does not return.
    pub fn launch(&self, supervisor: &Supervisor, order: &mut Order<'_>) -> core::result::Result<Born, Failure> {
        let step = u32::from(order.step);
        let memory = Memory::prepare(order.plan, self.copied).map_err(|errno| Failure { step, errno, value: 0 })?;
        if order.quiet {
            Err(self.launch_quiet(supervisor, order, &memory))
        } else {
            let result = self.launch_watched(supervisor, order, &memory);
            memory.free();
            result
        }
    }

    /// Start a process and supervise it: returns only if there is none. A failure of its set-up shows when it is
    /// reaped.
    fn launch_quiet(&self, supervisor: &Supervisor, order: &mut Order<'_>, memory: &Memory) -> Failure {
        let (step, flags, notes) = (u32::from(order.step), order.flags, memory.notes());
        let (announced, has_group) = (order.announce, order.has_group());
        let mut child = self.child(order, memory, None);
        // SAFETY: as in `launch_watched`; and all that the child uses stays where it is, since supervising does not
        // return.
        let born = unsafe { vfork_unwatched(flags, !self.copied, memory.stack(), payload, (&raw mut child).cast()) };
        match born {
            Ok(Born { pid, pidfd, .. }) => {
                supervisor.supervise(&Payload { pid, pidfd, announced, has_group, notes: Some(notes) })
            }
            Err(errno) => Failure { step, errno, value: 0 },
        }
    }

    /// Start a process and watch it until its exec. A payload that runs here already may send it SIGSTOP, which cannot
    /// be blocked, and may serve the file system on which it looks up a path. So init does not just wait.
    fn launch_watched(
        &self,
        supervisor: &Supervisor,
        order: &mut Order<'_>,
        memory: &Memory,
    ) -> core::result::Result<Born, Failure> {
        let (step, flags, notes) = (u32::from(order.step), order.flags, memory.notes());
        let failed = |errno| Failure { step, errno, value: 0 };
        let mut child = self.child(order, memory, self.copied.then(Leaving::default));
        let mut stops = 0;
        let mut meanwhile = |born: &Born| {
            supervisor.watch_for_the_caller(Some(born));
            if sys::has_stopped(born.pidfd) {
                stops += 1;
                sys::kill(born.pid, if stops < MAX_SIGCONT { SIGCONT } else { SIGKILL });
            }
            sys::poll([born.pidfd], Some(0)) == Ok([true])
        };
        let data = (&raw mut child).cast();
        // SAFETY: every signal is blocked since before this program started; `payload` only makes system calls on
        // prepared data and leaves by execve or exit; the stack is the child's alone.
        let born = unsafe {
            vfork_watched(flags, !self.copied, &notes.present, memory.stack(), payload, data, &mut meanwhile)
        };
        let born = born.map_err(failed)?;
        let failure = if stops >= MAX_SIGCONT { Some(failed(ETIMEDOUT)) } else { notes.failure() };
        let killed = || notes.is_in_set_up().then(|| notes.forbidden(sys::end_of(born.pidfd))).flatten();
        let Some(failure) = failure.or_else(killed) else { return Ok(born) };
        let _ = sys::wait(born.pid, &mut [0; 18], true);
        sys::close(born.pidfd);
        Err(failure)
    }

    fn child<'a, 'b>(&self, order: &'a mut Order<'b>, memory: &Memory, leaving: Option<Leaving>) -> Child<'a, 'b> {
        let (exec, notes) = (memory.exec(), memory.notes());
        Child { order, exec, sigchld: self.sigchld, parent: self.parent, notes, leaving }
    }

    /// Start the init of a box inside this one, as a copy of this process: its socket and its lifeline came with the
    /// request. After an exec its memory would belong to this user namespace, whose root could then trace it
    /// (ptrace(2)); the memory of a copy belongs to the same user namespace as ours. Failures inside are reported over
    /// that socket.
    ///
    /// A new user namespace is made before, and has its maps before the copy is in it: so the copy is never dumpable.
    pub fn copy(
        &self,
        supervisor: &Supervisor,
        proc: Proc,
        order: &mut Order<'_>,
        begin: Begin,
    ) -> core::result::Result<Born, Failure> {
        let meanwhile = || supervisor.watch_for_the_caller(None);
        let user = self.new_user(order.plan, proc, &meanwhile)?;
        let copied = self.copy_into(user.as_ref().map(|user| user.holder.namespace), order, begin, &meanwhile);
        // A program here has killed the process that makes the copy.
        let ended = user.as_ref().filter(|_| copied.is_err_and(|errno| errno == ESRCH));
        let step = u32::from(ended.map_or(order.step, |user| user.step));
        if let Some(user) = user {
            user.holder.end(&meanwhile);
        }
        copied.map_err(|errno| Failure { step, errno, value: 0 })
    }

    /// Make a user namespace, and write its maps, if the plan says so.
    fn new_user(
        &self,
        plan: Plan<'static>,
        proc: Proc,
        meanwhile: &dyn Fn(),
    ) -> core::result::Result<Option<User>, Failure> {
        let failed = |step: u16, errno| Failure { step: u32::from(step), errno, value: 0 };
        let mut made: Option<User> = None;
        for (step, op) in plan.ops() {
            match (&op, &made) {
                (Op::NewUser {}, None) => {
                    let holder = Holder::new(Held::User, proc, self.parent, meanwhile);
                    made = Some(User { step, holder: holder.map_err(|errno| failed(step, errno))? });
                }
                (Op::WriteMap { file, data }, Some(user)) => {
                    let written = user.holder.open(file.0).and_then(|fd| write_and_close(fd, data.0));
                    if let Err(errno) = written {
                        // A program here may have killed the holder.
                        let ended = user.holder.has_ended();
                        let failure = if ended { failed(user.step, ESRCH) } else { failed(step, errno) };
                        if let Some(user) = made {
                            user.holder.end(meanwhile);
                        }
                        return Err(failure);
                    }
                }
                _ => {}
            }
        }
        Ok(made)
    }

    /// Make the copy. Only a member of a user namespace can make others that belong to it. So a child enters the user
    /// namespace, and makes the copy in the others as a child of ours (clone(2), CLONE_PARENT).
    fn copy_into(
        &self,
        namespace: Option<i32>,
        order: &mut Order<'_>,
        begin: Begin,
        meanwhile: &dyn Fn(),
    ) -> Result<Born> {
        let Some(namespace) = namespace else {
            let born = sys::fork(order.flags)?;
            return match born {
                Some((pid, pidfd)) => Ok(Born { pid, pidfd, method: Method::Clone }),
                None => self.be_the_copy(order, begin),
            };
        };
        let memory = sys::map_memory(size_of::<AtomicI32>(), true)?;
        // SAFETY: zeroed, aligned, and shared with the child; an atomic number, until it is unmapped.
        let result: &AtomicI32 = unsafe { &*memory.as_ptr().cast() };
        let Some((pid, pidfd)) = sys::fork(0)? else {
            let entered = die_with_init(self.parent)
                .and_then(|()| sys::setns(namespace, u64::from(CLONE_NEWUSER)))
                // The kernel has set the flag to fs.suid_dumpable, if the ids have changed (proc_sys_fs(5)).
                .and_then(|()| sys::set_dumpable(false));
            match entered.and_then(|()| sys::fork(order.flags | u64::from(CLONE_PARENT))) {
                Ok(None) => self.be_the_copy(order, begin),
                Ok(Some((pid, _))) => result.store(pid, Ordering::Release),
                Err(errno) => result.store(-errno, Ordering::Release),
            }
            // While a process exits, some kernels let its descriptors be taken although it was not dumpable.
            let _ = close_others(&mut []);
            sys::exit(0)
        };
        Waited { pid, pidfd }.reap(meanwhile);
        let pid = result.load(Ordering::Acquire);
        sys::unmap(memory);
        match pid {
            0 => Err(ESRCH),
            ..0 => Err(-pid),
            // Our child, which nothing else reaps: the PID cannot be that of another process.
            _ => sys::pidfd_open(pid).map(|pidfd| Born { pid, pidfd, method: Method::Clone }),
        }
    }

    /// In the copy: carry out what the request says of it, and begin.
    fn be_the_copy(&self, order: &mut Order<'_>, begin: Begin) -> ! {
        let [socket, lifeline] = *order.received else { sys::exit(NOT_STARTED) };
        let channel = Channel { socket, lifeline };
        if let Err(errno) = die_with_init(self.parent) {
            channel.fail(order.step, errno, 0);
        }
        order.announce();
        for (step, op) in order.ops.by_ref() {
            if let Err((errno, value)) = operation(&channel, &mut order.mounting, &op) {
                channel.fail(step, errno, value);
            }
        }
        if let Err(errno) = close_others(&mut [socket, lifeline]) {
            channel.fail(order.step, errno, 0);
        }
        begin(&channel)
    }
}
