//! The system calls of each step, as data.

use crate::call::{Call, Name, Value, call, program, write};
use crate::capabilities::CAPABILITIES;
use crate::kinds::{self, kinds_of};
use crate::plan::flags::{MOUNT_ATTR, MOUNT_ATTR_IDMAP, MS, UMOUNT, names};
use crate::plan::rlimit;
use crate::plan::step::{Action, CallerAction, Step};
use crate::signals;
use nsbox_init::wire::{Op, Texts};

impl Step {
    /// The system calls, in order. A step that only arranges something inside of nsbox-init has none.
    pub fn calls(&self) -> Vec<Call> {
        match &self.action {
            Action::Caller(action) => caller_calls(action),
            Action::Op(op) => op_calls(op),
        }
    }
}

fn caller_calls(action: &CallerAction) -> Vec<Call> {
    match action {
        CallerAction::Clone(flags) => vec![clone3(*flags, &["CLONE_VM", "CLONE_VFORK", "CLONE_PIDFD"])],
        CallerAction::ExecInit(carry) => {
            let mut calls = if *carry { capability_sets(u64::MAX, u64::MAX) } else { Vec::new() };
            calls.push(call("execveat", [("file", Value::constant("nsbox-init"))]));
            calls
        }
        CallerAction::NewUser => {
            let made = call("clone", [("flags", clone_flags(kinds::USER, &["CLONE_PIDFD", "SIGCHLD"]))]);
            let confined = call("prctl", [("op", Value::constant("PR_SET_SECCOMP"))]);
            vec![made, confined]
        }
        CallerAction::Copy(flags, false) => {
            vec![call("clone", [("flags", clone_flags(*flags, &["CLONE_PIDFD", "SIGCHLD"]))])]
        }
        CallerAction::Copy(flags, true) => {
            let entered = setns_held(kinds::USER);
            vec![entered, call("clone", [("flags", clone_flags(*flags, &["CLONE_PARENT", "SIGCHLD"]))])]
        }
        CallerAction::CopyInit(_) => Vec::new(),
        CallerAction::Setgroups(word) => vec![write("/proc/PID/setgroups", Value::text(word))],
        CallerAction::Map(file, rows) => vec![write(format!("/proc/PID/{file}"), Value::Rows(rows.clone()))],
        CallerAction::MapBy(name, rows) => {
            vec![program(name, [("pid", Value::constant("PID")), ("rows", Value::Rows(rows.clone()))])]
        }
        CallerAction::Cgroup(path, files) => {
            let directory = path.as_os_str().as_encoded_bytes();
            let writes = files.iter().map(|(file, text)| write(file, Value::text(text)));
            std::iter::once(call("mkdir", [("pathname", Value::text(directory))])).chain(writes).collect()
        }
    }
}

