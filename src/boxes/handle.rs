//! The handle of a box.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nsbox_init::wire::Report;
use pyo3::prelude::*;

use crate::boxes::process::{Started, start};
use crate::channel::connection::Connection;
use crate::channel::event::Event;
use crate::channel::inits::{Init, remember};
use crate::channel::outcome::Outcome;
use crate::error::{Error, Result};
use crate::owner::this_process;
use crate::plan::plan::Plan;
use crate::poll::{KILL_TIMEOUT, repeat, wait};
use crate::start::child::{Child, Fds, InitRef};
use crate::start::exit::{Exit, check_executed};
use crate::start::release::{Doomed, await_killed};

/// The handle of a box: nsbox-init in new namespaces, which carries out requests there.
#[pyclass(frozen, name = "Box", module = "nsbox._core")]
pub struct BoxHandle {
    connection: Arc<Connection>,
    plan: Py<Plan>,
    /// The process that made it.
    owner: u64,
    /// For each step that nsbox-init carried out: its number, and the time it took, in nanoseconds.
    times: Vec<(u16, i64)>,
    method: &'static str,
    /// The directory in memory to which its new root is written.
    layer: Option<OwnedFd>,
    doomed: Doomed,
    /// How nsbox-init ended, once that is known.
    exit: Mutex<Option<Exit>>,
}

#[pymethods]
impl BoxHandle {
    /// Start a process here. `fds` are the descriptors it gets, in the order of the plan.
    fn start(&self, py: Python<'_>, plan: Py<Plan>, fds: Vec<RawFd>, token: u32) -> Result<Child> {
        self.check_owner()?;
        let bytes = plan.get().to_bytes();
        let Started { identity, pidfd, socket } = start(py, &self.connection, plan.get(), &bytes, &fds, token)?;
        let fds = Fds::new(pidfd, socket, InitRef::Box(Arc::clone(&self.connection), token));
        Ok(Child::new(identity, fds, plan, None))
    }

    /// The token to put into the plan of a process.
    fn token(&self) -> u32 {
        self.connection.next_token()
    }

    /// Start a process here, and wait for its end: `start` and `wait` in one call.
    fn run(&self, py: Python<'_>, plan: &Plan, fds: Vec<RawFd>, token: u32) -> Result<Exit> {
        self.check_owner()?;
        let bytes = plan.to_bytes();
        let socket = py.detach(|| self.connection.send_request(&bytes, &fds))?;
        let since = Instant::now();
        let exit = repeat(py, || {
            Ok(match self.connection.receive_reply(&socket, plan, since)?.map(|message| message.report) {
                Some(Report::Exited { status, usage, .. }) => Some(Exit::reported(status, &usage)),
                _ => None,
            })
        });
        match exit {
            Ok(exit) => py.detach(|| check_executed(plan, exit)),
            Err(error) => {
                py.detach(|| self.connection.abort_request(token, &socket, &error));
                Err(error)
            }
        }
    }

    /// Have nsbox-init carry out a request by itself.
    fn perform(&self, py: Python<'_>, plan: &Plan) -> Result<Outcome> {
        self.check_owner()?;
        py.detach(|| self.connection.carry_out(plan, || Python::attach(|py| Ok(py.check_signals()?))))
    }

    /// What happened since the box was made.
    fn events(&self, py: Python<'_>) -> Result<Vec<Event>> {
        // In a child of os.fork a thread that does not exist there may hold the lock for ever.
        self.check_owner()?;
        Ok(py.detach(|| self.connection.events()))
    }

    /// End everything in the box.
    fn kill(&self, py: Python<'_>) -> Result<()> {
        self.check_owner()?;
        py.detach(|| self.end());
        Ok(())
    }

