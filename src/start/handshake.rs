//! The handshake with nsbox-init: from its exec until the payload runs, the box waits for requests, or a step has
//! failed.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, send};
use nsbox_init::vfork::Method;
use nsbox_init::wire::{GO, Report};

use crate::call::{Value, call};
use crate::channel::failure::{failure, forbidden, init_forbidden, refused, step_failed};
use crate::channel::report::{Message, receive};
use crate::channel::sockets::ask_to_end;
use crate::error::{Error, Result, StepFailure, os};
use crate::pidfd::{self, Status, is_stopped, number_in_proc, reap, reap_interruptibly, remembered};
use crate::plan::plan::Plan;
use crate::plan::step::{Actor, CallerAction};
use crate::poll::{SIGNAL_SLICE, poll_readable, wait_bounded};
use crate::start::child::Identity;
use crate::start::clone::NewInit;
use crate::start::exit::{Exit, check_executed};
use crate::start::map_helper::MapHelper;
use crate::start::release::{Doomed, await_killed, release};
use crate::step_name::StepName;

/// How long an nsbox-init whose start is ended may take to exit by itself.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is checked whether an nsbox-init that has ended was reaped by that of an outer box.
const MAX_REAP_CHECKS: u32 = 20;

/// Interval between these checks.
const REAP_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// How long an nsbox-init may take for its plan where programs run already: they may serve the file system to which a
/// path in the plan leads (fuse(4)).
const SET_UP_TIMEOUT: Duration = Duration::from_secs(15);

/// How often an nsbox-init may be found stopped during its set-up.
const MAX_STOPS: u32 = 30;

/// An nsbox-init that carries out its plan.
pub struct Handshake<'a> {
    plan: &'a Plan,
    /// Its PID.
    pub pid: i32,
    /// A pidfd of it.
    pub pidfd: OwnedFd,
    /// Our end of the connection.
    pub socket: OwnedFd,
    /// The system call that made it.
    pub method: Method,
    /// The payload's process, once it has reported that it exists.
    payload: Option<Announced>,
    /// The process that waits for its maps.
    member: Option<OwnedFd>,
    /// Number of maps that are written.
    maps: usize,
    /// The program that writes the next map, and the step that it carries out, while it runs.
    helper: Option<(u16, MapHelper)>,
    /// For each step that it has carried out: its number, and the time it took, in nanoseconds.
    times: Vec<(u16, i64)>,
    /// The directory in memory to which a new root is written.
    pub layer: Option<OwnedFd>,
    ending: Ending,
    /// Whether processes are left that end with nsbox-init.
    left: bool,
    doomed: Doomed,
    /// How often it was found stopped.
    stops: u32,
    since: Instant,
    /// Whether programs run already where it is.
    pub with_programs: bool,
}

/// What is known of a payload's end.
enum Ending {
    /// Nothing, and the payload has not been reported either.
    Unknown,
    /// The payload runs; this is its pidfd.
    Of(OwnedFd),
    /// nsbox-init has reported the end.
    Reported(Exit),
}

/// What the payload's process has reported of itself.
struct Announced {
    /// Its PID, as the kernel translated it for us.
    pid: i32,
    /// Its PID in its own namespace.
    pid_inside: i32,
    /// A pidfd of it.
    pidfd: Option<OwnedFd>,
}

impl<'a> Handshake<'a> {
    /// Begin, with an nsbox-init that has its plan.
    pub fn new(plan: &'a Plan, init: NewInit) -> Self {
        let NewInit { pid, pidfd, socket, method } = init;
        let (payload, member, maps, helper) = (None, None, 0, None);
        let (times, ending) = (Vec::new(), Ending::Unknown);
        let (layer, left, doomed, stops, since) = (None, false, Doomed::default(), 0, Instant::now());
        let with_programs = plan.joined != 0;
        Handshake {
            plan,
            pid,
            pidfd,
            socket,
            method,
            payload,
            member,
            maps,
            helper,
            times,
            layer,
            ending,
            left,
            doomed,
            stops,
            since,
            with_programs,
        }
    }