fn op_calls(op: &Op<Vec<u8>>) -> Vec<Call> {
    let one = match op {
        Op::Unshare { flags } => unshare(*flags),
        Op::AwaitMaps {} => call("recv", [("sockfd", Value::File("the caller, which writes the maps".into()))]),
        Op::Write { path, data } => write(&path.0, Value::text(&data.0)),
        Op::Mount { source, target, fstype, flags } => mount(&source.0, &target.0, &fstype.0, *flags),
        Op::SetHostname { name } => set_name("sethostname", &name.0),
        Op::SetDomainname { name } => set_name("setdomainname", &name.0),
        Op::LoopbackUp {} => loopback_up(),
        Op::Fork { flags, .. } | Op::Start { flags, .. } => {
            clone3(*flags, &["CLONE_VM", "CLONE_CHILD_CLEARTID", "CLONE_PIDFD"])
        }
        Op::Setsid {} => call("setsid", []),
        Op::Setpgid { group } => call("setpgid", [("pid", 0.into()), ("pgid", i64::from(*group).into())]),
        Op::ControllingTerminal {} => call("ioctl", [("fd", 0.into()), ("op", Value::constant("TIOCSCTTY"))]),
        Op::Descriptors { stdio, pass, close } => return descriptors(stdio, pass.iter(), *close != 0),
        Op::Chdir { path } => call("chdir", [("path", Value::text(&path.0))]),
        Op::Umask { mask } => call("umask", [("mask", Value::Octal(*mask))]),
        Op::Setgroups { groups } => {
            call("setgroups", [("list", Value::List(groups.iter().map(|group| i64::from(group).into()).collect()))])
        }
        Op::Setgid { id } => three_ids("setresgid", *id),
        Op::Setuid { id, .. } => three_ids("setresuid", *id),
        Op::Capabilities { inheritable, ambient } => {
            return capability_sets(*inheritable, *ambient);
        }
        Op::Setns { fd, flags } => setns(*fd, *flags),
        Op::BecomeRoot { .. } => {
            let groups = call("setgroups", [("list", Value::List(Vec::new()))]);
            return vec![groups, three_ids("setresgid", 0), three_ids("setresuid", 0)];
        }
        Op::Chroot { fd } => return vec![fchdir(*fd), call("chroot", [("path", Value::text("."))])],
        Op::Fchdir { fd } => fchdir(*fd),
        Op::Descend { flags } => call("clone", [("flags", clone_flags(*flags, &["CLONE_PIDFD"]))]),
        Op::Serve {} => {
            let files = ["requests", "the caller", "signals"].map(|name| Value::File(name.into()));
            call("poll", [("fds", Value::List(files.into()))])
        }
        Op::Received { stdio, pass } => {
            let standard = (0..3).filter(|&target| stdio[target as usize] != 0);
            let duplicate = |target: u32| dup2(Value::File("received".into()), i64::from(target));
            return standard.chain(pass.iter()).map(duplicate).collect();
        }
        Op::CopyInit {} => return Vec::new(),
        // Parts of a request whose steps are those of the caller: see `Plan::nested_start`.
        Op::NewUser {} | Op::WriteMap { .. } => return Vec::new(),
        Op::NewTime {} => unshare(kinds::TIME),
        Op::ClockOffsets { data } => {
            let written = write("/proc/PID/timens_offsets", Value::text(&data.0));
            return vec![written, setns_held(kinds::TIME)];
        }
        Op::Copy { path, .. } => {
            return vec![in_root(&path.0, "O_RDONLY"), call("read", [("fd", Value::File("that file".into()))])];
        }
        Op::OpenProc { path } => in_root(&path.0, "O_DIRECTORY"),
        Op::Read { path } => call("read", [("path", Value::text(in_proc(&path.0)))]),
        Op::OpenOwn { path, .. } => open(&in_proc(&path.0)),
        Op::WriteOwn { path, data } => write(in_proc(&path.0), Value::text(&data.0)),
        Op::Detached { fstype } => {
            return vec![call("fsopen", [("fsname", Value::text(&fstype.0))]), fsmount(0)];
        }
        Op::DetachedProc { namespace } => {
            let key = [("fd", Value::File("proc".into())), ("key", Value::text("pidns")), ("aux", (*namespace).into())];
            return vec![call("fsopen", [("fsname", Value::text("proc"))]), call("fsconfig", key), fsmount(0)];
        }
        Op::AbortFuse { devices } => {
            let target = |device: &[u32]| format!("the mount of device {}:{}", device[0], device[1]);
            let devices: Vec<u32> = devices.iter().collect();
            let one = |device: &[u32]| {
                let flags = Value::Flags(names(libc::MNT_FORCE as u64, &UMOUNT));
                call("umount2", [("target", Value::File(target(device).into())), ("flags", flags)])
            };
            return devices.chunks_exact(2).map(one).collect();
        }
        Op::Unmount { target, flags } => call(
            "umount2",
            [("target", Value::text(&target.0)), ("flags", Value::Flags(names(u64::from(*flags), &UMOUNT)))],
        ),
        Op::Socket { family, kind, protocol } => call(
            "socket",
            [
                ("domain", constant_of(&FAMILIES, *family)),
                ("type", constant_of(&SOCKETS, *kind & SOCKET_KIND)),
                ("protocol", (*protocol).into()),
            ],
        ),
        Op::Abort { .. } => call("kill", [("pid", Value::constant("PID")), ("sig", Value::constant("SIGKILL"))]),
        Op::Reap { .. } => call("wait4", [("pid", (-1).into())]),
        Op::SessionKeyring {} => {
            call("keyctl", [("operation", Value::constant("KEYCTL_JOIN_SESSION_KEYRING")), ("arg2", Value::Null)])
        }
        Op::LimitCapabilities { keep } => return limited_capabilities(*keep),
        Op::Seccomp { denied, missing } => {
            return [(missing, "ENOSYS"), (denied, "EPERM")].map(|(filter, errno)| seccomp(&filter.0, errno)).into();
        }
        Op::Landlock { writable, scopes } => return landlock(writable.iter(), *scopes),
        Op::Mask { hidden, read_only, inside } => {
            let cover = hidden.iter().map(|path| move_mount(Value::File("empty".into()), path, *inside != 0));
            let protect = read_only.iter().map(|path| {
                let (path, flags) = (("path", Value::text(path)), ("flags", Value::constant("AT_RECURSIVE")));
                call("mount_setattr", [path, flags, ("attr_set", Value::constant("MOUNT_ATTR_RDONLY"))])
            });
            return cover.chain(protect).collect();
        }
        Op::PrivateMount { fstype, options, attributes, target, inside } => {
            return new_mount(&fstype.0, options, *attributes, &target.0, *inside != 0);
        }
        Op::NoNewPrivs {} => call("prctl", [("op", Value::constant("PR_SET_NO_NEW_PRIVS")), ("arg2", 1.into())]),
        Op::Signals { mask, reset } => {
            let set = |mask: u64| Value::List(signals::names(mask).map(|name| Value::Flags(vec![name])).collect());
            let mut calls = vec![call("sigprocmask", [("how", Value::constant("SIG_SETMASK")), ("set", set(*mask))])];
            if *reset != 0 {
                calls.push(call("sigaction", [("signum", set(*reset)), ("act", Value::constant("SIG_DFL"))]));
            }
            return calls;
        }
        Op::NewRoot { path, attributes } => {
            let root = || Value::File("new root".into());
            let set = (*attributes != 0).then(|| set_attributes(root(), true, *attributes));
            let to = [("to_dirfd", Value::constant("AT_FDCWD")), ("to_path", Value::text(&path.0))];
            let others = [call("move_mount", to), call("fchdir", [("fd", root())])];
            return std::iter::once(open_tree(&path.0, true)).chain(set).chain(others).collect();
        }
        Op::KeepTree { source, .. } => {
            let set = Value::Flags(names(MOUNT_ATTR_IDMAP, &MOUNT_ATTR));
            return vec![open_tree(&source.0, true), call("mount_setattr", [("attr_set", set)])];
        }
        Op::CopyTree { source, recursive } | Op::SendTree { source, recursive } => {
            open_tree(&source.0, *recursive != 0)
        }
        Op::Bind { source, target, inside, recursive, attributes } => {
            let tree = || Value::File(name_of(&source.0));
            return vec![
                set_attributes(tree(), *recursive != 0, *attributes),
                move_mount(tree(), &target.0, *inside != 0),
            ];
        }
        Op::NewMount { fstype, options, attributes, target, inside } => {
            return new_mount(&fstype.0, options, *attributes, &target.0, *inside != 0);
        }
        Op::Layers { options, attributes, memory } => {
            if memory.count == 0 {
                return new_file_system(b"overlay\0", options, *attributes);
            }
            let directories = ["upper", "work"].map(|name| call("mkdirat", [("pathname", Value::text(name))]));
            let mut calls = new_file_system(b"tmpfs\0", memory, *attributes);
            calls.extend(directories);
            calls.extend(new_file_system(b"overlay\0", options, *attributes));
            return calls;
        }
        Op::Attach { target, inside } => move_mount(Value::File("overlay".into()), &target.0, *inside != 0),
        Op::AttachRoot {} => {
            let overlay = || Value::File("overlay".into());
            return vec![move_mount(overlay(), b"/\0", false), call("fchdir", [("fd", overlay())])];
        }
        Op::Cgroup { name, .. } => call(
            "unlinkat",
            [
                ("dirfd", Value::File("cgroup".into())),
                ("pathname", Value::text(&name.0)),
                ("flags", Value::constant("AT_REMOVEDIR")),
            ],
        ),
        Op::JoinCgroup { .. } => write("cgroup.procs", Value::text("0")),
        Op::Rlimit { resource, soft, hard } => {
            let limits = [("rlim_cur", *soft), ("rlim_max", *hard)];
            let fields = limits.map(|(name, limit)| (name.into(), rlimit::value(limit)));
            call(
                "prlimit",
                [
                    ("pid", 0.into()),
                    ("resource", Value::Flags(vec![rlimit::constant(*resource)])),
                    ("new_limit", Value::Fields(fields.into())),
                ],
            )
        }
        Op::PivotRoot {} => {
            return vec![
                call("pivot_root", [("new_root", Value::text(".")), ("put_old", Value::text("."))]),
                call("umount2", [("target", Value::text(".")), ("flags", Value::constant("MNT_DETACH"))]),
                call("chdir", [("path", Value::text("/"))]),
            ];
        }
        Op::Exec { paths, argv, envp } => {
            let paths = paths.iter().map(|path| path.strip_suffix(b"\0").unwrap_or(path).to_vec()).collect();
            let variables = Value::Variables(envp.count);
            call(
                "execve",
                [("pathname", Value::Choice(paths)), ("argv", Value::texts(argv.iter())), ("envp", variables)],
            )
        }
    };
    vec![one]
}

