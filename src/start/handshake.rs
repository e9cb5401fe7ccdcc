//! Listening to nsbox-init, and answering, from its exec until the payload runs or a step has failed.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, send};
use nsbox_init::vfork::Method;
use nsbox_init::wire::{END, GO, ReportKind};

use crate::call::{Value, call};
use crate::channel::connection::Home;
use crate::channel::failure::{failure, refused, step_failed};
use crate::channel::report::{Message, receive};
use crate::error::{Error, Result, StepFailure, os};
use crate::pidfd::{self, Status, number_in_proc, reap, reap_interruptibly};
use crate::plan::plan::Plan;
use crate::plan::step::CallerAction;
use crate::poll::{SIGNAL_SLICE, poll_readable, wait_bounded};
use crate::start::child::Parts;
use crate::start::exit::Exit;
use crate::start::map_helper::Helper;
use crate::step_name::StepName;

/// How long a set-up that is given up may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// A nsbox-init that is on its way.
pub struct Conversation<'a> {
    /// What it has been told.
    pub plan: &'a Plan,
    /// Its PID.
    pub pid: i32,
    /// A pidfd of it.
    pub pidfd: OwnedFd,
    /// Our end of the connection.
    pub socket: OwnedFd,
    /// The system call that made it.
    pub method: Method,
    /// The payload's process, once it has said that it exists.
    pub payload: Option<Announced>,
    /// The process that waits for its maps, how many of them are written, and whether it knows that all are.
    pub member: Option<OwnedFd>,
    pub maps: usize,
    pub maps_written: bool,
    /// The program that writes the next one, and the step that is, while it runs.
    pub helper: Option<(u16, Helper)>,
    /// The box in which it is, and its PID there: then it is that box's child, not ours.
    pub outer: Option<(Arc<Home>, u32)>,
    /// How long the steps took that it has carried out, in nanoseconds.
    pub times: Vec<(u16, i64)>,
    /// What is known of the payload's end.
    pub ending: Ending,
}

/// What is known of a payload's end.
pub enum Ending {
    /// Nothing; and its pidfd is not known either.
    Ahead,
    /// Nothing yet; this is its pidfd.
    Of(OwnedFd),
    /// nsbox-init has told it.
    Told(Exit),
}

/// What the payload's process has said of itself.
pub struct Announced {
    /// Its PID, as the kernel translated it for us.
    pid: i32,
    /// Its PID in its own namespace.
    pid_inside: i32,
    /// A pidfd of it.
    pidfd: Option<OwnedFd>,
}

