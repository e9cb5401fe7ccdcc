//! The steps of `harden`: what is arranged in the new namespaces, and what the payload's process gives up for good.

use std::os::unix::ffi::OsStrExt;

use nsbox_init::wire::{Blob, Op, Text, Texts};
use pyo3::prelude::*;

use crate::capabilities;
use crate::error::{Error, Result};
use crate::kinds::{self, Kind};
use crate::plan::builder::{Builder, c_bytes, write_op};
use crate::plan::facts::Facts;
use crate::plan::flags::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID};
use crate::plan::plan::Plan;
use crate::plan::spec::{Hardened, KnownSpec, Mount, Root, Spec};
use crate::plan::step::Actor;
use crate::seccomp;
use crate::step_name::StepName;

/// Where programs put files for a while: the bytes and the files that each may hold.
const PRIVATE_TMP: [(&str, u64, u64); 3] =
    [("/tmp", 256 << 20, 65_536), ("/var/tmp", 256 << 20, 65_536), ("/dev/shm", 64 << 20, 4096)];

/// What concerns the whole machine in a proc: what containers cover, and what they make read-only.
const HIDDEN_IN_PROC: [&str; 9] =
    ["acpi", "asound", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats"];
const READ_ONLY_IN_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// The same in /sys.
const HIDDEN_IN_SYS: [&str; 4] = ["/sys/firmware", "/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing"];

/// LANDLOCK_SCOPE_* (landlock(7)).
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
const SCOPE_SIGNAL: u64 = 2;

impl Hardened {
    /// Whether a step takes capabilities from the bounding set.
    pub fn limits_capabilities(&self) -> bool {
        self.drop_capabilities || self.lock_mounts
    }
}

/// The namespaces that the parts need, and why.
///
/// # Errors
/// [`Error::Spec`] for a kind that does not exist.
pub fn namespaces(spec: &Spec, facts: &Facts) -> Result<Vec<(Kind, &'static str)>> {
    let hardened = &spec.hardened;
    let mut wanted = Vec::new();
    for name in &hardened.namespaces {
        let kind =
            kinds::by_name(name).ok_or_else(|| Error::Spec(format!("harden: no namespace is called {name:?}")))?;
        wanted.push((kind, "harden is set"));
    }
    let lacks_setpcap = facts.effective & capabilities::SETPCAP == 0;
    let needs = [
        (hardened.private_ids, "user", "private_ids is set: the ids inside stand for others outside"),
        (hardened.lock_mounts, "mount", "lock_mounts is set"),
        (hardened.lock_mounts, "user", "lock_mounts is set: root of the machine could undo any mount"),
        (
            hardened.drop_capabilities && lacks_setpcap,
            "user",
            "drop_capabilities is set: it takes CAP_SETPCAP to empty the bounding set",
        ),
        (hardened.private_tmp, "mount", "private_tmp is set, and must not change the caller's own mounts"),
        (hardened.private_sys, "mount", "private_sys is set, and must not change the caller's own mounts"),
    ];
    let needed = needs.into_iter().filter(|(needed, ..)| *needed);
    wanted.extend(needed.filter_map(|(_, name, why)| kinds::by_name(name).map(|kind| (kind, why))));
    Ok(wanted)
}

/// New file systems in memory where programs put files for a while.
pub fn private_tmp(plan: &mut Builder, actor: Actor, inside: bool) {
    for (target, size, inodes) in PRIVATE_TMP {
        let options = [
            ("source", "tmpfs".into()),
            ("mode", "1777".into()),
            ("size", size.to_string()),
            ("nr_inodes", inodes.to_string()),
        ];
        let op = Op::PrivateMount {
            fstype: Text(c_bytes(b"tmpfs")),
            options: texts(options.iter().flat_map(|(name, value)| [*name, value.as_str()])),
            attributes: MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
            target: Text(c_bytes(target.as_bytes())),
            inside: inside.into(),
        };
        plan.op(actor, StepName::PrivateTmp, op, "tmpfs(5)", "what others put there is hidden, and it has a limit");
    }
}

/// New terminals in the place of those of the machine: a program could read what is typed into another terminal of the
/// same user.
pub fn private_pts(plan: &mut Builder, actor: Actor, inside: bool) {
    let op = Op::PrivateMount {
        fstype: Text(c_bytes(b"devpts")),
        options: texts(["source", "devpts", "mode", "620", "ptmxmode", "666"]),
        attributes: MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
        target: Text(c_bytes(b"/dev/pts")),
        inside: inside.into(),
    };
    plan.op(actor, StepName::PrivatePts, op, "pts(4)", "the terminals of others cannot be opened by their paths");
}

/// The sysctls, after the proc through which they are written is there, and before parts of it are read-only.
pub fn sysctls(plan: &mut Builder, actor: Actor, spec: &Spec) {
    for (name, value) in &spec.sysctl {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        plan.op(actor, StepName::Sysctl, write_op(&path, value), "sysctl(8)", "the setting of these namespaces alone");
    }
}

/// Cover and protect what a new proc and /sys show of the machine.
pub fn masks(plan: &mut Builder, actor: Actor, spec: &Spec) {
    let inside = spec.root.is_some().into();
    if let Some(proc) = &spec.mount_proc
        && spec.hardened.mask_proc
    {
        let proc = String::from_utf8_lossy(proc).into_owned();
        let below = |names: &[&str]| -> Vec<String> { names.iter().map(|name| format!("{proc}/{name}")).collect() };
        let (hidden, read_only) = (below(&HIDDEN_IN_PROC), below(&READ_ONLY_IN_PROC));
        let op = Op::Mask { hidden: texts(hidden.iter()), read_only: texts(read_only.iter()), inside };
        plan.op(actor, StepName::MaskProc, op, "proc(5)", "these files are of the whole machine, in every proc");
    }
    if spec.hardened.private_sys {
        let op = Op::Mask { hidden: texts(HIDDEN_IN_SYS), read_only: texts(["/sys"]), inside };
        let why = "devices and cgroups are of the whole machine: no process here can change them";
        plan.op(actor, StepName::ReadOnlySys, op, "sysfs(5)", why);
    }
}

/// What the payload's process gives up, after it has become the user asked for.
pub fn rights(plan: &mut Builder, spec: &Spec, flags: u64) {
    let hardened = &spec.hardened;
    let mut op = |name, op, manual, why| plan.op(Actor::Payload, name, op, manual, why);
    if hardened.keyring {
        let why = "an empty one: the keys of the caller are not inherited";
        op(StepName::SessionKeyring, Op::SessionKeyring {}, "keyctl(2)", why);
    }
    if hardened.drop_capabilities {
        let why = "none in any set, and none can be got back: root inside is an ordinary user";
        op(StepName::LockCapabilities, Op::LimitCapabilities { keep: 0 }, "capabilities(7)", why);
    } else if hardened.lock_mounts {
        let keep = !capabilities::SYS_ADMIN;
        let why = "without it no process can change the mounts of this namespace";
        op(StepName::LockMounts, Op::LimitCapabilities { keep }, "mount_namespaces(7)", why);
    }
    if hardened.no_new_privs {
        let why = "no exec grants privileges from here on";
        op(StepName::NoNewPrivs, Op::NoNewPrivs {}, "PR_SET_NO_NEW_PRIVS(2const)", why);
    }
    if hardened.landlock {
        let op_landlock = Op::Landlock { writable: texts(writable(spec)), scopes: scopes(flags) };
        let why = "a second line: no device nodes, no mounts, no tracing outside, no writes to what is read-only";
        op(StepName::Landlock, op_landlock, "landlock(7)", why);
    }
}

/// The filter for system calls: the last step before the exec.
pub fn filter(plan: &mut Builder, spec: &Spec) {
    if spec.hardened.seccomp {
        let filters = seccomp::filters();
        let op = Op::Seccomp { denied: Blob(filters.denied.clone()), missing: Blob(filters.missing.clone()) };
        let why =
            "mounts, namespaces, keyrings, tracing, modules and the like are refused before the kernel looks at them";
        plan.op(Actor::Payload, StepName::Seccomp, op, "seccomp(2)", why);
    }
}

/// What the domain lets through: the paths below which files can be changed, and LANDLOCK_SCOPE_*. For a process that
/// nsbox-init does not start, such as a task of an executor, in the box of a plan.
#[pyfunction]
pub fn landlock_rule(spec: KnownSpec, plan: &Plan) -> (Vec<Vec<u8>>, u64) {
    (writable(&spec), scopes(plan.namespaces))
}

/// What the new namespaces do not keep apart by themselves.
fn scopes(flags: u64) -> u64 {
    let signals = if flags & kinds::PID == 0 { SCOPE_SIGNAL } else { 0 };
    let sockets = if flags & kinds::NET == 0 { SCOPE_ABSTRACT_UNIX_SOCKET } else { 0 };
    signals | sockets
}

/// The paths below which files can be changed: all, unless the whole tree is read-only.
fn writable(spec: &Spec) -> Vec<Vec<u8>> {
    if !matches!(spec.root, Some(Root::Bind { read_only: true, .. })) {
        return vec![b"/".to_vec()];
    }
    let mounted = spec.mounts.iter().filter_map(|mount| match mount {
        Mount::Bind { target, read_only: false, .. } | Mount::Tmpfs { target, .. } => Some(target),
        Mount::Overlay { target, upper: Some(_), .. } => Some(target),
        _ => None,
    });
    let tmp = if spec.hardened.private_tmp { &PRIVATE_TMP[..] } else { &[] };
    let proc = spec.mount_proc.iter().map(|proc| proc.to_vec());
    mounted
        .map(|target| target.as_os_str().as_bytes().to_vec())
        .chain(tmp.iter().map(|(target, ..)| target.as_bytes().to_vec()))
        .chain(proc)
        // Devices are no part of what is read-only: /dev/null can be written to.
        .chain([b"/dev".to_vec()])
        .collect()
}

fn texts<S: AsRef<[u8]>>(all: impl IntoIterator<Item = S>) -> Texts<Vec<u8>> {
    let (mut joined, mut count) = (Vec::new(), 0);
    for text in all {
        joined.extend_from_slice(text.as_ref());
        joined.push(0);
        count += 1;
    }
    Texts { count, joined }
}
