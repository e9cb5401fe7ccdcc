//! Reports of failures as errors.

use nsbox_init::wire::{Fault, MountPart, Report};

use crate::error::{Error, StepFailure};
use crate::plan::plan::Plan;

/// A step that nsbox-init reports as failed.
pub fn step_failed(plan: &Plan, report: &Report) -> Error {
    let step = report.step as usize;
    let part = MountPart::ALL.into_iter().find(|(part, _)| *part as i64 == report.value);
    let detail = match plan.steps.get(step).map(|step| step.name) {
        Some("root" | "bind" | "tmpfs" | "overlay" | "proc" | "mount proc" | "pivot root") => {
            part.map(|(_, words)| words.to_string()).unwrap_or_default()
        }
        Some("descriptors") if report.value >= 0 => format!("descriptor {}", report.value),
        Some("open" | "read" | "write") if report.errno == libc::EXDEV => {
            "something that runs in the box has mounted over it, so the kernel is not who would answer".to_string()
        }
        Some("clock offsets" | "pid_max") => if report.value == 0 { "open" } else { "write" }.to_string(),
        _ => String::new(),
    };
    failure(plan, step as u16, report.errno, detail)
}

/// The plan was refused.
pub fn refused(report: &Report) -> Error {
    let fault = Fault::ALL.into_iter().find(|fault| *fault as i32 == report.errno);
    let what = fault.map_or_else(|| format!("fault {}", report.errno), |fault| format!("{fault:?}").to_lowercase());
    Error::Step(Box::new(StepFailure {
        errno: libc::EBADMSG,
        step: "plan",
        actor: "init",
        call: "read(plan)".into(),
        detail: format!("{what} at offset {}", report.value),
    }))
}

/// A step of the plan that failed.
pub fn failure(plan: &Plan, step: u16, errno: i32, detail: String) -> Error {
    let step = &plan.steps[usize::from(step).min(plan.steps.len() - 1)];
    Error::Step(Box::new(StepFailure { errno, step: step.name, actor: step.actor.name(), call: step.call(), detail }))
}
