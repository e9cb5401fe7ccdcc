//! Start a plan: clone into the new namespaces, exec nsbox-init, and listen until the payload runs or a step failed.
//!
//! Between the clone and the exec the child shares our memory while the calling thread is suspended, so it makes
//! nothing but raw system calls on what was prepared here: no allocation, no lock, no Python, no C library. That
//! makes it safe from a process with busy threads, and equally fast whatever the size of the heap.

use std::ffi::{CString, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, send, setsockopt, socketpair, sockopt,
};
use pyo3::prelude::*;
use syscalls::{Sysno, raw_syscall};

use crate::child::{Child, Parts, poll_readable, reap, send_signal};
use crate::error::{Error, Result, StepFailure, last, os};
use crate::image;
use crate::plan::{Arrangement, Plan, STEP_CLONE, STEP_INIT};
use nsbox_init::vfork::{Born, Method, vfork};
use nsbox_init::wire::{Fault, GO, REPORT, Report, ReportKind};

/// Enough for [`exec_init`], which keeps its data elsewhere. It is a part of the calling thread's own stack: memory
/// from the allocator would be given back each time, and its pages made anew.
const STACK: usize = 8 << 10;

/// A plan up to this size is sent as a message: a third of the smallest buffer a socket has by default (socket(7)).
const PLAN_IN_MESSAGE: usize = 64 << 10;

/// Carry out `plan` until its payload runs.
///
/// `encoded` replaces what nsbox-init is given, for tests of how it defends itself.
#[pyfunction]
#[pyo3(signature = (plan, encoded=None))]
pub fn spawn(py: Python<'_>, plan: Py<Plan>, encoded: Option<Vec<u8>>) -> Result<Child> {
    let handle = plan;
    let plan = handle.get();
    let encoded = encoded.unwrap_or_else(|| plan.to_bytes());
    let launch = py.detach(|| launch(plan, &encoded))?;
    let mut conversation = Conversation { plan, launch, payload_pid: None };
    loop {
        match py.detach(|| conversation.next()) {
            Ok(Some(parts)) => return Ok(Child::new(parts, handle)),
            Ok(None) => {}
            Err(Error::Os(_, libc::EINTR)) => {
                if let Err(raised) = py.check_signals() {
                    py.detach(|| conversation.launch.abandon());
                    return Err(raised.into());
                }
            }
            Err(error) => {
                py.detach(|| conversation.launch.abandon());
                return Err(error);
            }
        }
    }
}

/// A process that exists and is on its way.
struct Launch {
    pid: i32,
    pidfd: OwnedFd,
    socket: Option<OwnedFd>,
    method: Method,
    init_is_pid_1: bool,
}

impl Launch {
    /// End it, and return only when it is gone. As PID 1 it can be killed with all it started. Outside a PID
    /// namespace it is told by the end of the connection instead, so that it ends what it started before itself.
    fn abandon(&mut self) {
        self.socket = None;
        if self.init_is_pid_1 {
            send_signal(&self.pidfd, libc::SIGKILL);
        }
        send_signal(&self.pidfd, libc::SIGCONT);
        reap(&self.pidfd, true);
    }
}

/// What the cloned child reads. Everything in it outlives the call, during which the caller is suspended.
struct ExecInit<'a> {
    image: RawFd,
    argv: &'a [*const libc::c_char],
    keep: &'a [RawFd],
    close_fds: bool,
    carry_capabilities: bool,
    /// Set by the child when the exec did not happen.
    errno: i32,
}

