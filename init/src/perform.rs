//! The interpreter: one operation after the other, up to the fork in this process, beyond it in the payload.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use linux_raw_sys::general::{CLONE_NEWTIME, O_DIRECTORY, O_PATH, O_WRONLY, SIGCHLD};

use crate::mounts;
use crate::report::Channel;
use crate::supervise::{Payload, Supervisor};
use crate::sys::{self, Errno, Result};
use nsbox_init::vfork::vfork;
use nsbox_init::wire::{Op, Ops, Plan, Report, ReportKind, Texts};

/// Exit status of a payload whose set-up failed; never seen by anyone, since the failure itself is reported.
const NOT_STARTED: i32 = 127;
/// Enough for [`payload`], which keeps its data elsewhere.
const STACK: usize = 16 << 10;

/// Carry out `plan`: returns only as the exit of this process.
pub fn plan(channel: &Channel, plan: Plan<'static>) -> ! {
    let mut ops = plan.ops();
    let mut time_namespace = false;
    let mut proc = -1;
    let mut maps_ahead = plan.ops().any(|(_, op)| matches!(op, Op::AwaitMaps {}));
    // Our program can be executed, but not read. For the kernel we then belong to the user namespace of the caller, so
    // that root of a new one cannot trace us (ptrace(2)). Until there is a payload, our files in /proc shall be ours.
    sys::set_dumpable(true);
    while let Some((step, op)) = ops.next() {
        match op {
            Op::Fork { flags } => {
                // Nobody else's business any more, least of all the payload's, which shares our memory until its
                // exec. But as long as maps are awaited, the caller has to open our files in /proc.
                sys::set_dumpable(maps_ahead);
                fork(channel, step, flags, !time_namespace, proc, plan, ops)
            }
            Op::AwaitMaps {} => maps_ahead = false,
            // Outside a PID namespace we look for descendants in a proc; the new root may have none.
            Op::PivotRoot {} => proc = sys::open(c"/proc".as_ptr().cast(), O_PATH | O_DIRECTORY).unwrap_or(-1),
            Op::Unshare { flags } => time_namespace |= flags & u64::from(CLONE_NEWTIME) != 0,
            _ => {}
        }
        if let Err((errno, value)) = operation(channel, &op) {
            channel.fail(step, errno, value);
        }
    }
    sys::exit(crate::FAILED)
}

/// What the payload's side of the fork needs; everything in it was made before the fork.
struct Launch {
    channel: *const Channel,
    ops: Ops<'static>,
    exec: Exec,
    /// How the caller left SIGCHLD, which init itself needs at its default.
    sigchld: sys::Sigaction,
    /// A pidfd of init, unless that is PID 1.
    parent: i32,
    /// Whether the payload's process tells the caller its number, which is one more wake-up of the caller. PID 1 can do
    /// it instead, unless its user has no number: it sends a message in the payload's name. Outside a PID namespace
    /// the caller has to know early, to be able to end a set-up that hangs.
    announce: bool,
    /// Where a failure is noted for init to report.
    failure: *mut Failure,
}

#[repr(C)]
struct Failure {
    step: u32,
    errno: Errno,
    value: i64,
}

fn fork(
    channel: &Channel,
    step: u16,
    flags: u64,
    share_memory: bool,
    proc: i32,
    plan: Plan<'static>,
    rest: Ops<'static>,
) -> ! {
    let mut noted = Failure { step: 0, errno: 0, value: 0 };
    let prepared = Exec::prepare(plan).and_then(|(exec, stack)| {
        // A child with a copy of our memory needs a page that is really shared.
        let failure = if share_memory { &raw mut noted } else { sys::map_memory(4096, true)?.as_mut_ptr().cast() };
        let supervisor = Supervisor::new(channel, proc)?;
        // PID 1 takes everything along. Elsewhere the payload has to notice our own end, even while we are suspended.
        let parent = if supervisor.is_pid_1() { -1 } else { sys::pidfd_open(sys::getpid())? };
        Ok((exec, stack, failure, supervisor, parent))
    });
    let (exec, stack, failure, supervisor, parent) = match prepared {
        Ok(prepared) => prepared,
        Err(errno) => channel.fail(step, errno, 0),
    };
    let mut launch = Launch {
        channel,
        ops: rest,
        exec,
        // A caller that ignores SIGCHLD would have its children reaped by the kernel, and init inherits that.
        sigchld: sys::sigaction(SIGCHLD, &sys::DEFAULT),
        parent,
        announce: !supervisor.is_pid_1() || !sys::is_mapped(),
        failure,
    };
    // SAFETY: every signal is blocked since before this program started; `payload` only makes system calls on
    // prepared data and leaves by execve or exit; the stack is freshly mapped for it.
    let born = unsafe { vfork(flags, share_memory, stack, payload, (&raw mut launch).cast()) };
    let born = match born {
        Ok(born) => born,
        Err(errno) => channel.fail(step, errno, 0),
    };
    // SAFETY: zeros, or what the child put there, which has exec'd or ended by now.
    let failure = unsafe { launch.failure.read_volatile() };
    if failure.errno != 0 {
        let _ = sys::wait(born.pid, &mut [0; 18], true);
        channel.fail(failure.step as u16, failure.errno, failure.value);
    }
    sys::set_dumpable(false);
    supervisor.supervise(&Payload { pid: born.pid, pidfd: born.pidfd, announced: launch.announce })
}

