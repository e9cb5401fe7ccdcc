//! A child of init ends with init.

use crate::sys::{self, Result};

/// Exit status of a process whose set-up failed. The caller never gets it: it gets the failure.
pub const NOT_STARTED: i32 = 127;

/// Have the kernel send SIGKILL at the end of init. nsbox-init has a single thread, so this follows the right one. Init
/// may have been killed before the call, so it is polled afterwards: getppid(2) would be 0 in a new PID namespace.
/// `init` is -1 where init is PID 1, whose end needs no signal.
pub fn die_with_init(init: i32) -> Result<()> {
    if init < 0 {
        return Ok(());
    }
    sys::die_with_parent()?;
    // A payload whose limit of descriptors is 0 cannot poll either.
    if sys::poll([init], Some(0)) == Ok([true]) {
        sys::exit(NOT_STARTED);
    }
    Ok(())
}
