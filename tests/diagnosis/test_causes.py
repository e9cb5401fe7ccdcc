"""Causes of errors, from recorded evidence: each cause where it applies, and none where the evidence is ambiguous."""

from __future__ import annotations

from dataclasses import replace
from errno import (
    E2BIG,
    EACCES,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EBADF,
    EBUSY,
    ECANCELED,
    ECONNRESET,
    EDQUOT,
    EEXIST,
    EFBIG,
    EINVAL,
    EIO,
    EISDIR,
    ELOOP,
    EMFILE,
    ENAMETOOLONG,
    ENETUNREACH,
    ENFILE,
    ENOBUFS,
    ENODEV,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOSYS,
    ENOTBLK,
    ENOTDIR,
    ENOTSOCK,
    ENOTTY,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    EPROTONOSUPPORT,
    ERANGE,
    EROFS,
    ESRCH,
    ETIMEDOUT,
    ETXTBSY,
    EUSERS,
    EXDEV,
)  # fmt: skip

import pytest
from nsbox._core import Call
from nsbox.diagnosis.causes import CAUSES, FailedStep, explain
from nsbox.diagnosis.evidence import Evidence, ProcMount
from nsbox.diagnosis.places import PLACES
from nsbox.spec.step_names import STEP_NAMES

from tests.support.machines import DOCKER, GITHUB, GVISOR, KUBERNETES, RHEL_CONTAINER, ROOT, UBUNTU, USER, WSL1

pytestmark = pytest.mark.pure

CLONE = (Call("clone3", flags=("CLONE_NEWNS", "CLONE_NEWPID", "CLONE_VM")),)
CLONE_USER = (Call("clone3", flags=("CLONE_NEWUSER", "CLONE_NEWPID", "CLONE_VM")),)
EXEC_INIT = (Call("execveat", file=("nsbox-init",)),)
PROC = (Call("mount", source="proc", target="/proc", filesystemtype="proc", mountflags=("MS_NOSUID", "MS_NODEV")),)
PRIVATE = (Call("mount", source=None, target="/", filesystemtype=None, mountflags=("MS_REC", "MS_PRIVATE")),)
NEWUIDMAP = (Call.program("newuidmap", pid=("PID",), rows=((0, 100000, 65536),)),)
NEWGIDMAP = (Call.program("newgidmap", pid=("PID",), rows=((0, 5, 1),)),)
OVERLAY = (Call("fsopen", fsname="overlay"),)
BIND = (
    Call("open_tree", dirfd=("AT_FDCWD",), path="/a", flags=("OPEN_TREE_CLONE",)),
    Call("mount_setattr", attr_set=("MOUNT_ATTR_NOSUID",)),
    Call("move_mount", to_dirfd=("AT_FDCWD",), to_path="/b"),
)
UNSHARE_TIME = (Call("unshare", flags=("CLONE_NEWTIME",)),)
PIDNS = (Call("fsconfig", cmd=("FSCONFIG_SET_FD",), key="pidns"),)
SOURCE, TARGET = "looking up the source", "looking up the target"
IN_MEMORY = (Call("mkdirat", pathname="upper"), Call("fsconfig", key="lowerdir+", value="/"))
SOURCE_BELOW_TARGET = "looking up the source, which is below a target of the same list"


def uid_map(*rows: tuple[int, int, int]) -> FailedStep:
    """Return the failure of a map with these rows."""
    return FailedStep(EPERM, "uid_map", (Call("write", path="/proc/PID/uid_map", buf=rows),))


def setns(flag: str) -> tuple[Call]:
    """Return the call that joins a namespace."""
    return (Call("setns", fd=7, nstype=(flag,)),)


def opened(path: str) -> tuple[Call]:
    """Return the call that opens a file."""
    return (Call("open", path=path, flags=("O_RDONLY",)),)


def asked(request: str) -> tuple[Call]:
    """Return the call of an ioctl."""
    return (Call("ioctl", op=(request,)),)


def mount(target: str, fstype: str | None, *flags: str) -> tuple[Call]:
    """Return the call of `Box.mount`."""
    return (Call("mount", source="/a", target=target, filesystemtype=fstype, mountflags=flags, data=None),)


