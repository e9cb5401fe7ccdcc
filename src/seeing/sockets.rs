//! The network namespaces of sockets that other processes have opened (SIOCGSKNS).
//!
//! A copy of the descriptor is needed (pidfd_getfd(2)). The process may have opened another file with that number in
//! the meantime, and closing even a copy of a file can mean a wait for a process that serves its file system. So a
//! child of the caller makes the copies.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pyo3::prelude::*;
use syscalls::{Sysno, raw_syscall};

use crate::error::{Error, Result};
use crate::pidfd;
use crate::seeing::aside::{Work, aside};

/// linux/sockios.h.
const SIOCGSKNS: u64 = 0x894c;
/// How many processes may prevent an answer, before the questions about others are given up, too.
const MAX_STUCK: usize = 3;

/// A socket of a process.
#[derive(Debug)]
pub struct Socket {
    /// The PID of the process, in the PID namespace of the caller.
    pub pid: i32,
    /// The number of the descriptor.
    pub fd: i32,
    /// The inode number of the socket.
    pub inode: u64,
}

/// The inode numbers of the network namespaces of sockets, those of a process one after the other. Nothing without the
/// permission to trace the process (ptrace(2)), and without CAP_NET_ADMIN over the network namespace.
pub fn namespaces_of(sockets: Vec<Socket>) -> Vec<Option<u64>> {
    let ids = sockets.iter().map(|_| AtomicU64::new(0)).collect();
    let questions = Arc::new(Questions { sockets, ids, at: AtomicUsize::new(0) });
    for _ in 0..MAX_STUCK {
        if aside(Arc::clone(&questions)).err() != Some(libc::ETIMEDOUT) {
            break;
        }
        // That process is left out.
        let at = questions.at.load(Ordering::Acquire);
        let stuck = questions.sockets.get(at).map(|socket| socket.pid);
        let rest = questions.sockets.iter().skip(at).take_while(|socket| Some(socket.pid) == stuck).count();
        questions.at.store(at + rest, Ordering::Release);
    }
    questions.ids.iter().map(|id| Some(id.load(Ordering::Acquire)).filter(|id| *id != 0)).collect()
}

/// Open the network namespace of a socket of a process of the caller's PID namespace.
///
/// # Errors
/// As for [`open_namespace_by`]; ESRCH without such a process.
pub fn open_namespace_of(pid: i32, fd: i32) -> std::result::Result<OwnedFd, i32> {
    let process = pidfd::open(pid).map_err(|_| libc::ESRCH)?;
    open_namespace_by(process.as_raw_fd(), fd)
}

/// Open the network namespace of a socket of the process of a pidfd.
///
/// # Errors
/// An errno: EBADF if the process has no such descriptor, ENOTSOCK if that is no socket, EPERM without the permission to
/// trace the process or without CAP_NET_ADMIN over the network namespace.
pub fn open_namespace_by(pidfd: RawFd, fd: i32) -> std::result::Result<OwnedFd, i32> {
    aside(Question { pidfd, fd })
}

/// Open the network namespace of a socket of the process of a pidfd: `fd` is its number there. Returned is a descriptor.
///
/// EBADF: the process has no such descriptor. ENOTSOCK: it is no socket. EPERM: the caller may not trace the process
/// (ptrace(2)), or has no CAP_NET_ADMIN over the network namespace.
#[pyfunction]
pub fn open_socket_namespace(py: Python<'_>, pidfd: RawFd, fd: i32) -> Result<RawFd> {
    py.detach(|| open_namespace_by(pidfd, fd))
        .map(IntoRawFd::into_raw_fd)
        .map_err(|errno| Error::Os("pidfd_getfd", errno))
}

struct Question {
    pidfd: RawFd,
    fd: i32,
}

impl Work for Question {
    fn uses(&self) -> Option<RawFd> {
        Some(self.pidfd)
    }

    unsafe fn carry_out(&self) -> i32 {
        // SAFETY: the same promise.
        unsafe { namespace(self.pidfd, self.fd, None) }
    }
}

/// Many questions, with room for the answers, which stay after a child that was given up.
struct Questions {
    sockets: Vec<Socket>,
    ids: Vec<AtomicU64>,
    /// The number of the question that is being asked.
    at: AtomicUsize,
}

impl Work for Arc<Questions> {
    fn uses(&self) -> Option<RawFd> {
        None
    }

    unsafe fn carry_out(&self) -> i32 {
        let (mut pid, mut pidfd) = (0, -1);
        let first = self.at.load(Ordering::Acquire);
        for (number, (socket, id)) in self.sockets.iter().zip(&self.ids).enumerate().skip(first) {
            self.at.store(number, Ordering::Release);
            // SAFETY: plain numbers.
            unsafe {
                if socket.pid != pid {
                    if pidfd >= 0 {
                        raw_syscall!(Sysno::close, pidfd);
                    }
                    (pid, pidfd) = (socket.pid, raw_syscall!(Sysno::pidfd_open, socket.pid, 0) as i32);
                }
                if pidfd < 0 {
                    continue;
                }
                let found = namespace(pidfd, socket.fd, Some(socket.inode));
                if found >= 0 {
                    let inode = status_of(found).map_or(0, |(_, inode)| inode);
                    raw_syscall!(Sysno::close, found);
                    id.store(inode, Ordering::Release);
                }
            }
        }
        // All answers are in the memory.
        -libc::ENODATA
    }
}

/// The network namespace of a socket, if it has the inode number `expected`: a descriptor, or an errno below zero.
///
/// # Safety
/// As [`Work::carry_out`].
unsafe fn namespace(pidfd: RawFd, fd: i32, expected: Option<u64>) -> i32 {
    // SAFETY: plain numbers.
    unsafe {
        let socket = raw_syscall!(Sysno::pidfd_getfd, pidfd, fd, 0) as i32;
        if socket < 0 {
            return socket;
        }
        let result = match status_of(socket) {
            Err(errno) => errno,
            Ok((mode, _)) if mode & libc::S_IFMT != libc::S_IFSOCK => -libc::ENOTSOCK,
            Ok((_, inode)) if expected.is_some_and(|expected| expected != inode) => -libc::ESTALE,
            Ok(_) => raw_syscall!(Sysno::ioctl, socket, SIOCGSKNS) as i32,
        };
        raw_syscall!(Sysno::close, socket);
        result
    }
}

/// The mode and the inode number of an open file; its file system is not asked (statx(2), AT_STATX_DONT_SYNC).
///
/// # Safety
/// As [`Work::carry_out`].
unsafe fn status_of(fd: RawFd) -> std::result::Result<(libc::mode_t, u64), i32> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: plain numbers, for which zero is valid; writes the structure it is given.
    unsafe {
        let mut status: libc::statx = std::mem::zeroed();
        let result = raw_syscall!(Sysno::statx, fd, c"".as_ptr(), flags, 0, &raw mut status) as i32;
        if result < 0 { Err(result) } else { Ok((libc::mode_t::from(status.stx_mode), status.stx_ino)) }
    }
}
