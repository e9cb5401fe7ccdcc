//! Aborting FUSE connections in this mount namespace. A process that waits for a file system which it serves itself, or
//! whose server it keeps from ending, is ended by nothing else: not by SIGKILL, and not by the end of its namespace.
//!
//! umount2(2) with MNT_FORCE aborts the connection before anything else. Since Linux 6.15 that needs CAP_SYS_ADMIN in the
//! user namespace in which the file system was mounted, so that no connection of another one can be aborted from here;
//! before, in the initial one. A process of its own looks each mount up: a path can lead through a file system that does
//! not reply.

use linux_raw_sys::general as k;
use nsbox_init::wire::Numbers;

use crate::proc::Proc;
use crate::sys::{self, EBUSY, EINVAL, ENOENT, ETIMEDOUT, Result};

/// The most that is read of the list of mounts, in bytes.
const MOUNTINFO: usize = 4 << 20;
/// The longest path of a mount, in bytes.
const PATH: usize = 4096;
/// How long the abort of one connection may take, in milliseconds.
const ABORT_TIMEOUT: u32 = 500;
/// Number of mounts over one that are removed.
const MAX_COVERS: usize = 64;
/// Number of rounds. A mount below another one that does not reply is found when that has been aborted.
const ROUNDS: usize = 2;

/// A device: its major and its minor number.
type Device = [u32; 2];

/// Abort the connections of these devices. `proc` is one in which this process has a PID.
///
/// # Errors
/// The last error, if one of them was not aborted.
pub fn abort(proc: Proc, devices: &Numbers<&'static [u8]>) -> Result<()> {
    abort_mounted(proc, &|_, device| is_one_of(devices, device))
}

/// Abort the connections of all that is mounted here, if the kernel lets this process abort only those of its own user
/// namespace: before its end, as the end of PID 1 waits for the processes that wait for them. A child does it, for which
/// this waits at most so many milliseconds: what is mounted on /proc may be such a file system.
pub fn abort_own(timeout: u32) {
    match sys::fork(0) {
        Ok(None) => {
            let proc = sys::detached_proc().map_or_else(|_| Proc::find(-1), Proc::find);
            if !sees_all_ids(proc) {
                let _ = abort_mounted(proc, &|line, _| is_fuse(line));
            }
            sys::exit(0)
        }
        Ok(Some((pid, pidfd))) => {
            let _ = sys::poll([pidfd], Some(timeout));
            sys::kill(pid, k::SIGKILL);
        }
        Err(_) => {}
    }
}

/// Whether the user namespace maps all ids to themselves, as the first one of the machine does (user_namespaces(7)).
/// True if that is not known.
fn sees_all_ids(proc: Proc) -> bool {
    let mut text = [0; 64];
    let length =
        proc.open(c"self/uid_map".to_bytes_with_nul(), k::O_RDONLY).and_then(|file| sys::read(file, &mut text));
    let mut fields = text[..length.unwrap_or(0)].split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    [fields.next(), fields.next(), fields.next()].map(|field| field.map_or(0, number)) == [0, 0, u32::MAX]
        || length.is_err()
}

/// Whether a line is of a FUSE file system.
fn is_fuse(line: &[u8]) -> bool {
    let at = line.windows(3).position(|separator| separator == b" - ").unwrap_or(line.len());
    let kind = line[at..].split(|&byte| byte == b' ').nth(2).unwrap_or_default();
    kind == b"fuse" || kind == b"fuseblk" || kind.starts_with(b"fuse.")
}

fn abort_mounted(proc: Proc, wanted: &dyn Fn(&[u8], Device) -> bool) -> Result<()> {
    // What is unmounted here stays where it is elsewhere.
    sys::mount(None, c"/".to_bytes_with_nul(), None, u64::from(k::MS_REC | k::MS_PRIVATE))?;
    let mounts = sys::map_memory(MOUNTINFO, false)?;
    let mut result = Ok(());
    for _ in 0..ROUNDS {
        let length = read_whole(proc, mounts)?;
        let lines = mounts[..length].split(|&byte| byte == b'\n');
        let found = lines.filter_map(|line| mounted(line).filter(|(device, _)| wanted(line, *device)));
        result = Ok(());
        for (device, path) in found {
            if let Err(errno) = in_child(proc, device, path) {
                result = Err(errno);
            }
        }
        if result.is_ok() {
            break;
        }
    }
    result
}

fn is_one_of(devices: &Numbers<&'static [u8]>, device: Device) -> bool {
    let mut numbers = devices.iter();
    while let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) {
        if [major, minor] == device {
            return true;
        }
    }
    false
}

fn read_whole(proc: Proc, into: &mut [u8]) -> Result<usize> {
    let file = proc.open(c"self/mountinfo".to_bytes_with_nul(), k::O_RDONLY)?;
    let mut length = 0;
    let result = loop {
        match sys::read(file, &mut into[length..]) {
            Ok(0) => break Ok(length),
            Ok(more) => length += more,
            Err(errno) => break Err(errno),
        }
    };
    sys::close(file);
    result
}

