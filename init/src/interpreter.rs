//! The interpreter: carries out one operation after another, up to the fork (the payload continues in `payload.rs`), or
//! up to the point where init begins to serve a box (`serve.rs`).

use linux_raw_sys::general::{CLONE_NEWTIME, O_DIRECTORY, O_PATH, SIGKILL};
use nsbox_init::vfork::Born;
use nsbox_init::wire::{FILED, Op, Ops, Plan, Shape};

use crate::cgroup::Cgroup;
use crate::holder::{Held, Holder};
use crate::join::{descend, used};
use crate::launch::Launcher;
use crate::look::look;
use crate::mounts::Mounting;
use crate::operation::{operation, write_and_close};
use crate::payload::Order;
use crate::proc::Proc;
use crate::report::{Channel, FAILED};
use crate::serve::Server;
use crate::setup::Setup;
use crate::supervise::{Payload, Supervisor};
use crate::sys;

/// Receive the lifeline and the plan, and carry the plan out. Both were sent before this process was made.
pub fn begin(socket: i32) -> ! {
    let mut rights = sys::Rights::new();
    let received = sys::close_on_exec(socket).and_then(|()| sys::receive(socket, &mut rights));
    match (received, rights.fds()) {
        (Ok([FILED]), &[lifeline]) => receive_plan(&Channel { socket, lifeline }, true),
        (Ok(plan), &[lifeline]) => parse(&Channel { socket, lifeline }, plan, true, &[]),
        // The kernel leaves a descriptor out when the limit of open ones is reached.
        (received, _) => Channel { socket, lifeline: -1 }.fail(0, received.err().unwrap_or(sys::EMFILE), 0),
    }
}

/// In a copy of another init: receive the plan of a box, and carry it out. Programs may already run here.
pub fn begin_copy(channel: &Channel) -> ! {
    receive_plan(channel, false)
}

/// Receive the plan alone, which may be in a file, and carry it out. `first` says that no program runs here yet. The
/// plan of a box in a box comes with the trees that were copied for it.
fn receive_plan(channel: &Channel, first: bool) -> ! {
    let mut rights = sys::Rights::new();
    let received = sys::receive(channel.socket, &mut rights);
    let (bytes, trees) = match (received, rights.fds()) {
        (Ok([FILED]), [file, trees @ ..]) => (used(*file, sys::map_file(*file)), trees),
        (received, trees) => (received.map(|bytes| &*bytes), trees),
    };
    match bytes {
        Ok(bytes) => parse(channel, bytes, first, trees),
        // The plan is sent before its receiver runs: if there is no message, there is no plan.
        Err(sys::EAGAIN) => parse(channel, &[], first, trees),
        Err(errno) => channel.fail(0, errno, 0),
    }
}

fn parse(channel: &Channel, bytes: &'static [u8], first: bool, trees: &[i32]) -> ! {
    let shapes: &[Shape] = if first { &[Shape::Program, Shape::Box, Shape::Look] } else { &[Shape::Box] };
    match Plan::parse_as(bytes, shapes) {
        Ok(plan) if plan.shape == Shape::Look => look(channel, plan),
        Ok(plan) => carry_out(channel, plan, first, trees),
        Err(malformed) => {
            channel.refuse(malformed);
            sys::exit(FAILED)
        }
    }
}

