//! One pass over a proc, on as many CPUs as help.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::seeing::proc::dir::{Dir, Errno};
use crate::seeing::proc::reader::{Found, Reader, Wanted, list};
use crate::seeing::proc::stuck::{Identity, Place};

/// Number of processes that a worker takes at a time.
const BLOCK: usize = 32;
/// How long no worker may finish a block before it is asked at which process each is.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// The same, after one was given up: a program may have made many such processes.
const NEXT_LOOK: Duration = Duration::from_millis(100);

/// Read `pids`, or all there are, in this order. Processes that end meanwhile are left out.
pub fn read(proc: &Dir, pids: Option<Vec<i32>>, wanted: Wanted) -> Result<Found, Errno> {
    let pids = match pids {
        Some(pids) => pids,
        None => list(proc, &mut vec![0; 64 * 1024])?,
    };
    if pids.is_empty() || !wanted.cmdline && workers(pids.len()) == 1 {
        return Reader::new(proc, wanted, &Place::default()).read(&pids);
    }
    Pass::new(proc.try_clone()?, pids, wanted).read()
}

/// What the workers share. One that is given up keeps it.
struct Work {
    proc: Dir,
    pids: Vec<i32>,
    wanted: Wanted,
    next: AtomicUsize,
}

/// A thread that reads one block after the other.
#[derive(Default)]
struct Worker {
    place: Place,
    block: AtomicUsize,
}

type Sent = (usize, Result<Found, Errno>);

struct Pass {
    work: Arc<Work>,
    workers: Vec<(Arc<Worker>, JoinHandle<()>)>,
    blocks: BTreeMap<usize, Found>,
    count: usize,
}

impl Pass {
    fn new(proc: Dir, pids: Vec<i32>, wanted: Wanted) -> Self {
        let count = pids.len().div_ceil(BLOCK);
        let work = Arc::new(Work { proc, pids, wanted, next: AtomicUsize::new(0) });
        Pass { work, workers: Vec::new(), blocks: BTreeMap::new(), count }
    }

    fn read(mut self) -> Result<Found, Errno> {
        let (sender, receiver) = channel();
        for _ in 0..workers(self.work.pids.len()) {
            if !self.start(None, &sender) {
                break;
            }
        }
        if self.workers.is_empty() {
            // Where no thread can be made, as after an unshare of the PID namespace (unshare(2)), this one does it all.
            return Reader::new(&self.work.proc, self.work.wanted, &Place::default()).read(&self.work.pids);
        }
        let mut patience = FIRST_LOOK;
        let mut seen: Vec<Option<Identity>> = Vec::new();
        while self.blocks.len() < self.count {
            let over = self.workers.iter().all(|(_, thread)| thread.is_finished());
            match receiver.recv_timeout(if over { Duration::ZERO } else { patience }) {
                Ok((block, Ok(found))) => {
                    self.blocks.insert(block, found);
                    seen.clear();
                }
                Ok((_, Err(errno))) => {
                    self.work.next.store(self.count, Ordering::Relaxed);
                    return Err(errno);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(libc::EIO),
                Err(RecvTimeoutError::Timeout) if over => return Err(libc::EIO),
                Err(RecvTimeoutError::Timeout) => {
                    let now: Vec<_> = self.workers.iter().map(|(worker, _)| worker.place.current()).collect();
                    for (index, process) in now.iter().enumerate() {
                        if let Some(process) = process
                            && seen.get(index) == Some(&Some(*process))
                            && self.workers[index].0.place.give_up(*process)
                        {
                            // Another one reads its block again, without what cannot be read.
                            let block = self.workers[index].0.block.load(Ordering::SeqCst);
                            if !self.start(Some((index, block)), &sender) {
                                return Err(libc::EAGAIN);
                            }
                            patience = NEXT_LOOK;
                        }
                    }
                    seen = now;
                }
            }
        }
        // All blocks are read, so none of these waits. Some calls need a process with a single thread (unshare(2)).
        for (_, thread) in self.workers {
            let _ = thread.join();
        }
        let mut all = Found::default();
        for found in self.blocks.into_values() {
            all.processes.extend(found.processes);
            all.hidden.extend(found.hidden);
        }
        Ok(all)
    }

    /// Start a worker, instead of another one and with its block; false if no thread can be made.
    fn start(&mut self, instead: Option<(usize, usize)>, sender: &Sender<Sent>) -> bool {
        let (work, worker, sender) = (Arc::clone(&self.work), Arc::new(Worker::default()), sender.clone());
        let (own, first) = (Arc::clone(&worker), instead.map(|(_, block)| block));
        let Ok(thread) = Builder::new().spawn(move || carry_out(&work, &own, first, &sender)) else { return false };
        match instead {
            Some((index, _)) => self.workers[index] = (worker, thread),
            None => self.workers.push((worker, thread)),
        }
        true
    }
}

fn carry_out(work: &Work, worker: &Worker, first: Option<usize>, sender: &Sender<Sent>) {
    let mut reader = Reader::new(&work.proc, work.wanted, &worker.place);
    let mut given = first;
    loop {
        let block = given.take().unwrap_or_else(|| work.next.fetch_add(1, Ordering::Relaxed));
        let Some(pids) = work.pids.chunks(BLOCK).nth(block) else { return };
        worker.block.store(block, Ordering::SeqCst);
        let found = reader.read(pids);
        // Nobody receives it any more if the pass is over.
        if found.is_err() | sender.send((block, found)).is_err() {
            return;
        }
    }
}

/// Number of workers that pay off: a thread costs about as much as reading two processes.
fn workers(processes: usize) -> usize {
    // SAFETY: plain numbers, for which zero is valid; writes the structure it is given.
    let cpus = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        match libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) {
            0 => libc::CPU_COUNT(&set).unsigned_abs() as usize,
            _ => 1,
        }
    };
    processes.div_ceil(4 * BLOCK).clamp(1, cpus.clamp(1, 8))
}
