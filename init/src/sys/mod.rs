//! The system calls init makes, one thin wrapper each. Errors are plain error numbers.
//!
//! `syscalls` makes the calls and `linux-raw-sys` names the kernel's numbers and structures; nothing is linked.

use core::ffi::CStr;
use core::mem::size_of;
use linux_raw_sys::general as k;
use linux_raw_sys::{errno, ioctl, net, prctl};
use nsbox_init::wire::MOST_DESCRIPTORS;
use syscalls::{Sysno, syscall};

/// An error number (errno(3)).
pub type Errno = i32;
/// What every wrapper returns.
pub type Result<T> = core::result::Result<T, Errno>;

/// The error numbers init itself tells apart.
pub const EIO: Errno = errno::EIO as Errno;
pub const ENOENT: Errno = errno::ENOENT as Errno;
pub const ENOTDIR: Errno = errno::ENOTDIR as Errno;
pub const EBUSY: Errno = errno::EBUSY as Errno;
pub const EAGAIN: Errno = errno::EAGAIN as Errno;
pub const EPERM: Errno = errno::EPERM as Errno;
pub const EINVAL: Errno = errno::EINVAL as Errno;
pub const ECONNRESET: Errno = errno::ECONNRESET as Errno;
pub const EXDEV: Errno = errno::EXDEV as Errno;
pub const ETIMEDOUT: Errno = errno::ETIMEDOUT as Errno;

/// CLOSE_RANGE_CLOEXEC (close_range(2)).
const CLOSE_RANGE_CLOEXEC: usize = 4;
/// Missing from linux-raw-sys (unix(7)).
const SCM_CREDENTIALS: u32 = 2;
/// The kernel's sigset_t is 64 bits on every architecture nsbox runs on.
const SIGSET: usize = size_of::<u64>();

macro_rules! call {
    ($name:ident $(, $argument:expr)* $(,)?) => {
        // SAFETY: each caller below passes pointers to live memory of the size the kernel expects.
        unsafe { syscall!(Sysno::$name $(, $argument)*) }.map_err(|error| error.into_raw())
    };
}

pub fn exit(status: i32) -> ! {
    loop {
        let _ = call!(exit_group, status);
    }
}

pub fn close(fd: i32) {
    let _ = call!(close, fd);
}

pub fn set_cloexec(fd: i32, on: bool) {
    let _ = call!(fcntl, fd, k::F_SETFD, if on { k::FD_CLOEXEC } else { 0 });
}

/// The descriptor must exist: unlike [`set_cloexec`], tells when it does not.
pub fn keep_over_exec(fd: i32) -> Result<()> {
    call!(fcntl, fd, k::F_SETFD, 0).map(drop)
}

/// A duplicate numbered at least `least`.
pub fn duplicate_above(fd: i32, least: i32) -> Result<i32> {
    call!(fcntl, fd, k::F_DUPFD_CLOEXEC, least).map(|fd| fd as i32)
}

pub fn duplicate_to(fd: i32, to: i32, cloexec: bool) -> Result<()> {
    call!(dup3, fd, to, if cloexec { k::O_CLOEXEC } else { 0 }).map(drop)
}

pub fn close_range(first: i32, last: i32) {
    let _ = call!(close_range, first, last, 0);
}

pub fn cloexec_from(least: i32) -> Result<()> {
    call!(close_range, least, u32::MAX, CLOSE_RANGE_CLOEXEC).map(drop)
}

pub fn set_name(name: &CStr) {
    let _ = call!(prctl, prctl::PR_SET_NAME, name.as_ptr());
}

pub fn set_dumpable(dumpable: bool) {
    let _ = call!(prctl, prctl::PR_SET_DUMPABLE, usize::from(dumpable), 0, 0, 0);
}

pub fn become_subreaper() -> Result<()> {
    call!(prctl, prctl::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0).map(drop)
}

/// SIGKILL when the parent's thread ends (PR_SET_PDEATHSIG(2const)): for children of nsbox-init, which has only one.
pub fn die_with_parent() {
    let _ = call!(prctl, prctl::PR_SET_PDEATHSIG, k::SIGKILL, 0, 0, 0);
}

