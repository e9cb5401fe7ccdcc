//! Namespaces, and what belongs to them.

use super::errno::Result;
use syscalls::{Sysno, syscall};

pub fn unshare(flags: u64) -> Result<()> {
    call!(unshare, flags).map(drop)
}

pub fn setns(fd: i32, flags: u64) -> Result<()> {
    call!(setns, fd, flags).map(drop)
}

pub fn sethostname(name: &[u8]) -> Result<()> {
    call!(sethostname, name.as_ptr(), name.len()).map(drop)
}

pub fn setdomainname(name: &[u8]) -> Result<()> {
    call!(setdomainname, name.as_ptr(), name.len()).map(drop)
}