/// A file system that is mounted at once.
fn new_mount(fstype: &[u8], options: &Texts<Vec<u8>>, attributes: u64, target: &[u8], in_new_root: bool) -> Vec<Call> {
    let mut calls = new_file_system(fstype, options, attributes);
    calls.push(move_mount(Value::File(name_of(fstype)), target, in_new_root));
    calls
}

/// What `hardening::limit_capabilities` does.
fn limited_capabilities(keep: u64) -> Vec<Call> {
    let dropped = if keep == 0 {
        Value::constant("all")
    } else {
        let names = CAPABILITIES.iter().enumerate().filter(|(number, _)| keep & (1 << number) == 0);
        Value::Flags(names.map(|(_, &name)| name.into()).collect())
    };
    let prctl = |op, argument| call("prctl", [("op", Value::constant(op)), ("arg2", argument)]);
    let mut calls = vec![prctl("PR_CAPBSET_DROP", dropped)];
    if keep == 0 {
        let locked = ["SECBIT_NOROOT", "SECBIT_NO_SETUID_FIXUP", "SECBIT_NO_CAP_AMBIENT_RAISE"];
        let bits = locked.into_iter().flat_map(|name| [name.into(), format!("{name}_LOCKED").into()]);
        calls.push(prctl("PR_SET_SECUREBITS", Value::Flags(bits.chain(["SECBIT_KEEP_CAPS_LOCKED".into()]).collect())));
    }
    let kept = Value::constant(if keep == 0 { "none" } else { "all others" });
    let sets = ["effective", "permitted", "inheritable"].map(|set| (set.into(), kept.clone()));
    calls.push(call("capset", [("data", Value::Fields(sets.into()))]));
    calls
}

