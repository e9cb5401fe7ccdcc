"""Failures that are produced for real, with their causes: all that this kernel and this machine can produce."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nsbox
import nsbox.diagnosis.causes
import pytest
from nsbox import Bind, Overlay, Tmpfs, _core
from nsbox.start.launch import Launch

from tests.plan.test_failures import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    depth_of_this_process,
    enter_user_namespace,
)
from tests.support import libc, seccomp
from tests.support.forked import USER, Who, as_user, in_child
from tests.support.inside import status
from tests.support.needs import needs_root
from tests.support.seccomp import Deny
from tests.support.start import failure
from tests.support.subids import granted

DOCKERS_FILTER = (
    Deny("clone3", errno.ENOSYS),
    Deny("clone", errno.EPERM, argument=0, bits=0x7E020000),
    Deny("unshare", errno.EPERM),
    Deny("mount", errno.EPERM),
)
CAP_SETFCAP, PR_CAPBSET_DROP = 31, 24


def cause(launch: dict[str, Any] | None = None, **options: Any) -> str:
    """Return the cause of the failure, after a check that the error has all parts."""
    error = failure(launch, **options)
    assert error.evidence
    assert error.hint
    assert str(error).count("\n") == 2
    return error.cause


def candidates(**options: Any) -> str:
    """Return the candidates in the error where the evidence is ambiguous."""
    error = failure(**options)
    assert error.cause == ""
    several = "; or " in error.evidence
    begun = "the evidence does not decide between: " if several else "the evidence does not show it, but likely: "
    assert error.evidence.startswith(begun)
    assert error.hint
    return error.evidence


def private_mounts() -> None:
    """Move this child into a mount namespace of its own."""
    libc.unshare(CLONE_NEWNS)
    libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)


def landlock() -> None:
    """Enter a Landlock domain that forbids making sockets, and so all mounts (landlock(7))."""
    attributes = struct.pack("Q", 1 << 9)
    buffer = memoryview(bytearray(attributes))
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    ruleset = libc.syscall(444, address, len(attributes), 0)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    libc.syscall(446, ruleset, 0)
    os.close(ruleset)


def after(*preparations: Callable[[], Any], **options: Any) -> str:
    """Return the cause in a child after some preparations."""

    def check() -> str:
        for prepare in preparations:
            prepare()
        return cause(**options)

    return in_child(check)


@pytest.mark.parametrize("options", [{"unshare": "mip"}, {"unshare": "u", "fork": False}, {"unshare": "U"}], ids=str)
def test_seccomp_filter(who: Who, options: dict[str, Any]) -> None:
    """Docker's filter refuses all of it, also for root with all capabilities."""

    def check() -> str:
        seccomp.install(*DOCKERS_FILTER)
        return cause(**options)

    assert in_child(lambda: who(check)) == "seccomp-filter"


def test_seccomp_filter_on_mount_alone() -> None:
    """The namespaces are made, and the first mount is refused."""
    assert after(lambda: seccomp.install(Deny("mount", errno.EPERM)), unshare="m") == "seccomp-filter"
    assert after(lambda: seccomp.install(Deny("execveat", errno.ENOSYS)), unshare="m") == "seccomp-filter"


def test_seccomp_filter_on_one_argument_is_not_named() -> None:
    """A filter that compares an argument is not seen by trial calls with other arguments, so it is not named."""

    def check() -> str:
        seccomp.install(Deny("mount", errno.EPERM, argument=3, bits=0x40000))
        return candidates(unshare="m")

    assert "leaves no trace" in in_child(check)


@pytest.mark.parametrize("kind", ["pid", "mount", "ipc", "uts", "net", "cgroup", "time"])
def test_no_capability(kind: str) -> None:
    """The user namespace was declined by map_root_user=False."""
    assert as_user(lambda: cause(unshare=kind, map_root_user=False)) == "no-capability"


def test_unmapped_caller() -> None:
    """Only one of the two maps is written."""

    def check() -> str:
        libc.prctl(libc.PR_SET_DUMPABLE, 1)
        libc.unshare(CLONE_NEWUSER)
        Path("/proc/self/uid_map").write_text(f"0 {USER} 1")
        return cause(unshare="U")

    assert as_user(check) == "unmapped-caller"


