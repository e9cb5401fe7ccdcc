//! The handle of a payload: wait, signal, kill.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nsbox_init::vfork::Method;
use nsbox_init::wire::{NAMESPACES, Report};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::channel::connection::Connection;
use crate::channel::inits::{Init, Lineage, remember};
use crate::channel::report::receive;
use crate::channel::sockets::{ask_to_end, pair, send};
use crate::error::{Error, Result};
use crate::owner::this_process;
use crate::pidfd::{give_up, is_stopped, reap, remembered, send_signal};
use crate::plan::plan::Plan;
use crate::poll::{KILL_TIMEOUT, poll_readable, wait, wait_bounded};
use crate::python;
use crate::start::exit::{Exit, check_executed};
use crate::start::release::{Doomed, await_killed};

/// How long nsbox-init may take to report the end of a payload that has ended.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// What a [`Child`] is known by.
pub struct Identity {
    /// The payload's PID as the caller sees it.
    pub pid: i32,
    /// The payload's PID in its own namespace.
    pub pid_inside: i32,
    /// The PID of nsbox-init as the caller sees it.
    pub init_pid: i32,
    /// Whether killing nsbox-init kills everything.
    pub init_is_pid_1: bool,
    /// The system call that made nsbox-init.
    pub method: Method,
}

/// The descriptors of a [`Child`].
pub struct Fds {
    /// A pidfd of the payload.
    pub pidfd: OwnedFd,
    /// The connection to nsbox-init.
    pub socket: OwnedFd,
    /// The nsbox-init at its other end.
    pub init: InitRef,
    lineage: OnceLock<Lineage>,
}

/// The nsbox-init of a payload.
pub enum InitRef {
    /// Its own, with this pidfd: the end of nsbox-init is the end of everything.
    Own(OwnedFd),
    /// That of a box, which stays when the payload ends, and the token of the payload there.
    Box(Arc<Connection>, u32),
}

impl Fds {
    /// Keep them.
    pub fn new(pidfd: OwnedFd, socket: OwnedFd, init: InitRef) -> Self {
        Fds { pidfd, socket, init, lineage: OnceLock::new() }
    }

    /// The descriptor that is readable once everything has ended.
    fn end(&self) -> RawFd {
        match &self.init {
            InitRef::Own(pidfd) => pidfd.as_raw_fd(),
            InitRef::Box(..) => self.socket.as_raw_fd(),
        }
    }

    fn init_pidfd(&self) -> RawFd {
        match &self.init {
            InitRef::Own(pidfd) => pidfd.as_raw_fd(),
            InitRef::Box(connection, _) => connection.pidfd(),
        }
    }

    /// Whether everything has ended, although [`Fds::end`] is not readable. A child of os.fork may have a copy of the
    /// other end of the socket. And nsbox-init cannot reap a payload that has ended (at `since`) while another process
    /// traces it (ptrace(2)).
    ///
    /// What keeps the others of `doomed` from ending is aborted, which they are since the payload has ended, or earlier.
    fn has_ended(&self, init_is_pid_1: bool, since: &mut Option<Instant>, doomed: &Doomed) -> bool {
        let ended = || poll_readable([self.pidfd.as_raw_fd()], Some(Duration::ZERO)).is_ok_and(|[ended]| ended);
        if let InitRef::Own(pidfd) = &self.init {
            if ended() {
                doomed.doom();
            }
            doomed.release_if_overdue(pidfd);
        }
        let mut overdue = |limit| ended() && since.get_or_insert_with(Instant::now).elapsed() > limit;
        match &self.init {
            InitRef::Box(connection, _) => {
                connection.has_ended() || overdue(REPORT_TIMEOUT) && !connection.is_stopped()
            }
            InitRef::Own(pidfd) => {
                // In namespaces that were joined, the processes there may stop it again and again.
                if !init_is_pid_1 && overdue(KILL_TIMEOUT) {
                    let _ = send_signal(pidfd, libc::SIGKILL);
                }
                false
            }
        }
    }

    /// How the payload ended, if nsbox-init has reported it.
    fn reported(&self) -> Option<Exit> {
        while let Ok(Some(message)) = receive(&self.socket) {
            if let Report::Exited { status, usage, .. } = message.report {
                return Some(Exit::reported(status, &usage));
            }
        }
        None
    }
}

impl Init for Fds {
    fn ask(&self) -> Option<OwnedFd> {
        let (ours, theirs) = pair().ok()?;
        send(&self.socket, &[NAMESPACES], &[theirs.as_raw_fd()]).is_ok_and(|sent| sent).then_some(ours)
    }

    fn is_alive(&self) -> bool {
        poll_readable([self.init_pidfd()], Some(Duration::ZERO)).is_ok_and(|[ended]| !ended)
    }

    fn is_stopped(&self) -> bool {
        matches!(&self.init, InitRef::Own(pidfd) if is_stopped(pidfd))
    }

    fn lineage(&self) -> &OnceLock<Lineage> {
        &self.lineage
    }

    fn open_namespace(&self, _link: &str) -> Option<OwnedFd> {
        None
    }
}