/// Whether the next change of user keeps the permitted capabilities (capabilities(7)).
pub fn keep_permitted(keep: bool) -> Result<()> {
    call!(prctl, prctl::PR_SET_KEEPCAPS, usize::from(keep), 0, 0, 0).map(drop)
}

pub fn set_no_new_privs() -> Result<()> {
    call!(prctl, prctl::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).map(drop)
}

/// The whole file, readable, at an address of the kernel's choice.
pub fn map_file(fd: i32) -> Result<&'static [u8]> {
    let length = call!(lseek, fd, 0, k::SEEK_END)?;
    if length == 0 {
        return Ok(&[]);
    }
    let start = call!(mmap, 0, length, k::PROT_READ, k::MAP_PRIVATE, fd, 0)?;
    // SAFETY: a fresh mapping of that length, never unmapped; the file is sealed, so it cannot shrink.
    Ok(unsafe { core::slice::from_raw_parts(start as *const u8, length) })
}

/// One message, which is there already (recv(2)), and the descriptors that came with it: as many as `rights` has room
/// for, the others are closed by the kernel. Empty at the end of the connection.
pub fn receive(socket: i32, rights: &mut Rights) -> Result<&'static mut [u8]> {
    let none = core::ptr::null_mut::<u8>();
    let length = call!(recvfrom, socket, none, 0, net::MSG_PEEK | net::MSG_TRUNC | net::MSG_DONTWAIT, 0, 0)?;
    let memory = map_memory(length.max(1), false)?;
    let part = k::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: memory.len() as _ };
    let mut message = net::msghdr {
        msg_name: core::ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: (&raw const part) as *mut _,
        msg_iovlen: 1,
        msg_control: (&raw mut rights.header).cast(),
        msg_controllen: size_of::<Rights>() as _,
        msg_flags: 0,
    };
    rights.header.cmsg_len = 0;
    let flags = net::MSG_DONTWAIT | net::MSG_CMSG_CLOEXEC;
    let result = call!(recvmsg, socket, &raw mut message, flags);
    if message.msg_controllen == 0 {
        rights.header.cmsg_len = 0;
    }
    match result {
        Ok(length) => Ok(&mut memory[..length]),
        Err(errno) => {
            unmap(memory);
            Err(errno)
        }
    }
}

/// Descriptors that come with a message: a control message of the kind SCM_RIGHTS, alone (cmsg(3), unix(7)).
#[repr(C)]
pub struct Rights {
    header: net::cmsghdr,
    fds: [i32; MOST_DESCRIPTORS + 1],
}

impl Rights {
    /// Room for as many as there can be.
    pub fn new() -> Self {
        let header = net::cmsghdr { cmsg_len: 0, cmsg_level: 0, cmsg_type: 0 };
        Rights { header, fds: [-1; MOST_DESCRIPTORS + 1] }
    }

    /// Those that came.
    pub fn fds(&self) -> &[i32] {
        let header = size_of::<net::cmsghdr>();
        let length = self.header.cmsg_len.saturating_sub(header) / size_of::<i32>();
        let ours = self.header.cmsg_type == net::SCM_RIGHTS as i32;
        let count = if ours { length.min(MOST_DESCRIPTORS) } else { 0 };
        &self.fds[..count]
    }
}

/// Zeroed memory. Shared memory is seen by a forked child and by us alike.
pub fn map_memory(length: usize, shared: bool) -> Result<&'static mut [u8]> {
    let kind = k::MAP_ANONYMOUS | if shared { k::MAP_SHARED } else { k::MAP_PRIVATE };
    let start = call!(mmap, 0, length, k::PROT_READ | k::PROT_WRITE, kind, -1_i32, 0)?;
    // SAFETY: a fresh private mapping of that length, never unmapped.
    Ok(unsafe { core::slice::from_raw_parts_mut(start as *mut u8, length) })
}

