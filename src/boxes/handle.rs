//! A box: nsbox-init in new namespaces, which does there what it is asked for. Each request is a message with a socket on
//! which to answer, so that several threads can ask at once.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, setsockopt, socketpair, sockopt,
};
use nsbox_init::wire::{Event, FILED, MOST_DESCRIPTORS, ReportKind};
use pyo3::prelude::*;

use crate::channel::report::{Message, receive};
use crate::descriptors::above_stdio;
use crate::error::{Error, Result, StepFailure, os};
use crate::image::{self, PLAN_IN_MESSAGE};
use crate::pidfd::{self, number_in_proc, reap, remembered};
use crate::plan::plan::Plan;
use crate::plan::request::Errand;
use crate::poll::{SIGNAL_SLICE, poll_readable, wait_bounded};
use crate::seeing::proc::dir::is_proc;
use crate::start::child::{Child, Exit, Keeper, Lines, Parts};
use crate::start::handshake::{Conversation, Ending, refused, step_failed};
use crate::start::spawn::{clone_init, converse};

/// How long nsbox-init may take to answer before it is looked at whether it has been stopped.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a killed box may take to be gone: what hangs in the kernel cannot be waited for.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// After so many requests the events are collected, so that the kernel's buffer does not overflow.
const COLLECT_EVERY: u32 = 64;
/// So many events are remembered.
const EVENTS: usize = 10_000;

/// What the handles of a box, and of all that runs in it, have in common.
pub struct Home {
    /// A pidfd of nsbox-init.
    pub pidfd: OwnedFd,
    /// The connection to it.
    socket: OwnedFd,
    /// Its PID as we see it.
    pub init_pid: i32,
    /// Whether killing it kills everything.
    pub init_is_pid_1: bool,
    /// The next token, and how many requests there were.
    requests: AtomicU32,
    events: Mutex<VecDeque<Happening>>,
    /// The box in which this one is, which is the parent of nsbox-init.
    outer: Option<Arc<Home>>,
}

/// Something that happened in a box.
#[pyclass(frozen, get_all, name = "Event", module = "nsbox._core")]
#[derive(Debug, Clone)]
pub struct Happening {
    /// `started`, `exited`, `reaped` or `signalled`.
    kind: &'static str,
    /// The PID in the box; 0 for a signal.
    pid: i32,
    /// The exit status, negative for a signal; the number of a signal; nothing for a start.
    status: Option<i32>,
    /// CLOCK_MONOTONIC, in seconds.
    time: f64,
    /// Its number. Where one is missing, the event got lost: too many came before anybody looked.
    number: i64,
}

#[pymethods]
impl Happening {
    fn __repr__(&self) -> String {
        let Happening { kind, pid, status, .. } = self;
        match status {
            Some(status) if *pid == 0 => format!("<event: signal {status}>"),
            Some(status) => format!("<event: process {pid} {kind} with {status}>"),
            None => format!("<event: process {pid} {kind}>"),
        }
    }
}

/// What an errand brought.
#[pyclass(frozen, module = "nsbox._core")]
pub struct Outcome {
    /// How long it took, in nanoseconds.
    #[pyo3(get)]
    nanoseconds: i64,
    /// What a file says.
    #[pyo3(get)]
    data: Option<Vec<u8>>,
    /// A descriptor. It is held here, so that a handler of a signal that raises at the wrong moment does not lose it.
    held: Mutex<Option<OwnedFd>>,
}

#[pymethods]
impl Outcome {
    /// A descriptor that was brought; nothing if none was, or it has been taken. It belongs to this object.
    #[getter]
    fn fd(&self) -> Option<RawFd> {
        self.held().as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The same descriptor, which then belongs to the caller.
    fn take(&self) -> Option<RawFd> {
        self.held().take().map(std::os::fd::IntoRawFd::into_raw_fd)
    }

    /// The same, as a file to read bytes from.
    fn file<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let open = crate::python::open(py)?;
        let fd = self.held().as_ref().map(AsRawFd::as_raw_fd);
        // No code of Python's runs from here on, so neither does a handler of a signal.
        let file = open.call1((fd, "rb"))?;
        let _ = self.take();
        Ok(file)
    }

    /// Whether it is of a proc.
    fn is_proc(&self) -> bool {
        self.held().as_ref().is_some_and(|fd| is_proc(fd).unwrap_or(false))
    }
}

