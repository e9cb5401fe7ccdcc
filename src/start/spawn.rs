//! Start a plan: clone into the new namespaces, and exec nsbox-init.
//!
//! Between the clone and the exec the child shares our memory while the calling thread is suspended, so it makes
//! nothing but raw system calls on what was prepared here: no allocation, no lock, no Python, no C library. That
//! makes it safe from a process with busy threads, and equally fast whatever the size of the heap.

use std::ffi::{CString, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use nsbox_init::capabilities;
use nsbox_init::vfork::{Born, vfork};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use syscalls::{Sysno, raw_syscall};

use crate::call::call;
use crate::cgroup::Cgroup;
use crate::channel::failure::failure;
use crate::channel::sockets;
use crate::descriptors::above_stdio;
use crate::error::{Error, Result, StepFailure};
use crate::image::{self, MAX_PLAN_IN_MESSAGE};
use crate::pidfd::{self, reap};
use crate::plan::compile::compile_plan;
use crate::plan::facts::Facts;
use crate::plan::launch::Launch;
use crate::plan::plan::Plan;
use crate::plan::spec::{Join, KnownSpec};
use crate::poll::{poll_readable, repeat};
use crate::signals::BlockedSignals;
use crate::start::child::{Child, Fds, InitRef};
use crate::start::exit::Exit;
use crate::start::handshake::Handshake;
use crate::step_name::StepName;

/// Size of the child's stack, in bytes: enough for [`exec_init`], which keeps its data elsewhere. It is a part of the
/// calling thread's stack: the allocator would return its memory each time, and the kernel make its pages anew.
const STACK: usize = 8 << 10;

/// How long the payload has to end by itself after a Ctrl-C, which it got as well; the same as in Python's subprocess.
/// A second Ctrl-C ends the wait.
const CTRL_C_GRACE: Duration = Duration::from_millis(250);

/// Carry out `plan` until its payload runs.
///
/// `encoded` replaces the bytes that nsbox-init is given: for tests of how it refuses damaged plans.
#[pyfunction]
#[pyo3(signature = (plan, encoded=None))]
pub fn spawn(py: Python<'_>, plan: Py<Plan>, encoded: Option<Vec<u8>>) -> Result<Child> {
    let handle = plan;
    let plan = handle.get();
    let encoded = encoded.unwrap_or_else(|| plan.to_bytes());
    let mut handshake = py.detach(|| clone_init(plan, &encoded))?;
    let started = repeat(py, || handshake.until_started());
    // A signal handler that raises must do so here: after the return it would run before the caller has the child.
    match started.and_then(|started| py.check_signals().map(|()| started).map_err(Error::from)) {
        Ok((identity, pidfd)) => {
            let fds = Fds { pidfd, socket: handshake.socket, init: InitRef::Own(handshake.pidfd) };
            Ok(Child::new(identity, fds, handle))
        }
        Err(error) => {
            py.detach(|| handshake.abandon());
            Err(error)
        }
    }
}

/// Make the plan, carry it out and wait for the end of everything: `compile`, `spawn` and `wait` in one call.
#[pyfunction]
#[pyo3(signature = (spec, launch, cgroup=None, join=None))]
pub fn run(
    py: Python<'_>,
    spec: KnownSpec,
    launch: &Launch,
    cgroup: Option<&Cgroup>,
    join: Option<Join>,
) -> Result<Exit> {
    let plan = compile_plan(spec, launch, &Facts::read(), cgroup, join)?;
    let encoded = plan.to_quiet_bytes();
    let mut handshake = py.detach(|| clone_init(&plan, &encoded))?;
    let end = repeat(py, || handshake.until_ended());
    if let Err(error) = &end {
        let ctrl_c = matches!(error, Error::Python(raised) if raised.is_instance_of::<PyKeyboardInterrupt>(py));
        py.detach(|| {
            if ctrl_c {
                let _ = poll_readable([handshake.pidfd.as_raw_fd()], Some(CTRL_C_GRACE));
            }
            handshake.abandon();
        });
    } else if plan.cgroup.is_some() {
        py.detach(|| plan.remove_cgroup());
    }
    end
}

/// What the child reads. All of it outlives the call, during which the caller is suspended.
struct ExecInit<'a> {
    image: RawFd,
    argv: &'a [*const libc::c_char],
    keep: &'a [RawFd],
    close_fds: bool,
    carry_capabilities: bool,
    /// Why the exec failed; set by the child.
    errno: i32,
}

