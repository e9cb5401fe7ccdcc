"""What errors say, from recorded evidence: each cause where it is one, and none where the evidence does not decide."""

from __future__ import annotations

from dataclasses import replace
from errno import (
    E2BIG,
    EACCES,
    EAGAIN,
    EBADF,
    EBUSY,
    EINVAL,
    EIO,
    ELOOP,
    EMFILE,
    ENODEV,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOSYS,
    ENOTDIR,
    ENOTTY,
    EPERM,
    ERANGE,
    EROFS,
    ESRCH,
    EUSERS,
)  # fmt: skip
from typing import Any

import nsbox
import pytest
from nsbox import Bind, Overlay, Proc, Tmpfs, _core
from nsbox._core import Call
from nsbox.command.nsenter.request import entry_of
from nsbox.command.nsenter.steps import entering_steps
from nsbox.command.unshare.request import request_of
from nsbox.command.unshare.steps import steps_of
from nsbox.diagnosis.causes import CAUSES, Failure, explain
from nsbox.diagnosis.evidence import Evidence, ProcMount
from nsbox.diagnosis.places import PLACES
from nsbox.namespaces.opened import Opened
from nsbox.spec.kinds import KINDS
from nsbox.start.launch import Launch

from tests.support.machines import DOCKER, GITHUB, GVISOR, KUBERNETES, RHEL_CONTAINER, ROOT, UBUNTU, USER, WSL1
from tests.support.start import plan_for

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


def uid_map(*rows: tuple[int, int, int]) -> Failure:
    """Return the failure of a map with these rows."""
    return Failure(EPERM, "uid_map", (Call("write", path="/proc/PID/uid_map", buf=rows),))


def setns(flag: str) -> tuple[Call]:
    """Return the call that joins a namespace."""
    return (Call("setns", fd=7, nstype=(flag,)),)


def opened(path: str) -> tuple[Call]:
    """Return the call that opens a file."""
    return (Call("open", path=path, flags=("O_RDONLY",)),)


def asked(request: str) -> tuple[Call]:
    """Return the call of an ioctl."""
    return (Call("ioctl", op=(request,)),)