/// Give memory back to the kernel: the whole of a mapping that [`map_memory`] or [`map_file`] made, and nobody uses.
pub fn unmap(memory: &'static [u8]) {
    let _ = call!(munmap, memory.as_ptr(), memory.len());
}

pub fn open(path: *const u8, flags: u32) -> Result<i32> {
    open_at(k::AT_FDCWD, path, flags)
}

pub fn open_at(directory: i32, path: *const u8, flags: u32) -> Result<i32> {
    call!(openat, directory, path, flags | k::O_CLOEXEC, 0).map(|fd| fd as i32)
}

/// How often the kernel is asked again when directories were moved while it looked for a path among them (openat2(2)).
pub const ATTEMPTS: usize = 1000;

/// A file below `directory`, on the very mount that is: EXDEV if the path crosses another one (openat2(2)).
pub fn open_here(directory: i32, path: &[u8], flags: u32) -> Result<i32> {
    let how = k::open_how {
        flags: u64::from(flags | k::O_CLOEXEC),
        mode: 0,
        resolve: u64::from(k::RESOLVE_BENEATH | k::RESOLVE_NO_XDEV),
    };
    let mut found = Err(EAGAIN);
    for _ in 0..ATTEMPTS {
        found = call!(openat2, directory, path.as_ptr(), &raw const how, size_of::<k::open_how>());
        if found != Err(EAGAIN) {
            break;
        }
    }
    found.map(|fd| fd as i32)
}

/// Open a file without waiting, be it a FIFO whose other end nobody opens (fifo(7)), or a terminal.
pub fn open_at_once(path: *const u8, flags: u32) -> Result<i32> {
    open(path, flags | k::O_NONBLOCK | k::O_NOCTTY)
}

/// Reads and writes wait, as they do unless something else was asked for.
pub fn let_wait(fd: i32) {
    let _ = call!(fcntl, fd, k::F_SETFL, 0);
}

/// Whether the file is one of procfs (fstatfs(2)).
pub fn is_proc(fd: i32) -> bool {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    let mut status = [0_i64; 32];
    call!(fstatfs, fd, status.as_mut_ptr()).is_ok() && status[0] == PROC_SUPER_MAGIC
}

pub fn write(fd: i32, bytes: &[u8]) -> Result<usize> {
    call!(write, fd, bytes.as_ptr(), bytes.len())
}

pub fn read(fd: i32, into: &mut [u8]) -> Result<usize> {
    call!(read, fd, into.as_mut_ptr(), into.len())
}

pub fn read_at(fd: i32, into: &mut [u8], offset: usize) -> Result<usize> {
    call!(pread64, fd, into.as_mut_ptr(), into.len(), offset)
}

pub fn chdir(path: *const u8) -> Result<()> {
    call!(chdir, path).map(drop)
}

pub fn fchdir(directory: i32) -> Result<()> {
    call!(fchdir, directory).map(drop)
}

pub fn remove_directory(parent: i32, name: &[u8]) -> Result<()> {
    call!(unlinkat, parent, name.as_ptr(), k::AT_REMOVEDIR).map(drop)
}

pub fn chroot(path: *const u8) -> Result<()> {
    call!(chroot, path).map(drop)
}

pub fn umask(mask: u32) {
    let _ = call!(umask, mask);
}

pub fn getpid() -> i32 {
    call!(getpid).unwrap_or(0) as i32
}

/// Whether our user has a number in our user namespace; if not, it is shown as the overflow uid (user_namespaces(7)).
pub fn is_mapped() -> bool {
    const OVERFLOW: usize = 65534;
    call!(getuid) != Ok(OVERFLOW) && call!(getgid) != Ok(OVERFLOW)
}

pub fn setsid() -> Result<()> {
    call!(setsid).map(drop)
}

pub fn setpgid(group: i32) -> Result<()> {
    call!(setpgid, 0, group).map(drop)
}

/// The wire packs the numbers as the kernel wants them; it does not align them, and the kernel does not mind.
pub fn setgroups(packed: &[u8]) -> Result<()> {
    call!(setgroups, packed.len() / 4, packed.as_ptr()).map(drop)
}

