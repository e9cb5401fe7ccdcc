//! The processes of a box that were started on request, and the helpers of init.

use crate::sys::{self, Result};

/// One of them.
#[derive(Clone, Copy)]
pub struct Process {
    /// Its PID in the namespace of init.
    pub pid: i32,
    /// The socket on which its end is reported.
    pub socket: i32,
    /// By which a request to end it names it; 0 for a helper, which a request cannot name.
    pub token: u32,
    /// For a helper.
    pub task: Option<Task>,
}

/// What a helper does (`helper.rs`).
#[derive(Clone, Copy)]
pub struct Task {
    /// The step of its request.
    pub step: u32,
    /// When it is given up: CLOCK_MONOTONIC, in nanoseconds. Later than any time if that has been done.
    pub deadline: u64,
}

/// Size of the first mapping, in bytes.
const FIRST_MAPPING: usize = 4096;

/// A list that grows.
pub struct Processes {
    memory: &'static mut [u8],
    count: usize,
}

impl Processes {
    /// An empty list.
    pub fn new() -> Result<Self> {
        Ok(Processes { memory: sys::map_memory(FIRST_MAPPING, false)?, count: 0 })
    }

    fn slots(&self) -> &[Process] {
        // SAFETY: page-aligned memory, of which `count` slots have been written.
        unsafe { core::slice::from_raw_parts(self.memory.as_ptr().cast(), self.count) }
    }

    fn put(&mut self, index: usize, process: Process) {
        // SAFETY: page-aligned memory, which `add` has made large enough.
        unsafe { self.memory.as_mut_ptr().cast::<Process>().add(index).write(process) };
    }

    /// The process at a place in the list.
    pub fn get(&self, index: usize) -> Option<Process> {
        self.slots().get(index).copied()
    }

    /// The first process that is wanted.
    pub fn find(&self, wanted: impl Fn(&Process) -> bool) -> Option<Process> {
        self.slots().iter().copied().find(wanted)
    }

    /// The helper that is given up next, and when.
    pub fn next_deadline(&self) -> Option<(usize, u64)> {
        let tasks =
            self.slots().iter().enumerate().filter_map(|(index, process)| Some((index, process.task?.deadline)));
        tasks.min_by_key(|(_, deadline)| *deadline).filter(|(_, deadline)| *deadline < u64::MAX)
    }

    /// Replace one.
    pub fn set(&mut self, index: usize, process: Process) {
        if index < self.count {
            self.put(index, process);
        }
    }

    /// Append one.
    pub fn add(&mut self, process: Process) -> Result<()> {
        if (self.count + 1) * size_of::<Process>() > self.memory.len() {
            let larger = sys::map_memory(2 * self.memory.len(), false)?;
            larger[..self.memory.len()].copy_from_slice(self.memory);
            let old = core::mem::replace(&mut self.memory, larger);
            sys::unmap(old);
        }
        self.put(self.count, process);
        self.count += 1;
        Ok(())
    }

    /// Remove the first process that is wanted; the last of the list takes its place.
    pub fn remove(&mut self, wanted: impl Fn(&Process) -> bool) -> Option<Process> {
        let index = self.slots().iter().position(wanted)?;
        let process = self.slots()[index];
        let last = self.slots()[self.count - 1];
        self.put(index, last);
        self.count -= 1;
        Some(process)
    }
}
