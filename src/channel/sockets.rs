//! The socket pair of a connection.

use std::os::fd::OwnedFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};

use crate::descriptors::above_stdio;
use crate::error::{Result, os};

/// Our end and nsbox-init's. Each message keeps its length (SOCK_SEQPACKET); what we receive carries the PID of the
/// sender, which the kernel translates for us (unix(7), SO_PASSCRED).
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(os("socketpair"))?;
    let ours = above_stdio(ours)?;
    setsockopt(&ours, sockopt::PassCred, &true).map_err(os("setsockopt(SO_PASSCRED)"))?;
    Ok((ours, theirs))
}
