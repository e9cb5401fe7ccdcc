//! The connection to the nsbox-init of a box. Each request is a message with a socket for the replies, so that several
//! threads can send requests at once.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, setsockopt, socketpair, sockopt,
};
use nsbox_init::wire::{FILED, MOST_DESCRIPTORS, ReportKind};

use crate::call::{Value, call};
use crate::channel::event::Happening;
use crate::channel::failure::{refused, step_failed};
use crate::channel::outcome::Outcome;
use crate::channel::report::{Message, receive};
use crate::descriptors::above_stdio;
use crate::error::{Error, Result, StepFailure, os};
use crate::image::{self, PLAN_IN_MESSAGE};
use crate::pidfd::{self, number_in_proc};
use crate::plan::plan::Plan;
use crate::plan::request::Errand;
use crate::poll::{KILL_TIMEOUT, SIGNAL_SLICE, poll_readable, wait_bounded};
use crate::step_name::StepName;

/// How long nsbox-init may take to answer before it is looked at whether it has been stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// After so many requests the events are collected, so that the kernel's buffer does not overflow.
const COLLECT_EVERY: u32 = 64;

/// So many events are remembered.
const EVENTS: usize = 10_000;

/// What the handles of a box, and of all that runs in it, have in common.
pub struct Home {
    /// A pidfd of nsbox-init.
    pub pidfd: OwnedFd,
    /// The connection to it.
    pub socket: OwnedFd,
    /// Its PID as we see it.
    pub init_pid: i32,
    /// Whether killing it kills everything.
    pub init_is_pid_1: bool,
    /// The next token, and how many requests there were.
    pub requests: AtomicU32,
    /// What has happened.
    pub events: Mutex<VecDeque<Happening>>,
    /// The box in which this one is, which is the parent of nsbox-init.
    pub outer: Option<Arc<Home>>,
}