/// Carry out `plan`. Does not return: the process exits.
fn carry_out(channel: &Channel, plan: Plan<'static>, first: bool, trees: &[i32]) -> ! {
    let mut ops = plan.ops();
    let mut setup = Setup::NONE;
    // The payload may join a time namespace, which a process that shares its memory with another cannot (setns(2)).
    let joins_time = |op: &Op<_>| matches!(op, Op::Setns { flags, .. } if flags & u64::from(CLONE_NEWTIME) != 0);
    let mut time_namespace = plan.ops().any(|(_, op)| joins_time(&op));
    let mut mounting = Mounting::new();
    let mut maps_ahead = first && plan.ops().any(|(_, op)| matches!(op, Op::AwaitMaps {}));
    // After the exec in a new user namespace this is so only if a program has made the file of nsbox-init readable.
    let joins = plan.ops().any(|(_, op)| matches!(op, Op::Setns { .. }));
    let traceable = sys::is_dumpable() && !joins;
    if joins {
        // Processes in the namespaces that are joined choose what is on /proc there.
        setup.outer_proc = sys::open(c"/proc".as_ptr().cast(), O_PATH | O_DIRECTORY).unwrap_or(-1);
    }
    // The program file can be executed but not read, so init's memory belongs to the user namespace of the caller, and
    // root of a new one cannot trace it (ptrace(2)). Until there is a payload, init's files in /proc must belong to its
    // user. Where programs run already, init is not dumpable from its first instruction on.
    let _ = sys::set_dumpable(first);
    let mut holder = None;
    while let Some((step, mut op)) = ops.next() {
        let before = if plan.shape == Shape::Box { sys::nanoseconds() } else { 0 };
        match op {
            Op::Fork { flags, quiet } => {
                if quiet == 0 {
                    setup.read_namespaces();
                }
                // From here on no other process may read init's memory, which the payload shares until its exec. But
                // until the maps are written, the caller has to open init's files in /proc.
                if let Err(errno) = sys::set_dumpable(maps_ahead) {
                    channel.fail(step, errno, 0);
                }
                fork(channel, Fork { step, flags, quiet: quiet != 0, time_namespace, setup }, plan, ops)
            }
            Op::Serve {} => {
                setup.read_namespaces();
                let server =
                    sys::set_dumpable(false).and_then(|()| Server::new(channel, time_namespace, setup, begin_copy));
                match server {
                    Ok(server) => server.serve(),
                    Err(errno) => channel.fail(step, errno, 0),
                }
            }
            Op::AwaitMaps {} if traceable => channel.fail(step, sys::ETXTBSY, 0),
            Op::AwaitMaps {} => maps_ahead = false,
            Op::NewTime {} => {
                // The end of the outer init is the end of this one, which is that of the holder.
                let made = sys::pidfd_open(sys::getpid())
                    .and_then(|own| used(own, Holder::new(Held::Time, Proc::find(-1), own, &|| ())));
                holder = Some(made.unwrap_or_else(|errno| channel.fail(step, errno, 0)));
            }
            Op::ClockOffsets { ref data } => {
                let entered = holder.take().map_or(Err((sys::EINVAL, 0)), |holder| enter_time(holder, data.0));
                entered.unwrap_or_else(|(errno, value)| channel.fail(step, errno, value));
            }
            Op::Cgroup { parent, procs, ref name } => match Cgroup::new(parent, procs, name.0) {
                Ok(cgroup) => setup.cgroup = Some(cgroup),
                Err(errno) => channel.fail(step, errno, 0),
            },
            // Outside a PID namespace init looks for descendants in a proc, and the new root may have none.
            Op::PivotRoot {} => setup.proc = sys::open(c"/proc".as_ptr().cast(), O_PATH | O_DIRECTORY).unwrap_or(-1),
            Op::Unshare { flags } => time_namespace |= flags & u64::from(CLONE_NEWTIME) != 0,
            // The processes in that namespace must not be able to trace init.
            Op::Setns { .. } => {
                if let Err(errno) = sys::set_dumpable(maps_ahead) {
                    channel.fail(step, errno, 0);
                }
            }
            Op::KeepTree { ref mut fd, .. } if !first => match trees.get(*fd as usize) {
                Some(tree) => *fd = *tree,
                // The kernel leaves a descriptor out when the limit of open ones is reached.
                None => channel.fail(step, sys::EMFILE, 0),
            },
            Op::Descend { flags } => {
                setup.read_namespaces();
                if let Err(errno) = descend(channel, flags) {
                    channel.fail(step, errno, 0);
                }
            }
            _ => {}
        }
        let follows = sys::follows_parent();
        let done = operation(channel, &mut mounting, &op);
        // A change of user clears it (PR_SET_PDEATHSIG(2const)).
        let done =
            done.and_then(|()| if follows { sys::die_with_parent().map_err(|errno| (errno, 0)) } else { Ok(()) });
        if let Err((errno, value)) = done {
            channel.fail(step, errno, value);
        }
        if plan.shape == Shape::Box {
            let _ = channel.performed(step, before);
        }
    }
    sys::exit(crate::FAILED)
}

/// Write the offsets of the time namespace that is held, and enter it. The second number of an error: 0 open, 1 write.
fn enter_time(holder: Holder, offsets: &[u8]) -> core::result::Result<(), (sys::Errno, i64)> {
    let file = holder.open(c"timens_offsets".to_bytes_with_nul()).map_err(|errno| (errno, 0));
    let written = file.and_then(|fd| write_and_close(fd, offsets).map_err(|errno| (errno, 1)));
    let entered =
        written.and_then(|()| sys::setns(holder.namespace, u64::from(CLONE_NEWTIME)).map_err(|errno| (errno, 1)));
    holder.end(&|| ());
    entered
}

/// How the payload's process is made.
struct Fork {
    step: u16,
    flags: u64,
    /// Whether only a failure or the end is reported.
    quiet: bool,
    time_namespace: bool,
    setup: Setup,
}

fn fork(channel: &Channel, how: Fork, plan: Plan<'static>, ops: Ops<'static>) -> ! {
    let Fork { step, flags, quiet, time_namespace, setup } = how;
    let prepared = Supervisor::new(channel, setup)
        .and_then(|supervisor| Ok((Launcher::new(supervisor.is_pid_1(), time_namespace)?, supervisor)));
    let (launcher, supervisor) = match prepared {
        Ok(prepared) => prepared,
        Err(errno) => channel.fail(step, errno, 0),
    };
    let announce = !quiet && (!supervisor.is_pid_1() || !sys::is_mapped());
    let (received, directory, mounting) = (&[], -1, Mounting::new());
    let [proc, cgroup] = supervisor.directories();
    let own = [proc, cgroup, setup.proc, -1];
    let mut order = Order { step, flags, plan, ops, channel, announce, quiet, received, directory, own, mounting };
    match launcher.launch(&supervisor, &mut order, None) {
        Ok(Born { pid, pidfd, .. }) => {
            if sys::set_dumpable(false).is_err() {
                sys::kill(pid, SIGKILL);
            }
            let has_group = order.has_group();
            supervisor.supervise(&Payload { pid, pidfd, announced: announce, has_group, notes: None })
        }
        Err(failure) => channel.fail(failure.step as u16, failure.errno, failure.value),
    }
}
