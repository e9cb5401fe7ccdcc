//! What nsbox-init says, received.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nsbox_init::wire::{REPORT, Report, ReportKind};

use crate::descriptors::above_stdio;
use crate::error::{Error, Result, os};

/// One report, with what came along.
pub struct Message {
    /// What it is.
    pub kind: ReportKind,
    /// The record.
    pub report: Report,
    /// In whose name it was sent, as a PID of our namespace.
    pub sender: i32,
    /// A descriptor that was attached.
    pub attached: Option<OwnedFd>,
}

/// The next report; `None` when there is none, be it at the end of the connection or because none has come yet. What
/// is no report is passed over.
pub fn receive(socket: &OwnedFd) -> Result<Option<Message>> {
    loop {
        let mut bytes = [0; REPORT];
        let mut control = nix::cmsg_space!(libc::ucred, [RawFd; 1]);
        let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let (mut sender, mut attached) = (0, None);
        let length = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => {
                for control in message.cmsgs().map_err(os("recvmsg"))? {
                    match control {
                        ControlMessageOwned::ScmCredentials(credentials) => sender = credentials.pid(),
                        ControlMessageOwned::ScmRights(fds) => {
                            for fd in fds {
                                // SAFETY: the kernel just made this descriptor for us.
                                attached = Some(above_stdio(unsafe { OwnedFd::from_raw_fd(fd) })?);
                            }
                        }
                        _ => {}
                    }
                }
                message.bytes
            }
            // The other end was closed with something unread in it; what it had said before comes next.
            Err(Errno::ECONNRESET | Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(Error::Os("recvmsg", errno as i32)),
        };
        // At the end of the connection there are neither bytes nor a sender; an empty message has one.
        if length == 0 && sender == 0 {
            return Ok(None);
        }
        if let Some((kind, report)) = Report::from_bytes(bytes).filter(|_| length == REPORT) {
            return Ok(Some(Message { kind, report, sender, attached }));
        }
    }
}
