//! A process that holds a new namespace until its files in /proc are written.
//!
//! The maps of a user namespace and the offsets of a time namespace are files of a process in that namespace, and an
//! ordinary user may only write those of a process that is dumpable (proc(5)). Programs that already run here may trace
//! such a process (ptrace(2)). So nsbox-init is never dumpable here: it makes a holder, which has nothing that could be
//! taken. The holder gives init the namespace, closes all but one socket, gives up all system calls but those by which
//! it waits, and only then becomes dumpable.

use linux_raw_sys::general::{CLONE_NEWTIME, CLONE_NEWUSER, O_WRONLY, SIGCONT, SIGKILL};

use crate::confine::confine;
use crate::descriptors::close_others;
use crate::lifetime::die_with_init;
use crate::proc::Proc;
use crate::report::FAILED;
use crate::sys::{self, Attached, EIO, EMFILE, ESRCH, ETIMEDOUT, Errno, Result};

/// Interval between looks at a process that init waits for, in milliseconds.
const INTERVAL: u32 = 100;
/// Number of intervals until it is killed. Programs that run here can stop it.
const MAX_INTERVALS: u32 = 50;

/// What is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A user namespace.
    User,
    /// A time namespace, which the holder has not entered.
    Time,
}

/// The holder, from init's side.
pub struct Holder {
    process: Waited,
    socket: i32,
    proc: Proc,
    /// The namespace.
    pub namespace: i32,
}

impl Holder {
    /// Make one. `proc` is init's own; `init` is a pidfd of init, or -1 where init is PID 1. `meanwhile` is called
    /// during a wait.
    pub fn new(held: Held, proc: Proc, init: i32, meanwhile: &dyn Fn()) -> Result<Self> {
        let [ours, theirs] = sys::socket_pair()?;
        let flags = if held == Held::User { u64::from(CLONE_NEWUSER) } else { 0 };
        let forked = sys::fork(flags);
        if forked == Ok(None) {
            match die_with_init(init) {
                Ok(()) => hold(held, proc, theirs),
                Err(errno) => refuse(theirs, errno),
            }
        }
        sys::close(theirs);
        let (pid, pidfd) = match forked {
            Ok(Some(process)) => process,
            forked => {
                sys::close(ours);
                return Err(forked.err().unwrap_or(EIO));
            }
        };
        let mut holder = Holder { process: Waited { pid, pidfd }, socket: ours, proc, namespace: -1 };
        match holder.receive(meanwhile) {
            Ok(()) => Ok(holder),
            Err(errno) => {
                holder.end(meanwhile);
                Err(errno)
            }
        }
    }

    /// Receive the namespace, and then that the holder is ready.
    fn receive(&mut self, meanwhile: &dyn Fn()) -> Result<()> {
        let mut rights = sys::Rights::new();
        self.process.wait_for(self.socket, meanwhile)?;
        let message = sys::receive(self.socket, &mut rights)?;
        let errno = message.first().map_or(ESRCH, |&errno| i32::from(errno));
        sys::unmap(message);
        match *rights.fds() {
            [namespace] => self.namespace = namespace,
            // The kernel leaves a descriptor out when the limit of open ones is reached.
            _ => return Err(if errno == 0 { EMFILE } else { errno }),
        }
        self.process.wait_for(self.socket, meanwhile)?;
        if sys::read(self.socket, &mut [0]) == Ok(1) { Ok(()) } else { Err(ESRCH) }
    }

    /// Open one of its files in /proc, to write it.
    pub fn open(&self, file: &[u8]) -> Result<i32> {
        let directory = self.proc.open_process(self.process.pid)?;
        let fd = sys::open_at(directory, file.as_ptr(), O_WRONLY);
        sys::close(directory);
        fd
    }

    /// Whether it has ended, although init has not ended it.
    pub fn has_ended(&self) -> bool {
        sys::poll([self.process.pidfd], Some(0)) == Ok([true])
    }

    /// End it.
    pub fn end(self, meanwhile: &dyn Fn()) {
        sys::close(self.socket);
        if self.namespace >= 0 {
            sys::close(self.namespace);
        }
        self.process.reap(meanwhile);
    }
}

/// A child of init that ends by itself, although programs that run here may stop it.
pub struct Waited {
    /// Its PID.
    pub pid: i32,
    /// A pidfd of it.
    pub pidfd: i32,
}

impl Waited {
    /// Wait until `fd` is readable, and kill the process if that takes too long.
    fn wait_for(&self, fd: i32, meanwhile: &dyn Fn()) -> Result<()> {
        for _ in 0..MAX_INTERVALS {
            if sys::poll([fd], Some(INTERVAL))? == [true] {
                return Ok(());
            }
            if sys::has_stopped(self.pidfd) {
                sys::kill(self.pid, SIGCONT);
            }
            meanwhile();
        }
        sys::kill(self.pid, SIGKILL);
        Err(ETIMEDOUT)
    }

    /// Wait for its end, and reap it. One that is traced is reaped later, as an orphan is: its tracer has to release it
    /// first (ptrace(2)).
    pub fn reap(self, meanwhile: &dyn Fn()) {
        if self.wait_for(self.pidfd, meanwhile).is_err() {
            let _ = sys::poll([self.pidfd], Some(INTERVAL));
        }
        let _ = sys::wait(self.pid, &mut [0; 18], false);
        sys::close(self.pidfd);
    }
}

/// Report why there is no namespace, and end.
fn refuse(socket: i32, errno: Errno) -> ! {
    let _ = sys::write(socket, &[errno as u8]);
    sys::exit(FAILED)
}

/// What the holder does.
fn hold(held: Held, proc: Proc, socket: i32) -> ! {
    sys::set_name(c"nsbox-holder");
    let path = if held == Held::User { c"self/ns/user" } else { c"self/ns/time_for_children" };
    let made = if held == Held::Time { sys::unshare(u64::from(CLONE_NEWTIME)) } else { Ok(()) };
    let namespace = match made.and_then(|()| proc.open_link(path.to_bytes_with_nul())) {
        Ok(namespace) => namespace,
        Err(errno) => refuse(socket, errno),
    };
    let sent = sys::send(socket, &[0], Some(Attached { fd: namespace, sender: None }));
    if sent.and_then(|()| close_others(&mut [socket])).is_err() {
        sys::exit(FAILED);
    }
    // Where the kernel has no filters, or refuses them, no program here is confined by one either.
    let _ = confine();
    let _ = sys::set_dumpable(true);
    let _ = sys::write(socket, &[0]);
    // The end of the connection: init is ready, or gone.
    let _ = sys::read(socket, &mut [0]);
    sys::exit(0)
}
