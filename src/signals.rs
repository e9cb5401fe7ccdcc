//! Signals by name, and the signal mask of the calling thread.

use crate::call::Name;
use nix::sys::signal::Signal;
use pyo3::prelude::*;
use syscalls::{Sysno, raw_syscall};

/// The names of the signals in a set (signal(7)).
pub fn names(mask: u64) -> impl Iterator<Item = Name> {
    (1..=64).filter(move |number| mask & 1 << (number - 1) != 0).map(|number| {
        Signal::try_from(number).map_or_else(|_| format!("SIG{number}").into(), |signal| signal.as_str().into())
    })
}

/// Block all signals in the calling thread (sigprocmask(2)), and return the mask that it had: bit N - 1 is signal N.
#[pyfunction]
pub fn block_signals() -> u64 {
    BlockedSignals::set(u64::MAX)
}

/// Set the signal mask of the calling thread.
#[pyfunction]
pub fn set_signal_mask(mask: u64) {
    BlockedSignals::set(mask);
}

/// All signals blocked in this thread, by the kernel's own call: the C library leaves out the two it uses itself.
pub struct BlockedSignals(u64);

impl BlockedSignals {
    /// Block them until the value is dropped.
    pub fn all() -> Self {
        BlockedSignals(Self::set(u64::MAX))
    }

    fn set(mask: u64) -> u64 {
        let mut old = 0_u64;
        // SAFETY: the kernel's signal set is 64 bits; both pointers are to live ones.
        unsafe {
            raw_syscall!(Sysno::rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut old, size_of::<u64>());
        }
        old
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        Self::set(self.0);
    }
}
