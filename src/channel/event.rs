//! What happens in a box, as nsbox-init reports it.

use nsbox_init::wire::Event;
use pyo3::prelude::*;

use crate::channel::report::Message;
use crate::pidfd;

/// Something that happened in a box.
#[pyclass(frozen, get_all, name = "Event", module = "nsbox._core")]
#[derive(Debug, Clone)]
pub struct Happening {
    /// `started`, `exited`, `reaped` or `signalled`.
    kind: &'static str,
    /// The PID in the box; 0 for a signal.
    pid: i32,
    /// The exit status, negative for a signal; the number of a signal; nothing for a start.
    status: Option<i32>,
    /// CLOCK_MONOTONIC, in seconds.
    time: f64,
    /// Its number. Where one is missing, the event got lost: too many came before anybody looked.
    number: i64,
}

#[pymethods]
impl Happening {
    fn __repr__(&self) -> String {
        let Happening { kind, pid, status, .. } = self;
        match status {
            Some(status) if *pid == 0 => format!("<event: signal {status}>"),
            Some(status) => format!("<event: process {pid} {kind} with {status}>"),
            None => format!("<event: process {pid} {kind}>"),
        }
    }
}

impl Happening {
    /// From a report; `None` if it is none of an event.
    pub fn from_message(message: &Message) -> Option<Self> {
        let report = &message.report;
        let ended = || Some(pidfd::Status::from_wait_status(report.errno).returncode());
        let (kind, status) = match report.step {
            step if step == Event::Started as u32 => ("started", None),
            step if step == Event::Exited as u32 => ("exited", ended()),
            step if step == Event::Reaped as u32 => ("reaped", ended()),
            step if step == Event::Signalled as u32 => ("signalled", Some(report.errno)),
            _ => return None,
        };
        let (time, number) = (report.rusage[0] as f64 / 1e9, report.rusage[1]);
        Some(Happening { kind, pid: report.value as i32, status, time, number })
    }
}
