//! Start a plan, up to a payload that runs or has ended.

use std::os::fd::AsRawFd;
use std::time::Duration;

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::plan::compile::compile_plan;
use crate::plan::facts::Facts;
use crate::plan::launch::Launch;
use crate::plan::plan::Plan;
use crate::plan::spec::{Join, KnownSpec};
use crate::poll::{poll_readable, repeat};
use crate::python;
use crate::start::child::{Child, Fds, InitRef};
use crate::start::clone::clone_init;
use crate::start::exit::Exit;
use crate::start::handshake::Handshake;

/// How long the payload has to end by itself after a Ctrl-C, which it got as well; the same as in Python's subprocess.
/// A second Ctrl-C ends the wait.
const CTRL_C_GRACE: Duration = Duration::from_millis(250);

/// Carry out `plan` until its payload runs.
///
/// `after_clone` is called without arguments as soon as nsbox-init has its own copies of the caller's descriptors.
/// `encoded` replaces the bytes that nsbox-init is given: for tests of how it refuses damaged plans.
#[pyfunction]
#[pyo3(signature = (plan, after_clone=None, encoded=None))]
pub fn spawn(
    py: Python<'_>,
    plan: Py<Plan>,
    after_clone: Option<&Bound<'_, PyAny>>,
    encoded: Option<Vec<u8>>,
) -> Result<Child> {
    let handle = plan;
    let plan = handle.get();
    let encoded = encoded.unwrap_or_else(|| plan.to_bytes());
    let mut handshake = Handshake::new(plan, py.detach(|| clone_init(plan, &encoded))?);
    let called = after_clone.map_or(Ok(()), |function| python::call(function, ()).map(drop).map_err(Error::from));
    let started = called.and_then(|()| repeat(py, || handshake.until_started()));
    // A signal handler that raises must do so here: after the return it would run before the caller has the child.
    match started.and_then(|started| py.check_signals().map(|()| started).map_err(Error::from)) {
        Ok((identity, pidfd)) => {
            let Handshake { pidfd: init, socket, layer, .. } = handshake;
            Ok(Child::new(identity, Fds::new(pidfd, socket, InitRef::Own(init)), handle, layer))
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
    let mut handshake = Handshake::new(&plan, py.detach(|| clone_init(&plan, &encoded))?);
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
