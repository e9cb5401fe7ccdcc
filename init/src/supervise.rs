//! After the payload has started: reap, forward signals, and end with the caller.
//!
//! When init is PID 1 of a namespace, its end is the end of everything in that (pid_namespaces(7)). Without a PID
//! namespace init is a subreaper (prctl(2)) and ends its remaining descendants one by one.

use linux_raw_sys::general::{O_DIRECTORY, O_RDONLY, SIGCHLD, SIGKILL};
use nsbox_init::vfork::Born;
use nsbox_init::wire::Report;

use crate::cgroup::Cgroup;
use crate::descriptors::close_others;
use crate::fuse;
use crate::group::leave_group;
use crate::lineage::Lineage;
use crate::memory::Notes;
use crate::proc::open_children;
use crate::report::{Channel, Command, FAILED};
use crate::setup::Setup;
use crate::sys::{self, Attached, ENOSYS, EPERM, Result};

/// The process that was started.
pub struct Payload {
    /// Its PID in our own namespace.
    pub pid: i32,
    /// A pidfd of it.
    pub pidfd: i32,
    /// Whether it has sent the caller its PID by itself.
    pub announced: bool,
    /// Whether it leaves the caller's process group.
    pub has_group: bool,
    /// Where it notes a failure of its set-up, if the caller does not want a report that it runs. `None`: it runs
    /// already.
    pub notes: Option<&'static Notes>,
}

/// All that supervising needs, made before the payload exists: an error is then one of set-up, with a step and an error
/// number, and the payload cannot change what init reads.
pub struct Supervisor {
    /// The caller.
    pub channel: Channel,
    /// Every signal, as a descriptor.
    pub signals: i32,
    /// Whether the end of init ends everything.
    pid_1: bool,
    /// /proc, and the list of our children in it; -1 if init is PID 1, or without a /proc.
    proc: i32,
    children: i32,
    /// The cgroup of what has been started.
    cgroup: Option<Cgroup>,
    /// The namespaces of init.
    lineage: Lineage,
}

/// After how many milliseconds init leaves the caller's process group, when nothing is reported before the payload's
/// end.
const LEAVE_GROUP_AFTER: u32 = 10;
/// Interval between looks for descendants that are left, in milliseconds.
const SWEEP_INTERVAL: u32 = 5;
/// How long killed processes have to end by themselves, in nanoseconds, before what they wait for is aborted.
const GRACE: u64 = 1_500_000_000;
/// How long aborts may take, in milliseconds.
const ABORTS: u32 = 4000;
/// Number of sweeps in which the children of init cannot be waited for, until init ends without that.
const MAX_REFUSED: u32 = 20;
/// Number of sweeps that a payload has to become a child that can be reaped, after its end.
const MAX_SWEEPS: u32 = 200;

impl Supervisor {
    /// Prepare.
    pub fn new(channel: &Channel, setup: Setup) -> Result<Self> {
        let pid_1 = sys::getpid() == 1;
        let Setup { cgroup, lineage, .. } = setup;
        let (mut proc, mut children) = (-1, -1);
        if !pid_1 {
            // The kernel gives orphans to the nearest subreaper instead of to the init of the caller's namespace.
            sys::become_subreaper()?;
            (proc, children) = open_children(setup.proc).unwrap_or((-1, -1));
        }
        let channel = Channel { socket: channel.socket, lifeline: channel.lifeline };
        Ok(Supervisor { channel, signals: sys::signal_fd()?, pid_1, proc, children, cgroup, lineage })
    }

    /// Whether init is PID 1 of a namespace.
    pub fn is_pid_1(&self) -> bool {
        self.pid_1
    }

    /// The directories that init keeps: /proc, and the one above the cgroup; -1 for none.
    pub fn directories(&self) -> [i32; 2] {
        [self.proc, self.cgroup.map_or(-1, |cgroup| cgroup.descriptors()[0])]
    }