def sent(kind: str, **arguments: str) -> tuple[Call]:
    """Return the call of a request about the interfaces of a box."""
    return (Call("sendto", type=(kind,), ifname="eth0", **arguments),)


RECORDED: list[tuple[str, FailedStep, Evidence]] = [
    ("not-linux", FailedStep(EINVAL, "clone", CLONE), GVISOR),
    ("not-linux", FailedStep(EINVAL, "clone", CLONE_USER), WSL1),
    ("seccomp-kill", FailedStep(EPERM, "propagation", PRIVATE), replace(ROOT, mount=EPERM, killed=("mount",))),
    ("seccomp-filter", FailedStep(EPERM, "clone", CLONE), DOCKER),
    ("seccomp-filter", FailedStep(EPERM, "clone", CLONE_USER), KUBERNETES),
    ("seccomp-filter", FailedStep(EPERM, "propagation", PRIVATE), replace(ROOT, mount=EPERM)),
    ("seccomp-filter", FailedStep(EPERM, "exec init", EXEC_INIT), replace(ROOT, execveat=EPERM)),
    ("ubuntu-apparmor", uid_map((0, 1000, 1)), UBUNTU),
    ("ubuntu-apparmor", FailedStep(EACCES, "propagation", PRIVATE), GITHUB),
    ("ubuntu-apparmor", FailedStep(EPERM, "loopback", asked("SIOCSIFFLAGS")), UBUNTU),
    ("apparmor-profile", FailedStep(EACCES, "propagation", PRIVATE), replace(DOCKER, mount=14)),
    ("selinux", FailedStep(EACCES, "clone", CLONE_USER), RHEL_CONTAINER),
    ("userns-switched-off", FailedStep(EPERM, "clone", CLONE_USER), replace(USER, unprivileged_userns_clone="0")),
    ("no-capability", FailedStep(EPERM, "clone", CLONE), USER),
    ("unmapped-caller", FailedStep(EPERM, "clone", CLONE_USER), replace(USER, gid_map=())),
    ("unmapped-caller", FailedStep(EPERM, "clone", CLONE_USER), replace(USER, uid_map=((0, 1000, 1),), uid=65534)),
    ("chroot", FailedStep(EPERM, "clone", CLONE_USER), replace(USER, root_is_mount=False)),
    ("limit-zero", FailedStep(ENOSPC, "clone", CLONE), replace(ROOT, limits={"pid": 0, "mount": 0})),
    ("limit-reached", FailedStep(ENOSPC, "clone", CLONE), replace(ROOT, limits={"pid": 10, "mount": 10})),
    ("too-deep", FailedStep(ENOSPC, "clone", CLONE), replace(ROOT, pid_depth=33)),
    ("missing-kind", FailedStep(EINVAL, "unshare time", UNSHARE_TIME), replace(ROOT, kinds=("user", "mount"))),
    ("dead-pid-namespace", FailedStep(ENOMEM, "clone", CLONE), replace(ROOT, children_born_into="dead")),
    ("moved-pid-namespace", FailedStep(EINVAL, "clone", CLONE), replace(ROOT, children_born_into="unborn")),
    ("task-limit", FailedStep(EAGAIN, "fork", CLONE), replace(USER, task_limits=(("RLIMIT_NPROC", 30, 30),))),
    ("no-exec-from-memory", FailedStep(EACCES, "exec init", EXEC_INIT), replace(ROOT, memfd_noexec="2")),
    ("init-changed", FailedStep(ETXTBSY, "await maps"), USER),
    ("map-of-somebody-else", uid_map((0, 100000, 65536)), USER),
    ("map-of-somebody-else", uid_map((0, 100000, 65536)), UBUNTU),
    ("no-capability", FailedStep(EPERM, "clone", CLONE), UBUNTU),
    ("map-of-somebody-else", uid_map((0, 1000, 1), (1, 1001, 1)), USER),
    ("map-of-nobody", uid_map((0, 0, 1), (1, 100000, 9)), replace(ROOT, uid_map=((0, 1000, 1),))),
    ("map-of-root", uid_map((0, 0, 1)), replace(ROOT, effective=ROOT.effective & ~(1 << 31))),
    ("setgroups-given-up", FailedStep(EPERM, "setgroups", (Call("write", path="/proc/PID/setgroups", buf="allow"),)),
     replace(ROOT, setgroups="deny")),
    ("map-shape", uid_map((0, 10, 5), (3, 20, 5))._replace(errno=EINVAL), ROOT),
    ("map-shape", uid_map(*((n, n, 1) for n in range(341)))._replace(errno=EINVAL), ROOT),
    ("map-shape", uid_map((5, 4294967290, 100))._replace(errno=EINVAL), ROOT),
    ("no-proc", uid_map((0, 0, 1))._replace(errno=ENOENT), replace(ROOT, procs=())),
    ("other-proc", uid_map((0, 0, 1))._replace(errno=ENOENT), ROOT),
    ("read-only-proc", uid_map((0, 0, 1))._replace(errno=EROFS), replace(ROOT, procs=(ProcMount("/proc", (), True),))),
    ("no-directory", FailedStep(ENOTDIR, "mount proc", PROC), ROOT),
    ("landlock", FailedStep(EPERM, "propagation", PRIVATE), replace(ROOT, landlock=1)),
    ("masked-proc", FailedStep(EPERM, "mount proc", PROC),
     replace(USER, procs=(ProcMount("/proc", ("/proc/kcore",)),))),
    ("masked-proc", FailedStep(EPERM, "mount proc", PROC), replace(USER, procs=(ProcMount("/proc", (), True),))),
    ("no-visible-proc", FailedStep(EPERM, "mount proc", PROC), replace(USER, procs=())),
    ("foreign-pid-namespace", FailedStep(EPERM, "mount proc", PROC), USER),
    ("foreign-mount-namespace", FailedStep(EPERM, "detached mount", (Call("fsopen", fsname="mqueue"),)), USER),
    ("root-is-no-mount", FailedStep(EINVAL, "propagation", PRIVATE), replace(ROOT, root_is_mount=False)),
    ("no-pin-file", FailedStep(ENOENT, "pin"), ROOT),
    ("busy-target", FailedStep(EBUSY, "mount proc", PROC), ROOT),
    ("pid-max-value", FailedStep(EINVAL, "pid_max"), ROOT),
    ("sysctl-value", FailedStep(EINVAL, "sysctl"), ROOT),
    ("sysctl-missing", FailedStep(ENOENT, "sysctl"), ROOT),
    ("read-only-sysctl", FailedStep(EROFS, "sysctl"), ROOT),
    ("part-missing", FailedStep(EPERM, "lock capabilities"), ROOT),
    ("no-idmap", FailedStep(EINVAL, "idmap", (Call("mount_setattr", path="/proc"),)), ROOT),
    ("no-idmap-source", FailedStep(ENOENT, "idmap", (Call("mount_setattr", path="/x"),)), ROOT),
    ("part-missing", FailedStep(EOPNOTSUPP, "landlock"), ROOT),
    ("part-missing", FailedStep(ENOSYS, "session keyring"), ROOT),
    ("part-missing", FailedStep(EINVAL, "seccomp"), USER),
    ("landlock-layers", FailedStep(E2BIG, "landlock"), USER),
    ("key-quota", FailedStep(EDQUOT, "session keyring"), USER),
    ("read-only-sysctl", FailedStep(EROFS, "pid_max"), ROOT),
    ("clock-range", FailedStep(ERANGE, "clock offsets"), ROOT),
    ("no-clock-file", FailedStep(ENOENT, "clock offsets"), ROOT),
    ("target-gone", FailedStep(ESRCH, "open target", (Call("pidfd_open", pid=4711),)), ROOT),
    ("outside-own-namespace", FailedStep(EPERM, "open target", asked("NS_GET_PARENT")), ROOT),
    ("target-hidden", FailedStep(EACCES, "open target", asked("PIDFD_GET_NET_NAMESPACE")), USER),
    ("target-hidden", FailedStep(EACCES, "open target", opened("/proc/1/environ")), USER),
    ("closed-file", FailedStep(EACCES, "open target", opened("/root/net")), USER),
    ("closed-socket", FailedStep(EPERM, "open target", (Call("pidfd_getfd", targetfd=3),)), USER),
    ("no-socket", FailedStep(ENOTSOCK, "open target", (Call("pidfd_getfd", targetfd=3),)), ROOT),
    ("target-is-a-thread", FailedStep(ENOENT, "open target", (Call("pidfd_open", pid=4711),)), ROOT),
    ("target-is-a-thread", FailedStep(EINVAL, "open target", (Call("pidfd_open", pid=4711, flags=0),)), ROOT),
    ("no-such-directory", FailedStep(ENOENT, "chdir", (Call("chdir", path="/nonexistent"),)), ROOT),
    ("not-a-directory", FailedStep(ENOTDIR, "chroot", (Call("chroot", path="/etc/passwd"),)), ROOT),
    ("closed-directory", FailedStep(EACCES, "target wd", (Call("fchdir", fd={"file": "/root"}),)), USER),
    ("no-right-to-chroot", FailedStep(EPERM, "chroot", (Call("chroot", path="/srv"),)), USER),
    (
        "no-right-to-join-mounts", FailedStep(EPERM, "join mount", setns("CLONE_NEWNS")),
        replace(ROOT, effective=ROOT.effective & ~(1 << 18)),
    ),
    ("foreign-owner", FailedStep(EPERM, "join cgroup", setns("CLONE_NEWCGROUP")), ROOT),
    ("foreign-cgroup", FailedStep(EPERM, "join cgroup", (Call("write", path="cgroup.procs", buf="0"),)), ROOT),
    ("no-namespace-file", FailedStep(ENOENT, "open target", opened("/run/netns/a")), ROOT),
    ("dead-target", FailedStep(ESRCH, "join pid", asked("NS_GET_PID_FROM_PIDNS")), ROOT),
    ("dead-target", FailedStep(ENOMEM, "descend", (Call("clone", flags=("CLONE_PIDFD",)),)), ROOT),
    ("groups-cannot-be-dropped", FailedStep(EPERM, "drop groups", (Call("setgroups", list=[]),)), USER),
    ("not-the-owner", FailedStep(EPERM, "join user", setns("CLONE_NEWUSER")), USER),
    ("no-right-to-join", FailedStep(EPERM, "join net", setns("CLONE_NEWNET")), USER),
    ("foreign-owner", FailedStep(EPERM, "join net", setns("CLONE_NEWNET")), ROOT),
    ("no-number-inside", FailedStep(EINVAL, "become root", (Call("setresuid", real=0),)), ROOT),
    ("not-below", FailedStep(EINVAL, "join pid", setns("CLONE_NEWPID")), ROOT),
    ("cannot-change-users", FailedStep(EINVAL, "join user", setns("CLONE_NEWUSER")), ROOT),
    ("shared-directories", FailedStep(EINVAL, "join mount", setns("CLONE_NEWNS")), ROOT),
    ("time-and-threads", FailedStep(EUSERS, "join time", setns("CLONE_NEWTIME")), ROOT),
    ("proc-of-other-pids", FailedStep(EINVAL, "mount proc", PIDNS), ROOT),
    ("init-hides", FailedStep(EACCES, "clock offsets", ()), USER),
    ("no-right-to-pin", FailedStep(EPERM, "pin", ()), USER),
    ("cannot-unpin", FailedStep(EINVAL, "unpin", ()), ROOT),
    ("descriptor-limit", FailedStep(EMFILE, "prepare", ()), ROOT),
    ("descriptor-closed", FailedStep(EBADF, "descriptors"), ROOT),
    ("too-long", FailedStep(E2BIG, "exec init"), ROOT),
    ("no-terminal", FailedStep(ENOTTY, "controlling terminal"), ROOT),
    ("terminal-taken", FailedStep(EIO, "controlling terminal"), ROOT),
    ("id-not-mapped", FailedStep(EINVAL, "setuid"), USER),
    ("id-not-allowed", FailedStep(EPERM, "setuid"), USER),
    ("setgroups-denied", FailedStep(EPERM, "set groups"), ROOT),
    ("user-process-limit", FailedStep(EAGAIN, "setuid"), ROOT),
    ("foreign-group", FailedStep(EPERM, "setpgid"), ROOT),
    ("bug", FailedStep(EINVAL, "plan"), ROOT),
    ("no-helper", FailedStep(ENOENT, "uid_map", NEWUIDMAP), USER),
    ("powerless-helper", FailedStep(EPERM, "uid_map", NEWUIDMAP, "newuidmap: write to uid_map failed"),
     replace(USER, no_new_privs=True)),
    ("ids-not-granted", FailedStep(EPERM, "gid_map", NEWGIDMAP, "gid range [0-1) -> [5-6) not allowed"), USER),
    ("helper-refuses", FailedStep(EPERM, "uid_map", NEWUIDMAP, "Cannot determine your user name."), USER),
    ("unknown-call", FailedStep(ENOSYS, "bind", BIND, SOURCE), ROOT),
    ("no-source", FailedStep(ENOENT, "source", BIND, SOURCE), ROOT),
    ("source-in-new-mount", FailedStep(ENOENT, "source", BIND, SOURCE_BELOW_TARGET), ROOT),
    ("locked-below", FailedStep(EINVAL, "source", BIND, SOURCE), USER),
    ("hidden-directory", FailedStep(ENOENT, "directory", (Call("chdir", path="/hidden"),)), ROOT),
    ("no-root", FailedStep(ENOENT, "root", (), TARGET), ROOT),
    ("no-target", FailedStep(ENOENT, "bind", BIND, TARGET), ROOT),
    ("no-target", FailedStep(ENOENT, "mount proc", (), TARGET), ROOT),
    ("unreachable", FailedStep(EACCES, "source", BIND, SOURCE), USER),
    ("unreachable", FailedStep(EACCES, "tmpfs", (), TARGET), USER),
    ("no-path", FailedStep(ELOOP, "tmpfs", (), TARGET), ROOT),
    ("moving-target", FailedStep(EAGAIN, "tmpfs", (), TARGET), ROOT),
    ("unlike", FailedStep(EINVAL, "bind", BIND, "mounting it there"), ROOT),
    ("no-file-system", FailedStep(ENODEV, "layers", OVERLAY, "making the file system"), ROOT),
    ("no-layer", FailedStep(ENOENT, "layers", (), "an option"), ROOT),
    ("unfit-layers", FailedStep(EINVAL, "layers", (), "making the file system"), ROOT),
    ("unfit-lower-layer", FailedStep(EINVAL, "layers", IN_MEMORY, "making the file system"), USER),
    ("root-stays", FailedStep(EINVAL, "pivot root", (), "mounting it there"), ROOT),
    ("foreign-pid-namespace", FailedStep(EPERM, "proc", (), "making the file system"), USER),
    ("limit-too-high", FailedStep(EPERM, "rlimit", (Call("prlimit", pid=0, resource=("RLIMIT_NOFILE",)),)), USER),
    ("too-many-cgroups", FailedStep(EAGAIN, "cgroup"), ROOT),
    ("foreign-cgroup", FailedStep(EACCES, "join cgroup", (Call("write", path="cgroup.procs", buf="0"),)), USER),
    ("cgroup-gone", FailedStep(ENODEV, "join cgroup", (Call("write", path="cgroup.procs", buf="0"),)), USER),
    ("cgroup-limit-value", FailedStep(EINVAL, "cgroup", (Call("write", path="cpu.max", buf="1 100000"),)), ROOT),
    ("cgroup-of-cgroups", FailedStep(EBUSY, "join cgroup", (Call("write", path="cgroup.procs", buf="0"),)), ROOT),
    ("unreachable-pin", FailedStep(EACCES, "pin", ()), USER),
    ("landlock", FailedStep(EPERM, "pin", ()), replace(ROOT, landlock=1)),
    ("descriptor-limit", FailedStep(ENFILE, "socket", (Call("socket", domain=("AF_INET",)),)), ROOT),
    ("descriptor-above-limit", FailedStep(EINVAL, "descriptors", (), "descriptor 1001"), ROOT),
    ("file-size-limit", FailedStep(EFBIG, "prepare", (Call("write"),)), ROOT),
    ("init-ended", FailedStep(ECONNRESET, "init", (), "nsbox-init was killed by signal 9"), ROOT),
    ("stopped-in-setup", FailedStep(ETIMEDOUT, "start", CLONE), ROOT),
    ("ended-in-setup", FailedStep(ESRCH, "new user", (Call("clone", flags=("CLONE_NEWUSER", "SIGCHLD")),)), ROOT),
    ("ended-in-setup", FailedStep(ETIMEDOUT, "unshare time", (Call("unshare", flags=("CLONE_NEWTIME",)),)), ROOT),
    ("init-stopped", FailedStep(ETIMEDOUT, "request", (), "nsbox-init is stopped"), ROOT),
    ("long-host-name", FailedStep(EINVAL, "hostname", (Call("sethostname", name="a" * 65, len=65),)), ROOT),
    ("no-ipv4", FailedStep(EAFNOSUPPORT, "loopback"), ROOT),
    ("pid-max-value", FailedStep(EINVAL, "write", (Call("write", path="/proc/sys/kernel/pid_max", buf="5"),)), ROOT),
    ("too-many-links", FailedStep(ELOOP, "mount", mount("/loop", "tmpfs")), ROOT),
    ("name-too-long", FailedStep(ENAMETOOLONG, "open", opened("/" + "a" * 300)), ROOT),
    ("mount-limit", FailedStep(ENOSPC, "mount", mount("/b", None, "MS_BIND", "MS_REC")), ROOT),
    ("no-file-system", FailedStep(ENODEV, "mount", mount("/b", "ext5")), ROOT),
    ("no-directory", FailedStep(ENOENT, "mount", mount("/b", "tmpfs")), ROOT),
    ("no-directory", FailedStep(ENOTDIR, "mount shm", mount("/b", "tmpfs")), ROOT),
    ("no-bind-path", FailedStep(ENOENT, "mount", mount("/b", None, "MS_BIND")), ROOT),
    ("unlike", FailedStep(ENOTDIR, "mount", mount("/b", None, "MS_BIND")), ROOT),
    ("unreachable", FailedStep(EACCES, "mount", mount("/b", "tmpfs")), USER),
    ("locked-below", FailedStep(EINVAL, "mount", mount("/b", None, "MS_BIND")), USER),
    ("not-a-mount-point", FailedStep(EINVAL, "mount", mount("/b", None, "MS_REMOUNT", "MS_RDONLY")), ROOT),
    ("not-a-mount-point", FailedStep(EINVAL, "mount", mount("/b", None, "MS_PRIVATE")), ROOT),
    ("not-a-mount-point", FailedStep(EINVAL, "mount", mount("/b", None, "MS_MOVE")), ROOT),
    ("no-type", FailedStep(EINVAL, "mount", mount("/b", None)), ROOT),
    ("file-system-refuses", FailedStep(EINVAL, "mount", mount("/b", "overlay")), ROOT),
    ("foreign-file-system", FailedStep(EPERM, "mount", mount("/b", "sysfs")), USER),
    ("file-system-for-root", FailedStep(EPERM, "mount", mount("/b", "ext4")), USER),
    ("no-block-device", FailedStep(ENOTBLK, "mount", mount("/b", "ext4")), ROOT),
    ("read-only-device", FailedStep(EROFS, "mount", mount("/b", "ext4")), ROOT),
    ("open-for-writing", FailedStep(EBUSY, "mount", mount("/b", None, "MS_REMOUNT", "MS_RDONLY")), ROOT),
    ("busy-target", FailedStep(EBUSY, "mount", mount("/b", "ext4")), ROOT),
    ("not-mounted", FailedStep(EINVAL, "unmount", (Call("umount2", target="/b", flags=()),)), ROOT),
    ("mount-in-use", FailedStep(EBUSY, "unmount", (Call("umount2", target="/b", flags=()),)), ROOT),
    ("no-such-file", FailedStep(ENOENT, "unmount", (Call("umount2", target="/b", flags=()),)), ROOT),
    ("no-such-file", FailedStep(ENOTDIR, "open", opened("/etc/passwd/a")), ROOT),
    ("closed-path", FailedStep(EACCES, "open", opened("/etc/shadow")), USER),
    ("special-file", FailedStep(ENXIO, "open", opened("/run/socket")), ROOT),
    ("no-reply-in-time", FailedStep(ETIMEDOUT, "open", opened("/mnt/file")), USER),
    ("no-reply-in-time", FailedStep(ETIMEDOUT, "init", (Call("recvmsg"),)), USER),
    ("helper-killed", FailedStep(ECANCELED, "mount", mount("/b", "tmpfs")), USER),
    ("no-lookup-now", FailedStep(EAGAIN, "open", opened("/mnt/file")), USER),
    ("file-too-large", FailedStep(EFBIG, "open", opened("/dev/zero")), ROOT),
    ("a-directory", FailedStep(EISDIR, "open", opened("/etc")), ROOT),
    ("covered-proc", FailedStep(ENOENT, "open", opened("/proc")), ROOT),
    ("covered-file", FailedStep(EXDEV, "read", (Call("read", path="/proc/sys/kernel/hostname"),)), USER),
    ("no-proc-in-box", FailedStep(EBADF, "read", (Call("read", path="/proc/sys/kernel/hostname"),)), USER),
    ("no-address-family", FailedStep(EAFNOSUPPORT, "socket", (Call("socket", domain=45, type=("SOCK_DGRAM",)),)), ROOT),
    ("no-such-socket", FailedStep(EPROTONOSUPPORT, "socket", (Call("socket", domain=("AF_INET",), type=7),)), ROOT),
    ("no-right-to-socket", FailedStep(EPERM, "socket", (Call("socket", domain=("AF_INET",), type=3),)), USER),
    ("no-namespace-file", FailedStep(ENXIO, "open target", opened("/run/socket")), ROOT),
    ("no-proc", FailedStep(ENOENT, "open own", opened("/proc/thread-self/ns/uts")), replace(ROOT, procs=())),
    ("foreign-network", FailedStep(EPERM, "veth", sent("RTM_NEWLINK")), USER),
    ("interface-exists", FailedStep(EEXIST, "veth", sent("RTM_NEWLINK")), ROOT),
    ("interface-gone", FailedStep(ENODEV, "carrier", sent("RTM_GETLINK")), ROOT),
    ("address-taken", FailedStep(EEXIST, "address", sent("RTM_NEWADDR", address="10.0.0.1/24")), ROOT),
    ("ipv6-off", FailedStep(EACCES, "address", sent("RTM_NEWADDR", address="fd00::1/64")), ROOT),
    ("unusable-address", FailedStep(EADDRNOTAVAIL, "address", sent("RTM_NEWADDR", address="ff02::1/64")), ROOT),
    (
        "route-exists",
        FailedStep(EEXIST, "route", sent("RTM_NEWROUTE", destination="10.0.0.0/24", gateway="10.0.0.2")),
        ROOT,
    ),
    (
        "router-not-reachable",
        FailedStep(ENETUNREACH, "route", sent("RTM_NEWROUTE", destination="10.0.0.0/24", gateway="192.0.2.2")),
        ROOT,
    ),
    ("no-carrier", FailedStep(ETIMEDOUT, "carrier", sent("RTM_GETLINK")), ROOT),
]  # fmt: skip

