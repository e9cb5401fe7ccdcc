//! What a process that was forked, and not started by nsbox-init, gives up to be what a payload of that init would be.

use pyo3::prelude::*;

use crate::error::{Result, last};

/// Give up what a payload does not have: with `no_new_privs` the prospect of more rights, and unless it is root or is to
/// keep them the capabilities. Entering a user namespace gives all of them, and an exec by root lets them pass; kept ones
/// pass any exec (capabilities(7)).
#[pyfunction]
pub fn shed_privileges(keep_caps: bool, no_new_privs: bool) -> Result<()> {
    // SAFETY: plain numbers.
    if no_new_privs && unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(last("prctl(PR_SET_NO_NEW_PRIVS)"));
    }
    if keep_caps {
        nsbox_init::capabilities::carry();
        return Ok(());
    }
    // SAFETY: asks for nothing.
    if unsafe { libc::geteuid() } == 0 {
        return Ok(());
    }
    // _LINUX_CAPABILITY_VERSION_3, of the calling thread; no capability in any of the sets.
    let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
    // SAFETY: version 3 of capset(2) reads a header of two words and two structures of three.
    if unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) } != 0 {
        return Err(last("capset"));
    }
    Ok(())
}
