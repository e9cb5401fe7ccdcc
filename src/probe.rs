//! System calls without side effects, whose results distinguish a seccomp filter or a Landlock domain from the kernel's
//! own rules. They are made in a child: a filter may kill a process for the call.

use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use libc::c_long;
use pyo3::prelude::*;
use syscalls::{Sysno, raw_syscall};

use crate::kinds::{self, kinds_of};
use crate::pidfd::{self, Status};
use crate::poll::wait_bounded;
use crate::signals::BlockedSignals;

/// The results of the calls, as error numbers. A filter returns EPERM or ENOSYS before the kernel checks the arguments,
/// which are chosen so that the kernel refuses them for another reason. A call for which a filter kills the process
/// counts as one that fails with EPERM.
#[pyclass(frozen, get_all, module = "nsbox._core")]
pub struct Probe {
    /// `unshare(0)`: 0 from the kernel.
    unshare: i32,
    /// `setns(-1, 0)`: EBADF from the kernel.
    setns: i32,
    /// `clone3(NULL, 1)`: EINVAL from the kernel.
    clone3: i32,
    /// The kinds of namespaces for which clone(2) fails before the kernel checks the arguments: the kernel returns
    /// EINVAL.
    clone_refused: Vec<&'static str>,
    /// `mount(NULL, NULL, NULL, 0, NULL)`: EFAULT from the kernel.
    mount: i32,
    /// `execveat(-1, NULL, NULL, NULL, 0)`: EFAULT from the kernel.
    execveat: i32,
    /// Number of Landlock domains that the caller is in: any of them forbids all mounts (landlock(7)). 0 if the kernel
    /// has no Landlock.
    landlock: i32,
    /// The calls for which a filter kills the process, among these and those of the steps of plans.
    killed: Vec<String>,
}

/// System calls of steps (`plan/calls.rs`), and of nsbox-init between them.
const CALLS_OF_STEPS: &str = "capset chdir chroot clone clone3 close_range dup3 execve execveat fsconfig fsmount fsopen \
    mount mount_setattr move_mount open_tree pivot_root setdomainname setgroups sethostname setns setresgid setresuid \
    setsid umount2 unshare fcntl futex kill mmap openat pidfd_open poll prctl recvmsg sendmsg setpgid signalfd4 waitid";

/// A call and its arguments.
type Trial = (c_long, [usize; 5]);

/// No valid descriptor, pointer or size.
const BAD: usize = usize::MAX;
/// A filter has killed the process for the call.
const KILLED: i32 = -1;
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Make the calls.
#[pyfunction]
pub fn probe(py: Python<'_>) -> Probe {
    // clone(2) has no room for CLONE_NEWTIME: those bits are the signal at the child's end.
    let all: Vec<_> = kinds_of(u64::MAX).filter(|kind| kind.flag != kinds::TIME).collect();
    // CLONE_THREAD without CLONE_SIGHAND is refused; should it not be, the new process returns, and ends as its parent.
    let clones =
        all.iter().map(|kind| (libc::SYS_clone, [kind.flag as usize | libc::CLONE_THREAD as usize, 0, 0, 0, 0]));
    let mut trials: Vec<Trial> = vec![
        (libc::SYS_unshare, [0; 5]),
        (libc::SYS_setns, [BAD, 0, 0, 0, 0]),
        (libc::SYS_clone3, [0, 1, 0, 0, 0]),
        (libc::SYS_mount, [0; 5]),
        (libc::SYS_execveat, [BAD, 0, 0, 0, 0]),
    ];
    trials.extend(clones);
    let (results, landlock, killed) = py.detach(|| {
        let names = CALLS_OF_STEPS.split(' ').map(str::to_owned).collect();
        (attempt(&trials), landlock_layers(), killing(names))
    });
    let errnos: Vec<_> = results.iter().map(|&result| if result == KILLED { libc::EPERM } else { result }).collect();
    let refused = all.iter().zip(&errnos[5..]).filter(|(_, errno)| **errno == libc::EPERM);
    Probe {
        unshare: errnos[0],
        setns: errnos[1],
        clone3: errnos[2],
        mount: errnos[3],
        execveat: errnos[4],
        clone_refused: refused.map(|(kind, _)| kind.name).collect(),
        landlock,
        killed,
    }
}

/// Those of the calls for which a filter kills a process, whatever the arguments are.
pub fn killing(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    // The names in plans are those of the manual pages; for signals the kernel has others.
    let number =
        |name: &String| [name.clone(), format!("rt_{name}")].iter().find_map(|name| name.parse::<Sysno>().ok());
    let known: Vec<_> = names.into_iter().filter_map(|name| Some((number(&name)? as c_long, name))).collect();
    let results = attempt(&known.iter().map(|(number, _)| (*number, [BAD; 5])).collect::<Vec<_>>());
    known.into_iter().zip(results).filter(|(_, result)| *result == KILLED).map(|((_, name), _)| name).collect()
}

