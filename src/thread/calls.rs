//! The system calls of a scope, each for the calling thread, with the error number as the error.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::call::{Call, Value, call};
use crate::descriptors::above_stdio;
use crate::plan::flags::{MOUNT_ATTR, names};
use crate::step_name::StepName;

/// A step that failed: its name, the call, and the error number (errno(3)).
pub type Failed = (StepName, Call, i32);

/// What they return.
pub type Result<T> = std::result::Result<T, i32>;

/// A namespace of the calling thread; of a PID or time namespace the one its children are born into, which is the one
/// that unshare and setns change. It is got by ioctl_pidfd(2), and before Linux 6.11 from /proc.
pub fn own_namespace(name: &str) -> Result<OwnedFd> {
    const NUMBERS: [(&str, u32, &str); 8] = [
        ("cgroup", 1, "cgroup"),
        ("ipc", 2, "ipc"),
        ("mount", 3, "mnt"),
        ("net", 4, "net"),
        ("pid", 6, "pid_for_children"),
        ("time", 8, "time_for_children"),
        ("user", 9, "user"),
        ("uts", 10, "uts"),
    ];
    let (_, number, link) = NUMBERS.into_iter().find(|(kind, ..)| *kind == name).ok_or(libc::EINVAL)?;
    thread_namespace(number, link)
}

/// The PID namespace of the calling thread itself, whatever is on /proc.
pub fn own_pid_namespace() -> Result<OwnedFd> {
    thread_namespace(5, "pid")
}

/// The time namespace of the calling thread itself.
pub fn own_time_namespace() -> Result<OwnedFd> {
    thread_namespace(7, "time")
}

/// By the number of the request (ioctl_pidfd(2)), or the name of the link.
fn thread_namespace(number: u32, link: &str) -> Result<OwnedFd> {
    // PIDFD_THREAD (pidfd_open(2), Linux 6.9).
    const THREAD: i32 = libc::O_EXCL;
    // SAFETY: plain numbers.
    let asked = opened(unsafe { libc::syscall(libc::SYS_pidfd_open, thread(), THREAD) } as RawFd).and_then(|pidfd| {
        // SAFETY: _IO(0xff, number) takes no argument.
        opened(unsafe { libc::ioctl(pidfd.as_raw_fd(), (0xff00 | number) as libc::Ioctl, 0) })
    });
    asked.or_else(|_| {
        let path = CString::new(format!("/proc/thread-self/ns/{link}")).expect("no NUL");
        // SAFETY: a C string that outlives the call.
        opened(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) })
    })
}

fn opened(fd: RawFd) -> Result<OwnedFd> {
    checked(fd.min(0))?;
    // SAFETY: a new descriptor, which nothing else owns.
    above_stdio(unsafe { OwnedFd::from_raw_fd(fd) }).map_err(|_| libc::EMFILE)
}

pub fn directory(path: &CStr) -> Result<OwnedFd> {
    // SAFETY: a C string.
    opened(unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) })
}

pub fn chroot(root: &OwnedFd) -> Result<()> {
    // SAFETY: plain numbers, and a C string.
    unsafe {
        checked(libc::fchdir(root.as_raw_fd()))?;
        checked(libc::chroot(c".".as_ptr()))
    }
}

pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: plain numbers.
    checked(unsafe { libc::unshare(flags) })
}

pub fn setns(fd: RawFd, flag: u64) -> Result<()> {
    // SAFETY: plain numbers.
    checked(unsafe { libc::setns(fd, flag as i32) })
}

pub fn mount(source: Option<&CStr>, target: &CStr, fstype: Option<&CStr>, flags: u64) -> Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: NULL or C strings that outlive the call.
    checked(unsafe { libc::mount(pointer(source), target.as_ptr(), pointer(fstype), flags, std::ptr::null()) })
}

/// Mount a proc for the PID namespace that the thread's children are born into. mount(2) can do that only where it is
/// the thread's own; otherwise the PID namespace has to be passed to fsconfig(2) (Linux 6.17).
pub fn mount_proc(target: &CStr, pidns: &OwnedFd) -> std::result::Result<(), Failed> {
    const SET_FD: u32 = 5;
    const CREATE: u32 = 6;
    let failed = |call: Call| move |errno| (StepName::MountProc, call, errno);
    let set = |command, key| call("fsconfig", [("cmd", Value::constant(command)), ("key", key)]);
    // SAFETY: C strings and numbers (fsopen(2), fsconfig(2), fsmount(2), move_mount(2)).
    unsafe {
        let context = opened(libc::syscall(libc::SYS_fsopen, c"proc".as_ptr(), 1) as RawFd)
            .map_err(failed(call("fsopen", [("fsname", Value::text("proc"))])))?;
        let fd = context.as_raw_fd();
        let null = std::ptr::null::<libc::c_char>();
        if !is_own_pid_namespace(pidns) {
            let done = libc::syscall(libc::SYS_fsconfig, fd, SET_FD, c"pidns".as_ptr(), null, pidns.as_raw_fd());
            checked(done as i32).map_err(failed(set("FSCONFIG_SET_FD", Value::text("pidns"))))?;
        }
        checked(libc::syscall(libc::SYS_fsconfig, fd, CREATE, null, null, 0) as i32)
            .map_err(failed(set("FSCONFIG_CMD_CREATE", Value::Null)))?;
        let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
        let mount = opened(libc::syscall(libc::SYS_fsmount, fd, 1, attributes) as RawFd)
            .map_err(failed(call("fsmount", [("attr_flags", Value::Flags(names(attributes, &MOUNT_ATTR)))])))?;
        let (from, empty) = (mount.as_raw_fd(), c"".as_ptr());
        let here = libc::AT_FDCWD;
        let moved =
            libc::syscall(libc::SYS_move_mount, from, empty, here, target.as_ptr(), libc::MOVE_MOUNT_F_EMPTY_PATH);
        checked(moved as i32).map_err(failed(call("move_mount", [("to_path", Value::text(target.to_bytes()))])))
    }
}

/// Whether it is the PID namespace the thread is in.
fn is_own_pid_namespace(fd: &OwnedFd) -> bool {
    let identity = |fd: &OwnedFd| {
        // SAFETY: plain numbers, for which zero is valid, and a structure that the kernel fills.
        unsafe {
            let mut found: libc::stat = std::mem::zeroed();
            (libc::fstat(fd.as_raw_fd(), &raw mut found) == 0).then_some((found.st_dev, found.st_ino))
        }
    };
    let own = thread_namespace(5, "pid");
    own.is_ok_and(|own| identity(&own) == identity(fd))
}

/// The number of the uppermost mount at a path (statx(2), STATX_MNT_ID).
pub fn mount_number(path: &CStr) -> Option<u64> {
    // SAFETY: plain numbers, for which zero is valid.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: a C string, and a structure that the kernel fills.
    let result = unsafe {
        libc::statx(libc::AT_FDCWD, path.as_ptr(), libc::AT_NO_AUTOMOUNT, libc::STATX_MNT_ID, &raw mut found)
    };
    (result == 0).then_some(found.stx_mnt_id)
}

/// What `ip link set lo up` does (netdevice(7)).
pub fn loopback_up() -> Result<()> {
    // SAFETY: plain numbers.
    let socket = opened(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: plain numbers, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
    // SAFETY: a structure of the size the request reads.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw const request) })
}

pub fn checked(result: i32) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)) }
}

pub fn thread() -> i32 {
    // SAFETY: always succeeds.
    unsafe { libc::gettid() }
}
