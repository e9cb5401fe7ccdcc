//! The channel to the caller: reports up, one word down.

use nsbox_init::wire::{GO, Malformed, Report, ReportKind};

use crate::FAILED;
use crate::launch::Failure;
use crate::sys::{self, Attached};

/// The socket and the lifeline.
pub struct Channel {
    /// A SOCK_SEQPACKET end: every send is one whole record.
    pub socket: i32,
    /// Readable once the calling process is dead.
    pub lifeline: i32,
}

impl Channel {
    /// Send a record. An error means that nobody listens any more.
    pub fn send(&self, report: Report, attached: Option<Attached>) -> sys::Result<()> {
        sys::send(self.socket, &report.to_bytes(), attached)
    }

    /// Say which step failed and why, and end.
    pub fn fail(&self, step: u16, errno: sys::Errno, value: i64) -> ! {
        self.failed(Failure { step: u32::from(step), errno, value });
        sys::exit(FAILED)
    }

    /// Say which step of a request failed, and go on.
    pub fn failed(&self, failure: Failure) {
        let Failure { step, errno, value } = failure;
        let _ = self.send(Report { step, errno, value, ..Report::new(ReportKind::Failed) }, None);
    }

    /// Say what is wrong with the plan.
    pub fn refuse(&self, malformed: Malformed) {
        let Malformed { fault, offset } = malformed;
        let _ =
            self.send(Report { errno: fault as i32, value: offset as i64, ..Report::new(ReportKind::Refused) }, None);
    }

    /// Say that a step was carried out, and how long it has taken since `before`.
    pub fn performed(&self, step: u16, before: u64) -> sys::Result<()> {
        self.send(performed(step, before), None)
    }

    /// Ask for the id maps and wait for the word that they are there. Anything but that word ends this process:
    /// the caller has given up, or is dead.
    pub fn await_maps(&self) {
        let _ = self.send(Report::new(ReportKind::MapsWanted), None);
        loop {
            match sys::poll([self.socket, self.lifeline], None) {
                Ok([true, _]) => match self.hear() {
                    Heard::Go => return,
                    Heard::Nothing => {}
                    Heard::End | Heard::Hangup => sys::exit(FAILED),
                },
                _ => sys::exit(FAILED),
            }
        }
    }

    /// The caller's next word. Does not block once the socket is readable.
    pub fn hear(&self) -> Heard {
        let mut word = [0];
        match sys::read(self.socket, &mut word) {
            Ok(1) if word[0] == GO => Heard::Go,
            Ok(1) => Heard::End,
            // It closed its end with reports unread; what it said before that comes next.
            Err(sys::ECONNRESET) => Heard::Nothing,
            _ => Heard::Hangup,
        }
    }
}

/// The record of a step that was carried out since `before`.
pub fn performed(step: u16, before: u64) -> Report {
    let value = sys::nanoseconds().saturating_sub(before) as i64;
    Report { step: u32::from(step), value, ..Report::new(ReportKind::Performed) }
}

/// What the caller says.
pub enum Heard {
    /// The maps are written.
    Go,
    /// It gives up: end everything.
    End,
    /// Nothing yet.
    Nothing,
    /// It will say nothing more.
    Hangup,
}
