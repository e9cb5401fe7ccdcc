//! A box: nsbox-init in new namespaces, which does there what it is asked for. Each request is a message with a socket on
//! which to answer, so that several threads can ask at once.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nsbox_init::wire::ReportKind;
use pyo3::prelude::*;

use crate::boxes::process::begin;
use crate::channel::connection::Home;
use crate::channel::event::Happening;
use crate::channel::outcome::Outcome;
use crate::error::{Error, Result};
use crate::pidfd::{self, reap, remembered};
use crate::plan::plan::Plan;
use crate::poll::{KILL_TIMEOUT, SIGNAL_SLICE, poll_readable, wait_bounded};
use crate::start::child::{Child, Keeper, Lines};
use crate::start::exit::Exit;

/// The handle of a box.
#[pyclass(frozen, name = "Box", module = "nsbox._core")]
pub struct BoxHandle {
    pub home: Arc<Home>,
    pub plan: Py<Plan>,
    pub owner: u32,
    /// For the steps of the plan that nsbox-init carried out: how long each took, in nanoseconds.
    pub times: Vec<(u16, i64)>,
    pub method: &'static str,
    /// How nsbox-init ended.
    pub exit: Mutex<Option<Exit>>,
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
            if wait_bounded(&self.home.pidfd, KILL_TIMEOUT) {
                self.ended();
            }
        }
    }
}