/// The state of a payload.
enum State {
    /// It runs; threads share its descriptors.
    Running(Arc<Fds>),
    /// Everything has ended, and this is how.
    Ended(Exit),
}

/// A payload with its nsbox-init.
#[pyclass(frozen, module = "nsbox._core")]
pub struct Child {
    identity: Identity,
    plan: Py<Plan>,
    /// The process that started it.
    owner: u64,
    /// The directory in memory to which its new root is written.
    layer: Option<OwnedFd>,
    doomed: Doomed,
    state: Mutex<State>,
    /// What has to live as long as this handle.
    kept: Mutex<Option<Py<PyAny>>>,
    /// What the caller asked for, if the root is an overlay.
    spec: OnceLock<Py<PyAny>>,
}

impl Child {
    /// Wrap a payload that was just started.
    pub fn new(identity: Identity, fds: Fds, plan: Py<Plan>, layer: Option<OwnedFd>) -> Self {
        let fds = Arc::new(fds);
        if let InitRef::Own(_) = fds.init {
            let init: Arc<dyn Init> = Arc::<Fds>::clone(&fds);
            remember(Arc::downgrade(&init));
        }
        let (state, kept) = (Mutex::new(State::Running(fds)), Mutex::new(None));
        let doomed = Doomed::default();
        Child { identity, plan, owner: this_process(), layer, doomed, state, kept, spec: OnceLock::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The descriptors, while it runs. They stay open as long as the value that is returned.
    fn fds(&self) -> Option<Arc<Fds>> {
        match &*self.state() {
            State::Running(fds) => Some(Arc::clone(fds)),
            State::Ended(_) => None,
        }
    }

    /// Everything has ended: find out how the payload did. One thread does it, the others get the result.
    fn collect(&self, fds: &Fds) -> Exit {
        self.plan.get().remove_cgroup();
        let status = {
            let mut state = self.state();
            if let State::Ended(exit) = &*state {
                return exit.clone();
            }
            let status = match &fds.init {
                InitRef::Own(pidfd) => reap(pidfd, false).or_else(|| remembered(pidfd)),
                InitRef::Box(..) => None,
            };
            if let Some(exit) = fds.reported() {
                *state = State::Ended(exit.clone());
                return exit;
            }
            status
        };
        if let InitRef::Box(..) = fds.init {
            // The box has ended, and its end kills the payload, perhaps as the last process.
            wait_bounded(&fds.pidfd, KILL_TIMEOUT);
        }
        let status = remembered(&fds.pidfd).or(status);
        let exit = Exit::without_report(status, Some(&fds.pidfd), self.identity.init_is_pid_1);
        let mut state = self.state();
        if let State::Ended(exit) = &*state {
            return exit.clone();
        }
        *state = State::Ended(exit.clone());
        exit
    }

    /// Refuse a child of os.fork: it can neither wait for the payload nor send requests to nsbox-init.
    fn check_owner(&self) -> Result<()> {
        if self.owner == this_process() { Ok(()) } else { Err(Error::Os("waitid", libc::ECHILD)) }
    }
}

impl Drop for Child {
    /// Kill the payload: without a handle nothing could end it. This happens too when a signal handler interrupts a
    /// start just before the caller gets the handle.
    fn drop(&mut self) {
        if self.check_owner().is_ok()
            && let Some(fds) = self.fds()
        {
            let _ = self.kill();
            let ended = match &fds.init {
                InitRef::Own(pidfd) => await_killed(&fds.end(), pidfd, KILL_TIMEOUT),
                InitRef::Box(..) => wait_bounded(&fds.end(), KILL_TIMEOUT),
            };
            if ended {
                self.collect(&fds);
            } else if let InitRef::Own(pidfd) = &fds.init {
                give_up(pidfd);
            }
        }
    }
}

#[pymethods]
impl Child {
    /// The payload's PID as the caller sees it.
    #[getter]
    fn pid(&self) -> i32 {
        self.identity.pid
    }

    /// The payload's PID in its own PID namespace.
    #[getter]
    fn pid_inside(&self) -> i32 {
        self.identity.pid_inside
    }

    /// The PID of nsbox-init as the caller sees it.
    #[getter]
    fn init_pid(&self) -> i32 {
        self.identity.init_pid
    }

    /// A pidfd of the payload; -1 once it is known how the payload ended. It belongs to this object.
    #[getter]
    fn pidfd(&self) -> RawFd {
        self.fds().map_or(-1, |fds| fds.pidfd.as_raw_fd())
    }

    /// A pidfd of nsbox-init; -1 once it is known how the payload ended. It belongs to this object.
    #[getter]
    fn init_pidfd(&self) -> RawFd {
        self.fds().map_or(-1, |fds| fds.init_pidfd())
    }

    /// A descriptor that is readable when everything has ended; -1 once it is known how the payload ended. It belongs
    /// to this object, and is only for polling (poll(2)).
    #[getter]
    fn end_fd(&self) -> RawFd {
        self.fds().map_or(-1, |fds| fds.end())
    }

    /// The directory in memory to which its new root is written; -1 without one. It belongs to this object, and stays
    /// when everything has ended.
    #[getter]
    fn layer(&self) -> RawFd {
        self.layer.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Keep what the caller asked for, an `nsbox.Spec` whose root is an overlay, for `changes`.
    fn started_by(&self, spec: Py<PyAny>) {
        let _ = self.spec.set(spec);
    }

    /// The files that its processes have created, changed and deleted in a root that is an `Overlay`, as
    /// `nsbox.Popen.changes` returns them. `max_files` is the number of files to read at most.
    ///
    /// Raises SpecError when the root is no overlay, and NsboxError when there are more files.
    #[pyo3(signature = (max_files=None))]
    fn changes<'py>(&self, py: Python<'py>, max_files: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        python::call(&python::changes(py)?, (self.spec.get(), self.layer(), max_files))
    }

    /// The plan by which it was started.
    #[getter]
    fn plan(&self, py: Python<'_>) -> Py<Plan> {
        self.plan.clone_ref(py)
    }

    /// The system call that made it: `clone3`, or `clone` where clone3 is missing.
    #[getter]
    fn method(&self) -> &'static str {
        self.identity.method.name()
    }

    /// Wait for the end of everything: with a new PID namespace, of every process in it. `timeout` is in seconds; None
    /// is returned when it passes first.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> Result<Option<Exit>> {
        self.check_owner()?;
        let fds = match &*self.state() {
            State::Running(fds) => Arc::clone(fds),
            State::Ended(exit) => return Ok(Some(exit.clone())),
        };
        let mut since = None;
        let (pid_1, doomed) = (self.identity.init_is_pid_1, &self.doomed);
        let ended = wait(py, fds.end(), timeout, || fds.has_ended(pid_1, &mut since, doomed))?;
        Ok(ended.then(|| py.detach(|| self.collect(&fds))))
    }

