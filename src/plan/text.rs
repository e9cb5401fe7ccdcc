//! A plan in words: each step as strace(1) would print it.

use std::fmt;

use crate::kinds::kinds_of;
use crate::plan::flags::{self, MOUNT_ATTR, MS, UMOUNT};
use crate::plan::plan::Plan;
use crate::plan::rlimit;
use crate::plan::step::{Action, CallerAction, Step};
use nsbox_init::wire::{MaybeText, Op, Text};

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|step| step.actor.name().len()).fold(8, usize::max);
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(out, "{index:2}  {:<width$} {:<20} {}", step.actor.name(), step.name, step.call())?;
        }
        for (namespace, reason) in &self.added {
            if self.namespace_names().contains(namespace) {
                writeln!(out, "    a new {namespace} namespace was added: {reason}")?;
            } else {
                writeln!(out, "    the {namespace} namespace is joined as well: {reason}")?;
            }
        }
        Ok(())
    }
}

impl Step {
    /// The system call with its arguments, as strace(1) would print it.
    pub fn call(&self) -> String {
        match &self.action {
            Action::Caller(CallerAction::Clone(flags)) => {
                format!("clone3({})", flag_names(*flags, "CLONE_VM|CLONE_VFORK|CLONE_PIDFD"))
            }
            Action::Caller(CallerAction::ExecInit(carry)) => exec_init(*carry),
            Action::Caller(CallerAction::Copy(flags)) => {
                format!("clone({})", flag_names(*flags, "CLONE_PIDFD|SIGCHLD"))
            }
            Action::Caller(CallerAction::CopyInit(_)) => "nsbox-init goes on in the copy".into(),
            Action::Caller(CallerAction::Map(file, text)) => format!("write(\"/proc/PID/{file}\", {text:?})"),
            Action::Caller(CallerAction::Cgroup(path, files)) => {
                let writes: String = files.iter().map(|(file, text)| format!("; write({file:?}, {text:?})")).collect();
                format!("mkdir({path:?}){writes}")
            }
            Action::Caller(CallerAction::MapBy(program, ranges)) => format!("{program} PID {ranges}"),
            Action::Op(op) => op_call(op),
        }
    }
}

fn exec_init(carry: bool) -> String {
    format!("execveat(nsbox-init){}", if carry { " with ambient capabilities" } else { "" })
}

fn flag_names(flags: u64, rest: &str) -> String {
    kinds_of(flags)
        .map(|kind| kind.flag_name)
        .chain(std::iter::once(rest).filter(|rest| !rest.is_empty()))
        .collect::<Vec<_>>()
        .join("|")
}

