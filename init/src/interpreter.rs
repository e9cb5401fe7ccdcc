//! The interpreter: one operation after the other, up to the fork in this process, beyond it in the payload
//! (`launch.rs`), or up to the point where init begins to serve a box (`serve.rs`).

use linux_raw_sys::general::{CLONE_NEWTIME, O_DIRECTORY, O_PATH, O_WRONLY};

use crate::cgroup::{self, Cgroup};
use crate::descriptors;
use crate::join::{become_root, descend, used};
use crate::launch::{Launcher, Order};
use crate::mounts;
use crate::report::Channel;
use crate::serve::Server;
use crate::supervise::{Kept, Payload, Supervisor};
use crate::sys::{self, Errno, Result};
use nsbox_init::vfork::Born;
use nsbox_init::wire::{Op, Ops, Plan, Shape};

/// Carry out `plan`: returns only as the exit of this process.
pub fn plan(channel: &Channel, plan: Plan<'static>) -> ! {
    let mut ops = plan.ops();
    let mut kept = Kept { proc: -1, cgroup: None };
    // The payload may have to join one, which a process that shares its memory with another cannot (setns(2)).
    let joins_time = |op: &Op<_>| matches!(op, Op::Setns { flags, .. } if flags & u64::from(CLONE_NEWTIME) != 0);
    let mut time_namespace = plan.ops().any(|(_, op)| joins_time(&op));
    let mut maps_ahead = plan.ops().any(|(_, op)| matches!(op, Op::AwaitMaps {}));
    // Our program can be executed, but not read. For the kernel we then belong to the user namespace of the caller, so
    // that root of a new one cannot trace us (ptrace(2)). Until there is a payload, our files in /proc shall be ours.
    sys::set_dumpable(true);
    while let Some((step, op)) = ops.next() {
        let before = if plan.shape == Shape::Box { sys::nanoseconds() } else { 0 };
        match op {
            Op::Fork { flags, quiet } => {
                // Nobody else's business any more, least of all the payload's, which shares our memory until its
                // exec. But as long as maps are awaited, the caller has to open our files in /proc.
                sys::set_dumpable(maps_ahead);
                fork(channel, Fork { step, flags, quiet: quiet != 0, time_namespace, kept }, plan, ops)
            }
            Op::Serve {} => {
                sys::set_dumpable(false);
                match Server::new(channel, time_namespace, kept) {
                    Ok(server) => server.serve(),
                    Err(errno) => channel.fail(step, errno, 0),
                }
            }
            Op::AwaitMaps {} => maps_ahead = false,
            Op::Cgroup { parent, procs, ref name } => kept.cgroup = Some(Cgroup::new(parent, procs, name.0)),
            // Outside a PID namespace we look for descendants in a proc; the new root may have none.
            Op::PivotRoot {} => kept.proc = sys::open(c"/proc".as_ptr().cast(), O_PATH | O_DIRECTORY).unwrap_or(-1),
            Op::Unshare { flags } => time_namespace |= flags & u64::from(CLONE_NEWTIME) != 0,
            // Those who are in there already shall not be able to trace us.
            Op::Setns { .. } => sys::set_dumpable(maps_ahead),
            Op::Descend { flags } => {
                if let Err(errno) = descend(channel, flags) {
                    channel.fail(step, errno, 0);
                }
            }
            _ => {}
        }
        if let Err((errno, value)) = operation(channel, &op) {
            channel.fail(step, errno, value);
        }
        if plan.shape == Shape::Box {
            let _ = channel.performed(step, before);
        }
    }
    sys::exit(crate::FAILED)
}

/// How the payload's process is made.
struct Fork {
    step: u16,
    flags: u64,
    /// Whether the caller does not want to be told that the payload runs.
    quiet: bool,
    time_namespace: bool,
    kept: Kept,
}