RECORDED: list[tuple[str, Failure, Evidence]] = [
    ("not-linux", Failure(EINVAL, "clone", CLONE), GVISOR),
    ("not-linux", Failure(EINVAL, "clone", CLONE_USER), WSL1),
    ("seccomp-filter", Failure(EPERM, "clone", CLONE), DOCKER),
    ("seccomp-filter", Failure(EPERM, "clone", CLONE_USER), KUBERNETES),
    ("seccomp-filter", Failure(EPERM, "propagation", PRIVATE), replace(ROOT, mount=EPERM)),
    ("seccomp-filter", Failure(EPERM, "exec init", EXEC_INIT), replace(ROOT, execveat=EPERM)),
    ("ubuntu-apparmor", uid_map((0, 1000, 1)), UBUNTU),
    ("ubuntu-apparmor", Failure(EACCES, "propagation", PRIVATE), GITHUB),
    ("ubuntu-apparmor", Failure(EPERM, "loopback", asked("SIOCSIFFLAGS")), UBUNTU),
    ("apparmor-profile", Failure(EACCES, "propagation", PRIVATE), replace(DOCKER, mount=14)),
    ("selinux", Failure(EACCES, "clone", CLONE_USER), RHEL_CONTAINER),
    ("userns-switched-off", Failure(EPERM, "clone", CLONE_USER), replace(USER, unprivileged_userns_clone="0")),
    ("no-capability", Failure(EPERM, "clone", CLONE), USER),
    ("unmapped-caller", Failure(EPERM, "clone", CLONE_USER), replace(USER, gid_map=())),
    ("unmapped-caller", Failure(EPERM, "clone", CLONE_USER), replace(USER, uid_map=((0, 1000, 1),), uid=65534)),
    ("chroot", Failure(EPERM, "clone", CLONE_USER), replace(USER, root_is_mount=False)),
    ("limit-zero", Failure(ENOSPC, "clone", CLONE), replace(ROOT, limits={"pid": 0, "mount": 0})),
    ("limit-reached", Failure(ENOSPC, "clone", CLONE), replace(ROOT, limits={"pid": 10, "mount": 10})),
    ("too-deep", Failure(ENOSPC, "clone", CLONE), replace(ROOT, pid_depth=33)),
    ("missing-kind", Failure(EINVAL, "unshare time", UNSHARE_TIME), replace(ROOT, kinds=("user", "mount"))),
    ("dead-pid-namespace", Failure(ENOMEM, "clone", CLONE), replace(ROOT, children_born_into="dead")),
    ("moved-pid-namespace", Failure(EINVAL, "clone", CLONE), replace(ROOT, children_born_into="unborn")),
    ("task-limit", Failure(EAGAIN, "fork", CLONE), replace(USER, task_limits=(("RLIMIT_NPROC", 30, 30),))),
    ("no-exec-from-memory", Failure(EACCES, "exec init", EXEC_INIT), replace(ROOT, memfd_noexec="2")),
    ("map-of-somebody-else", uid_map((0, 100000, 65536)), USER),
    ("map-of-somebody-else", uid_map((0, 100000, 65536)), UBUNTU),
    ("no-capability", Failure(EPERM, "clone", CLONE), UBUNTU),
    ("map-of-somebody-else", uid_map((0, 1000, 1), (1, 1001, 1)), USER),
    ("map-of-nobody", uid_map((0, 0, 1), (1, 100000, 9)), replace(ROOT, uid_map=((0, 1000, 1),))),
    ("map-of-root", uid_map((0, 0, 1)), replace(ROOT, effective=ROOT.effective & ~(1 << 31))),
    ("setgroups-given-up", Failure(EPERM, "setgroups", (Call("write", path="/proc/PID/setgroups", buf="allow"),)),
     replace(ROOT, setgroups="deny")),
    ("map-shape", uid_map((0, 10, 5), (3, 20, 5))._replace(errno=EINVAL), ROOT),
    ("map-shape", uid_map(*((n, n, 1) for n in range(341)))._replace(errno=EINVAL), ROOT),
    ("map-shape", uid_map((5, 4294967290, 100))._replace(errno=EINVAL), ROOT),
    ("no-proc", uid_map((0, 0, 1))._replace(errno=ENOENT), replace(ROOT, procs=())),
    ("other-proc", uid_map((0, 0, 1))._replace(errno=ENOENT), ROOT),
    ("read-only-proc", uid_map((0, 0, 1))._replace(errno=EROFS), replace(ROOT, procs=(ProcMount("/proc", (), True),))),
    ("no-directory", Failure(ENOTDIR, "mount proc", PROC), ROOT),
    ("landlock", Failure(EPERM, "propagation", PRIVATE), replace(ROOT, landlock=1)),
    ("masked-proc", Failure(EPERM, "mount proc", PROC), replace(USER, procs=(ProcMount("/proc", ("/proc/kcore",)),))),
    ("masked-proc", Failure(EPERM, "mount proc", PROC), replace(USER, procs=(ProcMount("/proc", (), True),))),
    ("no-visible-proc", Failure(EPERM, "mount proc", PROC), replace(USER, procs=())),
    ("foreign-pid-namespace", Failure(EPERM, "mount proc", PROC), USER),
    ("foreign-mount-namespace", Failure(EPERM, "detached mount", (Call("fsopen", fsname="mqueue"),)), USER),
    ("root-is-no-mount", Failure(EINVAL, "propagation", PRIVATE), replace(ROOT, root_is_mount=False)),
    ("no-pin-file", Failure(ENOENT, "pin"), ROOT),
    ("busy-target", Failure(EBUSY, "mount proc", PROC), ROOT),
    ("pid-max-value", Failure(EINVAL, "pid_max"), ROOT),
    ("read-only-sysctl", Failure(EROFS, "pid_max"), ROOT),
    ("clock-range", Failure(ERANGE, "clock offsets"), ROOT),
    ("no-clock-file", Failure(ENOENT, "clock offsets"), ROOT),
    ("target-gone", Failure(ESRCH, "open target", (Call("pidfd_open", pid=4711),)), ROOT),
    ("outside-own-namespace", Failure(EPERM, "open target", asked("NS_GET_PARENT")), ROOT),
    ("target-hidden", Failure(EACCES, "open target", asked("PIDFD_GET_NET_NAMESPACE")), USER),
    ("target-hidden", Failure(EACCES, "open target", opened("/proc/1/environ")), USER),
    ("closed-file", Failure(EACCES, "open target", opened("/root/net")), USER),
    ("target-is-a-thread", Failure(ENOENT, "open target", (Call("pidfd_open", pid=4711),)), ROOT),
    ("target-is-a-thread", Failure(EINVAL, "open target", (Call("pidfd_open", pid=4711, flags=0),)), ROOT),
    ("no-such-directory", Failure(ENOENT, "chdir", (Call("chdir", path="/nonexistent"),)), ROOT),
    ("not-a-directory", Failure(ENOTDIR, "chroot", (Call("chroot", path="/etc/passwd"),)), ROOT),
    ("closed-directory", Failure(EACCES, "target wd", (Call("fchdir", fd={"file": "/root"}),)), USER),
    ("no-right-to-chroot", Failure(EPERM, "chroot", (Call("chroot", path="/srv"),)), USER),
    (
        "no-right-to-join-mounts", Failure(EPERM, "join mount", setns("CLONE_NEWNS")),
        replace(ROOT, effective=ROOT.effective & ~(1 << 18)),
    ),
    ("foreign-owner", Failure(EPERM, "join cgroup", setns("CLONE_NEWCGROUP")), ROOT),
    ("foreign-cgroup", Failure(EPERM, "join cgroup", (Call("write", path="cgroup.procs", buf="0"),)), ROOT),
    ("no-namespace-file", Failure(ENOENT, "open target", opened("/run/netns/a")), ROOT),
    ("dead-target", Failure(ESRCH, "join pid", asked("NS_GET_PID_FROM_PIDNS")), ROOT),
    ("dead-target", Failure(ENOMEM, "descend", (Call("clone", flags=("CLONE_PIDFD",)),)), ROOT),
    ("groups-cannot-be-dropped", Failure(EPERM, "drop groups", (Call("setgroups", list=[]),)), USER),
    ("not-the-owner", Failure(EPERM, "join user", setns("CLONE_NEWUSER")), USER),
    ("no-right-to-join", Failure(EPERM, "join net", setns("CLONE_NEWNET")), USER),
    ("foreign-owner", Failure(EPERM, "join net", setns("CLONE_NEWNET")), ROOT),
    ("not-below", Failure(EINVAL, "join pid", setns("CLONE_NEWPID")), ROOT),
    ("cannot-change-users", Failure(EINVAL, "join user", setns("CLONE_NEWUSER")), ROOT),
    ("shared-directories", Failure(EINVAL, "join mount", setns("CLONE_NEWNS")), ROOT),
    ("time-and-threads", Failure(EUSERS, "join time", setns("CLONE_NEWTIME")), ROOT),
    ("proc-of-other-pids", Failure(EINVAL, "mount proc", PIDNS), ROOT),
    ("init-hides", Failure(EACCES, "clock offsets", ()), USER),
    ("no-right-to-pin", Failure(EPERM, "pin", ()), USER),
    ("cannot-unpin", Failure(EINVAL, "unpin", ()), ROOT),
    ("descriptor-limit", Failure(EMFILE, "prepare", ()), ROOT),
    ("descriptor-closed", Failure(EBADF, "descriptors"), ROOT),
    ("too-long", Failure(E2BIG, "exec init"), ROOT),
    ("no-terminal", Failure(ENOTTY, "controlling terminal"), ROOT),
    ("terminal-taken", Failure(EIO, "controlling terminal"), ROOT),
    ("id-not-mapped", Failure(EINVAL, "setuid"), USER),
    ("id-not-allowed", Failure(EPERM, "setuid"), USER),
    ("setgroups-denied", Failure(EPERM, "set groups"), ROOT),
    ("user-process-limit", Failure(EAGAIN, "setuid"), ROOT),
    ("foreign-group", Failure(EPERM, "setpgid"), ROOT),
    ("bug", Failure(EINVAL, "plan"), ROOT),
    ("no-helper", Failure(ENOENT, "uid_map", NEWUIDMAP), USER),
    ("powerless-helper", Failure(EPERM, "uid_map", NEWUIDMAP, "newuidmap: write to uid_map failed"),
     replace(USER, no_new_privs=True)),
    ("ids-not-granted", Failure(EPERM, "gid_map", NEWGIDMAP, "gid range [0-1) -> [5-6) not allowed"), USER),
    ("helper-refuses", Failure(EPERM, "uid_map", NEWUIDMAP, "Cannot determine your user name."), USER),
    ("old-mount-calls", Failure(ENOSYS, "bind", BIND, SOURCE), ROOT),
    ("no-source", Failure(ENOENT, "bind", BIND, SOURCE), ROOT),
    ("locked-below", Failure(EINVAL, "bind", BIND, SOURCE), USER),
    ("no-root", Failure(ENOENT, "root", (), TARGET), ROOT),
    ("no-target", Failure(ENOENT, "bind", BIND, TARGET), ROOT),
    ("no-target", Failure(ENOENT, "mount proc", (), TARGET), ROOT),
    ("unreachable", Failure(EACCES, "bind", BIND, SOURCE), USER),
    ("unreachable", Failure(EACCES, "tmpfs", (), TARGET), USER),
    ("no-path", Failure(ELOOP, "tmpfs", (), TARGET), ROOT),
    ("moving-target", Failure(EAGAIN, "tmpfs", (), TARGET), ROOT),
    ("unlike", Failure(EINVAL, "bind", BIND, "mounting it there"), ROOT),
    ("no-file-system", Failure(ENODEV, "overlay", OVERLAY, "making the file system"), ROOT),
    ("no-layer", Failure(ENOENT, "overlay", (), "an option"), ROOT),
    ("unfit-layers", Failure(EINVAL, "overlay", (), "making the file system"), ROOT),
    ("root-stays", Failure(EINVAL, "pivot root", (), "mounting it there"), ROOT),
    ("foreign-pid-namespace", Failure(EPERM, "proc", (), "making the file system"), USER),
    ("limit-too-high", Failure(EPERM, "rlimit", (Call("prlimit", pid=0, resource=("RLIMIT_NOFILE",)),)), USER),
    ("too-many-cgroups", Failure(EAGAIN, "cgroup"), ROOT),
    ("foreign-cgroup", Failure(EACCES, "join cgroup", (Call("write", path="cgroup.procs", buf="0"),)), USER),
]  # fmt: skip

