//! Where mounts are made: the targets are looked up below a root, and made where they are missing in a file system that
//! this init has made itself. Files of the caller are never added to.

use core::mem::size_of;
use linux_raw_sys::general as k;
use nsbox_init::wire::MountPart;
use syscalls::{Sysno, syscall};

use crate::sys::{self, Errno};

/// The error number, and the part that failed.
pub type Result<T> = core::result::Result<T, (Errno, i64)>;

macro_rules! call {
    ($part:ident, $name:ident $(, $argument:expr)* $(,)?) => {
        // SAFETY: each caller below passes pointers to live memory of the size the kernel expects.
        unsafe { syscall!(Sysno::$name $(, $argument)*) }
            .map_err(|error| (error.into_raw(), MountPart::$part as i64))
    };
}
pub(crate) use call;

/// A descriptor that is closed when the value is dropped.
pub struct Fd(pub i32);

impl Fd {
    /// The number alone; the descriptor stays open.
    pub fn into_raw(self) -> i32 {
        let fd = self.0;
        core::mem::forget(self);
        fd
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

/// The longest path, in bytes, with the NUL (path_resolution(7)).
const PATH_MAX: usize = 4096;
/// Permissions of what is made for a target, which a mount then covers: every user may pass.
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = k::S_IFREG | 0o644;

/// The devices of the file systems that were made here; those beyond this number are not known.
pub struct Made([u64; 64]);

impl Made {
    /// None.
    pub const fn new() -> Self {
        Made([0; 64])
    }

    /// Remember that this file system was made here: no file of the caller is in it.
    pub fn add(&mut self, made: &Fd) {
        if let (Ok(status), Some(place)) = (status(made), self.0.iter_mut().find(|device| **device == 0)) {
            *place = device(&status);
        }
    }

    /// The file at `path`, as [`find`] finds it. If it is missing and may be made, it is made: a directory for a
    /// directory, an empty file for anything else.
    pub fn place(&self, path: &[u8], inside: bool, mounted: &Fd) -> Result<Fd> {
        match find(path, inside) {
            Err((sys::ENOENT, part)) if self.0[0] != 0 => {
                let is_directory = u32::from(status(mounted)?.stx_mode) & k::S_IFMT == k::S_IFDIR;
                // The umask is the caller's, for files of the program.
                let mask = sys::umask(0).map_err(|errno| (errno, part))?;
                let made = self.make(path, inside, is_directory);
                let _ = sys::umask(mask);
                made.map_err(|(errno, _)| (errno, part))
            }
            found => found,
        }
    }

    /// Make the part of the path that is missing, if the part that exists ends in a file system that was made here.
    fn make(&self, path: &[u8], inside: bool, is_directory: bool) -> Result<Fd> {
        let missing = (sys::ENOENT, MountPart::Target as i64);
        let path = path.strip_suffix(b"\0").unwrap_or(path);
        let mut buffer = [0; PATH_MAX];
        let (mut at, mut end) = (None, path.len());
        while at.is_none() {
            // The path without its last name.
            let names = path[..end].iter().rposition(|&byte| byte != b'/').ok_or(missing)?;
            end = path[..names].iter().rposition(|&byte| byte == b'/').ok_or(missing)?;
            let prefix = if end == 0 { b"/" } else { &path[..end] };
            match resolve(root(inside)?.0, text(prefix, &mut buffer)?, k::O_DIRECTORY) {
                Ok(fd) => at = Some(fd),
                Err((sys::ENOENT, _)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut at = at.ok_or(missing)?;
        let device = device(&status(&at)?);
        if device == 0 || !self.0.contains(&device) {
            return Err(missing);
        }
        let mut names =
            path[end..].split(|&byte| byte == b'/').filter(|&name| !name.is_empty() && name != b".").peekable();
        while let Some(name) = names.next() {
            if name == b".." {
                return Err(missing);
            }
            let is_last = names.peek().is_none();
            let name = text(name, &mut buffer)?;
            let made = if is_directory || !is_last {
                call!(Target, mkdirat, at.0, name.as_ptr(), DIRECTORY_MODE)
            } else {
                call!(Target, mknodat, at.0, name.as_ptr(), FILE_MODE, 0)
            };
            // What exists although the path does not is a symbolic link that leads nowhere.
            made.map_err(|(errno, part)| (if errno == sys::EEXIST { sys::ENOENT } else { errno }, part))?;
            at = open(at.0, name, k::O_NOFOLLOW, k::RESOLVE_BENEATH | k::RESOLVE_NO_SYMLINKS | k::RESOLVE_NO_XDEV)?;
        }
        Ok(at)
    }
}

/// A text as a C string.
fn text<'a>(bytes: &[u8], buffer: &'a mut [u8; PATH_MAX]) -> Result<&'a [u8]> {
    let too_long = (sys::ENAMETOOLONG, MountPart::Target as i64);
    let place = buffer.get_mut(..=bytes.len()).ok_or(too_long)?;
    place[..bytes.len()].copy_from_slice(bytes);
    place[bytes.len()] = 0;
    Ok(place)
}

/// What `path` means to a process whose root is the working directory, or else our own root.
pub fn find(path: &[u8], inside: bool) -> Result<Fd> {
    resolve(root(inside)?.0, path, 0)
}

/// The root in which targets are looked up.
fn root(inside: bool) -> Result<Fd> {
    let start = if inside { c"." } else { c"/" };
    sys::open(start.as_ptr().cast(), k::O_PATH | k::O_DIRECTORY)
        .map(Fd)
        .map_err(|errno| (errno, MountPart::Target as i64))
}

/// No symbolic link and no `..` leads out of the root, and none of the links of /proc that are no paths leads anywhere.
fn resolve(root: i32, path: &[u8], flags: u32) -> Result<Fd> {
    open(root, path, flags, k::RESOLVE_IN_ROOT | k::RESOLVE_NO_MAGICLINKS)
}

fn open(directory: i32, path: &[u8], flags: u32, resolve: u32) -> Result<Fd> {
    let flags = u64::from(k::O_PATH | k::O_CLOEXEC | flags);
    let how = k::open_how { flags, mode: 0, resolve: u64::from(resolve) };
    let mut found = Err((sys::EAGAIN, MountPart::Target as i64));
    for _ in 0..sys::MAX_ATTEMPTS {
        found = call!(Target, openat2, directory, path.as_ptr(), &raw const how, size_of::<k::open_how>());
        if !matches!(found, Err((sys::EAGAIN, _))) {
            break;
        }
    }
    found.map(|fd| Fd(fd as i32))
}

fn status(fd: &Fd) -> Result<k::statx> {
    // SAFETY: plain integers, for which zero is valid.
    let mut status: k::statx = unsafe { core::mem::zeroed() };
    let empty = c"".as_ptr();
    call!(Target, statx, fd.0, empty, k::AT_EMPTY_PATH, k::STATX_TYPE, &raw mut status)?;
    Ok(status)
}

fn device(status: &k::statx) -> u64 {
    u64::from(status.stx_dev_major) << 32 | u64::from(status.stx_dev_minor)
}
