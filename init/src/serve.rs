//! The init of a box: reap, report events, and carry out requests, until the caller dies or ends the box.
//!
//! A request is one message: a plan, and with it the socket for the replies, so that requests of several threads cannot
//! be confused. The socket of a process that was started stays open until its end has been reported.

use linux_raw_sys::general::{O_DIRECTORY, O_PATH, O_RDONLY, O_WRONLY, SIGCHLD, SIGCONT, SIGKILL, SIGSYS};
use nsbox_init::wire::{Data, END, Event, FILED, Failure, NAMESPACES, Op, Plan, Report, Shape, Usage};

use crate::helper::{self, Helper, LOOKUP_SECONDS};
use crate::launch::{Begin, Launcher};
use crate::mounts::Mounting;
use crate::open::opened;
use crate::operation::{operation, write_and_close};
use crate::payload::Order;
use crate::proc::Proc;
use crate::processes::{Process, Processes, Task};
use crate::report::{Channel, performed};
use crate::setup::Setup;
use crate::supervise::Supervisor;
use crate::sys::{self, Attached, ECANCELED, ETIMEDOUT, Errno, Result};

/// Number of processes that may be on their way to their exec while init goes on serving.
const MAX_STARTING: u32 = 8;
/// Number of requests that init carries out in a row while a process is on its way to its exec.
const MAX_MEANWHILE: usize = 16;

/// What a box needs, made before it serves.
pub struct Server {
    supervisor: Supervisor,
    launcher: Launcher,
    /// What a copy of init does for a box inside this one.
    begin: Begin,
    /// The directory in which processes start.
    directory: i32,
    proc: Proc,
    processes: Processes,
}

impl Server {
    /// Prepare.
    pub fn new(channel: &Channel, time_namespace: bool, setup: Setup, begin: Begin) -> Result<Self> {
        let supervisor = Supervisor::new(channel, setup)?;
        let launcher = Launcher::new(supervisor.is_pid_1(), time_namespace)?;
        let directory = sys::open(c".".as_ptr().cast(), O_PATH | O_DIRECTORY).unwrap_or(-1);
        let (proc, processes) = (Proc::find(setup.proc), Processes::new()?);
        let [root, sys] = proc.descriptors();
        supervisor.close_others(&[launcher.parent(), directory, root, sys])?;
        Ok(Server { supervisor, launcher, begin, directory, proc, processes })
    }

    /// Run until the caller is dead, or ends the box.
    pub fn serve(self) -> ! {
        let Server { supervisor, launcher, begin, directory, proc, processes } = self;
        let _ = sys::chdir(c"/".as_ptr().cast());
        if supervisor.channel.send(Report::Done, None).is_err() {
            supervisor.end_all();
        }
        let socket = supervisor.channel.socket;
        let (supervisor, launcher) = (&supervisor, &launcher);
        let mut serving = Serving {
            supervisor,
            launcher,
            begin,
            directory,
            proc,
            processes,
            socket,
            reaping: true,
            events: 0,
            starting: 0,
            owed: None,
        };
        loop {
            serving.turn(None);
        }
    }
}

/// The state of a box that serves.
struct Serving<'a> {
    supervisor: &'a Supervisor,
    launcher: &'a Launcher,
    begin: Begin,
    directory: i32,
    proc: Proc,
    processes: Processes,
    /// From which requests are received; -1 after its end.
    socket: i32,
    /// Whether orphans are reaped as soon as they end.
    reaping: bool,
    /// Number of events so far.
    events: i64,
    /// Number of processes that are on their way to their exec.
    starting: u32,
    /// Whether children have ended that were not reaped for this reason; true for orphans, too.
    owed: Option<bool>,
}

impl<'a> Serving<'a> {
    /// Wait at most this many milliseconds for something to do, and do it; false if there was nothing.
    fn turn(&mut self, milliseconds: Option<u32>) -> bool {
        // The same three descriptors as in `Supervisor::supervise`, which says when this call fails.
        let fds = [self.socket, self.channel().lifeline, self.supervisor.signals];
        let timeout = milliseconds.or_else(|| self.until_next_deadline());
        let Ok([requested, orphaned, signalled]) = sys::poll(fds, timeout) else { self.supervisor.end_all() };
        if orphaned {
            self.supervisor.end_all();
        }
        if signalled {
            self.handle_signal();
        }
        if requested && !self.handle_request() {
            // The caller lost the handle but lives on: init continues until the lifeline becomes readable.
            self.socket = -1;
        }
        self.reap_what_is_owed();
        self.give_up_helpers();
        requested || signalled
    }