UNDECIDED: list[tuple[set[str], Failure, Evidence]] = [
    ({"chroot"}, Failure(EPERM, "clone", CLONE_USER), USER),
    ({"too-deep", "limit-reached"}, Failure(ENOSPC, "clone", CLONE), replace(ROOT, initial_user_namespace=False)),
    (
        {"limit-reached"},
        Failure(ENOSPC, "unshare", (Call("unshare", flags=("CLONE_NEWUTS",)),)),
        replace(ROOT, initial_user_namespace=False),
    ),
    ({"task-limit"}, Failure(EAGAIN, "clone", CLONE), ROOT),
    ({"out-of-memory"}, Failure(ENOMEM, "clone", CLONE), ROOT),
    ({"pin-refused"}, Failure(EINVAL, "pin"), ROOT),
    ({"hidden-process"}, uid_map((0, 0, 1))._replace(errno=EACCES), ROOT),
    ({"no-mount-right"}, Failure(EPERM, "propagation", PRIVATE), ROOT),
    ({"no-mount-right"}, Failure(EPERM, "hostname"), ROOT),
    ({"root-is-no-mount"}, Failure(EINVAL, "propagation", PRIVATE), replace(ROOT, root_is_mount=None)),
]


@pytest.mark.parametrize(("cause", "failure", "evidence"), RECORDED, ids=[case[0] for case in RECORDED])
def test_recognised(cause: str, failure: Failure, evidence: Evidence) -> None:
    """The cause is named, with what was found and what to do, all braces filled."""
    found = explain(failure, evidence)
    assert found.cause == cause
    assert found.why
    assert found.hint
    assert not set("{}") & set(found.why + found.hint)