fn seccomp(filter: &[u8], errno: &'static str) -> Call {
    let program = [("len", ((filter.len() / 8) as i64).into()), ("refuses with", Value::constant(errno))];
    let fields = program.map(|(name, value)| (name.into(), value));
    call("seccomp", [("operation", Value::constant("SECCOMP_SET_MODE_FILTER")), ("args", Value::Fields(fields.into()))])
}

fn landlock<'a>(writable: impl Iterator<Item = &'a [u8]>, scopes: u64) -> Vec<Call> {
    let names = [(1, "LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET"), (2, "LANDLOCK_SCOPE_SIGNAL")];
    let scoped = names.iter().filter(|(bit, _)| scopes & bit != 0).map(|&(_, name)| name.into()).collect();
    let handled = Value::Flags(
        ["writes", "LANDLOCK_ACCESS_FS_MAKE_CHAR", "LANDLOCK_ACCESS_FS_MAKE_BLOCK"].map(Name::from).into(),
    );
    let fields = vec![("handled_access_fs".into(), handled), ("scoped".into(), Value::Flags(scoped))];
    let create = call("landlock_create_ruleset", [("attr", Value::Fields(fields))]);
    let rules = writable.map(|path| {
        let allowed = ("allowed_access", Value::constant("writes"));
        call("landlock_add_rule", [("parent_fd", Value::text(path)), allowed])
    });
    let restrict = call("landlock_restrict_self", [("ruleset_fd", Value::File("ruleset".into()))]);
    std::iter::once(create).chain(rules).chain([restrict]).collect()
}

