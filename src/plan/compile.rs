//! Making plans. [`compile`] depends on nothing but its arguments, so a plan can be printed and tested without a
//! kernel.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::cgroup::{Cgroup, Directory};
use crate::error::{Error, Result};
use crate::plan::builder::{Builder, packed};
use crate::plan::directory;
use crate::plan::facts::Facts;
use crate::plan::harden;
use crate::plan::join;
use crate::plan::launch::Launch;
use crate::plan::payload::{layout, payload};
use crate::plan::plan::{Arrangement, Plan};
use crate::plan::rights::Rights;
use crate::plan::setup::{id_maps, world};
use crate::plan::spec::{Join, KnownSpec, Mount, Spec};
use crate::plan::step::{Actor, CallerAction};
use crate::step_name::StepName;
use crate::{capabilities, kinds};
use nsbox_init::wire::{Numbers, Op};

/// pid_max belongs to each PID namespace since this version; before, writing it changes the whole machine.
const PID_MAX_PER_NAMESPACE: (u32, u32) = (6, 14);

/// A process enters the time namespace made for its children by an exec, too, since this version.
const TIME_ENTERED_BY_EXEC: (u32, u32) = (6, 3);

/// Make the plan for `spec` and `launch`, given the caller's facts and the namespaces that are joined first.
///
/// # Errors
/// [`Error::Spec`] for what cannot be expressed, [`Error::Unsupported`] for a feature that this kernel lacks.
pub fn compile(
    spec: &Spec,
    launch: &Launch,
    facts: &Facts,
    cgroup: Option<Arc<Directory>>,
    join: Option<&Join>,
) -> Result<Plan> {
    let ids_follow = launch.uid.is_some() && launch.gid.is_some();
    let join_first = join.map(|join| (join, ids_follow));
    let mut begun = beginning(spec, join_first, facts, cgroup.as_deref(), None)?;
    let Beginning { flags, joined, arrangement, carry, .. } = begun;
    let plan = &mut begun.plan;
    let inner = if arrangement == Arrangement::Guarded { flags & !kinds::TIME } else { 0 };
    plan.op(
        Actor::Init,
        StepName::Fork,
        Op::Fork { flags: inner, quiet: 0 },
        "clone(2)",
        match arrangement {
            Arrangement::InitInside => "the payload's own process; nsbox-init stays as its parent",
            Arrangement::Guarded => "the payload's own process, in the new namespaces; nsbox-init watches from outside",
            Arrangement::Unforked => "the payload's own process, still in the old namespaces; nsbox-init watches",
        },
    );
    if let Some(cgroup) = &cgroup {
        enter(plan, cgroup);
    }
    if let Some(join) = join
        && arrangement == Arrangement::Unforked
    {
        join::steps(plan, Actor::Payload, join, facts, ids_follow)?;
    }
    if arrangement == Arrangement::Unforked && flags != 0 {
        plan.op(
            Actor::Payload,
            StepName::Unshare,
            Op::Unshare { flags },
            "unshare(2)",
            "without a fork: a new PID namespace is only for the children",
        );
    }
    if arrangement != Arrangement::InitInside {
        world(plan, Actor::Payload, spec, flags, facts, &begun.rights)?;
    }
    payload(plan, spec, launch, facts, flags | joined, carry, layout(launch))?;
    let others = join.into_iter().flat_map(join::descriptors).chain(trees(spec));
    Ok(begun.finish(spec, Some(launch), facts, cgroup, others))
}

/// Make the plan for a box: the namespaces of `spec`, and nsbox-init in them, waiting for requests. One that is
/// `nested` is made by the nsbox-init of another box, whose plan is `outer`.
///
/// # Errors
/// As [`compile`].
pub fn compile_box(
    spec: &Spec,
    facts: &Facts,
    directory: Option<&[u8]>,
    cgroup: Option<Arc<Directory>>,
    nested: bool,
    outer: Option<&Plan>,
) -> Result<Plan> {
    // Where the ids of an outer box lead is not known without its plan.
    let unknown = Rights::unknown();
    let outer = nested.then(|| outer.map_or(&unknown, |outer| &outer.rights));
    let mut begun = beginning(spec, None, facts, cgroup.as_deref(), outer)?;
    directory::step(&mut begun.plan, Actor::Init, directory, "where processes start by default");
    begun.plan.op(
        Actor::Init,
        StepName::Serve,
        Op::Serve {},
        "pid_namespaces(7)",
        "nsbox-init reaps, and waits for requests",
    );
    Ok(begun.finish(spec, None, facts, cgroup, trees(spec)))
}

