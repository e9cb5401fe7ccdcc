//! The steps by which a process goes into namespaces that exist already (setns(2)).

use crate::capabilities;
use crate::error::{Error, Result};
use crate::kinds::{self, Kind};
use crate::plan::builder::Builder;
use crate::plan::facts::Facts;
use crate::plan::plan::Arrangement;
use crate::plan::spec::Join;
use crate::plan::step::Actor;
use crate::step_name::StepName;
use nsbox_init::wire::Op;

/// CLONE_NEW* of everything that is joined.
pub fn flags(join: &Join) -> Result<u64> {
    join.namespaces.iter().try_fold(0, |flags, (name, _)| Ok(flags | kind(name)?.flag))
}

/// The descriptors that nsbox-init needs for it.
pub fn descriptors(join: &Join) -> impl Iterator<Item = i32> {
    join.namespaces.iter().map(|(_, fd)| *fd).chain(join.root).chain(join.wd)
}

fn kind(name: &str) -> Result<Kind> {
    kinds::by_name(name).ok_or_else(|| Error::Spec(format!("join: no namespace is called {name:?}")))
}

/// Why the user namespace is joined although it was not asked for.
pub fn why_added(facts: &Facts) -> &'static str {
    if facts.effective & capabilities::SYS_ADMIN != 0 {
        "the others belong to it, and what runs there gets its rights, not the caller's (trust=True keeps those)"
    } else {
        "the caller lacks CAP_SYS_ADMIN, and the others belong to it"
    }
}

/// The name of the step for each kind.
pub fn step_name(kind: Kind) -> StepName {
    match kind.flag {
        kinds::USER => StepName::JoinUser,
        kinds::MOUNT => StepName::JoinMount,
        kinds::PID => StepName::JoinPid,
        kinds::NET => StepName::JoinNet,
        kinds::TIME => StepName::JoinTime,
        _ => match kind.name {
            "ipc" => StepName::JoinIpc,
            "uts" => StepName::JoinUts,
            _ => StepName::JoinCgroup,
        },
    }
}

/// Join, in the order in which the kernel allows it.
///
/// Joining a namespace takes CAP_SYS_ADMIN in the user namespace that owns it. A caller that has it outside must join
/// the user namespace last, as inside it has no rights over namespaces that others own; a caller without it gains it
/// inside, and must join the user namespace first. `ids_follow` says that a later step sets the user and the group.
pub fn steps(plan: &mut Builder, actor: Actor, join: &Join, facts: &Facts, ids_follow: bool) -> Result<()> {
    let privileged = facts.effective & capabilities::SYS_ADMIN != 0;
    let mut entries = join.namespaces.iter().map(|(name, fd)| Ok((kind(name)?, *fd))).collect::<Result<Vec<_>>>()?;
    entries.sort_by_key(|(kind, _)| (kind.flag == kinds::USER) == privileged);
    for (kind, fd) in entries {
        let why = match kind.flag {
            kinds::USER if join.user_added && privileged => {
                "last; the others belong to it, and what runs there gets its rights, not the caller's"
            }
            kinds::USER if join.user_added => "the others belong to it, and the caller has no rights over them outside",
            kinds::USER if privileged => "last: the caller's rights outside cover more than those inside",
            kinds::USER => "first: only inside has the caller the right to join the others",
            kinds::PID => "for the children: only they can be in it",
            kinds::MOUNT => "the mounts, the root and the working directory of that namespace",
            _ => "as asked",
        };
        plan.op(actor, step_name(kind), Op::Setns { fd, flags: kind.flag }, "setns(2)", why);
        if kind.flag == kinds::USER && !join.preserve_credentials {
            plan.op(
                actor,
                StepName::BecomeRoot,
                Op::BecomeRoot { strict: u32::from(facts.effective & capabilities::SETUID != 0 && !ids_follow) },
                "user_namespaces(7)",
                "if it has a root: an exec takes the capabilities in it away from all other users",
            );
        }
    }
    if let Some(fd) = join.root {
        plan.op(actor, StepName::TargetRoot, Op::Chroot { fd }, "chroot(2)", "the root directory of the target");
    }
    if let Some(fd) = join.wd {
        plan.op(actor, StepName::TargetWd, Op::Fchdir { fd }, "chdir(2)", "the working directory of the target");
    }
    Ok(())
}

/// Bring nsbox-init to where it has its place: into a PID namespace by a child, since only children can be in it, and
/// into what is new (`cloned`), unless that is only for the payload.
pub fn inside(plan: &mut Builder, joined: u64, cloned: u64, arrangement: Arrangement) {
    let init_inside = arrangement == Arrangement::InitInside;
    // A new PID namespace can only be made by a member of the one it is made in.
    if joined & kinds::PID != 0 && (init_inside || cloned & kinds::PID != 0) {
        plan.op(
            Actor::Init,
            StepName::Descend,
            Op::Descend { flags: 0 },
            "pid_namespaces(7)",
            "a second nsbox-init in the joined PID namespace, which orphans cannot leave; the first waits for it",
        );
    }
    if init_inside && cloned & kinds::PID != 0 {
        plan.op(
            Actor::Init,
            StepName::CloneInit,
            Op::Descend { flags: cloned },
            "clone(2)",
            "another nsbox-init in the new namespaces, as PID 1; the one outside waits for it",
        );
    } else if init_inside && cloned != 0 {
        plan.op(
            Actor::Init,
            StepName::Unshare,
            Op::Unshare { flags: cloned },
            "unshare(2)",
            "new namespaces are made inside the joined ones",
        );
    }
}