UNDECIDED: list[tuple[set[str], FailedStep, Evidence]] = [
    ({"chroot"}, FailedStep(EPERM, "clone", CLONE_USER), USER),
    ({"too-deep", "limit-reached"}, FailedStep(ENOSPC, "clone", CLONE), replace(ROOT, initial_user_namespace=False)),
    (
        {"limit-reached"},
        FailedStep(ENOSPC, "unshare", (Call("unshare", flags=("CLONE_NEWUTS",)),)),
        replace(ROOT, initial_user_namespace=False),
    ),
    ({"task-limit"}, FailedStep(EAGAIN, "clone", CLONE), ROOT),
    ({"out-of-memory"}, FailedStep(ENOMEM, "clone", CLONE), ROOT),
    ({"pin-refused"}, FailedStep(EINVAL, "pin"), ROOT),
    ({"hidden-process"}, uid_map((0, 0, 1))._replace(errno=EACCES), ROOT),
    ({"no-trace"}, FailedStep(EPERM, "propagation", PRIVATE), ROOT),
    ({"no-trace"}, FailedStep(EPERM, "hostname"), ROOT),
    ({"no-trace"}, FailedStep(EACCES, "keep capabilities"), USER),
    ({"out-of-memory"}, FailedStep(ENOBUFS, "socket"), USER),
    ({"root-is-no-mount"}, FailedStep(EINVAL, "propagation", PRIVATE), replace(ROOT, root_is_mount=None)),
]