/// Make the plan for another process in a box, which was made by the plan `made_by`. A request to end it names its
/// `token`. `quiet` says that only its end is reported. `directory` is where it starts, if that is looked up anew.
///
/// # Errors
/// [`Error::Spec`] for what cannot be expressed.
pub fn compile_process(
    spec: &Spec,
    launch: &Launch,
    facts: &Facts,
    made_by: &Plan,
    token: u32,
    quiet: bool,
    directory: Option<&[u8]>,
) -> Result<Plan> {
    let directory = directory.map(<[u8]>::to_vec);
    let mut plan = Builder { steps: Vec::with_capacity(8), outside: Actor::Caller, directory };
    let flags = made_by.namespaces;
    plan.op(
        Actor::Init,
        StepName::Start,
        Op::Start { flags: 0, token, quiet: u32::from(quiet) },
        "clone(2)",
        "another process here; nsbox-init is its parent",
    );
    if let Some(cgroup) = &made_by.cgroup {
        enter(&mut plan, cgroup);
    }
    let stdio = launch.stdio.map(|fd| i32::from(fd >= 0));
    let pass = Numbers(packed(launch.pass_fds.iter().map(|&fd| fd as u32)));
    payload(&mut plan, spec, launch, facts, flags, made_by.carries_capabilities(), Op::Received { stdio, pass })?;
    let begun = Beginning {
        plan,
        flags,
        joined: 0,
        added: Vec::new(),
        arrangement: Arrangement::InitInside,
        carry: made_by.carries_capabilities(),
        rights: made_by.rights.clone(),
    };
    // What is to stay open is sent with the request.
    Ok(Plan { close_fds: true, ..begun.finish(spec, Some(launch), facts, None, std::iter::empty()) })
}

/// The descriptors of sources with other owners.
fn trees(spec: &Spec) -> impl Iterator<Item = i32> {
    spec.mounts.iter().filter_map(|mount| match mount {
        Mount::Bind { tree, .. } if *tree >= 0 => Some(*tree),
        _ => None,
    })
}

/// What all plans begin with, before the payload's process is made.
struct Beginning {
    plan: Builder,
    flags: u64,
    joined: u64,
    added: Vec<(&'static str, &'static str)>,
    arrangement: Arrangement,
    carry: bool,
    rights: Rights,
}

impl Beginning {
    /// The plan, with all its steps. `launch` is its program, if it has one, and `kept` the descriptors that must survive
    /// the exec of nsbox-init besides those of the program and of the cgroup.
    fn finish(
        self,
        spec: &Spec,
        launch: Option<&Launch>,
        facts: &Facts,
        cgroup: Option<Arc<Directory>>,
        kept: impl Iterator<Item = i32>,
    ) -> Plan {
        let program = launch.into_iter().flat_map(|launch| launch.stdio.iter().chain(&launch.pass_fds));
        let program = program.copied().filter(|&fd| fd >= 0);
        let keep = program.chain(cgroup.iter().flat_map(|cgroup| cgroup.keep())).chain(kept).collect();
        let notes = self.rights.notes(launch, facts);
        Plan {
            steps: self.plan.steps,
            namespaces: self.flags,
            joined: self.joined,
            added: self.added,
            arrangement: self.arrangement,
            keep,
            close_fds: launch.is_none_or(|launch| launch.close_fds),
            rights: self.rights,
            notes,
            cgroup,
            left_out: spec.hardened.left_out.clone(),
        }
    }
}

