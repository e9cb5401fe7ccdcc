//! Reports of failures as errors.

use nsbox_init::wire::{Failure, Malformed, MountPart};

use crate::error::{Error, StepFailure};
use crate::plan::plan::Plan;

/// The error for a step that nsbox-init reports as failed.
pub fn step_failed(plan: &Plan, failed: Failure) -> Error {
    let Failure { step, errno, value } = failed;
    let step = step as usize;
    let part = MountPart::ALL.into_iter().find(|(part, _)| *part as i64 == value);
    let detail = match plan.steps.get(step).map(|step| step.name) {
        Some("root" | "bind" | "tmpfs" | "overlay" | "proc" | "mount proc" | "pivot root") => {
            part.map(|(_, words)| words.to_string()).unwrap_or_default()
        }
        Some("descriptors") if value >= 0 => format!("descriptor {value}"),
        Some("open" | "read" | "write") if errno == libc::EXDEV => {
            "a process in the box has mounted something over it, so its contents would not come from the kernel"
                .to_string()
        }
        Some("clock offsets" | "pid_max") => if value == 0 { "open" } else { "write" }.to_string(),
        _ => String::new(),
    };
    failure(plan, step as u16, errno, detail)
}

/// The error for a plan that was refused.
pub fn refused(malformed: Malformed) -> Error {
    let Malformed { fault, offset } = malformed;
    let detail = format!("{} at offset {offset}", format!("{fault:?}").to_lowercase());
    let (step, actor, call) = ("plan", "init", "read(plan)".into());
    Error::Step(Box::new(StepFailure { errno: libc::EBADMSG, step, actor, call, detail }))
}

/// The error for a step of the plan that failed.
pub fn failure(plan: &Plan, step: u16, errno: i32, detail: String) -> Error {
    let step = &plan.steps[usize::from(step).min(plan.steps.len() - 1)];
    Error::Step(Box::new(StepFailure { errno, step: step.name, actor: step.actor.name(), call: step.call(), detail }))
}
