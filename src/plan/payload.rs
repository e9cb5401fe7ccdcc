//! The steps of the payload's process, up to its exec.

use nsbox_init::wire::{Numbers, Op};

use crate::error::{Error, Result};
use crate::kinds;
use crate::plan::builder::{Builder, joined, own_environment, packed};
use crate::plan::directory;
use crate::plan::facts::Facts;
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
    if launch.start_new_session {
        op(StepName::Setsid, Op::Setsid {}, "setsid(2)", "a session of its own");
    }
    if let Some(group) = launch.process_group {
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
            Op::Setuid { id, keep_caps: u32::from(spec.keep_caps) },
            "setresuid(2)",
            "the user asked for",
        );
    }
    if spec.keep_caps {
        op(
            StepName::KeepCapabilities,
            Op::Capabilities { inheritable: u64::MAX, ambient: u64::MAX },
            "capabilities(7)",
            "as asked: ambient, so that they survive the exec",
        );
    } else if carry {
        let (inheritable, ambient) = if flags & kinds::USER != 0 { (0, 0) } else { (facts.inheritable, facts.ambient) };
        op(
            StepName::DropCapabilities,
            Op::Capabilities { inheritable, ambient },
            "capabilities(7)",
            "nsbox-init kept them over its exec; the payload must not have them",
        );
    }
    if spec.no_new_privs {
        op(
            StepName::NoNewPrivs,
            Op::NoNewPrivs {},
            "PR_SET_NO_NEW_PRIVS(2const)",
            "no exec grants privileges from here on",
        );
    }
    let mut reset = if launch.restore_signals { bit(libc::SIGPIPE) | bit(libc::SIGXFSZ) } else { 0 };
    let mut why = "blocked and ignored as in the caller";
    if launch.controlling_terminal {
        // A caller in the background of a script ignores SIGINT; the user of this terminal expects it to work.
        reset |= TERMINAL_SIGNALS.into_iter().map(bit).sum::<u64>();
        why = "those of the terminal have their default action; all others as in the caller";
    }
    op(StepName::Signals, Op::Signals { mask: facts.sigmask, reset }, "sigprocmask(2)", why);
    let env = match &launch.env {
        Some(env) => joined("env", env.iter())?,
        None => own_environment(),
    };
    let exec =
        Op::Exec { paths: joined("args", launch.paths.iter())?, argv: joined("args", launch.argv.iter())?, envp: env };
    op(StepName::Exec, exec, "execve(2)", "the program asked for");
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
