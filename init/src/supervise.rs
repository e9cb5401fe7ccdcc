//! After the payload has started: reap, forward, and die with the caller.
//!
//! As PID 1 of a namespace our own end is the end of everything in it (pid_namespaces(7)). Without a PID namespace
//! we are a subreaper (prctl(2)) and end what is left of our descendants one by one.

use linux_raw_sys::general::{O_DIRECTORY, O_PATH, O_RDONLY, SIGCHLD, SIGKILL};
use nsbox_init::vfork::Born;
use nsbox_init::wire::{Report, ReportKind};

use crate::FAILED;
use crate::cgroup::Cgroup;
use crate::launch::Failure;
use crate::report::{Channel, Heard};
use crate::sys::{self, Attached, EPERM, Result};

/// The process that was started.
pub struct Payload {
    /// Its PID in our own namespace.
    pub pid: i32,
    /// A pidfd of it.
    pub pidfd: i32,
    /// Whether it has told the caller its number itself.
    pub announced: bool,
    /// Whether it is made to leave the caller's process group.
    pub has_group: bool,
    /// Where it says which step failed, if the caller does not want to be told that it runs. Otherwise it does run.
    pub failure: Option<*const Failure>,
}

/// What was set up before and is needed to the end.
#[derive(Clone, Copy)]
pub struct Kept {
    /// A descriptor of /proc; -1 where /proc itself is still there.
    pub proc: i32,
    /// The cgroup of what is started.
    pub cgroup: Option<Cgroup>,
}

/// All that supervising needs, made before the payload exists: a failure is then one of set-up, with a step and an
/// error number, and the payload cannot tamper with what we look at.
pub struct Supervisor {
    /// The caller.
    pub channel: Channel,
    /// Every signal, as a descriptor.
    pub signals: i32,
    /// Our own end ends everything.
    pid_1: bool,
    /// /proc, and the list of our children in it; neither is there when we are PID 1, or without a /proc.
    proc: i32,
    children: i32,
    /// The cgroup of what has been started.
    cgroup: Option<Cgroup>,
}

/// A payload of which nobody hears until its end, and that takes less time, in milliseconds, does not need us to leave
/// the caller's process group.
const SHORT: u32 = 10;
/// How long to wait for descendants that have just been killed before looking for more, in milliseconds.
const SWEEP: u32 = 5;

impl Supervisor {
    /// Prepare.
    pub fn new(channel: &Channel, kept: Kept) -> Result<Self> {
        let pid_1 = sys::getpid() == 1;
        let (mut proc, mut children) = (-1, -1);
        if !pid_1 {
            // Orphans come to the nearest subreaper instead of to the init of the caller's namespace.
            sys::become_subreaper()?;
            (proc, children) = open_children(kept.proc).unwrap_or((-1, -1));
        }
        let channel = Channel { socket: channel.socket, lifeline: channel.lifeline };
        Ok(Supervisor { channel, signals: sys::signal_fd()?, pid_1, proc, children, cgroup: kept.cgroup })
    }

    /// Whether we are PID 1 of a namespace.
    pub fn is_pid_1(&self) -> bool {
        self.pid_1
    }