/// mount(2); an empty source or type is NULL.
pub fn mount(source: &[u8], target: &[u8], fstype: &[u8], flags: u64) -> Call {
    call(
        "mount",
        [
            ("source", Value::text_or_null(source)),
            ("target", Value::text(target)),
            ("filesystemtype", Value::text_or_null(fstype)),
            ("mountflags", Value::Flags(names(flags, &MS))),
            ("data", Value::Null),
        ],
    )
}

/// What `ip link set lo up` does (netdevice(7)).
pub fn loopback_up() -> Call {
    let (op, flags) = (Value::constant("SIOCSIFFLAGS"), Value::constant("IFF_UP"));
    call("ioctl", [("op", op), ("name", Value::text("lo")), ("flags", flags)])
}

/// unshare(2).
pub fn unshare(namespaces: u64) -> Call {
    call("unshare", [("flags", clone_flags(namespaces, &[]))])
}

/// setns(2).
pub fn setns(fd: i32, namespace: u64) -> Call {
    call("setns", [("fd", fd.into()), ("nstype", clone_flags(namespace, &[]))])
}

/// setns(2) into a new namespace that another process holds.
fn setns_held(namespace: u64) -> Call {
    let held = ("fd", Value::File("the held namespace".into()));
    call("setns", [held, ("nstype", clone_flags(namespace, &[]))])
}