    /// The time until a helper is given up, in milliseconds.
    fn until_next_deadline(&self) -> Option<u32> {
        let (_, deadline) = self.processes.next_deadline()?;
        Some((deadline.saturating_sub(sys::nanoseconds()) / 1_000_000) as u32 + 1)
    }

    /// Report those requests as failed whose helpers have taken too long. A helper that waits in the kernel remains
    /// until the box ends, or until the file system replies.
    fn give_up_helpers(&mut self) {
        while let Some((index, deadline)) = self.processes.next_deadline()
            && deadline <= sys::nanoseconds()
            && let Some(process) = self.processes.get(index)
            && let Some(Task { step, .. }) = process.task
        {
            // Not reaped yet, so no other process has its PID.
            sys::kill(process.pid, SIGKILL);
            self.reply_to(process.socket).failed(Failure { step, errno: ETIMEDOUT, value: 0 });
            sys::close(process.socket);
            self.processes.set(index, Process { socket: -1, task: Some(Task { step, deadline: u64::MAX }), ..process });
        }
    }

    fn channel(&self) -> &Channel {
        &self.supervisor.channel
    }

    fn report_event(&mut self, event: Event, pid: i32, status: i32) {
        let (time, number) = (sys::nanoseconds() as i64, self.events);
        self.events += 1;
        // If the caller does not receive them, the kernel's buffer holds a few hundred; the numbers show which are
        // lost.
        let _ = self.channel().send(Report::Happened { event, pid, status, time, number }, None);
    }

    fn handle_signal(&mut self) {
        match sys::read_signal(self.supervisor.signals) {
            Ok(SIGCHLD) => self.reap(false),
            // SIGCONT only makes init go on after a SIGSTOP: no event.
            Ok(SIGCONT) => {}
            Ok(signal) => self.report_event(Event::Signalled, 0, signal as i32),
            Err(_) => {}
        }
    }

    /// Reap every child that has ended: always those that were started on request, orphans only if they are to be
    /// reaped.
    fn reap(&mut self, orphans: bool) {
        let mut usage = [0; 18];
        if self.starting > 0 {
            // A process on its way to its exec is not in the list yet, and must not be taken for an orphan.
            self.owed = Some(orphans || self.owed == Some(true));
        } else if self.reaping || orphans {
            while let Ok(Some((pid, status))) = sys::wait(-1, &mut usage, false) {
                self.handle_end(pid, status, usage);
            }
            return;
        }
        let mut index = 0;
        while let Some(process) = self.processes.get(index) {
            match sys::wait(process.pid, &mut usage, false) {
                // Another process takes its place in the list.
                Ok(Some((pid, status))) => self.handle_end(pid, status, usage),
                _ => index += 1,
            }
        }
    }

    fn handle_end(&mut self, pid: i32, status: i32, usage: Usage) {
        let Some(process) = self.processes.remove(|process| process.pid == pid) else {
            return self.report_event(Event::Reaped, pid, status);
        };
        if let Some(task) = process.task {
            return self.handle_end_of_helper(process.socket, task, status);
        }
        // The event first: a caller that knows of the end finds it among the events.
        self.report_event(Event::Exited, pid, status);
        let report = Report::Exited { status, usage, left: false };
        let _ = self.reply_to(process.socket).send(report, None);
        sys::close(process.socket);
    }

    /// The helper has reported what it did or could not do.
    fn handle_end_of_helper(&self, socket: i32, task: Task, status: i32) {
        if socket < 0 {
            return;
        }
        let reply = self.reply_to(socket);
        match (status & 0x7f, status >> 8) {
            // Not sent by the helper: the caller must not see it among the processes of the box.
            (0, helper::DONE) => {
                let _ = reply.send(Report::Done, None);
            }
            (0, helper::FAILED) => {}
            // A filter of system calls has killed it.
            (signal, _) if signal == SIGSYS as i32 => {
                reply.failed(Failure { step: task.step, errno: -signal, value: 0 })
            }
            // Root of the box may kill it.
            _ => reply.failed(Failure { step: task.step, errno: ECANCELED, value: 0 }),
        }
        sys::close(socket);
    }

