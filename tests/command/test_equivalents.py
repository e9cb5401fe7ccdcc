"""The commands that have the same effect as the steps for maps, mounts and limits."""

from __future__ import annotations

import pytest
from nsbox import Bind, Limits, Overlay, Proc, Spec, Tmpfs, _core
from nsbox._core import Call
from nsbox.command.equivalents import command_for, unshare_line
from nsbox.namespaces.opened import Opened
from nsbox.records.steps import data_of
from nsbox.spec.kinds import KINDS
from nsbox.spec.mounts import NewMount
from nsbox.start.launch import Launch, plan_for

pytestmark = pytest.mark.pure

ROOT = _core.Facts(euid=0, egid=0, effective=2**41 - 1, permitted=2**41 - 1)
USER = _core.Facts(euid=1000, egid=1000)


def commands(spec: Spec, facts: _core.Facts, cgroup: _core.Cgroup | None = None) -> dict[str, str]:
    """Return the command of each step."""
    plan = _core.compile(spec, Launch(paths=(b"/bin/true",), argv=(b"true",)), facts, cgroup)
    return {step.name: command_for(step.name, data_of(step.calls)) for step in plan.steps}


@pytest.mark.parametrize(
    ("mount", "command"),
    [
        (Bind("/usr", "/my usr", read_only=True), "mount --rbind -o ro,nosuid,nodev /usr '/my usr'"),
        (Bind("/a", "/b", recursive=False, dev=True), "mount --bind -o nosuid /a /b"),
        (Tmpfs("/tmp", size=4096, mode=0o755), "mount -t tmpfs -o nosuid,nodev,mode=755,size=4096 tmpfs /tmp"),
        (Proc("/p"), "mount -t proc -o nosuid,nodev,noexec proc /p"),
        (Overlay("/o", ["/a", "/b"], "/u", "/w"), "mount --move OVERLAY /o"),
    ],
    ids=str,
)  # fmt: skip
def test_mounts(mount: NewMount, command: str) -> None:
    """As mount(8) takes them."""
    assert commands(Spec(mounts=[mount]), ROOT)[type(mount).__name__.lower()] == command


def test_layers() -> None:
    """An overlay is made before anything is mounted, with its upper layer in a directory or in memory."""
    found = commands(Spec(mounts=[Overlay("/o", ["/a", "/b"], "/u", "/w")]), ROOT)
    options = "nosuid,nodev,upperdir=/u,workdir=/w,lowerdir=/a:/b"
    assert found["layers"] == f"mount -t overlay -o {options} overlay OVERLAY"
    found = commands(Spec(root=Overlay(["/a"], size=4096)), ROOT)
    assert found["layers"] == (
        "mount -t tmpfs -o nosuid,nodev,mode=755,size=4096 tmpfs MEMORY; cd MEMORY; mkdir upper work; "
        "mount -t overlay -o nosuid,nodev,upperdir=upper,workdir=work,lowerdir=/a overlay OVERLAY"
    )
    assert found["root"] == "cd OVERLAY"


def test_read_only_root() -> None:
    """The attributes are set on all mounts."""
    found = commands(Spec(mounts=[Bind("/", "/", read_only=True), Tmpfs("/tmp")]), ROOT)
    assert found["root"] == "mount --rbind -o ro,nosuid / /; cd /"
    assert found["tmpfs"] == "mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs ./tmp"
    assert found["directory"] == "cd /"


def test_root() -> None:
    """The steps of pivot_root(8)."""
    found = commands(Spec(root="/srv", mount_proc=True), ROOT)
    assert found["root"] == "mount --rbind /srv /srv; cd /srv"
    assert found["mount proc"] == "mount -t proc -o nosuid,nodev,noexec proc ./proc"
    assert found["pivot root"] == "pivot_root . .; umount --lazy .; cd /"


