//! Ids and capabilities.

use linux_raw_sys::general as k;
use linux_raw_sys::prctl;
use syscalls::{Sysno, syscall};

use super::errno::{EINVAL, Result};

/// CAP_CHECKPOINT_RESTORE, the last one of Linux 5.11. Later kernels may have more.
const LAST_CAPABILITY: u64 = 40;

/// Whether our user has a number in our user namespace; if not, it is shown as the overflow uid (user_namespaces(7)).
pub fn is_mapped() -> bool {
    const OVERFLOW: u32 = 65534;
    getuid() != OVERFLOW && getgid() != OVERFLOW
}

pub fn getuid() -> u32 {
    call!(getuid).unwrap_or(0) as u32
}

pub fn getgid() -> u32 {
    call!(getgid).unwrap_or(0) as u32
}

/// `packed` has the numbers as the kernel takes them. They are not aligned, which the kernel allows.
pub fn setgroups(packed: &[u8]) -> Result<()> {
    call!(setgroups, packed.len() / 4, packed.as_ptr()).map(drop)
}

pub fn setgid(id: u32) -> Result<()> {
    call!(setresgid, id, id, id).map(drop)
}

pub fn setuid(id: u32) -> Result<()> {
    call!(setresuid, id, id, id).map(drop)
}

/// Whether the next change of user keeps the permitted capabilities (capabilities(7)).
pub fn keep_permitted(keep: bool) -> Result<()> {
    call!(prctl, prctl::PR_SET_KEEPCAPS, usize::from(keep), 0, 0, 0).map(drop)
}

/// Make the inheritable and ambient capability sets these, as far as the permitted set allows (capabilities(7)).
pub fn set_capabilities(inheritable: u64, ambient: u64) -> Result<()> {
    let header = k::__user_cap_header_struct { version: k::_LINUX_CAPABILITY_VERSION_3, pid: 0 };
    let none = k::__user_cap_data_struct { effective: 0, permitted: 0, inheritable: 0 };
    let mut data = [none; 2];
    call!(capget, &raw const header, data.as_mut_ptr())?;
    let mut possible = 0;
    for (index, half) in data.iter_mut().enumerate() {
        half.inheritable = (inheritable >> (32 * index)) as u32 & (half.inheritable | half.permitted);
        possible |= u64::from(half.inheritable & half.permitted) << (32 * index);
    }
    call!(capset, &raw const header, data.as_ptr())?;
    let change = |how, capability: u64| call!(prctl, prctl::PR_CAP_AMBIENT, how, capability, 0, 0);
    for capability in 0..64_u64 {
        let wanted = ambient & possible & (1 << capability) != 0;
        match change(prctl::PR_CAP_AMBIENT_IS_SET, capability) {
            Ok(set) if (set == 1) == wanted => continue,
            Ok(_) if wanted => change(prctl::PR_CAP_AMBIENT_RAISE, capability)?,
            Ok(_) => change(prctl::PR_CAP_AMBIENT_LOWER, capability)?,
            // Beyond the last capability of this kernel.
            Err(EINVAL) if capability > LAST_CAPABILITY => break,
            Err(errno) => return Err(errno),
        };
    }
    Ok(())
}
