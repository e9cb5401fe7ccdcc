//! A plan: an ordered list of steps, as pure data. `compile.rs` makes it, `text.rs` prints it, `spawn.rs` starts it.
//!
//! A step is carried out by the caller, by nsbox-init in the new namespaces, or by the payload's process before its
//! exec; the last two kinds travel as operations (`wire.rs`).

use std::borrow::{Borrow, Cow};
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::cgroup::Directory;
use crate::kinds::{self, kinds_of};
use nsbox_init::wire::{self, Op, Sink};

/// Who carries out a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The calling process.
    Caller,
    /// The nsbox-init of the box in which another box is made.
    OuterInit,
    /// nsbox-init.
    Init,
    /// The process that becomes the payload.
    Payload,
}

impl Actor {
    /// As errors and plans name it.
    pub fn name(self) -> &'static str {
        match self {
            Actor::Caller => "caller",
            Actor::OuterInit => "outer init",
            Actor::Init => "init",
            Actor::Payload => "payload",
        }
    }
}

/// What the caller itself does, or for a box in a box the outer nsbox-init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerAction {
    /// clone3 with these CLONE_NEW* flags.
    Clone(u64),
    /// Start nsbox-init; its capabilities are carried over the exec when `true`.
    ExecInit(bool),
    /// For a box in a box, the outer nsbox-init makes a copy of itself with these CLONE_NEW* flags.
    Copy(u64),
    /// That goes on, without an exec; its capabilities are those of the outer one when `true`.
    CopyInit(bool),
    /// Write this to the new user namespace's file of that name.
    Map(&'static str, String),
    /// Have this program write these ranges.
    MapBy(&'static str, String),
    /// Make this cgroup, and write these files in it.
    Cgroup(PathBuf, Vec<(String, String)>),
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Something the caller does.
    Caller(CallerAction),
    /// Something nsbox-init or the payload's process does.
    Op(Op<Vec<u8>>),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// A stable name, such as `mount proc`.
    pub name: &'static str,
    /// Who does it.
    pub actor: Actor,
    /// What is done.
    pub action: Action,
    /// Where it is described.
    pub manual: &'static str,
    /// Why it is done.
    pub why: &'static str,
}

/// One step as Python sees it.
#[pyclass(frozen, get_all, name = "Step", module = "nsbox._core")]
pub struct StepView {
    /// Its number.
    index: usize,
    /// A stable name, such as `mount proc`.
    name: &'static str,
    /// `caller`, `init` or `payload`.
    actor: &'static str,
    /// The system call with its arguments.
    call: String,
    /// The manual page that describes it.
    manual: &'static str,
    /// Why it is done.
    why: &'static str,
}

#[pymethods]
impl StepView {
    fn __repr__(&self) -> String {
        format!("<step {}: {} by {}: {}>", self.index, self.name, self.actor, self.call)
    }
}

/// How the processes are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// nsbox-init enters the new namespaces and the payload is its child there. With a new PID namespace nsbox-init
    /// is PID 1.
    InitInside,
    /// nsbox-init stays outside and watches; the payload is alone inside (PID 1, if there is a new PID namespace).
    Guarded,
    /// As `Guarded`, but the payload unshares by itself instead of being cloned into the namespaces, so a new PID
    /// namespace is only for its children: unshare(1) without `--fork`.
    Unforked,
}

/// An ordered list of steps, and what they amount to.
#[pyclass(frozen, module = "nsbox._core")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// CLONE_NEW* of everything that is new.
    pub namespaces: u64,
    /// CLONE_NEW* of everything that is joined before.
    pub joined: u64,
    /// Namespaces that were not asked for, and why they are there.
    pub added: Vec<(&'static str, &'static str)>,
    /// Who is where.
    pub arrangement: Arrangement,
    /// Descriptors that must survive the exec of nsbox-init.
    pub keep: Vec<i32>,
    /// Whether all others are closed.
    pub close_fds: bool,
    /// The cgroup of what is started.
    pub cgroup: Option<Arc<Directory>>,
}

#[pymethods]
impl Plan {
    /// The steps, in order.
    #[getter(steps)]
    fn step_views(&self) -> Vec<StepView> {
        let view = |(index, step): (usize, &Step)| StepView {
            index,
            name: step.name,
            actor: step.actor.name(),
            call: step.call(),
            manual: step.manual,
            why: step.why,
        };
        self.steps.iter().enumerate().map(view).collect()
    }

