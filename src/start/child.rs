//! The handle of something that was started: wait, signal, kill.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::channel::connection::Home;
use crate::channel::report::receive;
use crate::error::{Error, Result};
use crate::pidfd::{reap, remembered, send_signal};
use crate::plan::plan::Plan;
use crate::poll::{KILL_TIMEOUT, SIGNAL_SLICE, poll_readable, wait_bounded};
use crate::start::exit::Exit;
use nsbox_init::vfork::Method;
use nsbox_init::wire::ReportKind;

/// How long nsbox-init may take to report the end of a payload that has ended.
const REPORT_WAIT: Duration = Duration::from_secs(1);

/// What is known of a [`Child`] from the beginning.
pub struct Parts {
    /// The payload's PID as the caller sees it.
    pub pid: i32,
    /// The payload's PID in its own namespace.
    pub pid_inside: i32,
    /// nsbox-init's PID as the caller sees it.
    pub init_pid: i32,
    /// Whether killing nsbox-init kills everything.
    pub init_is_pid_1: bool,
    /// The system call that made nsbox-init.
    pub method: Method,
}

/// The descriptors by which it is watched.
pub struct Lines {
    /// A pidfd of the payload.
    pub pidfd: OwnedFd,
    /// The connection to nsbox-init.
    pub socket: OwnedFd,
    /// Whose nsbox-init that is.
    pub keeper: Keeper,
}

/// The nsbox-init of a payload.
pub enum Keeper {
    /// Its own, with this pidfd: the end of nsbox-init is the end of everything.
    Init(OwnedFd),
    /// That of a box, which stays when the payload ends.
    Home(Arc<Home>),
}

impl Lines {
    /// What is readable once everything is over.
    fn end(&self) -> RawFd {
        match &self.keeper {
            Keeper::Init(pidfd) => pidfd.as_raw_fd(),
            Keeper::Home(_) => self.socket.as_raw_fd(),
        }
    }

    fn init_pidfd(&self) -> &OwnedFd {
        match &self.keeper {
            Keeper::Init(pidfd) => pidfd,
            Keeper::Home(home) => &home.pidfd,
        }
    }

    /// Whether everything is over, although [`Lines::end`] does not tell: the socket does not as long as a child of os.fork
    /// has a copy of its other end, and nsbox-init cannot as long as the payload, which has ended (at `since`), is traced
    /// by somebody who does not let go of it (ptrace(2)).
    fn is_over(&self, init_is_pid_1: bool, since: &mut Option<Instant>) -> bool {
        let ended = || poll_readable([self.pidfd.as_raw_fd()], Some(Duration::ZERO)).is_ok_and(|[ended]| ended);
        let mut overdue = |limit| ended() && since.get_or_insert_with(Instant::now).elapsed() > limit;
        match &self.keeper {
            Keeper::Home(home) => home.has_ended() || overdue(REPORT_WAIT) && !home.is_stopped(),
            Keeper::Init(pidfd) => {
                // In namespaces that were joined it may be stopped again and again by those who live there.
                if !init_is_pid_1 && overdue(KILL_TIMEOUT) {
                    let _ = send_signal(pidfd, libc::SIGKILL);
                }
                false
            }
        }
    }

    /// How the payload ended, as nsbox-init told it.
    fn told(&self) -> Option<Exit> {
        while let Ok(Some(message)) = receive(&self.socket) {
            if message.kind == ReportKind::Exited {
                return Some(Exit::from_report(message.report));
            }
        }
        None
    }
}

/// Either it runs and has its lines, shared by the threads that use them, or it is known how it ended.
enum State {
    Running(Arc<Lines>),
    Over(Exit),
}

/// A running payload with its nsbox-init.
#[pyclass(frozen, module = "nsbox._core")]
pub struct Child {
    parts: Parts,
    plan: Py<Plan>,
    /// The process that started it.
    owner: u32,
    state: Mutex<State>,
}

