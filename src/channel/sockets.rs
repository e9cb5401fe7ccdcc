//! The socket pair of a connection, and what is sent over it.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, setsockopt, socketpair, sockopt,
};
use nsbox_init::wire::FILED;

use crate::descriptors::above_stdio;
use crate::error::{Result, os};
use crate::image;

/// The largest plan that is sent as a message, in bytes: a third of the smallest buffer that a socket has by default
/// (socket(7)).
const MAX_PLAN_IN_MESSAGE: usize = 64 << 10;

/// Our end and nsbox-init's. Each message keeps its length (SOCK_SEQPACKET); what we receive carries the PID of the
/// sender, which the kernel translates for us (unix(7), SO_PASSCRED).
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(os("socketpair"))?;
    let ours = above_stdio(ours)?;
    setsockopt(&ours, sockopt::PassCred, &true).map_err(os("setsockopt(SO_PASSCRED)"))?;
    Ok((ours, theirs))
}

/// Send descriptors, without any bytes.
pub fn send_descriptors(socket: &OwnedFd, fds: &[RawFd]) -> Result<()> {
    send(socket, &[], fds).map_err(os("sendmsg(SCM_RIGHTS)"))
}

/// Send a plan, and with it `first` and then `others`. Most plans fit into the socket's buffer, which is cheapest. A
/// large environment needs a file, and so does every plan where the administrator has made the buffers small: nsbox-init
/// then gets the byte `FILED`, and the file after `first`.
pub fn send_plan(socket: &OwnedFd, plan: &[u8], first: &[RawFd], others: &[RawFd]) -> Result<()> {
    let sent = match plan.len() {
        0..=MAX_PLAN_IN_MESSAGE => send(socket, plan, &[first, others].concat()),
        _ => Err(Errno::EMSGSIZE),
    };
    match sent {
        Err(Errno::EMSGSIZE | Errno::ENOBUFS | Errno::EAGAIN) => {
            let file = image::file(c"nsbox-plan", plan, false)?;
            send(socket, &[FILED], &[first, &[file.as_raw_fd()], others].concat())
        }
        sent => sent,
    }
    .map_err(os("sendmsg(plan)"))
}

fn send(socket: &OwnedFd, bytes: &[u8], fds: &[RawFd]) -> nix::Result<()> {
    let (parts, rights) = ([std::io::IoSlice::new(bytes)], [ControlMessage::ScmRights(fds)]);
    let attached = if fds.is_empty() { &[][..] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(socket.as_raw_fd(), &parts, attached, flags, None).map(drop)
}
