"""Plans as text, compared with files: plans are compiled without the kernel, so they can be reviewed here.

After a wanted change: `pytest tests/plan/test_compile.py --update-goldens`, and review the difference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Bind, Overlay, Proc, Tmpfs, _core
from nsbox.namespaces.opened import Opened
from nsbox.spec.kinds import KINDS
from nsbox.spec.limits import limits_of
from nsbox.start.cgroup import settings
from nsbox.start.launch import Launch

pytestmark = pytest.mark.pure

ALL = tuple((kind, 10 + number) for number, kind in enumerate(KINDS))
GOLDENS = Path(__file__).parent / "goldens"
EVERYTHING = 2**41 - 1
ROOT = _core.Facts(euid=0, egid=0, effective=EVERYTHING, permitted=EVERYTHING)
USER = _core.Facts(euid=1000, egid=100, sigmask=0x4000)
CAPABLE = _core.Facts(euid=1000, egid=100, effective=EVERYTHING, permitted=EVERYTHING, inheritable=0x1, ambient=0x1)

OLD = _core.Facts(euid=0, egid=0, effective=EVERYTHING, permitted=EVERYTHING, kernel=(6, 7))
MOUNTS = (
    Bind("/usr", "/usr", read_only=True), Bind("/dev", "/dev", dev=True, recursive=False), Tmpfs("/tmp", size=1 << 20),
    Tmpfs("/run", mode=0o755), Overlay("/etc", ["/etc"], "/u", "/w"), Overlay("/opt", ["/a:b", "/c"]), Proc("/proc2"),
)  # fmt: skip

CASES: dict[str, tuple[_core.Facts, dict[str, Any], dict[str, Any]]] = {
    "nothing": (ROOT, {"unshare": ""}, {}),
    "root": (ROOT, {"mount_proc": True}, {}),
    "rootless": (USER, {"mount_proc": True}, {}),
    "no-init": (ROOT, {"mount_proc": True, "init": False}, {}),
    "no-init-rootless": (USER, {"mount_proc": True, "init": False}, {}),
    "no-fork": (ROOT, {"fork": False}, {}),
    "no-fork-rootless": (USER, {"fork": False}, {}),
    "proc-alone": (ROOT, {"unshare": "p", "mount_proc": "/mnt/pro\tc"}, {}),
    "time": (ROOT, {"unshare": "T", "boottime": -1.5, "monotonic": 10}, {}),
    "time-no-fork": (ROOT, {"unshare": "T", "boottime": 5, "fork": False}, {}),
    "keep-caps": (USER, {"unshare": "m", "map_user": 7, "map_group": 8, "keep_caps": True}, {}),
    "ranges": (ROOT, {"unshare": "U", "map_users": [(0, 10, 5), (5, 0, 1)], "map_groups": [(0, 10, 5)]}, {}),
    "ranges-rootless": (
        USER, {"unshare": "U", "map_user": 7, "map_users": [(0, 10, 9)], "map_groups": [(3, 5, 1)]}, {},
    ),
    "own-ids": (USER, {"unshare": "U", "map_current_user": True, "setgroups": "deny"}, {}),
    "root-and-mounts": (ROOT, {"unshare": "p", "root": "/srv/\"box\"", "mounts": MOUNTS, "mount_proc": True}, {}),
    "mounts-rootless": (USER, {"unshare": "p", "mounts": MOUNTS, "init": False, "pid_max": 400}, {}),
    "overlay-in-one": (OLD, {"mounts": [Overlay("/mnt", ["/a:b", "/c\\d"], "/u", "/w")]}, {}),
    "limits": (ROOT, {"limits": nsbox.Limits(memory=1 << 20, pids=9, cpu=1.5)}, {}),
    "limits-no-fork": (USER, {"limits": nsbox.Limits(), "fork": False}, {}),
    "harden": (
        ROOT, {"harden": True, "map_users": [(0, 2**20, 65536)], "map_groups": [(0, 2**20, 65536)]},
        {"uid": 1000, "gid": 1000, "groups": ()},
    ),
    "harden-rootless": (USER, {"harden": True, "network": True, "sysctl": {"kernel.shmall": 9}, "pid_max": 400}, {}),
    "lock-mounts": (ROOT, {"unshare": "", "lock_mounts": True, "landlock": True, "keep_caps": True}, {}),
    "drop-capabilities": (USER, {"unshare": "", "drop_capabilities": True}, {}),
    "no-map": (ROOT, {"unshare": "U", "map_root_user": False}, {}),
    "capable-user": (CAPABLE, {"unshare": "mip"}, {}),
    "join": (ROOT, {"unshare": ""}, {"join": Opened(ALL)}),
    "join-rootless": (USER, {"unshare": ""}, {"join": Opened(ALL, root=20, wd=21)}),
    "join-added": (USER, {"unshare": ""}, {"join": Opened(ALL[:2], user_added=True)}),
    "join-no-pid": (ROOT, {"unshare": "mu"}, {"join": Opened((("net", 7),), preserve_credentials=True)}),
    "join-nested": (ROOT, {"mount_proc": True}, {"join": Opened((("pid", 7), ("user", 8)), preserve_credentials=True)}),
    "join-no-init": (ROOT, {"init": False}, {"join": Opened((("pid", 7), ("ipc", 8)))}),
    "join-no-fork": (USER, {"unshare": "i", "fork": False}, {"join": Opened(ALL)}),
    "everything": (
        USER,
        {
            "unshare": "UmpiunCT", "mount_proc": True, "propagation": "slave", "hostname": "box",
            "domainname": b"example\xff", "pid_max": 1000, "boottime": 100, "no_new_privs": True,
            "rlimits": {"nofile": 64, "cpu": (1, 2), "core": (0, None)},
        },
        {
            "env": (b"A=1", b"B=2"), "cwd": b"/tmp/\"quoted\"", "stdio": (5, 6, 6), "pass_fds": (7, 9),
            "start_new_session": True, "process_group": 0, "controlling_terminal": True, "umask": 0o27,
            "groups": (1, 2), "gid": 3, "uid": 4,
        },
    ),
}  # fmt: skip


def _plan(case: str) -> _core.Plan:
    facts, options, launch = CASES[case]
    usual: dict[str, Any] = {"paths": (b"/usr/bin/make", b"/bin/make"), "argv": (b"make", b"check"), "env": (b"A=1",)}
    spec = nsbox.Spec(**options)
    limits = limits_of(spec.limits)
    cgroup = None if limits is None else _core.Cgroup("/sys/fs/cgroup/nsbox-1-0", settings(limits))
    fields = usual | launch
    join = fields.pop("join", None)
    return _core.compile(spec, Launch(**fields), facts, cgroup, join)


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, request: pytest.FixtureRequest) -> None:
    """The plan is the one in the file."""
    text, file = str(_plan(case)), GOLDENS / f"{case}.txt"
    if request.config.getoption("--update-goldens"):
        file.write_text(text)
    assert text == file.read_text()


def test_no_golden_is_forgotten() -> None:
    """Every file belongs to a case."""
    assert {file.stem for file in GOLDENS.iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_every_step_explains_itself(case: str) -> None:
    """Each has a name, a call, a manual page and a reason; no two steps of one process share a name."""
    steps = _plan(case).steps
    assert [step.index for step in steps] == list(range(len(steps)))
    for step in steps:
        assert step.actor in ("caller", "init", "payload")
        assert all((step.name, step.call, step.manual, step.why))
    # Some steps can occur several times: their effects distinguish them.
    assert len({(step.actor, step.name, step.call) for step in steps}) == len(steps)


def test_order_of_what_would_be_dangerous() -> None:
    """Mounts are made private before any other mount; capabilities are dropped before the exec; maps precede both."""
    names = [step.name for step in _plan("everything").steps]
    for earlier, later in (
        ("uid_map", "propagation"), ("setgroups", "gid_map"), ("propagation", "mount proc"), ("unshare time", "fork"),
        ("clock offsets", "fork"), ("mount proc", "fork"), ("descriptors", "rlimit"), ("rlimit", "setuid"),
        ("setgid", "setuid"), ("setuid", "drop capabilities"), ("drop capabilities", "exec"), ("signals", "exec"),
    ):  # fmt: skip
        assert names.index(earlier) < names.index(later), (earlier, later)


def test_unsupported() -> None:
    """An option that an older kernel does not have is refused with the version that has it."""
    old = _core.Facts(euid=0, egid=0, effective=EVERYTHING, permitted=EVERYTHING, kernel=(6, 13))
    launch = Launch(paths=(b"/bin/true",), argv=(b"true",))
    with pytest.raises(nsbox.UnsupportedError, match=r"6\.14"):
        _core.compile(nsbox.Spec(unshare="p", pid_max=400), launch, old)


@pytest.mark.parametrize("options", [{"root": "/mnt"}, {"mounts": [Proc("/proc")]}])
def test_mounts_by_descriptor_are_required(options: dict[str, Any]) -> None:
    """Before mount_setattr(2) attributes could be set only after the mount is visible, so that is refused."""
    old = _core.Facts(euid=0, egid=0, effective=EVERYTHING, permitted=EVERYTHING, kernel=(5, 11))
    with pytest.raises(nsbox.UnsupportedError, match=rf"^{next(iter(options))}: .*5\.12"):
        _core.compile(nsbox.Spec(**options), Launch(paths=(b"/bin/true",), argv=(b"true",)), old)


def test_box_in_a_box() -> None:
    """The outer nsbox-init does what is done outside: it writes the maps, and then copies itself, without an exec."""
    spec = nsbox.Spec(unshare="Up")
    lines = str(_core.compile_box(spec, ROOT, None, None, True)).splitlines()
    begun = [(line[4:14].strip(), line[15:35].strip()) for line in lines]
    names = ["new user", "setgroups", "gid_map", "uid_map", "clone", "copy init"]
    assert begun == [*(("outer init", name) for name in names), ("init", "serve")]
    assert "execve" not in "".join(lines)
    assert "clone(CLONE_NEWUSER|CLONE_PIDFD|SIGCHLD)" in lines[0]
    assert "clone(CLONE_NEWPID|CLONE_PARENT|SIGCHLD)" in lines[4]


def test_clocks_of_a_box_in_a_box() -> None:
    """They are set through a process that is there for nothing else: the inner nsbox-init is never dumpable."""
    spec = nsbox.Spec(unshare="T", boottime=7)
    lines = str(_core.compile_box(spec, ROOT, None, None, True)).splitlines()
    assert [line[15:35].strip() for line in lines[2:]] == ["unshare time", "clock offsets", "serve"]
    assert "timens_offsets" in lines[3]
    assert "setns(" in lines[3]


def test_options_too_long_for_the_kernel() -> None:
    """fsconfig(2) takes 255 bytes, and would only fail with EINVAL."""
    launch = Launch(paths=(b"/bin/true",), argv=(b"true",))
    for lower, facts in ((["/" + "x" * 255, "/b"], ROOT), (["/" + "x" * 130, "/" + "y" * 130], OLD)):
        with pytest.raises(nsbox.SpecError, match=r"^mounts: lowerdir.* 255 bytes"):
            _core.compile(nsbox.Spec(mounts=[Overlay("/mnt", lower)]), launch, facts)
    _core.compile(nsbox.Spec(mounts=[Overlay("/mnt", ["/" + "x" * 254, "/b"])]), launch, ROOT)


@pytest.mark.parametrize(
    ("options", "joined", "reason"),
    [
        ({"unshare": "U"}, "user", "maps of a new user namespace"),
        ({"unshare": "p", "fork": False}, "pid", "cannot make another in it"),
        ({"unshare": ""}, "nothing", "no namespace is called"),
    ],
)
def test_joins_that_cannot_be(options: dict[str, Any], joined: str, reason: str) -> None:
    """A join that the kernel never allows is refused before anything is started."""
    launch = Launch(paths=[b"/bin/true"], argv=[b"true"])
    with pytest.raises(nsbox.SpecError, match=reason):
        _core.compile(nsbox.Spec(**options), launch, ROOT, None, Opened(((joined, 7),)))


@pytest.mark.parametrize("field", ["argv", "paths", "env"])
def test_null_bytes(field: str) -> None:
    """A NUL cannot be passed to a program."""
    fields: dict[str, Any] = {"paths": (b"/bin/true",), "argv": (b"true",), "env": (), field: (b"a\0b",)}
    launch = Launch(**fields)
    with pytest.raises(ValueError, match="null byte"):
        _core.compile(nsbox.Spec(), launch, ROOT)