/// CLONE_NEW* flags, and others.
fn clone_flags(namespaces: u64, others: &[&'static str]) -> Value {
    let kinds = kinds_of(namespaces).map(|kind| Name::from(kind.flag_name));
    Value::Flags(kinds.chain(others.iter().map(|&name| name.into())).collect())
}

fn clone3(namespaces: u64, others: &[&'static str]) -> Call {
    call("clone3", [("flags", clone_flags(namespaces, others))])
}

/// The inheritable and the ambient capabilities (capabilities(7)).
fn capability_sets(inheritable: u64, ambient: u64) -> Vec<Call> {
    let set = |mask| {
        let name = match mask {
            0 => "none".into(),
            u64::MAX => "all".into(),
            mask => format!("{mask:#x}").into(),
        };
        Value::Flags(vec![name])
    };
    vec![
        call("capset", [("data", Value::Fields(vec![("inheritable".into(), set(inheritable))]))]),
        call("prctl", [("op", Value::constant("PR_CAP_AMBIENT")), ("arg2", set(ambient))]),
    ]
}

fn open(path: &[u8]) -> Call {
    call("open", [("path", Value::text(path)), ("flags", Value::constant("O_RDONLY"))])
}

/// A file that is looked up below the root of the box (openat2(2), RESOLVE_IN_ROOT).
fn in_root(path: &[u8], flag: &'static str) -> Call {
    let resolve = ["RESOLVE_IN_ROOT", "RESOLVE_NO_MAGICLINKS"].map(|name| name.into());
    call(
        "openat2",
        [
            ("path", Value::text(path)),
            ("flags", Value::Flags(vec![flag.into(), "O_NONBLOCK".into()])),
            ("resolve", Value::Flags(resolve.into())),
        ],
    )
}

fn set_name(which: &'static str, name: &[u8]) -> Call {
    call(which, [("name", Value::text(name)), ("len", (name.len() as i64).into())])
}

fn three_ids(which: &'static str, id: u32) -> Call {
    call(which, ["real", "effective", "saved"].map(|name| (name, i64::from(id).into())))
}

fn fchdir(fd: i32) -> Call {
    call("fchdir", [("fd", fd.into())])
}

fn dup2(from: Value, to: i64) -> Call {
    call("dup2", [("oldfd", from), ("newfd", to.into())])
}

fn descriptors(stdio: &[i32; 3], pass: impl Iterator<Item = u32>, close: bool) -> Vec<Call> {
    let given = (0..).zip(stdio).filter(|(_, source)| **source >= 0);
    let mut calls: Vec<Call> = given.map(|(target, source)| dup2((*source).into(), target)).collect();
    if close {
        let (first, last) = (3.into(), Value::constant("~0"));
        let flags = Value::constant("CLOSE_RANGE_CLOEXEC");
        calls.push(call("close_range", [("first", first), ("last", last), ("flags", flags)]));
    }
    calls.extend(pass.map(|fd| {
        call("fcntl", [("fd", i64::from(fd).into()), ("op", Value::constant("F_SETFD")), ("arg", 0.into())])
    }));
    calls
}

fn open_tree(path: &[u8], recursive: bool) -> Call {
    let flags: &[&str] = if recursive { &["OPEN_TREE_CLONE", "AT_RECURSIVE"] } else { &["OPEN_TREE_CLONE"] };
    call(
        "open_tree",
        [
            ("dirfd", Value::constant("AT_FDCWD")),
            ("path", Value::text(path)),
            ("flags", Value::Flags(flags.iter().map(|&flag| flag.into()).collect())),
        ],
    )
}

fn fsmount(attributes: u64) -> Call {
    call("fsmount", [("attr_flags", Value::Flags(names(attributes, &MOUNT_ATTR)))])
}

/// mount_setattr(2).
fn set_attributes(tree: Value, recursive: bool, attributes: u64) -> Call {
    let flags: &[&str] = if recursive { &["AT_EMPTY_PATH", "AT_RECURSIVE"] } else { &["AT_EMPTY_PATH"] };
    let flags = Value::Flags(flags.iter().map(|&flag| flag.into()).collect());
    let set = Value::Flags(names(attributes, &MOUNT_ATTR));
    call("mount_setattr", [("dirfd", tree), ("flags", flags), ("attr_set", set)])
}

/// A file system that is mounted nowhere yet (fsopen(2)).
fn new_file_system(fstype: &[u8], options: &Texts<Vec<u8>>, attributes: u64) -> Vec<Call> {
    let texts: Vec<&[u8]> = options.iter().collect();
    let options = texts.chunks(2).map(|pair| {
        let value = if pair[1] == b"\0" { Value::Null } else { Value::text(pair[1]) };
        call("fsconfig", [("key", Value::text(pair[0])), ("value", value)])
    });
    let open = call("fsopen", [("fsname", Value::text(fstype))]);
    std::iter::once(open).chain(options).chain([fsmount(attributes)]).collect()
}

/// The target is looked up in the new root, if there is one (openat2(2), RESOLVE_IN_ROOT).
fn move_mount(from: Value, target: &[u8], in_new_root: bool) -> Call {
    let directory = if in_new_root { Value::File("new root".into()) } else { Value::constant("AT_FDCWD") };
    call("move_mount", [("from_dirfd", from), ("to_dirfd", directory), ("to_path", Value::text(target))])
}

/// The name of a file in a text.
fn name_of(text: &[u8]) -> Name {
    String::from_utf8_lossy(text.strip_suffix(b"\0").unwrap_or(text)).into_owned().into()
}

/// A path from the root of a proc.
fn in_proc(path: &[u8]) -> Vec<u8> {
    [b"/proc/", path].concat()
}

/// socket(2).
const FAMILIES: [(i32, &str); 5] =
    [(1, "AF_UNIX"), (2, "AF_INET"), (10, "AF_INET6"), (16, "AF_NETLINK"), (17, "AF_PACKET")];
/// socket(2).
const SOCKETS: [(i32, &str); 4] = [(1, "SOCK_STREAM"), (2, "SOCK_DGRAM"), (3, "SOCK_RAW"), (5, "SOCK_SEQPACKET")];
/// The type without SOCK_NONBLOCK and SOCK_CLOEXEC.
const SOCKET_KIND: i32 = 0xf;

fn constant_of(known: &'static [(i32, &'static str)], number: i32) -> Value {
    let found = known.iter().find(|(known, _)| *known == number);
    found.map_or_else(|| number.into(), |(_, name)| Value::constant(name))
}