    /// Send a signal to the payload, through its pidfd.
    fn send_signal(&self, signal: i32) -> Result<()> {
        self.fds().map_or(Ok(()), |fds| ignore_esrch(send_signal(&fds.pidfd, signal)))
    }

    /// Send SIGKILL to PID 1 of the new PID namespace, which ends everything in it; without one to the payload, after
    /// which nsbox-init ends the rest. In a box, to the payload alone. If this process may not do that, as when it has
    /// changed its user since the start, nsbox-init is asked to do it.
    fn kill(&self) -> Result<()> {
        let Some(fds) = self.fds() else { return Ok(()) };
        let asked = match &fds.init {
            InitRef::Own(pidfd) => {
                self.doomed.doom();
                let target = if self.identity.init_is_pid_1 { pidfd } else { &fds.pidfd };
                let killed = send_signal(target, libc::SIGKILL);
                // A stopped nsbox-init could not end the rest.
                let _ = send_signal(pidfd, libc::SIGCONT);
                killed
                    .or_else(|errno| if errno != libc::ESRCH && ask_to_end(&fds.socket) { Ok(()) } else { Err(errno) })
            }
            InitRef::Box(connection, token) => {
                let killed = send_signal(&fds.pidfd, libc::SIGKILL);
                connection.resume();
                match killed {
                    Err(errno) if errno != libc::ESRCH => connection.kill_process(*token).map_err(|_| errno),
                    killed => killed,
                }
            }
        };
        ignore_esrch(asked)
    }

    /// Raise the error of the exec, if the payload has ended because a filter kills a process for that.
    fn check_executed(&self, py: Python<'_>) -> Result<()> {
        let exit = match &*self.state() {
            State::Ended(exit) => exit.clone(),
            State::Running(_) => return Ok(()),
        };
        py.detach(|| check_executed(self.plan.get(), exit).map(drop))
    }

    /// Keep a reference to an object, such as the box in which the payload is, as long as this handle exists.
    fn keep(&self, object: Py<PyAny>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(object);
    }

    /// For the garbage collector.
    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        let kept = self.kept.try_lock();
        kept.map_or(Ok(()), |kept| kept.as_ref().map_or(Ok(()), |object| visit.call(object)))
    }

    /// For the garbage collector.
    fn __clear__(&self) {
        if let Ok(mut kept) = self.kept.try_lock() {
            *kept = None;
        }
    }

    /// Whether this process has started it, and so may wait for it. A child of os.fork has not.
    #[getter]
    fn is_own(&self) -> bool {
        self.check_owner().is_ok()
    }

    fn __repr__(&self) -> String {
        let Identity { pid, pid_inside, .. } = self.identity;
        match &*self.state() {
            State::Running(_) => format!("<child: process {pid} ({pid_inside} inside) runs>"),
            State::Ended(exit) => format!("<child: process {pid} ended with {}>", exit.returncode),
        }
    }
}

/// As in subprocess, no error if the process has ended already (pidfd_send_signal(2), ESRCH).
fn ignore_esrch(result: std::result::Result<(), i32>) -> Result<()> {
    match result {
        Err(libc::ESRCH) | Ok(()) => Ok(()),
        Err(errno) => Err(Error::Os("pidfd_send_signal", errno)),
    }
}
