//! Work that may never end, done by a child of the caller.
//!
//! A process may serve the file system of a file that it has opened (fuse(4)), and need not reply. Then whoever uses
//! that file waits in the kernel, and not even SIGKILL ends the wait: if that were the caller, its boxes would not
//! notice its death, and the process that serves the file system would never end. So a child of the caller does it, and
//! is given up after a time. It enters no namespace. It shares our memory, so that it costs the same in a process of any
//! size, makes nothing but system calls, and has a table of descriptors of its own.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nsbox_init::vfork::vfork_unwatched;
use syscalls::{Sysno, raw_syscall};

use crate::pidfd::{children_are_elsewhere, give_up, reap, reap_given_up, send_signal};
use crate::poll::poll_readable;
use crate::signals::BlockedSignals;

/// How long the work may take.
const WORK_TIMEOUT: Duration = Duration::from_secs(15);
/// Size of the child's stack, in bytes.
const STACK: usize = 8 << 10;

/// Something to be done.
pub trait Work: 'static {
    /// The descriptor of the caller that it uses. The child has no other.
    fn uses(&self) -> Option<RawFd>;

    /// Do it: a descriptor, or an errno below zero.
    ///
    /// # Safety
    /// Safe for a child in shared memory: raw system calls only, and no panic.
    unsafe fn carry_out(&self) -> i32;
}

/// What the child uses. It is kept for ever if the child is given up.
struct Job<W> {
    work: W,
    socket: RawFd,
    errno: AtomicI32,
    stack: [MaybeUninit<u8>; STACK],
}

/// Let a child do the work, and return the descriptor that it has opened.
///
/// # Errors
/// The errno of the work; ETIMEDOUT if it does not end.
pub fn aside<W: Work>(work: W) -> Result<OwnedFd, i32> {
    if children_are_elsewhere() {
        // SAFETY: nothing but system calls on live data.
        let result = unsafe { work.carry_out() };
        // SAFETY: a new descriptor, which nothing else owns.
        return if result >= 0 { Ok(unsafe { OwnedFd::from_raw_fd(result) }) } else { Err(-result) };
    }
    reap_given_up();
    let (ours, theirs) = UnixStream::pair().map_err(|error| error.raw_os_error().unwrap_or(libc::EMFILE))?;
    let stack = [MaybeUninit::uninit(); STACK];
    let mut job = Box::new(Job { work, socket: theirs.as_raw_fd(), errno: AtomicI32::new(libc::EIO), stack });
    let job_of_child = (&raw mut *job).cast::<c_void>();
    let born = {
        let _blocked = BlockedSignals::all();
        // SAFETY: signals are blocked, `child` makes system calls only, and the job stays until the child has ended.
        unsafe { vfork_unwatched(0, true, &mut job.stack, child::<W>, job_of_child) }
    }?;
    // SAFETY: a new descriptor, which nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(born.pidfd) };
    drop(theirs);
    let deadline = Instant::now() + WORK_TIMEOUT;
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        match poll_readable([ours.as_raw_fd()], Some(rest)) {
            Ok([true]) => break,
            Ok([false]) if rest.is_zero() => {
                let _ = send_signal(&pidfd, libc::SIGKILL);
                std::mem::forget(job);
                give_up(&pidfd);
                return Err(libc::ETIMEDOUT);
            }
            // A signal: its handler runs later.
            Ok([false]) | Err(_) => {}
        }
    }
    let found = receive(&ours);
    reap(&pidfd, true);
    found.ok_or_else(|| job.errno.load(Ordering::Acquire))
}

/// The descriptor that the child has sent; `None` if it has ended without.
fn receive(socket: &UnixStream) -> Option<OwnedFd> {
    let (mut byte, mut control) = ([0], cmsg_space!([RawFd; 1]));
    let mut parts = [std::io::IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
    message.cmsgs().ok()?.find_map(|control| match control {
        // SAFETY: a new descriptor, which nothing else owns.
        ControlMessageOwned::ScmRights(fds) => fds.first().map(|&fd| unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => None,
    })
}

unsafe extern "C" fn child<W: Work>(data: *mut c_void) -> ! {
    // SAFETY: `aside` passed its own job, which stays.
    let job = unsafe { &*data.cast::<Job<W>>() };
    // A reader must not wait for the end of a pipe that stays open here.
    let used = job.work.uses().unwrap_or(job.socket);
    let (low, high) = (job.socket.min(used), job.socket.max(used));
    for (first, last) in [(0, low - 1), (low + 1, high - 1), (high + 1, i32::MAX)] {
        if first <= last {
            // SAFETY: plain numbers; this process has a table of its own.
            unsafe { raw_syscall!(Sysno::close_range, first, last, 0) };
        }
    }
    // SAFETY: nothing but system calls on live data.
    let result = unsafe { job.work.carry_out() };
    if result < 0 {
        job.errno.store(-result, Ordering::Release);
    } else {
        // SAFETY: live data; a failure shows as the end without a descriptor.
        unsafe { send(job.socket, result) };
    }
    loop {
        // SAFETY: ends this process only; it is alone in its thread group.
        unsafe { raw_syscall!(Sysno::exit_group, 0) };
    }
}

/// Send a descriptor with one byte (cmsg(3), unix(7)).
///
/// # Safety
/// As [`Work::carry_out`].
unsafe fn send(socket: RawFd, fd: RawFd) {
    #[repr(C)]
    struct Rights {
        header: libc::cmsghdr,
        fd: RawFd,
    }
    // SAFETY: plain numbers and pointers, for which zero is valid.
    let (mut header, mut message): (libc::cmsghdr, libc::msghdr) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<RawFd>()) as _;
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = libc::SCM_RIGHTS;
    let mut byte = [0_u8];
    let mut rights = Rights { header, fd };
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut rights).cast();
    message.msg_controllen = size_of::<Rights>() as _;
    // SAFETY: a live message.
    unsafe { raw_syscall!(Sysno::sendmsg, socket, &raw const message, libc::MSG_NOSIGNAL) };
}
