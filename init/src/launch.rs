//! The payload's process: made by a vfork, set up by the rest of the plan's operations, up to its exec.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::AtomicI32;
use linux_raw_sys::general::{SIGCHLD, SIGCONT, SIGKILL};

use crate::descriptors;
use crate::interpreter::operation;
use crate::report::Channel;
use crate::supervise::{Payload, Supervisor, close_others};
use crate::sys::{self, ETIMEDOUT, Errno, Result};
use nsbox_init::vfork::{Born, Leaving, Method, vfork_unwatched, vfork_watched};
use nsbox_init::wire::{Op, Ops, Plan, Report, ReportKind, Texts};

/// Exit status of a payload whose set-up failed; never seen by anyone, since the failure itself is reported.
const NOT_STARTED: i32 = 127;
/// So often a process that has been stopped before its exec is made to go on, at least a tenth of a second apart.
const ENCOURAGEMENTS: u32 = 10;
/// Enough for [`payload`], which keeps its data elsewhere.
const STACK: usize = 16 << 10;

/// What stays the same for every process that this init starts.
pub struct Launcher {
    /// A pidfd of init, unless that is PID 1.
    parent: i32,
    /// How the caller left SIGCHLD, which init itself needs at its default: a caller that ignores it would have its
    /// children reaped by the kernel, and init inherits that.
    sigchld: sys::Sigaction,
    /// What is shared with the child, if that gets a copy of our memory otherwise: the kernel does not let a process that
    /// shares its memory enter a new time namespace (time_namespaces(7)).
    page: Option<*mut Shared>,
}

/// What the child tells.
#[repr(C)]
struct Shared {
    failure: Failure,
    /// Whether it has not left our memory, or its copy, yet.
    present: AtomicI32,
}

/// A step that failed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Failure {
    /// Which.
    pub step: u32,
    /// Why.
    pub errno: Errno,
    /// What more one number can say.
    pub value: i64,
}

/// What one process needs; everything in it is made before the fork.
pub struct Order<'a> {
    /// The step that is the fork.
    pub step: u16,
    /// CLONE_NEW* for the child.
    pub flags: u64,
    /// The whole plan.
    pub plan: Plan<'static>,
    /// What is left of it.
    pub ops: Ops<'static>,
    /// Where the caller listens.
    pub channel: &'a Channel,
    /// Whether the payload's process tells the caller its number, which is one more wake-up of the caller. PID 1 can do
    /// it instead, unless its user has no number: it sends a message in the payload's name. Outside a PID namespace
    /// the caller has to know early, to be able to end a set-up that hangs.
    pub announce: bool,
    /// Whether the caller wants to hear of a failure or of the end, and of nothing in between, and init is there for
    /// this process alone.
    pub quiet: bool,
    /// Descriptors that came with the request.
    pub received: &'a [i32],
    /// The directory to start in; -1 to stay.
    pub directory: i32,
}

impl Order<'_> {
    /// Whether the payload is made to leave the caller's process group.
    pub fn has_group(&self) -> bool {
        self.plan.ops().any(|(_, op)| matches!(op, Op::Setpgid { .. } | Op::Setsid {}))
    }
}

/// Everything the child uses, in memory that it shares with init.
struct Child<'a, 'b> {
    order: &'a mut Order<'b>,
    exec: Exec,
    sigchld: sys::Sigaction,
    parent: i32,
    failure: *mut Failure,
    /// By which it is noticed that it leaves its copy of our memory, if it has one, and the word for that.
    leaving: Option<(Leaving, &'a AtomicI32)>,
}

impl Launcher {
    /// Prepare; `pid_1` says whether our own end takes everything along. Elsewhere the payload has to notice it, even
    /// while we are suspended.
    pub fn new(pid_1: bool, time_namespace: bool) -> Result<Self> {
        let parent = if pid_1 { -1 } else { sys::pidfd_open(sys::getpid())? };
        let page = if time_namespace { Some(sys::map_memory(4096, true)?.as_mut_ptr().cast()) } else { None };
        Ok(Launcher { parent, sigchld: sys::sigaction(SIGCHLD, &sys::DEFAULT), page })
    }

    /// The descriptor that has to stay open.
    pub fn parent(&self) -> i32 {
        self.parent
    }