@needs_root
def test_chroot(place: Path, who: Who) -> None:
    """With a proc in the chroot it is recognised; without one it is a candidate."""
    if who.is_root:
        assert after(lambda: os.chroot(place), unshare="U", map_root_user=False) == ""

    def inside() -> str:
        private_mounts()
        (place / "proc").mkdir()
        libc.mount("proc", str(place / "proc"), "proc")
        os.chroot(place)
        os.chdir("/")
        return who(lambda: cause(unshare="U"))

    assert in_child(inside) == "chroot"


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "net", "mnt", "cgroup"])
def test_limit_zero(kind: str) -> None:
    """The limit that is 0 is named, with the setting that raises it."""

    def check() -> nsbox.SpawnError:
        enter_user_namespace()
        Path(f"/proc/sys/user/max_{kind}_namespaces").write_text("0")
        return failure(unshare=kind)

    error = in_child(check)
    assert error.cause == "limit-zero"
    assert f"user.max_{kind}_namespaces is 0" in error.evidence
    assert f"sysctl -w user.max_{kind}_namespaces=" in error.hint


def test_limit_of_an_outer_namespace() -> None:
    """It cannot be read from inside, so it is a candidate, beside the nesting depth where that is possible."""

    def check() -> tuple[str, str]:
        enter_user_namespace()
        Path("/proc/sys/user/max_uts_namespaces").write_text("0")
        Path("/proc/sys/user/max_pid_namespaces").write_text("0")
        libc.unshare(CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text("0 0 1")
        Path("/proc/self/uid_map").write_text("0 0 1")
        return candidates(unshare="u"), candidates(unshare="p")

    uts, pid = in_child(check)
    assert "limit" in uts
    assert "nested" not in uts
    assert "limit" in pid
    assert "nested" in pid


@needs_root
def test_too_deep() -> None:
    """It is recognised where the proc shows all levels."""

    def deeper(levels: int) -> str:
        if levels == 0:
            return cause(unshare="p")
        libc.unshare(CLONE_NEWPID)
        return in_child(lambda: deeper(levels - 1))

    assert in_child(lambda: deeper(32 - depth_of_this_process())) == "too-deep"


@needs_root
def test_dead_pid_namespace() -> None:
    """The errors explain that memory is not short, and that the namespace cannot be nested."""

    def check() -> tuple[str, str]:
        libc.unshare(CLONE_NEWPID)
        unborn = cause(unshare="p")
        nsbox.run(["true"], unshare="")
        return unborn, cause(unshare="")

    assert in_child(check) == ("moved-pid-namespace", "dead-pid-namespace")


def test_task_limit() -> None:
    """RLIMIT_NPROC counts all processes of the user."""

    def check() -> str:
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        return cause(unshare="mip")

    assert as_user(check) == "task-limit"


@needs_root
def test_maps() -> None:
    """Ids of another user, unmapped ids, too many ranges, and a namespace in which setgroups is denied."""
    assert as_user(lambda: as_if_privileged(map_users=[(0, 0, 1)])) == "map-of-somebody-else"
    assert as_user(lambda: as_if_privileged(map_groups=[(0, 0, 2)])) == "map-of-somebody-else"
    many = [(first, first, 1) for first in range(1, 681, 2)]
    assert cause(unshare="U", map_group=0, map_groups=many) == "map-shape"
    nested = {"unshare": "U", "map_users": [(0, 100000, 65536)]}
    assert after(enter_user_namespace, **nested) == "map-of-nobody"
    given_up = {"unshare": "U", "setgroups": "allow", "map_users": [(0, 0, 1)]}
    assert after(enter_user_namespace, **given_up) == "setgroups-given-up"


def as_if_privileged(**maps: Any) -> str:
    """Return the cause for a caller that counts as privileged, so that newuidmap is not used."""
    facts = _core.Facts(euid=USER, egid=USER, effective=1 << 6 | 1 << 7)
    launch = Launch(paths=(b"/bin/true",), argv=(b"true",))
    with pytest.raises(nsbox.SpawnError) as caught:
        _core.spawn(_core.compile(nsbox.Spec(unshare="U", **maps), launch, facts))
    return caught.value.cause


@needs_root
def test_maps_by_programs() -> None:
    """newuidmap(1) and newgidmap(1): not installed, not privileged, no grant, no name for the user."""

    def check() -> str:
        return cause(unshare="U", map_users=[(0, 0, 2)])

    assert granted(lambda: as_user(check)) == "ids-not-granted"
    assert as_user(check) == "helper-refuses"

    def powerless() -> str:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        return check()

    assert granted(lambda: as_user(powerless)) == "powerless-helper"

    def without() -> str:
        os.environ["PATH"] = "/nonexistent"
        return check()

    assert as_user(without) == "no-helper"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"root": "/nonexistent"}, "no-root"),
        ({"mounts": [Bind("/nonexistent", "/tmp")]}, "no-source"),
        ({"mounts": [Tmpfs("/nonexistent")]}, "no-target"),
        ({"mounts": [Bind("/etc/passwd", "/tmp")]}, "unlike"),
        ({"mounts": [Tmpfs("/proc/self/cwd")]}, "no-path"),
        ({"mounts": [Overlay("/mnt", ["/nonexistent", "/etc"])]}, "no-layer"),
        ({"mounts": [Overlay("/mnt", ["/etc"], "/tmp", "/tmp")]}, "unfit-layers"),
        ({"rlimits": {"nofile": 1 << 40}}, "limit-too-high"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_root_mounts_and_limits(who: Who, options: dict[str, Any], expected: str) -> None:
    """Causes of a root, of mounts and of limits."""
    assert who(lambda: cause(**options)) == expected


@needs_root
def test_map_of_root() -> None:
    """Root without CAP_SETFCAP may not map uid 0."""

    def check() -> str:
        libc.prctl(PR_CAPBSET_DROP, CAP_SETFCAP)
        # Only an exec removes the capability, so the check runs another nsbox inside one.
        code = (
            "import nsbox\ntry:\n nsbox.run(['true'], unshare='U', map_users=[(0, 0, 1)])\n"
            "except nsbox.SpawnError as error:\n print(error.cause)"
        )
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert in_child(check) == "map-of-root"


@needs_root
def test_proc_that_is_not_there_or_read_only() -> None:
    """The maps are files of /proc, which is missing or read-only."""

    def covered() -> None:
        private_mounts()
        libc.mount("nothing", "/proc", "tmpfs")

    def read_only() -> None:
        private_mounts()
        libc.mount("/proc", "/proc", flags=libc.MS_BIND)
        libc.mount(None, "/proc", flags=libc.MS_BIND | libc.MS_REMOUNT | libc.MS_RDONLY)

    assert after(covered, unshare="U") == "no-proc"
    assert after(read_only, unshare="U") == "read-only-proc"


def masked(target: str, source: str = "/dev/null") -> Callable[[], None]:
    """Return a function that covers a part of /proc, as containers do."""

    def cover() -> None:
        private_mounts()
        libc.mount(source, target, flags=libc.MS_BIND)

    return cover


@needs_root
@pytest.mark.parametrize(
    ("target", "source"), [("/proc/version", "/dev/null"), ("/proc/fs", "/"), ("/proc/sys", "/proc/sys")]
)
def test_masked_proc(target: str, source: str) -> None:
    """The hidden path is named; for root without a user namespace the mount works."""

    def check() -> tuple[str, str, int]:
        masked(target, source)()
        error = as_user(lambda: failure(unshare="mip", mount_proc=True))
        return error.cause, error.evidence, nsbox.run(["true"], unshare="mip", mount_proc=True).returncode

    found, evidence, returncode = in_child(check)
    assert (found, returncode) == ("masked-proc", 0)
    assert target in evidence


@needs_root
def test_mounts_that_hide_nothing() -> None:
    """A mount on a directory that is always empty does not count, nor a mask where another proc is complete."""

    def check() -> tuple[int, int]:
        masked("/proc/sys/fs/binfmt_misc", "/mnt")()
        first = as_user(lambda: nsbox.run(["true"], unshare="mip", mount_proc=True).returncode)
        libc.mount("proc", "/mnt", "proc")
        libc.mount("/dev/null", "/proc/version", flags=libc.MS_BIND)
        return first, as_user(lambda: nsbox.run(["true"], unshare="mip", mount_proc=True).returncode)

    assert in_child(check) == (0, 0)


def test_proc_of_a_foreign_pid_namespace() -> None:
    """A proc for the caller's own PID namespace may not be mounted in a new user namespace."""
    assert as_user(lambda: cause(unshare="m", mount_proc=True)) == "foreign-pid-namespace"


@needs_root
def test_no_visible_proc() -> None:
    """Where no proc is visible none can be mounted, and the maps cannot be written either."""

    def check() -> str:
        private_mounts()
        libc.mount("nothing", "/proc", "tmpfs")
        return as_user(lambda: failure(unshare="mip", mount_proc=True).cause)

    assert in_child(check) == "no-proc"


def test_landlock(who: Who) -> None:
    """No process in a Landlock domain may mount, not even root."""

    def check() -> str:
        landlock()
        return cause(unshare="m")

    assert in_child(lambda: who(check)) == "landlock"


@needs_root
def test_chroot_has_no_propagation(place: Path) -> None:
    """Root needs no user namespace there, but / is not a mount point."""

    def check() -> str:
        private_mounts()
        (place / "proc").mkdir()
        libc.mount("proc", str(place / "proc"), "proc")
        os.chroot(place)
        os.chdir("/")
        return cause(unshare="m")

    assert in_child(check) == "root-is-no-mount"


@pytest.mark.parametrize(
    ("expected", "launch", "options"),
    [
        ("no-directory", {}, {"unshare": "mp", "mount_proc": "/dev/null"}),
        ("clock-range", {}, {"unshare": "T", "boottime": -(10**9)}),
        ("descriptor-closed", {"pass_fds": (998,)}, {}),
        ("too-long", {"argv": (b"x" * (1 << 18),)}, {}),
        ("foreign-group", {"process_group": 4194303}, {}),
    ],
)
def test_other_causes(who: Who, expected: str, launch: dict[str, Any], options: dict[str, Any]) -> None:
    """Causes that need no preparation."""
    assert who(lambda: cause(launch, **options)) == expected


def test_own_namespaces_without_proc() -> None:
    """Before Linux 6.11 a thread opens its own namespaces in /proc; pidfd_open(2) is refused in this test, too."""

    def check() -> str:
        private_mounts()
        libc.mount("nothing", "/proc", "tmpfs")
        seccomp.install(Deny("pidfd_open", errno.ENOSYS))
        with pytest.raises(nsbox.SpawnError) as caught, nsbox.unshare("uts"):
            pass
        assert caught.value.step == "open own"
        assert "mount -t proc proc /proc" in caught.value.hint
        return caught.value.cause

    assert in_child(check) == "no-proc"


def test_unknown_call() -> None:
    """A filter that returns ENOSYS for one call, as on an old kernel."""
    options: dict[str, Any] = {"mounts": [Tmpfs("/mnt")]}
    assert after(lambda: seccomp.install(Deny("fsopen", errno.ENOSYS)), **options) == "unknown-call"


@needs_root
def test_settings() -> None:
    """A value above the kernel's maximum, and a read-only /proc/sys."""

    def read_only() -> None:
        masked("/proc/sys", "/proc/sys")()
        libc.mount(None, "/proc/sys", flags=libc.MS_BIND | libc.MS_REMOUNT | libc.MS_RDONLY)

    assert after(read_only, unshare="p", pid_max=1000) == "read-only-sysctl"


@needs_root
def test_ids() -> None:
    """Changing to another user without the right, without a map, and with setgroups denied."""
    assert as_user(lambda: cause({"uid": 5}, unshare="")) == "id-not-allowed"
    assert as_user(lambda: cause({"groups": (1,)}, unshare="m")) == "id-not-allowed"
    assert as_user(lambda: cause({"uid": 5}, unshare="m")) == "id-not-mapped"
    assert cause({"groups": (0,)}, unshare="U", map_root_user=True) == "setgroups-denied"


def test_no_terminal(place: Path) -> None:
    """A file is not a terminal."""
    with (place / "file").open("w+") as file:
        launch = {"stdio": (file.fileno(), -1, -1), "start_new_session": True, "controlling_terminal": True}
        assert cause(launch) == "no-terminal"


def test_descriptor_limit() -> None:
    """No descriptor is free."""

    def check() -> str:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        try:
            nsbox.run(["true"])
        except nsbox.SpawnError as error:
            return error.cause
        return "none"

    assert in_child(check) == "descriptor-limit"


def test_the_trial_of_landlock_has_no_effect() -> None:
    """The child of the trial ends with its domains and its no_new_privs."""

    def own_status() -> list[str]:
        fields = status(Path("/proc/self/status").read_text())
        return [fields[name] for name in ("NoNewPrivs", "Threads", "Seccomp")]

    def check() -> tuple[int, int, int]:
        before = _core.probe().landlock
        landlock()
        return before, _core.probe().landlock, _core.probe().landlock

    assert in_child(check) == (0, 1, 1)
    before = own_status()
    _core.probe()
    assert own_status() == before