    /// Stay until the payload, or the caller, is dead.
    pub fn supervise(&self, payload: &Payload) -> ! {
        self.close_others(&[payload.pidfd]);
        let _ = sys::chdir(c"/".as_ptr().cast());
        let mut in_group = payload.failure.is_some();
        if !in_group {
            // A caller that hears of the payload may signal the group right then.
            leave_group(payload.has_group);
            let started = Report { value: i64::from(payload.pid), ..Report::new(ReportKind::Started) };
            // In another PID namespace our number for the payload means nothing to the caller: the kernel translates it.
            let sender = (self.pid_1 && !payload.announced).then_some(payload.pid);
            if self.channel.send(started, Some(Attached { fd: payload.pidfd, sender })).is_err() {
                // The caller gave up while we were at it.
                self.end(payload);
            }
        }
        let mut socket = self.channel.socket;
        let mut pidfd = payload.pidfd;
        loop {
            // All signals are blocked, so nothing interrupts this. It does fail for a payload of our own user that has
            // lowered our limit of descriptors (prlimit(2)): then we could neither reap nor see the caller's death.
            let fds = [socket, self.channel.lifeline, self.signals, pidfd];
            let patience = match (pidfd < 0, in_group) {
                (true, _) => Some(SWEEP),
                (false, true) => Some(SHORT),
                (false, false) => None,
            };
            let Ok([heard, orphaned, signalled, ended]) = sys::poll(fds, patience) else { self.end(payload) };
            if in_group && !ended {
                leave_group(payload.has_group);
                in_group = false;
                // What the group was sent until now the payload has got itself, and nobody knows of us yet.
                while sys::read_signal(self.signals).is_ok() {}
                self.reap(payload);
            }
            if orphaned {
                self.end(payload);
            }
            if heard {
                match self.channel.hear() {
                    Heard::Nothing => {}
                    // The handle is gone while its process lives on: carry on, the lifeline decides.
                    Heard::Hangup => socket = -1,
                    Heard::Go | Heard::End => self.end(payload),
                }
            }
            if signalled {
                self.attend_to_signal(payload);
            }
            if ended || pidfd < 0 {
                // It has ended, and so does everything. One that is traced by another process (ptrace(2)) cannot be
                // reaped before that one has let go of it: that has to end first.
                self.reap(payload);
                self.kill_others();
                pidfd = -1;
            }
        }
    }

    fn kill_others(&self) {
        if self.pid_1 {
            sys::kill(-1, SIGKILL);
        } else {
            self.kill_children();
        }
    }

    /// End everything if the caller is dead, while a process is on its way to its exec.
    pub fn watch_for_the_caller(&self, born: &Born) {
        if sys::poll([self.channel.lifeline], Some(0)) != Ok([false]) {
            sys::pidfd_send_signal(born.pidfd, SIGKILL);
            self.end_all();
        }
    }

    /// One at a time: the next poll tells whether there are more.
    fn attend_to_signal(&self, payload: &Payload) {
        match sys::read_signal(self.signals) {
            Ok(SIGCHLD) => self.reap(payload),
            Ok(signal) => sys::pidfd_send_signal(payload.pidfd, signal),
            Err(_) => {}
        }
    }

    /// Collect every child that ended. With the payload's own end we are done.
    fn reap(&self, payload: &Payload) {
        let mut rusage = [0; 18];
        while let Ok(Some((pid, status))) = sys::wait(-1, &mut rusage, false) {
            if pid == payload.pid {
                if !self.pid_1 {
                    self.sweep();
                }
                // SAFETY: memory that stays, to which nobody writes any more.
                if let Some(failure) = payload.failure.map(|failure| unsafe { failure.read_volatile() })
                    && failure.errno != 0
                {
                    self.channel.failed(failure);
                    self.leave(FAILED);
                }
                let report = Report { value: i64::from(status), rusage, ..Report::new(ReportKind::Exited) };
                let _ = self.channel.send(report, None);
                // Our own status says the same in the shell's way (128 + signal), for whoever waits for us instead.
                self.leave(if status & 0x7f == 0 { status >> 8 & 0xff } else { 128 + (status & 0x7f) });
            }
        }
    }

    /// End everything and ourselves, as if by SIGKILL.
    fn end(&self, payload: &Payload) -> ! {
        if !self.pid_1 {
            sys::pidfd_send_signal(payload.pidfd, SIGKILL);
        }
        self.end_all()
    }

    /// End everything that has been started, and ourselves.
    pub fn end_all(&self) -> ! {
        if !self.pid_1 {
            self.sweep();
        }
        self.leave(128 + SIGKILL as i32)
    }

    /// Remove what our end would leave, and end.
    fn leave(&self, status: i32) -> ! {
        if let Some(cgroup) = self.cgroup {
            cgroup.remove(self.pid_1);
        }
        sys::exit(status)
    }

