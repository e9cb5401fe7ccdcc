//! A plan and its steps as Python sees them.

use pyo3::prelude::*;

use crate::call::{Call, text_of};
use crate::kinds::kinds_of;
use crate::plan::plan::Plan;
use crate::plan::step::Step;

/// One step as Python sees it.
#[pyclass(frozen, get_all, name = "Step", module = "nsbox._core")]
pub struct StepView {
    /// Its number.
    index: usize,
    /// A stable name, such as `mount proc`.
    name: &'static str,
    /// `caller`, `init` or `payload`.
    actor: &'static str,
    /// The system calls with their arguments as values, in order.
    calls: Vec<Call>,
    /// The same as text.
    call: String,
    /// The manual page that describes it.
    manual: &'static str,
    /// Why it is done.
    why: &'static str,
}

#[pymethods]
impl StepView {
    fn __repr__(&self) -> String {
        format!("<step {}: {} by {}: {}>", self.index, self.name, self.actor, self.call)
    }
}

#[pymethods]
impl Plan {
    /// The steps, in order.
    #[getter(steps)]
    fn step_views(&self) -> Vec<StepView> {
        let view = |(index, step): (usize, &Step)| {
            let calls = step.calls();
            StepView {
                index,
                name: step.name.text(),
                actor: step.actor.name(),
                call: text_of(&calls),
                calls,
                manual: step.manual,
                why: step.why,
            }
        };
        self.steps.iter().enumerate().map(view).collect()
    }

    /// The names of the new namespaces.
    #[getter(namespaces)]
    pub fn namespace_names(&self) -> Vec<&'static str> {
        kinds_of(self.namespaces).map(|kind| kind.name).collect()
    }

    /// The names of the namespaces that are joined.
    #[getter(joined)]
    fn joined_names(&self) -> Vec<&'static str> {
        kinds_of(self.joined).map(|kind| kind.name).collect()
    }

    /// Namespaces that were not asked for, with the reason why they are there.
    #[getter(added)]
    fn added_namespaces(&self) -> Vec<(&'static str, &'static str)> {
        self.added.clone()
    }

    /// What is to be known of the rights of its programs, such as that root inside is root outside: a sentence each.
    #[getter(notes)]
    fn rights_notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// The user that programs become by default, since the caller's own is not mapped; None if it is.
    #[getter]
    fn uid(&self) -> Option<u32> {
        self.rights.uid
    }

    /// The same for the group.
    #[getter]
    fn gid(&self) -> Option<u32> {
        self.rights.gid
    }

    /// Whether programs leave the supplementary groups of the caller by default.
    #[getter]
    fn leaves_groups(&self) -> bool {
        self.rights.leave_groups
    }

    /// Whether a program can be root outside: 0 inside is 0 outside, or the caller's id is not mapped.
    #[getter]
    fn reaches_root(&self) -> bool {
        self.rights.reaches_root()
    }

    /// The parts of `harden="best"` that are left out, with the reason why.
    #[getter(left_out)]
    fn left_out_parts(&self) -> Vec<(String, String)> {
        self.left_out.clone()
    }

    /// The bytes that are sent to nsbox-init.
    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, pyo3::types::PyBytes> {
        pyo3::types::PyBytes::new(py, &self.to_bytes())
    }

    fn __str__(&self) -> String {
        self.to_string()
    }

    fn __repr__(&self) -> String {
        let names = self.namespace_names();
        let joined =
            if self.joined == 0 { String::new() } else { format!("joined {}, ", self.joined_names().join(", ")) };
        format!(
            "<plan of {} steps for {joined}{}>",
            self.steps.len(),
            if names.is_empty() { "no new namespaces".into() } else { names.join(", ") }
        )
    }
}