@pytest.mark.parametrize(("cause", "failure", "evidence"), RECORDED, ids=[case[0] for case in RECORDED])
def test_recognised(cause: str, failure: FailedStep, evidence: Evidence) -> None:
    """The cause is named, with the evidence and the remedy, and all placeholders are filled."""
    found = explain(failure, evidence)
    assert found.cause == cause
    assert found.why
    assert found.hint
    assert not set("{}") & set(found.why + found.hint)


@pytest.mark.parametrize(
    ("candidates", "failure", "evidence"), UNDECIDED, ids=[" ".join(sorted(case[0])) for case in UNDECIDED]
)
def test_undecided(candidates: set[str], failure: FailedStep, evidence: Evidence) -> None:
    """If the evidence is ambiguous, all possible causes are named as candidates."""
    found = explain(failure, evidence)
    assert found.cause == ""
    several = "the evidence does not decide between: "
    assert found.why.startswith(several if len(candidates) > 1 else "the evidence does not show it, but likely: ")
    assert all(CAUSES[name].title[1:] in found.why for name in candidates)
    assert found.why.count("; or ") == len(candidates) - 1
    assert found.hint


def test_no_cause_without_a_test() -> None:
    """Each cause is recognised in a case above, or is a candidate in one."""
    assert {case[0] for case in RECORDED}.union(*(case[0] for case in UNDECIDED)) == set(CAUSES)


