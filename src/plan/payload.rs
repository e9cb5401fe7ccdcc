//! The steps of the payload's process, up to its exec.

use nsbox_init::wire::{Numbers, Op};

use crate::error::{Error, Result};
use crate::kinds;
use crate::plan::builder::{Builder, joined, own_environment, packed};
use crate::plan::directory;
use crate::plan::facts::Facts;
use crate::plan::harden;
use crate::plan::launch::Launch;
use crate::plan::rlimit;
use crate::plan::spec::Spec;
use crate::plan::step::Actor;
use crate::step_name::StepName;

/// What happens in the payload's process, in the order of `subprocess`.
pub fn payload(
    plan: &mut Builder,
    spec: &Spec,
    launch: &Launch,
    facts: &Facts,
    flags: u64,
    carry: bool,
    descriptors: Op<Vec<u8>>,
) -> Result<()> {
    plan.op(
        Actor::Payload,
        StepName::Descriptors,
        descriptors,
        "dup(2)",
        "standard input, output and error, and what was passed on; nothing else",
    );
    if launch.cwd.as_ref().is_some_and(|directory| directory.contains(&0)) {
        return Err(Error::Spec("cwd: embedded null byte".into()));
    }
    directory::step(plan, Actor::Payload, launch.cwd.as_deref(), "the working directory asked for");
    let mut op = |name, op, manual, why| plan.op(Actor::Payload, name, op, manual, why);
    if let Some(mask) = launch.umask {
        op(StepName::Umask, Op::Umask { mask: mask as u32 }, "umask(2)", "the mask asked for");
    }
    let hardened = &spec.hardened;
    let new_session = launch.start_new_session || hardened.new_session;
    if new_session {
        let why = "a session of its own, without the terminal of the caller";
        op(StepName::Setsid, Op::Setsid {}, "setsid(2)", why);
    }
    // The leader of a session has a group of its own already, and cannot change it (setpgid(2)).
    let led = hardened.new_session && !launch.start_new_session && launch.process_group == Some(0);
    if let Some(group) = launch.process_group.filter(|_| !led) {
        op(StepName::Setpgid, Op::Setpgid { group }, "setpgid(2)", "the process group asked for");
    }
    if launch.controlling_terminal {
        op(StepName::ControllingTerminal, Op::ControllingTerminal {}, "ioctl_tty(2)", "job control needs one");
    }
    if let Some(groups) = &launch.groups {
        op(
            StepName::SetGroups,
            Op::Setgroups { groups: Numbers(packed(groups.iter().copied())) },
            "setgroups(2)",
            "the supplementary groups asked for",
        );
    }
    for (name, (soft, hard)) in &spec.rlimits {
        let resource =
            rlimit::number(name).ok_or_else(|| Error::Spec(format!("rlimits: no resource is called {name:?}")))?;
        // What came before opens and maps; raising a limit needs the rights that go next.
        let rlimit = Op::Rlimit { resource, soft: *soft as u64, hard: *hard as u64 };
        op(StepName::Rlimit, rlimit, "prlimit(2)", "as asked, while the rights to do it are still there");
    }
    if let Some(id) = launch.gid {
        op(StepName::Setgid, Op::Setgid { id }, "setresgid(2)", "the group asked for");
    }
    if let Some(id) = launch.uid {
        op(
            StepName::Setuid,
            Op::Setuid { id, keep_caps: u32::from(spec.keep_caps || hardened.limits_capabilities()) },
            "setresuid(2)",
            match launch {
                Launch { gid: Some(_), groups: Some(_), .. } => "the user asked for",
                _ => "the user asked for; the groups that are not given as well stay those of the caller",
            },
        );
    }
    if spec.keep_caps {
        op(
            StepName::KeepCapabilities,
            Op::Capabilities { inheritable: u64::MAX, ambient: u64::MAX },
            "capabilities(7)",
            "as asked: ambient, so that they survive the exec",
        );
    } else if carry && !hardened.drop_capabilities {
        let (inheritable, ambient) = if flags & kinds::USER != 0 { (0, 0) } else { (facts.inheritable, facts.ambient) };
        op(
            StepName::DropCapabilities,
            Op::Capabilities { inheritable, ambient },
            "capabilities(7)",
            "nsbox-init kept them over its exec; the payload must not have them",
        );
    }
    harden::rights(plan, spec, flags);
    let mut op = |name, op, manual, why| plan.op(Actor::Payload, name, op, manual, why);
    let mut reset = if launch.restore_signals { bit(libc::SIGPIPE) | bit(libc::SIGXFSZ) } else { 0 };
    let mut why = "blocked and ignored as in the caller";
    if launch.controlling_terminal {
        // A caller in the background of a script ignores SIGINT; the user of this terminal expects it to work.
        reset |= TERMINAL_SIGNALS.into_iter().map(bit).sum::<u64>();
        why = "those of the terminal have their default action; all others as in the caller";
    }
    op(StepName::Signals, Op::Signals { mask: facts.sigmask, reset }, "sigprocmask(2)", why);
    harden::filter(plan, spec);
    let env = match &launch.env {
        Some(env) => joined("env", env.iter())?,
        None => own_environment(),
    };
    let exec =
        Op::Exec { paths: joined("args", launch.paths.iter())?, argv: joined("args", launch.argv.iter())?, envp: env };
    plan.op(Actor::Payload, StepName::Exec, exec, "execve(2)", "the program asked for");
    Ok(())
}

/// The descriptors of a payload that inherits ours.
pub fn layout(launch: &Launch) -> Op<Vec<u8>> {
    let pass = Numbers(packed(launch.pass_fds.iter().map(|&fd| fd as u32)));
    Op::Descriptors { stdio: launch.stdio, pass, close: u32::from(launch.close_fds) }
}

/// The signals that a terminal sends to its processes (termios(3), tty_ioctl(4)).
const TERMINAL_SIGNALS: [i32; 6] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}
