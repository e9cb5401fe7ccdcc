//! What is written to the files of a new user namespace (user_namespaces(7)).

use crate::capabilities;
use crate::plan::facts::Facts;
use crate::plan::id_maps;
use crate::plan::spec::{Maps, Spec};

/// What is written to the files of a new user namespace.
pub struct Written {
    /// uid_map.
    pub users: Vec<[u32; 3]>,
    /// gid_map.
    pub groups: Vec<[u32; 3]>,
    /// The file `setgroups`, if it is written.
    pub setgroups: Option<String>,
    /// Whether newuidmap(1) writes uid_map.
    pub helped_users: bool,
    /// Whether newgidmap(1) writes gid_map.
    pub helped_groups: bool,
}

/// What is written for a caller with these facts.
pub fn written(spec: &Spec, facts: &Facts) -> Written {
    let Maps { auto, users, groups, .. } = &spec.maps;
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
    let setgroups = spec.setgroups.clone().or_else(|| deny.then(|| "deny".into()));
    Written { users, groups, setgroups, helped_users, helped_groups }
}
