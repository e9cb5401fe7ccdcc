//! The connection to the nsbox-init of a box. Each request is a message with a socket for the replies, so that several
//! threads can send requests at once.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nsbox_init::wire::{NAMESPACES, Report};

use crate::channel::event::Event;
use crate::channel::failure::{forbidden, no_reply, refused, step_failed, stopped};
use crate::channel::inits::{Init, Lineage};
use crate::channel::outcome::Outcome;
use crate::channel::report::{Message, receive};
use crate::channel::sockets::{self, ask_to_end};
use crate::error::{Error, Result};
use crate::pidfd::{self, Status, is_stopped};
use crate::plan::plan::Plan;
use crate::plan::request::Request;
use crate::plan::step::Actor;
use crate::poll::{KILL_TIMEOUT, SIGNAL_SLICE, poll_readable, wait_bounded};
use crate::step_name::StepName;

/// How long nsbox-init may take to reply before we check whether it is stopped.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// Number of requests after which events are received, so that the kernel's buffer does not overflow.
const REQUESTS_PER_COLLECTION: u32 = 64;
/// Number of events that are kept; the oldest go first.
const MAX_EVENTS: usize = 10_000;

/// The connection to the nsbox-init of a box, shared by the handle of the box and those of its processes.
pub struct Connection {
    /// `None` once the box has ended. A thread that uses them keeps them open.
    ends: Mutex<Option<Arc<Ends>>>,
    /// The PID of nsbox-init as the caller sees it.
    pub init_pid: i32,
    /// Whether the end of nsbox-init is the end of everything in the box.
    pub init_is_pid_1: bool,
    /// Number of requests so far.
    requests: AtomicU32,
    events: Mutex<VecDeque<Event>>,
    /// For a box in a box, the connection to the outer one, whose nsbox-init is the parent of this one.
    outer: Option<Arc<Connection>>,
    lineage: OnceLock<Lineage>,
}

/// The descriptors of a connection.
pub struct Ends {
    /// A pidfd of nsbox-init.
    pub pidfd: OwnedFd,
    socket: OwnedFd,
}

impl Connection {
    /// Wrap the connection to an nsbox-init that waits for requests.
    pub fn new(
        pidfd: OwnedFd,
        socket: OwnedFd,
        init_pid: i32,
        init_is_pid_1: bool,
        outer: Option<Arc<Connection>>,
    ) -> Self {
        let (requests, events) = (AtomicU32::new(0), Mutex::new(VecDeque::new()));
        let ends = Mutex::new(Some(Arc::new(Ends { pidfd, socket })));
        Connection { ends, init_pid, init_is_pid_1, requests, events, outer, lineage: OnceLock::new() }
    }

    /// The descriptors; `None` after [`close`](Self::close). They stay open as long as the value that is returned.
    pub fn ends(&self) -> Option<Arc<Ends>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A pidfd of nsbox-init; -1 after [`close`](Self::close).
    pub fn pidfd(&self) -> RawFd {
        self.ends().map_or(-1, |ends| ends.pidfd.as_raw_fd())
    }

    /// Close the descriptors of a box that has ended. Returns how its nsbox-init has ended, if that is known.
    pub fn close(&self) -> Option<Status> {
        self.collect_events();
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // The nsbox-init of the outer box reaps that of an inner one.
        let reaped = if self.is_nested() { None } else { pidfd::reap(&ends.pidfd, false) };
        reaped.or_else(|| pidfd::remembered(&ends.pidfd))
    }

    /// Keep nsbox-init, which was killed and has not ended in time, to be reaped later.
    pub fn give_up(&self) {
        if let Some(ends) = self.ends().filter(|_| !self.is_nested()) {
            pidfd::give_up(&ends.pidfd);
        }
    }

    /// Whether nsbox-init is a child of another one.
    pub fn is_nested(&self) -> bool {
        self.outer.is_some()
    }

