//! The steps of the payload's process, up to its exec.

use nsbox_init::wire::{Numbers, Op, Text};

use crate::error::{Error, Result};
use crate::kinds;
use crate::plan::builder::{Builder, c_bytes, joined, own_environment, packed};
use crate::plan::facts::Facts;
use crate::plan::launch::Launch;
use crate::plan::rights::Rights;
use crate::plan::rlimit;
use crate::plan::spec::Spec;
use crate::plan::step::Actor;
use crate::step_name::StepName;

/// The inheritable and the ambient capabilities.
pub type CapabilitySets = (u64, u64);

/// What a program is left with of the capabilities that nsbox-init carried over its exec, if it did (`carry`): none in
/// another user namespace, and the caller's own in the caller's.
pub fn carried(carry: bool, flags: u64, facts: &Facts) -> Option<CapabilitySets> {
    carry.then_some(if flags & kinds::USER != 0 { (0, 0) } else { (facts.inheritable, facts.ambient) })
}

/// What happens in the payload's process, in the order of `subprocess`.
pub fn payload(
    plan: &mut Builder,
    spec: &Spec,
    launch: &Launch,
    facts: &Facts,
    carried: Option<CapabilitySets>,
    rights: &Rights,
    descriptors: Op<Vec<u8>>,
) -> Result<()> {
    let mut op = |name, op, manual, why| plan.op(Actor::Payload, name, op, manual, why);
    op(
        StepName::Descriptors,
        descriptors,
        "dup(2)",
        "standard input, output and error, and what was passed on; nothing else",
    );
    if let Some(directory) = &launch.cwd {
        if directory.contains(&0) {
            return Err(Error::Spec("cwd: embedded null byte".into()));
        }
        op(
            StepName::Chdir,
            Op::Chdir { path: Text(c_bytes(directory)) },
            "chdir(2)",
            "the working directory asked for",
        );
    }
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
        let groups = Numbers(packed(groups.iter().copied()));
        op(StepName::SetGroups, Op::Setgroups { groups }, "setgroups(2)", "the supplementary groups asked for");
    } else if rights.leave_groups {
        op(StepName::SetGroups, no_groups(), "setgroups(2)", UNMAPPED);
    }
    for (name, (soft, hard)) in &spec.rlimits {
        let resource =
            rlimit::number(name).ok_or_else(|| Error::Spec(format!("rlimits: no resource is called {name:?}")))?;
        // What came before opens and maps; raising a limit needs the rights that go next.
        let rlimit = Op::Rlimit { resource, soft: *soft as u64, hard: *hard as u64 };
        op(StepName::Rlimit, rlimit, "prlimit(2)", "as asked, while the rights to do it are still there");
    }
    if let Some(id) = launch.gid.or(rights.gid) {
        let why = if launch.gid.is_some() { "the group asked for" } else { UNMAPPED };
        op(StepName::Setgid, Op::Setgid { id }, "setresgid(2)", why);
    }
    if let Some(id) = launch.uid.or(rights.uid) {
        let why = match launch {
            Launch { uid: None, .. } => UNMAPPED,
            Launch { gid: Some(_), groups: Some(_), .. } => "the user asked for",
            _ => "the user asked for; the groups that are not given as well stay those of the caller",
        };
        let op_setuid = Op::Setuid { id, keep_caps: u32::from(spec.keep_caps) };
        op(StepName::Setuid, op_setuid, "setresuid(2)", why);
    }
    if spec.keep_caps {
        op(
            StepName::KeepCapabilities,
            Op::Capabilities { inheritable: u64::MAX, ambient: u64::MAX },
            "capabilities(7)",
            "as asked: ambient, so that they survive the exec",
        );
    } else if let Some((inheritable, ambient)) = carried {
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

/// Why a program does not keep an id of the caller.
const UNMAPPED: &str = "the caller's own has no number inside, and would keep its rights outside";

fn no_groups() -> Op<Vec<u8>> {
    Op::Setgroups { groups: Numbers(packed([].into_iter())) }
}

/// The nsbox-init of a box takes the ids of its programs, which inherit them.
pub fn own_ids(plan: &mut Builder, rights: &Rights) {
    let mut op = |name, op, manual| plan.op(Actor::Init, name, op, manual, UNMAPPED);
    if rights.leave_groups {
        op(StepName::SetGroups, no_groups(), "setgroups(2)");
    }
    if let Some(id) = rights.gid {
        op(StepName::Setgid, Op::Setgid { id }, "setresgid(2)");
    }
    if let Some(id) = rights.uid {
        op(StepName::Setuid, Op::Setuid { id, keep_caps: 1 }, "setresuid(2)");
    }
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
