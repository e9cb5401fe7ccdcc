//! Error numbers.

use linux_raw_sys::errno;

/// An error number (errno(3)).
pub type Errno = i32;

/// What every wrapper returns.
pub type Result<T> = core::result::Result<T, Errno>;

// The error numbers that init distinguishes.
pub const EIO: Errno = errno::EIO as Errno;

pub const ENOENT: Errno = errno::ENOENT as Errno;

pub const ENOSYS: Errno = errno::ENOSYS as Errno;

pub const ENOTDIR: Errno = errno::ENOTDIR as Errno;

pub const EACCES: Errno = errno::EACCES as Errno;

pub const EBUSY: Errno = errno::EBUSY as Errno;

pub const EAGAIN: Errno = errno::EAGAIN as Errno;

pub const EPERM: Errno = errno::EPERM as Errno;

pub const EINVAL: Errno = errno::EINVAL as Errno;

pub const EMFILE: Errno = errno::EMFILE as Errno;

pub const ECONNRESET: Errno = errno::ECONNRESET as Errno;

pub const ECHILD: Errno = errno::ECHILD as Errno;

pub const ETXTBSY: Errno = errno::ETXTBSY as Errno;

pub const EXDEV: Errno = errno::EXDEV as Errno;

pub const EISDIR: Errno = errno::EISDIR as Errno;

pub const EFBIG: Errno = errno::EFBIG as Errno;

pub const ENXIO: Errno = errno::ENXIO as Errno;

pub const ECANCELED: Errno = errno::ECANCELED as Errno;

pub const ETIMEDOUT: Errno = errno::ETIMEDOUT as Errno;

pub const ESRCH: Errno = errno::ESRCH as Errno;

pub const EEXIST: Errno = errno::EEXIST as Errno;

pub const ENAMETOOLONG: Errno = errno::ENAMETOOLONG as Errno;
