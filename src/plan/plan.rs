//! A plan: an ordered list of steps, as pure data. `compile.rs` makes it, `text.rs` prints it, `encode.rs` encodes it,
//! `start/spawn.rs` carries it out.
//!
//! A step is carried out by the caller, by nsbox-init in the new namespaces, or by the payload's process before its
//! exec. The last two kinds are sent to nsbox-init as operations (`init/src/wire/`).

use std::sync::Arc;

use pyo3::prelude::*;

use crate::cgroup::Directory;
use crate::kinds;
use crate::plan::rights::Rights;
use crate::plan::step::{Action, CallerAction, Step};
use nsbox_init::wire::Op;

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
    /// Namespaces that are added, and why.
    pub added: Vec<(&'static str, &'static str)>,
    /// How the processes are arranged.
    pub arrangement: Arrangement,
    /// Descriptors that must survive the exec of nsbox-init.
    pub keep: Vec<i32>,
    /// Whether all others are closed.
    pub close_fds: bool,
    /// The ids of its programs.
    pub rights: Rights,
    /// What is to be known of their rights.
    pub notes: Vec<String>,
    /// The cgroup of what is started.
    pub cgroup: Option<Arc<Directory>>,
    /// The parts of `harden="best"` that this machine lacks, and why.
    pub left_out: Vec<(String, String)>,
}

impl Plan {
    /// The operations for nsbox-init and the payload.
    pub fn ops(&self) -> impl Iterator<Item = (u16, &Op<Vec<u8>>)> {
        self.steps.iter().enumerate().filter_map(|(index, step)| match &step.action {
            Action::Op(op) => Some((index as u16, op)),
            Action::Caller(_) => None,
        })
    }

    /// Whether the nsbox-init that the caller knows is PID 1 of a new namespace: then its end ends everything. With
    /// joins it stays outside of a new PID namespace.
    pub fn init_is_pid_1(&self) -> bool {
        self.clone_flags() & kinds::PID != 0
    }

    /// The steps that write the files of the user namespace, with their numbers.
    pub fn maps(&self) -> impl Iterator<Item = (u16, &CallerAction)> {
        self.steps.iter().enumerate().filter_map(|(index, step)| match &step.action {
            Action::Caller(action @ (CallerAction::Setgroups(_) | CallerAction::Map(..) | CallerAction::MapBy(..))) => {
                Some((index as u16, action))
            }
            _ => None,
        })
    }

    /// The step that makes nsbox-init. A cgroup is made before, and for a box in a box its user namespace.
    pub fn clone_step(&self) -> u16 {
        let makes_init =
            |step: &Step| matches!(step.action, Action::Caller(CallerAction::Clone(_) | CallerAction::Copy(..)));
        self.steps.iter().position(makes_init).unwrap_or_default() as u16
    }

    /// The step that makes the user namespace of a box in a box, if it has one of its own.
    pub fn new_user_step(&self) -> Option<u16> {
        let is = |step: &Step| step.action == Action::Caller(CallerAction::NewUser);
        self.steps.iter().position(is).map(|index| index as u16)
    }

    /// The step after that.
    pub fn init_step(&self) -> u16 {
        self.clone_step() + 1
    }

    /// Whether nsbox-init only does something in namespaces that exist, while the calling thread waits for it.
    pub fn is_look(&self) -> bool {
        self.ops().all(|(_, op)| !matches!(op, Op::Exec { .. } | Op::Serve {}))
    }

    /// Remove the cgroup, if there is one, after everything has ended.
    pub fn remove_cgroup(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
    }

    /// The flags for the caller's clone.
    pub fn clone_flags(&self) -> u64 {
        match self.steps[usize::from(self.clone_step())].action {
            Action::Caller(CallerAction::Clone(flags) | CallerAction::Copy(flags, _)) => flags,
            _ => 0,
        }
    }

    /// Whether capabilities are carried over the exec of nsbox-init.
    pub fn carries_capabilities(&self) -> bool {
        let action = &self.steps[usize::from(self.init_step())].action;
        matches!(action, Action::Caller(CallerAction::ExecInit(true) | CallerAction::CopyInit(true)))
    }
}
