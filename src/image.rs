//! nsbox-init as an executable descriptor, and small sealed files in memory.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::{Error, Result, last};

/// The freestanding binary that build.rs made.
static BINARY: &[u8] = include_bytes!(env!("NSBOX_INIT"));

/// The descriptor in use, with the identity of the file behind it.
static CURRENT: Mutex<Option<(i32, (u64, u64))>> = Mutex::new(None);

/// A descriptor of nsbox-init, made once per process. Programs that become daemons close all descriptors, and the
/// number may then belong to something else: so the file's identity is checked each time.
pub fn init() -> Result<BorrowedFd<'static>> {
    let mut current = CURRENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let raw = match *current {
        Some((fd, identity)) if identity_of(fd) == Some(identity) => fd,
        _ => {
            let fd = executable()?.into_raw_fd();
            *current = identity_of(fd).map(|identity| (fd, identity));
            fd
        }
    };
    // SAFETY: never closed by us; should somebody else close it, the exec fails and says so.
    Ok(unsafe { BorrowedFd::borrow_raw(raw) })
}

fn identity_of(fd: i32) -> Option<(u64, u64)> {
    // SAFETY: plain numbers, for which zero is valid.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: writes the structure it is given.
    (unsafe { libc::fstat(fd, &raw mut status) } == 0).then_some((status.st_dev, status.st_ino))
}

/// A sealed memfd; where executing those is forbidden (vm.memfd_noexec, sysctl of each PID namespace), a nameless
/// file. Neither leaves anything behind, and neither can be written through /proc/PID/exe from inside a box.
fn executable() -> Result<OwnedFd> {
    match in_memory(c"nsbox-init", BINARY, true) {
        Err(Error::Os(call, errno @ (libc::EACCES | libc::EPERM | libc::ENOSYS))) => {
            nameless_file().ok_or(Error::Os(call, errno))
        }
        result => result,
    }
}

/// `bytes` in a memfd that can no longer change (memfd_create(2)).
pub fn in_memory(name: &'static std::ffi::CStr, bytes: &[u8], executable: bool) -> Result<OwnedFd> {
    // Since Linux 6.3 one says whether the file may be executed; before, the flags are unknown.
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
    // SAFETY: a new descriptor that nobody else owns.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(bytes).map_err(|_| last("write"))?;
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: plain numbers.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(last("fcntl(F_ADD_SEALS)"));
    }
    Ok(file.into())
}

/// nsbox-init in a file without a name (O_TMPFILE), on a file system from which programs can be executed.
fn nameless_file() -> Option<OwnedFd> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = ["/dev/shm", "/run", "/tmp", "/var/tmp"].map(PathBuf::from);
    own.into_iter().chain([std::env::temp_dir()]).chain(usual).find_map(|directory| nameless_in(&directory).ok())
}

fn nameless_in(directory: &Path) -> std::io::Result<OwnedFd> {
    let mut file = File::options().write(true).custom_flags(libc::O_TMPFILE).mode(0o500).open(directory)?;
    file.write_all(BINARY)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o500))?;
    // A file open for writing cannot be executed (ETXTBSY), so it is opened again, and the first descriptor closed.
    let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if file.metadata()?.ino() != again.metadata()?.ino() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    // SAFETY: plain numbers and a C string; only asks.
    let allowed = unsafe {
        libc::syscall(libc::SYS_faccessat2, again.as_raw_fd(), c"".as_ptr(), libc::X_OK, libc::AT_EMPTY_PATH)
    };
    if allowed != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(again.into())
}
