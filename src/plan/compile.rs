//! From a wish to a plan. [`compile`] looks at nothing but its arguments, so that what nsbox would do can be printed
//! and tested without a kernel.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::cgroup::{Cgroup, Directory};
use crate::error::{Error, Result};
use crate::kinds;
use crate::plan::mounts::Place;
use crate::plan::plan::{Action, Actor, Arrangement, CallerAction, Plan, Step};
use crate::plan::spec::{Facts, Join, KnownSpec, Launch, Maps, Spec};
use crate::plan::text::{MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE};
use crate::plan::{id_maps, join, rlimit};
use nsbox_init::wire::{Blob, MaybeText, Numbers, Op, Text, Texts};

/// pid_max belongs to each PID namespace since this version; before, writing it changes the whole machine.
const PID_MAX_PER_NAMESPACE: (u32, u32) = (6, 14);

/// A process enters the time namespace made for its children by an exec, too, since this version.
const TIME_ENTERED_BY_EXEC: (u32, u32) = (6, 3);

/// Capabilities to write any gid_map and uid_map (capabilities(7)).
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;

/// The steps being collected.
pub struct Builder {
    steps: Vec<Step>,
    /// Who does what is done outside.
    outside: Actor,
}

impl Builder {
    fn outside(&mut self, name: &'static str, action: CallerAction, manual: &'static str, why: &'static str) {
        self.steps.push(Step { name, actor: self.outside, action: Action::Caller(action), manual, why });
    }

    /// Add a step that travels.
    pub fn op(&mut self, actor: Actor, name: &'static str, op: Op<Vec<u8>>, manual: &'static str, why: &'static str) {
        self.steps.push(Step { name, actor, action: Action::Op(op), manual, why });
    }
}

/// Make the plan for `spec` and `launch`, given the caller's situation and what is joined first.
///
/// # Errors
/// [`Error::Spec`] for what cannot be expressed, [`Error::Unsupported`] for what this kernel lacks.
pub fn compile(
    spec: &Spec,
    launch: &Launch,
    facts: &Facts,
    cgroup: Option<Arc<Directory>>,
    join: Option<&Join>,
) -> Result<Plan> {
    let Beginning { mut plan, flags, joined, added, arrangement, carry } =
        beginning(spec, join, facts, cgroup.as_deref(), Actor::Caller)?;
    let inner = if arrangement == Arrangement::Guarded { flags & !kinds::TIME } else { 0 };
    plan.op(
        Actor::Init,
        "fork",
        Op::Fork { flags: inner, quiet: 0 },
        "clone(2)",
        match arrangement {
            Arrangement::InitInside => "the payload's own process; nsbox-init stays as its parent",
            Arrangement::Guarded => "the payload's own process, in the new namespaces; nsbox-init watches from outside",
            Arrangement::Unforked => "the payload's own process, still in the old namespaces; nsbox-init watches",
        },
    );
    if let Some(cgroup) = &cgroup {
        enter(&mut plan, cgroup);
    }
    if let Some(join) = join
        && arrangement == Arrangement::Unforked
    {
        join::steps(&mut plan, Actor::Payload, join, facts)?;
    }
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
        world(&mut plan, Actor::Payload, spec, flags, facts)?;
    }
    payload(&mut plan, spec, launch, facts, flags | joined, carry, layout(launch))?;
    let others = join.into_iter().flat_map(join::descriptors).chain(cgroup.iter().flat_map(|cgroup| cgroup.keep()));
    let keep = launch.stdio.iter().chain(&launch.pass_fds).copied().filter(|&fd| fd >= 0).chain(others).collect();
    let close_fds = launch.close_fds;
    Ok(Plan { steps: plan.steps, namespaces: flags, joined, added, arrangement, keep, close_fds, cgroup })
}

/// Make the plan for a box: the namespaces of `spec`, and nsbox-init in them, waiting for requests. One that is `nested` is
/// made by the nsbox-init of another box.
///
/// # Errors
/// As [`compile`].
pub fn compile_box(
    spec: &Spec,
    facts: &Facts,
    directory: Option<&[u8]>,
    cgroup: Option<Arc<Directory>>,
    nested: bool,
) -> Result<Plan> {
    let outside = if nested { Actor::OuterInit } else { Actor::Caller };
    let Beginning { mut plan, flags, added, arrangement, .. } =
        beginning(spec, None, facts, cgroup.as_deref(), outside)?;
    if let Some(directory) = directory {
        let op = Op::Chdir { path: Text(c_bytes(directory)) };
        plan.op(Actor::Init, "chdir", op, "chdir(2)", "where processes start unless they are told otherwise");
    }
    plan.op(
        Actor::Init,
        "serve",
        Op::Serve {},
        "pid_namespaces(7)",
        "nsbox-init reaps, and waits for what is to be done or started here",
    );
    let keep = cgroup.iter().flat_map(|cgroup| cgroup.keep()).collect();
    Ok(Plan { steps: plan.steps, namespaces: flags, joined: 0, added, arrangement, keep, close_fds: true, cgroup })
}