    /// Run until the payload, or the caller, is dead.
    pub fn supervise(&self, payload: &Payload) -> ! {
        // The payload runs already. Where this is refused, its pipes stay open here, until init ends with it.
        let _ = self.close_others(&[payload.pidfd]);
        let _ = sys::chdir(c"/".as_ptr().cast());
        let mut in_group = payload.notes.is_some();
        if !in_group {
            // A caller that gets the report may send a signal to the group at once.
            leave_group(payload.has_group);
            let started = Report::Started { pid: payload.pid };
            // In another PID namespace our PID of the payload means nothing to the caller: the kernel translates it.
            let sender = (self.pid_1 && !payload.announced).then_some(payload.pid);
            if self.channel.send(started, Some(Attached { fd: payload.pidfd, sender })).is_err() {
                // The caller has ended the start meanwhile.
                self.end(payload);
            }
        }
        let mut socket = self.channel.socket;
        let mut pidfd = payload.pidfd;
        let mut sweeps = 0;
        loop {
            // All signals are blocked, so none interrupts this call. It fails if a payload of the same user has lowered
            // our limit of descriptors (prlimit(2)): then init could neither reap nor notice the caller's death.
            let fds = [socket, self.channel.lifeline, self.signals, pidfd];
            let timeout = match (pidfd < 0, in_group) {
                (true, _) => Some(SWEEP_INTERVAL),
                (false, true) => Some(LEAVE_GROUP_AFTER),
                (false, false) => None,
            };
            let Ok([commanded, orphaned, signalled, ended]) = sys::poll(fds, timeout) else { self.end(payload) };
            if in_group && !ended {
                leave_group(payload.has_group);
                in_group = false;
                // Signals to the group so far have reached the payload directly; and no process knows our PID yet.
                while sys::read_signal(self.signals).is_ok() {}
                self.reap(payload);
            }
            if orphaned {
                self.end(payload);
            }
            if commanded {
                match self.channel.receive() {
                    Command::None => {}
                    // The caller lost the handle but lives on: init continues until the payload ends or the lifeline
                    // does.
                    Command::Closed => socket = -1,
                    Command::Namespaces(reply) => {
                        self.send_namespaces(reply);
                        sys::close(reply);
                    }
                    Command::Go | Command::End => self.end(payload),
                }
            }
            if signalled {
                self.handle_signal(payload);
            }
            if ended || pidfd < 0 {
                // It has ended, so everything ends. A payload that is traced by another process (ptrace(2)) cannot be
                // reaped until the tracer detaches, so the tracer has to end first.
                self.reap(payload);
                self.kill_others();
                pidfd = -1;
                sweeps += 1;
                if !self.pid_1 && sweeps > MAX_SWEEPS {
                    self.give_up();
                }
            }
        }
    }

    /// Send the namespaces of init to the caller.
    pub fn send_namespaces(&self, reply: i32) {
        self.lineage.send(&Channel { socket: reply, lifeline: self.channel.lifeline });
    }

    fn kill_others(&self) {
        if self.pid_1 {
            sys::kill(-1, SIGKILL);
        } else {
            self.kill_children();
        }
    }

    /// End everything if the caller is dead, while init waits for a process: with that process, if it is one that is
    /// not yet at its exec.
    pub fn watch_for_the_caller(&self, born: Option<&Born>) {
        if sys::poll([self.channel.lifeline], Some(0)) != Ok([false]) {
            if let Some(born) = born {
                sys::kill(born.pid, SIGKILL);
            }
            self.end_all();
        }
    }

    /// Handle one signal: the next poll shows whether there are more.
    fn handle_signal(&self, payload: &Payload) {
        match sys::read_signal(self.signals) {
            Ok(SIGCHLD) => self.reap(payload),
            Ok(signal) => sys::kill(payload.pid, signal),
            Err(_) => {}
        }
    }

    /// Reap every child that has ended. If the payload is among them, report its end and exit.
    fn reap(&self, payload: &Payload) {
        let mut usage = [0; 18];
        while let Ok(Some((pid, status))) = sys::wait(-1, &mut usage, false) {
            if pid == payload.pid {
                if !self.pid_1 {
                    self.sweep();
                }
                let failed = |notes: &Notes| notes.failure().or_else(|| notes.forbidden(status));
                if let Some(failure) = payload.notes.and_then(failed) {
                    self.channel.failed(failure);
                    self.leave(FAILED);
                }
                // Without any child of PID 1 no process is left in its namespace.
                let left = self.pid_1 && sys::wait(-1, &mut [0; 18], false) != Err(sys::ECHILD);
                let report = Report::Exited { status, usage, left };
                let _ = self.channel.send(report, None);
                if left {
                    self.end_others();
                }
                // The exit status of init says the same as in a shell (128 + signal), for a caller that only waits.
                self.leave(if status & 0x7f == 0 { status >> 8 & 0xff } else { 128 + (status & 0x7f) });
            }
        }
    }

    /// Report the end of a payload that cannot be reaped, as if by SIGKILL: in a PID namespace that was joined it is
    /// traced by a process that is no descendant of ours (ptrace(2)). Its exit status is not known.
    fn give_up(&self) -> ! {
        let _ = self.channel.send(Report::Exited { status: SIGKILL as i32, usage: [0; 18], left: false }, None);
        self.leave(128 + SIGKILL as i32)
    }

