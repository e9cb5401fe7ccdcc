//! Which process has made an object. A child of fork has copies of the objects of its parent, and may not use them.
//!
//! PIDs do not distinguish the two: the child can be PID 1 of a new PID namespace, as its parent is of an outer one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

/// The number of the last process that got one, among this process and those that it is a copy of.
static LAST: AtomicU64 = AtomicU64::new(0);
/// The number of this process, in memory that the kernel fills with zeros in the child of every fork(2) and clone(2)
/// (madvise(2), MADV_WIPEONFORK). `None` if there is no such memory.
static NUMBER: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();

/// A number that no process has of which this one is a copy, or which is a copy of this one.
#[pyfunction]
pub fn this_process() -> u64 {
    let Some(number) = NUMBER.get_or_init(wiped_on_fork) else { return std::process::id().into() };
    match number.load(Ordering::Relaxed) {
        // The first call in this process. Another thread may be as far.
        0 => {
            let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            number.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed).map_or_else(|other| other, |_| next)
        }
        number => number,
    }
}

fn wiped_on_fork() -> Option<&'static AtomicU64> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let size = size_of::<AtomicU64>();
    // SAFETY: new memory, a whole number of pages, which stays mapped until the process ends. Zero is a valid number.
    unsafe {
        let memory = libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0);
        if memory == libc::MAP_FAILED || libc::madvise(memory, size, libc::MADV_WIPEONFORK) != 0 {
            return None;
        }
        Some(&*memory.cast())
    }
}