/// `join` is what is joined, and whether a later step sets the user and the group; `within` are the rights in the box in
/// which a box is made.
fn beginning(
    spec: &Spec,
    join: Option<(&Join, bool)>,
    facts: &Facts,
    cgroup: Option<&Directory>,
    within: Option<&Rights>,
) -> Result<Beginning> {
    let (join, ids_follow) = (join.map(|(join, _)| join), join.is_some_and(|(_, follow)| follow));
    let outside = if within.is_some() { Actor::OuterInit } else { Actor::Caller };
    let mut flags = spec.unshare.iter().try_fold(0, |flags, name| {
        kinds::by_name(name)
            .map(|kind| flags | kind.flag)
            .ok_or_else(|| Error::Spec(format!("unshare: no namespace is called {name:?}")))
    })?;
    let mut added = Vec::new();
    let mounting = [
        (spec.mount_proc.is_some(), "mount_proc is set, and must not change the caller's own mounts"),
        (spec.root.is_some(), "root is set, and must not change the caller's own"),
        (!spec.mounts.is_empty(), "mounts are given, and must not change the caller's own"),
    ];
    if let Some((_, why)) = mounting.into_iter().find(|(wanted, _)| *wanted && flags & kinds::MOUNT == 0) {
        flags |= kinds::MOUNT;
        added.push(("mount", why));
    }
    let joined = join.map_or(Ok(0), join::flags)?;
    for (kind, why) in harden::namespaces(spec, facts)? {
        if (flags | joined) & kind.flag == 0 {
            flags |= kind.flag;
            added.push((kind.name, why));
        }
    }
    if join.is_some_and(|join| join.user_added) {
        added.push(("user", join::why_added(facts)));
    }
    let mapped = !spec.maps.users.is_empty() || !spec.maps.groups.is_empty() || spec.setgroups.is_some();
    if flags & kinds::USER == 0 {
        if mapped {
            flags |= kinds::USER;
            added.push(("user", "an id map is given"));
        } else if spec.maps.auto
            && flags != 0
            && facts.effective & capabilities::SYS_ADMIN == 0
            && joined & kinds::USER == 0
        {
            flags |= kinds::USER;
            added.push(("user", "the caller lacks CAP_SYS_ADMIN"));
        }
    }
    if joined & flags & kinds::USER != 0 && (mapped || spec.maps.auto) {
        return Err(Error::Spec(
            "unshare: the maps of a new user namespace inside one that is joined could only be written from in there; \
             leave user out, or set map_root_user=False"
                .into(),
        ));
    }
    if spec.pid_max.is_some() && facts.kernel < PID_MAX_PER_NAMESPACE {
        let (major, minor) = facts.kernel;
        return Err(Error::Unsupported(format!(
            "pid_max: on this kernel ({major}.{minor}) the limit is one for the whole machine; each PID namespace has its own since Linux 6.14"
        )));
    }
    if spec.keep_caps && flags & kinds::USER == 0 {
        return Err(Error::Spec("keep_caps: there is no new user namespace whose capabilities could be kept".into()));
    }
    let arrangement = match (spec.fork, spec.init) {
        (false, _) => Arrangement::Unforked,
        (true, true) => Arrangement::InitInside,
        (true, false) => Arrangement::Guarded,
    };

    if joined & flags & kinds::PID != 0 && arrangement == Arrangement::Unforked {
        return Err(Error::Spec(
            "unshare: with fork=False the payload is not in the joined PID namespace, and cannot make another in it"
                .into(),
        ));
    }
    if flags & kinds::TIME != 0 && arrangement != Arrangement::InitInside && facts.kernel < TIME_ENTERED_BY_EXEC {
        let (major, minor) = facts.kernel;
        return Err(Error::Unsupported(format!(
            "unshare: on this kernel ({major}.{minor}) a new time namespace needs init=True; exec enters it since Linux 6.3"
        )));
    }

    let rights = match within {
        Some(outer) => Rights::nested(spec, facts, flags, outer),
        None => Rights::new(spec, facts, flags, joined),
    };
    let directory = directory::anew(spec, joined, facts)?;
    let mut plan = Builder { steps: Vec::with_capacity(16), outside, directory };
    let unmapped_root = facts.euid != 0 && facts.permitted != 0;
    // Joins come first, so that new namespaces are made by an nsbox-init inside the joined ones.
    let joins = join.is_some();
    let carry = unmapped_root || (arrangement == Arrangement::InitInside && flags & kinds::USER != 0 && !joins);
    // Offsets can only be set by a member of the old time namespace, before the first process enters the new one
    // (time_namespaces(7)): so it is unshared, not cloned.
    let cloned = flags & !kinds::TIME;
    let outer = if arrangement == Arrangement::InitInside && !joins { cloned } else { 0 };
    if let Some(cgroup) = cgroup {
        plan.outside(
            StepName::Cgroup,
            made(cgroup),
            "cgroups(7)",
            "made first, so that the limits hold from the start",
        );
    }
    let nested = outside == Actor::OuterInit;
    // Programs run already where a box in a box is made, so its init must never be dumpable: the maps are written before
    // it enters the user namespace.
    let (outer, holds_user) = if nested { (outer & !kinds::USER, outer & kinds::USER != 0) } else { (outer, false) };
    if holds_user {
        plan.outside(
            StepName::NewUser,
            CallerAction::NewUser,
            "user_namespaces(7)",
            "held by a process that can do nothing, until its maps are written",
        );
        id_maps(&mut plan, Actor::OuterInit, spec, facts);
    }
    plan.outside(
        StepName::Clone,
        if nested { CallerAction::Copy(outer, holds_user) } else { CallerAction::Clone(outer) },
        "clone(2)",
        if outer == 0 {
            "a new process, which carries out the rest"
        } else {
            "a new process, in the new namespaces from its first instruction"
        },
    );
    if nested {
        let why = "with memory that belongs to the outer user namespace: no process in the new one can trace it";
        plan.outside(StepName::CopyInit, CallerAction::CopyInit(carry), "ptrace(2)", why);
    } else {
        let why = "the process stops using the caller's memory: nsbox-init takes over";
        plan.outside(StepName::ExecInit, CallerAction::ExecInit(carry), "execveat(2)", why);
    }
    if let Some(cgroup) = cgroup {
        plan.op(
            Actor::Init,
            StepName::OwnCgroup,
            cgroup.removal(),
            "cgroups(7)",
            "nsbox-init stays outside, and removes it at the end",
        );
    }
    if let Some(join) = join
        && arrangement != Arrangement::Unforked
    {
        join::steps(&mut plan, Actor::Init, join, facts, ids_follow)?;
        join::inside(&mut plan, joined, cloned, arrangement);
    }
    if arrangement == Arrangement::InitInside {
        world(&mut plan, Actor::Init, spec, flags, facts, &rights)?;
    }
    Ok(Beginning { plan, flags, joined, added, arrangement, carry, rights })
}

