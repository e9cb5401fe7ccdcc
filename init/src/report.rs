//! The connection to the caller: reports out, commands in.

use nsbox_init::wire::{Data, Failure, GO, Malformed, NAMESPACES, Report};

use crate::sys::{self, Attached};

/// Exit status when init itself cannot go on. What failed has been reported over the socket.
pub const FAILED: i32 = 1;

/// The socket and the lifeline.
pub struct Channel {
    /// A SOCK_SEQPACKET end: every send is one whole record.
    pub socket: i32,
    /// A pidfd of the calling process: readable once that is dead.
    pub lifeline: i32,
}

impl Channel {
    /// Send a record. An error means that the caller has closed its end.
    pub fn send(&self, report: Report, attached: Option<Attached>) -> sys::Result<()> {
        sys::send(self.socket, &report.to_bytes(), attached)
    }

    /// Report which step failed and why, and exit.
    pub fn fail(&self, step: u16, errno: sys::Errno, value: i64) -> ! {
        self.failed(Failure { step: u32::from(step), errno, value });
        sys::exit(FAILED)
    }

    /// Report which step of a request failed, and go on.
    pub fn failed(&self, failure: Failure) {
        let _ = self.send(Report::Failed(failure), None);
    }

    /// Report what is wrong with the plan.
    pub fn refuse(&self, malformed: Malformed) {
        let _ = self.send(Report::Refused(malformed), None);
    }

    /// Report that a step was carried out, and how long it took since `before`.
    pub fn performed(&self, step: u16, before: u64) -> sys::Result<()> {
        self.send(performed(step, before, Data::NONE), None)
    }

    /// Ask for the id maps and wait until the caller has written them. Exits if the caller ends the start instead, or
    /// is dead.
    pub fn await_maps(&self) {
        // Without this report the caller writes no maps, and would wait as well.
        if self.send(Report::MapsWanted, None).is_err() {
            sys::exit(FAILED);
        }
        loop {
            match sys::poll([self.socket, self.lifeline], None) {
                Ok([true, _]) => match self.receive() {
                    Command::Go => return,
                    Command::None => {}
                    Command::Namespaces(reply) => sys::close(reply),
                    Command::End | Command::Closed => sys::exit(FAILED),
                },
                _ => sys::exit(FAILED),
            }
        }
    }

    /// The next command. Does not block once the socket is readable.
    pub fn receive(&self) -> Command {
        let (mut byte, mut rights) = ([0], sys::Rights::new());
        let received = sys::receive_into(self.socket, &mut byte, &mut rights);
        match (received, byte, rights.fds()) {
            (Ok(1), [GO], _) => Command::Go,
            (Ok(1), [NAMESPACES], &[reply]) => Command::Namespaces(reply),
            // Without a descriptor for the replies: the limit of open ones is reached.
            (Ok(1), [NAMESPACES], _) => Command::None,
            (Ok(1), ..) => Command::End,
            // The caller closed its end with reports unread; commands that it sent before that can still be read.
            (Err(sys::ECONNRESET), ..) => Command::None,
            _ => Command::Closed,
        }
    }
}

/// The report of a step that was carried out since `before`.
pub fn performed(step: u16, before: u64, data: Data) -> Report {
    let nanoseconds = sys::nanoseconds().saturating_sub(before) as i64;
    Report::Performed { step: u32::from(step), nanoseconds, data }
}

/// What the caller sends.
pub enum Command {
    /// The maps are written.
    Go,
    /// End everything.
    End,
    /// Send the namespaces of init to this socket.
    Namespaces(i32),
    /// Nothing yet.
    None,
    /// The caller has closed its end: no command will follow.
    Closed,
}