/// Clone, exec nsbox-init, and send it the plan.
pub fn clone_init<'a>(plan: &'a Plan, encoded: &[u8]) -> Result<Handshake<'a>> {
    let started = clone(plan, encoded);
    match (&started, &plan.cgroup) {
        (Ok(_), Some(cgroup)) => cgroup.close(),
        (Err(_), _) => plan.remove_cgroup(),
        _ => {}
    }
    started.map_err(|error| match error {
        Error::Os(name, errno) => {
            let (step, actor, calls) = (StepName::Prepare, "caller", vec![call(name, [])]);
            Error::Step(Box::new(StepFailure { errno, step, actor, calls, detail: String::new() }))
        }
        error => error,
    })
}

fn clone<'a>(plan: &'a Plan, encoded: &[u8]) -> Result<Handshake<'a>> {
    // Before any descriptor is made here: it could get the number of one that the caller has closed.
    for &fd in &plan.keep {
        // SAFETY: plain numbers.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            let step = plan.steps.iter().position(|step| step.name == StepName::Descriptors).unwrap_or_default();
            return Err(failure(plan, step as u16, libc::EBADF, format!("descriptor {fd}")));
        }
    }
    let image = image::init()?;
    let (ours, theirs) = sockets::pair()?;
    let lifeline = pidfd::open(std::process::id() as i32)?;
    // Most plans fit into the socket's buffer, which is cheapest. A large environment needs a file, and so does every
    // plan where the administrator has made the buffers small.
    let sent = match encoded.len() {
        0..=MAX_PLAN_IN_MESSAGE => send(ours.as_raw_fd(), encoded, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT),
        _ => Err(Errno::EMSGSIZE),
    };
    let file = match sent {
        Ok(_) => None,
        Err(Errno::EMSGSIZE | Errno::ENOBUFS | Errno::EAGAIN) => Some(image::file(c"nsbox-plan", encoded, false)?),
        Err(errno) => return Err(Error::Os("send(plan)", errno as i32)),
    };
    let numbers: Vec<RawFd> = [&theirs, &lifeline].into_iter().chain(&file).map(AsRawFd::as_raw_fd).collect();
    let texts: Vec<CString> = numbers.iter().map(|number| CString::new(number.to_string()).expect("digits")).collect();
    let argv: Vec<*const libc::c_char> = [c"nsbox-init"]
        .into_iter()
        .chain(texts.iter().map(CString::as_c_str))
        .map(std::ffi::CStr::as_ptr)
        .chain([std::ptr::null()])
        .collect();
    let keep: Vec<RawFd> = numbers.into_iter().chain(plan.keep.iter().copied()).collect();
    let mut request = ExecInit {
        image: image.as_raw_fd(),
        argv: &argv,
        keep: &keep,
        close_fds: plan.close_fds,
        carry_capabilities: plan.carries_capabilities(),
        errno: 0,
    };
    let mut stack = [const { MaybeUninit::uninit() }; STACK];
    let blocked = BlockedSignals::all();
    // SAFETY: all signals are blocked; `exec_init` makes only raw system calls on `request` and leaves by execveat or
    // exit_group; only it uses `stack`.
    let born = unsafe { vfork(plan.clone_flags(), &mut stack, exec_init, (&raw mut request).cast()) };
    drop(blocked);
    let Born { pid, pidfd, method } = born.map_err(|errno| failure(plan, plan.clone_step(), errno, String::new()))?;
    // SAFETY: a new descriptor, which nothing else owns.
    let pidfd = above_stdio(unsafe { OwnedFd::from_raw_fd(pidfd) })?;
    if request.errno != 0 {
        reap(&pidfd, true);
        return Err(failure(plan, plan.init_step(), request.errno, String::new()));
    }
    Ok(Handshake::new(plan, pid, pidfd, ours, method, None))
}

/// The child, which shares the caller's memory.
unsafe extern "C" fn exec_init(data: *mut c_void) -> ! {
    // SAFETY: `clone_init` passed its own live `ExecInit` and is suspended.
    let request = unsafe { &mut *data.cast::<ExecInit<'_>>() };
    // SAFETY: raw system calls on prepared data; the table of descriptors is this child's own copy.
    unsafe {
        if request.close_fds {
            // CLOSE_RANGE_CLOEXEC. Descriptors of the caller that are not kept must not even reach nsbox-init.
            raw_syscall!(Sysno::close_range, 3, u32::MAX, 4);
        }
        for &fd in request.keep {
            raw_syscall!(Sysno::fcntl, fd, libc::F_SETFD, 0);
        }
        if request.carry_capabilities {
            capabilities::carry();
        }
        let environment = [std::ptr::null::<libc::c_char>()];
        let result = raw_syscall!(
            Sysno::execveat,
            request.image,
            c"".as_ptr(),
            request.argv.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH
        );
        request.errno = -(result as i32);
        loop {
            raw_syscall!(Sysno::exit_group, 127);
        }
    }
}
