//! What prctl(2) sets for the calling process.

use std::ffi::c_int;

use pyo3::prelude::*;

use crate::error::{Result, last};

/// Have this signal sent to the calling process when its parent ends (PR_SET_PDEATHSIG(2const)).
#[pyfunction]
pub fn die_with_parent(signal: c_int) -> Result<()> {
    set("prctl(PR_SET_PDEATHSIG)", libc::PR_SET_PDEATHSIG, signal as u64)
}

/// Whether a process that has no more rights in our user namespace may trace this one before its next exec
/// (PR_SET_DUMPABLE(2const)).
#[pyfunction]
pub fn set_dumpable(on: bool) -> Result<()> {
    set("prctl(PR_SET_DUMPABLE)", libc::PR_SET_DUMPABLE, on.into())
}

/// Whether the calling process becomes the parent of the orphans among its descendants (PR_SET_CHILD_SUBREAPER(2const)).
#[pyfunction]
pub fn set_child_subreaper(on: bool) -> Result<()> {
    set("prctl(PR_SET_CHILD_SUBREAPER)", libc::PR_SET_CHILD_SUBREAPER, on.into())
}

/// Whether it does (PR_GET_CHILD_SUBREAPER(2const)).
#[pyfunction]
pub fn is_child_subreaper() -> Result<bool> {
    let mut on: c_int = 0;
    // SAFETY: writes one int.
    if unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut on, 0, 0, 0) } != 0 {
        return Err(last("prctl(PR_GET_CHILD_SUBREAPER)"));
    }
    Ok(on != 0)
}

fn set(call: &'static str, option: c_int, value: u64) -> Result<()> {
    // SAFETY: plain numbers.
    if unsafe { libc::prctl(option, value, 0, 0, 0) } != 0 { Err(last(call)) } else { Ok(()) }
}