/// Make the plan for another process in the box that `home` made, which is known by `token`. `quiet` says whether only its
/// end shall be told.
///
/// # Errors
/// [`Error::Spec`] for what cannot be expressed.
pub fn compile_process(
    spec: &Spec,
    launch: &Launch,
    facts: &Facts,
    home: &Plan,
    token: u32,
    quiet: bool,
) -> Result<Plan> {
    let mut plan = Builder { steps: Vec::with_capacity(8), outside: Actor::Caller };
    let flags = home.namespaces;
    plan.op(
        Actor::Init,
        "start",
        Op::Start { flags: 0, token, quiet: u32::from(quiet) },
        "clone(2)",
        "another process here; nsbox-init is its parent",
    );
    if let Some(cgroup) = &home.cgroup {
        enter(&mut plan, cgroup);
    }
    let stdio = launch.stdio.map(|fd| i32::from(fd >= 0));
    let pass = Numbers(packed(launch.pass_fds.iter().map(|&fd| fd as u32)));
    payload(&mut plan, spec, launch, facts, flags, home.carries_capabilities(), Op::Received { stdio, pass })?;
    let keep = launch.stdio.iter().chain(&launch.pass_fds).copied().filter(|&fd| fd >= 0).collect();
    let arrangement = Arrangement::InitInside;
    let (added, steps) = (Vec::new(), plan.steps);
    Ok(Plan { steps, namespaces: flags, joined: 0, added, arrangement, keep, close_fds: true, cgroup: None })
}

/// What all plans begin with, up to the point where the payload's process is made.
struct Beginning {
    plan: Builder,
    flags: u64,
    joined: u64,
    added: Vec<(&'static str, &'static str)>,
    arrangement: Arrangement,
    carry: bool,
}