@pytest.mark.parametrize(
    ("candidates", "failure", "evidence"), UNDECIDED, ids=[" ".join(sorted(case[0])) for case in UNDECIDED]
)
def test_undecided(candidates: set[str], failure: Failure, evidence: Evidence) -> None:
    """Nothing is guessed: all that comes into question is named, as candidates."""
    found = explain(failure, evidence)
    assert found.cause == ""
    several = "the evidence does not decide between: "
    assert found.why.startswith(several if len(candidates) > 1 else "the evidence does not show it, but likely: ")
    assert all(CAUSES[name].title[1:] in found.why for name in candidates)
    assert found.why.count("; or ") == len(candidates) - 1
    assert found.hint


def test_no_cause_without_a_test() -> None:
    """Each is recognised somewhere above, or is a candidate."""
    assert {case[0] for case in RECORDED}.union(*(case[0] for case in UNDECIDED)) == set(CAUSES)


@pytest.mark.parametrize("failure", [failure for _, failure, _ in RECORDED], ids=lambda failure: failure.step)
def test_a_clean_machine_is_not_accused(failure: Failure) -> None:
    """What would have to be seen on the machine is not said of one where there is nothing to see."""
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
        (DOCKER, Failure(EPERM, "clone", CLONE), "docker run --security-opt seccomp=unconfined"),
        (KUBERNETES, Failure(EPERM, "clone", CLONE), "seccompProfile"),
        (
            replace(KUBERNETES, places=("jupyterhub", "kubernetes")),
            Failure(EPERM, "clone", CLONE),
            "whoever runs the hub",
        ),
        (replace(DOCKER, places=("podman",)), Failure(EPERM, "clone", CLONE), "podman run"),
        (GITHUB, uid_map((0, 1000, 1)), "add a step before this one"),
        (UBUNTU, uid_map((0, 1000, 1)), "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
        (replace(UBUNTU, places=("docker", "ubuntu")), uid_map((0, 1000, 1)), "both are needed"),
        (replace(ROOT, places=("rhel",), limits={"user": 0}), Failure(ENOSPC, "clone", CLONE_USER), "/etc/sysctl.d"),
        (
            replace(ROOT, places=("wsl2",), kinds=("user",)),
            Failure(EINVAL, "unshare", UNSHARE_TIME),
            "wsl --update",
        ),
    ],
    ids=lambda value: value.places[0] if isinstance(value, Evidence) else "",
)
def test_remedies_of_places(evidence: Evidence, failure: Failure, words: str) -> None:
    """What to do depends on where one is."""
    assert words in explain(failure, evidence).hint


