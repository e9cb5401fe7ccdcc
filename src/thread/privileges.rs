//! Dropping privileges: a process that was forked, and not started by nsbox-init, becomes like a payload of that init.

use pyo3::prelude::*;

use crate::error::{Result, last};

/// Become this user and group, and leave the supplementary groups, where the caller's are not mapped in the user
/// namespace that was entered (`Plan.uid`). The calling process has a single thread.
#[pyfunction]
#[pyo3(signature = (uid, gid, leave_groups))]
pub fn change_ids(uid: Option<u32>, gid: Option<u32>, leave_groups: bool) -> Result<()> {
    // SAFETY: no groups, and plain numbers.
    unsafe {
        if leave_groups && libc::setgroups(0, std::ptr::null()) != 0 {
            return Err(last("setgroups"));
        }
        if let Some(gid) = gid
            && libc::setresgid(gid, gid, gid) != 0
        {
            return Err(last("setresgid"));
        }
        if let Some(uid) = uid
            && libc::setresuid(uid, uid, uid) != 0
        {
            return Err(last("setresuid"));
        }
    }
    Ok(())
}

/// Drop the privileges that a payload does not have. With `no_new_privs` no exec grants any. A process that is not root
/// drops all capabilities, unless `keep_caps`: entering a user namespace has given it all of them, and an exec keeps
/// them for root, or if they are ambient (capabilities(7)).
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
    // SAFETY: always succeeds.
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
