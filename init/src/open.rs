//! The operations that open something, which is attached to a report.

use linux_raw_sys::general::O_RDONLY;
use nsbox_init::wire::Op;

use crate::proc::Proc;
use crate::sys::{self, EINVAL, Result};

/// Carry out one of them; `proc` is init's own.
pub fn opened(proc: Proc, op: &Op<&'static [u8]>) -> Result<i32> {
    match op {
        Op::Open { path } => {
            let fd = sys::open_at_once(path.0.as_ptr(), O_RDONLY)?;
            sys::let_wait(fd);
            Ok(fd)
        }
        Op::OpenOwn { path, link: 0 } => proc.open(path.0, O_RDONLY),
        Op::OpenOwn { path, .. } => proc.open_link(path.0),
        Op::Detached { fstype } => sys::detached(fstype.0, None),
        Op::DetachedProc { namespace } => sys::detached(c"proc".to_bytes_with_nul(), Some(*namespace)),
        Op::Socket { family, kind, protocol } => sys::socket(*family, *kind, *protocol),
        _ => Err(EINVAL),
    }
}