    /// End everything and init, as if by SIGKILL.
    fn end(&self, payload: &Payload) -> ! {
        if !self.pid_1 {
            sys::kill(payload.pid, SIGKILL);
        }
        self.end_all()
    }

    /// End everything that has been started, and init.
    pub fn end_all(&self) -> ! {
        if self.pid_1 {
            self.end_others();
        } else {
            self.sweep();
        }
        self.leave(128 + SIGKILL as i32)
    }

    /// As PID 1, kill all others, and wait until they have ended. A process that waits for a file system of its own
    /// (fuse(4)) is released, as the caller may be dead: it would keep PID 1 from ending.
    fn end_others(&self) {
        sys::kill(-1, SIGKILL);
        let deadline = sys::nanoseconds() + GRACE;
        while sys::nanoseconds() < deadline {
            loop {
                match sys::wait(-1, &mut [0; 18], false) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    // None is left, or a filter refuses it (seccomp(2)).
                    Err(_) => return,
                }
            }
            let _ = sys::poll([self.signals], Some(SWEEP_INTERVAL));
            while sys::read_signal(self.signals).is_ok() {}
        }
        fuse::abort_own(ABORTS);
    }

    /// Remove the cgroup, and exit.
    fn leave(&self, status: i32) -> ! {
        if let Some(cgroup) = self.cgroup {
            cgroup.remove(self.pid_1);
        }
        sys::exit(status)
    }

    /// Close all descriptors but init's own and these, of which there are few. An inherited end of a pipe that stayed
    /// open here would keep its reader waiting.
    pub fn close_others(&self, also: &[i32]) -> Result<()> {
        let Supervisor { channel, signals, proc, children, .. } = self;
        let [parent, procs] = self.cgroup.map_or([-1; 2], |cgroup| cgroup.descriptors());
        let own = [channel.socket, channel.lifeline, *signals, *proc, *children, parent, procs];
        let mut all = [-1; 16];
        all[..own.len()].copy_from_slice(&own);
        all[own.len()..][..also.len()].copy_from_slice(also);
        close_others(&mut all)
    }

    /// Kill and reap descendants until none is left. Each generation's orphans become our children. Descendants that
    /// now belong to another user are left alone: init may not kill them.
    fn sweep(&self) {
        let mut rusage = [0; 18];
        let mut refused = 0;
        loop {
            loop {
                match sys::wait(-1, &mut rusage, false) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(sys::ECHILD) => return,
                    // A filter refuses it (seccomp(2)): the children can be killed all the same.
                    Err(_) => {
                        refused += 1;
                        break;
                    }
                }
            }
            if !self.kill_children() || refused > MAX_REFUSED {
                return;
            }
            let _ = sys::poll([self.signals], Some(SWEEP_INTERVAL));
            while sys::read_signal(self.signals).is_ok() {}
        }
    }

    /// Send SIGKILL to every child; false if none could be killed.
    ///
    /// The PIDs are those of the PID namespace to which this /proc belongs, so they are not for kill(2); but a
    /// directory of /proc serves as a pidfd (pidfd_send_signal(2)). No other process can have the PID of a child of
    /// ours: it is taken until we reap the child.
    fn kill_children(&self) -> bool {
        let mut buffer = [0; 4096];
        let Ok(length) = sys::read_at(self.children, &mut buffer, 0) else { return false };
        let mut killed = false;
        for number in buffer[..length].split_inclusive_mut(|&byte| byte == b' ') {
            // A PID that is cut off by the end of the buffer would be another PID.
            let Some(end) = number.last_mut().filter(|end| **end == b' ') else { continue };
            *end = 0;
            if let Ok(fd) = sys::open_at(self.proc, number.as_ptr(), O_RDONLY | O_DIRECTORY) {
                killed |= match sys::signal_process(fd, SIGKILL) {
                    // A filter of system calls refuses it, or the child belongs to another user now.
                    Err(EPERM | ENOSYS) => kill_child(number),
                    _ => true,
                };
                sys::close(fd);
            }
        }
        killed
    }
}

/// Kill the process with this PID, as digits with a zero after them, if it is a child of ours; false if it is not, or may
/// not be killed. In a proc of another PID namespace the number may be that of another process, or of another child: all
/// of them are to be killed.
fn kill_child(digits: &[u8]) -> bool {
    let digits = digits.strip_suffix(&[0]).unwrap_or(digits);
    let pid = digits.iter().fold(0_i32, |pid, digit| pid.wrapping_mul(10).wrapping_add(i32::from(*digit - b'0')));
    sys::is_child(pid) && sys::try_kill(pid, SIGKILL) != Err(EPERM)
}
