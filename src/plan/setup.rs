//! The steps that make new namespaces usable.

use nsbox_init::wire::{Blob, Op};

use crate::error::Result;
use crate::plan::builder::{Builder, mount_op, write_op};
use crate::plan::facts::Facts;
use crate::plan::flags::{MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE};
use crate::plan::harden;
use crate::plan::id_maps;
use crate::plan::mounts::Place;
use crate::plan::spec::{Maps, Spec};
use crate::plan::step::{Actor, CallerAction};
use crate::step_name::StepName;
use crate::{capabilities, kinds};

/// What makes the new namespaces usable.
pub fn world(plan: &mut Builder, actor: Actor, spec: &Spec, flags: u64, facts: &Facts) -> Result<()> {
    let nested = plan.outside == Actor::OuterInit;
    if flags & kinds::USER != 0 && !nested {
        id_maps(plan, actor, spec, facts);
    }
    if flags & kinds::TIME != 0 {
        let offsets = [("monotonic", spec.monotonic), ("boottime", spec.boottime)];
        let lines: String = offsets
            .iter()
            .filter_map(|(clock, offset)| {
                offset.map(|(seconds, nanoseconds)| format!("{clock} {seconds} {nanoseconds}\n"))
            })
            .collect();
        let held = nested && !lines.is_empty();
        if held {
            plan.op(
                actor,
                StepName::UnshareTime,
                Op::NewTime {},
                "time_namespaces(7)",
                "held by a process that can do nothing, until its clocks are set",
            );
        } else if spec.fork {
            plan.op(
                actor,
                StepName::UnshareTime,
                Op::Unshare { flags: kinds::TIME },
                "time_namespaces(7)",
                "children enter it; its clocks can still be set",
            );
        }
        if held {
            plan.op(
                actor,
                StepName::ClockOffsets,
                Op::ClockOffsets { data: Blob(lines.into_bytes()) },
                "time_namespaces(7)",
                "before nsbox-init enters the namespace",
            );
        } else if !lines.is_empty() {
            plan.op(
                actor,
                StepName::ClockOffsets,
                write_op("/proc/self/timens_offsets", &lines),
                "time_namespaces(7)",
                "before the first process enters the namespace",
            );
        }
    }
    if flags & kinds::MOUNT != 0 {
        let propagation = match spec.propagation.as_str() {
            "shared" => Some((MS_SHARED, "mounts are shared with other mount namespaces: as asked")),
            "slave" => Some((MS_SLAVE, "mounts made outside appear here; mounts made here stay here")),
            "unchanged" => None,
            _ => Some((MS_PRIVATE, "before any mount: mounts made here stay invisible outside")),
        };
        if let Some((kind, why)) = propagation {
            plan.op(actor, StepName::Propagation, mount_op("", "/", "", MS_REC | kind), "mount_namespaces(7)", why);
        }
    }
    if let Some(name) = &spec.hostname {
        plan.op(
            actor,
            StepName::Hostname,
            Op::SetHostname { name: Blob(name.to_vec()) },
            "sethostname(2)",
            "only this UTS namespace has it",
        );
    }
    if let Some(name) = &spec.domainname {
        plan.op(
            actor,
            StepName::Domainname,
            Op::SetDomainname { name: Blob(name.to_vec()) },
            "setdomainname(2)",
            "only this UTS namespace has it",
        );
    }
    if flags & kinds::NET != 0 && spec.loopback.unwrap_or(true) {
        plan.op(
            actor,
            StepName::Loopback,
            Op::LoopbackUp {},
            "netdevice(7)",
            "a new network namespace has nothing but lo, and lo is down",
        );
    }
    let (own_mounts, unprivileged) = (flags & kinds::MOUNT != 0, flags & kinds::USER != 0);
    let place = Place { actor, inside: spec.root.is_some(), own_mounts, unprivileged, facts };
    place.root_and_mounts(plan, spec)?;
    harden::sysctls(plan, actor, spec);
    if let Some(limit) = spec.pid_max {
        plan.op(
            actor,
            StepName::PidMax,
            write_op("/proc/sys/kernel/pid_max", &limit.to_string()),
            "proc_sys_kernel(5)",
            "the limit of this PID namespace alone",
        );
    }
    harden::masks(plan, actor, spec);
    place.pivot_root(plan);
    Ok(())
}

/// The files of a user namespace, written while `actor` waits: by the caller, or for a box in a box by the outer
/// nsbox-init.
pub fn id_maps(plan: &mut Builder, actor: Actor, spec: &Spec, facts: &Facts) {
    let Maps { auto, users, groups } = &spec.maps;
    let root = vec![(Some(0), None, 1)];
    let given = !users.is_empty() || !groups.is_empty();
    let (users, groups) = if *auto && !given { (&root, &root) } else { (users, groups) };
    let asked_own_group = groups.iter().any(|(_, outside, _)| outside.is_none());
    let (users, groups) = (id_maps::lines(users, facts.euid), id_maps::lines(groups, facts.egid));
    // Without the capability outside, a map may hold one id, the caller's own; beyond that, setuid programs help.
    let (own_user, own_group) = (id_maps::is_own_alone(&users, facts.euid), id_maps::is_own_alone(&groups, facts.egid));
    let helped_users = !users.is_empty() && !own_user && facts.effective & capabilities::SETUID == 0;
    let helped_groups = !groups.is_empty() && !own_group && facts.effective & capabilities::SETGID == 0;
    // For an unprivileged caller gid_map can only be written once setgroups(2) is disabled (user_namespaces(7));
    // unshare(1) disables it for every map to a single id. newgidmap(1) decides for itself.
    let deny = own_group && (asked_own_group || facts.effective & capabilities::SETGID == 0);
    let setgroups = spec.setgroups.as_deref().or(deny.then_some("deny"));
    if setgroups.is_none() && users.is_empty() && groups.is_empty() {
        return;
    }
    if plan.outside == Actor::Caller {
        plan.op(
            actor,
            StepName::AwaitMaps,
            Op::AwaitMaps {},
            "user_namespaces(7)",
            "the ids are unmapped until the caller has written the maps",
        );
    }
    if let Some(word) = setgroups {
        plan.outside(
            StepName::Setgroups,
            CallerAction::Setgroups(word.to_string()),
            "user_namespaces(7)",
            if word == "deny" {
                "disabled: or the processes inside could drop a group that denies them access"
            } else {
                "as asked: the processes inside may change their groups"
            },
        );
    }
    let write = |file, program, rows: &[[u32; 3]], helped| {
        if helped { CallerAction::MapBy(program, rows.to_vec()) } else { CallerAction::Map(file, rows.to_vec()) }
    };
    if !groups.is_empty() {
        plan.outside(
            StepName::GidMap,
            write("gid_map", "newgidmap", &groups, helped_groups),
            if helped_groups { "newgidmap(1)" } else { "user_namespaces(7)" },
            "which group outside each group inside stands for",
        );
    }
    if !users.is_empty() {
        plan.outside(
            StepName::UidMap,
            write("uid_map", "newuidmap", &users, helped_users),
            if helped_users { "newuidmap(1)" } else { "user_namespaces(7)" },
            "which user outside each user inside stands for",
        );
    }
}
