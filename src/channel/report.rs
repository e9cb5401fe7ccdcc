//! Receiving reports.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nsbox_init::wire::{REPORT, Report};

use crate::channel::failure::not_prepared;
use crate::descriptors::above_stdio;
use crate::error::{Error, Result, os};

/// One report, with what was attached to it.
pub struct Message {
    /// The report.
    pub report: Report,
    /// The PID of the process in whose name it was sent, in our namespace.
    pub sender: i32,
    /// A descriptor that was attached.
    pub attached: Option<OwnedFd>,
}

/// The next report; `None` at the end of the connection, and if no report has come yet. Messages that are no report are
/// skipped.
pub fn receive(socket: &OwnedFd) -> Result<Option<Message>> {
    loop {
        let mut bytes = [0; REPORT];
        let mut control = nix::cmsg_space!(libc::ucred, [RawFd; 1]);
        let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let (mut sender, mut attached) = (0, None);
        let length = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            // The kernel leaves a descriptor out when the limit of open ones is reached.
            Ok(message) if message.flags.contains(MsgFlags::MSG_CTRUNC) => {
                return Err(not_prepared("recvmsg(SCM_RIGHTS)", libc::EMFILE));
            }
            Ok(message) => {
                for control in message.cmsgs().map_err(os("recvmsg"))? {
                    match control {
                        ControlMessageOwned::ScmCredentials(credentials) => sender = credentials.pid(),
                        ControlMessageOwned::ScmRights(fds) => {
                            for fd in fds {
                                // SAFETY: a new descriptor, which nothing else owns.
                                attached = Some(above_stdio(unsafe { OwnedFd::from_raw_fd(fd) })?);
                            }
                        }
                        _ => {}
                    }
                }
                message.bytes
            }
            // The other end was closed with messages unread; the reports that it sent before can still be received.
            Err(Errno::ECONNRESET | Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(Error::Os("recvmsg", errno as i32)),
        };
        // At the end of the connection there are neither bytes nor a sender; an empty message has one.
        if length == 0 && sender == 0 {
            return Ok(None);
        }
        if let Some(report) = Report::from_bytes(bytes).filter(|_| length == REPORT) {
            return Ok(Some(Message { report, sender, attached }));
        }
    }
}
