//! Reading below a directory's descriptor, into buffers that are used again.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::seeing::lookup::open_in_root_of;
use crate::seeing::proc::parse::{entries, pid};

/// An errno.
pub type Errno = i32;

/// A directory.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// Open a directory by path.
    pub fn open(path: &CStr) -> Result<Self, Errno> {
        open(libc::AT_FDCWD, path, libc::O_RDONLY | libc::O_DIRECTORY).map(Self)
    }

    /// In a proc, open the proc at `path` as its process `pid` finds it; anything else than a proc is refused, since
    /// the reads that follow rely on the files of the kernel.
    pub fn open_as_seen_by(&self, pid: i32, path: &CStr) -> Result<Self, Errno> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        open_in_root_of(self, pid, path, flags, Some(libc::PROC_SUPER_MAGIC)).map(Self)
    }

    /// Open something in this directory.
    pub fn open_at(&self, name: &CStr, flags: libc::c_int) -> Result<OwnedFd, Errno> {
        open(self.0.as_raw_fd(), name, flags)
    }

    /// The inode that a link in this directory leads to.
    pub fn inode(&self, name: &CStr) -> Result<u64, Errno> {
        // SAFETY: plain numbers, for which zero is valid.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: a C string, and writes the structure it is given.
        check(unsafe { libc::fstatat(self.0.as_raw_fd(), name.as_ptr(), &raw mut stat, 0) } as isize)?;
        Ok(stat.st_ino)
    }

    /// Open a file or directory of this file system. A file that is mounted on it is refused (EXDEV,
    /// openat2(2)): it could be a FIFO without a writer, or a file without an end.
    fn open_here(&self, name: &CStr, flags: libc::c_int) -> Result<OwnedFd, Errno> {
        // SAFETY: plain numbers, for which zero is valid.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = (flags | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_NO_XDEV;
        let (at, size) = (self.0.as_raw_fd(), size_of_val(&how));
        // SAFETY: a C string and a structure of that size.
        let result = unsafe { libc::syscall(libc::SYS_openat2, at, name.as_ptr(), &raw const how, size) };
        let fd = check(result as isize)?;
        // SAFETY: a new descriptor, which nothing else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }

    /// Open a directory in this one, to list it.
    pub fn list(&self, name: &CStr) -> Result<Self, Errno> {
        self.open_here(name, libc::O_RDONLY | libc::O_DIRECTORY).map(Self)
    }

    /// Open a directory in this one, only to find things in it: that needs no permission to list it (openat(2),
    /// O_PATH).
    pub fn enter(&self, name: &CStr) -> Result<Self, Errno> {
        self.open_here(name, libc::O_PATH | libc::O_DIRECTORY).map(Self)
    }

    /// The owner's user id.
    pub fn owner(&self) -> Result<u32, Errno> {
        // SAFETY: plain numbers, for which zero is valid.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: writes the structure it is given.
        check(unsafe { libc::fstat(self.0.as_raw_fd(), &raw mut stat) } as isize)?;
        Ok(stat.st_uid)
    }

    /// Read a file of /proc in this directory as a whole. The bytes stay in `buffer` until it is used again.
    pub fn read<'a>(&self, name: &CStr, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Errno> {
        let file = self.open_here(name, libc::O_RDONLY)?;
        let mut filled = 0;
        loop {
            if filled == buffer.len() {
                buffer.resize((2 * filled).max(4096), 0);
            }
            let rest = &mut buffer[filled..];
            // SAFETY: a buffer of that length.
            let result = unsafe { libc::read(file.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len()) };
            filled += check(result)?;
            // These files are made in one go: less than there was room for is the end, and asking again would
            // double the calls.
            if filled < buffer.len() {
                return Ok(&buffer[..filled]);
            }
        }
    }

    /// All names in it; EFBIG if there are more than `most`.
    pub fn names(&self, most: usize) -> Result<Vec<Vec<u8>>, Errno> {
        let mut found: Vec<Vec<u8>> = Vec::new();
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let some = self.entries(&mut buffer)?;
            if some.is_empty() {
                return Ok(found);
            }
            if found.len() > most {
                return Err(libc::EFBIG);
            }
            found.extend(entries(some).filter(|name| !matches!(*name, b"." | b"..")).map(<[u8]>::to_vec));
        }
    }

    /// The mount it is in, as mountinfo numbers them (statx(2), STATX_MNT_ID, Linux 5.8).
    pub fn mount_id(&self) -> Result<u64, Errno> {
        // SAFETY: plain numbers, for which zero is valid.
        let mut status: libc::statx = unsafe { std::mem::zeroed() };
        let (fd, here) = (self.0.as_raw_fd(), c"".as_ptr());
        // SAFETY: writes the structure it is given.
        let result = unsafe { libc::statx(fd, here, libc::AT_EMPTY_PATH, libc::STATX_MNT_ID, &raw mut status) };
        check(result as isize)?;
        Ok(status.stx_mnt_id)
    }

    /// Read where a link in this directory points to.
    pub fn read_link<'a>(&self, name: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        // SAFETY: a C string and a buffer of that length.
        let result =
            unsafe { libc::readlinkat(self.0.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
        Ok(&buffer[..check(result)?])
    }

    /// Fill `buffer` with the next entries (getdents64(2)); `parse::entries` finds the names. No bytes: the end.
    pub fn entries<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        // SAFETY: a buffer of that length.
        let result =
            unsafe { libc::syscall(libc::SYS_getdents64, self.0.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
        Ok(&buffer[..check(result as isize)?])
    }
}

impl AsRawFd for Dir {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for Dir {
    fn from(directory: OwnedFd) -> Self {
        Self(directory)
    }
}

/// The inode number of an open file, such as a namespace.
pub fn inode_of(file: &OwnedFd) -> Result<u64, Errno> {
    nix::sys::stat::fstat(file).map(|status| status.st_ino).map_err(|errno| errno as Errno)
}

/// The numbers among the names in a directory, in its order.
pub fn list(directory: &Dir, buffer: &mut [u8]) -> Result<Vec<i32>, Errno> {
    let mut found = Vec::new();
    loop {
        let some = directory.entries(buffer)?;
        found.extend(entries(some).filter_map(pid));
        // A proc stops only where there is no room for one more name, or at the end.
        if some.len() + MAX_ENTRY < buffer.len() {
            return Ok(found);
        }
    }
}

/// More than an entry of a directory takes, in bytes: 19, and a name of up to 255.
const MAX_ENTRY: usize = 512;

fn open(at: libc::c_int, name: &CStr, flags: libc::c_int) -> Result<OwnedFd, Errno> {
    // SAFETY: a C string and plain numbers.
    let fd = unsafe { libc::openat(at, name.as_ptr(), flags | libc::O_CLOEXEC) };
    check(fd as isize)?;
    // SAFETY: a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: isize) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}