    /// Start a process and return when it has exec'd. One whose set-up failed is reaped. A quiet one is supervised right
    /// away, to its end: a failure then shows when it is reaped.
    ///
    /// What runs here already may be able to send signals to it, and SIGSTOP cannot be blocked; and what it looks up on
    /// the way to its exec may be on a file system that one of them serves. So we do not just wait.
    pub fn launch(&self, supervisor: &Supervisor, order: &mut Order<'_>) -> core::result::Result<Born, Failure> {
        let (step, flags) = (u32::from(order.step), order.flags);
        let failed = |errno| Failure { step, errno, value: 0 };
        let mut ours = Shared { failure: failed(0), present: AtomicI32::new(1) };
        let shared = self.page.unwrap_or(&raw mut ours);
        // SAFETY: our own variable, or a page mapped for this.
        let (failure, present) = unsafe { (&raw mut (*shared).failure, &(*shared).present) };
        // SAFETY: as above.
        unsafe { failure.write_volatile(failed(0)) };
        let memory = Memory::prepare(order.plan).map_err(failed)?;
        let leaving = self.page.filter(|_| !order.quiet).map(|_| (Leaving::default(), present));
        let (quiet, announced, has_group) = (order.quiet, order.announce, order.has_group());
        let (exec, sigchld, parent) = (memory.exec(), self.sigchld, self.parent);
        let mut child = Child { order, exec, sigchld, parent, failure, leaving };
        let data = (&raw mut child).cast();
        if quiet {
            // SAFETY: as below; and all that the child uses stays where it is, since supervising does not return.
            let born = unsafe { vfork_unwatched(flags, self.page.is_none(), memory.stack(), payload, data) };
            let Born { pid, pidfd, .. } = born.map_err(failed)?;
            supervisor.supervise(&Payload { pid, pidfd, announced, has_group, failure: Some(failure) });
        }
        let mut stops = 0;
        let mut meanwhile = |born: &Born| {
            supervisor.watch_for_the_caller(born);
            if sys::has_stopped(born.pidfd) {
                stops += 1;
                sys::pidfd_send_signal(born.pidfd, if stops < ENCOURAGEMENTS { SIGCONT } else { SIGKILL });
            }
            sys::poll([born.pidfd], Some(0)) == Ok([true])
        };
        // SAFETY: every signal is blocked since before this program started; `payload` only makes system calls on
        // prepared data and leaves by execve or exit; the stack is freshly mapped for it.
        let born = unsafe {
            vfork_watched(flags, self.page.is_none(), present, memory.stack(), payload, data, &mut meanwhile)
        };
        memory.free();
        let born = born.map_err(failed)?;
        if stops >= ENCOURAGEMENTS {
            let _ = sys::wait(born.pid, &mut [0; 18], true);
            sys::close(born.pidfd);
            return Err(failed(ETIMEDOUT));
        }
        // SAFETY: zeros, or what the child put there, which has exec'd or ended by now.
        let noted = unsafe { failure.read_volatile() };
        if noted.errno != 0 {
            let _ = sys::wait(born.pid, &mut [0; 18], true);
            sys::close(born.pidfd);
            return Err(noted);
        }
        Ok(born)
    }

    /// Start the init of a box inside this one, as a copy of ourselves: the socket and the lifeline for it came with the
    /// request. By an exec its memory would come to belong to our user namespace, whose root could then trace it (ptrace(2)),
    /// while a copy's belongs where ours does. What fails in there is reported over that socket.
    pub fn copy(&self, order: &mut Order<'_>) -> core::result::Result<Born, Failure> {
        let failed = |errno| Failure { step: u32::from(order.step), errno, value: 0 };
        if let Some((pid, pidfd)) = sys::fork(order.flags).map_err(failed)? {
            return Ok(Born { pid, pidfd, method: Method::Clone });
        }
        die_with_init(self.parent);
        announce(order);
        let [socket, lifeline] = *order.received else { sys::exit(NOT_STARTED) };
        let channel = Channel { socket, lifeline };
        for (step, op) in order.ops.by_ref() {
            if let Err((errno, value)) = operation(&channel, &op) {
                channel.fail(step, errno, value);
            }
        }
        close_others(&mut [socket, lifeline]);
        crate::begin(&channel, -1)
    }
}

/// Tell the caller of this process, if it is to be told, and go where it starts.
fn announce(order: &Order<'_>) {
    if order.announce {
        let inside = i64::from(sys::getpid());
        let _ = order.channel.send(Report { value: inside, ..Report::new(ReportKind::Forked) }, None);
    }
    if order.directory >= 0 {
        let _ = sys::fchdir(order.directory);
    }
}

/// The child's side of the fork, in memory shared with init, which leaves it alone until the exec.
unsafe extern "C" fn payload(data: *mut c_void) -> ! {
    // SAFETY: `launch` passed its own live `Child`.
    let child = unsafe { &mut *data.cast::<Child<'_, '_>>() };
    if let Some((leaving, present)) = &mut child.leaving {
        leaving.tell(present);
    }
    die_with_init(child.parent);
    announce(child.order);
    while let Some((step, op)) = child.order.ops.next() {
        if let Err((errno, value)) = child.operation(&op) {
            // SAFETY: shared memory made for this; init reads it only after we are gone.
            unsafe { child.failure.write_volatile(Failure { step: u32::from(step), errno, value }) };
            sys::exit(NOT_STARTED);
        }
    }
    sys::exit(NOT_STARTED)
}

impl Child<'_, '_> {
    /// What only makes sense in the payload's process, and everything else.
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
                let result = operation(self.order.channel, op);
                // The kernel has set it for the memory that init shares, to whatever fs.suid_dumpable says (proc_sys_fs(5)).
                sys::set_dumpable(false);
                result
            }
            Op::Exec { .. } => {
                // A change of user or capabilities has cleared it.
                die_with_init(self.parent);
                Err((self.exec.run(), 0))
            }
            _ => operation(self.order.channel, op),
        }
    }
}

