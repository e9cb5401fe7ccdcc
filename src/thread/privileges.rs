//! Dropping privileges: a process that was forked, and not started by nsbox-init, becomes like a payload of that init.

use pyo3::prelude::*;

use crate::capabilities::SYS_ADMIN;
use crate::error::{Error, Result, last};
use crate::seccomp::filters;
use nsbox_init::hardening;

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

/// Give up what a hardened payload gives up before its exec, in the same order. `parts` are the fields of
/// `nsbox.spec.harden.Hardened` of that name; `rule` is what `landlock_rule` returns.
#[pyfunction]
#[pyo3(signature = (*, keyring, drop_capabilities, lock_mounts, no_new_privs, landlock, seccomp, rule))]
#[expect(clippy::fn_params_excessive_bools, reason = "each part is on or off by itself")]
pub fn give_up_rights(
    keyring: bool,
    drop_capabilities: bool,
    lock_mounts: bool,
    no_new_privs: bool,
    landlock: bool,
    seccomp: bool,
    rule: (Vec<Vec<u8>>, u64),
) -> Result<()> {
    let failed = |call| move |errno| Error::Os(call, errno);
    if keyring {
        hardening::session_keyring().map_err(failed("keyctl"))?;
    }
    if drop_capabilities || lock_mounts {
        let keep = if drop_capabilities { 0 } else { !SYS_ADMIN };
        hardening::limit_capabilities(keep).map_err(failed("capset"))?;
    }
    if no_new_privs {
        hardening::no_new_privs().map_err(failed("prctl(PR_SET_NO_NEW_PRIVS)"))?;
    }
    if landlock {
        let (writable, scopes) = rule;
        let writable: Vec<_> = writable.iter().map(|path| [path, &b"\0"[..]].concat()).collect();
        hardening::landlock(writable.iter().map(Vec::as_slice), scopes).map_err(failed("landlock_restrict_self"))?;
    }
    if seccomp {
        let filters = filters();
        let apply = hardening::seccomp(&filters.missing).and_then(|()| hardening::seccomp(&filters.denied));
        apply.map_err(failed("seccomp"))?;
    }
    Ok(())
}
