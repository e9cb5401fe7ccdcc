//! The plans for what nsbox-init does in namespaces that exist: it enters them, and opens what is wanted and sends it, or
//! aborts what processes there wait for.

use std::os::fd::RawFd;

use nsbox_init::wire::{Numbers, Op, Text};

use crate::kinds::Kind;
use crate::plan::builder::{Builder, c_bytes, packed};
use crate::plan::facts::Facts;
use crate::plan::join::step_name;
use crate::plan::plan::{Arrangement, Plan};
use crate::plan::rights::Rights;
use crate::plan::step::{Actor, CallerAction};
use crate::step_name::StepName;

/// Something that shows the namespaces of the process that opens it.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// A file of proc, by its path below `/proc/`.
    File(&'a str),
    /// The root of a new proc that is mounted nowhere, for the PID namespace behind a descriptor (Linux 6.17).
    Proc(RawFd),
    /// The root of the mqueue of the IPC namespace (mq_overview(7)), mounted nowhere.
    Queues,
}

/// Make the plan. The last steps are those that open `wanted`, one each.
pub fn compile_look(enter: &[(Kind, RawFd)], wanted: &[Wanted<'_>], facts: &Facts) -> Plan {
    let pid_namespaces = wanted.iter().filter_map(|wanted| match wanted {
        Wanted::Proc(namespace) => Some(*namespace),
        _ => None,
    });
    inside(enter, pid_namespaces, facts, "to open what shows this namespace", |plan| {
        for &wanted in wanted {
            let (name, op, manual) = match wanted {
                Wanted::File(path) => {
                    (StepName::Open, Op::OpenOwn { path: Text(c_bytes(path.as_bytes())), link: 0 }, "open(2)")
                }
                Wanted::Proc(namespace) => (StepName::DetachedMount, Op::DetachedProc { namespace }, "fsmount(2)"),
                Wanted::Queues => {
                    (StepName::DetachedMount, Op::Detached { fstype: Text(c_bytes(b"mqueue")) }, "fsmount(2)")
                }
            };
            plan.op(Actor::Init, name, op, manual, "for these namespaces; the caller gets a descriptor");
        }
    })
}

/// Make the plan by which the FUSE connections of these devices are aborted, in the mount namespace that is entered.
pub fn compile_abort(enter: &[(Kind, RawFd)], devices: &[(u32, u32)], facts: &Facts) -> Plan {
    inside(enter, std::iter::empty(), facts, "where the file systems are mounted", |plan| {
        let devices = Numbers(packed(devices.iter().flat_map(|&(major, minor)| [major, minor])));
        let why = "processes that were killed wait for these file systems";
        plan.op(Actor::Init, StepName::AbortFuse, Op::AbortFuse { devices }, "umount(2)", why);
    })
}

/// What nsbox-init does in namespaces that exist: it enters them for the reason `why`, and carries out what `add` adds.
/// `kept` are the descriptors that this needs besides those of the namespaces.
fn inside(
    enter: &[(Kind, RawFd)],
    kept: impl Iterator<Item = RawFd>,
    facts: &Facts,
    why: &'static str,
    add: impl FnOnce(&mut Builder),
) -> Plan {
    let mut plan = Builder { steps: Vec::with_capacity(8), outside: Actor::Caller, directory: None };
    plan.outside(StepName::Clone, CallerAction::Clone(0), "clone(2)", "still in the caller's namespaces");
    let alone = "with memory and descriptors of its own, before it enters anything";
    let carry = facts.euid != 0 && facts.permitted != 0;
    plan.outside(StepName::ExecInit, CallerAction::ExecInit(carry), "execveat(2)", alone);
    for &(kind, fd) in enter {
        plan.op(Actor::Init, step_name(kind), Op::Setns { fd, flags: kind.flag }, "setns(2)", why);
    }
    add(&mut plan);
    Plan {
        steps: plan.steps,
        namespaces: 0,
        joined: enter.iter().fold(0, |flags, (kind, _)| flags | kind.flag),
        added: Vec::new(),
        arrangement: Arrangement::InitInside,
        keep: enter.iter().map(|(_, fd)| *fd).chain(kept).collect(),
        close_fds: true,
        cgroup: None,
        left_out: Vec::new(),
        rights: Rights::default(),
        notes: Vec::new(),
    }
}
