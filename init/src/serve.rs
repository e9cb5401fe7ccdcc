//! The init of a box: reap, note what happens, and do what is asked, until the caller dies or says that it is enough.
//!
//! Each request is one message: a plan, and with it the socket on which to answer, so that requests of several threads
//! cannot be confused. A process that was started keeps that socket open until its end has been told.

use linux_raw_sys::general::{O_DIRECTORY, O_PATH, O_RDONLY, O_WRONLY, SIGCHLD, SIGCONT, SIGKILL};
use nsbox_init::wire::{END, Event, FILED, Op, Plan, Report, ReportKind, Shape};

use crate::interpreter::{operation, write_and_close};
use crate::launch::{Failure, Launcher, Order};
use crate::proc::Proc;
use crate::report::{Channel, performed};
use crate::supervise::{Kept, Supervisor};
use crate::sys::{self, Attached, Errno, Result};

/// The state of a box.
pub struct Server {
    supervisor: Supervisor,
    launcher: Launcher,
    /// The directory in which processes start.
    directory: i32,
    proc: Proc,
    residents: Residents,
    /// Whether orphans are reaped as soon as they end.
    reaping: bool,
    /// How many events there have been.
    events: i64,
}

/// A process that was started on request.
#[derive(Clone, Copy)]
struct Resident {
    pid: i32,
    /// Where its end is told.
    socket: i32,
    token: u32,
}

impl Server {
    /// Prepare.
    pub fn new(channel: &Channel, time_namespace: bool, kept: Kept) -> Result<Self> {
        let supervisor = Supervisor::new(channel, kept)?;
        let launcher = Launcher::new(supervisor.is_pid_1(), time_namespace)?;
        let directory = sys::open(c".".as_ptr().cast(), O_PATH | O_DIRECTORY).unwrap_or(-1);
        let proc = Proc::find(kept.proc);
        Ok(Server { supervisor, launcher, directory, proc, residents: Residents::new()?, reaping: true, events: 0 })
    }

    /// Stay until the caller is dead, or says so.
    pub fn serve(mut self) -> ! {
        let [root, sys] = self.proc.descriptors();
        self.supervisor.close_others(&[self.launcher.parent(), self.directory, root, sys]);
        let _ = sys::chdir(c"/".as_ptr().cast());
        let _ = self.channel().send(Report::new(ReportKind::Done), None);
        let mut socket = self.channel().socket;
        loop {
            // See `Supervisor::supervise`, which has the same three.
            let fds = [socket, self.channel().lifeline, self.supervisor.signals];
            let Ok([asked, orphaned, signalled]) = sys::poll(fds, None) else { self.supervisor.end_all() };
            if orphaned {
                self.supervisor.end_all();
            }
            if signalled {
                self.attend_to_signal();
            }
            if asked && !self.attend_to_request() {
                // The handle is gone while its process lives on: carry on, the lifeline decides.
                socket = -1;
            }
        }
    }

    fn channel(&self) -> &Channel {
        &self.supervisor.channel
    }

    fn happened(&mut self, event: Event, pid: i32, errno: i32) {
        let mut report =
            Report { step: event as u32, value: i64::from(pid), errno, ..Report::new(ReportKind::Happened) };
        report.rusage[0] = sys::nanoseconds() as i64;
        report.rusage[1] = self.events;
        self.events += 1;
        // If the caller does not listen, the kernel keeps a few hundred, and the numbers show what is missing.
        let _ = self.channel().send(report, None);
    }

    fn attend_to_signal(&mut self) {
        match sys::read_signal(self.supervisor.signals) {
            Ok(SIGCHLD) => self.reap(false),
            // What wakes us after SIGSTOP is no news.
            Ok(SIGCONT) => {}
            Ok(signal) => self.happened(Event::Signalled, 0, signal as i32),
            Err(_) => {}
        }
    }

    /// Collect every child that ended: those that were started on request always, orphans only if they are to be.
    fn reap(&mut self, orphans: bool) {
        let mut rusage = [0; 18];
        if self.reaping || orphans {
            while let Ok(Some((pid, status))) = sys::wait(-1, &mut rusage, false) {
                self.ended(pid, status, rusage);
            }
            return;
        }
        let mut index = 0;
        while let Some(resident) = self.residents.get(index) {
            match sys::wait(resident.pid, &mut rusage, false) {
                // Another one takes its place in the list.
                Ok(Some((pid, status))) => self.ended(pid, status, rusage),
                _ => index += 1,
            }
        }
    }

