//! Processes that were killed and cannot end, because they wait for a file system in user space (fuse(4)).
//!
//! Once the process that serves such a file system has read a request, the process that made the request waits for the
//! reply, also after SIGKILL. A program that waits for a file system of its own, and keeps /dev/fuse open meanwhile, so
//! never ends, nor does its PID namespace. What ends the wait is an abort of the connection: by its file in fusectl, or by
//! an unmount with MNT_FORCE in a mount namespace where it is mounted. nsbox-init does the latter (`init/src/fuse.rs`),
//! as it does a look.
//!
//! Only connections are aborted that no process outside can use: those of file systems that are mounted in namespaces of
//! these processes, and in no mount namespace of another process. Of the processes nothing is read that needs their
//! memory, as that can wait as well: no `cmdline`, `environ`, `exe` or `mem`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::kinds::{KINDS, Kind};
use crate::pidfd::{give_up, number_in_proc, reap, send_signal};
use crate::plan::facts::Facts;
use crate::plan::look::compile_abort;
use crate::poll::wait_bounded;
use crate::start::clone::clone_init;
use crate::thread::foreign;

/// How long killed processes have to end by themselves.
const GRACE: Duration = Duration::from_millis(1500);
/// After that long, connections are aborted again: a process may have been about to use another one.
const AGAIN: Duration = Duration::from_secs(2);
/// How long the aborts in one mount namespace may take.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Processes that are to end.
#[derive(Default)]
pub struct Doomed(Mutex<Option<Instant>>);

impl Doomed {
    /// From now on they are to end.
    pub fn doom(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| Instant::now() + GRACE);
    }

    /// If they take too long to end, abort what they wait for. `init` is their nsbox-init. A thread does this, so that the
    /// caller can go on polling.
    pub fn release_if_overdue(&self, init: &OwnedFd) {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_some_and(|next| next <= Instant::now())
            && let Ok(init) = init.try_clone()
        {
            *next = Some(Instant::now() + AGAIN);
            // Without a thread it is tried again later.
            let _ = std::thread::Builder::new().spawn(move || release(&init));
        }
    }
}

/// Wait for the end of killed processes, at most `limit`, and help them. False if they have not ended. `end` becomes
/// readable with their end.
pub fn await_killed(end: &impl AsRawFd, init: &OwnedFd, limit: Duration) -> bool {
    wait_bounded(end, GRACE.min(limit)) || {
        release(init);
        wait_bounded(end, limit)
    }
}

/// A device, as the list of mounts has it: its major and its minor number.
type Device = (u32, u32);

/// Abort the FUSE connections for which the descendants of a process wait, or itself.
pub fn release(init: &OwnedFd) {
    // What a program has mounted on /proc would be read.
    if foreign::is_here() {
        return;
    }
    let Ok(root) = number_in_proc(init) else { return };
    let parents = parents();
    let inside: HashSet<i32> = parents.keys().copied().filter(|&pid| descends(pid, root, &parents)).collect();
    // For each mount namespace in there, one of the tasks that are in it, and the devices.
    let mut namespaces: HashMap<u64, (OwnedFd, BTreeSet<Device>)> = HashMap::new();
    for task in inside.iter().flat_map(|&pid| tasks(pid)) {
        let Ok(namespace) = std::fs::File::open(format!("{task}/ns/mnt")) else { continue };
        let Ok(number) = namespace.metadata().map(|status| status.ino()) else { continue };
        namespaces.entry(number).or_insert_with(|| (namespace.into(), fuse_devices(&task)));
    }
    if namespaces.values().all(|(_, devices)| devices.is_empty()) {
        return;
    }
    let elsewhere: BTreeSet<Device> = parents
        .keys()
        .filter(|pid| !inside.contains(pid))
        .flat_map(|pid| fuse_devices(&format!("/proc/{pid}")))
        .chain(fuse_devices("/proc/thread-self"))
        .collect();
    for (namespace, devices) in namespaces.values() {
        let own: Vec<Device> = devices.difference(&elsewhere).copied().collect();
        if !own.is_empty() && !abort_by_file(&own, &inside) {
            abort_by_unmount(namespace, &own);
        }
    }
}

/// Each process with its parent.
fn parents() -> HashMap<i32, i32> {
    let names = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| Some((pid, parent(pid)?))).collect()
}

/// The parent of a process (proc_pid_stat(5)). The name before it can contain anything.
fn parent(pid: i32) -> Option<i32> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end = text.iter().rposition(|&byte| byte == b')')?;
    std::str::from_utf8(&text[end + 1..]).ok()?.split_whitespace().nth(1)?.parse().ok()
}

fn descends(pid: i32, from: i32, parents: &HashMap<i32, i32>) -> bool {
    // Parents change while they are read, so there could be a circle.
    let line = std::iter::successors(Some(pid), |pid| parents.get(pid).copied()).take(parents.len() + 1);
    line.into_iter().any(|pid| pid == from)
}

/// The directories of the threads of a process. The first thread may have ended, and another one wait.
fn tasks(pid: i32) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.path().into_os_string().into_string().ok())
}

/// The devices of the FUSE file systems in the mount namespace of a task.
fn fuse_devices(task: &str) -> BTreeSet<Device> {
    let lines = std::fs::read(format!("{task}/mountinfo")).unwrap_or_default();
    lines.split(|&byte| byte == b'\n').filter_map(fuse_device).collect()
}