    /// Handle one report. When the payload runs, returns its identity and a pidfd of it.
    pub fn until_started(&mut self) -> Result<Option<(Identity, OwnedFd)>> {
        match self.receive()? {
            Some(Message { report: Report::Started { pid }, sender, attached }) => {
                self.started(pid, sender, attached).map(Some)
            }
            Some(_) => Ok(None),
            None => self.check_time(),
        }
    }

    /// Continue an nsbox-init that programs in the outer box stop while it sets up a box in a box; an error if they do
    /// so again and again.
    pub fn continue_if_stopped(&mut self) -> Result<()> {
        if is_stopped(&self.pidfd) {
            self.stops += 1;
            let _ = pidfd::send_signal(&self.pidfd, libc::SIGCONT);
        }
        if self.stops <= MAX_STOPS {
            return Ok(());
        }
        let detail = "nsbox-init was stopped again and again".to_string();
        Err(failure(self.plan, self.plan.init_step(), libc::ETIMEDOUT, detail))
    }

    /// Handle one report. When a box waits for requests, returns the times that its steps took.
    pub fn until_serving(&mut self) -> Result<Option<Vec<(u16, i64)>>> {
        match self.receive()? {
            Some(Message { report: Report::Done, .. }) => Ok(Some(std::mem::take(&mut self.times))),
            Some(_) => Ok(None),
            None => self.check_time(),
        }
    }

    /// An error if nsbox-init takes too long where programs run already. It may wait in the kernel, where not even
    /// SIGKILL ends it before the box around it ends.
    fn check_time<T>(&self) -> Result<Option<T>> {
        if !self.with_programs || self.since.elapsed() < SET_UP_TIMEOUT {
            return Ok(None);
        }
        let calls = vec![call("recvmsg", [("sockfd", Value::File("nsbox-init".into()))])];
        let detail = "nsbox-init does not reply".to_string();
        Err(Error::Step(Box::new(StepFailure {
            errno: libc::ETIMEDOUT,
            step: StepName::Init,
            actor: "init",
            calls,
            detail,
        })))
    }

    fn receive(&mut self) -> Result<Option<Message>> {
        if self.is_helped()? {
            return Ok(None);
        }
        let [readable, ended] = poll_readable([self.socket.as_raw_fd(), self.pidfd.as_raw_fd()], Some(SIGNAL_SLICE))?;
        let Some(mut message) = receive(&self.socket)? else {
            return if readable || ended { Err(self.gone()) } else { Ok(None) };
        };
        self.handle(&mut message)?;
        Ok(Some(message))
    }

    /// Whether a program is writing a map. If so, wait for it, at most [`SIGNAL_SLICE`].
    fn is_helped(&mut self) -> Result<bool> {
        let Some((step, helper)) = &mut self.helper else { return Ok(false) };
        if poll_readable([helper.fd()], Some(SIGNAL_SLICE))? == [true]
            && let Some(outcome) = helper.read()
        {
            outcome.map_err(|(errno, message)| failure(self.plan, *step, errno, message))?;
            self.helper = None;
            self.maps += 1;
            self.write_maps()?;
        }
        Ok(true)
    }

    fn handle(&mut self, message: &mut Message) -> Result<()> {
        match message.report {
            Report::Forked { pid } => self.forked(message.sender, pid),
            Report::MapsWanted => {
                // The sender is the first process of the user namespace, which waits.
                self.member = pidfd::open(message.sender).ok();
                self.write_maps()?;
            }
            Report::Failed(failed) => return Err(step_failed(self.plan, failed)),
            Report::Refused(malformed) => return Err(refused(malformed)),
            Report::Performed { step, nanoseconds, .. } => self.times.push((step as u16, nanoseconds)),
            Report::Layer => self.layer = message.attached.take(),
            Report::Started { .. } | Report::Exited { .. } | Report::Done | Report::Happened { .. } => {}
        }
        Ok(())
    }