/// Arrange for SIGKILL at the end of init. nsbox-init has a single thread, so this cannot follow the wrong one; and
/// since init may have been killed just before, it is looked at again afterwards (getppid(2) would say 0 in a new PID
/// namespace). Nothing to arrange (-1) where init is PID 1.
fn die_with_init(init: i32) {
    if init < 0 {
        return;
    }
    sys::die_with_parent();
    // A payload that may have no descriptors cannot poll either.
    if sys::poll([init], Some(0)) == Ok([true]) {
        sys::exit(NOT_STARTED);
    }
}

/// What one start needs in memory: a stack for the child, and behind it the pointers execve(2) wants. One page often
/// serves both.
struct Memory {
    all: &'static mut [u8],
    paths: &'static [*const u8],
    argv: *const *const u8,
    envp: *const *const u8,
}

impl Memory {
    fn prepare(plan: Plan<'static>) -> Result<Memory> {
        let none = || Texts { count: 0, joined: &[][..] };
        let exec = plan.ops().find_map(|(_, op)| match op {
            Op::Exec { paths, argv, envp } => Some((paths, argv, envp)),
            _ => None,
        });
        let (paths, argv, envp) = exec.unwrap_or_else(|| (none(), none(), none()));
        let count = [&paths, &argv, &envp].iter().map(|texts| texts.count as usize + 1).sum::<usize>();
        let all = sys::map_memory(STACK + count * size_of::<*const u8>(), false)?;
        // SAFETY: zeroed (so NULL) memory of that size, never used as anything else until it is freed; STACK is a
        // multiple of the alignment.
        let memory = unsafe { core::slice::from_raw_parts_mut(all.as_mut_ptr().add(STACK).cast(), count) };
        let (path_pointers, memory) = pointers(&paths, memory);
        let (argv, memory) = pointers(&argv, memory);
        let (envp, _) = pointers(&envp, memory);
        Ok(Memory { all, paths: &path_pointers[..paths.count as usize], argv: argv.as_ptr(), envp: envp.as_ptr() })
    }

    fn stack(&self) -> &'static mut [MaybeUninit<u8>] {
        // SAFETY: the part that is not the pointers. Only the child writes to it, while we are suspended.
        unsafe { core::slice::from_raw_parts_mut(self.all.as_ptr().cast_mut().cast(), STACK) }
    }

    fn exec(&self) -> Exec {
        Exec { paths: self.paths, argv: self.argv, envp: self.envp }
    }

    fn free(self) {
        sys::unmap(self.all);
    }
}

/// The pointers execve(2) wants, laid out before the fork.
struct Exec {
    paths: &'static [*const u8],
    argv: *const *const u8,
    envp: *const *const u8,
}

impl Exec {
    /// The first candidate that can be executed. As execvp(3): one that is there but may not be executed is only
    /// reported when no later one can be.
    fn run(&self) -> Errno {
        let mut reason = sys::ENOENT;
        let mut decided = false;
        for &path in self.paths {
            let errno = sys::execve(path, self.argv, self.envp);
            if !decided {
                reason = errno;
                decided = errno != sys::ENOENT && errno != sys::ENOTDIR;
            }
        }
        reason
    }
}

/// A NULL-terminated array of pointers to `texts` at the beginning of `memory`, and the rest of that.
fn pointers(
    texts: &Texts<&'static [u8]>,
    memory: &'static mut [*const u8],
) -> (&'static [*const u8], &'static mut [*const u8]) {
    let (array, rest) = memory.split_at_mut(texts.count as usize + 1);
    for (slot, text) in array.iter_mut().zip(texts.iter()) {
        *slot = text.as_ptr();
    }
    (array, rest)
}