/// The device of a line, if it is of a FUSE file system (proc_pid_mountinfo(5)).
fn fuse_device(line: &[u8]) -> Option<Device> {
    let line = String::from_utf8_lossy(line);
    let (mount, file_system) = line.split_once(" - ")?;
    let kind = file_system.split(' ').next()?;
    if !matches!(kind.split_once('.').map_or(kind, |(kind, _)| kind), "fuse" | "fuseblk") {
        return None;
    }
    let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Abort connections by their files in fusectl: that of the machine, where each belongs to the user who has mounted; or
/// for root one that is mounted nowhere. False if one was not aborted.
fn abort_by_file(devices: &[Device], inside: &HashSet<i32>) -> bool {
    let mounted = std::fs::File::open("/sys/fs/fuse/connections").map(OwnedFd::from).ok().filter(is_fusectl);
    let Some(connections) = mounted.or_else(fusectl) else { return false };
    let aborted = devices.iter().filter(|&&device| {
        let (major, minor) = device;
        // As the kernel prints the number of a device, which has 20 bits for the minor one.
        let path = format!("/proc/thread-self/fd/{}/{}/abort", connections.as_raw_fd(), major << 20 | minor);
        let file = std::fs::OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path);
        let Ok(mut file) = file.map_err(drop) else { return false };
        // The number of a device is used again. The file stays that of the connection for which it was opened.
        let still = inside.iter().flat_map(|&pid| tasks(pid)).any(|task| fuse_devices(&task).contains(&device));
        still && std::io::Write::write_all(&mut file, b"1").is_ok()
    });
    aborted.count() == devices.len()
}

fn is_fusectl(directory: &OwnedFd) -> bool {
    const FUSE_CTL_SUPER_MAGIC: i64 = 0x6573_5543;
    // SAFETY: plain numbers, for which zero is valid; writes the structure it is given.
    unsafe {
        let mut status: libc::statfs = std::mem::zeroed();
        libc::fstatfs(directory.as_raw_fd(), &raw mut status) == 0 && status.f_type == FUSE_CTL_SUPER_MAGIC
    }
}

/// A fusectl that is mounted nowhere (fsopen(2), fsmount(2)), for root of the machine.
fn fusectl() -> Option<OwnedFd> {
    const CLOEXEC: i32 = 1;
    const FSCONFIG_CMD_CREATE: i32 = 6;
    // SAFETY: a new descriptor, which nothing else owns.
    let new = |result: i64| (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result as RawFd) });
    let nothing = std::ptr::null::<u8>();
    // SAFETY: C strings, null pointers and plain numbers.
    unsafe {
        let context = new(libc::syscall(libc::SYS_fsopen, c"fusectl".as_ptr(), CLOEXEC))?;
        let fd = context.as_raw_fd();
        if libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, nothing, nothing, 0) < 0 {
            return None;
        }
        new(libc::syscall(libc::SYS_fsmount, fd, CLOEXEC, 0))
    }
}

/// Have an nsbox-init abort connections in a mount namespace. It joins the outermost user namespace inside, so the kernel
/// lets it abort what was mounted in there, and nothing of the caller's user namespace (Linux 6.15).
fn abort_by_unmount(namespace: &OwnedFd, devices: &[Device]) {
    let [user, mount, ..] = KINDS;
    let outermost = outermost(namespace);
    let joined = |kind: Kind, fd: &OwnedFd| (kind, fd.as_raw_fd());
    let user = outermost.as_ref().map(|outermost| joined(user, outermost));
    let enter: Vec<_> = user.into_iter().chain([joined(mount, namespace)]).collect();
    let plan = compile_abort(&enter, devices, &Facts::read());
    let Ok(helper) = clone_init(&plan, &plan.to_bytes()) else { return };
    let ended = wait_bounded(&helper.pidfd, ABORT_TIMEOUT);
    let _ = send_signal(&helper.pidfd, libc::SIGKILL);
    if ended || wait_bounded(&helper.pidfd, GRACE) {
        reap(&helper.pidfd, false);
    } else {
        give_up(&helper.pidfd);
    }
}

/// Of the user namespace that owns a namespace and those around it, the child of the caller's own. `None` if that is the
/// owner, or is not known.
fn outermost(namespace: &OwnedFd) -> Option<OwnedFd> {
    let own = std::fs::metadata("/proc/thread-self/ns/user").ok()?.ino();
    let is_own = |user: &OwnedFd| nix::sys::stat::fstat(user).is_ok_and(|status| status.st_ino == own);
    let mut outermost = None;
    let mut next = related(namespace, NS_GET_USERNS)?;
    while !is_own(&next) {
        let parent = related(&next, NS_GET_PARENT)?;
        outermost = Some(std::mem::replace(&mut next, parent));
    }
    outermost
}

const NS_GET_USERNS: libc::Ioctl = 0xb701;
const NS_GET_PARENT: libc::Ioctl = 0xb702;

/// A namespace that is related to another one (ioctl_nsfs(2)).
fn related(namespace: &OwnedFd, request: libc::Ioctl) -> Option<OwnedFd> {
    // SAFETY: takes no argument, and makes a descriptor (CLOEXEC), which nothing else owns.
    unsafe {
        let fd = libc::ioctl(namespace.as_raw_fd(), request);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}
