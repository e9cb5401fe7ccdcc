//! Carrying capabilities over the exec of nsbox-init.

use syscalls::{Sysno, raw_syscall};

const VERSION_3: u32 = 0x2008_0522;
const PR_CAP_AMBIENT: usize = 47;
const PR_CAP_AMBIENT_RAISE: usize = 2;

/// Put every permitted capability into the inheritable and ambient sets. In a user namespace without maps no process is
/// root, and an exec would drop them all (capabilities(7)). Neither id changes here, and the permitted set does not
/// grow, so the dumpable flag of memory that is shared with another process stays as it is.
///
/// Only makes raw system calls, on its own stack.
pub fn carry() {
    let header = [VERSION_3, 0];
    let mut data = [0_u32; 6];
    // SAFETY: version 3 of capget(2) and capset(2) uses two structures {effective, permitted, inheritable} of
    // 32-bit words; the rest are plain numbers.
    unsafe {
        if raw_syscall!(Sysno::capget, header.as_ptr(), data.as_mut_ptr()) != 0 {
            return;
        }
        data[2] = data[1];
        data[5] = data[4];
        raw_syscall!(Sysno::capset, header.as_ptr(), data.as_ptr());
        for capability in 0..64_usize {
            if data[1 + 3 * (capability / 32)] & (1 << (capability % 32)) != 0 {
                raw_syscall!(Sysno::prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
            }
        }
    }
}
