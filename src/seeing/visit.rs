//! What a process in other namespaces could open, opened without becoming it.
//!
//! Some files show the namespaces of whoever opens them: a new proc or mqueue, /proc/sysvipc. A throw-away child enters
//! the namespaces and opens them into the table of descriptors that it shares with us (CLONE_FILES). It shares our
//! memory as well, so that it costs the same in a process of any size, and makes nothing but system calls.

use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nsbox_init::vfork::vfork;
use syscalls::{Sysno, raw_syscall};

use crate::pidfd::reap;
use crate::signals::BlockedSignals;

const STACK: usize = 8 << 10;

/// Something to open. Each is done where it is asked for: here, or in other namespaces.
#[derive(Debug, Clone, Copy)]
pub enum Open<'a> {
    /// A file below a directory.
    File(RawFd, &'a CStr),
    /// The root of a new proc that is mounted nowhere, for the PID namespace behind a descriptor (Linux 6.17).
    Proc(RawFd),
    /// The root of the mqueue of the IPC namespace (mq_overview(7)), mounted nowhere.
    Queues,
}

/// What came of it: a descriptor or an errno.
pub type Opened = Result<OwnedFd, i32>;

/// Open `wanted` after entering the namespaces behind `enter`, in this order; entering nothing takes no child.
///
/// # Errors
/// The errno of the clone, or of entering.
pub fn open<const N: usize>(enter: &[OwnedFd], wanted: [Open<'_>; N]) -> Result<[Opened; N], i32> {
    let mut results = [-libc::EIO; N];
    if enter.is_empty() {
        for (result, open) in results.iter_mut().zip(wanted) {
            // SAFETY: nothing but system calls on live data.
            *result = unsafe { carry_out(open) };
        }
        return Ok(results.map(owned));
    }
    let enter: Vec<RawFd> = enter.iter().map(AsRawFd::as_raw_fd).collect();
    let mut visit = Visit { enter: &enter, entered: 0, wanted: &wanted, results: &mut results };
    let mut stack = [MaybeUninit::<u8>::uninit(); STACK];
    let dumpable = Dumpable::now();
    let born = {
        let _blocked = BlockedSignals::all();
        // SAFETY: signals are blocked, `child` makes system calls only, and the stack is its alone.
        unsafe { vfork(libc::CLONE_FILES as u64, &mut stack, child, (&raw mut visit).cast::<c_void>()) }
    };
    dumpable.restore();
    // SAFETY: the descriptor was made for us just now.
    let pidfd = unsafe { OwnedFd::from_raw_fd(born?.pidfd) };
    reap(&pidfd, true);
    match visit.entered {
        0 => Ok(results.map(owned)),
        errno => Err(-errno),
    }
}

fn owned(result: i32) -> Opened {
    // SAFETY: a new descriptor that nobody else knows.
    if result >= 0 { Ok(unsafe { OwnedFd::from_raw_fd(result) }) } else { Err(-result) }
}

struct Visit<'a> {
    enter: &'a [RawFd],
    entered: i32,
    wanted: &'a [Open<'a>],
    results: &'a mut [i32],
}

unsafe extern "C" fn child(data: *mut c_void) -> ! {
    // SAFETY: `open` passed its own live `Visit` and is suspended.
    let visit = unsafe { &mut *data.cast::<Visit<'_>>() };
    for &namespace in visit.enter {
        // SAFETY: plain numbers.
        let result = unsafe { raw_syscall!(Sysno::setns, namespace, 0) } as i32;
        if result < 0 && visit.entered == 0 {
            visit.entered = result;
        }
    }
    if visit.entered == 0 {
        for (result, open) in visit.results.iter_mut().zip(visit.wanted) {
            // SAFETY: nothing but system calls on live data.
            *result = unsafe { carry_out(*open) };
        }
    }
    loop {
        // SAFETY: ends this process only; it is alone in its thread group.
        unsafe { raw_syscall!(Sysno::exit_group, 0) };
    }
}

/// A descriptor, or an errno below zero. The constants are those of `linux/mount.h` (fsopen(2), fsconfig(2)).
///
/// # Safety
/// Safe for a child in shared memory: raw system calls only.
unsafe fn carry_out(open: Open<'_>) -> i32 {
    const READ: i32 = libc::O_RDONLY | libc::O_CLOEXEC;
    const FSCONFIG_SET_FD: i32 = 5;
    const FSCONFIG_CMD_CREATE: i32 = 6;
    const MOUNT_ATTR_NOSUID_NODEV_NOEXEC: i32 = 2 | 4 | 8;
    let nothing = std::ptr::null::<u8>();
    // SAFETY: C strings that live long enough, and plain numbers.
    unsafe {
        let name = match open {
            Open::File(directory, name) => return raw_syscall!(Sysno::openat, directory, name.as_ptr(), READ) as i32,
            Open::Proc(_) => c"proc",
            Open::Queues => c"mqueue",
        };
        let context = raw_syscall!(Sysno::fsopen, name.as_ptr(), 1) as i32;
        if context < 0 {
            return context;
        }
        let mut result = 0;
        if let Open::Proc(namespace) = open {
            let key = c"pidns".as_ptr();
            result = raw_syscall!(Sysno::fsconfig, context, FSCONFIG_SET_FD, key, nothing, namespace) as i32;
        }
        if result == 0 {
            result = raw_syscall!(Sysno::fsconfig, context, FSCONFIG_CMD_CREATE, nothing, nothing, 0) as i32;
        }
        if result == 0 {
            result = raw_syscall!(Sysno::fsmount, context, 1, MOUNT_ATTR_NOSUID_NODEV_NOEXEC) as i32;
        }
        raw_syscall!(Sysno::close, context);
        if result < 0 {
            return result;
        }
        // What fsmount gives cannot be listed (O_PATH). What is opened below it outlives it.
        let mount = result;
        result = raw_syscall!(Sysno::openat, mount, c".".as_ptr(), READ | libc::O_DIRECTORY) as i32;
        raw_syscall!(Sysno::close, mount);
        result
    }
}

/// Entering a user namespace that belongs to another user clears the dumpable flag of the memory (prctl(2)), which the
/// child shares with us.
struct Dumpable(i32);

impl Dumpable {
    fn now() -> Self {
        // SAFETY: plain numbers.
        Dumpable(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) })
    }

    fn restore(self) {
        if self.0 == 1 && Self::now().0 != 1 {
            // SAFETY: plain numbers.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        }
    }
}
