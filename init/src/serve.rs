//! The init of a box: reap, report events, and carry out requests, until the caller dies or ends the box.
//!
//! A request is one message: a plan, and with it the socket for the replies, so that requests of several threads cannot
//! be confused. The socket of a process that was started stays open until its end has been reported.

use linux_raw_sys::general::{O_DIRECTORY, O_PATH, O_RDONLY, O_WRONLY, SIGCHLD, SIGCONT, SIGKILL};
use nsbox_init::wire::{Data, END, Event, FILED, Failure, Op, Plan, Report, Shape, Usage};

use crate::launch::{Begin, Launcher};
use crate::mounts::Mounting;
use crate::open::opened;
use crate::operation::{operation, write_and_close};
use crate::payload::Order;
use crate::proc::Proc;
use crate::processes::{Process, Processes};
use crate::report::{Channel, performed};
use crate::setup::Setup;
use crate::supervise::Supervisor;
use crate::sys::{self, Attached, Errno, Result};

/// The state of a box.
pub struct Server {
    supervisor: Supervisor,
    launcher: Launcher,
    /// What a copy of init does for a box inside this one.
    begin: Begin,
    /// The directory in which processes start.
    directory: i32,
    proc: Proc,
    processes: Processes,
    /// Whether orphans are reaped as soon as they end.
    reaping: bool,
    /// Number of events so far.
    events: i64,
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
        Ok(Server { supervisor, launcher, begin, directory, proc, processes, reaping: true, events: 0 })
    }

    /// Run until the caller is dead, or ends the box.
    pub fn serve(mut self) -> ! {
        let _ = sys::chdir(c"/".as_ptr().cast());
        if self.channel().send(Report::Done, None).is_err() {
            self.supervisor.end_all();
        }
        let mut socket = self.channel().socket;
        loop {
            // The same three descriptors as in `Supervisor::supervise`, which says when this call fails.
            let fds = [socket, self.channel().lifeline, self.supervisor.signals];
            let Ok([requested, orphaned, signalled]) = sys::poll(fds, None) else { self.supervisor.end_all() };
            if orphaned {
                self.supervisor.end_all();
            }
            if signalled {
                self.handle_signal();
            }
            if requested && !self.handle_request() {
                // The caller lost the handle but lives on: init continues until the lifeline becomes readable.
                socket = -1;
            }
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
        if self.reaping || orphans {
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
        let report = Report::Exited { status, usage };
        let _ = self.reply_to(process.socket).send(report, None);
        sys::close(process.socket);
        self.report_event(Event::Exited, pid, status);
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
        let launched = if copies {
            self.launcher.copy(&self.supervisor, self.proc, &mut order, self.begin)
        } else {
            self.launcher.launch(&self.supervisor, &mut order)
        };
        let born = match launched {
            Ok(born) => born,
            Err(failure) => {
                sys::close(socket);
                return reply.failed(failure);
            }
        };
        let added = self.processes.add(Process { pid: born.pid, socket, token });
        let started = Report::Started { pid: born.pid };
        // In another PID namespace our PID of the process means nothing to the caller: the kernel translates it.
        let sender = (self.supervisor.is_pid_1() && !announce).then_some(born.pid);
        let reported = quiet || reply.send(started, Some(Attached { fd: born.pidfd, sender })).is_ok();
        if !reported || added.is_err() {
            // The caller does not wait for it any more, or its end could not be reported.
            sys::kill(born.pid, SIGKILL);
        }
        sys::close(born.pidfd);
        self.report_event(Event::Started, born.pid, 0);
    }

    /// Carry out operations in init itself.
    fn carry_out(&mut self, reply: &Channel, plan: Plan<'static>) {
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
            Op::Open { .. }
            | Op::OpenOwn { .. }
            | Op::Detached { .. }
            | Op::DetachedProc { .. }
            | Op::Socket { .. } => {
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
