//! Making an nsbox-init: clone into the new namespaces, and exec it.
//!
//! Between the clone and the exec the child shares our memory while the calling thread is suspended, so it makes
//! nothing but raw system calls on what was prepared here: no allocation, no lock, no Python, no C library. That
//! makes it safe from a process with busy threads, and equally fast whatever the size of the heap.

use std::ffi::{CString, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nsbox_init::capabilities;
use nsbox_init::close_range::{Action, close_range};
use nsbox_init::vfork::{Born, Method, vfork};
use nsbox_init::wire::FILED;
use syscalls::{Sysno, raw_syscall, syscall};

use crate::channel::failure::{failure, not_prepared};
use crate::channel::sockets;
use crate::descriptors::above_stdio;
use crate::error::{Error, Result};
use crate::image::{self, Image};
use crate::pidfd::{self, reap, reap_given_up};
use crate::plan::plan::Plan;
use crate::signals::BlockedSignals;
use crate::step_name::StepName;

/// Size of the child's stack, in bytes: enough for [`exec_init`], which keeps its data elsewhere. It is a part of the
/// calling thread's stack: the allocator would return its memory each time, and the kernel make its pages anew.
const STACK: usize = 8 << 10;

/// An nsbox-init that has its plan.
pub struct NewInit {
    /// Its PID.
    pub pid: i32,
    /// A pidfd of it.
    pub pidfd: OwnedFd,
    /// Our end of the connection.
    pub socket: OwnedFd,
    /// The system call that made it.
    pub method: Method,
}

/// What the child uses. All of it outlives the call, during which the caller is suspended.
struct ExecInit<'a> {
    image: &'a Image,
    /// Our end of the connection. nsbox-init's end is in it, unreceived.
    socket: RawFd,
    argv: &'a [*const libc::c_char],
    keep: &'a [RawFd],
    close_fds: bool,
    carry_capabilities: bool,
    /// Whether it ends with the calling thread.
    dies_with_thread: bool,
    /// Why there is no exec; set by the child.
    failed: Option<NoExec>,
}

/// Why the child does not exec.
enum NoExec {
    /// Another thread has closed the image of nsbox-init.
    ImageClosed,
    /// Another thread has closed this descriptor, which is to be kept. The socket may have got its number.
    DescriptorClosed(RawFd),
    /// The socket could not be received.
    Receive(i32),
    /// The descriptors that are not kept could not be marked.
    NotClosed(i32),
    /// The exec itself failed.
    Exec(i32),
}

/// Send the plan, clone, and exec nsbox-init.
pub fn clone_init(plan: &Plan, encoded: &[u8]) -> Result<NewInit> {
    reap_given_up();
    let started = clone(plan, encoded);
    match (&started, &plan.cgroup) {
        (Ok(_), Some(cgroup)) => cgroup.close(),
        (Err(_), _) => plan.remove_cgroup(),
        _ => {}
    }
    started.map_err(|error| match error {
        Error::Os(name, errno) => not_prepared(name, errno),
        error => error,
    })
}

/// A caller at its limit of open descriptors may have as few free ones as `subprocess` needs: two, apart from pipes. So
/// our end of the socket is the only one that stays open: everything for nsbox-init is sent and closed at once, and waits
/// in the sockets. In our end is nsbox-init's end, which the child receives; in that are the lifeline and the plan.
fn clone(plan: &Plan, encoded: &[u8]) -> Result<NewInit> {
    // Before any descriptor is made here: it could get the number of one that the caller has closed.
    for &fd in &plan.keep {
        // SAFETY: plain numbers.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(closed(plan, fd));
        }
    }
    let (ours, theirs) = sockets::pair()?;
    sockets::send_small(&theirs, &[], &[theirs.as_raw_fd()])?;
    drop(theirs);
    send_plan(&ours, encoded)?;
    let number = CString::new(ours.as_raw_fd().to_string()).expect("digits");
    let argv = [c"nsbox-init".as_ptr(), number.as_ptr(), std::ptr::null()];
    loop {
        let image = image::init()?;
        let mut request = ExecInit {
            image: &image,
            socket: ours.as_raw_fd(),
            argv: &argv,
            keep: &plan.keep,
            close_fds: plan.close_fds,
            carry_capabilities: plan.carries_capabilities(),
            dies_with_thread: plan.is_look(),
            failed: None,
        };
        let mut stack = [const { MaybeUninit::uninit() }; STACK];
        let blocked = BlockedSignals::all();
        // SAFETY: all signals are blocked; `exec_init` makes only raw system calls on `request` and leaves by execveat
        // or exit_group; only it uses `stack`.
        let born = unsafe { vfork(plan.clone_flags(), &mut stack, exec_init, (&raw mut request).cast()) };
        drop(blocked);
        let Born { pid, pidfd, method } =
            born.map_err(|errno| failure(plan, plan.clone_step(), errno, String::new()))?;
        // SAFETY: a new descriptor, which nothing else owns.
        let pidfd = above_stdio(unsafe { OwnedFd::from_raw_fd(pidfd) })?;
        let Some(failed) = request.failed else { return Ok(NewInit { pid, pidfd, socket: ours, method }) };
        reap(&pidfd, true);
        match failed {
            NoExec::ImageClosed => {}
            NoExec::DescriptorClosed(fd) => return Err(closed(plan, fd)),
            NoExec::Receive(errno) => return Err(Error::Os("recvmsg(SCM_RIGHTS)", errno)),
            NoExec::NotClosed(errno) => return Err(failure(plan, plan.init_step(), errno, NOT_CLOSED.into())),
            NoExec::Exec(errno) => return Err(failure(plan, plan.init_step(), errno, String::new())),
        }
    }
}