    /// Send a request; returns the socket for the replies.
    pub fn send_request(&self, plan: &[u8], fds: &[RawFd]) -> Result<OwnedFd> {
        let Some(ends) = self.ends() else { return Err(self.ended()) };
        let (ours, theirs) = sockets::pair()?;
        let reply = [theirs.as_raw_fd()];
        let sent = match sockets::send(&ends.socket, plan, &[&reply, fds].concat()) {
            Ok(false) => sockets::send_in_file(&ends.socket, plan, &reply, fds),
            sent => sent.map(drop),
        };
        match sent {
            Ok(()) => Ok(ours),
            Err(Error::Os(_, libc::EPIPE | libc::ECONNRESET)) => Err(self.ended()),
            // With the socket for the replies there are more than `MAX_DESCRIPTORS`.
            Err(Error::Os(_, libc::EINVAL)) => {
                Err(Error::Spec(format!("pass_fds: {} descriptors are more than a message carries", fds.len())))
            }
            Err(error) => Err(error),
        }
    }

    /// Receive a reply, or `None` if none comes within [`SIGNAL_SLICE`]. `since` is when the request was sent.
    pub fn receive_reply(&self, socket: &OwnedFd, plan: &Plan, since: Instant) -> Result<Option<Message>> {
        let [readable] = poll_readable([socket.as_raw_fd()], Some(SIGNAL_SLICE))?;
        // A child of os.fork may have a copy of the other end, and then the socket does not show the end.
        let ended = !readable && self.has_ended();
        match receive(socket)? {
            Some(Message { report: Report::Failed(failed), .. }) => Err(step_failed(plan, failed)),
            Some(Message { report: Report::Refused(malformed), .. }) => Err(refused(malformed)),
            None if readable || ended => Err(self.ended_in(plan)),
            None if since.elapsed() > REPLY_TIMEOUT && self.is_stopped() => Err(stopped()),
            message => Ok(message),
        }
    }

    /// Whether nsbox-init has ended.
    pub fn has_ended(&self) -> bool {
        self.ends()
            .is_none_or(|ends| poll_readable([ends.pidfd.as_raw_fd()], Some(Duration::ZERO)).is_ok_and(|[ended]| ended))
    }

    /// Whether nsbox-init is stopped (SIGSTOP). Only a process outside the box can do that.
    pub fn is_stopped(&self) -> bool {
        self.ends().is_some_and(|ends| is_stopped(&ends.pidfd))
    }

    /// The error for an nsbox-init that has ended while it carried out a request.
    fn ended_in(&self, plan: &Plan) -> Error {
        let status = self
            .ends()
            .filter(|ends| wait_bounded(&ends.pidfd, REPLY_TIMEOUT))
            .and_then(|ends| pidfd::peek(&ends.pidfd).or_else(|| pidfd::remembered(&ends.pidfd)));
        if let Some(Status::Killed(libc::SIGSYS)) = status
            && let Some(error) = forbidden(plan, |_, step| step.actor != Actor::Payload)
        {
            return error;
        }
        self.ended()
    }

    fn ended(&self) -> Error {
        no_reply(libc::ECONNRESET, "nsbox-init has ended")
    }

