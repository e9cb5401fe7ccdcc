//! The names of steps: one list for plans, for requests to a box, for scopes of a thread, and for commands.

macro_rules! step_names {
    ($($variant:ident = $text:literal,)*) => {
        /// The name of a step. Errors, plans and explanations use the text of [`StepName::text`], which never changes.
        #[allow(missing_docs, reason = "the texts are the names")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum StepName {
            $($variant,)*
        }

        impl StepName {
            /// All of them, in the order of the list.
            pub const ALL: &[StepName] = &[$(StepName::$variant,)*];

            /// The name as text.
            pub const fn text(self) -> &'static str {
                match self {
                    $(StepName::$variant => $text,)*
                }
            }
        }
    };
}

step_names! {
    // Before nsbox-init runs.
    Prepare = "prepare", Cgroup = "cgroup", Clone = "clone", ExecInit = "exec init", CopyInit = "copy init",
    Plan = "plan", Init = "init",
    // User namespaces.
    AwaitMaps = "await maps", Setgroups = "setgroups", GidMap = "gid_map", UidMap = "uid_map",
    NewUser = "new user",
    // Namespaces that exist.
    OpenTarget = "open target", OpenOwn = "open own", JoinUser = "join user", JoinMount = "join mount",
    JoinPid = "join pid", JoinIpc = "join ipc", JoinUts = "join uts", JoinNet = "join net",
    JoinCgroup = "join cgroup", JoinTime = "join time", BecomeRoot = "become root", DropGroups = "drop groups",
    TargetRoot = "target root", TargetWd = "target wd", RememberWd = "remember wd", Descend = "descend",
    CloneInit = "clone init",
    // New namespaces, made usable.
    Bystander = "bystander", Unshare = "unshare", UnshareTime = "unshare time", ClockOffsets = "clock offsets",
    Pin = "pin", Unpin = "unpin", Propagation = "propagation", PrivateProc = "private proc", Hostname = "hostname",
    Domainname = "domainname", Loopback = "loopback", PidMax = "pid_max",
    // A root and mounts.
    Source = "source", Idmap = "idmap", Layers = "layers", Root = "root", Bind = "bind", Tmpfs = "tmpfs", Overlay = "overlay",
    Proc = "proc", MountProc = "mount proc",
    PrivateTmp = "private tmp", PrivatePts = "private pts", MaskProc = "mask proc", ReadOnlySys = "read-only sys", Sysctl = "sysctl",
    UnmountProc = "unmount proc", PivotRoot = "pivot root", Chroot = "chroot",
    // The payload's process.
    Fork = "fork", Start = "start", OwnCgroup = "own cgroup", ParentDeathSignal = "parent death signal",
    Descriptors = "descriptors", Setsid = "setsid", Setpgid = "setpgid",
    ControllingTerminal = "controlling terminal", Chdir = "chdir", Directory = "directory",
    Cwd = "cwd", Umask = "umask", Rlimit = "rlimit",
    SetGroups = "set groups", Setgid = "setgid", Setuid = "setuid", KeepCapabilities = "keep capabilities",
    DropCapabilities = "drop capabilities", SessionKeyring = "session keyring",
    LockCapabilities = "lock capabilities", LockMounts = "lock mounts", NoNewPrivs = "no_new_privs",
    Landlock = "landlock", Seccomp = "seccomp", Signals = "signals", Exec = "exec",
    // A box.
    Serve = "serve", Request = "request", Mount = "mount", MountShm = "mount shm", Unmount = "unmount",
    DetachedMount = "detached mount", Open = "open", Read = "read", Write = "write", Socket = "socket",
    Reap = "reap", Abort = "abort", AbortFuse = "abort fuse",
    // Boxes connected.
    Veth = "veth", Bridge = "bridge", BridgePort = "bridge port", LinkUp = "link up", Address = "address",
    Carrier = "carrier", Route = "route", RemoveVeth = "remove veth",
}

impl std::fmt::Display for StepName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.pad(self.text())
    }
}

/// All names, for the Python side.
#[pyo3::pyfunction]
pub fn step_names() -> Vec<&'static str> {
    StepName::ALL.iter().map(|name| name.text()).collect()
}
