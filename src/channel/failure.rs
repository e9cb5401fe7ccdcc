//! Reports of failures as errors.

use nsbox_init::wire::{Fault, MountPart, Report};

use crate::call::{Value, call};
use crate::error::{Error, StepFailure};
use crate::plan::plan::Plan;
use crate::step_name::StepName;

/// A step that nsbox-init reports as failed.
pub fn step_failed(plan: &Plan, report: &Report) -> Error {
    let step = report.step as usize;
    let part = MountPart::ALL.into_iter().find(|(part, _)| *part as i64 == report.value);
    let detail = match plan.steps.get(step).map(|step| step.name) {
        Some(
            StepName::Root
            | StepName::Bind
            | StepName::Tmpfs
            | StepName::Overlay
            | StepName::Proc
            | StepName::MountProc
            | StepName::PivotRoot,
        ) => part.map(|(_, words)| words.to_string()).unwrap_or_default(),
        Some(StepName::Descriptors) if report.value >= 0 => format!("descriptor {}", report.value),
        Some(StepName::Open | StepName::Read | StepName::Write) if report.errno == libc::EXDEV => {
            "a process in the box has mounted something over it, so it is not the kernel's file".to_string()
        }
        Some(StepName::ClockOffsets | StepName::PidMax) => if report.value == 0 { "open" } else { "write" }.to_string(),
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
        step: StepName::Plan,
        actor: "init",
        calls: vec![call("read", [("fd", Value::File("plan".into()))])],
        detail: format!("{what} at offset {}", report.value),
    }))
}

/// A step of the plan that failed.
pub fn failure(plan: &Plan, step: u16, errno: i32, detail: String) -> Error {
    let step = &plan.steps[usize::from(step).min(plan.steps.len() - 1)];
    Error::Step(Box::new(StepFailure { errno, step: step.name, actor: step.actor.name(), calls: step.calls(), detail }))
}