def test_written_down_well() -> None:
    """Every cause has all its words; steps and places are ones that exist."""
    steps = {"prepare", "exec init", "plan", "pin", "unpin", "open target", "open own", "detached mount", *_all_steps()}
    for cause in CAUSES.values():
        assert cause.steps <= steps, cause.name
        assert set(cause.places) <= set(PLACES), cause.name
        assert cause.meaning.endswith((".", '"')), cause.name
        assert not cause.title.endswith("."), cause.name
        for text in (cause.why, cause.remedy, *cause.places.values()):
            assert text.format(**cause.example), cause.name
            assert not text.endswith("."), cause.name


def _all_steps() -> set[str]:
    options: list[dict[str, Any]] = [
        {"unshare": "UmpiunCT", "mount_proc": True, "hostname": "a", "domainname": "b", "pid_max": 400, "boottime": 1,
         "no_new_privs": True},
        {"unshare": "m", "fork": False},
        {"root": "/srv", "mounts": [Bind("/a", "/b"), Tmpfs("/c"), Overlay("/d", ["/e", "/f"]), Proc("/g")],
         "rlimits": {"cpu": 1}},
        {"unshare": "U", "map_users": [(0, 0, 1)], "map_groups": [(0, 0, 1)], "setgroups": "allow", "keep_caps": True},
    ]  # fmt: skip
    launch = {
        "cwd": b"/", "umask": 0, "start_new_session": True, "process_group": 0, "controlling_terminal": True,
        "groups": (), "gid": 0, "uid": 0,
    }  # fmt: skip
    plans: list[_core.Plan] = [plan_for(launch, **option) for option in options]
    cgroup = _core.Cgroup("CGROUP", [])
    launched = Launch(paths=[b"/a"], argv=[b"a"])
    plans.append(_core.compile(nsbox.Spec(), launched, _core.facts(), cgroup))
    joined = Opened(tuple((kind, 7) for kind in KINDS), root=8, wd=9)
    plans.append(_core.compile(nsbox.Spec(unshare="p"), launched, _core.facts(), None, joined))
    names = {step.name for plan in plans for step in plan.steps}
    names |= {step.name for step in steps_of(request_of(["--map-users=0:0:1", "--uts=/a", "-U", "-R/a"]))}
    return names | {step.name for step in entering_steps(entry_of(["-t", "1", "-a", "-U", "-r", "-c", "--keep-caps"]))}