impl Outcome {
    fn held(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home {
    /// Send a request; the answers arrive on the socket that is returned.
    fn ask(&self, plan: &[u8], fds: &[RawFd]) -> Result<OwnedFd> {
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
    fn hear(&self, socket: &OwnedFd, plan: &Plan, since: Instant) -> Result<Option<Message>> {
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
        let (call, detail) = ("recvmsg(nsbox-init)".into(), detail.to_string());
        Error::Step(Box::new(StepFailure { errno, step: "request", actor: "init", call, detail }))
    }

    /// End a process that was asked for, and for which nobody will wait because of this error. When the socket is merely
    /// closed, nsbox-init notices only if it has not told yet that the process runs.
    fn give_up(&self, token: u32, socket: &OwnedFd, error: &Error) {
        // A step of the process's own, or a refused plan: then there is none.
        if matches!(error, Error::Step(failed) if failed.step != "request") {
            return;
        }
        // Nothing needs ending when it has not begun, or is over: then nobody has this token.
        if self.ask(&Errand::end(token).to_bytes(), &[]).is_err() || self.is_stopped() {
            return;
        }
        let deadline = Instant::now() + LAST_WAIT;
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
    fn collect(&self) {
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

    fn next_token(&self) -> u32 {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if number % COLLECT_EVERY == COLLECT_EVERY - 1 {
            self.collect();
        }
        // Never 0, which means none.
        number % (u32::MAX - 1) + 1
    }

    /// Have an errand done. `turn` is called now and then while there is no answer.
    fn errand(&self, plan: &Plan, turn: impl Fn() -> Result<()>) -> Result<Outcome> {
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
    fn kill(&self) {
        let _ = pidfd::send_signal(&self.pidfd, libc::SIGCONT);
        if !self.init_is_pid_1 {
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            let _ = nix::sys::socket::send(self.socket.as_raw_fd(), &[nsbox_init::wire::END], flags);
            wait_bounded(&self.pidfd, PATIENCE);
        }
        let _ = pidfd::send_signal(&self.pidfd, libc::SIGKILL);
    }
}

impl Happening {
    fn from_message(message: &Message) -> Option<Self> {
        let report = &message.report;
        let ended = || Some(pidfd::Status::from_wait_status(report.errno).returncode());
        let (kind, status) = match report.step {
            step if step == Event::Started as u32 => ("started", None),
            step if step == Event::Exited as u32 => ("exited", ended()),
            step if step == Event::Reaped as u32 => ("reaped", ended()),
            step if step == Event::Signalled as u32 => ("signalled", Some(report.errno)),
            _ => return None,
        };
        let (time, number) = (report.rusage[0] as f64 / 1e9, report.rusage[1]);
        Some(Happening { kind, pid: report.value as i32, status, time, number })
    }
}

/// The handle of a box.
#[pyclass(frozen, name = "Box", module = "nsbox._core")]
pub struct BoxHandle {
    home: Arc<Home>,
    plan: Py<Plan>,
    owner: u32,
    /// For the steps of the plan that nsbox-init carried out: how long each took, in nanoseconds.
    times: Vec<(u16, i64)>,
    method: &'static str,
    /// How nsbox-init ended.
    exit: Mutex<Option<Exit>>,
}

/// Make a box by `plan`, and return when it waits for requests. `outer` is the box in which it is made.
#[pyfunction]
#[pyo3(signature = (plan, outer=None))]
pub fn open_box(py: Python<'_>, plan: Py<Plan>, outer: Option<&BoxHandle>) -> Result<BoxHandle> {
    let handle = plan;
    let plan = handle.get();
    let encoded = plan.to_bytes();
    let mut conversation = match outer {
        None => py.detach(|| clone_init(plan, &encoded))?,
        Some(outer) => nested(py, plan, &encoded, &outer.home, outer.plan.get())?,
    };
    let outer = outer.map(|outer| Arc::clone(&outer.home));
    let ready = converse(py, &mut conversation, Conversation::settle);
    match ready.and_then(|times| py.check_signals().map(|()| times).map_err(Error::from)) {
        Ok(times) => {
            let home = Home {
                pidfd: conversation.pidfd,
                socket: conversation.socket,
                init_pid: conversation.pid,
                init_is_pid_1: plan.init_is_pid_1(),
                requests: AtomicU32::new(0),
                events: Mutex::new(VecDeque::new()),
                outer,
            };
            let method = conversation.method.name();
            let (owner, exit) = (std::process::id(), Mutex::new(None));
            Ok(BoxHandle { home: Arc::new(home), plan: handle, owner, times, method, exit })
        }
        Err(error) => {
            py.detach(|| conversation.abandon());
            Err(error)
        }
    }
}

/// Have the nsbox-init of `home` start another one.
fn nested<'a>(
    py: Python<'_>,
    plan: &'a Plan,
    encoded: &[u8],
    home: &Arc<Home>,
    outer: &Plan,
) -> Result<Conversation<'a>> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(os("socketpair"))?;
    let ours = above_stdio(ours)?;
    setsockopt(&ours, sockopt::PassCred, &true).map_err(os("setsockopt(SO_PASSCRED)"))?;
    let lifeline = pidfd::open(std::process::id() as i32)?;
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    nix::sys::socket::send(ours.as_raw_fd(), encoded, flags).map_err(os("send(plan)"))?;
    let token = home.next_token();
    let bytes = plan.nested_start(outer, token);
    let fds = [&theirs, &lifeline].map(AsRawFd::as_raw_fd);
    let (parts, pidfd) = begin(py, home, plan, &bytes, &fds, token)?.0;
    Ok(Conversation {
        plan,
        pid: parts.pid,
        pidfd,
        socket: ours,
        method: parts.method,
        payload: None,
        member: None,
        maps: 0,
        maps_written: false,
        helper: None,
        outer: Some((Arc::clone(home), parts.pid_inside as u32)),
        times: Vec::new(),
        ending: Ending::Ahead,
    })
}

/// Ask for a process, and return when it runs, with the socket on which its end will be told.
fn begin(
    py: Python<'_>,
    home: &Arc<Home>,
    plan: &Plan,
    bytes: &[u8],
    fds: &[RawFd],
    token: u32,
) -> Result<((Parts, OwnedFd), OwnedFd)> {
    let socket = py.detach(|| home.ask(bytes, fds))?;
    match await_start(py, home, plan, &socket) {
        Ok(started) => Ok((started, socket)),
        Err(error) => {
            py.detach(|| home.give_up(token, &socket, &error));
            Err(error)
        }
    }
}

fn await_start(py: Python<'_>, home: &Arc<Home>, plan: &Plan, socket: &OwnedFd) -> Result<(Parts, OwnedFd)> {
    let since = Instant::now();
    let mut sender = None;
    loop {
        let message = match py.detach(|| home.hear(socket, plan, since)) {
            Ok(Some(message)) => message,
            Ok(None) | Err(Error::Os("ppoll", libc::EINTR)) => {
                py.check_signals()?;
                continue;
            }
            Err(error) => return Err(error),
        };
        match message.kind {
            ReportKind::Forked => sender = Some(message.sender),
            ReportKind::Started => {
                let pid_inside = message.report.value as i32;
                let told = if home.init_is_pid_1 { message.sender } else { pid_inside };
                let pidfd = message.attached.ok_or(Error::Os("recvmsg(SCM_RIGHTS)", libc::EMFILE))?;
                let parts = Parts {
                    pid: sender.unwrap_or(told),
                    pid_inside,
                    init_pid: home.init_pid,
                    init_is_pid_1: home.init_is_pid_1,
                    method: nsbox_init::vfork::Method::Clone3,
                };
                py.check_signals()?;
                return Ok((parts, pidfd));
            }
            _ => {}
        }
    }
}

#[pymethods]
impl BoxHandle {
    /// Start a process here. `fds` are the descriptors it gets, in the order of the plan.
    fn start(&self, py: Python<'_>, plan: Py<Plan>, fds: Vec<RawFd>, token: u32) -> Result<Child> {
        self.check_owner()?;
        let bytes = plan.get().to_bytes();
        let ((parts, pidfd), socket) = begin(py, &self.home, plan.get(), &bytes, &fds, token)?;
        let lines = Lines { pidfd, socket, keeper: Keeper::Home(Arc::clone(&self.home)) };
        Ok(Child::new(parts, lines, plan))
    }

    /// The token to put into the plan of a process.
    fn token(&self) -> u32 {
        self.home.next_token()
    }

    /// Start a process here, and wait for its end: `start` and `wait` in one, for when there is nothing to do in between.
    fn run(&self, py: Python<'_>, plan: &Plan, fds: Vec<RawFd>, token: u32) -> Result<Exit> {
        self.check_owner()?;
        let bytes = plan.to_bytes();
        let socket = py.detach(|| self.home.ask(&bytes, &fds))?;
        let since = Instant::now();
        let error = loop {
            match py.detach(|| self.home.hear(&socket, plan, since)) {
                Ok(Some(message)) if message.kind == ReportKind::Exited => {
                    return Ok(Exit::from_report(message.report));
                }
                Ok(_) | Err(Error::Os("ppoll", libc::EINTR)) => {
                    if let Err(error) = py.check_signals() {
                        break error.into();
                    }
                }
                Err(error) => break error,
            }
        };
        py.detach(|| self.home.give_up(token, &socket, &error));
        Err(error)
    }

    /// Have nsbox-init do something.
    fn perform(&self, py: Python<'_>, plan: &Plan) -> Result<Outcome> {
        self.check_owner()?;
        py.detach(|| self.home.errand(plan, || Python::attach(|py| Ok(py.check_signals()?))))
    }

    /// What happened since the box was made.
    fn events(&self, py: Python<'_>) -> Result<Vec<Happening>> {
        // In a child of os.fork the lock may be held for ever, by a thread that is not there.
        self.check_owner()?;
        py.detach(|| self.home.collect());
        Ok(self.home.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect())
    }

    /// End everything in it.
    fn kill(&self, py: Python<'_>) -> Result<()> {
        self.check_owner()?;
        py.detach(|| self.home.kill());
        Ok(())
    }

    /// Wait for its end: with a new PID namespace, of every process in it. `timeout` is in seconds; nothing is returned
    /// when it passes first.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> Result<Option<Exit>> {
        self.check_owner()?;
        let limit = timeout.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let slice = rest.map_or(SIGNAL_SLICE, |rest| rest.min(SIGNAL_SLICE));
            match py.detach(|| poll_readable([self.home.pidfd.as_raw_fd()], Some(slice))) {
                Ok([true]) => return Ok(Some(self.ended())),
                Ok([false]) if rest.is_some_and(|rest| rest.is_zero()) => return Ok(None),
                Ok([false]) | Err(Error::Os(_, libc::EINTR)) => py.check_signals()?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether nsbox-init is stopped (SIGSTOP).
    #[getter]
    fn is_stopped(&self) -> bool {
        self.home.is_stopped()
    }

    /// nsbox-init's PID as the caller sees it.
    #[getter]
    fn pid(&self) -> i32 {
        self.home.init_pid
    }

    /// A pidfd of nsbox-init; it belongs to this object.
    #[getter]
    fn pidfd(&self) -> RawFd {
        self.home.pidfd.as_raw_fd()
    }

    /// The plan by which it was made.
    #[getter]
    fn plan(&self, py: Python<'_>) -> Py<Plan> {
        self.plan.clone_ref(py)
    }

    /// How long each step of the plan took that nsbox-init carried out: its number, and nanoseconds.
    #[getter]
    fn times(&self) -> Vec<(u16, i64)> {
        self.times.clone()
    }

    /// The system call that made it.
    #[getter]
    fn method(&self) -> &'static str {
        self.method
    }

    /// Whether this process has made it: not so in a child of os.fork.
    #[getter]
    fn is_own(&self) -> bool {
        self.owner == std::process::id()
    }

    fn __repr__(&self) -> String {
        format!("<box of process {}>", self.home.init_pid)
    }
}

impl BoxHandle {
    fn check_owner(&self) -> Result<()> {
        if self.owner == std::process::id() { Ok(()) } else { Err(Error::Os("sendmsg(request)", libc::ECHILD)) }
    }

    fn ended(&self) -> Exit {
        let mut exit = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        if exit.is_none() {
            self.plan.get().remove_cgroup();
        }
        // A box inside another one is reaped by that one's nsbox-init.
        let reaped = || if self.home.outer.is_none() { reap(&self.home.pidfd, false) } else { None };
        exit.get_or_insert_with(|| {
            let status = reaped().or_else(|| remembered(&self.home.pidfd));
            Exit { returncode: status.map_or(-libc::SIGKILL, pidfd::Status::returncode), rusage: None }
        })
        .clone()
    }
}

impl Drop for BoxHandle {
    /// What nobody holds any more, nobody can end.
    fn drop(&mut self) {
        if self.check_owner().is_ok() && self.exit.get_mut().is_ok_and(|exit| exit.is_none()) {
            self.home.kill();
            if wait_bounded(&self.home.pidfd, LAST_WAIT) {
                self.ended();
            }
        }
    }
}