fn op_call(op: &Op<Vec<u8>>) -> String {
    match op {
        Op::Unshare { flags } => format!("unshare({})", flag_names(*flags, "")),
        Op::AwaitMaps {} => "recv(the caller: maps written)".into(),
        Op::Write { path, data } => format!("write({}, {})", quoted(&path.0), quoted(&data.0)),
        Op::Mount { source, target, fstype, flags } => {
            let null = |text: &MaybeText<Vec<u8>>| if text.0.is_empty() { "NULL".into() } else { quoted(&text.0) };
            format!(
                "mount({}, {}, {}, {}, NULL)",
                null(source),
                quoted(&target.0),
                null(fstype),
                flags::names(*flags, &MS)
            )
        }
        Op::SetHostname { name } => format!("sethostname({}, {})", quoted(&name.0), name.0.len()),
        Op::SetDomainname { name } => format!("setdomainname({}, {})", quoted(&name.0), name.0.len()),
        Op::LoopbackUp {} => "ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)".into(),
        Op::Fork { flags, .. } => {
            format!("clone3({})", flag_names(*flags, "CLONE_VM|CLONE_CHILD_CLEARTID|CLONE_PIDFD"))
        }
        Op::Setsid {} => "setsid()".into(),
        Op::Setpgid { group } => format!("setpgid(0, {group})"),
        Op::ControllingTerminal {} => "ioctl(0, TIOCSCTTY)".into(),
        Op::Descriptors { stdio, pass, close } => {
            let mut parts: Vec<String> = stdio
                .iter()
                .enumerate()
                .filter(|(_, source)| **source >= 0)
                .map(|(target, source)| format!("dup2({source}, {target})"))
                .collect();
            let kept: Vec<String> = pass.iter().map(|fd| fd.to_string()).collect();
            if *close != 0 {
                parts.push("close_range(3, ~0, CLOSE_RANGE_CLOEXEC)".into());
            }
            if !kept.is_empty() {
                parts.push(format!("keep {}", kept.join(", ")));
            }
            if parts.is_empty() { "all inherited".into() } else { parts.join("; ") }
        }
        Op::Chdir { path } => format!("chdir({})", quoted(&path.0)),
        Op::Umask { mask } => format!("umask({mask:#o})"),
        Op::Setgroups { groups } => format!("setgroups({:?})", groups.iter().collect::<Vec<_>>()),
        Op::Setgid { id } => format!("setresgid({id}, {id}, {id})"),
        Op::Setuid { id, .. } => format!("setresuid({id}, {id}, {id})"),
        Op::Capabilities { inheritable, ambient } => match (*inheritable, *ambient) {
            (0, 0) => "capset(inheritable empty); prctl(PR_CAP_AMBIENT, none)".into(),
            (u64::MAX, u64::MAX) => "capset(inheritable all); prctl(PR_CAP_AMBIENT, all)".into(),
            (inheritable, ambient) => {
                format!("capset(inheritable {inheritable:#x}); prctl(PR_CAP_AMBIENT, {ambient:#x})")
            }
        },
        Op::Setns { fd, flags } => format!("setns({fd}, {})", flag_names(*flags, "")),
        Op::BecomeRoot {} => "setgroups([]); setresgid(0, 0, 0); setresuid(0, 0, 0)".into(),
        Op::Chroot { fd } => format!("fchdir({fd}); chroot(\".\")"),
        Op::Fchdir { fd } => format!("fchdir({fd})"),
        Op::Descend { flags } => format!("clone({})", flag_names(*flags, "CLONE_PIDFD")),
        Op::Serve {} => "poll(requests, the caller's pidfd, signals)".into(),
        Op::Start { flags, .. } => {
            format!("clone3({})", flag_names(*flags, "CLONE_VM|CLONE_CHILD_CLEARTID|CLONE_PIDFD"))
        }
        Op::Received { stdio, pass } => {
            let standard = (0..3).filter(|&target| stdio[target as usize] != 0);
            let targets: Vec<String> = standard.chain(pass.iter()).map(|target| format!("dup2(_, {target})")).collect();
            if targets.is_empty() { "none".into() } else { targets.join("; ") }
        }
        Op::CopyInit {} => "go on as another nsbox-init".into(),
        Op::WriteMap { pid, file, data } => {
            format!("write(\"/proc/{pid}/{}\", {})", quoted(&file.0).trim_matches('"'), quoted(&data.0))
        }
        Op::Open { path } => format!("open({}, O_RDONLY)", quoted(&path.0)),
        Op::Read { path } => format!("read({})", quoted(in_proc(path))),
        Op::OpenOwn { path, .. } => format!("open({}, O_RDONLY)", quoted(in_proc(path))),
        Op::WriteOwn { path, data } => format!("write({}, {})", quoted(in_proc(path)), quoted(&data.0)),
        Op::Detached { fstype } => format!("fsmount({})", quoted(&fstype.0)),
        Op::Unmount { target, flags: 0 } => format!("umount({})", quoted(&target.0)),
        Op::Unmount { target, flags } => {
            format!("umount2({}, {})", quoted(&target.0), flags::names(u64::from(*flags), &UMOUNT))
        }
        Op::Socket { family, kind, protocol } => {
            format!("socket({}, {}, {protocol})", name(&FAMILIES, *family), name(&SOCKETS, *kind & SOCKET_KIND))
        }
        Op::Abort { .. } => "kill(_, SIGKILL)".into(),
        Op::Reap { always, now } => match (*always != 0, *now != 0) {
            (true, _) => "wait4(-1) whenever a child ends".into(),
            (false, true) => "wait4(-1) once".into(),
            (false, false) => "wait4(-1) no more".into(),
        },
        Op::NoNewPrivs {} => "prctl(PR_SET_NO_NEW_PRIVS, 1)".into(),
        Op::Signals { mask, reset } => format!("sigprocmask(SIG_SETMASK, {mask:#x}); reset {reset:#x}"),
        Op::NewRoot { path } => {
            format!(
                "open_tree(AT_FDCWD, {}, OPEN_TREE_CLONE|AT_RECURSIVE); move_mount(on itself); fchdir",
                quoted(&path.0)
            )
        }
        Op::Bind { source, target, inside, recursive, attributes } => {
            let all = if *recursive != 0 { "|AT_RECURSIVE" } else { "" };
            let (source, target) = (quoted(&source.0), mount_target(&target.0, *inside));
            let attributes = flags::names(*attributes, &MOUNT_ATTR);
            format!(
                "open_tree(AT_FDCWD, {source}, OPEN_TREE_CLONE{all}); mount_setattr({attributes}); move_mount({target})"
            )
        }
        Op::NewMount { fstype, options, attributes, target, inside } => {
            let texts: Vec<&[u8]> = options.iter().collect();
            let options: String = texts
                .chunks(2)
                .map(|pair| match pair {
                    [name, b"\0"] => format!("fsconfig({}); ", quoted(name)),
                    _ => format!("fsconfig({}); ", pair.iter().map(quoted).collect::<Vec<_>>().join(", ")),
                })
                .collect();
            let (fstype, target) = (quoted(&fstype.0), mount_target(&target.0, *inside));
            format!(
                "fsopen({fstype}); {options}fsmount({}); move_mount({target})",
                flags::names(*attributes, &MOUNT_ATTR)
            )
        }
        Op::Cgroup { name, .. } => format!("at the end: unlinkat(CGROUP, {}, AT_REMOVEDIR)", quoted(&name.0)),
        Op::JoinCgroup { .. } => "write(\"cgroup.procs\", \"0\")".into(),
        Op::Rlimit { resource, soft, hard } => {
            format!(
                "prlimit(0, {}, {{{}, {}}}, NULL)",
                rlimit::constant(*resource),
                rlimit::limit(*soft),
                rlimit::limit(*hard)
            )
        }
        Op::PivotRoot {} => "pivot_root(\".\", \".\"); umount2(\".\", MNT_DETACH); chdir(\"/\")".into(),
        Op::Exec { paths, argv, envp } => {
            let argv: Vec<String> = argv.iter().map(quoted).collect();
            let first = paths.iter().next().map(quoted).unwrap_or_default();
            let more = if paths.count > 1 { format!(" or {} more", paths.count - 1) } else { String::new() };
            let variables = if envp.count == 1 { "variable" } else { "variables" };
            format!("execve({first}{more}, [{}], {} {variables})", argv.join(", "), envp.count)
        }
    }
}