    /// Wait for the end of everything: for its report, and then for nsbox-init itself. In both waits the kernel runs
    /// the waiting thread on the CPU of the process that ends; a poll of a pidfd would wake another CPU.
    pub fn until_ended(&mut self) -> Result<Option<Exit>> {
        if self.is_helped()? {
            return Ok(None);
        }
        if !matches!(self.ending, Ending::Reported(_)) {
            let [readable] = poll_readable([self.socket.as_raw_fd()], Some(SIGNAL_SLICE))?;
            // A child of os.fork may have a copy of the other end, and then the socket does not show the end.
            let ended = !readable && poll_readable([self.pidfd.as_raw_fd()], Some(Duration::ZERO))? == [true];
            match receive(&self.socket)? {
                Some(mut message) => {
                    self.handle(&mut message)?;
                    match (message.report, message.attached) {
                        (Report::Exited { status, usage, left }, _) => {
                            if left {
                                self.doomed.doom();
                            }
                            self.left = left;
                            self.ending = Ending::Reported(Exit::reported(status, &usage));
                        }
                        (Report::Started { .. }, Some(payload)) => self.ending = Ending::Of(payload),
                        _ => {}
                    }
                    return Ok(None);
                }
                None if !readable && !ended => return Ok(None),
                None => {}
            }
        }
        // Processes that are killed with nsbox-init may have to be helped to end.
        if self.left && poll_readable([self.pidfd.as_raw_fd()], Some(SIGNAL_SLICE))? == [false] {
            self.doomed.release_if_overdue(&self.pidfd);
            return Ok(None);
        }
        // All that is left is the kernel's work of removing the namespaces.
        let status = reap_interruptibly(&self.pidfd)?;
        match (std::mem::replace(&mut self.ending, Ending::Unknown), status) {
            (Ending::Reported(exit), _) => check_executed(self.plan, exit).map(Some),
            (Ending::Of(payload), status) => {
                Ok(Some(Exit::without_report(status, Some(&payload), self.plan.init_is_pid_1())))
            }
            (Ending::Unknown, Some(Status::Killed(signal))) if self.plan.init_is_pid_1() && signal != libc::SIGSYS => {
                Ok(Some(Exit::without_report(status, None, true)))
            }
            (Ending::Unknown, status) => Err(self.gone_with(status)),
        }
    }

    /// End nsbox-init, and return when it is gone. As PID 1 it is killed, and everything with it. Outside a PID
    /// namespace it is first asked to end what it started.
    pub fn abandon(mut self) {
        while let Ok(Some(message)) = receive(&self.socket) {
            if let Report::Forked { pid } = message.report {
                self.forked(message.sender, pid);
            }
        }
        ask_to_end(&self.socket);
        drop(self.socket);
        if !self.plan.init_is_pid_1() {
            if let Some(Announced { pidfd: Some(payload), .. }) = &self.payload {
                let _ = pidfd::send_signal(payload, libc::SIGKILL);
            }
            let _ = pidfd::send_signal(&self.pidfd, libc::SIGCONT);
            if !wait_bounded(&self.pidfd, EXIT_TIMEOUT) {
                release(&self.pidfd);
                wait_bounded(&self.pidfd, EXIT_TIMEOUT);
            }
        }
        let _ = pidfd::send_signal(&self.pidfd, libc::SIGKILL);
        // A process that SIGKILL does not end hangs in the kernel: it cannot be waited for.
        if await_killed(&self.pidfd, &self.pidfd, EXIT_TIMEOUT) {
            reap(&self.pidfd, false);
        } else {
            pidfd::give_up(&self.pidfd);
        }
        self.plan.remove_cgroup();
    }

    fn forked(&mut self, pid: i32, pid_inside: i32) {
        // It may have ended already: then there is nothing to open, and nothing to kill.
        self.payload = Some(Announced { pid, pid_inside, pidfd: pidfd::open(pid).ok() });
    }