    /// The names of the new namespaces.
    #[getter(namespaces)]
    pub fn namespace_names(&self) -> Vec<&'static str> {
        kinds_of(self.namespaces).map(|kind| kind.name).collect()
    }

    /// The names of the namespaces that are joined.
    #[getter(joined)]
    fn joined_names(&self) -> Vec<&'static str> {
        kinds_of(self.joined).map(|kind| kind.name).collect()
    }

    /// Namespaces that were not asked for, with the reason why they are there.
    #[getter(added)]
    fn added_namespaces(&self) -> Vec<(&'static str, &'static str)> {
        self.added.clone()
    }

    /// The bytes nsbox-init is given.
    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, pyo3::types::PyBytes> {
        pyo3::types::PyBytes::new(py, &self.to_bytes())
    }

    fn __str__(&self) -> String {
        self.to_string()
    }

    fn __repr__(&self) -> String {
        let names = self.namespace_names();
        let joined =
            if self.joined == 0 { String::new() } else { format!("joined {}, ", self.joined_names().join(", ")) };
        format!(
            "<plan of {} steps for {joined}{}>",
            self.steps.len(),
            if names.is_empty() { "no new namespaces".into() } else { names.join(", ") }
        )
    }
}

impl Plan {
    /// The operations for nsbox-init and the payload.
    pub fn ops(&self) -> impl Iterator<Item = (u16, &Op<Vec<u8>>)> {
        self.steps.iter().enumerate().filter_map(|(index, step)| match &step.action {
            Action::Op(op) => Some((index as u16, op)),
            Action::Caller(_) => None,
        })
    }

    /// The bytes nsbox-init is given.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self.ops())
    }

    /// The same, for a caller that wants to hear of the end alone: being told in between that the payload runs would be
    /// one more wake-up. Where killing nsbox-init does not kill the payload, it has to be known.
    pub fn to_quiet_bytes(&self) -> Vec<u8> {
        if !self.init_is_pid_1() {
            return self.to_bytes();
        }
        encode(self.ops().map(|(step, op)| match op {
            Op::Fork { flags, .. } => (step, Cow::Owned(Op::Fork { flags: *flags, quiet: 1 })),
            op => (step, Cow::Borrowed(op)),
        }))
    }

    /// The request by which the nsbox-init of a box starts another one, which then carries this plan out.
    pub fn nested_start(&self, outer: &Plan, token: u32) -> Vec<u8> {
        let mut ops: Vec<Op<Vec<u8>>> = vec![Op::Start { flags: self.clone_flags(), token, quiet: 0 }];
        ops.extend(outer.cgroup.as_ref().map(|cgroup| cgroup.join()));
        if outer.carries_capabilities() && !self.carries_capabilities() {
            // What carried the outer one over its exec is not for this one, nor for what will run there.
            ops.push(Op::Capabilities { inheritable: 0, ambient: 0 });
        }
        ops.push(Op::CopyInit {});
        let steps = std::iter::once(self.clone_step()).chain(std::iter::repeat(self.init_step()));
        encode(steps.zip(&ops))
    }

    /// Whether the nsbox-init that the caller knows is PID 1 of a new namespace, so that its death is the death of
    /// everything. Where something is joined first, it stays outside of a new PID namespace.
    pub fn init_is_pid_1(&self) -> bool {
        self.clone_flags() & kinds::PID != 0
    }

    /// The steps that write the files of the user namespace, with their numbers.
    pub fn maps(&self) -> impl Iterator<Item = (u16, &CallerAction)> {
        self.steps.iter().enumerate().filter_map(|(index, step)| match &step.action {
            Action::Caller(action @ (CallerAction::Map(..) | CallerAction::MapBy(..))) => Some((index as u16, action)),
            _ => None,
        })
    }

    /// The step that makes nsbox-init; the first one, unless there is a cgroup to be made before.
    pub fn clone_step(&self) -> u16 {
        u16::from(self.cgroup.is_some())
    }

    /// The step after that.
    pub fn init_step(&self) -> u16 {
        self.clone_step() + 1
    }

    /// Everything has ended: remove the cgroup, if there is one.
    pub fn remove_cgroup(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
    }

    /// The flags for the caller's clone.
    pub fn clone_flags(&self) -> u64 {
        match self.steps[usize::from(self.clone_step())].action {
            Action::Caller(CallerAction::Clone(flags) | CallerAction::Copy(flags)) => flags,
            _ => 0,
        }
    }

    /// Whether capabilities are carried over the exec of nsbox-init.
    pub fn carries_capabilities(&self) -> bool {
        let action = &self.steps[usize::from(self.init_step())].action;
        matches!(action, Action::Caller(CallerAction::ExecInit(true) | CallerAction::CopyInit(true)))
    }
}

struct Buffer(Vec<u8>);

impl Sink for Buffer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// The bytes of a plan with these operations.
pub fn encode(ops: impl Iterator<Item = (u16, impl Borrow<Op<Vec<u8>>>)>) -> Vec<u8> {
    let (mut body, mut count) = (Buffer(Vec::with_capacity(4096)), 0);
    for (step, op) in ops {
        wire::encode_op(step, op.borrow(), &mut body);
        count += 1;
    }
    let mut bytes = wire::encode_header(count, &body.0).to_vec();
    bytes.append(&mut body.0);
    bytes
}