/// The error numbers of these calls, made one after the other in children.
fn attempt(trials: &[Trial]) -> Vec<i32> {
    let mut results = Vec::with_capacity(trials.len());
    while results.len() < trials.len() {
        let rest = &trials[results.len()..];
        let make = |index: usize| {
            let (number, [first, second, third, fourth, fifth]) = *rest.get(index)?;
            // SAFETY: in a child with its own memory, which ends soon; the arguments make the call fail.
            let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth) };
            // SAFETY: the errno of this thread.
            Some(if result < 0 { unsafe { *libc::__errno_location() } } else { 0 })
        };
        let Some((done, killed)) = in_child(&make) else {
            // No child can be made: nothing is known, as if there were no filter.
            results.resize(trials.len(), 0);
            break;
        };
        results.extend(done);
        if results.len() < trials.len() {
            results.push(if killed { KILLED } else { 0 });
        }
    }
    results.truncate(trials.len());
    results
}

/// Number of Landlock domains that can be stacked (linux/landlock.h).
const MAX_LANDLOCK_LAYERS: i32 = 16;
/// landlock_create_ruleset(2); the same number on every architecture.
const SYS_LANDLOCK_CREATE_RULESET: c_long = 444;
/// landlock_restrict_self(2).
const SYS_LANDLOCK_RESTRICT_SELF: c_long = 446;
/// LANDLOCK_ACCESS_FS_MAKE_SOCK, of the first version: a domain has to forbid something.
const LANDLOCK_MAKE_SOCK: u64 = 1 << 9;

/// A child enters as many more domains as the kernel allows: a domain belongs to a process.
fn landlock_layers() -> i32 {
    let count = |index: usize| {
        let attributes = [LANDLOCK_MAKE_SOCK];
        // SAFETY: one live structure of the first version's size; then plain numbers on a descriptor of our own.
        (index == 0).then(|| unsafe {
            let ruleset = libc::syscall(SYS_LANDLOCK_CREATE_RULESET, attributes.as_ptr(), size_of_val(&attributes), 0);
            if ruleset < 0 {
                return 0;
            }
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let entered = (0..MAX_LANDLOCK_LAYERS)
                .take_while(|_| libc::syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)
                .count();
            MAX_LANDLOCK_LAYERS - entered as i32
        })
    };
    in_child(&count).and_then(|(done, _)| done.first().copied()).unwrap_or(0)
}

/// Where a child leaves the results: in memory that it shares with its parent.
///
/// All zero is a valid value: nothing has been done.
struct Shared {
    count: AtomicI32,
    results: [AtomicI32; 64],
}

/// Call `next` in a child with a copy of this process's memory, until it returns `None`. Returns the results, and
/// whether SIGSYS ended the child before. `next` may only make system calls: another thread may hold a lock, also that
/// of the allocator. `None` if there is no memory for it, or no child can be made.
fn in_child(next: &dyn Fn(usize) -> Option<i32>) -> Option<(Vec<i32>, bool)> {
    if pidfd::children_are_elsewhere() {
        return None;
    }
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: new memory.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Shared>(), protection, flags, -1, 0) };
    let memory = NonNull::new(memory).filter(|memory| memory.as_ptr() != libc::MAP_FAILED)?;
    // SAFETY: zeroed memory of that size, which is unmapped below, after the last use.
    let shared = unsafe { memory.cast::<Shared>().as_ref() };
    let child = {
        let _blocked = BlockedSignals::all();
        // SAFETY: all signals are blocked, and the child only makes system calls until it exits. It has a copy of the
        // memory and of this stack, so what it leaves there, and a core dump that ends it, do not concern this process.
        unsafe { fork(|| carry_out(next, shared)) }
    };
    let status = child.map(|child| {
        if !wait_bounded(&child, CALL_TIMEOUT) {
            let _ = pidfd::send_signal(&child, libc::SIGKILL);
        }
        pidfd::reap(&child, true)
    });
    let count = shared.count.load(Ordering::Acquire) as usize;
    let results = shared.results[..count].iter().map(|result| result.load(Ordering::Relaxed)).collect();
    // SAFETY: mapped above, and not used any more.
    unsafe { libc::munmap(memory.as_ptr(), size_of::<Shared>()) };
    status.map(|status| (results, matches!(status, Some(Status::Killed(libc::SIGSYS)))))
}

/// Call `child` in a copy of this process, made by clone(2): a filter may know clone3(2) only as one that kills. Returns a
/// pidfd of it.
///
/// # Safety
/// All signals must be blocked, and `child` may only make system calls.
unsafe fn fork(child: impl FnOnce()) -> Option<OwnedFd> {
    let mut pidfd = -1_i32;
    let flags = libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: as the caller demands. Without a stack of its own the child continues on its copy of this one. The first
    // three arguments are the same on every machine.
    match unsafe { libc::syscall(libc::SYS_clone, flags as c_long, 0_usize, &raw mut pidfd, 0_usize, 0_usize) } {
        0 => {
            child();
            None
        }
        // SAFETY: a new descriptor, which nothing else owns.
        1.. => Some(unsafe { OwnedFd::from_raw_fd(pidfd) }),
        _ => None,
    }
}

fn carry_out(next: &dyn Fn(usize) -> Option<i32>, shared: &Shared) {
    for (index, slot) in shared.results.iter().enumerate() {
        let Some(result) = next(index) else { break };
        slot.store(result, Ordering::Relaxed);
        shared.count.store(index as i32 + 1, Ordering::Release);
    }
    loop {
        // SAFETY: leaves.
        unsafe { raw_syscall!(Sysno::exit_group, 0) };
    }
}
