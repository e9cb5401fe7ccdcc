//! The names of steps: one list for plans, for requests to a box, for scopes of a thread, and for commands.

macro_rules! step_names {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// The name of a step. Errors, plans and explanations use the text of [`StepName::text`], which never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum StepName {
            $($(#[doc = $doc])* $variant,)*
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
    /// What the caller prepares: sockets, descriptors, the image of nsbox-init.
    Prepare = "prepare",
    /// A new cgroup for the payload.
    Cgroup = "cgroup",
    /// The process that becomes nsbox-init.
    Clone = "clone",
    /// The exec of nsbox-init.
    ExecInit = "exec init",
    /// A copy of the outer nsbox-init continues as the nsbox-init of an inner box.
    CopyInit = "copy init",
    /// nsbox-init reads its plan.
    Plan = "plan",
    /// nsbox-init itself: it ended before it reported.
    Init = "init",

    // User namespaces.
    /// nsbox-init waits until the maps are written.
    AwaitMaps = "await maps",
    /// /proc/PID/setgroups.
    Setgroups = "setgroups",
    /// /proc/PID/gid_map.
    GidMap = "gid_map",
    /// /proc/PID/uid_map.
    UidMap = "uid_map",
    /// A map that the outer nsbox-init writes for an inner box.
    WriteMap = "write map",

    // Namespaces that exist.
    /// A descriptor of a namespace, process or directory that is to be joined.
    OpenTarget = "open target",
    /// A descriptor of one of the caller's own namespaces or directories.
    OpenOwn = "open own",
    /// setns(2) to a user namespace.
    JoinUser = "join user",
    /// setns(2) to a mount namespace.
    JoinMount = "join mount",
    /// setns(2) to a PID namespace.
    JoinPid = "join pid",
    /// setns(2) to an IPC namespace.
    JoinIpc = "join ipc",
    /// setns(2) to a UTS namespace.
    JoinUts = "join uts",
    /// setns(2) to a network namespace.
    JoinNet = "join net",
    /// setns(2) to a cgroup namespace; also the move to a cgroup.
    JoinCgroup = "join cgroup",
    /// setns(2) to a time namespace.
    JoinTime = "join time",
    /// User and group 0 of a joined user namespace.
    BecomeRoot = "become root",
    /// Supplementary groups are dropped before a user namespace is joined.
    DropGroups = "drop groups",
    /// The root directory of the target.
    TargetRoot = "target root",
    /// The working directory of the target.
    TargetWd = "target wd",
    /// The working directory, which a new root does not change.
    RememberWd = "remember wd",
    /// A child in the joined PID namespace.
    Descend = "descend",
    /// A child in new namespaces, inside of joined ones.
    CloneInit = "clone init",

    // New namespaces, made usable.
    /// A child that stays in the old namespaces.
    Bystander = "bystander",
    /// unshare(2).
    Unshare = "unshare",
    /// unshare(2) with CLONE_NEWTIME.
    UnshareTime = "unshare time",
    /// /proc/self/timens_offsets.
    ClockOffsets = "clock offsets",
    /// A mount that keeps a namespace alive.
    Pin = "pin",
    /// The end of such a mount.
    Unpin = "unpin",
    /// The propagation of all mounts.
    Propagation = "propagation",
    /// The propagation of the mount on which proc is mounted.
    PrivateProc = "private proc",
    /// sethostname(2).
    Hostname = "hostname",
    /// setdomainname(2).
    Domainname = "domainname",
    /// The loopback interface.
    Loopback = "loopback",
    /// /proc/sys/kernel/pid_max.
    PidMax = "pid_max",

    // A root and mounts.
    /// The directory that becomes the root, as a mount.
    Root = "root",
    /// A bind mount.
    Bind = "bind",
    /// A tmpfs.
    Tmpfs = "tmpfs",
    /// An overlay.
    Overlay = "overlay",
    /// A proc among `mounts`.
    Proc = "proc",
    /// A new proc on /proc.
    MountProc = "mount proc",
    /// The end of a proc that a scope mounted.
    UnmountProc = "unmount proc",
    /// The exchange of roots.
    PivotRoot = "pivot root",
    /// chroot(2).
    Chroot = "chroot",

    // The payload's process.
    /// The process that becomes the payload.
    Fork = "fork",
    /// A process in a box.
    Start = "start",
    /// The removal of a cgroup.
    OwnCgroup = "own cgroup",
    /// A signal for the child when its parent ends.
    ParentDeathSignal = "parent death signal",
    /// The descriptors of the payload.
    Descriptors = "descriptors",
    /// setsid(2).
    Setsid = "setsid",
    /// setpgid(2).
    Setpgid = "setpgid",
    /// The controlling terminal.
    ControllingTerminal = "controlling terminal",
    /// chdir(2).
    Chdir = "chdir",
    /// The return to the working directory before a scope.
    Cwd = "cwd",
    /// umask(2).
    Umask = "umask",
    /// A limit for each process.
    Rlimit = "rlimit",
    /// Supplementary groups.
    SetGroups = "set groups",
    /// The group.
    Setgid = "setgid",
    /// The user.
    Setuid = "setuid",
    /// Capabilities kept over an exec.
    KeepCapabilities = "keep capabilities",
    /// Capabilities dropped before an exec.
    DropCapabilities = "drop capabilities",
    /// PR_SET_NO_NEW_PRIVS.
    NoNewPrivs = "no_new_privs",
    /// Blocked and ignored signals.
    Signals = "signals",
    /// The exec of the program.
    Exec = "exec",

    // A box.
    /// nsbox-init waits for requests.
    Serve = "serve",
    /// A request that could not be sent.
    Request = "request",
    /// mount(2) in a box.
    Mount = "mount",
    /// A tmpfs for POSIX shared memory.
    MountShm = "mount shm",
    /// umount2(2) in a box.
    Unmount = "unmount",
    /// A file system without a mount point.
    DetachedMount = "detached mount",
    /// open(2) in a box.
    Open = "open",
    /// read(2) in a box.
    Read = "read",
    /// write(2) in a box.
    Write = "write",
    /// socket(2) in a box.
    Socket = "socket",
    /// Orphans are reaped, or not.
    Reap = "reap",
    /// A process that was started is ended.
    Abort = "abort",

    // Two boxes connected.
    /// A pair of virtual Ethernet devices.
    Veth = "veth",
    /// An interface is brought up.
    LinkUp = "link up",
    /// An address of an interface.
    Address = "address",
    /// The caller waits until both ends of the pair can send.
    Carrier = "carrier",
    /// The pair is removed.
    RemoveVeth = "remove veth",
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