def test_names() -> None:
    """Characters with a meaning in the shell are quoted, non-ASCII ones are kept; targets are below the root."""
    spec = Spec(root="/srv/a b", mounts=[Bind("/usr", "/my usr"), Tmpfs("/t\u00e9"), Proc("/p")])
    found = commands(spec, ROOT)
    assert found["root"] == "mount --rbind '/srv/a b' '/srv/a b'; cd '/srv/a b'"
    assert found["bind"] == "mount --rbind -o nosuid,nodev /usr './my usr'"
    assert found["tmpfs"] == "mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs './t\u00e9'"
    assert found["proc"] == "mount -t proc -o nosuid,nodev,noexec proc ./p"
    calls = data_of([Call("chroot", path=b"/a\xc3\xa9\xff")])
    assert command_for("chroot", calls) == "chroot '/a\u00e9\udcff'"


def test_joining() -> None:
    """The commands are nsenter(1), one namespace at a time."""
    joined = Opened(tuple((kind, 7) for kind in KINDS), root=8, wd=9)
    launch = Launch(paths=[b"/bin/true"], argv=[b"true"])
    plan = _core.compile(Spec(unshare=""), launch, ROOT, None, joined)
    found = {step.name: command_for(step.name, data_of(step.calls)) for step in plan.steps}
    assert found["join net"] == "nsenter --net=NAMESPACE PROGRAM"
    assert found["join cgroup"] == "nsenter --cgroup=NAMESPACE PROGRAM"
    assert found["join pid"] == "nsenter --no-fork --pid=NAMESPACE PROGRAM"
    assert found["join user"] == "nsenter --preserve-credentials --user=NAMESPACE PROGRAM"
    assert found["become root"] == "setpriv --reuid 0 --regid 0 --clear-groups PROGRAM"
    assert found["target root"] == "chroot DIRECTORY PROGRAM"
    assert found["target wd"] == "cd DIRECTORY"


@pytest.mark.parametrize(
    ("path", "arguments", "environment", "command"),
    [
        ("sh", ["sh", "-c", "a b"], ("environ",), "exec sh -c 'a b'"),
        ("/bin/bash", ["-bash"], ("environ",), "exec -a -bash /bin/bash"),
        (["/bin/make", "/usr/bin/make"], ["make", "x"], 4, "exec make x"),
        ("env", ["env"], [], "exec env -i env"),
        ("env", ["env"], [("A",), ("B",)], 'exec env -i A="$A" B="$B" env'),
        (("$SHELL",), [("-$SHELL",)], {"file": "/proc/5/environ"}, ""),
    ],
)
def test_programs(path: object, arguments: object, environment: object, command: str) -> None:
    """exec replaces the shell, with the program's name as its first argument."""
    calls = data_of([Call("execve", pathname=path, argv=arguments, envp=environment)])
    assert command_for("exec", calls) == command


def test_limits() -> None:
    """The commands are prlimit(1), and echo for files of the cgroup."""
    found = commands(Spec(rlimits={"core": (0, None)}), ROOT)
    assert found["rlimit"] == "prlimit --core=0:unlimited PROGRAM"
    found = commands(Spec(), ROOT, _core.Cgroup("/c/d", [("pids.max", "5", False)]))
    assert found["cgroup"] == "mkdir /c/d; echo 5 > /c/d/pids.max"
    plan = plan_for(Spec(limits=Limits(pids=5)), Launch(paths=(b"/bin/true",), argv=(b"true",)))
    assert plan.steps[0].call == 'mkdir("CGROUP"); write("pids.max", "5")'
    assert found["own cgroup"] == "rmdir CGROUP"
    assert found["join cgroup"] == "echo $$ > CGROUP/cgroup.procs"


def test_helpers() -> None:
    """They are commands."""
    assert commands(Spec(map_users=[(0, 100, 9)]), USER)["uid_map"] == "newuidmap PID 0 100 9"


def test_unshare_line() -> None:
    """The line has the options that unshare(1) has, and a note for those that it has not."""
    spec = Spec(map_users="auto", map_groups=[(0, 5, 1)], root="/srv", map_current_user=True, rlimits={"cpu": 1},
                mounts=[Tmpfs("/tmp")], limits={})  # fmt: skip
    line, missing = unshare_line(spec, ["sh"])
    for word in ("--map-users=auto", "--map-groups=0:5:1", "--root=/srv", "--map-current-user"):
        assert word in line.split()
    assert missing == ["mounts", "rlimits", "limits"]
    assert unshare_line(Spec(unshare="p", join=1), ["sh"])[1] == ["join"]