/// socket(2).
const FAMILIES: [(i32, &str); 5] =
    [(1, "AF_UNIX"), (2, "AF_INET"), (10, "AF_INET6"), (16, "AF_NETLINK"), (17, "AF_PACKET")];
/// socket(2).
const SOCKETS: [(i32, &str); 4] = [(1, "SOCK_STREAM"), (2, "SOCK_DGRAM"), (3, "SOCK_RAW"), (5, "SOCK_SEQPACKET")];
/// What is left of the type without SOCK_NONBLOCK and SOCK_CLOEXEC.
const SOCKET_KIND: i32 = 0xf;

fn name(names: &[(i32, &str)], number: i32) -> String {
    let known = names.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_string())
}

/// A path as it is looked up (openat2(2), RESOLVE_IN_ROOT).
fn mount_target(path: &[u8], inside: u32) -> String {
    format!("{}{}", quoted(path), if inside != 0 { " in the new root" } else { "" })
}

/// A path from the root of a proc.
fn in_proc(path: &Text<Vec<u8>>) -> Vec<u8> {
    [b"/proc/", &path.0[..]].concat()
}

/// Bytes as a C string literal shows them, without the NUL at the end.
fn quoted(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    format!("\"{}\"", bytes.strip_suffix(b"\0").unwrap_or(bytes).escape_ascii())
}