impl Child {
    /// Wrap what was started.
    pub fn new(parts: Parts, lines: Lines, plan: Py<Plan>) -> Self {
        Child { parts, plan, owner: std::process::id(), state: Mutex::new(State::Running(Arc::new(lines))) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines, as long as it runs. Whoever uses them holds them open.
    fn lines(&self) -> Option<Arc<Lines>> {
        match &*self.state() {
            State::Running(lines) => Some(Arc::clone(lines)),
            State::Over(_) => None,
        }
    }

    /// Everything is over: learn how the payload ended. One thread does it, the others find the answer.
    fn collect(&self, lines: &Lines) -> Exit {
        self.plan.get().remove_cgroup();
        let status = {
            let mut state = self.state();
            if let State::Over(exit) = &*state {
                return exit.clone();
            }
            let status = match &lines.keeper {
                Keeper::Init(pidfd) => reap(pidfd, false).or_else(|| remembered(pidfd)),
                Keeper::Home(_) => None,
            };
            if let Some(exit) = lines.told() {
                *state = State::Over(exit.clone());
                return exit;
            }
            status
        };
        if let Keeper::Home(_) = lines.keeper {
            // The box has ended, and has taken it along; it may be the last to go.
            wait_bounded(&lines.pidfd, KILL_TIMEOUT);
        }
        let status = remembered(&lines.pidfd).or(status);
        let exit = Exit::without_report(status, Some(&lines.pidfd), self.parts.init_is_pid_1);
        let mut state = self.state();
        if let State::Over(exit) = &*state {
            return exit.clone();
        }
        *state = State::Over(exit.clone());
        exit
    }

    /// In a child of os.fork the process is somebody else's: it can neither be waited for nor asked.
    fn check_owner(&self) -> Result<()> {
        if self.owner == std::process::id() { Ok(()) } else { Err(Error::Os("waitid", libc::ECHILD)) }
    }
}

impl Drop for Child {
    /// What nobody holds any more, nobody can end. This is also what catches a start that a handler of a signal
    /// interrupts just before its caller gets hold of it.
    fn drop(&mut self) {
        if self.check_owner().is_ok()
            && let Some(lines) = self.lines()
        {
            let _ = self.kill();
            if wait_bounded(&lines.end(), KILL_TIMEOUT) {
                self.collect(&lines);
            }
        }
    }
}

#[pymethods]
impl Child {
    /// The payload's PID as the caller sees it.
    #[getter]
    fn pid(&self) -> i32 {
        self.parts.pid
    }

    /// The payload's PID in its own PID namespace.
    #[getter]
    fn pid_inside(&self) -> i32 {
        self.parts.pid_inside
    }

    /// The PID of nsbox-init as the caller sees it.
    #[getter]
    fn init_pid(&self) -> i32 {
        self.parts.init_pid
    }

    /// A pidfd of the payload; -1 once it is known how that ended. It belongs to this object.
    #[getter]
    fn pidfd(&self) -> RawFd {
        self.lines().map_or(-1, |lines| lines.pidfd.as_raw_fd())
    }

    /// A pidfd of nsbox-init; -1 once it is known how the payload ended. It belongs to this object.
    #[getter]
    fn init_pidfd(&self) -> RawFd {
        self.lines().map_or(-1, |lines| lines.init_pidfd().as_raw_fd())
    }

    /// A descriptor that is readable when everything is over; -1 once that is known. It belongs to this object, and is
    /// only for waiting (poll(2)).
    #[getter]
    fn end_fd(&self) -> RawFd {
        self.lines().map_or(-1, |lines| lines.end())
    }

    /// The plan by which it was started.
    #[getter]
    fn plan(&self, py: Python<'_>) -> Py<Plan> {
        self.plan.clone_ref(py)
    }

    /// The system call that made it: `clone3`, or `clone` where clone3 is missing.
    #[getter]
    fn method(&self) -> &'static str {
        self.parts.method.name()
    }

    /// Wait for the end of everything: with a new PID namespace, of every process in it. `timeout` is in seconds;
    /// nothing is returned when it passes first.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> Result<Option<Exit>> {
        self.check_owner()?;
        let lines = match &*self.state() {
            State::Running(lines) => Arc::clone(lines),
            State::Over(exit) => return Ok(Some(exit.clone())),
        };
        // What is too long to be counted is for ever.
        let limit = timeout.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut since = None;
        loop {
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let slice = rest.map_or(SIGNAL_SLICE, |rest| rest.min(SIGNAL_SLICE));
            match py.detach(|| poll_readable([lines.end()], Some(slice))) {
                Ok([true]) => return Ok(Some(py.detach(|| self.collect(&lines)))),
                Ok([false]) if lines.is_over(self.parts.init_is_pid_1, &mut since) => {
                    return Ok(Some(py.detach(|| self.collect(&lines))));
                }
                Ok([false]) if rest.is_some_and(|rest| rest.is_zero()) => return Ok(None),
                Ok([false]) | Err(Error::Os(_, libc::EINTR)) => py.check_signals()?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Send a signal to the payload, through its pidfd.
    fn send_signal(&self, signal: i32) -> Result<()> {
        self.lines().map_or(Ok(()), |lines| gone_is_fine(send_signal(&lines.pidfd, signal)))
    }

    /// SIGKILL to PID 1 of the new PID namespace, and so to everything in it; without one, to the payload, after
    /// which nsbox-init ends the rest. In a box, to the payload alone.
    fn kill(&self) -> Result<()> {
        let Some(lines) = self.lines() else { return Ok(()) };
        if let Keeper::Init(pidfd) = &lines.keeper
            && self.parts.init_is_pid_1
        {
            return gone_is_fine(send_signal(pidfd, libc::SIGKILL));
        }
        let result = gone_is_fine(send_signal(&lines.pidfd, libc::SIGKILL));
        // A stopped nsbox-init could not do its part.
        let _ = send_signal(lines.init_pidfd(), libc::SIGCONT);
        result
    }

    /// Whether this process has started it, and so may wait for it: not so in a child of os.fork.
    #[getter]
    fn is_own(&self) -> bool {
        self.check_owner().is_ok()
    }

    fn __repr__(&self) -> String {
        let Parts { pid, pid_inside, .. } = self.parts;
        match &*self.state() {
            State::Running(_) => format!("<child: process {pid} ({pid_inside} inside) runs>"),
            State::Over(exit) => format!("<child: process {pid} ended with {}>", exit.returncode),
        }
    }
}

/// As in subprocess, there is nothing to do when it is over already (pidfd_send_signal(2), ESRCH).
fn gone_is_fine(result: std::result::Result<(), i32>) -> Result<()> {
    match result {
        Err(libc::ESRCH) | Ok(()) => Ok(()),
        Err(errno) => Err(Error::Os("pidfd_send_signal", errno)),
    }
}