    fn started(&self, pid: i32, sender: i32, attached: Option<OwnedFd>) -> Result<(Identity, OwnedFd)> {
        let pidfd = attached.ok_or(Error::Os("recvmsg(SCM_RIGHTS)", libc::EBADMSG))?;
        // A payload that has not sent its PID is in the namespace of its init, which sent this report in its name.
        let (pid, pid_inside) = match self.payload {
            Some(Announced { pid, pid_inside, .. }) => (pid, pid_inside),
            None => (sender, pid),
        };
        let init_is_pid_1 = self.plan.init_is_pid_1();
        Ok((Identity { pid, pid_inside, init_pid: self.pid, init_is_pid_1, method: self.method }, pidfd))
    }

    /// Write the files of the user namespace (user_namespaces(7)), each in one write(2). If a program writes one, this
    /// starts it and returns, and is called again when the program has ended.
    fn write_maps(&mut self) -> Result<()> {
        let Some(member) = &self.member else { return Err(self.gone()) };
        for (index, action) in self.plan.maps().skip(self.maps) {
            let failed = |errno| failure(self.plan, index, errno, String::new());
            match action {
                CallerAction::Setgroups(_) | CallerAction::Map(..) => {
                    let (file, text) = action.map_file();
                    number_in_proc(member)
                        .and_then(|pid| write_once(&format!("/proc/{pid}/{file}"), text.as_bytes()))
                        .map_err(failed)?;
                }
                CallerAction::MapBy(program, rows) => {
                    let helper = number_in_proc(member).and_then(|pid| MapHelper::start(program, pid, rows));
                    self.helper = Some((index, helper.map_err(failed)?));
                    return Ok(());
                }
                _ => {}
            }
            self.maps += 1;
        }
        send(self.socket.as_raw_fd(), &[GO], MsgFlags::MSG_NOSIGNAL).map_err(os("send"))?;
        Ok(())
    }

    /// The error for an nsbox-init that ended without a report: most likely it was killed from outside.
    fn gone(&self) -> Error {
        // Its descriptors are closed a moment before its end can be seen.
        let ended = wait_bounded(&self.pidfd, EXIT_TIMEOUT);
        let mut status = reap(&self.pidfd, false).or_else(|| remembered(&self.pidfd));
        // That of a box in a box is not a child of this process: its end is remembered once it has been reaped.
        for _ in 0..MAX_REAP_CHECKS {
            if status.is_some() || !ended {
                break;
            }
            std::thread::sleep(REAP_CHECK_INTERVAL);
            status = remembered(&self.pidfd);
        }
        self.gone_with(status)
    }

    fn gone_with(&self, status: Option<Status>) -> Error {
        if let Some(Status::Killed(libc::SIGSYS)) = status {
            // The clone has succeeded. The exec is the caller's step, and the child's act.
            let init = usize::from(self.plan.init_step());
            let error = forbidden(self.plan, |index, step| index >= init && step.actor != Actor::Payload);
            if let Some(error) = error.or_else(init_forbidden) {
                return error;
            }
        }
        let detail = match status {
            Some(Status::Killed(signal)) => format!("nsbox-init was killed by signal {signal}"),
            Some(Status::Exited(code)) => format!("nsbox-init ended with status {code}"),
            None => "nsbox-init closed the connection".to_string(),
        };
        let calls = vec![call("recvmsg", [("sockfd", Value::File("nsbox-init".into()))])];
        Error::Step(Box::new(StepFailure {
            errno: libc::ECONNRESET,
            step: StepName::Init,
            actor: "init",
            calls,
            detail,
        }))
    }
}

fn write_once(path: &str, bytes: &[u8]) -> std::result::Result<(), i32> {
    use std::io::Write;
    let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    let mut file = std::fs::File::options().write(true).open(path).map_err(errno)?;
    let written = file.write(bytes).map_err(errno)?;
    if written == bytes.len() { Ok(()) } else { Err(libc::EIO) }
}