    /// End a process whose start was requested, and for which the caller will not wait because of `error`. Closing the
    /// socket is not enough: nsbox-init notices that only if it has not reported the start yet.
    pub fn abort_request(&self, token: u32, socket: &OwnedFd, error: &Error) {
        // The process's own step failed, or the plan was refused: there is no process.
        if matches!(error, Error::Step(failed) if !matches!(failed.step, StepName::Request | StepName::Prepare)) {
            return;
        }
        // If the process has not started, or has ended already, no process has this token.
        if self.kill_process(token).is_err() || self.is_stopped() {
            return;
        }
        let deadline = Instant::now() + KILL_TIMEOUT;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            let readable = poll_readable([socket.as_raw_fd()], Some(rest.min(SIGNAL_SLICE)));
            match receive(socket) {
                Ok(Some(Message { report: Report::Exited { .. }, .. })) => return,
                Ok(Some(_)) => {}
                Ok(None) if readable.is_ok_and(|[readable]| readable) || rest.is_zero() || self.has_ended() => return,
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    /// Receive the events that nsbox-init has reported, and return all that are kept.
    pub fn events(&self) -> Vec<Event> {
        self.collect_events();
        self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn collect_events(&self) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ends) = self.ends() else { return };
        while let Ok(Some(message)) = receive(&ends.socket) {
            events.extend(Event::from_report(&message.report));
            if events.len() > MAX_EVENTS {
                events.pop_front();
            }
        }
    }

    /// The token for the next process. Never 0, which means none.
    pub fn next_token(&self) -> u32 {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if number % REQUESTS_PER_COLLECTION == REQUESTS_PER_COLLECTION - 1 {
            self.collect_events();
        }
        number % (u32::MAX - 1) + 1
    }

    /// Have nsbox-init carry out operations by itself. `meanwhile` is called every [`SIGNAL_SLICE`] until the reply.
    pub fn carry_out(&self, plan: &Plan, meanwhile: impl Fn() -> Result<()>) -> Result<Outcome> {
        let socket = self.send_request(&plan.to_bytes(), &[])?;
        let since = Instant::now();
        let mut outcome = Outcome::new();
        loop {
            let message = match self.receive_reply(&socket, plan, since) {
                Ok(Some(message)) => message,
                Ok(None) | Err(Error::Os("ppoll", libc::EINTR)) => {
                    meanwhile()?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match message.report {
                Report::Performed { nanoseconds, data, .. } => outcome.add(nanoseconds, &data, message.attached),
                Report::Done => return Ok(outcome),
                _ => {}
            }
        }
    }

    /// Ask nsbox-init to end everything by itself. Returns whether it has, a moment later.
    pub fn ask_to_end(&self) -> bool {
        let Some(ends) = self.ends() else { return true };
        let _ = pidfd::send_signal(&ends.pidfd, libc::SIGCONT);
        ask_to_end(&ends.socket);
        wait_bounded(&ends.pidfd, REPLY_TIMEOUT)
    }

    /// Send SIGKILL to PID 1, which ends everything. nsbox-init is asked to end everything by itself if that is not
    /// allowed.
    pub fn kill(&self) {
        let Some(ends) = self.ends() else { return };
        let _ = pidfd::send_signal(&ends.pidfd, libc::SIGCONT);
        if !matches!(pidfd::send_signal(&ends.pidfd, libc::SIGKILL), Ok(()) | Err(libc::ESRCH)) {
            ask_to_end(&ends.socket);
        }
    }

    /// Have nsbox-init kill the process with this token. An error means that the request could not be sent.
    pub fn kill_process(&self, token: u32) -> Result<()> {
        self.send_request(&Request::abort(token).to_bytes(), &[]).map(drop)
    }

    /// Make nsbox-init continue, if it was stopped.
    pub fn resume(&self) {
        if let Some(ends) = self.ends() {
            let _ = pidfd::send_signal(&ends.pidfd, libc::SIGCONT);
        }
    }
}

impl Init for Connection {
    fn ask(&self) -> Option<OwnedFd> {
        self.send_request(&[NAMESPACES], &[]).ok()
    }

    fn is_alive(&self) -> bool {
        !self.has_ended()
    }

    fn is_stopped(&self) -> bool {
        Connection::is_stopped(self)
    }

    fn lineage(&self) -> &OnceLock<Lineage> {
        &self.lineage
    }

    fn open_namespace(&self, link: &str) -> Option<OwnedFd> {
        let request = Request::open_own(format!("self/ns/{link}").as_bytes(), true);
        self.carry_out(&request, || Ok(())).ok()?.into_fd()
    }
}
