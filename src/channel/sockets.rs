//! The socket pair of a connection, and what is sent over it.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, setsockopt, socketpair, sockopt,
};
use nsbox_init::wire::{END, FILED};

use crate::descriptors::above_stdio;
use crate::error::{Error, Result, os};
use crate::image;

/// The largest message that is tried, in bytes: a third of the smallest buffer that a socket has by default (socket(7)).
const MAX_IN_MESSAGE: usize = 64 << 10;

/// Our end and nsbox-init's. Each message keeps its length (SOCK_SEQPACKET); what we receive carries the PID of the
/// sender, which the kernel translates for us (unix(7), SO_PASSCRED).
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(os("socketpair"))?;
    let ours = above_stdio(ours)?;
    setsockopt(&ours, sockopt::PassCred, &true).map_err(os("setsockopt(SO_PASSCRED)"))?;
    Ok((ours, theirs))
}

/// Send a message with descriptors; false if the kernel has no room for one of this size.
pub fn send(socket: &OwnedFd, bytes: &[u8], fds: &[RawFd]) -> Result<bool> {
    if bytes.len() > MAX_IN_MESSAGE {
        return Ok(false);
    }
    let (parts, rights) = ([std::io::IoSlice::new(bytes)], [ControlMessage::ScmRights(fds)]);
    let attached = if fds.is_empty() { &[][..] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    match sendmsg::<()>(socket.as_raw_fd(), &parts, attached, flags, None) {
        Ok(_) => Ok(true),
        Err(Errno::EMSGSIZE | Errno::ENOBUFS | Errno::EAGAIN) => Ok(false),
        Err(errno) => Err(Error::Os("sendmsg", errno as i32)),
    }
}

/// Send a message that there has to be room for.
pub fn send_small(socket: &OwnedFd, bytes: &[u8], fds: &[RawFd]) -> Result<()> {
    if send(socket, bytes, fds)? { Ok(()) } else { Err(Error::Os("sendmsg", libc::EAGAIN)) }
}

/// Send a plan in a file, which nsbox-init gets after `first` and before `others`. A large environment needs that, and
/// so does every plan where the administrator has made the buffers small.
pub fn send_in_file(socket: &OwnedFd, plan: &[u8], first: &[RawFd], others: &[RawFd]) -> Result<()> {
    let file = image::file(c"nsbox-plan", plan, false)?;
    send_small(socket, &[FILED], &[first, &[file.as_raw_fd()], others].concat())
}

/// Ask nsbox-init to end everything. It needs no right to send signals, which a caller that has changed its user does
/// not have any more (kill(2)). False if the message cannot be sent.
pub fn ask_to_end(socket: &OwnedFd) -> bool {
    send(socket, &[END], &[]).unwrap_or(false)
}