/// The child's side of the fork, in memory shared with init, which is suspended until the exec.
unsafe extern "C" fn payload(data: *mut c_void) -> ! {
    // SAFETY: `fork` passed its own live `Launch`.
    let launch = unsafe { &mut *data.cast::<Launch>() };
    // SAFETY: it outlives this function, which never returns.
    let channel = unsafe { &*launch.channel };
    die_with_init(launch.parent);
    if launch.announce {
        let _ = channel.send(Report::new(ReportKind::Forked), None);
    }
    for (step, op) in launch.ops.by_ref() {
        let result = match op {
            Op::Signals { mask, reset } => {
                sys::sigaction(SIGCHLD, &launch.sigchld);
                for signal in (1..=64).filter(|signal| reset & (1 << (signal - 1)) != 0) {
                    sys::sigaction(signal, &sys::DEFAULT);
                }
                sys::set_signal_mask(mask);
                Ok(())
            }
            Op::Exec { .. } => {
                // A change of user or capabilities has cleared it.
                die_with_init(launch.parent);
                Err((launch.exec.run(), 0))
            }
            _ => operation(channel, &op),
        };
        if let Err((errno, value)) = result {
            // SAFETY: shared memory made for this; init reads it only after we are gone.
            unsafe { launch.failure.write_volatile(Failure { step: u32::from(step), errno, value }) };
            sys::exit(NOT_STARTED);
        }
    }
    sys::exit(NOT_STARTED)
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

/// Do one thing. The second number of an error says more where one number can (which descriptor, which half).
fn operation(channel: &Channel, op: &Op<&'static [u8]>) -> core::result::Result<(), (Errno, i64)> {
    let plain = |result: Result<()>| result.map_err(|errno| (errno, 0));
    match op {
        Op::Unshare { flags } => plain(sys::unshare(*flags)),
        Op::AwaitMaps {} => {
            channel.await_maps();
            Ok(())
        }
        Op::Write { path, data } => write_file(path.0, data.0),
        Op::Mount { source, target, fstype, flags } => {
            let some = |text: &'static [u8]| (!text.is_empty()).then_some(text);
            plain(sys::mount(some(source.0), target.0, some(fstype.0), *flags))
        }
        Op::SetHostname { name } => plain(sys::sethostname(name.0)),
        Op::SetDomainname { name } => plain(sys::setdomainname(name.0)),
        Op::LoopbackUp {} => plain(sys::loopback_up()),
        Op::Setsid {} => plain(sys::setsid()),
        Op::Setpgid { group } => plain(sys::setpgid(*group)),
        Op::ControllingTerminal {} => plain(sys::take_terminal()),
        Op::Descriptors { stdio, pass, close } => descriptors(*stdio, pass.iter(), *close != 0),
        Op::Chdir { path } => plain(sys::chdir(path.0.as_ptr())),
        Op::Umask { mask } => {
            sys::umask(*mask);
            Ok(())
        }
        Op::Setgroups { groups } => plain(sys::setgroups(groups.0)),
        Op::Setgid { id } => plain(sys::setgid(*id)),
        Op::Setuid { id, keep_caps } => plain(sys::keep_permitted(*keep_caps != 0).and_then(|()| sys::setuid(*id))),
        Op::Capabilities { inheritable, ambient } => plain(sys::set_capabilities(*inheritable, *ambient)),
        Op::NoNewPrivs {} => plain(sys::set_no_new_privs()),
        Op::NewRoot { path } => mounts::root(path.0),
        Op::Bind { source, target, inside, recursive, attributes } => {
            mounts::bind(source.0, target.0, *inside != 0, *recursive != 0, *attributes)
        }
        Op::NewMount { fstype, options, attributes, target, inside } => {
            mounts::mount(fstype.0, options, *attributes, target.0, *inside != 0)
        }
        Op::PivotRoot {} => mounts::pivot(),
        Op::Rlimit { resource, soft, hard } => plain(sys::limit(*resource, [*soft, *hard])),
        // The three that shape the flow are dealt with where it is.
        Op::Fork { .. } | Op::Signals { .. } | Op::Exec { .. } => Ok(()),
    }
}

/// One write(2), as the files of /proc want it. The second number of an error: 0 open, 1 write.
fn write_file(path: &[u8], data: &[u8]) -> core::result::Result<(), (Errno, i64)> {
    let fd = sys::open(path.as_ptr(), O_WRONLY).map_err(|errno| (errno, 0))?;
    let result = match sys::write(fd, data) {
        Ok(written) if written == data.len() => Ok(()),
        Ok(_) => Err((sys::EIO, 1)),
        Err(errno) => Err((errno, 1)),
    };
    sys::close(fd);
    result
}

/// Lay out standard input, output and error and the descriptors passed on; the second number of an error is the
/// descriptor. A source below 3 is moved up first: it may be the target of another.
fn descriptors(
    stdio: [i32; 3],
    pass: impl Iterator<Item = u32>,
    close: bool,
) -> core::result::Result<(), (Errno, i64)> {
    let mut sources = stdio;
    for (target, source) in sources.iter_mut().enumerate() {
        if (0..3).contains(source) && *source != target as i32 {
            *source = sys::duplicate_above(*source, 3).map_err(|errno| (errno, i64::from(*source)))?;
        } else if *source > 2 {
            sys::set_cloexec(*source, true);
        }
    }
    for (target, &source) in sources.iter().enumerate() {
        let target = target as i32;
        if source == target {
            sys::keep_over_exec(source)
        } else if source >= 0 {
            sys::duplicate_to(source, target, false)
        } else {
            Ok(())
        }
        .map_err(|errno| (errno, i64::from(stdio[target as usize])))?;
    }
    if close {
        sys::cloexec_from(3).map_err(|errno| (errno, -1))?;
    }
    for fd in pass {
        sys::keep_over_exec(fd as i32).map_err(|errno| (errno, i64::from(fd)))?;
    }
    Ok(())
}

/// The pointers execve(2) wants, laid out before the fork.
struct Exec {
    paths: &'static [*const u8],
    argv: *const *const u8,
    envp: *const *const u8,
}

impl Exec {
    /// Also returns a stack for the child. It ends where the pointers begin, so that one page serves both.
    fn prepare(plan: Plan<'static>) -> Result<(Exec, &'static mut [MaybeUninit<u8>])> {
        for (_, op) in plan.ops() {
            if let Op::Exec { paths, argv, envp } = op {
                let count = [&paths, &argv, &envp].iter().map(|texts| texts.count as usize + 1).sum::<usize>();
                let (stack, memory) =
                    sys::map_memory(STACK + count * size_of::<*const u8>(), false)?.split_at_mut(STACK);
                // SAFETY: zeroed (so NULL) memory of that size, and STACK is a multiple of the alignment.
                let memory = unsafe { core::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), count) };
                let (path_pointers, memory) = pointers(&paths, memory);
                let (argv, memory) = pointers(&argv, memory);
                let (envp, _) = pointers(&envp, memory);
                let exec =
                    Exec { paths: &path_pointers[..paths.count as usize], argv: argv.as_ptr(), envp: envp.as_ptr() };
                // SAFETY: initialized memory may as well be taken for uninitialized: only the child writes to it.
                let stack = unsafe { core::slice::from_raw_parts_mut(stack.as_mut_ptr().cast(), STACK) };
                return Ok((exec, stack));
            }
        }
        // A parsed plan has one.
        Err(sys::ENOENT)
    }

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
