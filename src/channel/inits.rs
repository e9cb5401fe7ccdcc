//! The nsbox-inits that this process has started, asked for their namespaces.
//!
//! A caller without privileges may not read them in /proc, as nsbox-init is not dumpable (ptrace(2)).

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use nsbox_init::wire::Report;

use crate::channel::report::{Message, receive};
use crate::kinds::KINDS;
use crate::owner::this_process;
use crate::poll::poll_readable;

/// How long all of them together may take to reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Namespace ids (inode numbers) in the order of the table of kinds; nothing where one is unknown.
pub type Ids = [Option<u64>; KINDS.len()];

/// The namespaces of a process.
#[derive(Debug, Default, Clone, Copy)]
pub struct Namespaces {
    /// Its own.
    pub ids: Ids,
    /// Those of its future children: PID and time.
    pub for_children: [Option<u64>; 2],
}

/// An nsbox-init, and the processes above it that wait for its end, as they have been left to enter a PID namespace.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// The PID of the one that replies, in the caller's PID namespace.
    pub pid: i32,
    /// Its namespaces, those of its parent, and so on.
    pub namespaces: Vec<Namespaces>,
}

/// The connection to an nsbox-init.
pub trait Init: Send + Sync {
    /// Ask for its namespaces; returns the socket for the replies.
    fn ask(&self) -> Option<OwnedFd>;
    /// Whether it is alive.
    fn is_alive(&self) -> bool;
    /// Whether it is stopped, and cannot reply.
    fn is_stopped(&self) -> bool;
    /// What it has replied. It never enters another namespace.
    fn lineage(&self) -> &OnceLock<Lineage>;
    /// Open one of its namespaces, by the name of the link in /proc/PID/ns, if it does that for the caller.
    fn open_namespace(&self, link: &str) -> Option<OwnedFd>;
}

/// Those that were started, and the process that did it: a child of fork has started none of them. Only used by a
/// thread that is attached to Python, so no other thread has it locked while one forks.
static STARTED: Mutex<(u64, Vec<Weak<dyn Init>>)> = Mutex::new((0, Vec::new()));

/// Remember one, as long as it is used.
pub fn remember(init: Weak<dyn Init>) {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let process = this_process();
    if started.0 != process {
        *started = (process, Vec::new());
    }
    let inits = &mut started.1;
    if inits.len() == inits.capacity() {
        inits.retain(|init| init.strong_count() > 0);
    }
    inits.push(init);
}

/// Those that are there at the moment. Their PIDs belong to them as long as they are.
pub struct Inits(Vec<Arc<dyn Init>>);

impl Inits {
    /// Find them.
    pub fn find() -> Self {
        let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        let own = started.0 == this_process();
        Inits(started.1.iter().filter(|_| own).filter_map(Weak::upgrade).collect())
    }

    /// Ask those that have not been asked before. Returns the namespaces of all that are still there.
    pub fn lineages(&self) -> Vec<&Lineage> {
        let asked: Vec<_> = self
            .0
            .iter()
            .filter(|init| init.lineage().get().is_none() && init.is_alive() && !init.is_stopped())
            .filter_map(|init| Some((init, init.ask()?)))
            .collect();
        let deadline = Instant::now() + REPLY_TIMEOUT;
        for (init, socket) in asked {
            if let Some(lineage) = reply(&socket, deadline) {
                let _ = init.lineage().set(lineage);
            }
        }
        self.0.iter().filter(|init| init.is_alive()).filter_map(|init| init.lineage().get()).collect()
    }

    /// Open a namespace of one of them.
    pub fn open(&self, id: u64) -> Option<OwnedFd> {
        let is_here = |ids: &Ids| ids.iter().position(|own| *own == Some(id));
        self.0.iter().find_map(|init| {
            let kind = is_here(&init.lineage().get()?.namespaces.first()?.ids)?;
            init.open_namespace(KINDS[kind].link)
        })
    }
}

fn reply(socket: &OwnedFd, deadline: Instant) -> Option<Lineage> {
    let mut found = Lineage { pid: 0, namespaces: Vec::new() };
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        // An error is a signal, whose handler runs later.
        let readable = poll_readable([socket.as_raw_fd()], Some(rest)).is_ok_and(|[readable]| readable);
        match receive(socket).ok()? {
            Some(Message { report: Report::Performed { data, .. }, sender, .. }) => {
                let mut namespaces = Namespaces::default();
                let places = namespaces.ids.iter_mut().chain(&mut namespaces.for_children);
                for (id, bytes) in places.zip(data.bytes().chunks_exact(size_of::<u64>())) {
                    *id = Some(u64::from_ne_bytes(bytes.try_into().ok()?)).filter(|id| *id != 0);
                }
                found.pid = sender;
                found.namespaces.push(namespaces);
            }
            Some(Message { report: Report::Done, .. }) => return (found.pid > 0).then_some(found),
            Some(_) => return None,
            None if readable || rest.is_zero() => return None,
            None => {}
        }
    }
}
