//! One step of a plan: the actor, the action, and the reason.

use std::path::PathBuf;

use crate::step_name::StepName;
use nsbox_init::wire::Op;

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

/// An action of the caller, or for a box in a box of the outer nsbox-init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerAction {
    /// clone3 with these CLONE_NEW* flags.
    Clone(u64),
    /// Start nsbox-init; its capabilities are carried over the exec when `true`.
    ExecInit(bool),
    /// For a box in a box, the outer nsbox-init makes a user namespace, which another process holds until the maps are
    /// written.
    NewUser,
    /// For a box in a box, the outer nsbox-init makes a copy of itself with these CLONE_NEW* flags; if `true`, in the
    /// user namespace of [`CallerAction::NewUser`].
    Copy(u64, bool),
    /// The copy continues without an exec; it keeps the capabilities of the outer nsbox-init when `true`.
    CopyInit(bool),
    /// Write this to the new user namespace's file `setgroups`.
    Setgroups(String),
    /// Write these rows (inside, outside, count) to the new user namespace's file of that name.
    Map(&'static str, Vec<[u32; 3]>),
    /// Let this program write these rows.
    MapBy(&'static str, Vec<[u32; 3]>),
    /// Make this cgroup, and write these files in it.
    Cgroup(PathBuf, Vec<(String, String)>),
}

impl CallerAction {
    /// The file of the user namespace that is written, and its text; nothing for other actions.
    pub fn map_file(&self) -> (&'static str, String) {
        match self {
            CallerAction::Setgroups(word) => ("setgroups", word.clone()),
            CallerAction::Map(file, rows) => {
                (file, rows.iter().map(|[inside, outside, count]| format!("{inside} {outside} {count}\n")).collect())
            }
            _ => ("", String::new()),
        }
    }
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
    pub name: StepName,
    /// Who carries it out.
    pub actor: Actor,
    /// What is carried out.
    pub action: Action,
    /// Where it is described.
    pub manual: &'static str,
    /// The reason.
    pub why: &'static str,
}