pub fn setgid(id: u32) -> Result<()> {
    call!(setresgid, id, id, id).map(drop)
}

pub fn setuid(id: u32) -> Result<()> {
    call!(setresuid, id, id, id).map(drop)
}

/// The soft and the hard limit of our own (prlimit(2)).
pub fn limit(resource: u32, limits: [u64; 2]) -> Result<()> {
    call!(prlimit64, 0, resource, limits.as_ptr(), 0).map(drop)
}

pub fn unshare(flags: u64) -> Result<()> {
    call!(unshare, flags).map(drop)
}

pub fn setns(fd: i32, flags: u64) -> Result<()> {
    call!(setns, fd, flags).map(drop)
}

/// A child with a copy of our memory: its PID and a pidfd of it, or nothing in the child itself. clone(2) knows all
/// CLONE_NEW* but CLONE_NEWTIME; its first three arguments are the same on every machine.
pub fn fork(flags: u64) -> Result<Option<(i32, i32)>> {
    let mut pidfd = -1_i32;
    let flags = flags | u64::from(k::CLONE_PIDFD) | u64::from(k::SIGCHLD);
    let pid = call!(clone, flags, 0, &raw mut pidfd, 0, 0)? as i32;
    Ok((pid != 0).then_some((pid, pidfd)))
}

/// `None` is a NULL pointer.
pub fn mount(source: Option<&[u8]>, target: &[u8], fstype: Option<&[u8]>, flags: u64) -> Result<()> {
    let pointer = |text: Option<&[u8]>| text.map_or(core::ptr::null(), <[u8]>::as_ptr);
    call!(mount, pointer(source), target.as_ptr(), pointer(fstype), flags, 0).map(drop)
}

pub fn unmount(target: &[u8], flags: u32) -> Result<()> {
    call!(umount2, target.as_ptr(), flags).map(drop)
}

/// A proc for our PID namespace that is mounted nowhere.
pub fn detached_proc() -> Result<i32> {
    detached(c"proc".to_bytes_with_nul())
}

