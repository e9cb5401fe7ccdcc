//! Opening files that show the namespaces of the process that opens them: a new proc or mqueue, /proc/sysvipc.
//!
//! In other namespaces nsbox-init opens them (`init/src/look.rs`), and sends the descriptors. Nothing of the caller
//! enters there, neither its memory nor any descriptor. What is received is checked as if a program inside had sent it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nsbox_init::wire::{Failure, Report};

use crate::channel::report::{Message, receive};
use crate::descriptors::{Found, MQUEUE, PROC, found};
use crate::error::Error;
use crate::kinds::Kind;
use crate::pidfd::{reap, send_signal};
use crate::plan::facts::Facts;
use crate::plan::look::{Wanted, compile_look};
use crate::poll::{KILL_TIMEOUT, poll_readable, wait_bounded};
use crate::start::clone::{NewInit, clone_init};

/// How long a look may take. It only opens files of the kernel, but a program inside may have stopped it.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// The result: a descriptor or an errno.
pub type Opened = Result<OwnedFd, i32>;

/// Open `wanted` in the namespaces of the calling thread.
pub fn open_here<const N: usize>(wanted: [Wanted<'_>; N]) -> [Opened; N] {
    wanted.map(|wanted| match wanted {
        Wanted::File(path) => {
            let path = CString::new(format!("/proc/{path}")).map_err(|_| libc::EINVAL)?;
            // SAFETY: a C string and plain numbers.
            new(i64::from(unsafe { libc::open(path.as_ptr(), READ) }))
        }
        Wanted::Proc(namespace) => readable(&mount(c"proc", Some(namespace))?),
        Wanted::Queues => readable(&mount(c"mqueue", None)?),
    })
}

/// Open `wanted` after entering the namespaces `enter`, in this order.
///
/// # Errors
/// The errno of a step before the first that opens something; ETIMEDOUT or ECONNRESET when the look was stopped or
/// killed.
pub fn look<const N: usize>(
    enter: &[(Kind, RawFd)],
    wanted: [Wanted<'_>; N],
    facts: &Facts,
) -> Result<[Opened; N], i32> {
    let plan = compile_look(enter, &wanted, facts);
    let first = plan.steps.len() - N;
    let looker = clone_init(&plan, &plan.to_bytes()).map_err(errno)?;
    let mut opened = wanted.map(|_| Err(libc::EIO));
    let result = collect(&looker, |step, result| match step.checked_sub(first).filter(|place| *place < N) {
        Some(place) => {
            opened[place] = result.and_then(|fd| checked(fd, wanted[place]));
            Ok(())
        }
        None => result.map(drop),
    });
    // It ends by itself, unless it is stopped or we do not want the rest.
    let _ = send_signal(&looker.pidfd, libc::SIGKILL);
    if wait_bounded(&looker.pidfd, KILL_TIMEOUT) {
        reap(&looker.pidfd, false);
    }
    result.map(|()| opened)
}

/// Receive the reports of a look to the last one.
fn collect(looker: &NewInit, mut report: impl FnMut(usize, Opened) -> Result<(), i32>) -> Result<(), i32> {
    let deadline = Instant::now() + LOOK_TIMEOUT;
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        let ready = match poll_readable([looker.socket.as_raw_fd(), looker.pidfd.as_raw_fd()], Some(rest)) {
            Err(Error::Os(_, libc::EINTR)) => continue,
            ready => ready.map_err(errno)?,
        };
        match receive(&looker.socket).map_err(errno)? {
            // The kernel says who has sent a message.
            Some(Message { sender, .. }) if sender != looker.pid => {}
            Some(Message { report: Report::Performed { step, .. }, attached, .. }) => {
                report(step as usize, attached.ok_or(libc::EBADMSG))?;
            }
            Some(Message { report: Report::Failed(Failure { step, errno, .. }), .. }) => {
                report(step as usize, Err(errno))?;
            }
            Some(Message { report: Report::Done, .. }) => return Ok(()),
            Some(_) => return Err(libc::EBADMSG),
            None if rest.is_zero() => return Err(libc::ETIMEDOUT),
            None if ready.contains(&true) => return Err(libc::ECONNRESET),
            None => {}
        }
    }
}

fn errno(error: Error) -> i32 {
    match error {
        Error::Step(failed) => failed.errno,
        Error::Os(_, errno) => errno,
        _ => libc::EIO,
    }
}

/// Accept a received descriptor only if it is what was wanted, so that reading it can neither block nor run code of
/// other processes.
fn checked(fd: OwnedFd, wanted: Wanted<'_>) -> Opened {
    let Found { file_system, mode } = found(&fd)?;
    let expected = match wanted {
        Wanted::File(_) => (PROC, libc::S_IFREG),
        Wanted::Proc(_) => (PROC, libc::S_IFDIR),
        Wanted::Queues => (MQUEUE, libc::S_IFDIR),
    };
    match (wanted, (file_system, mode & libc::S_IFMT) == expected) {
        (_, false) => Err(libc::EBADMSG),
        (Wanted::File(_), true) => Ok(fd),
        (_, true) => readable(&fd),
    }
}

const READ: i32 = libc::O_RDONLY | libc::O_CLOEXEC;

/// Open a mount to be listed, which what fsmount(2) gives cannot be (O_PATH). It outlives the mount.
fn readable(mount: &OwnedFd) -> Opened {
    // SAFETY: a C string and plain numbers.
    new(i64::from(unsafe { libc::openat(mount.as_raw_fd(), c".".as_ptr(), READ | libc::O_DIRECTORY) }))
}

/// A file system that is mounted nowhere. The numbers are those of `linux/mount.h` (fsopen(2), fsconfig(2)).
fn mount(fstype: &CStr, pid_namespace: Option<RawFd>) -> Opened {
    const FSCONFIG_SET_FD: i32 = 5;
    const FSCONFIG_CMD_CREATE: i32 = 6;
    const CLOEXEC: i32 = 1;
    const MOUNT_ATTR_NOSUID_NODEV_NOEXEC: i32 = 2 | 4 | 8;
    let nothing = std::ptr::null::<u8>();
    // SAFETY: C strings, and plain numbers.
    unsafe {
        let context = new(libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), CLOEXEC))?;
        let context = context.as_raw_fd();
        if let Some(namespace) = pid_namespace {
            let key = c"pidns".as_ptr();
            done(libc::syscall(libc::SYS_fsconfig, context, FSCONFIG_SET_FD, key, nothing, namespace))?;
        }
        done(libc::syscall(libc::SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nothing, nothing, 0))?;
        new(libc::syscall(libc::SYS_fsmount, context, CLOEXEC, MOUNT_ATTR_NOSUID_NODEV_NOEXEC))
    }
}

fn done(result: i64) -> Result<i64, i32> {
    if result < 0 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)) } else { Ok(result) }
}

fn new(result: i64) -> Opened {
    // SAFETY: a new descriptor, which nothing else owns.
    done(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
