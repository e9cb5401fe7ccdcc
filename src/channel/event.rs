//! What happens in a box, as nsbox-init reports it.

use nsbox_init::wire;
use pyo3::prelude::*;

use crate::channel::report::Message;
use crate::pidfd::Status;

/// Something that happened in a box.
#[pyclass(frozen, get_all, module = "nsbox._core")]
#[derive(Debug, Clone)]
pub struct Event {
    /// `started`, `exited`, `reaped` or `signalled`.
    kind: &'static str,
    /// The PID in the box; 0 for a signal.
    pid: i32,
    /// The exit status, negative for a signal; the number of a signal; None for a start.
    status: Option<i32>,
    /// CLOCK_MONOTONIC, in seconds.
    time: f64,
    /// Its number. A gap in the numbers means that events were lost: the kernel's buffer was full.
    number: i64,
}

#[pymethods]
impl Event {
    fn __repr__(&self) -> String {
        let Event { kind, pid, status, .. } = self;
        match status {
            Some(status) if *pid == 0 => format!("<event: signal {status}>"),
            Some(status) => format!("<event: process {pid} {kind} with {status}>"),
            None => format!("<event: process {pid} {kind}>"),
        }
    }
}

impl Event {
    /// From a report; `None` if its kind of event is unknown.
    pub fn from_message(message: &Message) -> Option<Self> {
        let report = &message.report;
        let ended = || Some(Status::from_wait_status(report.errno).returncode());
        let (kind, status) = match report.step {
            step if step == wire::Event::Started as u32 => ("started", None),
            step if step == wire::Event::Exited as u32 => ("exited", ended()),
            step if step == wire::Event::Reaped as u32 => ("reaped", ended()),
            step if step == wire::Event::Signalled as u32 => ("signalled", Some(report.errno)),
            _ => return None,
        };
        let (time, number) = (report.rusage[0] as f64 / 1e9, report.rusage[1]);
        Some(Event { kind, pid: report.value as i32, status, time, number })
    }
}