fn launch(plan: &Plan, encoded: &[u8]) -> Result<Launch> {
    let image = image::init()?;
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(os("socketpair"))?;
    setsockopt(&ours, sockopt::PassCred, &true).map_err(os("setsockopt(SO_PASSCRED)"))?;
    let lifeline = pidfd_open(std::process::id() as i32)?;
    // A plan usually fits into the socket's buffer, where it costs the least. A large environment needs a file.
    let file = if encoded.len() <= PLAN_IN_MESSAGE {
        send(ours.as_raw_fd(), encoded, MsgFlags::MSG_NOSIGNAL).map_err(os("send(plan)"))?;
        None
    } else {
        Some(image::in_memory(c"nsbox-plan", encoded, false)?)
    };
    let numbers: Vec<RawFd> = [&theirs, &lifeline].into_iter().chain(&file).map(AsRawFd::as_raw_fd).collect();
    let texts: Vec<CString> = numbers.iter().map(|number| CString::new(number.to_string()).expect("digits")).collect();
    let argv: Vec<*const libc::c_char> = [c"nsbox-init"]
        .into_iter()
        .chain(texts.iter().map(CString::as_c_str))
        .map(std::ffi::CStr::as_ptr)
        .chain([std::ptr::null()])
        .collect();
    let keep: Vec<RawFd> = numbers.into_iter().chain(plan.keep.iter().copied()).collect();
    let mut request = ExecInit {
        image: image.as_raw_fd(),
        argv: &argv,
        keep: &keep,
        close_fds: plan.close_fds,
        carry_capabilities: plan.carries_capabilities(),
        errno: 0,
    };
    let mut stack = [const { MaybeUninit::uninit() }; STACK];
    let blocked = BlockedSignals::all();
    // SAFETY: all signals are blocked; `exec_init` makes only raw system calls on `request` and leaves by execveat
    // or exit_group; `stack` is its alone.
    let born = unsafe { vfork(plan.clone_flags(), true, &mut stack, exec_init, (&raw mut request).cast()) };
    drop(blocked);
    let Born { pid, pidfd, method } = born.map_err(|errno| failure(plan, STEP_CLONE, errno, String::new()))?;
    // SAFETY: the kernel just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    if request.errno != 0 {
        reap(&pidfd, true);
        return Err(failure(plan, STEP_INIT, request.errno, String::new()));
    }
    Ok(Launch { pid, pidfd, socket: Some(ours), method, init_is_pid_1: plan.init_is_pid_1() })
}

