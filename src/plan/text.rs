//! A plan as text: each step as strace(1) would print it.

use std::fmt;

use crate::call::text_of;
use crate::plan::plan::Plan;
use crate::plan::step::Step;

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|step| step.actor.name().len()).fold(8, usize::max);
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(out, "{index:2}  {:<width$} {:<20} {}", step.actor.name(), step.name, step.call())?;
        }
        for (namespace, reason) in &self.added {
            if self.namespace_names().contains(namespace) {
                writeln!(out, "    a new {namespace} namespace was added: {reason}")?;
            } else {
                writeln!(out, "    the {namespace} namespace is joined as well: {reason}")?;
            }
        }
        for note in &self.notes {
            writeln!(out, "    {note}")?;
        }
        for (part, reason) in &self.left_out {
            writeln!(out, "    {part} is left out: {reason}")?;
        }
        Ok(())
    }
}

impl Step {
    /// The system calls with their arguments, in the form in which strace(1) prints them.
    pub fn call(&self) -> String {
        text_of(&self.calls())
    }
}