    fn ended(&mut self, pid: i32, status: i32, rusage: [i64; 18]) {
        let Some(resident) = self.residents.remove(|resident| resident.pid == pid) else {
            return self.happened(Event::Reaped, pid, status);
        };
        let report = Report { value: i64::from(status), rusage, ..Report::new(ReportKind::Exited) };
        let _ = self.answer(resident.socket).send(report, None);
        sys::close(resident.socket);
        self.happened(Event::Exited, pid, status);
    }

    fn answer(&self, socket: i32) -> Channel {
        Channel { socket, lifeline: self.channel().lifeline }
    }

    /// Take one request and do it; false at the end of the connection.
    fn attend_to_request(&mut self) -> bool {
        let mut rights = sys::Rights::new();
        let message = match sys::receive(self.channel().socket, &mut rights) {
            Ok(message) => message,
            // Nothing there after all, or the other end has left reports unread.
            Err(sys::EAGAIN | sys::ECONNRESET) => return true,
            // Without memory, of which a program of our own user can deprive us (prlimit(2)), no request can be heard any
            // more. Those who make them shall not wait in vain.
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
                    Err(errno) => self.answer(*reply).failed(Failure { step: 0, errno, value: 0 }),
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
        let answer = self.answer(reply);
        match Plan::parse_as(bytes, [Shape::Process, Shape::Errand]) {
            Ok(plan) if plan.shape == Shape::Process => self.start(&answer, plan, received),
            Ok(plan) => self.errand(&answer, plan),
            Err(malformed) => answer.refuse(malformed),
        }
    }

    /// Start a process. Its own descriptor of the socket for answers stays open until its end.
    fn start(&mut self, answer: &Channel, plan: Plan<'static>, received: &[i32]) {
        let mut ops = plan.ops();
        let Some((step, Op::Start { flags, token, quiet })) = ops.next() else { return };
        let quiet = quiet != 0;
        let announce = !quiet && (!self.supervisor.is_pid_1() || !sys::is_mapped());
        let directory = self.directory;
        let mut order = Order { step, flags, plan, ops, channel: answer, announce, quiet: false, received, directory };
        let socket = match sys::duplicate_above(answer.socket, 3) {
            Ok(socket) => socket,
            Err(errno) => return answer.failed(Failure { step: u32::from(step), errno, value: 0 }),
        };
        let copies = plan.ops().any(|(_, op)| matches!(op, Op::CopyInit {}));
        let launched =
            if copies { self.launcher.copy(&mut order) } else { self.launcher.launch(&self.supervisor, &mut order) };
        let born = match launched {
            Ok(born) => born,
            Err(failure) => {
                sys::close(socket);
                return answer.failed(failure);
            }
        };
        let kept = self.residents.add(Resident { pid: born.pid, socket, token });
        let started = Report { value: i64::from(born.pid), ..Report::new(ReportKind::Started) };
        // In another PID namespace our number for the process means nothing to the caller: the kernel translates it.
        let sender = (self.supervisor.is_pid_1() && !announce).then_some(born.pid);
        let told = quiet || answer.send(started, Some(Attached { fd: born.pidfd, sender })).is_ok();
        if !told || kept.is_err() {
            // Nobody waits for it any more, or nobody could be told of its end.
            sys::pidfd_send_signal(born.pidfd, SIGKILL);
        }
        sys::close(born.pidfd);
        self.happened(Event::Started, born.pid, 0);
    }

    /// Carry out operations here, in init.
    fn errand(&mut self, answer: &Channel, plan: Plan<'static>) {
        for (step, op) in plan.ops() {
            let before = sys::nanoseconds();
            match self.perform(answer, &op) {
                Ok((mut report, attached)) => {
                    let took = performed(step, before);
                    (report.step, report.value) = (took.step, took.value);
                    let _ = answer.send(report, attached.map(|fd| Attached { fd, sender: None }));
                    if let Some(fd) = attached {
                        sys::close(fd);
                    }
                }
                Err((errno, value)) => return answer.failed(Failure { step: u32::from(step), errno, value }),
            }
        }
        let _ = answer.send(Report::new(ReportKind::Done), None);
    }

    fn perform(
        &mut self,
        answer: &Channel,
        op: &Op<&'static [u8]>,
    ) -> core::result::Result<(Report, Option<i32>), (Errno, i64)> {
        let mut report = Report::new(ReportKind::Performed);
        let plain = |errno| (errno, 0);
        let mut attached = None;
        match op {
            Op::Open { path } => {
                let fd = sys::open_at_once(path.0.as_ptr(), O_RDONLY).map_err(plain)?;
                sys::let_wait(fd);
                attached = Some(fd);
            }
            Op::OpenOwn { path, link: 0 } => attached = Some(self.proc.open(path.0, O_RDONLY).map_err(plain)?),
            Op::OpenOwn { path, .. } => attached = Some(self.proc.open_link(path.0).map_err(plain)?),
            Op::WriteOwn { path, data } => {
                let fd = self.proc.open(path.0, O_WRONLY).map_err(plain)?;
                write_and_close(fd, data.0).map_err(|errno| (errno, 1))?;
            }
            Op::Detached { fstype } => attached = Some(sys::detached(fstype.0).map_err(plain)?),
            Op::Socket { family, kind, protocol } => {
                attached = Some(sys::socket(*family, *kind, *protocol).map_err(plain)?);
            }
            Op::Read { path } => {
                let fd = self.proc.open(path.0, O_RDONLY).map_err(plain)?;
                let read = sys::read(fd, report.bytes_mut());
                sys::close(fd);
                report.errno = read.map_err(plain)? as i32;
            }
            Op::WriteMap { pid, file, data } => {
                let directory = self.proc.open_process(*pid as i32).map_err(plain)?;
                let fd = sys::open_at(directory, file.0.as_ptr(), O_WRONLY);
                sys::close(directory);
                write_and_close(fd.map_err(plain)?, data.0).map_err(plain)?;
            }
            Op::Abort { token } => {
                if let Some(resident) = self.residents.find(|resident| resident.token == *token) {
                    // Not reaped yet, so the number is still its own.
                    sys::kill(resident.pid, SIGKILL);
                }
            }
            Op::Reap { always, now } => {
                self.reaping = *always != 0;
                self.reap(*now != 0);
            }
            op => operation(answer, op)?,
        }
        Ok((report, attached))
    }
}

/// The processes that were started on request: a list that grows.
struct Residents {
    memory: &'static mut [u8],
    count: usize,
}

impl Residents {
    fn new() -> Result<Self> {
        Ok(Residents { memory: sys::map_memory(4096, false)?, count: 0 })
    }