/// The device and the path of a mount, from its line (proc_pid_mountinfo(5)).
fn mounted(line: &[u8]) -> Option<(Device, &[u8])> {
    let mut fields = line.split(|&byte| byte == b' ').skip(2);
    let (device, _, path) = (fields.next()?, fields.next()?, fields.next()?);
    let mut numbers = device.split(|&byte| byte == b':');
    Some(([number(numbers.next()?), number(numbers.next()?)], path))
}

fn number(digits: &[u8]) -> u32 {
    digits
        .iter()
        .fold(0, |number: u32, digit| number.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0'))))
}

/// A path as in the list of mounts, where some bytes are three octal digits behind a backslash, as a C string.
fn unescaped(text: &[u8]) -> Option<[u8; PATH]> {
    let mut path = [0; PATH];
    let (mut rest, mut at) = (text, 0);
    while let Some((&byte, more)) = rest.split_first() {
        let (byte, more) = match more {
            [a, b, c, others @ ..] if byte == b'\\' => {
                (a.wrapping_sub(b'0') << 6 | b.wrapping_sub(b'0') << 3 | c.wrapping_sub(b'0'), others)
            }
            more => (byte, more),
        };
        // The last byte stays the NUL.
        *path[..PATH - 1].get_mut(at)? = byte;
        (rest, at) = (more, at + 1);
    }
    Some(path)
}

/// Abort one, in a child that is left alone if the lookup takes too long. A child that can not be made is no reason not to
/// try: a program can use up the number of processes of its user.
fn in_child(proc: Proc, device: Device, path: &[u8]) -> Result<()> {
    match sys::fork(0) {
        Ok(None) => sys::exit(abort_at(proc, device, path).err().unwrap_or(0)),
        Ok(Some((pid, pidfd))) => {
            let ended = sys::poll([pidfd], Some(ABORT_TIMEOUT)) == Ok([true]);
            sys::close(pidfd);
            if !ended {
                sys::kill(pid, k::SIGKILL);
                return Err(ETIMEDOUT);
            }
            match sys::wait(pid, &mut [0; 18], false)? {
                Some((_, 0)) => Ok(()),
                Some((_, status)) => Err(if status & 0x7f == 0 { status >> 8 } else { EINVAL }),
                None => Err(EINVAL),
            }
        }
        Err(_) => abort_at(proc, device, path),
    }
}

/// Abort the connection of the file system that is mounted at a path. What is mounted over it is unmounted here.
fn abort_at(proc: Proc, device: Device, path: &[u8]) -> Result<()> {
    let path = unescaped(path).ok_or(EINVAL)?;
    let [root, _] = proc.descriptors();
    sys::fchdir(root)?;
    for _ in 0..MAX_COVERS {
        // A path may have got another meaning since: the device says what was found.
        if let Ok(found) = sys::find_mount(&path) {
            if sys::device(found)? == (device, true) {
                return force(found);
            }
            sys::close(found);
        }
        uncover(path)?;
    }
    Err(EBUSY)
}

/// Unmount, by its descriptor, and abort.
fn force(found: i32) -> Result<()> {
    match unmount(found, k::MNT_FORCE) {
        // The abort comes first.
        Ok(()) | Err(EBUSY) => Ok(()),
        // The mount is locked (mount_namespaces(7)). A copy of it is not. It cannot be mounted on the directory itself,
        // which is locked while a process waits for a name in it.
        Err(EINVAL) => {
            let copy = sys::mount_copy(found, c"/")?;
            unmount(copy, k::MNT_FORCE | k::MNT_DETACH)
        }
        Err(errno) => Err(errno),
    }
}

/// Unmount what hides a mount: what the longest part of the path that exists is on.
fn uncover(mut path: [u8; PATH]) -> Result<()> {
    loop {
        if let Ok(found) = sys::find_mount(&path) {
            if sys::device(found)?.1 {
                return unmount(found, k::MNT_DETACH);
            }
            sys::close(found);
        }
        let slash = path.iter().rposition(|&byte| byte == b'/').filter(|&slash| slash > 0).ok_or(ENOENT)?;
        path[slash..].fill(0);
    }
}

/// The working directory is the root of a proc.
fn unmount(mount: i32, flags: u32) -> Result<()> {
    let mut link = *b"self/fd/\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut text = [0; 12];
    // SAFETY: `digits` returns a C string, with its NUL not longer than the rest.
    let digits = unsafe { core::ffi::CStr::from_ptr(sys::digits(mount, &mut text).cast()) }.to_bytes();
    link[8..][..digits.len()].copy_from_slice(digits);
    sys::unmount(&link, flags)
}
