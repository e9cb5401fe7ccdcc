//! nsbox-init as an executable descriptor, and small sealed files in memory.

use std::ffi::CStr;
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use syscalls::{Sysno, syscall};

use crate::descriptors::above_stdio;
use crate::error::{Error, Result, last};

/// The mode of a file that can be executed but not read.
const EXECUTE_ONLY: u32 = 0o111;

/// The freestanding binary that build.rs made.
static BINARY: &[u8] = include_bytes!(env!("NSBOX_INIT"));

/// The file that is kept open for later starts.
static KEPT: Mutex<Option<(RawFd, Identity)>> = Mutex::new(None);

/// Device and inode, and the time of its last change.
type Identity = (u64, u64, (i64, i64));

/// nsbox-init as a file that can be executed.
pub enum Image {
    /// Open until the process ends.
    Kept(RawFd, Identity),
    /// Made for one start.
    Own(OwnedFd),
}

impl Image {
    /// Its number.
    pub fn fd(&self) -> RawFd {
        match self {
            Image::Kept(fd, _) => *fd,
            Image::Own(fd) => fd.as_raw_fd(),
        }
    }

    /// Whether the number still belongs to it, and it is unchanged. Programs that become daemons close all descriptors, and the number may
    /// then belong to something else. And a program in a box can get at the file, as the interpreter of a script that
    /// names /proc/self/exe, and make it readable; the kernel notes the time of that (inode(7), ctime). This makes a
    /// single raw system call, so a vfork's child may call it.
    pub fn is_open(&self) -> bool {
        match self {
            Image::Kept(fd, identity) => identity_of(*fd) == Some(*identity),
            Image::Own(_) => true,
        }
    }
}

/// nsbox-init. The file is made once per process, and again if it is no longer open or was changed. No duplicate is made, which would
/// take one more descriptor; so another thread may close it, and the child checks it once more with
/// [`Image::is_open`].
pub fn init() -> Result<Image> {
    // In a child of os.fork a thread that does not exist there may hold the lock for ever.
    let Ok(mut kept) = KEPT.try_lock() else { return file(c"nsbox-init", BINARY, true).map(Image::Own) };
    if let Some((fd, identity)) = *kept {
        let image = Image::Kept(fd, identity);
        if image.is_open() {
            return Ok(image);
        }
        if identity_of(fd).is_some_and(|(device, inode, _)| (device, inode) == (identity.0, identity.1)) {
            // SAFETY: it is still ours, and each start checks the number once more.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
    let made = above_stdio(file(c"nsbox-init", BINARY, true)?)?;
    let Some(identity) = identity_of(made.as_raw_fd()) else { return Ok(Image::Own(made)) };
    let fd = made.into_raw_fd();
    *kept = Some((fd, identity));
    Ok(Image::Kept(fd, identity))
}

fn identity_of(fd: RawFd) -> Option<Identity> {
    // SAFETY: plain numbers, for which zero is valid.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: writes the structure it is given. Both architectures have the same one as the C library.
    let result = unsafe { syscall!(Sysno::fstat, fd, &raw mut status) };
    let changed = (status.st_ctime, status.st_ctime_nsec);
    result.is_ok().then_some((status.st_dev, status.st_ino, changed))
}

/// `bytes` in a sealed memfd; where that is forbidden (vm.memfd_noexec, a sysctl of each PID namespace, or a filter),
/// in a file without a name. Neither leaves anything behind, and neither can be written through /proc/PID/exe from
/// inside a box. An executable one cannot even be read, which keeps root of a new user namespace from tracing it
/// (ptrace(2)).
pub fn file(name: &'static CStr, bytes: &[u8], executable: bool) -> Result<OwnedFd> {
    match in_memory(name, bytes, executable) {
        Err(Error::Os(call, errno @ (libc::EACCES | libc::EPERM | libc::ENOSYS))) => {
            nameless(bytes, executable).ok_or(Error::Os(call, errno))
        }
        result => result,
    }
}

/// `bytes` in a memfd that can no longer change (memfd_create(2)).
fn in_memory(name: &'static CStr, bytes: &[u8], executable: bool) -> Result<OwnedFd> {
    // These flags say whether the file may be executed; they are unknown before Linux 6.3.
    let kind = if executable { libc::MFD_EXEC } else { libc::MFD_NOEXEC_SEAL };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a C string and flags.
    let mut fd = unsafe { libc::memfd_create(name.as_ptr(), flags | kind) };
    if fd < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        // SAFETY: as above.
        fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    }
    if fd < 0 {
        return Err(last("memfd_create"));
    }
    // SAFETY: a new descriptor, which nothing else owns.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(bytes).map_err(|_| last("write"))?;
    if executable {
        file.set_permissions(Permissions::from_mode(EXECUTE_ONLY)).map_err(|_| last("fchmod"))?;
    }
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: plain numbers.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(last("fcntl(F_ADD_SEALS)"));
    }
    Ok(file.into())
}

/// `bytes` in a file without a name (O_TMPFILE), if need be on a file system from which programs can be executed.
fn nameless(bytes: &[u8], executable: bool) -> Option<OwnedFd> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = ["/dev/shm", "/run", "/tmp", "/var/tmp"].map(PathBuf::from);
    let mut places = own.into_iter().chain([std::env::temp_dir()]).chain(usual);
    places.find_map(|directory| nameless_in(&directory, bytes, executable).ok())
}

fn nameless_in(directory: &Path, bytes: &[u8], executable: bool) -> std::io::Result<OwnedFd> {
    let mut file = File::options().write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(directory)?;
    file.write_all(bytes)?;
    // A file open for writing cannot be executed (ETXTBSY), so it is opened again, and the first descriptor closed.
    let again = File::open(format!("/proc/thread-self/fd/{}", file.as_raw_fd()))?;
    if file.metadata()?.ino() != again.metadata()?.ino() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    if executable {
        file.set_permissions(Permissions::from_mode(EXECUTE_ONLY))?;
        let (fd, nothing) = (again.as_raw_fd(), c"".as_ptr());
        // SAFETY: plain numbers and a C string; changes nothing.
        let allowed = unsafe { libc::syscall(libc::SYS_faccessat2, fd, nothing, libc::X_OK, libc::AT_EMPTY_PATH) };
        if allowed != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(again.into())
}