impl Conversation<'_> {
    /// Hear one report and act on it. When the payload runs, what is known of it and a pidfd of it are returned.
    pub fn next(&mut self) -> Result<Option<(Parts, OwnedFd)>> {
        match self.hear()? {
            Some(message) if message.kind == ReportKind::Started => self.started(message).map(Some),
            _ => Ok(None),
        }
    }

    /// Hear one report and act on it. When a box waits for requests, the times its steps took are returned.
    pub fn settle(&mut self) -> Result<Option<Vec<(u16, i64)>>> {
        Ok(self.hear()?.filter(|message| message.kind == ReportKind::Done).map(|_| std::mem::take(&mut self.times)))
    }

    fn hear(&mut self) -> Result<Option<Message>> {
        if self.is_helped()? {
            return Ok(None);
        }
        let [heard, ended] = poll_readable([self.socket.as_raw_fd(), self.pidfd.as_raw_fd()], Some(SIGNAL_SLICE))?;
        let Some(message) = receive(&self.socket)? else {
            return if heard || ended { Err(self.gone()) } else { Ok(None) };
        };
        self.act_on(&message)?;
        Ok(Some(message))
    }

    /// Whether a program is writing a map: then it is that which has been listened to, for a while.
    fn is_helped(&mut self) -> Result<bool> {
        let Some((step, helper)) = &mut self.helper else { return Ok(false) };
        if poll_readable([helper.fd()], Some(SIGNAL_SLICE))? == [true]
            && let Some(outcome) = helper.hear()
        {
            outcome.map_err(|(errno, words)| failure(self.plan, *step, errno, words))?;
            self.helper = None;
            self.maps += 1;
            self.write_maps()?;
        }
        Ok(true)
    }

    fn act_on(&mut self, message: &Message) -> Result<()> {
        match message.kind {
            ReportKind::Forked => self.forked(message),
            ReportKind::MapsWanted => {
                // The first process of the user namespace is the one that asks, and waits.
                self.member = pidfd::open(message.sender).ok();
                self.write_maps()?;
            }
            ReportKind::Failed => return Err(step_failed(self.plan, &message.report)),
            ReportKind::Refused => return Err(refused(&message.report)),
            ReportKind::Performed => self.times.push((message.report.step as u16, message.report.value)),
            ReportKind::Started | ReportKind::Exited | ReportKind::Done | ReportKind::Happened => {}
        }
        Ok(())
    }

    /// Wait for the end of everything: for the report of it, and then for nsbox-init itself. For both the kernel runs the
    /// one that waits where the other ends; for a poll of a pidfd it would wake another CPU.
    pub fn wait(&mut self) -> Result<Option<Exit>> {
        if self.is_helped()? {
            return Ok(None);
        }
        if !matches!(self.ending, Ending::Told(_)) {
            let [heard] = poll_readable([self.socket.as_raw_fd()], Some(SIGNAL_SLICE))?;
            // As long as a child of os.fork has a copy of the other end, the socket does not tell the end.
            let ended = !heard && poll_readable([self.pidfd.as_raw_fd()], Some(Duration::ZERO))? == [true];
            match receive(&self.socket)? {
                Some(message) => {
                    self.act_on(&message)?;
                    match (message.kind, message.attached) {
                        (ReportKind::Exited, _) => self.ending = Ending::Told(Exit::from_report(message.report)),
                        (ReportKind::Started, Some(payload)) => self.ending = Ending::Of(payload),
                        _ => {}
                    }
                    return Ok(None);
                }
                None if !heard && !ended => return Ok(None),
                None => {}
            }
        }
        // Only the kernel has something to do now, which takes the namespaces down.
        let status = reap_interruptibly(&self.pidfd)?;
        match (std::mem::replace(&mut self.ending, Ending::Ahead), status) {
            (Ending::Told(exit), _) => Ok(Some(exit)),
            (Ending::Of(payload), status) => {
                Ok(Some(Exit::without_report(status, Some(&payload), self.plan.init_is_pid_1())))
            }
            (Ending::Ahead, Some(Status::Killed(_))) if self.plan.init_is_pid_1() => {
                Ok(Some(Exit::without_report(status, None, true)))
            }
            (Ending::Ahead, status) => Err(Self::gone_with(status)),
        }
    }

    /// End it, and return only when it is gone. PID 1 can be killed with all it started. Outside a PID namespace it is
    /// asked to end what it started before itself, and killed if it cannot; the payload's process then follows.
    pub fn abandon(mut self) {
        while let Ok(Some(message)) = receive(&self.socket) {
            if message.kind == ReportKind::Forked {
                self.forked(&message);
            }
        }
        let _ = send(self.socket.as_raw_fd(), &[END], MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        drop(self.socket);
        if !self.plan.init_is_pid_1() {
            if let Some(Announced { pidfd: Some(payload), .. }) = &self.payload {
                let _ = pidfd::send_signal(payload, libc::SIGKILL);
            }
            let _ = pidfd::send_signal(&self.pidfd, libc::SIGCONT);
            wait_bounded(&self.pidfd, GRACE);
        }
        let _ = pidfd::send_signal(&self.pidfd, libc::SIGKILL);
        // What cannot even be killed hangs in the kernel, and no wait would help.
        if wait_bounded(&self.pidfd, GRACE) {
            reap(&self.pidfd, false);
        }
        self.plan.remove_cgroup();
    }

    fn forked(&mut self, message: &Message) {
        // It may have ended again: then there is nothing to open, and nothing to end.
        let (pid, pid_inside) = (message.sender, message.report.value as i32);
        self.payload = Some(Announced { pid, pid_inside, pidfd: pidfd::open(pid).ok() });
    }

    fn started(&self, message: Message) -> Result<(Parts, OwnedFd)> {
        // The kernel leaves the descriptor out when the limit of open ones is reached.
        let pidfd = message.attached.ok_or(Error::Os("recvmsg(SCM_RIGHTS)", libc::EMFILE))?;
        // A payload that has not announced itself is in the namespace of its init, which sent this in its name.
        let (pid, pid_inside) = match self.payload {
            Some(Announced { pid, pid_inside, .. }) => (pid, pid_inside),
            None => (message.sender, message.report.value as i32),
        };
        let init_is_pid_1 = self.plan.init_is_pid_1();
        Ok((Parts { pid, pid_inside, init_pid: self.pid, init_is_pid_1, method: self.method }, pidfd))
    }

    /// Write the files of the user namespace (user_namespaces(7)), each in one write(2). Where a program does it, this
    /// returns, and is called again when that has ended.
    fn write_maps(&mut self) -> Result<()> {
        let Some(member) = &self.member else { return Err(self.gone()) };
        for (index, action) in self.plan.maps().skip(self.maps) {
            let failed = |errno| failure(self.plan, index, errno, String::new());
            match (action, &self.outer) {
                // Only a member of the parent namespace may, and that is not us.
                (CallerAction::Setgroups(_) | CallerAction::Map(..), Some((home, pid))) => {
                    let (file, text) = action.map_file();
                    home.write_map(*pid, file, &text).map_err(|error| match error {
                        Error::Step(other) if other.step == StepName::WriteMap => failed(other.errno),
                        error => error,
                    })?;
                }
                (CallerAction::Setgroups(_) | CallerAction::Map(..), None) => {
                    let (file, text) = action.map_file();
                    number_in_proc(member)
                        .and_then(|pid| write_once(&format!("/proc/{pid}/{file}"), text.as_bytes()))
                        .map_err(failed)?;
                }
                // The program would run out here, for a member of a namespace that is not its own's child.
                (CallerAction::MapBy(..), Some(_)) => return Err(failed(libc::EPERM)),
                (CallerAction::MapBy(program, rows), None) => {
                    let helper = number_in_proc(member).and_then(|pid| Helper::start(program, pid, rows));
                    self.helper = Some((index, helper.map_err(failed)?));
                    return Ok(());
                }
                _ => {}
            }
            self.maps += 1;
        }
        send(self.socket.as_raw_fd(), &[GO], MsgFlags::MSG_NOSIGNAL).map_err(os("send"))?;
        self.maps_written = true;
        Ok(())
    }

    /// nsbox-init ended without a word: killed from outside, most likely.
    fn gone(&self) -> Error {
        Self::gone_with(reap(&self.pidfd, false))
    }

    fn gone_with(status: Option<Status>) -> Error {
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
