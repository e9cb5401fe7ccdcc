//! Reports of failures as errors.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nsbox_init::wire::{Failure, Malformed, MountPart, Op};

use crate::call::{Call, Value, call};
use crate::error::{Error, StepFailure};
use crate::plan::plan::Plan;
use crate::plan::step::{Action, Step};
use crate::probe::killing;
use crate::step_name::StepName;

/// What is known of a step for which a filter killed the process (seccomp(2), SECCOMP_RET_KILL_PROCESS).
pub const FORBIDDEN: &str = "the process that carried it out was killed by SIGSYS";

/// The error for a process that SIGSYS has ended in the set-up: the first step, of those that `whose` selects, with a
/// call for which a filter kills. `None` if no call is one.
pub fn forbidden(plan: &Plan, whose: impl Fn(usize, &Step) -> bool) -> Option<Error> {
    let steps: Vec<_> = plan
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| if whose(index, step) { step.calls() } else { Vec::new() })
        .collect();
    let killing = killing(steps.iter().flatten().map(|call| call.name().to_string()).collect());
    let kills = |call: &Call| killing.iter().any(|name| name == call.name());
    let step = steps.iter().position(|calls| calls.iter().any(kills))?;
    Some(failure(plan, step as u16, libc::EPERM, FORBIDDEN.to_string()))
}

/// The calls of nsbox-init that belong to no step.
const CALLS_OF_INIT: &str =
    "close_range fcntl futex kill mmap openat pidfd_open poll prctl recvmsg sendmsg setpgid setsid signalfd4 waitid";

/// The error for an nsbox-init that SIGSYS has ended for a call that belongs to no step. `None` if no call is one.
pub fn init_forbidden() -> Option<Error> {
    let names = CALLS_OF_INIT.split(' ');
    let killing = killing(names.clone().map(str::to_owned).collect());
    let calls: Vec<_> =
        names.filter(|name| killing.iter().any(|other| other == name)).map(|name| call(name, [])).collect();
    let (errno, step, actor, detail) = (libc::EPERM, StepName::Init, "init", FORBIDDEN.to_string());
    (!calls.is_empty()).then(|| Error::Step(Box::new(StepFailure { errno, step, actor, calls, detail })))
}

/// The error for a step that nsbox-init reports as failed.
pub fn step_failed(plan: &Plan, failed: Failure) -> Error {
    let Failure { step, errno, value } = failed;
    if errno == -libc::SIGSYS {
        return failure(plan, step as u16, libc::EPERM, FORBIDDEN.to_string());
    }
    let step = step as usize;
    let part = MountPart::ALL.into_iter().find(|(part, _)| *part as i64 == value);
    let detail = match plan.steps.get(step).map(|step| step.name) {
        Some(
            StepName::Root
            | StepName::Layers
            | StepName::Bind
            | StepName::Tmpfs
            | StepName::Overlay
            | StepName::Proc
            | StepName::MountProc
            | StepName::PrivateTmp
            | StepName::PrivatePts
            | StepName::MaskProc
            | StepName::ReadOnlySys
            | StepName::PivotRoot,
        ) => part.map(|(_, words)| words.to_string()).unwrap_or_default(),
        Some(StepName::Source) => (if below_a_target(plan, step) { SOURCE_BELOW_TARGET } else { SOURCE }).into(),
        Some(StepName::Descriptors) if value >= 0 => format!("descriptor {}", value),
        Some(StepName::Open | StepName::Read | StepName::Write) if errno == libc::EXDEV => {
            "a process in the box has mounted something over it, so its contents would not come from the kernel"
                .to_string()
        }
        Some(StepName::ClockOffsets | StepName::PidMax | StepName::Sysctl) => {
            if value == 0 { "open" } else { "write" }.to_string()
        }
        _ => String::new(),
    };
    failure(plan, step as u16, errno, detail)
}

/// What failed in a step that looks up a source; and the same where the source is below a target of the same plan.
const SOURCE: &str = "looking up the source";
const SOURCE_BELOW_TARGET: &str = "looking up the source, which is below a target of the same list";

/// Whether the source of this step is at or below the target of a later step of the plan.
fn below_a_target(plan: &Plan, step: usize) -> bool {
    let Some(Action::Op(Op::CopyTree { source, .. })) = plan.steps.get(step).map(|step| &step.action) else {
        return false;
    };
    plan.steps.iter().any(|step| match &step.action {
        Action::Op(Op::Bind { target, .. } | Op::NewMount { target, .. } | Op::Attach { target, .. }) => {
            path(&source.0).starts_with(path(&target.0))
        }
        _ => false,
    })
}

fn path(text: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(text.strip_suffix(b"\0").unwrap_or(text)))
}

/// The error for a plan that was refused.
pub fn refused(malformed: Malformed) -> Error {
    let Malformed { fault, offset } = malformed;
    let detail = format!("{} at offset {offset}", format!("{fault:?}").to_lowercase());
    let (step, actor, calls) = (StepName::Plan, "init", vec![call("read", [("fd", Value::File("plan".into()))])]);
    Error::Step(Box::new(StepFailure { errno: libc::EBADMSG, step, actor, calls, detail }))
}

/// The error for an nsbox-init that does not reply.
pub fn no_reply(errno: i32, detail: &str) -> Error {
    let calls = vec![call("recvmsg", [("sockfd", Value::File("nsbox-init".into()))])];
    let detail = detail.to_string();
    Error::Step(Box::new(StepFailure { errno, step: StepName::Request, actor: "init", calls, detail }))
}

/// The error for an nsbox-init that does not reply because it is stopped (SIGSTOP).
pub fn stopped() -> Error {
    no_reply(libc::ETIMEDOUT, "nsbox-init is stopped")
}

/// The error for a call of the caller that is no step of the plan.
pub fn not_prepared(name: &'static str, errno: i32) -> Error {
    let (step, actor, calls) = (StepName::Prepare, "caller", vec![call(name, [])]);
    Error::Step(Box::new(StepFailure { errno, step, actor, calls, detail: String::new() }))
}

/// The error for a step of the plan that failed.
pub fn failure(plan: &Plan, step: u16, errno: i32, detail: String) -> Error {
    let step = &plan.steps[usize::from(step).min(plan.steps.len() - 1)];
    Error::Step(Box::new(StepFailure { errno, step: step.name, actor: step.actor.name(), calls: step.calls(), detail }))
}