    /// Close all descriptors but our own and these, of which there are few. Nobody shall wait in vain for the end of a pipe
    /// that we merely inherited.
    pub fn close_others(&self, kept: &[i32]) {
        let Supervisor { channel, signals, proc, children, .. } = self;
        let [one, other] = self.cgroup.map_or([-1; 2], |cgroup| cgroup.descriptors());
        let own = [channel.socket, channel.lifeline, *signals, *proc, *children, one, other];
        let mut all = [-1; 16];
        all[..own.len()].copy_from_slice(&own);
        all[own.len()..][..kept.len()].copy_from_slice(kept);
        close_others(&mut all);
    }

    /// Kill and reap descendants until none is left. Each generation's orphans become our children. We give up on
    /// those that have become another user's, whom we may not kill.
    fn sweep(&self) {
        let mut rusage = [0; 18];
        loop {
            loop {
                match sys::wait(-1, &mut rusage, false) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
            if !self.kill_children() {
                return;
            }
            let _ = sys::poll([self.signals], Some(SWEEP));
            while sys::read_signal(self.signals).is_ok() {}
        }
    }

    /// SIGKILL to every child; false if there is none that could be killed.
    ///
    /// The numbers are those of whichever PID namespace this /proc belongs to, so they are not for kill(2); but a
    /// directory of /proc serves as a pidfd (pidfd_send_signal(2)). A child of ours cannot be confused with another
    /// process: its number is taken until we reap it.
    fn kill_children(&self) -> bool {
        let mut buffer = [0; 4096];
        let Ok(length) = sys::read_at(self.children, &mut buffer, 0) else { return false };
        let mut killed = false;
        for number in buffer[..length].split_inclusive_mut(|&byte| byte == b' ') {
            // A number cut off by the end of the buffer would be another one.
            let Some(end) = number.last_mut().filter(|end| **end == b' ') else { continue };
            *end = 0;
            if let Ok(fd) = sys::open_at(self.proc, number.as_ptr(), O_RDONLY | O_DIRECTORY) {
                killed |= sys::signal_process(fd, SIGKILL) != Err(EPERM);
                sys::close(fd);
            }
        }
        killed
    }
}

/// Leave the process group of the caller, in which the payload has started and where a terminal's signals reach it: it would
/// get each of them twice, from the terminal and forwarded by us.
///
/// A parent in another group of the same session is what keeps a group from being orphaned (setpgid(2)). The caller's group
/// shall not depend on us: with the payload's end the kernel would hang up on all of it, if anything in it is stopped at that
/// moment. So we leave the session, too. That brings a group for the scheduler (sched(7), autogroup), which is why we do
/// not for payloads that take no time. But one with a group of its own depends on us, or the terminal could not stop it.
pub fn leave_group(payload_has_group: bool) {
    let _ = if payload_has_group { sys::setpgid(0) } else { sys::setsid() };
}

/// A proc, and the list of our children in it (proc(5), /proc/PID/task/TID/children). The one on /proc serves, whichever
/// PID namespace it is for; where there is none, one is made that is mounted nowhere, if we may.
fn open_children(given: i32) -> Result<(i32, i32)> {
    let children_in = |proc: i32| {
        let children = sys::open_at(proc, c"thread-self/children".as_ptr().cast(), O_RDONLY)?;
        if sys::is_proc(children) { Ok((proc, children)) } else { Err(sys::ENOENT) }
    };
    let proc = if given < 0 { sys::open(c"/proc".as_ptr().cast(), O_PATH | O_DIRECTORY) } else { Ok(given) };
    proc.and_then(children_in).or_else(|_| sys::detached_proc().and_then(children_in))
}

/// Close all descriptors but these; negative ones are ignored.
pub fn close_others(kept: &mut [i32]) {
    kept.sort_unstable();
    let mut next = 0;
    for &fd in kept.iter().filter(|fd| **fd >= 0) {
        if next < fd {
            sys::close_range(next, fd - 1);
        }
        next = fd + 1;
    }
    sys::close_range(next, i32::MAX);
}