/// The child, in our memory.
unsafe extern "C" fn exec_init(data: *mut c_void) -> ! {
    // SAFETY: `launch` passed its own live `ExecInit` and is suspended.
    let request = unsafe { &mut *data.cast::<ExecInit<'_>>() };
    // SAFETY: raw system calls on prepared data; the table of descriptors is this child's own copy.
    unsafe {
        if request.close_fds {
            // CLOSE_RANGE_CLOEXEC. Whatever of the caller's is not kept must not even reach nsbox-init.
            raw_syscall!(Sysno::close_range, 3, u32::MAX, 4);
        }
        for &fd in request.keep {
            raw_syscall!(Sysno::fcntl, fd, libc::F_SETFD, 0);
        }
        if request.carry_capabilities {
            carry_capabilities();
        }
        let environment = [std::ptr::null::<libc::c_char>()];
        let result = raw_syscall!(
            Sysno::execveat,
            request.image,
            c"".as_ptr(),
            request.argv.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH
        );
        request.errno = -(result as i32);
        loop {
            raw_syscall!(Sysno::exit_group, 127);
        }
    }
}

/// Put every permitted capability into the inheritable and ambient sets. In a user namespace without maps nobody is
/// root, and an exec would drop them all (capabilities(7)). Neither id changes here, and the permitted set does not
/// grow, so the dumpable flag of the memory we share with the caller stays as it is.
unsafe fn carry_capabilities() {
    let header = [0x2008_0522_u32, 0];
    let mut data = [0_u32; 6];
    // SAFETY: version 3 of capget(2) and capset(2) uses two structures {effective, permitted, inheritable} of
    // 32-bit words; the rest are plain numbers.
    unsafe {
        if raw_syscall!(Sysno::capget, header.as_ptr(), data.as_mut_ptr()) != 0 {
            return;
        }
        data[2] = data[1];
        data[5] = data[4];
        raw_syscall!(Sysno::capset, header.as_ptr(), data.as_ptr());
        for capability in 0..64_usize {
            if data[1 + 3 * (capability / 32)] & (1 << (capability % 32)) != 0 {
                raw_syscall!(Sysno::prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0);
            }
        }
    }
}

/// All signals blocked in this thread, by the kernel's own call: the C library leaves out the two it uses itself.
struct BlockedSignals(u64);

impl BlockedSignals {
    fn all() -> Self {
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

/// Listening to nsbox-init until the payload runs.
struct Conversation<'a> {
    plan: &'a Plan,
    launch: Launch,
    /// As the kernel translated it for us.
    payload_pid: Option<i32>,
}

impl Conversation<'_> {
    /// Hear one report and act on it.
    fn next(&mut self) -> Result<Option<Parts>> {
        let Some(socket) = &self.launch.socket else { return Err(self.gone()) };
        let [heard, ended] = poll_readable([socket.as_raw_fd(), self.launch.pidfd.as_raw_fd()], None)?;
        if !heard {
            return if ended { Err(self.gone()) } else { Ok(None) };
        }
        let Some(message) = receive(socket)? else { return Err(self.gone()) };
        match message.kind {
            ReportKind::Forked => self.payload_pid = Some(message.sender),
            ReportKind::MapsWanted => {
                if self.plan.arrangement != Arrangement::InitInside {
                    self.payload_pid = Some(message.sender);
                }
                self.write_maps()?;
            }
            ReportKind::Failed => return Err(self.step_failed(&message.report)),
            ReportKind::Refused => return Err(self.refused(&message.report)),
            ReportKind::Started => return self.started(message).map(Some),
            ReportKind::Exited => {}
        }
        Ok(None)
    }

    fn started(&mut self, message: Message) -> Result<Parts> {
        let (Some(pidfd), Some(socket)) = (message.attached, self.launch.socket.take()) else {
            return Err(self.gone());
        };
        let pid_inside = match self.plan.arrangement {
            Arrangement::Guarded if self.plan.namespaces & crate::ns::PID != 0 => 1,
            _ => message.report.value as i32,
        };
        // Only where init is in another PID namespace than we are does the number need the kernel's translation.
        let pid = match self.payload_pid {
            Some(pid) => pid,
            None if self.launch.init_is_pid_1 => message.sender,
            None => message.report.value as i32,
        };
        let init_pidfd = self.launch.pidfd.try_clone().map_err(|_| last("fcntl(F_DUPFD_CLOEXEC)"))?;
        Ok(Parts {
            pid,
            pid_inside,
            init_pid: self.launch.pid,
            pidfd,
            init_pidfd,
            socket,
            init_is_pid_1: self.launch.init_is_pid_1,
            method: self.launch.method,
        })
    }

    /// Write the files of the user namespace (user_namespaces(7)), each in one write(2).
    fn write_maps(&self) -> Result<()> {
        let inside = match (self.plan.arrangement, self.payload_pid) {
            (Arrangement::InitInside, _) | (_, None) => self.launch.pidfd.try_clone().map_err(|_| last("fcntl"))?,
            (_, Some(pid)) => pidfd_open(pid)?,
        };
        for (index, file, text) in self.plan.maps() {
            proc_pid(&inside)
                .and_then(|pid| write_once(&format!("/proc/{pid}/{file}"), text.as_bytes()))
                .map_err(|errno| failure(self.plan, index as u16, errno, String::new()))?;
        }
        let socket = self.launch.socket.as_ref().expect("checked by next");
        send(socket.as_raw_fd(), &[GO], MsgFlags::MSG_NOSIGNAL).map_err(os("send"))?;
        Ok(())
    }

    fn step_failed(&self, report: &Report) -> Error {
        let step = report.step as usize;
        let detail = match self.plan.steps.get(step).map(|step| step.name) {
            Some("descriptors") if report.value >= 0 => format!("descriptor {}", report.value),
            Some("clock offsets" | "pid_max") => if report.value == 0 { "open" } else { "write" }.to_string(),
            _ => String::new(),
        };
        failure(self.plan, step as u16, report.errno, detail)
    }

    fn refused(&self, report: &Report) -> Error {
        let fault = Fault::ALL.into_iter().find(|fault| *fault as i32 == report.errno);
        let what = fault.map_or_else(|| format!("fault {}", report.errno), |fault| format!("{fault:?}").to_lowercase());
        Error::Step(Box::new(StepFailure {
            errno: libc::EBADMSG,
            step: "plan",
            actor: "init",
            call: "read(plan)".into(),
            detail: format!("{what} at offset {}", report.value),
        }))
    }

    /// nsbox-init ended without a word: killed from outside, most likely.
    fn gone(&self) -> Error {
        let detail = match reap(&self.launch.pidfd, false) {
            Some(status) => match status.signal {
                Some(signal) => format!("nsbox-init was killed by signal {signal}"),
                None => format!("nsbox-init ended with status {}", status.code),
            },
            None => "nsbox-init closed the connection".to_string(),
        };
        Error::Step(Box::new(StepFailure {
            errno: libc::ECONNRESET,
            step: "init",
            actor: "init",
            call: "recvmsg(nsbox-init)".into(),
            detail,
        }))
    }
}

fn failure(plan: &Plan, step: u16, errno: i32, detail: String) -> Error {
    let step = plan.steps.get(usize::from(step)).unwrap_or(&plan.steps[usize::from(STEP_INIT)]);
    Error::Step(Box::new(StepFailure { errno, step: step.name, actor: step.actor.name(), call: step.call(), detail }))
}

/// One report, with what came along.
pub struct Message {
    /// What it is.
    pub kind: ReportKind,
    /// The record.
    pub report: Report,
    /// The sender's PID in our namespace.
    pub sender: i32,
    /// A descriptor that was attached.
    pub attached: Option<OwnedFd>,
}

/// The next report; `None` at the end of the connection. Does not block once the socket is readable.
pub fn receive(socket: &OwnedFd) -> Result<Option<Message>> {
    let mut bytes = [0; REPORT];
    let mut control = nix::cmsg_space!(libc::ucred, [RawFd; 1]);
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let (mut sender, mut attached) = (0, None);
    let length = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
        Ok(message) => {
            for control in message.cmsgs().map_err(os("recvmsg"))? {
                match control {
                    ControlMessageOwned::ScmCredentials(credentials) => sender = credentials.pid(),
                    ControlMessageOwned::ScmRights(fds) => {
                        for fd in fds {
                            // SAFETY: the kernel just made this descriptor for us.
                            attached = Some(unsafe { OwnedFd::from_raw_fd(fd) });
                        }
                    }
                    _ => {}
                }
            }
            message.bytes
        }
        Err(Errno::ECONNRESET) => 0,
        Err(errno) => return Err(Error::Os("recvmsg", errno as i32)),
    };
    if length != REPORT {
        return Ok(None);
    }
    Ok(Report::from_bytes(bytes).map(|(kind, report)| Message { kind, report, sender, attached }))
}

/// A pidfd of a process (pidfd_open(2)).
fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(last("pidfd_open"));
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// The number under which *this* /proc shows the process, which is another than ours when /proc belongs to an outer
/// PID namespace (proc_pid_fdinfo(5)).
fn proc_pid(pidfd: &impl AsFd) -> std::result::Result<i32, i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|&pid: &i32| pid > 0).ok_or(libc::ESRCH)
}

fn write_once(path: &str, bytes: &[u8]) -> std::result::Result<(), i32> {
    use std::io::Write;
    let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    let mut file = std::fs::File::options().write(true).open(path).map_err(errno)?;
    let written = file.write(bytes).map_err(errno)?;
    if written == bytes.len() { Ok(()) } else { Err(libc::EIO) }
}
