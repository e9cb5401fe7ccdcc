//! The plan for a look into namespaces that exist: nsbox-init enters them, opens what is wanted, and sends it.

use std::os::fd::RawFd;

use nsbox_init::wire::{Op, Text};

use crate::kinds::Kind;
use crate::plan::builder::{Builder, c_bytes};
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
    let mut plan = Builder { steps: Vec::with_capacity(8), outside: Actor::Caller, directory: None };
    let why = "still in the caller's namespaces";
    plan.outside(StepName::Clone, CallerAction::Clone(0), "clone(2)", why);
    let why = "with memory and descriptors of its own, before it enters anything";
    let carry = facts.euid != 0 && facts.permitted != 0;
    plan.outside(StepName::ExecInit, CallerAction::ExecInit(carry), "execveat(2)", why);
    for &(kind, fd) in enter {
        let op = Op::Setns { fd, flags: kind.flag };
        plan.op(Actor::Init, step_name(kind), op, "setns(2)", "to open what shows this namespace");
    }
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
    let pid_namespaces = wanted.iter().filter_map(|wanted| match wanted {
        Wanted::Proc(namespace) => Some(*namespace),
        _ => None,
    });
    Plan {
        steps: plan.steps,
        namespaces: 0,
        joined: enter.iter().fold(0, |flags, (kind, _)| flags | kind.flag),
        added: Vec::new(),
        arrangement: Arrangement::InitInside,
        keep: enter.iter().map(|(_, fd)| *fd).chain(pid_namespaces).collect(),
        close_fds: true,
        cgroup: None,
        left_out: Vec::new(),
        rights: Rights::default(),
        notes: Vec::new(),
    }
}