impl Home {
    /// Send a request; the answers arrive on the socket that is returned.
    pub fn ask(&self, plan: &[u8], fds: &[RawFd]) -> Result<OwnedFd> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(os("socketpair"))?;
        let ours = above_stdio(ours)?;
        setsockopt(&ours, sockopt::PassCred, &true).map_err(os("setsockopt(SO_PASSCRED)"))?;
        let mut file = None;
        if plan.len() > PLAN_IN_MESSAGE || !self.send(plan, theirs.as_raw_fd(), None, fds)? {
            let file = file.insert(image::file(c"nsbox-plan", plan, false)?);
            if !self.send(&[FILED], theirs.as_raw_fd(), Some(file.as_raw_fd()), fds)? {
                return Err(Error::Os("sendmsg(request)", libc::EAGAIN));
            }
        }
        Ok(ours)
    }

    /// False when the kernel has no room for a message of this size.
    fn send(&self, bytes: &[u8], reply: RawFd, file: Option<RawFd>, fds: &[RawFd]) -> Result<bool> {
        let attached: Vec<RawFd> = [reply].into_iter().chain(file).chain(fds.iter().copied()).collect();
        if attached.len() > MOST_DESCRIPTORS {
            return Err(Error::Spec(format!("pass_fds: {} descriptors are more than a message carries", fds.len())));
        }
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let parts = [std::io::IoSlice::new(bytes)];
        match sendmsg::<()>(self.socket.as_raw_fd(), &parts, &[ControlMessage::ScmRights(&attached)], flags, None) {
            Ok(_) => Ok(true),
            Err(Errno::EMSGSIZE | Errno::ENOBUFS | Errno::EAGAIN) => Ok(false),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.gone()),
            Err(errno) => Err(Error::Os("sendmsg(request)", errno as i32)),
        }
    }

    /// Wait a while for an answer. `since` is when the question was asked.
    pub fn hear(&self, socket: &OwnedFd, plan: &Plan, since: Instant) -> Result<Option<Message>> {
        let [heard] = poll_readable([socket.as_raw_fd()], Some(SIGNAL_SLICE))?;
        // As long as a child of os.fork has a copy of the other end, the socket does not tell the end.
        let ended = !heard && self.has_ended();
        match receive(socket)? {
            Some(message) if message.kind == ReportKind::Failed => Err(step_failed(plan, &message.report)),
            Some(message) if message.kind == ReportKind::Refused => Err(refused(&message.report)),
            None if heard || ended => Err(self.gone()),
            None if since.elapsed() > PATIENCE && self.is_stopped() => Err(self.stopped()),
            message => Ok(message),
        }
    }

    /// Whether nsbox-init has ended.
    pub fn has_ended(&self) -> bool {
        poll_readable([self.pidfd.as_raw_fd()], Some(Duration::ZERO)).is_ok_and(|[ended]| ended)
    }

    /// Whether somebody has stopped nsbox-init (SIGSTOP), as one can from outside.
    pub fn is_stopped(&self) -> bool {
        let Ok(pid) = number_in_proc(&self.pidfd) else { return false };
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// The error for an nsbox-init that does not answer.
    pub fn stopped(&self) -> Error {
        self.no_answer(libc::ETIMEDOUT, "nsbox-init is stopped")
    }

    fn gone(&self) -> Error {
        self.no_answer(libc::ECONNRESET, "nsbox-init has ended")
    }

    fn no_answer(&self, errno: i32, detail: &str) -> Error {
        let calls = vec![call("recvmsg", [("sockfd", Value::File("nsbox-init".into()))])];
        let detail = detail.to_string();
        Error::Step(Box::new(StepFailure { errno, step: StepName::Request, actor: "init", calls, detail }))
    }

    /// End a process that was asked for, and for which nobody will wait because of this error. When the socket is merely
    /// closed, nsbox-init notices only if it has not told yet that the process runs.
    pub fn give_up(&self, token: u32, socket: &OwnedFd, error: &Error) {
        // A step of the process's own, or a refused plan: then there is none.
        if matches!(error, Error::Step(failed) if failed.step != StepName::Request) {
            return;
        }
        // Nothing needs ending when it has not begun, or is over: then nobody has this token.
        if self.ask(&Errand::end(token).to_bytes(), &[]).is_err() || self.is_stopped() {
            return;
        }
        let deadline = Instant::now() + KILL_TIMEOUT;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            let heard = poll_readable([socket.as_raw_fd()], Some(rest.min(SIGNAL_SLICE)));
            match receive(socket) {
                Ok(Some(message)) if message.kind == ReportKind::Exited => return,
                Ok(Some(_)) => {}
                Ok(None) if heard.is_ok_and(|[heard]| heard) || rest.is_zero() || self.has_ended() => return,
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    /// Take in what nsbox-init has told of its own accord.
    pub fn collect(&self) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(Some(message)) = receive(&self.socket) {
            if message.kind == ReportKind::Happened {
                events.extend(Happening::from_message(&message));
                if events.len() > EVENTS {
                    events.pop_front();
                }
            }
        }
    }

    /// The token for the next request.
    pub fn next_token(&self) -> u32 {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if number % COLLECT_EVERY == COLLECT_EVERY - 1 {
            self.collect();
        }
        // Never 0, which means none.
        number % (u32::MAX - 1) + 1
    }

    /// Have an errand done. `turn` is called now and then while there is no answer.
    pub fn errand(&self, plan: &Plan, turn: impl Fn() -> Result<()>) -> Result<Outcome> {
        let socket = self.ask(&plan.to_bytes(), &[])?;
        let since = Instant::now();
        let mut outcome = Outcome { nanoseconds: 0, data: None, held: Mutex::new(None) };
        loop {
            let message = match self.hear(&socket, plan, since) {
                Ok(Some(message)) => message,
                Ok(None) | Err(Error::Os("ppoll", libc::EINTR)) => {
                    turn()?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match message.kind {
                ReportKind::Performed => {
                    outcome.nanoseconds += message.report.value;
                    outcome.data = Some(message.report.bytes().to_vec());
                    outcome.held = Mutex::new(message.attached);
                }
                ReportKind::Done => return Ok(outcome),
                _ => {}
            }
        }
    }

    /// Write the maps of a box inside this one.
    pub fn write_map(&self, child: u32, file: &str, text: &str) -> Result<()> {
        self.errand(&Errand::write_map(child, file, text), || Ok(())).map(drop)
    }

    /// SIGKILL to PID 1, and so to everything. Without a PID namespace nsbox-init is asked to end what it started; it
    /// is killed if it cannot.
    pub fn kill(&self) {
        let _ = pidfd::send_signal(&self.pidfd, libc::SIGCONT);
        if !self.init_is_pid_1 {
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            let _ = nix::sys::socket::send(self.socket.as_raw_fd(), &[nsbox_init::wire::END], flags);
            wait_bounded(&self.pidfd, PATIENCE);
        }
        let _ = pidfd::send_signal(&self.pidfd, libc::SIGKILL);
    }
}