    fn slots(&self) -> &[Resident] {
        // SAFETY: page-aligned memory, of which so many have been written.
        unsafe { core::slice::from_raw_parts(self.memory.as_ptr().cast(), self.count) }
    }

    fn put(&mut self, index: usize, resident: Resident) {
        // SAFETY: page-aligned memory, large enough: `add` has seen to that.
        unsafe { self.memory.as_mut_ptr().cast::<Resident>().add(index).write(resident) };
    }

    fn get(&self, index: usize) -> Option<Resident> {
        self.slots().get(index).copied()
    }

    fn find(&self, which: impl Fn(&Resident) -> bool) -> Option<Resident> {
        self.slots().iter().copied().find(which)
    }

    fn add(&mut self, resident: Resident) -> Result<()> {
        if (self.count + 1) * size_of::<Resident>() > self.memory.len() {
            let larger = sys::map_memory(2 * self.memory.len(), false)?;
            larger[..self.memory.len()].copy_from_slice(self.memory);
            let old = core::mem::replace(&mut self.memory, larger);
            sys::unmap(old);
        }
        self.put(self.count, resident);
        self.count += 1;
        Ok(())
    }

    /// Take one out; the last of the list takes its place.
    fn remove(&mut self, which: impl Fn(&Resident) -> bool) -> Option<Resident> {
        let index = self.slots().iter().position(which)?;
        let resident = self.slots()[index];
        let last = self.slots()[self.count - 1];
        self.put(index, last);
        self.count -= 1;
        Some(resident)
    }
}