    /// Wait for its end: with a new PID namespace, for the end of every process in it. `timeout` is in seconds; None is
    /// returned when it passes first.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> Result<Option<Exit>> {
        self.check_owner()?;
        let ended = match self.connection.ends() {
            Some(ends) => wait(py, ends.pidfd.as_raw_fd(), timeout, || {
                self.doomed.release_if_overdue(&ends.pidfd);
                false
            })?,
            None => true,
        };
        Ok(ended.then(|| self.ended()))
    }

    /// Whether nsbox-init is stopped (SIGSTOP).
    #[getter]
    fn is_stopped(&self) -> bool {
        self.connection.is_stopped()
    }

    /// The PID of nsbox-init as the caller sees it.
    #[getter]
    fn pid(&self) -> i32 {
        self.connection.init_pid
    }

    /// A pidfd of nsbox-init; -1 once it is known that the box has ended. It belongs to this object.
    #[getter]
    fn pidfd(&self) -> RawFd {
        self.connection.pidfd()
    }

    /// The directory in memory to which its new root is written; -1 without one. It belongs to this object, and stays
    /// when the box has ended.
    #[getter]
    fn layer(&self) -> RawFd {
        self.layer.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// The plan by which it was made.
    #[getter]
    fn plan(&self, py: Python<'_>) -> Py<Plan> {
        self.plan.clone_ref(py)
    }

    /// For each step that nsbox-init carried out: its number, and the time it took, in nanoseconds.
    #[getter]
    fn times(&self) -> Vec<(u16, i64)> {
        self.times.clone()
    }

    /// The system call that made it.
    #[getter]
    fn method(&self) -> &'static str {
        self.method
    }

    /// Whether this process has made it. A child of os.fork has not.
    #[getter]
    fn is_own(&self) -> bool {
        self.owner == this_process()
    }

    fn __repr__(&self) -> String {
        format!("<box of process {}>", self.connection.init_pid)
    }
}

impl BoxHandle {
    /// Wrap a box that was just made.
    pub fn new(
        connection: Connection,
        plan: Py<Plan>,
        times: Vec<(u16, i64)>,
        method: &'static str,
        layer: Option<OwnedFd>,
    ) -> Self {
        let (owner, exit, doomed) = (this_process(), Mutex::new(None), Doomed::default());
        let connection = Arc::new(connection);
        let init: Arc<dyn Init> = Arc::<Connection>::clone(&connection);
        remember(Arc::downgrade(&init));
        BoxHandle { connection, plan, owner, times, method, layer, doomed, exit }
    }

    /// The connection to nsbox-init.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The plan by which it was made.
    pub fn made_by(&self) -> &Plan {
        self.plan.get()
    }

    /// Kill everything. Without a PID namespace nsbox-init ends the processes one by one, so they are helped to end while
    /// it is still there.
    fn end(&self) {
        self.doomed.doom();
        let Some(ends) = self.connection.ends() else { return };
        if !self.connection.init_is_pid_1 && !self.connection.ask_to_end() {
            await_killed(&ends.pidfd, &ends.pidfd, KILL_TIMEOUT);
        }
        self.connection.kill();
    }

    fn check_owner(&self) -> Result<()> {
        if self.is_own() { Ok(()) } else { Err(Error::Os("sendmsg(request)", libc::ECHILD)) }
    }

    fn ended(&self) -> Exit {
        let mut exit = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        if exit.is_none() {
            self.plan.get().remove_cgroup();
        }
        exit.get_or_insert_with(|| Exit::without_report(self.connection.close(), None, true)).clone()
    }
}

impl Drop for BoxHandle {
    /// Kill the box: without a handle nothing could end it.
    fn drop(&mut self) {
        if self.is_own() && self.exit.get_mut().is_ok_and(|exit| exit.is_none()) {
            self.end();
            let ends = self.connection.ends();
            if ends.is_none_or(|ends| await_killed(&ends.pidfd, &ends.pidfd, KILL_TIMEOUT)) {
                self.ended();
            } else {
                self.connection.give_up();
            }
        }
    }
}
