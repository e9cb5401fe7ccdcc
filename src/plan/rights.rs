//! Whose rights a program has: the ids it runs as, and what they are outside of its user namespace.

use nsbox_init::wire::{Numbers, Op};

use crate::kinds;
use crate::plan::builder::Builder;
use crate::plan::facts::Facts;
use crate::plan::launch::Launch;
use crate::plan::maps::{Written, written};
use crate::plan::spec::Spec;
use crate::plan::step::Actor;
use crate::step_name::StepName;

/// The ids of the programs of a plan, which their nsbox-init has as well, unless they are started as another user.
///
/// An id of the caller that the maps leave out has no number inside, and keeps its rights outside: it would be root
/// under the name of nobody. So the programs become root inside, or the first id that is mapped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// The lines of uid_map; `None` without a new user namespace.
    users: Option<Vec<[u32; 3]>>,
    /// Whether groups are mapped.
    groups: bool,
    /// The user that programs are, as seen inside; `None` if it has no number there.
    user: Option<u32>,
    /// The user that programs become.
    pub uid: Option<u32>,
    /// The group that programs become.
    pub gid: Option<u32>,
    /// Whether they leave the supplementary groups of the caller.
    pub leave_groups: bool,
    /// Whether 0 outside of these namespaces is the caller's root.
    root_outside: bool,
    /// Whether nothing is known: an existing user namespace is joined, or the box around this one is not known.
    unknown: bool,
}

impl Rights {
    /// Those of the programs of a plan with these new namespaces (`flags`), inside existing ones (`joined`).
    pub fn new(spec: &Spec, facts: &Facts, flags: u64, joined: u64) -> Self {
        let here = Rights { root_outside: true, user: Some(facts.euid), ..Rights::default() };
        let unknown = joined & kinds::USER != 0 && flags & kinds::USER == 0;
        Rights { unknown, ..Rights::nested(spec, facts, flags, &here) }
    }

    /// Those of a box of which nothing is known.
    pub fn unknown() -> Self {
        Rights { unknown: true, ..Rights::default() }
    }

    /// Those of the programs of a box inside another one, whose programs have the rights `outer`.
    pub fn nested(spec: &Spec, facts: &Facts, flags: u64, outer: &Rights) -> Self {
        if flags & kinds::USER == 0 {
            return outer.clone();
        }
        let root_outside = outer.root_outside && outer.outside(0) == Some(0);
        let Written { users, groups, setgroups, .. } = written(spec, facts);
        let (uid, gid) = (missing(&users, facts.euid), missing(&groups, facts.egid));
        let user = uid.or_else(|| inside(&users, facts.euid));
        let groups = !groups.is_empty();
        let leave_groups = (uid.is_some() || gid.is_some()) && groups && setgroups.as_deref() != Some("deny");
        Rights { users: Some(users), groups, user, uid, gid, leave_groups, root_outside, unknown: outer.unknown }
    }

    /// The steps by which a process takes these ids. All that it starts inherits them.
    pub fn become_own(&self, plan: &mut Builder, actor: Actor) {
        let why = "the caller's own has no number inside, and would keep its rights outside";
        if self.leave_groups {
            let none = Op::Setgroups { groups: Numbers(Vec::new()) };
            plan.op(actor, StepName::SetGroups, none, "setgroups(2)", why);
        }
        if let Some(id) = self.gid {
            plan.op(actor, StepName::Setgid, Op::Setgid { id }, "setresgid(2)", why);
        }
        if let Some(id) = self.uid {
            plan.op(actor, StepName::Setuid, Op::Setuid { id, keep_caps: 1 }, "setresuid(2)", why);
        }
    }

    /// What an id inside is outside.
    fn outside(&self, inside: u32) -> Option<u32> {
        let Some(users) = &self.users else { return Some(inside) };
        let line = users.iter().find(|[first, _, count]| (*first..=first + (count - 1)).contains(&inside));
        line.map(|[first, outside, _]| outside + (inside - first))
    }

    /// Whether a program can be root outside, if the caller is.
    pub fn reaches_root(&self) -> bool {
        self.root_outside && (self.user.is_none() || self.outside(0) == Some(0))
    }

    /// What is to be known of the rights of a program, or of programs of a box (`launch` is `None`): a sentence each.
    pub fn notes(&self, launch: Option<&Launch>, facts: &Facts) -> Vec<String> {
        let mut notes = Vec::new();
        if self.unknown {
            return notes;
        }
        let asked = launch.and_then(|launch| launch.uid);
        let inside = asked.or(self.user);
        let outside = inside.map_or(Some(facts.euid), |inside| self.outside(inside));
        if outside == Some(0) && self.root_outside {
            notes.push(match (inside, &self.users) {
                (_, None) => "root inside is root outside: no new user namespace is between them".into(),
                (Some(0), _) => "root inside is root outside: 0 is mapped to 0".into(),
                (Some(id), _) => format!("user {id} inside is root outside: it is mapped to 0"),
                (None, _) => "nobody inside is root outside: the user is not mapped, and stays root".into(),
            });
        } else if inside.is_none() {
            notes.push(format!("nobody inside is user {} outside: the user is not mapped, and stays", facts.euid));
        }
        if let (Some(uid), Some(launch)) = (asked, launch)
            && self.user != Some(uid)
        {
            let group = (launch.gid.is_none() && self.gid.is_none()).then(|| format!("group {}", facts.egid));
            let others = launch.groups.is_none() && !self.leave_groups;
            let kept: Vec<_> = group.into_iter().chain(others.then(|| "the supplementary groups".into())).collect();
            if !kept.is_empty() {
                let kept = kept.join(" and ");
                notes.push(format!("user {uid} keeps {kept} of the caller (group=, extra_groups= change that)"));
            }
        } else if self.users.is_some() && !self.groups && facts.egid == 0 {
            notes.push("nogroup inside is group 0 outside: no group is mapped".into());
        }
        notes
    }
}

/// An id of outside as seen inside.
fn inside(lines: &[[u32; 3]], own: u32) -> Option<u32> {
    let line = lines.iter().find(|[_, first, count]| (*first..=first + (count - 1)).contains(&own));
    line.map(|[inside, first, _]| inside + (own - first))
}

/// The id to become, if `own` is not mapped: root, or the first one that is. Nothing can be done without a map.
fn missing(lines: &[[u32; 3]], own: u32) -> Option<u32> {
    let first = lines.first()?[0];
    match inside(lines, own) {
        Some(_) => None,
        None => Some(if lines.iter().any(|line| line[0] == 0) { 0 } else { first }),
    }
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn an_id_outside_of_the_map_becomes_root_or_the_first_one() {
        for (lines, own, expected) in [
            (vec![], 0, None),
            (vec![[0, 0, 1]], 0, None),
            (vec![[7, 0, 1]], 0, None),
            (vec![[0, 100_000, 65536]], 0, Some(0)),
            (vec![[0, 0, u32::MAX]], u32::MAX - 1, None),
            (vec![[5, 100_000, 10]], 1000, Some(5)),
            (vec![[5, 100_000, 10], [0, 7, 1]], 1000, Some(0)),
            (vec![[5, 1000, 10]], 1009, None),
            (vec![[5, 1000, 10]], 1010, Some(5)),
        ] {
            assert_eq!(missing(&lines, own), expected, "{lines:?} {own:?}");
        }
    }
}
