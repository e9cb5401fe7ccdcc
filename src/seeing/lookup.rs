//! Opening a path in the root of another process.
//!
//! That process may serve the file system to which the path leads (fuse(4)), and need not reply. Then whoever looks the
//! path up waits in the kernel, and not even SIGKILL ends the wait: if that were the caller, its boxes would not notice
//! its death, and the process that serves the file system would never end. So a child of the caller looks the path up,
//! and is given up after a time. It enters no namespace. It shares our memory, so that it costs the same in a process
//! of any size, makes nothing but system calls, and has a table of descriptors of its own.

use std::ffi::{CStr, CString, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nsbox_init::vfork::vfork_unwatched;
use syscalls::{Sysno, raw_syscall, syscall};

use crate::pidfd::{children_are_elsewhere, give_up, reap, reap_given_up, send_signal};
use crate::poll::poll_readable;
use crate::signals::BlockedSignals;

/// How long a lookup may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);
/// Size of the child's stack, in bytes.
const STACK: usize = 8 << 10;

/// What is opened.
struct Wanted {
    /// A proc, and the root of a process in it.
    proc: RawFd,
    root: CString,
    path: CString,
    how: libc::open_how,
    /// The number of its file system (statfs(2)).
    magic: Option<i64>,
}

/// What the child uses. It is kept for ever if the child is given up.
struct Job {
    wanted: Wanted,
    socket: RawFd,
    errno: AtomicI32,
    stack: [MaybeUninit<u8>; STACK],
}

/// In a proc, open `path` as its process `pid` finds it. Links on the way lead where they lead for that process
/// (openat2(2), RESOLVE_IN_ROOT), but no link of /proc that is no path leads anywhere. A file of another file system
/// than that with the number `magic` is refused (ENOENT).
///
/// # Errors
/// An errno; ETIMEDOUT if the file system does not reply.
pub fn open_in_root_of(
    proc: &impl AsRawFd,
    pid: i32,
    path: &CStr,
    flags: libc::c_int,
    magic: Option<i64>,
) -> Result<OwnedFd, i32> {
    // SAFETY: plain numbers, for which zero is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    let root = CString::new(format!("{pid}/root")).map_err(|_| libc::EINVAL)?;
    let wanted = Wanted { proc: proc.as_raw_fd(), root, path: path.to_owned(), how, magic };
    if children_are_elsewhere() {
        // SAFETY: nothing but system calls on live data.
        let result = unsafe { carry_out(&wanted) };
        // SAFETY: a new descriptor, which nothing else owns.
        return if result >= 0 { Ok(unsafe { OwnedFd::from_raw_fd(result) }) } else { Err(-result) };
    }
    in_child(wanted)
}

fn in_child(wanted: Wanted) -> Result<OwnedFd, i32> {
    reap_given_up();
    let (ours, theirs) = UnixStream::pair().map_err(|error| error.raw_os_error().unwrap_or(libc::EMFILE))?;
    let stack = [MaybeUninit::uninit(); STACK];
    let mut job = Box::new(Job { wanted, socket: theirs.as_raw_fd(), errno: AtomicI32::new(libc::EIO), stack });
    let job_of_child = (&raw mut *job).cast::<c_void>();
    let born = {
        let _blocked = BlockedSignals::all();
        // SAFETY: signals are blocked, `child` makes system calls only, and the job stays until the child has ended.
        unsafe { vfork_unwatched(0, true, &mut job.stack, child, job_of_child) }
    }?;
    // SAFETY: a new descriptor, which nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(born.pidfd) };
    drop(theirs);
    let deadline = Instant::now() + LOOKUP_TIMEOUT;
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

unsafe extern "C" fn child(data: *mut c_void) -> ! {
    // SAFETY: `in_child` passed its own job, which stays.
    let job = unsafe { &*data.cast::<Job>() };
    // A reader must not wait for the end of a pipe that stays open here.
    let (low, high) = (job.socket.min(job.wanted.proc), job.socket.max(job.wanted.proc));
    for (first, last) in [(0, low - 1), (low + 1, high - 1), (high + 1, i32::MAX)] {
        if first <= last {
            // SAFETY: plain numbers; this process has a table of its own.
            unsafe { raw_syscall!(Sysno::close_range, first, last, 0) };
        }
    }
    // SAFETY: nothing but system calls on live data.
    let result = unsafe { carry_out(&job.wanted) };
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

/// A descriptor, or an errno below zero.
///
/// # Safety
/// Safe for a child in shared memory: raw system calls only.
unsafe fn carry_out(wanted: &Wanted) -> i32 {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: C strings and structures of the right size.
    unsafe {
        let root = raw_syscall!(Sysno::openat, wanted.proc, wanted.root.as_ptr(), flags) as i32;
        if root < 0 {
            return root;
        }
        let (path, how) = (wanted.path.as_ptr(), &raw const wanted.how);
        let found = raw_syscall!(Sysno::openat2, root, path, how, size_of::<libc::open_how>()) as i32;
        raw_syscall!(Sysno::close, root);
        let Some(magic) = wanted.magic.filter(|_| found >= 0) else { return found };
        let mut status = [0_i64; 32];
        let asked = syscall!(Sysno::fstatfs, found, status.as_mut_ptr());
        if asked.is_err() || status[0] != magic {
            raw_syscall!(Sysno::close, found);
            return -libc::ENOENT;
        }
        found
    }
}

/// Send a descriptor with one byte (cmsg(3), unix(7)).
///
/// # Safety
/// As [`carry_out`].
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