@pytest.mark.parametrize("failure", [failure for _, failure, _ in RECORDED], ids=lambda failure: failure.step)
def test_a_machine_without_faults(failure: FailedStep) -> None:
    """Causes that would be visible on the machine are not named if they are not seen."""
    accusing = {
        "not-linux", "seccomp-filter", "ubuntu-apparmor", "apparmor-profile", "selinux", "userns-switched-off",
        "limit-zero", "missing-kind", "dead-pid-namespace", "moved-pid-namespace", "task-limit", "no-exec-from-memory",
        "landlock", "masked-proc", "no-visible-proc", "read-only-proc", "no-proc", "no-capability", "unmapped-caller",
        "chroot",
    }  # fmt: skip
    assert explain(failure, ROOT).cause not in accusing


@pytest.mark.parametrize(
    ("evidence", "failure", "words"),
    [
        (DOCKER, FailedStep(EPERM, "clone", CLONE), "docker run --security-opt seccomp=unconfined"),
        (KUBERNETES, FailedStep(EPERM, "clone", CLONE), "seccompProfile"),
        (
            replace(KUBERNETES, places=("jupyterhub", "kubernetes")),
            FailedStep(EPERM, "clone", CLONE),
            "ask the administrator of the hub",
        ),
        (replace(DOCKER, places=("podman",)), FailedStep(EPERM, "clone", CLONE), "podman run"),
        (GITHUB, uid_map((0, 1000, 1)), "add a step before this one"),
        (UBUNTU, uid_map((0, 1000, 1)), "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
        (replace(UBUNTU, places=("docker", "ubuntu")), uid_map((0, 1000, 1)), "both are needed"),
        (replace(ROOT, places=("rhel",), limits={"user": 0}), FailedStep(ENOSPC, "clone", CLONE_USER), "/etc/sysctl.d"),
        (
            replace(ROOT, places=("wsl2",), kinds=("user",)),
            FailedStep(EINVAL, "unshare", UNSHARE_TIME),
            "wsl --update",
        ),
    ],
    ids=lambda value: value.places[0] if isinstance(value, Evidence) else "",
)
def test_remedies_of_places(evidence: Evidence, failure: FailedStep, words: str) -> None:
    """The remedy depends on the kind of machine."""
    assert words in explain(failure, evidence).hint


def test_causes_are_complete() -> None:
    """Every cause has all its texts; its steps and places exist."""
    for cause in CAUSES.values():
        assert cause.steps <= set(STEP_NAMES), cause.name
        assert set(cause.places) <= set(PLACES), cause.name
        assert cause.meaning.endswith((".", '"')), cause.name
        assert not cause.title.endswith("."), cause.name
        for text in (cause.why, cause.remedy, *cause.places.values()):
            assert text.format(**cause.example), cause.name
            assert not text.endswith("."), cause.name