/// Why there is no exec of nsbox-init if other calls than the exec are refused.
const NOT_CLOSED: &str =
    "close_range(2) is refused, and /proc/self/fd cannot be read: the caller's descriptors would be passed on";

/// Send nsbox-init the lifeline and the plan: together, or if the plan is too large, first the lifeline.
fn send_plan(socket: &OwnedFd, encoded: &[u8]) -> Result<()> {
    let lifeline = pidfd::open(std::process::id() as i32)?;
    if sockets::send(socket, encoded, &[lifeline.as_raw_fd()])? {
        return Ok(());
    }
    sockets::send_small(socket, &[FILED], &[lifeline.as_raw_fd()])?;
    drop(lifeline);
    sockets::send_in_file(socket, encoded, &[], &[])
}

/// The error for a descriptor that is to be kept, and is not open.
fn closed(plan: &Plan, fd: RawFd) -> Error {
    let step = plan.steps.iter().position(|step| step.name == StepName::Descriptors).unwrap_or_default();
    failure(plan, step as u16, libc::EBADF, format!("descriptor {fd}"))
}

/// The child, which shares the caller's memory.
unsafe extern "C" fn exec_init(data: *mut c_void) -> ! {
    // SAFETY: `clone_init` passed its own live `ExecInit` and is suspended.
    let request = unsafe { &mut *data.cast::<ExecInit<'_>>() };
    // SAFETY: in the child, as the caller demands.
    request.failed = Some(unsafe { try_exec_init(request) });
    loop {
        // SAFETY: leaves.
        unsafe { raw_syscall!(Sysno::exit_group, 127) };
    }
}

/// Exec nsbox-init; returns only if that fails.
///
/// # Safety
/// Only for the child of a vfork: the calls are raw system calls on prepared data, and the table of descriptors is the
/// child's own copy, which no other thread changes.
unsafe fn try_exec_init(request: &ExecInit<'_>) -> NoExec {
    if !request.image.is_open() {
        return NoExec::ImageClosed;
    }
    // SAFETY: this function's own contract.
    unsafe {
        if request.close_fds {
            // Descriptors of the caller that are not kept must not even reach nsbox-init.
            if let Err(errno) = close_range(3, i32::MAX, Action::CloseOnExec) {
                return NoExec::NotClosed(errno);
            }
        }
        for &fd in request.keep {
            if fd == request.socket || syscall!(Sysno::fcntl, fd, libc::F_SETFD, 0).is_err() {
                return NoExec::DescriptorClosed(fd);
            }
        }
        // nsbox-init's end takes the number of ours, which is in `argv`.
        let received = receive_descriptor(request.socket);
        if let Err(errno) = received.and_then(|fd| syscall!(Sysno::dup3, fd, request.socket, 0)) {
            return NoExec::Receive(errno.into_raw());
        }
        if request.dies_with_thread {
            // A refusal is no reason not to look.
            let _ = syscall!(Sysno::prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        }
        if request.carry_capabilities {
            capabilities::carry();
        }
        let (image, nothing) = (request.image.fd(), c"".as_ptr());
        let environment = [std::ptr::null::<libc::c_char>()];
        let (argv, environment) = (request.argv.as_ptr(), environment.as_ptr());
        match syscall!(Sysno::execveat, image, nothing, argv, environment, libc::AT_EMPTY_PATH) {
            Err(errno) => NoExec::Exec(errno.into_raw()),
            Ok(_) => NoExec::Exec(0),
        }
    }
}

/// Receive the descriptor that comes with a message, close-on-exec.
///
/// # Safety
/// Makes a single raw system call, so a vfork's child may call it.
unsafe fn receive_descriptor(socket: RawFd) -> std::result::Result<RawFd, syscalls::Errno> {
    // Room for it and, before it, the ids of the sender (SO_PASSCRED).
    let mut control = [0_u64; 8];
    // SAFETY: plain numbers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: writes into `control`; the kernel says in `message` how much of it is valid (cmsg(3)).
    unsafe {
        syscall!(Sysno::recvmsg, socket, &raw mut message, flags)?;
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if ((*header).cmsg_level, (*header).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                return Ok(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned());
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    // The kernel leaves it out when the limit of open descriptors is reached.
    Err(syscalls::Errno::EMFILE)
}