fn fork(channel: &Channel, how: Fork, plan: Plan<'static>, ops: Ops<'static>) -> ! {
    let Fork { step, flags, quiet, time_namespace, kept } = how;
    let prepared = Supervisor::new(channel, kept)
        .and_then(|supervisor| Ok((Launcher::new(supervisor.is_pid_1(), time_namespace)?, supervisor)));
    let (launcher, supervisor) = match prepared {
        Ok(prepared) => prepared,
        Err(errno) => channel.fail(step, errno, 0),
    };
    let announce = !quiet && (!supervisor.is_pid_1() || !sys::is_mapped());
    let received = &[];
    let mut order = Order { step, flags, plan, ops, channel, announce, quiet, received, directory: -1 };
    match launcher.launch(&supervisor, &mut order) {
        Ok(Born { pid, pidfd, .. }) => {
            sys::set_dumpable(false);
            let has_group = order.has_group();
            supervisor.supervise(&Payload { pid, pidfd, announced: announce, has_group, failure: None })
        }
        Err(failure) => channel.fail(failure.step as u16, failure.errno, failure.value),
    }
}

/// Do one thing. The second number of an error says more where one number can (which descriptor, which half).
pub fn operation(channel: &Channel, op: &Op<&'static [u8]>) -> core::result::Result<(), (Errno, i64)> {
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
        Op::Unmount { target, flags } => plain(sys::unmount(target.0, *flags)),
        Op::SetHostname { name } => plain(sys::sethostname(name.0)),
        Op::SetDomainname { name } => plain(sys::setdomainname(name.0)),
        Op::LoopbackUp {} => plain(sys::loopback_up()),
        Op::Setsid {} => plain(sys::setsid()),
        Op::Setpgid { group } => plain(sys::setpgid(*group)),
        Op::ControllingTerminal {} => plain(sys::take_terminal()),
        Op::Descriptors { stdio, pass, close } => descriptors::arrange(*stdio, pass.iter(), *close != 0),
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
        Op::JoinCgroup { procs } => plain(cgroup::join(*procs)),
        Op::Rlimit { resource, soft, hard } => plain(sys::limit(*resource, [*soft, *hard])),
        Op::Setns { fd, flags } => plain(used(*fd, sys::setns(*fd, *flags))),
        Op::BecomeRoot {} => plain(become_root()),
        Op::Chroot { fd } => plain(used(*fd, sys::fchdir(*fd).and_then(|()| sys::chroot(c".".as_ptr().cast())))),
        Op::Fchdir { fd } => plain(used(*fd, sys::fchdir(*fd))),
        // Those that shape the flow, and those of a box, are dealt with where they belong: launch.rs, serve.rs.
        Op::Fork { .. }
        | Op::Cgroup { .. }
        | Op::Signals { .. }
        | Op::Exec { .. }
        | Op::Descend { .. }
        | Op::Serve {}
        | Op::Start { .. }
        | Op::Received { .. }
        | Op::CopyInit {}
        | Op::WriteMap { .. }
        | Op::Open { .. }
        | Op::Read { .. }
        | Op::OpenOwn { .. }
        | Op::WriteOwn { .. }
        | Op::Detached { .. }
        | Op::Abort { .. }
        | Op::Socket { .. }
        | Op::Reap { .. } => Ok(()),
    }
}

/// One write(2), as the files of /proc want it. The second number of an error: 0 open, 1 write.
fn write_file(path: &[u8], data: &[u8]) -> core::result::Result<(), (Errno, i64)> {
    let fd = sys::open_at_once(path.as_ptr(), O_WRONLY).map_err(|errno| (errno, 0))?;
    write_and_close(fd, data).map_err(|errno| (errno, 1))
}

/// The whole of `data` in a single write(2).
pub fn write_and_close(fd: i32, data: &[u8]) -> Result<()> {
    let result = match sys::write(fd, data) {
        Ok(written) if written == data.len() => Ok(()),
        Ok(_) => Err(sys::EIO),
        Err(errno) => Err(errno),
    };
    sys::close(fd);
    result
}