    fn reply_to(&self, socket: i32) -> Channel {
        Channel { socket, lifeline: self.channel().lifeline }
    }

    /// Receive one request and carry it out; false at the end of the connection.
    fn handle_request(&mut self) -> bool {
        let mut rights = sys::Rights::new();
        let message = match sys::receive(self.channel().socket, &mut rights) {
            Ok(message) => message,
            // Nothing to read, or the caller has closed its end with reports unread.
            Err(sys::EAGAIN | sys::ECONNRESET) => return true,
            // Without memory, which a program of our own user can take from us (prlimit(2)), init can receive no
            // request any more, and the caller would wait for a reply that never comes.
            Err(_) => self.supervisor.end_all(),
        };
        let fds = rights.fds();
        match (&*message, fds) {
            ([], []) => return false,
            ([END], _) => self.supervisor.end_all(),
            ([NAMESPACES], [reply, ..]) => self.supervisor.send_namespaces(*reply),
            ([FILED], [reply, file, received @ ..]) => {
                let file = *file;
                match sys::map_file(file) {
                    Ok(bytes) => {
                        self.request(*reply, bytes, received);
                        sys::unmap(bytes);
                    }
                    Err(errno) => self.reply_to(*reply).failed(Failure { step: 0, errno, value: 0 }),
                }
            }
            (bytes, [reply, received @ ..]) => {
                // SAFETY: the mapping lives until it is unmapped below, and nothing of the request is kept.
                let bytes = unsafe { core::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
                self.request(*reply, bytes, received);
            }
            _ => {}
        }
        for &fd in fds {
            sys::close(fd);
        }
        sys::unmap(message);
        true
    }

    fn request(&mut self, reply: i32, bytes: &'static [u8], received: &[i32]) {
        let reply = self.reply_to(reply);
        match Plan::parse_as(bytes, &[Shape::Process, Shape::Operations]) {
            Ok(plan) if plan.shape == Shape::Process => self.start(&reply, plan, received),
            Ok(plan) => self.carry_out(&reply, plan),
            Err(malformed) => reply.refuse(malformed),
        }
    }

    /// Start a process. Init keeps a descriptor of the socket for the replies until the end of the process.
    fn start(&mut self, reply: &Channel, plan: Plan<'static>, received: &[i32]) {
        let mut ops = plan.ops();
        let Some((step, Op::Start { flags, token, quiet })) = ops.next() else { return };
        let quiet = quiet != 0;
        let announce = !quiet && (!self.supervisor.is_pid_1() || !sys::is_mapped());
        let directory = self.directory;
        let ([proc, cgroup], [root, sys]) = (self.supervisor.directories(), self.proc.descriptors());
        let (own, mounting) = ([proc, cgroup, root, sys], Mounting::new());
        let mut order = Order {
            step,
            flags,
            plan,
            ops,
            channel: reply,
            announce,
            quiet: false,
            received,
            directory,
            own,
            mounting,
        };
        let socket = match sys::duplicate_above(reply.socket, 3) {
            Ok(socket) => socket,
            Err(errno) => return reply.failed(Failure { step: u32::from(step), errno, value: 0 }),
        };
        let copies = plan.ops().any(|(_, op)| matches!(op, Op::CopyInit {}));
        let (launcher, supervisor) = (self.launcher, self.supervisor);
        let launched = if copies {
            launcher.copy(supervisor, self.proc, &mut order, self.begin)
        } else {
            self.starting += 1;
            let launched = launcher.launch(supervisor, &mut order, Some(&mut || self.serve_meanwhile()));
            self.starting -= 1;
            launched
        };
        let born = match launched {
            Ok(born) => born,
            Err(failure) => {
                sys::close(socket);
                return reply.failed(failure);
            }
        };
        let added = self.processes.add(Process { pid: born.pid, socket, token, task: None });
        self.report_event(Event::Started, born.pid, 0);
        let started = Report::Started { pid: born.pid };
        // In another PID namespace our PID of the process means nothing to the caller: the kernel translates it.
        let sender = (self.supervisor.is_pid_1() && !announce).then_some(born.pid);
        let reported = quiet || reply.send(started, Some(Attached { fd: born.pidfd, sender })).is_ok();
        if !reported || added.is_err() {
            // The caller does not wait for it any more, or its end could not be reported.
            sys::kill(born.pid, SIGKILL);
        }
        sys::close(born.pidfd);
    }

    /// Reap what has ended while processes were on their way to their exec.
    fn reap_what_is_owed(&mut self) {
        if self.starting == 0
            && let Some(orphans) = self.owed.take()
        {
            self.reap(orphans);
        }
    }

    /// Go on while a process is on its way to its exec: its program, or its directory, may be on a file system that
    /// does not reply.
    fn serve_meanwhile(&mut self) {
        if self.starting <= MAX_STARTING {
            for _ in 0..MAX_MEANWHILE {
                if !self.turn(Some(0)) {
                    break;
                }
            }
        }
    }

    /// Have a helper carry out the operations and report them.
    fn delegate(&mut self, reply: &Channel, plan: Plan<'static>) {
        let step = plan.ops().next().map_or(0, |(step, _)| u32::from(step));
        let failed = |errno| reply.failed(Failure { step, errno, value: 0 });
        let helper = Helper { parent: self.launcher.parent(), init: sys::getpid() };
        let socket = match sys::duplicate_above(reply.socket, 3) {
            Ok(socket) => socket,
            Err(errno) => return failed(errno),
        };
        let pid = match sys::fork(0) {
            Ok(None) => helper.carry_out(reply, plan),
            Ok(Some((pid, pidfd))) => {
                sys::close(pidfd);
                pid
            }
            Err(errno) => {
                sys::close(socket);
                return failed(errno);
            }
        };
        let deadline = sys::nanoseconds() + LOOKUP_SECONDS * 1_000_000_000;
        if let Err(errno) = self.processes.add(Process { pid, socket, token: 0, task: Some(Task { step, deadline }) }) {
            sys::kill(pid, SIGKILL);
            sys::close(socket);
            failed(errno);
        }
    }

    /// Carry out operations, in init itself or in a helper.
    fn carry_out(&mut self, reply: &Channel, plan: Plan<'static>) {
        if !plan.ops().all(|(_, op)| helper::is_for_init(&op)) {
            return self.delegate(reply, plan);
        }
        for (step, op) in plan.ops() {
            let before = sys::nanoseconds();
            match self.operation(reply, &op) {
                Ok((data, attached)) => {
                    let _ = reply.send(performed(step, before, data), attached.map(|fd| Attached { fd, sender: None }));
                    if let Some(fd) = attached {
                        sys::close(fd);
                    }
                }
                Err((errno, value)) => return reply.failed(Failure { step: u32::from(step), errno, value }),
            }
        }
        let _ = reply.send(Report::Done, None);
    }

    fn operation(
        &mut self,
        reply: &Channel,
        op: &Op<&'static [u8]>,
    ) -> core::result::Result<(Data, Option<i32>), (Errno, i64)> {
        let mut data = Data::NONE;
        let plain = |errno| (errno, 0);
        let mut attached = None;
        match op {
            Op::OpenOwn { .. } | Op::Detached { .. } | Op::DetachedProc { .. } | Op::Socket { .. } => {
                attached = Some(opened(self.proc, op).map_err(plain)?);
            }
            Op::WriteOwn { path, data } => {
                let fd = self.proc.open(path.0, O_WRONLY).map_err(plain)?;
                write_and_close(fd, data.0).map_err(|errno| (errno, 1))?;
            }
            Op::Read { path } => {
                let fd = self.proc.open(path.0, O_RDONLY).map_err(plain)?;
                let read = Data::read(|room| sys::read(fd, room));
                sys::close(fd);
                data = read.map_err(plain)?;
            }
            Op::Abort { token } => {
                if let Some(process) = self.processes.find(|process| process.token == *token) {
                    // Not reaped yet, so no other process has its PID.
                    sys::kill(process.pid, SIGKILL);
                }
            }
            Op::Reap { always, now } => {
                self.reaping = *always != 0;
                self.reap(*now != 0);
            }
            op => operation(reply, &mut Mounting::new(), op)?,
        }
        Ok((data, attached))
    }
}
