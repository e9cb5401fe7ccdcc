//! The operations: one table, from which the enum, its encoder and its decoder are made.

use crate::wire::fields::{Blob, Fault, Malformed, MaybeText, Numbers, Put, Reader, Sink, Take, Text, Texts};

/// How many trees and overlays one plan can have copied and made before they are mounted.
pub const MAX_KEPT: usize = 256;

/// Declares the operations once: the enum, its encoder and its decoder all come from this table.
macro_rules! operations {
    ($($(#[$doc:meta])* $tag:literal $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty),* $(,)? })*) => {
        /// One thing nsbox-init does. `S` holds the bytes: owned in a plan, borrowed in init.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Op<S> {
            $($(#[$doc])* $name { $($(#[$field_doc])* $field: $kind),* },)*
        }

        impl<S: AsRef<[u8]>> Op<S> {
            pub(super) fn tag(&self) -> u16 {
                match self { $(Op::$name { .. } => $tag,)* }
            }

            pub(super) fn put_fields(&self, out: &mut impl Sink) {
                match self { $(Op::$name { $($field),* } => { $($field.put(out);)* let _ = out; })* }
            }
        }

        impl<'a> Op<&'a [u8]> {
            pub(super) fn take(tag: u16, from: &mut Reader<'a>) -> Result<Self, Malformed> {
                match tag {
                    $($tag => Ok(Op::$name { $($field: Take::take(from)?),* }),)*
                    _ => from.fail(Fault::Operation),
                }
            }
        }
    };
}

operations! {
    /// unshare(2), for what clone could not or should not do.
    1 Unshare { /** CLONE_NEW* */ flags: u64 }
    /// Report to the caller that the user namespace exists, and wait until it has written the maps.
    2 AwaitMaps {}
    /// Write `data` to the file at `path` in a single write(2).
    3 Write { /** where */ path: Text<S>, /** what */ data: Blob<S> }
    /// mount(2).
    4 Mount {
        /** the source argument */ source: MaybeText<S>,
        /** the target argument */ target: Text<S>,
        /** the type argument */ fstype: MaybeText<S>,
        /** MS_* */ flags: u64,
    }
    /// sethostname(2).
    5 SetHostname { /** the name */ name: Blob<S> }
    /// setdomainname(2).
    6 SetDomainname { /** the name */ name: Blob<S> }
    /// Bring the loopback interface up.
    7 LoopbackUp {}
    /// A child carries out what follows and becomes the payload; init supervises it.
    8 Fork {
        /** CLONE_NEW* for the child */ flags: u64,
        /** whether only a failure or the end is reported */ quiet: u32,
    }
    /// setsid(2).
    9 Setsid {}
    /// setpgid(2) of the payload itself.
    10 Setpgid { /** the group, 0 for one of its own */ group: i32 }
    /// Make standard input the controlling terminal (TIOCSCTTY).
    11 ControllingTerminal {}
    /// Lay out the file descriptors.
    12 Descriptors {
        /** what becomes 0, 1, 2; -1 leaves that one as it is */ stdio: [i32; 3],
        /** descriptors kept under their own number */ pass: Numbers<S>,
        /** whether all others are closed */ close: u32,
    }
    /// chdir(2).
    13 Chdir { /** where to */ path: Text<S> }
    /// umask(2).
    14 Umask { /** the mask */ mask: u32 }
    /// setgroups(2).
    15 Setgroups { /** supplementary group ids */ groups: Numbers<S> }
    /// setresgid(2), all three.
    16 Setgid { /** the group id */ id: u32 }
    /// setresuid(2), all three.
    17 Setuid { /** the user id */ id: u32, /** whether permitted capabilities are kept */ keep_caps: u32 }
    /// Lower the ambient and inheritable capability sets to these masks.
    18 Capabilities { /** inheritable */ inheritable: u64, /** ambient */ ambient: u64 }
    /// prctl(PR_SET_NO_NEW_PRIVS).
    19 NoNewPrivs {}
    /// Signals as the caller had them.
    20 Signals { /** blocked */ mask: u64, /** reset from ignored to default */ reset: u64 }
    /// execve(2): the first of `paths` that can be executed.
    21 Exec { /** candidates */ paths: Texts<S>, /** argv */ argv: Texts<S>, /** envp */ envp: Texts<S> }
    /// Make a directory a mount of its own and the working directory, for [`Op::PivotRoot`].
    22 NewRoot {
        /** the directory */ path: Text<S>,
        /** MOUNT_ATTR_*, set on it and on all mounts below */ attributes: u64,
    }
    /// Mount on `target` the next of the trees that [`Op::CopyTree`] has copied (move_mount(2)).
    23 Bind {
        /** what is mounted, for texts */ source: Text<S>,
        /** where */ target: Text<S>,
        /** whether that is looked up in the new root */ inside: u32,
        /** whether the mounts below come along */ recursive: u32,
        /** MOUNT_ATTR_*, set on all of them */ attributes: u64,
    }
    /// Make a file system (fsopen(2)) and mount it on `target`.
    24 NewMount {
        /** its type */ fstype: Text<S>,
        /** names and values of its options, in turn; no value makes a flag */ options: Texts<S>,
        /** MOUNT_ATTR_* */ attributes: u64,
        /** where */ target: Text<S>,
        /** whether that is looked up in the new root */ inside: u32,
    }
    /// Make the working directory the root, and unmount the old one (pivot_root(2)).
    25 PivotRoot {}
    /// prlimit(2) of the payload itself.
    26 Rlimit { /** RLIMIT_* */ resource: u32, /** the soft limit */ soft: u64, /** the hard limit */ hard: u64 }
    /// Remove this cgroup before init ends. What is started enters it.
    27 Cgroup {
        /** a descriptor of the directory above */ parent: i32,
        /** a descriptor of its cgroup.procs */ procs: i32,
        /** its name there */ name: Text<S>,
    }
    /// Enter that cgroup (cgroups(7)).
    28 JoinCgroup { /** a descriptor of its cgroup.procs */ procs: i32 }
    /// setns(2); the descriptor is closed.
    29 Setns { /** a namespace */ fd: i32, /** its CLONE_NEW* */ flags: u64 }
    /// Take root's ids in the user namespace that was joined, if it has them.
    30 BecomeRoot { /** whether an id that stays the same must be mapped */ strict: u32 }
    /// chroot(2) to an open directory, which is closed.
    31 Chroot { /** the directory */ fd: i32 }
    /// fchdir(2); the descriptor is closed.
    32 Fchdir { /** the directory */ fd: i32 }
    /// A child carries out what follows, and this process only waits for it: only children are in a PID namespace that
    /// has been joined or unshared.
    33 Descend { /** CLONE_NEW* for the child */ flags: u64 }
    /// Wait for requests, as the init of a box. The last operation of a box's plan.
    34 Serve {}
    /// As `Fork`, but init continues to serve. The first operation of such a request.
    35 Start {
        /** CLONE_NEW* for the child */ flags: u64,
        /** the number by which `Abort` names it */ token: u32,
        /** whether only its failure or its end is reported */ quiet: u32,
    }
    /// Lay out the descriptors that came with the request: the first ones as standard input, output and error where
    /// `stdio` says so, the others under the numbers in `pass`.
    36 Received { /** 1 where there is one */ stdio: [i32; 3], /** numbers */ pass: Numbers<S> }
    /// Go on as another nsbox-init: its socket and its lifeline came with the request.
    37 CopyInit {}
    /// Write a file of the user namespace that `NewUser` has made: `uid_map`, `gid_map` or `setgroups`.
    38 WriteMap { /** which */ file: Text<S>, /** what */ data: Blob<S> }
    /// Read a short file of init's own proc, and put its contents into the report.
    40 Read { /** where, from the root of the proc */ path: Text<S> }
    /// Open a file of init's own proc, and attach it to the report.
    41 OpenOwn {
        /** where, from the root of the proc */ path: Text<S>,
        /** whether it is one of the links that are no paths (proc_pid_ns(5)) */ link: u32,
    }
    /// Write `data` to a file of init's own proc in a single write(2).
    42 WriteOwn { /** where, from the root of the proc */ path: Text<S>, /** what */ data: Blob<S> }
    /// Make a file system of this type that is mounted nowhere, and attach it to the report (fsmount(2)).
    43 Detached { /** the type */ fstype: Text<S> }
    /// umount2(2).
    44 Unmount { /** where */ target: Text<S>, /** MNT_* */ flags: u32 }
    /// SIGKILL to the process that was started with this token.
    45 Abort { /** which */ token: u32 }
    /// Choose whether orphans are reaped when they end, and reap those that have ended.
    46 Reap { /** from now on */ always: u32, /** once */ now: u32 }
    /// Make a socket, and attach it to the report.
    47 Socket { /** AF_* */ family: i32, /** SOCK_* */ kind: i32, /** the protocol */ protocol: i32 }
    /// Make a proc of a PID namespace that is mounted nowhere, and attach it to the report (Linux 6.17).
    60 DetachedProc { /** the PID namespace */ namespace: i32 }
    /// Abort FUSE connections by unmounting (umount(2), MNT_FORCE), in the mount namespace that was joined.
    72 AbortFuse { /** the major and the minor number of the device of each */ devices: Numbers<S> }
    /// Make a user namespace for the box that `CopyInit` makes. A process that can do nothing holds it until its maps are
    /// written.
    61 NewUser {}
    /// Make a time namespace. A process that can do nothing holds it until its offsets are written.
    62 NewTime {}
    /// Write the offsets of that time namespace, as `timens_offsets` takes them, and enter it.
    63 ClockOffsets { /** the lines */ data: Blob<S> }
    /// Copy a file that programs may have changed into memory, and attach the copy to the report.
    70 Copy {
        /** where, from our root */ path: Text<S>,
        /** the largest size in bytes; a larger file is refused */ max_bytes: u64,
        /** whether it may be something else than a regular file */ any_type: u32,
    }
    /// Open what is mounted on a directory if it is a proc, attach it to the report, and put the PIDs of init in that
    /// proc and inwards into the report (NSpid, proc_pid_fdinfo(5)).
    71 OpenProc { /** where, from our root */ path: Text<S> }
    /// Join a new session keyring (keyctl(2)).
    80 SessionKeyring {}
    /// Keep these capabilities at most, in every set and in the bounding set; with none the securebits are locked.
    81 LimitCapabilities { /** which may be kept */ keep: u64 }
    /// Apply filters for system calls (seccomp(2)).
    82 Seccomp {
        /** what fails with EPERM; instructions of BPF */ denied: Blob<S>,
        /** what fails with ENOSYS */ missing: Blob<S>,
    }
    /// Enter a Landlock domain (landlock(7)).
    83 Landlock {
        /** where files can be changed */ writable: Texts<S>,
        /** LANDLOCK_SCOPE_*, where the kernel has them */ scopes: u64,
    }
    /// Cover paths, and make others read-only, with the mounts below them. Those that do not exist are left out.
    84 Mask {
        /** covered: a file by /dev/null, a directory by an empty one */ hidden: Texts<S>,
        /** made read-only */ read_only: Texts<S>,
        /** whether they are looked up in the new root */ inside: u32,
    }
    /// As `NewMount`; nothing is done where there is no directory.
    85 PrivateMount {
        /** its type */ fstype: Text<S>,
        /** names and values of its options */ options: Texts<S>,
        /** MOUNT_ATTR_* */ attributes: u64,
        /** where */ target: Text<S>,
        /** whether that is looked up in the new root */ inside: u32,
    }
    /// Keep a tree that was copied outside, as [`Op::CopyTree`] does.
    86 KeepTree {
        /** a descriptor of it; in a box in a box, which one of those that came with the plan */ fd: i32,
        /** where it was */ source: Text<S>,
    }
    /// Copy the mounts at a path (open_tree(2)), and attach the copy to the report.
    87 SendTree { /** where they are */ source: Text<S>, /** whether the mounts below come along */ recursive: u32 }
    /// Copy the mounts at `source` (open_tree(2)), and keep them for the operation that mounts them.
    100 CopyTree { /** where they are */ source: Text<S>, /** whether the mounts below come along */ recursive: u32 }
    /// Make an overlay (fsopen(2)), and keep it for the operation that mounts it.
    101 Layers {
        /** names and values of its options, in turn; no value makes a flag */ options: Texts<S>,
        /** MOUNT_ATTR_* */ attributes: u64,
        /** the options of the tmpfs that has its upper layer, in turn; none if that is a directory */ memory: Texts<S>,
    }
    /// Mount on `target` the next of the overlays that [`Op::Layers`] has made.
    102 Attach { /** where */ target: Text<S>, /** whether that is looked up in the new root */ inside: u32 }
    /// The same for the new root, which becomes the working directory, for [`Op::PivotRoot`].
    103 AttachRoot {}
}
