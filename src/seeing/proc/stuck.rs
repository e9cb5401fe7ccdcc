//! Reads of a command line that do not end.
//!
//! The kernel reads a command line from the memory of the process, and takes the lock of that memory (mmap_lock). A
//! process can have it held without end: by a mapping of a file on a file system that does not reply (fuse(4)), read
//! through /proc/PID/mem. No signal but SIGKILL ends the wait for the lock.

use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

/// PID and start time of a process.
pub type Identity = (i32, u64);

/// Processes at which a thread of ours waits that was given up.
static STUCK: Mutex<Vec<Identity>> = Mutex::new(Vec::new());
/// Their number, or more.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Where a worker is.
#[derive(Debug, Default)]
pub struct Place {
    pid: AtomicI32,
    start: AtomicU64,
}

impl Place {
    /// The process whose command line is being read, if one is.
    pub fn current(&self) -> Option<Identity> {
        let pid = self.pid.load(SeqCst);
        (pid != 0).then(|| (pid, self.start.load(SeqCst)))
    }

    /// Read the command line of a process by `read`; `None` if a thread waits for that already.
    pub fn visit<T>(&self, process: Identity, read: impl FnOnce() -> T) -> Option<T> {
        // In a child of os.fork the threads do not exist, and one of them may hold the lock for ever.
        if COUNT.load(SeqCst) > 0 && STUCK.try_lock().is_ok_and(|stuck| stuck.contains(&process)) {
            return None;
        }
        self.start.store(process.1, SeqCst);
        self.pid.store(process.0, SeqCst);
        let result = read();
        self.pid.store(0, SeqCst);
        if COUNT.load(SeqCst) > 0 {
            change(|stuck| stuck.retain(|one| *one != process));
        }
        Some(result)
    }

    /// Give the worker up if it still is at this process; whether that is so.
    pub fn give_up(&self, process: Identity) -> bool {
        change(|stuck| {
            stuck.push(process);
            COUNT.store(stuck.len(), SeqCst);
            // From here on the worker removes it, when it leaves.
            if self.current() == Some(process) {
                return true;
            }
            stuck.retain(|one| *one != process);
            false
        })
    }
}

fn change<T>(change: impl FnOnce(&mut Vec<Identity>) -> T) -> T {
    let mut stuck = STUCK.lock().unwrap_or_else(PoisonError::into_inner);
    let result = change(&mut stuck);
    COUNT.store(stuck.len(), SeqCst);
    result
}
