//! What unshare(1) does to its own process beside the calls of `raw.rs`: for `nsbox unshare`, which becomes the program
//! it starts.

use libc::c_int;
use pyo3::prelude::*;

use crate::error::{Result, last};

fn checked(call: &'static str, result: c_int) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(last(call)) }
}

/// Have this signal when the parent dies (PR_SET_PDEATHSIG(2const)).
#[pyfunction]
pub fn die_with_parent(signal: c_int) -> Result<()> {
    // SAFETY: plain numbers.
    checked("prctl", unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) })
}

/// Put every permitted capability into the inheritable and ambient sets, so that they survive an exec
/// (capabilities(7)).
#[pyfunction]
pub fn keep_capabilities() -> Result<()> {
    let header = [0x2008_0522_u32, 0];
    let mut data = [[0_u32; 3]; 2];
    // SAFETY: version 3 of capget(2) and capset(2) uses two structures {effective, permitted, inheritable}.
    unsafe {
        checked("capget", libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) as c_int)?;
        for words in &mut data {
            words[2] = words[1];
        }
        checked("capset", libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) as c_int)?;
    }
    for capability in 0..64_usize {
        if data[capability / 32][1] & (1 << (capability % 32)) != 0 {
            // SAFETY: plain numbers.
            let result = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0) };
            checked("prctl(PR_CAP_AMBIENT)", result)?;
        }
    }
    Ok(())
}