/// The caller's step that makes a cgroup and writes its limits.
fn made(cgroup: &Directory) -> CallerAction {
    let writes = cgroup.writes().map(|(file, text)| (file.to_string(), text.to_string())).collect();
    CallerAction::Cgroup(cgroup.path().to_path_buf(), writes)
}

/// Add the step by which the payload's process enters a cgroup.
fn enter(plan: &mut Builder, cgroup: &Directory) {
    plan.op(
        Actor::Payload,
        StepName::JoinCgroup,
        cgroup.join(),
        "cgroups(7)",
        "the process and all that it will start",
    );
}

/// Make a plan for a box.
#[pyfunction(name = "compile_box")]
#[pyo3(signature = (spec, facts, directory=None, cgroup=None, nested=false, outer=None))]
pub fn compile_box_plan(
    spec: KnownSpec,
    facts: &Facts,
    directory: Option<&[u8]>,
    cgroup: Option<&Cgroup>,
    nested: bool,
    outer: Option<&Plan>,
) -> Result<Plan> {
    compile_box(&spec, facts, directory, cgroup.map(|cgroup| Arc::clone(&cgroup.0)), nested, outer)
}

/// Make a plan for another process in a box, which was made by the plan `made_by`.
#[pyfunction(name = "compile_process")]
#[pyo3(signature = (spec, launch, facts, made_by, token=0, quiet=false, directory=None))]
pub fn compile_process_plan(
    spec: KnownSpec,
    launch: &Launch,
    facts: &Facts,
    made_by: &Plan,
    token: u32,
    quiet: bool,
    directory: Option<&[u8]>,
) -> Result<Plan> {
    compile_process(&spec, launch, facts, made_by, token, quiet, directory)
}

/// Make a plan.
#[pyfunction(name = "compile")]
#[pyo3(signature = (spec, launch, facts, cgroup=None, join=None))]
pub fn compile_plan(
    spec: KnownSpec,
    launch: &Launch,
    facts: &Facts,
    cgroup: Option<&Cgroup>,
    join: Option<Join>,
) -> Result<Plan> {
    compile(&spec, launch, facts, cgroup.map(|cgroup| Arc::clone(&cgroup.0)), join.as_ref())
}
