//! What happens in a box, as nsbox-init reports it.

use nsbox_init::wire::{self, Report};
use pyo3::prelude::*;

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
    /// From a report; `None` if it reports something else.
    pub fn from_report(report: &Report) -> Option<Self> {
        let Report::Happened { event, pid, status, time, number } = *report else { return None };
        let ended = || Some(Status::from_wait_status(status).returncode());
        let (kind, status) = match event {
            wire::Event::Started => ("started", None),
            wire::Event::Exited => ("exited", ended()),
            wire::Event::Reaped => ("reaped", ended()),
            wire::Event::Signalled => ("signalled", Some(status)),
        };
        Some(Event { kind, pid, status, time: time as f64 / 1e9, number })
    }
}
