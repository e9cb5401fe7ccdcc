//! Files and descriptors.

use core::mem::size_of;
use syscalls::{Sysno, syscall};

use linux_raw_sys::general as k;

use super::errno::{EAGAIN, Result};

pub fn close(fd: i32) {
    let _ = call!(close, fd);
}

pub fn close_on_exec(fd: i32) -> Result<()> {
    call!(fcntl, fd, k::F_SETFD, k::FD_CLOEXEC).map(drop)
}

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

pub fn open(path: *const u8, flags: u32) -> Result<i32> {
    open_at(k::AT_FDCWD, path, flags)
}

pub fn open_at(directory: i32, path: *const u8, flags: u32) -> Result<i32> {
    call!(openat, directory, path, flags | k::O_CLOEXEC, 0).map(|fd| fd as i32)
}

/// Number of attempts to resolve a path while directories on its way are moved (openat2(2), EAGAIN).
pub const MAX_ATTEMPTS: usize = 1000;

/// A file below `directory`, on the very mount that is: EXDEV if the path crosses another one (openat2(2)).
pub fn open_here(directory: i32, path: &[u8], flags: u32) -> Result<i32> {
    open_resolved(directory, path, flags, k::RESOLVE_BENEATH | k::RESOLVE_NO_XDEV)
}

/// What `path` means to a process whose root is `directory`: no symbolic link and no `..` leads out of it, and none of
/// the links of /proc that are no paths leads anywhere (ELOOP).
pub fn open_in_root(directory: i32, path: &[u8], flags: u32) -> Result<i32> {
    open_resolved(directory, path, flags, k::RESOLVE_IN_ROOT | k::RESOLVE_NO_MAGICLINKS)
}

fn open_resolved(directory: i32, path: &[u8], flags: u32, resolve: u32) -> Result<i32> {
    let how = k::open_how { flags: u64::from(flags | k::O_CLOEXEC), mode: 0, resolve: u64::from(resolve) };
    let mut found = Err(EAGAIN);
    for _ in 0..MAX_ATTEMPTS {
        found = call!(openat2, directory, path.as_ptr(), &raw const how, size_of::<k::open_how>());
        if found != Err(EAGAIN) {
            break;
        }
    }
    found.map(|fd| fd as i32)
}

/// What `path` is, without a symbolic link on the way (openat2(2)). It is not opened: only to find or unmount it.
pub fn find_mount(path: &[u8]) -> Result<i32> {
    open_resolved(k::AT_FDCWD, path, k::O_PATH | k::O_NOFOLLOW, k::RESOLVE_NO_SYMLINKS | k::RESOLVE_NO_MAGICLINKS)
}

/// The device of a file, its major and its minor number, and whether the file is the root of a mount (statx(2)). A file
/// system in user space is not asked, as nothing else is wanted.
pub fn device(fd: i32) -> Result<([u32; 2], bool)> {
    let mut found = core::mem::MaybeUninit::<k::statx>::zeroed();
    let flags = k::AT_EMPTY_PATH | k::AT_STATX_DONT_SYNC;
    call!(statx, fd, c"".as_ptr(), flags, 0, found.as_mut_ptr())?;
    // SAFETY: plain numbers, for which zero is valid, and which the kernel has filled in.
    let found = unsafe { found.assume_init() };
    let is_root = found.stx_attributes & u64::from(k::STATX_ATTR_MOUNT_ROOT) != 0;
    Ok(([found.stx_dev_major, found.stx_dev_minor], is_root))
}

/// The number in a link of /proc to a namespace, such as `net:[4026531840]` (namespaces(7)).
pub fn namespace_at(directory: i32, link: *const u8) -> Result<u64> {
    let mut text = [0_u8; 64];
    let length = call!(readlinkat, directory, link, text.as_mut_ptr(), text.len())?;
    let digits =
        text[..length].iter().skip_while(|&&byte| byte != b'[').skip(1).take_while(|byte| byte.is_ascii_digit());
    Ok(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// The type (S_IF*) and the size in bytes of an open file (fstat(2)).
pub fn type_and_size(fd: i32) -> Result<(u32, u64)> {
    let mut status = core::mem::MaybeUninit::<k::stat>::zeroed();
    call!(fstat, fd, status.as_mut_ptr())?;
    // SAFETY: plain numbers, for which zero is valid, and which the kernel has filled in.
    let status = unsafe { status.assume_init() };
    Ok((status.st_mode & k::S_IFMT, status.st_size as u64))
}

/// An empty file in memory (memfd_create(2)).
pub fn memory_file(name: &core::ffi::CStr) -> Result<i32> {
    /// Needed where the administrator allows no other ones (vm.memfd_noexec); unknown before Linux 6.3.
    const MFD_NOEXEC_SEAL: u32 = 8;
    let make = |flags: u32| call!(memfd_create, name.as_ptr(), k::MFD_CLOEXEC | flags).map(|fd| fd as i32);
    make(MFD_NOEXEC_SEAL).or_else(|_| make(0))
}

/// Set where the next read or write begins, in bytes from the start (lseek(2)).
pub fn rewind(fd: i32) -> Result<()> {
    call!(lseek, fd, 0, k::SEEK_SET).map(drop)
}

/// Open a file without blocking: it may be a FIFO whose other end is not open (fifo(7)), or a terminal.
pub fn open_at_once(path: *const u8, flags: u32) -> Result<i32> {
    open(path, flags | k::O_NONBLOCK | k::O_NOCTTY)
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

pub fn remove_directory(parent: i32, name: &[u8]) -> Result<()> {
    call!(unlinkat, parent, name.as_ptr(), k::AT_REMOVEDIR).map(drop)
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