/// A file system of this type, for our namespaces, that is mounted nowhere (fsopen(2), fsmount(2)).
pub fn detached(fstype: &[u8]) -> Result<i32> {
    const FSOPEN_CLOEXEC: usize = 1;
    const FSCONFIG_CMD_CREATE: usize = 6;
    const FSMOUNT_CLOEXEC: usize = 1;
    let context = call!(fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC)? as i32;
    let made = call!(fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
    let mount = made.and_then(|_| call!(fsmount, context, FSMOUNT_CLOEXEC, 0));
    close(context);
    mount.map(|fd| fd as i32)
}

pub fn sethostname(name: &[u8]) -> Result<()> {
    call!(sethostname, name.as_ptr(), name.len()).map(drop)
}

pub fn setdomainname(name: &[u8]) -> Result<()> {
    call!(setdomainname, name.as_ptr(), name.len()).map(drop)
}

/// socket(2): it belongs to our network namespace, whoever uses it.
pub fn socket(family: i32, kind: i32, protocol: i32) -> Result<i32> {
    call!(socket, family, kind | k::O_CLOEXEC as i32, protocol).map(|fd| fd as i32)
}

/// Set the flag that `ip link set lo up` sets (netdevice(7)); the kernel adds 127.0.0.1 and ::1 by itself.
pub fn loopback_up() -> Result<()> {
    /// The part of `struct ifreq` that SIOCSIFFLAGS reads, and its full size.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: i16,
        rest: [u8; 22],
    }
    let mut request = Request { name: [0; 16], flags: net::net_device_flags::IFF_UP as i16, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    let socket = call!(socket, net::AF_INET, net::SOCK_DGRAM | k::O_CLOEXEC, 0)? as i32;
    let result = call!(ioctl, socket, ioctl::SIOCSIFFLAGS, &raw const request).map(drop);
    close(socket);
    result
}

/// Make standard input the controlling terminal of this session (ioctl_tty(2)).
pub fn take_terminal() -> Result<()> {
    call!(ioctl, 0, ioctl::TIOCSCTTY, 0).map(drop)
}

/// Make the inheritable and ambient capability sets these, as far as the permitted set allows (capabilities(7)).
pub fn set_capabilities(inheritable: u64, ambient: u64) -> Result<()> {
    let header = k::__user_cap_header_struct { version: k::_LINUX_CAPABILITY_VERSION_3, pid: 0 };
    let none = k::__user_cap_data_struct { effective: 0, permitted: 0, inheritable: 0 };
    let mut data = [none; 2];
    call!(capget, &raw const header, data.as_mut_ptr())?;
    for (index, half) in data.iter_mut().enumerate() {
        half.inheritable = (inheritable >> (32 * index)) as u32 & (half.inheritable | half.permitted);
    }
    call!(capset, &raw const header, data.as_ptr())?;
    for capability in 0..64_u64 {
        let how =
            if ambient & (1 << capability) != 0 { prctl::PR_CAP_AMBIENT_RAISE } else { prctl::PR_CAP_AMBIENT_LOWER };
        // Refused for numbers beyond the last capability and for what is not permitted; both are as they should be.
        let _ = call!(prctl, prctl::PR_CAP_AMBIENT, how, capability, 0, 0);
    }
    Ok(())
}

/// The kernel's `struct sigaction`: handler, flags, restorer, mask.
pub type Sigaction = [u64; 4];
/// SIG_DFL, no flags.
pub const DEFAULT: Sigaction = [0; 4];

/// Replace the disposition of `signal` and return the old one.
pub fn sigaction(signal: u32, new: &Sigaction) -> Sigaction {
    let mut old = DEFAULT;
    let _ = call!(rt_sigaction, signal, new.as_ptr(), old.as_mut_ptr(), SIGSET);
    old
}

pub fn set_signal_mask(mask: u64) {
    let _ = call!(rt_sigprocmask, k::SIG_SETMASK, &raw const mask, 0, SIGSET);
}

/// A descriptor from which every pending signal can be read (signalfd(2)).
pub fn signal_fd() -> Result<i32> {
    let all = u64::MAX;
    call!(signalfd4, -1_i32, &raw const all, SIGSET, k::O_NONBLOCK | k::O_CLOEXEC).map(|fd| fd as i32)
}

/// The next pending signal's number (struct signalfd_siginfo begins with it).
pub fn read_signal(fd: i32) -> Result<u32> {
    let mut info = [0_u32; 32];
    call!(read, fd, info.as_mut_ptr(), size_of::<[u32; 32]>())?;
    Ok(info[0])
}

pub fn pidfd_open(pid: i32) -> Result<i32> {
    call!(pidfd_open, pid, 0).map(|fd| fd as i32)
}

/// `process` is a pidfd or a directory of /proc.
pub fn signal_process(process: i32, signal: u32) -> Result<()> {
    call!(pidfd_send_signal, process, signal, 0, 0).map(drop)
}

/// The same, to a process that may be gone.
pub fn pidfd_send_signal(pidfd: i32, signal: u32) {
    let _ = signal_process(pidfd, signal);
}

/// The child that ended, its wait status and what it used: `Ok(None)` when none has ended yet.
pub fn wait(pid: i32, rusage: &mut [i64; 18], block: bool) -> Result<Option<(i32, i32)>> {
    let mut status = 0_i32;
    let options = if block { 0 } else { k::WNOHANG };
    let pid = call!(wait4, pid, &raw mut status, options, rusage.as_mut_ptr())? as i32;
    Ok((pid != 0).then_some((pid, status)))
}

/// Whether a child has been stopped since this was last asked (waitid(2)).
pub fn has_stopped(pidfd: i32) -> bool {
    const P_PIDFD: usize = 3;
    /// The PID is the fourth word behind the padding of `siginfo_t`: zero if there was nothing to tell.
    const PID: usize = 4;
    let mut info = [0_u32; 32];
    let asked = call!(waitid, P_PIDFD, pidfd, info.as_mut_ptr(), k::WSTOPPED | k::WNOHANG, 0);
    asked.is_ok() && info[PID] != 0
}

/// Returns the events of each descriptor; a negative descriptor is left out.
pub fn poll<const N: usize>(fds: [i32; N], milliseconds: Option<u32>) -> Result<[bool; N]> {
    let mut polled = fds.map(|fd| k::pollfd { fd, events: k::POLLIN as i16, revents: 0 });
    let timeout = k::__kernel_timespec {
        tv_sec: i64::from(milliseconds.unwrap_or(0) / 1000),
        tv_nsec: i64::from(milliseconds.unwrap_or(0) % 1000) * 1_000_000,
    };
    let timeout = if milliseconds.is_some() { &raw const timeout } else { core::ptr::null() };
    call!(ppoll, polled.as_mut_ptr(), N, timeout, 0, 0)?;
    Ok(polled.map(|one| one.revents != 0))
}

/// What goes with a record (unix(7), SCM_RIGHTS and SCM_CREDENTIALS).
#[derive(Clone, Copy)]
pub struct Attached {
    /// A descriptor.
    pub fd: i32,
    /// In whose name it is sent: a process of our own namespace, whose number the kernel translates for the receiver.
    /// Naming another than ourselves takes CAP_SYS_ADMIN over the PID namespace.
    pub sender: Option<i32>,
}

/// Send one record.
pub fn send(socket: i32, bytes: &[u8], attached: Option<Attached>) -> Result<()> {
    #[repr(C)]
    struct Control {
        rights: net::cmsghdr,
        fd: i32,
        padding: i32,
        credentials: net::cmsghdr,
        /// `struct ucred`: pid, uid, gid.
        ids: [u32; 3],
        padding_too: u32,
    }
    const RIGHTS: usize = size_of::<net::cmsghdr>() + 8;
    let header = |length: usize, kind: u32| net::cmsghdr {
        cmsg_len: (size_of::<net::cmsghdr>() + length) as _,
        cmsg_level: net::SOL_SOCKET as i32,
        cmsg_type: kind as i32,
    };
    let Attached { fd, sender } = attached.unwrap_or(Attached { fd: -1, sender: None });
    let ids = match sender {
        Some(pid) => [pid as u32, call!(getuid)? as u32, call!(getgid)? as u32],
        None => [0; 3],
    };
    let control = Control {
        rights: header(size_of::<i32>(), net::SCM_RIGHTS),
        fd,
        padding: 0,
        credentials: header(size_of::<[u32; 3]>(), SCM_CREDENTIALS),
        ids,
        padding_too: 0,
    };
    let length = match (attached, sender) {
        (None, _) => 0,
        (_, None) => RIGHTS,
        _ => size_of::<Control>(),
    };
    let part = k::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() as _ };
    let message = net::msghdr {
        msg_name: core::ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: (&raw const part) as *mut _,
        msg_iovlen: 1,
        msg_control: if length == 0 { core::ptr::null_mut() } else { (&raw const control) as *mut _ },
        msg_controllen: length as _,
        msg_flags: 0,
    };
    call!(sendmsg, socket, &raw const message, net::MSG_NOSIGNAL | net::MSG_DONTWAIT).map(drop)
}

pub fn kill(pid: i32, signal: u32) {
    let _ = call!(kill, pid, signal);
}

/// A number, not negative, as a C string in `text`.
pub fn digits(number: i32, text: &mut [u8; 12]) -> *const u8 {
    let (mut rest, mut at) = (number, text.len() - 1);
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return text[at..].as_ptr();
        }
    }
}

/// CLOCK_MONOTONIC, by a system call: there is no C library to find the vdso.
pub fn nanoseconds() -> u64 {
    let mut now = k::__kernel_timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = call!(clock_gettime, k::CLOCK_MONOTONIC, &raw mut now);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Replace this process; returns only the reason why not.
pub fn execve(path: *const u8, argv: *const *const u8, envp: *const *const u8) -> Errno {
    match call!(execve, path, argv, envp) {
        Ok(_) => EIO,
        Err(errno) => errno,
    }
}
