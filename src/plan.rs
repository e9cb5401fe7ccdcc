//! From a wish to a plan: an ordered list of steps, as pure data.
//!
//! [`compile`] looks at nothing but its arguments, so a plan can be printed and tested without a kernel. A step is
//! carried out by the caller, by nsbox-init in the new namespaces, or by the payload's process before its exec; the
//! last two kinds travel as operations (`wire.rs`).

use std::fmt;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::error::{Error, Result};
use crate::ns::{self, kinds_of};
use crate::spec::{Facts, Launch, Maps, Spec};
use crate::wire::{self, Blob, MaybeText, Numbers, Op, Sink, Text, Texts};

/// Who carries out a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The calling process.
    Caller,
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
            Actor::Init => "init",
            Actor::Payload => "payload",
        }
    }
}

/// What the caller itself does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerAction {
    /// clone3 with these CLONE_NEW* flags.
    Clone(u64),
    /// Start nsbox-init; its capabilities are carried over the exec when `true`.
    ExecInit(bool),
    /// Write this to the new user namespace's file of that name.
    Map(&'static str, String),
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
    /// Namespaces that were not asked for, and why they are there.
    pub added: Vec<(&'static str, &'static str)>,
    /// Who is where.
    pub arrangement: Arrangement,
    /// Descriptors that must survive the exec of nsbox-init.
    pub keep: Vec<i32>,
    /// Whether all others are closed.
    pub close_fds: bool,
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
    fn namespace_names(&self) -> Vec<&'static str> {
        kinds_of(self.namespaces).map(|kind| kind.name).collect()
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
        let names: Vec<_> = self.namespace_names();
        format!(
            "<plan of {} steps for {}>",
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

    /// Whether nsbox-init is PID 1 of a new namespace, so that its death is the death of everything.
    pub fn init_is_pid_1(&self) -> bool {
        self.arrangement == Arrangement::InitInside && self.namespaces & ns::PID != 0
    }

    /// The text for one of the files of the user namespace, if it is to be written.
    pub fn maps(&self) -> impl Iterator<Item = (usize, &'static str, &str)> {
        self.steps.iter().enumerate().filter_map(|(index, step)| match &step.action {
            Action::Caller(CallerAction::Map(file, text)) => Some((index, *file, text.as_str())),
            _ => None,
        })
    }

    /// The flags for the caller's clone.
    pub fn clone_flags(&self) -> u64 {
        match self.steps[usize::from(STEP_CLONE)].action {
            Action::Caller(CallerAction::Clone(flags)) => flags,
            _ => 0,
        }
    }

    /// Whether capabilities are carried over the exec of nsbox-init.
    pub fn carries_capabilities(&self) -> bool {
        matches!(self.steps[usize::from(STEP_INIT)].action, Action::Caller(CallerAction::ExecInit(true)))
    }
}

/// The first step of every plan.
pub const STEP_CLONE: u16 = 0;
/// The second step of every plan.
pub const STEP_INIT: u16 = 1;

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// The bytes of a plan with these operations.
pub fn encode<'a, S: AsRef<[u8]> + 'a>(ops: impl Iterator<Item = (u16, &'a Op<S>)>) -> Vec<u8> {
    let (mut body, mut count) = (Vec::with_capacity(4096), 0);
    for (step, op) in ops {
        wire::encode_op(step, op, &mut body);
        count += 1;
    }
    let mut bytes = wire::encode_header(count, &body).to_vec();
    bytes.append(&mut body);
    bytes
}

const MS_NOSUID: u64 = 0x2;
const MS_NODEV: u64 = 0x4;
const MS_NOEXEC: u64 = 0x8;
const MS_REC: u64 = 0x4000;
const MS_PRIVATE: u64 = 0x4_0000;
const MS_SLAVE: u64 = 0x8_0000;
const MS_SHARED: u64 = 0x10_0000;

/// pid_max belongs to each PID namespace since this version; before, writing it changes the whole machine.
const PID_MAX_PER_NAMESPACE: (u32, u32) = (6, 14);

/// The steps being collected.
struct Builder {
    steps: Vec<Step>,
}

impl Builder {
    fn caller(&mut self, name: &'static str, action: CallerAction, manual: &'static str, why: &'static str) {
        self.steps.push(Step { name, actor: Actor::Caller, action: Action::Caller(action), manual, why });
    }

    fn op(&mut self, actor: Actor, name: &'static str, op: Op<Vec<u8>>, manual: &'static str, why: &'static str) {
        self.steps.push(Step { name, actor, action: Action::Op(op), manual, why });
    }
}

/// Make the plan for `spec` and `launch`, given the caller's situation.
///
/// # Errors
/// [`Error::Spec`] for what cannot be expressed, [`Error::Unsupported`] for what this kernel lacks.
pub fn compile(spec: &Spec, launch: &Launch, facts: &Facts) -> Result<Plan> {
    let mut flags = spec.unshare.iter().try_fold(0, |flags, name| {
        ns::by_name(name)
            .map(|kind| flags | kind.flag)
            .ok_or_else(|| Error::Spec(format!("unshare: no namespace is called {name:?}")))
    })?;
    let mut added = Vec::new();
    if spec.mount_proc.is_some() && flags & ns::MOUNT == 0 {
        flags |= ns::MOUNT;
        added.push(("mount", "mount_proc is set, and must not change the caller's own mounts"));
    }
    let mapped = !spec.maps.users.is_empty() || !spec.maps.groups.is_empty() || spec.setgroups.is_some();
    if flags & ns::USER == 0 {
        if mapped {
            flags |= ns::USER;
            added.push(("user", "an id map is given"));
        } else if spec.maps.auto && flags != 0 && facts.effective & Facts::SYS_ADMIN == 0 {
            flags |= ns::USER;
            added.push(("user", "the caller lacks CAP_SYS_ADMIN"));
        }
    }
    if spec.pid_max.is_some() && facts.kernel < PID_MAX_PER_NAMESPACE {
        let (major, minor) = facts.kernel;
        return Err(Error::Unsupported(format!(
            "pid_max: on this kernel ({major}.{minor}) the limit is one for the whole machine; each PID namespace has its own since Linux 6.14"
        )));
    }
    let arrangement = match (spec.fork, spec.init) {
        (false, _) => Arrangement::Unforked,
        (true, true) => Arrangement::InitInside,
        (true, false) => Arrangement::Guarded,
    };

    let mut plan = Builder { steps: Vec::with_capacity(16) };
    let unmapped_root = facts.euid != 0 && facts.permitted != 0;
    let carry = unmapped_root || (arrangement == Arrangement::InitInside && flags & ns::USER != 0);
    // Offsets can only be set by a member of the old time namespace, before the first process enters the new one
    // (time_namespaces(7)): so it is unshared, not cloned.
    let cloned = flags & !ns::TIME;
    let outer = if arrangement == Arrangement::InitInside { cloned } else { 0 };
    plan.caller(
        "clone",
        CallerAction::Clone(outer),
        "clone(2)",
        "a new process, in the new namespaces from its first instruction",
    );
    plan.caller(
        "exec init",
        CallerAction::ExecInit(carry),
        "execveat(2)",
        "leave the caller's memory at once: nsbox-init takes over",
    );
    if arrangement == Arrangement::InitInside {
        world(&mut plan, Actor::Init, spec, flags, facts);
    }
    let inner = if arrangement == Arrangement::Guarded { cloned } else { 0 };
    plan.op(
        Actor::Init,
        "fork",
        Op::Fork { flags: inner },
        "clone(2)",
        match arrangement {
            Arrangement::InitInside => "the payload's own process; nsbox-init stays as its parent",
            Arrangement::Guarded => "the payload's own process, in the new namespaces; nsbox-init watches from outside",
            Arrangement::Unforked => "the payload's own process, still in the old namespaces; nsbox-init watches",
        },
    );
    if arrangement == Arrangement::Unforked && flags != 0 {
        plan.op(
            Actor::Payload,
            "unshare",
            Op::Unshare { flags },
            "unshare(2)",
            "without a fork: a new PID namespace is for children only",
        );
    }
    if arrangement != Arrangement::InitInside {
        world(&mut plan, Actor::Payload, spec, flags, facts);
    }
    payload(&mut plan, spec, launch, facts, flags, carry)?;
    let keep = launch.stdio.iter().chain(&launch.pass_fds).copied().filter(|&fd| fd >= 0).collect();
    Ok(Plan { steps: plan.steps, namespaces: flags, added, arrangement, keep, close_fds: launch.close_fds })
}

/// What makes the new namespaces usable.
fn world(plan: &mut Builder, actor: Actor, spec: &Spec, flags: u64, facts: &Facts) {
    if flags & ns::USER != 0 {
        id_maps(plan, actor, spec, facts);
    }
    if flags & ns::TIME != 0 {
        if spec.fork {
            plan.op(
                actor,
                "unshare time",
                Op::Unshare { flags: ns::TIME },
                "time_namespaces(7)",
                "children enter it; its clocks can still be set",
            );
        }
        let offsets = [("monotonic", spec.monotonic), ("boottime", spec.boottime)];
        let lines: String = offsets
            .iter()
            .filter_map(|(clock, offset)| {
                offset.map(|(seconds, nanoseconds)| format!("{clock} {seconds} {nanoseconds}\n"))
            })
            .collect();
        if !lines.is_empty() {
            plan.op(
                actor,
                "clock offsets",
                write("/proc/self/timens_offsets", &lines),
                "time_namespaces(7)",
                "before the first process enters the namespace",
            );
        }
    }
    if flags & ns::MOUNT != 0 {
        let propagation = match spec.propagation.as_str() {
            "shared" => Some((MS_SHARED, "mounts are shared with other mount namespaces: as asked")),
            "slave" => Some((MS_SLAVE, "mounts made outside still arrive; none made here leaves")),
            "unchanged" => None,
            _ => Some((MS_PRIVATE, "first of all mounts: none made here is seen outside")),
        };
        if let Some((kind, why)) = propagation {
            plan.op(actor, "propagation", mount("", "/", "", MS_REC | kind), "mount_namespaces(7)", why);
        }
    }
    if let Some(name) = &spec.hostname {
        plan.op(
            actor,
            "hostname",
            Op::SetHostname { name: Blob(name.to_vec()) },
            "sethostname(2)",
            "only this UTS namespace has it",
        );
    }
    if let Some(name) = &spec.domainname {
        plan.op(
            actor,
            "domainname",
            Op::SetDomainname { name: Blob(name.to_vec()) },
            "setdomainname(2)",
            "only this UTS namespace has it",
        );
    }
    if flags & ns::NET != 0 && spec.loopback {
        plan.op(
            actor,
            "loopback",
            Op::LoopbackUp {},
            "netdevice(7)",
            "a new network namespace has nothing but lo, and lo is down",
        );
    }
    if let Some(target) = &spec.mount_proc {
        let proc = Op::Mount {
            source: MaybeText(c_bytes(b"proc")),
            target: Text(c_bytes(target)),
            fstype: MaybeText(c_bytes(b"proc")),
            flags: MS_NOSUID | MS_NODEV | MS_NOEXEC,
        };
        plan.op(actor, "mount proc", proc, "proc(5)", "a proc that shows the PID namespace of whoever mounts it");
    }
    if let Some(limit) = spec.pid_max {
        plan.op(
            actor,
            "pid_max",
            write("/proc/sys/kernel/pid_max", &limit.to_string()),
            "proc_sys_kernel(5)",
            "the limit of this PID namespace alone",
        );
    }
}

/// The files of a user namespace, written by the caller while `actor` waits.
fn id_maps(plan: &mut Builder, actor: Actor, spec: &Spec, facts: &Facts) {
    let Maps { auto, users, groups } = &spec.maps;
    let root = vec![(0, None, 1)];
    let given = !users.is_empty() || !groups.is_empty();
    let (users, groups) = if *auto && !given { (&root, &root) } else { (users, groups) };
    let text = |map: &[(u32, Option<u32>, u32)], own: u32| -> String {
        map.iter().map(|(inside, outside, count)| format!("{inside} {} {count}\n", outside.unwrap_or(own))).collect()
    };
    // Without CAP_SETGID outside, gid_map may only be written once setgroups(2) is given up (user_namespaces(7));
    // unshare(1) gives it up for every map to a single id.
    let single = |map: &[(u32, Option<u32>, u32)]| map.iter().any(|(_, outside, _)| outside.is_none());
    const SETGID: u64 = 1 << 6;
    let deny = !groups.is_empty() && (single(groups) || facts.effective & SETGID == 0);
    let setgroups = spec.setgroups.as_deref().or(deny.then_some("deny"));
    if setgroups.is_none() && users.is_empty() && groups.is_empty() {
        return;
    }
    plan.op(
        actor,
        "await maps",
        Op::AwaitMaps {},
        "user_namespaces(7)",
        "the ids are unmapped until the caller has written the maps",
    );
    if let Some(word) = setgroups {
        plan.caller(
            "setgroups",
            CallerAction::Map("setgroups", word.to_string()),
            "user_namespaces(7)",
            "given up, or else a group map could drop a group that forbids something",
        );
    }
    if !groups.is_empty() {
        plan.caller(
            "gid_map",
            CallerAction::Map("gid_map", text(groups, facts.egid)),
            "user_namespaces(7)",
            "which group outside each group inside stands for",
        );
    }
    if !users.is_empty() {
        plan.caller(
            "uid_map",
            CallerAction::Map("uid_map", text(users, facts.euid)),
            "user_namespaces(7)",
            "which user outside each user inside stands for",
        );
    }
}

/// What happens in the payload's process, in the order of `subprocess`.
fn payload(plan: &mut Builder, spec: &Spec, launch: &Launch, facts: &Facts, flags: u64, carry: bool) -> Result<()> {
    let Launch { stdio, pass_fds, close_fds, .. } = launch;
    let mut op = |name, op, manual, why| plan.op(Actor::Payload, name, op, manual, why);
    op(
        "descriptors",
        Op::Descriptors {
            stdio: *stdio,
            pass: Numbers(packed(pass_fds.iter().map(|&fd| fd as u32))),
            close: u32::from(*close_fds),
        },
        "dup(2)",
        "standard input, output and error, and what was passed on; nothing else",
    );
    if let Some(directory) = &launch.cwd {
        op("chdir", Op::Chdir { path: Text(c_bytes(directory)) }, "chdir(2)", "the working directory asked for");
    }
    if let Some(mask) = launch.umask {
        op("umask", Op::Umask { mask }, "umask(2)", "the mask asked for");
    }
    if launch.start_new_session {
        op("setsid", Op::Setsid {}, "setsid(2)", "a session of its own");
    }
    if let Some(group) = launch.process_group {
        op("setpgid", Op::Setpgid { group }, "setpgid(2)", "the process group asked for");
    }
    if launch.controlling_terminal {
        op("controlling terminal", Op::ControllingTerminal {}, "ioctl_tty(2)", "job control needs one");
    }
    if let Some(groups) = &launch.groups {
        op(
            "setgroups",
            Op::Setgroups { groups: Numbers(packed(groups.iter().copied())) },
            "setgroups(2)",
            "the supplementary groups asked for",
        );
    }
    if let Some(id) = launch.gid {
        op("setgid", Op::Setgid { id }, "setresgid(2)", "the group asked for");
    }
    if let Some(id) = launch.uid {
        op("setuid", Op::Setuid { id }, "setresuid(2)", "the user asked for");
    }
    if spec.keep_caps {
        op(
            "keep capabilities",
            Op::Capabilities { inheritable: u64::MAX, ambient: u64::MAX },
            "capabilities(7)",
            "as asked: ambient, so that they survive the exec",
        );
    } else if carry {
        let (inheritable, ambient) = if flags & ns::USER != 0 { (0, 0) } else { (facts.inheritable, facts.ambient) };
        op(
            "drop capabilities",
            Op::Capabilities { inheritable, ambient },
            "capabilities(7)",
            "what carried nsbox-init over its exec is not for the payload",
        );
    }
    if spec.no_new_privs {
        op("no_new_privs", Op::NoNewPrivs {}, "PR_SET_NO_NEW_PRIVS(2const)", "no exec grants privileges from here on");
    }
    let reset = if launch.restore_signals { bit(libc::SIGPIPE) | bit(libc::SIGXFSZ) } else { 0 };
    op("signals", Op::Signals { mask: facts.sigmask, reset }, "sigprocmask(2)", "blocked and ignored as in the caller");
    let env = match &launch.env {
        Some(env) => joined("env", env.iter())?,
        None => own_environment(),
    };
    let exec =
        Op::Exec { paths: joined("args", launch.paths.iter())?, argv: joined("args", launch.argv.iter())?, envp: env };
    op("exec", exec, "execve(2)", "the program asked for");
    Ok(())
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

fn packed(numbers: impl Iterator<Item = u32>) -> Vec<u8> {
    numbers.flat_map(u32::to_ne_bytes).collect()
}

fn c_bytes(bytes: &[u8]) -> Vec<u8> {
    [bytes, b"\0"].concat()
}

fn mount(source: &str, target: &str, fstype: &str, flags: u64) -> Op<Vec<u8>> {
    let maybe = |text: &str| MaybeText(if text.is_empty() { Vec::new() } else { c_bytes(text.as_bytes()) });
    Op::Mount { source: maybe(source), target: Text(c_bytes(target.as_bytes())), fstype: maybe(fstype), flags }
}

fn write(path: &str, data: &str) -> Op<Vec<u8>> {
    Op::Write { path: Text(c_bytes(path.as_bytes())), data: Blob(data.as_bytes().to_vec()) }
}

fn joined<'a>(argument: &str, texts: impl Iterator<Item = &'a PyBackedBytes>) -> Result<Texts<Vec<u8>>> {
    let (mut joined, mut count) = (Vec::with_capacity(2048), 0);
    for text in texts {
        if text.contains(&0) {
            return Err(Error::Spec(format!("{argument}: embedded null byte")));
        }
        joined.extend_from_slice(text);
        joined.push(0);
        count += 1;
    }
    Ok(Texts { count, joined })
}

/// The environment as C sees it, which `os.putenv` changes and `os.environ` does not show.
fn own_environment() -> Texts<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let (mut joined, mut count) = (Vec::with_capacity(4096), 0);
    for (name, value) in std::env::vars_os() {
        joined.extend_from_slice(name.as_bytes());
        joined.push(b'=');
        joined.extend_from_slice(value.as_bytes());
        joined.push(0);
        count += 1;
    }
    Texts { count, joined }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(out, "{index:2}  {:<8} {:<20} {}", step.actor.name(), step.name, step.call())?;
        }
        for (namespace, reason) in &self.added {
            writeln!(out, "    a new {namespace} namespace was added: {reason}")?;
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
            Action::Caller(CallerAction::ExecInit(carry)) => {
                let how = if *carry { " with ambient capabilities" } else { "" };
                format!("execveat(nsbox-init){how}")
            }
            Action::Caller(CallerAction::Map(file, text)) => format!("write(\"/proc/PID/{file}\", {text:?})"),
            Action::Op(op) => op_call(op),
        }
    }
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
            format!("mount({}, {}, {}, {}, NULL)", null(source), quoted(&target.0), null(fstype), mount_flags(*flags))
        }
        Op::SetHostname { name } => format!("sethostname({}, {})", quoted(&name.0), name.0.len()),
        Op::SetDomainname { name } => format!("setdomainname({}, {})", quoted(&name.0), name.0.len()),
        Op::LoopbackUp {} => "ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)".into(),
        Op::Fork { flags } => format!("clone3({})", flag_names(*flags, "CLONE_VM|CLONE_VFORK|CLONE_PIDFD")),
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
        Op::Setuid { id } => format!("setresuid({id}, {id}, {id})"),
        Op::Capabilities { inheritable, ambient } => match (*inheritable, *ambient) {
            (0, 0) => "capset(inheritable empty); prctl(PR_CAP_AMBIENT, none)".into(),
            (u64::MAX, u64::MAX) => "capset(inheritable all); prctl(PR_CAP_AMBIENT, all)".into(),
            (inheritable, ambient) => {
                format!("capset(inheritable {inheritable:#x}); prctl(PR_CAP_AMBIENT, {ambient:#x})")
            }
        },
        Op::NoNewPrivs {} => "prctl(PR_SET_NO_NEW_PRIVS, 1)".into(),
        Op::Signals { mask, reset } => format!("sigprocmask(SIG_SETMASK, {mask:#x}); reset {reset:#x}"),
        Op::Exec { paths, argv, envp } => {
            let argv: Vec<String> = argv.iter().map(quoted).collect();
            let first = paths.iter().next().map(quoted).unwrap_or_default();
            let more = if paths.count > 1 { format!(" or {} more", paths.count - 1) } else { String::new() };
            format!("execve({first}{more}, [{}], {} variables)", argv.join(", "), envp.count)
        }
    }
}

fn mount_flags(flags: u64) -> String {
    const NAMES: [(u64, &str); 7] = [
        (MS_REC, "MS_REC"),
        (MS_PRIVATE, "MS_PRIVATE"),
        (MS_SLAVE, "MS_SLAVE"),
        (MS_SHARED, "MS_SHARED"),
        (MS_NOSUID, "MS_NOSUID"),
        (MS_NODEV, "MS_NODEV"),
        (MS_NOEXEC, "MS_NOEXEC"),
    ];
    NAMES.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}

/// Bytes as a C string literal would show them, without the NUL at the end.
fn quoted(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    format!("\"{}\"", bytes.strip_suffix(b"\0").unwrap_or(bytes).escape_ascii())
}

/// Make a plan.
#[pyfunction(name = "compile")]
pub fn compile_plan(spec: Spec, launch: Launch, facts: &Facts) -> Result<Plan> {
    compile(&spec, &launch, facts)
}