fn beginning(
    spec: &Spec,
    join: Option<&Join>,
    facts: &Facts,
    cgroup: Option<&Directory>,
    outside: Actor,
) -> Result<Beginning> {
    let mut flags = spec.unshare.iter().try_fold(0, |flags, name| {
        kinds::by_name(name)
            .map(|kind| flags | kind.flag)
            .ok_or_else(|| Error::Spec(format!("unshare: no namespace is called {name:?}")))
    })?;
    let mut added = Vec::new();
    let mounting = [
        (spec.mount_proc.is_some(), "mount_proc is set, and must not change the caller's own mounts"),
        (spec.root.is_some(), "root is set, and must not change the caller's own"),
        (!spec.mounts.is_empty(), "mounts are given, and must not change the caller's own"),
    ];
    if let Some((_, why)) = mounting.into_iter().find(|(wanted, _)| *wanted && flags & kinds::MOUNT == 0) {
        flags |= kinds::MOUNT;
        added.push(("mount", why));
    }
    let joined = join.map_or(Ok(0), join::flags)?;
    if join.is_some_and(|join| join.user_added) {
        added.push(("user", "the caller lacks CAP_SYS_ADMIN, and the others belong to it"));
    }
    let mapped = !spec.maps.users.is_empty() || !spec.maps.groups.is_empty() || spec.setgroups.is_some();
    if flags & kinds::USER == 0 {
        if mapped {
            flags |= kinds::USER;
            added.push(("user", "an id map is given"));
        } else if spec.maps.auto && flags != 0 && facts.effective & Facts::SYS_ADMIN == 0 && joined & kinds::USER == 0 {
            flags |= kinds::USER;
            added.push(("user", "the caller lacks CAP_SYS_ADMIN"));
        }
    }
    if joined & flags & kinds::USER != 0 && (mapped || spec.maps.auto) {
        return Err(Error::Spec(
            "unshare: the maps of a new user namespace inside one that is joined could only be written from in there; \
             leave user out, or set map_root_user=False"
                .into(),
        ));
    }
    if spec.pid_max.is_some() && facts.kernel < PID_MAX_PER_NAMESPACE {
        let (major, minor) = facts.kernel;
        return Err(Error::Unsupported(format!(
            "pid_max: on this kernel ({major}.{minor}) the limit is one for the whole machine; each PID namespace has its own since Linux 6.14"
        )));
    }
    if spec.keep_caps && flags & kinds::USER == 0 {
        return Err(Error::Spec("keep_caps: there is no new user namespace whose capabilities could be kept".into()));
    }
    let arrangement = match (spec.fork, spec.init) {
        (false, _) => Arrangement::Unforked,
        (true, true) => Arrangement::InitInside,
        (true, false) => Arrangement::Guarded,
    };

    if joined & flags & kinds::PID != 0 && arrangement == Arrangement::Unforked {
        return Err(Error::Spec(
            "unshare: with fork=False the payload is not in the joined PID namespace, and cannot make another in it"
                .into(),
        ));
    }
    if flags & kinds::TIME != 0 && arrangement != Arrangement::InitInside && facts.kernel < TIME_ENTERED_BY_EXEC {
        let (major, minor) = facts.kernel;
        return Err(Error::Unsupported(format!(
            "unshare: on this kernel ({major}.{minor}) a new time namespace needs init=True; exec enters it since Linux 6.3"
        )));
    }

    let mut plan = Builder { steps: Vec::with_capacity(16), outside };
    let unmapped_root = facts.euid != 0 && facts.permitted != 0;
    // What is joined comes first, so that whatever is new is made in there, by nsbox-init.
    let joins = join.is_some();
    let carry = unmapped_root || (arrangement == Arrangement::InitInside && flags & kinds::USER != 0 && !joins);
    // Offsets can only be set by a member of the old time namespace, before the first process enters the new one
    // (time_namespaces(7)): so it is unshared, not cloned.
    let cloned = flags & !kinds::TIME;
    let outer = if arrangement == Arrangement::InitInside && !joins { cloned } else { 0 };
    if let Some(cgroup) = cgroup {
        plan.outside("cgroup", cgroup.action(), "cgroups(7)", "the limits hold before anything runs under them");
    }
    let nested = outside == Actor::OuterInit;
    plan.outside(
        "clone",
        if nested { CallerAction::Copy(outer) } else { CallerAction::Clone(outer) },
        "clone(2)",
        if outer == 0 {
            "a new process, in which the rest begins"
        } else {
            "a new process, in the new namespaces from its first instruction"
        },
    );
    if nested {
        let why = "with memory that belongs to the outer user namespace: nobody in the new one can trace it";
        plan.outside("copy init", CallerAction::CopyInit(carry), "ptrace(2)", why);
    } else {
        let why = "leave the caller's memory at once: nsbox-init takes over";
        plan.outside("exec init", CallerAction::ExecInit(carry), "execveat(2)", why);
    }
    if let Some(cgroup) = cgroup {
        plan.op(Actor::Init, "own cgroup", cgroup.op(), "cgroups(7)", "nsbox-init stays outside, and removes it");
    }
    if let Some(join) = join
        && arrangement != Arrangement::Unforked
    {
        join::steps(&mut plan, Actor::Init, join, facts)?;
        join::inside(&mut plan, joined, cloned, arrangement);
    }
    if arrangement == Arrangement::InitInside {
        world(&mut plan, Actor::Init, spec, flags, facts)?;
    }
    Ok(Beginning { plan, flags, joined, added, arrangement, carry })
}

fn enter(plan: &mut Builder, cgroup: &Directory) {
    plan.op(Actor::Payload, "join cgroup", cgroup.join(), "cgroups(7)", "with all that it will start");
}

/// What makes the new namespaces usable.
fn world(plan: &mut Builder, actor: Actor, spec: &Spec, flags: u64, facts: &Facts) -> Result<()> {
    if flags & kinds::USER != 0 {
        id_maps(plan, actor, spec, facts);
    }
    if flags & kinds::TIME != 0 {
        if spec.fork {
            plan.op(
                actor,
                "unshare time",
                Op::Unshare { flags: kinds::TIME },
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
    if flags & kinds::MOUNT != 0 {
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
    if flags & kinds::NET != 0 && spec.loopback.unwrap_or(true) {
        plan.op(
            actor,
            "loopback",
            Op::LoopbackUp {},
            "netdevice(7)",
            "a new network namespace has nothing but lo, and lo is down",
        );
    }
    let place = Place { actor, inside: spec.root.is_some(), unprivileged: flags & kinds::USER != 0, facts };
    if let Some(root) = &spec.root {
        place.check("root")?;
        let op = Op::NewRoot { path: Text(c_bytes(root)) };
        plan.op(actor, "root", op, "pivot_root(2)", "only a mount point can become the root");
    }
    for mount in &spec.mounts {
        place.check("mounts")?;
        place.mount(plan, mount)?;
    }
    // The old proc must still be there: a user namespace may mount a new one only where one is seen as a whole.
    if let Some(target) = spec.mount_proc.as_ref().filter(|_| place.inside) {
        place.proc(plan, "mount proc", Text(c_bytes(target)));
    } else if let Some(target) = &spec.mount_proc {
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
    if place.inside {
        let why = "from here on nothing of the old root can be reached by a path";
        plan.op(actor, "pivot root", Op::PivotRoot {}, "pivot_root(2)", why);
    }
    Ok(())
}

/// The files of a user namespace, written by the caller while `actor` waits.
fn id_maps(plan: &mut Builder, actor: Actor, spec: &Spec, facts: &Facts) {
    let Maps { auto, users, groups } = &spec.maps;
    let root = vec![(Some(0), None, 1)];
    let given = !users.is_empty() || !groups.is_empty();
    let (users, groups) = if *auto && !given { (&root, &root) } else { (users, groups) };
    let asked_own_group = groups.iter().any(|(_, outside, _)| outside.is_none());
    let (users, groups) = (id_maps::lines(users, facts.euid), id_maps::lines(groups, facts.egid));
    // Without the capability outside, a map may hold one id, the caller's own; beyond that, setuid programs help.
    let (own_user, own_group) = (id_maps::is_own_alone(&users, facts.euid), id_maps::is_own_alone(&groups, facts.egid));
    let helped_users = !users.is_empty() && !own_user && facts.effective & SETUID == 0;
    let helped_groups = !groups.is_empty() && !own_group && facts.effective & SETGID == 0;
    // For an unprivileged caller gid_map can only be written once setgroups(2) is given up (user_namespaces(7));
    // unshare(1) gives it up for every map to a single id. newgidmap(1) decides for itself.
    let deny = own_group && (asked_own_group || facts.effective & SETGID == 0);
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
        plan.outside(
            "setgroups",
            CallerAction::Map("setgroups", word.to_string()),
            "user_namespaces(7)",
            if word == "deny" {
                "given up, or else a group map could drop a group that forbids something"
            } else {
                "as asked: those inside may change their groups"
            },
        );
    }
    let write = |file, program, lines: &[[u32; 3]], helped| {
        let texts: Vec<String> =
            lines.iter().map(|[inside, outside, count]| format!("{inside} {outside} {count}")).collect();
        if helped {
            CallerAction::MapBy(program, texts.join(" "))
        } else {
            CallerAction::Map(file, texts.iter().flat_map(|line| [line, "\n"]).collect())
        }
    };
    if !groups.is_empty() {
        plan.outside(
            "gid_map",
            write("gid_map", "newgidmap", &groups, helped_groups),
            if helped_groups { "newgidmap(1)" } else { "user_namespaces(7)" },
            "which group outside each group inside stands for",
        );
    }
    if !users.is_empty() {
        plan.outside(
            "uid_map",
            write("uid_map", "newuidmap", &users, helped_users),
            if helped_users { "newuidmap(1)" } else { "user_namespaces(7)" },
            "which user outside each user inside stands for",
        );
    }
}

/// The descriptors of a payload that inherits ours.
fn layout(launch: &Launch) -> Op<Vec<u8>> {
    let pass = Numbers(packed(launch.pass_fds.iter().map(|&fd| fd as u32)));
    Op::Descriptors { stdio: launch.stdio, pass, close: u32::from(launch.close_fds) }
}

/// What happens in the payload's process, in the order of `subprocess`.
fn payload(
    plan: &mut Builder,
    spec: &Spec,
    launch: &Launch,
    facts: &Facts,
    flags: u64,
    carry: bool,
    descriptors: Op<Vec<u8>>,
) -> Result<()> {
    let mut op = |name, op, manual, why| plan.op(Actor::Payload, name, op, manual, why);
    op("descriptors", descriptors, "dup(2)", "standard input, output and error, and what was passed on; nothing else");
    if let Some(directory) = &launch.cwd {
        if directory.contains(&0) {
            return Err(Error::Spec("cwd: embedded null byte".into()));
        }
        op("chdir", Op::Chdir { path: Text(c_bytes(directory)) }, "chdir(2)", "the working directory asked for");
    }
    if let Some(mask) = launch.umask {
        op("umask", Op::Umask { mask: mask as u32 }, "umask(2)", "the mask asked for");
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
            "set groups",
            Op::Setgroups { groups: Numbers(packed(groups.iter().copied())) },
            "setgroups(2)",
            "the supplementary groups asked for",
        );
    }
    for (name, (soft, hard)) in &spec.rlimits {
        let resource =
            rlimit::number(name).ok_or_else(|| Error::Spec(format!("rlimits: no resource is called {name:?}")))?;
        // What came before opens and maps; raising a limit needs the rights that go next.
        let rlimit = Op::Rlimit { resource, soft: *soft as u64, hard: *hard as u64 };
        op("rlimit", rlimit, "prlimit(2)", "as asked, while the rights to do it are still there");
    }
    if let Some(id) = launch.gid {
        op("setgid", Op::Setgid { id }, "setresgid(2)", "the group asked for");
    }
    if let Some(id) = launch.uid {
        op("setuid", Op::Setuid { id, keep_caps: u32::from(spec.keep_caps) }, "setresuid(2)", "the user asked for");
    }
    if spec.keep_caps {
        op(
            "keep capabilities",
            Op::Capabilities { inheritable: u64::MAX, ambient: u64::MAX },
            "capabilities(7)",
            "as asked: ambient, so that they survive the exec",
        );
    } else if carry {
        let (inheritable, ambient) = if flags & kinds::USER != 0 { (0, 0) } else { (facts.inheritable, facts.ambient) };
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
    let mut reset = if launch.restore_signals { bit(libc::SIGPIPE) | bit(libc::SIGXFSZ) } else { 0 };
    let mut why = "blocked and ignored as in the caller";
    if launch.controlling_terminal {
        // A caller in the background of a script ignores the interrupt key; whoever sits at this terminal does not.
        reset |= TERMINAL_SIGNALS.into_iter().map(bit).sum::<u64>();
        why = "those of the terminal have their default action; all else as in the caller";
    }
    op("signals", Op::Signals { mask: facts.sigmask, reset }, "sigprocmask(2)", why);
    let env = match &launch.env {
        Some(env) => joined("env", env.iter())?,
        None => own_environment(),
    };
    let exec =
        Op::Exec { paths: joined("args", launch.paths.iter())?, argv: joined("args", launch.argv.iter())?, envp: env };
    op("exec", exec, "execve(2)", "the program asked for");
    Ok(())
}

/// What a terminal sends to those who use it, termios(3) and tty_ioctl(4).
const TERMINAL_SIGNALS: [i32; 6] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

fn packed(numbers: impl Iterator<Item = u32>) -> Vec<u8> {
    numbers.flat_map(u32::to_ne_bytes).collect()
}

/// As a C string.
pub fn c_bytes(bytes: &[u8]) -> Vec<u8> {
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
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let (mut joined, mut count) = (Vec::with_capacity(4096), 0);
    // SAFETY: NULL, or a NULL-terminated array of C strings (environ(7)). Whoever changes it through Python holds the
    // GIL, as we do; C code of other threads that changes it races with every getenv(3) in the process as well.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            joined.extend_from_slice(std::ffi::CStr::from_ptr(*next).to_bytes_with_nul());
            count += 1;
            next = next.add(1);
        }
    }
    Texts { count, joined }
}

/// Make a plan for a box.
#[pyfunction(name = "compile_box")]
#[pyo3(signature = (spec, facts, directory=None, cgroup=None, nested=false))]
pub fn compile_box_plan(
    spec: KnownSpec,
    facts: &Facts,
    directory: Option<&[u8]>,
    cgroup: Option<&Cgroup>,
    nested: bool,
) -> Result<Plan> {
    compile_box(&spec, facts, directory, cgroup.map(|cgroup| Arc::clone(&cgroup.0)), nested)
}

/// Make a plan for another process in the box that `home` made.
#[pyfunction(name = "compile_process")]
#[pyo3(signature = (spec, launch, facts, home, token=0, quiet=false))]
pub fn compile_process_plan(
    spec: KnownSpec,
    launch: &Launch,
    facts: &Facts,
    home: &Plan,
    token: u32,
    quiet: bool,
) -> Result<Plan> {
    compile_process(&spec, launch, facts, home, token, quiet)
}

/// Make a plan.
#[pyfunction(name = "compile")]
#[pyo3(signature = (spec, launch, facts, cgroup=None, join=None))]
pub fn compile_plan(
    spec: KnownSpec,
    launch: &Launch,
    facts: &Facts,
    cgroup: Option<&Cgroup>,
    join: Option<Join>,
) -> Result<Plan> {
    compile(&spec, launch, facts, cgroup.map(|cgroup| Arc::clone(&cgroup.0)), join.as_ref())
}
