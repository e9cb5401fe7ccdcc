"""Every step of a plan can fail, and the error has its name, the process that failed, and the kernel's error number.

Each test makes one step fail, by a real cause where possible, and by a seccomp filter otherwise.
The census around every test checks that nothing is left behind.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support import libc, seccomp
from tests.support.forked import Who, as_user, in_child
from tests.support.inside import status
from tests.support.needs import needs_root
from tests.support.seccomp import Deny
from tests.support.start import failure, start

CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNS = 0x10000000, 0x20000000, 0x20000
SIOCSIFFLAGS, TIOCSCTTY = 0x8914, 0x540E
MS_NOEXEC, MS_PRIVATE = 0x8, 0x40000
SET_NO_NEW_PRIVS = 38

Found = tuple[str, str, int]

ARRANGEMENTS: dict[str, dict[str, Any]] = {
    "init": {},
    "no init": {"init": False},
    "no fork": {"fork": False},
}


def found(launch: dict[str, Any] | None = None, **options: Any) -> Found:
    """Return step, actor and error number of the failure."""
    error = failure(launch, **options)
    unmapped = (error.step, error.errno) in (("setuid", errno.EINVAL), ("setgid", errno.EINVAL))
    assert isinstance(error, PermissionError) is (unmapped or error.errno in (errno.EPERM, errno.EACCES))
    return error.step, error.actor, error.errno or 0


def denied(*rules: Deny, then: Callable[[], Any]) -> Any:
    """Return what `then` returns in a child for which these system calls fail."""

    def prepared() -> Any:
        seccomp.install(*rules)
        return then()

    return in_child(prepared)


# Steps of the caller.


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EAGAIN, errno.ENOMEM], ids=errno.errorcode.get)
def test_clone(number: int) -> None:
    """The error number of clone3 is reported."""
    assert denied(Deny("clone3", number), then=lambda: found(unshare="mip")) == ("clone", "caller", number)


def test_clone_as_docker_refuses_it(who: Who) -> None:
    """Docker's filter: clone3 is unknown, clone is refused for any new namespace, and for new users as well."""
    rules = Deny("clone3", errno.ENOSYS), Deny("clone", errno.EPERM, argument=0, bits=0x7E020000)

    def check() -> tuple[Found, int]:
        seccomp.install(*rules)
        return found(unshare="mip"), nsbox.run(["true"], unshare="", map_root_user=False).returncode

    assert in_child(lambda: who(check)) == (("clone", "caller", errno.EPERM), 0)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("unshare", ["", "mip", "mipunCT", "Umip"])
def test_clone_without_clone3(who: Who, unshare: str, arrangement: str) -> None:
    """Where clone3 is unknown, clone(2) is used, also with time namespaces."""

    def check() -> tuple[str, bool]:
        seccomp.install(Deny("clone3", errno.ENOSYS))
        child = start(unshare=unshare, **ARRANGEMENTS[arrangement])
        return child.method, child.pid_inside > 0

    assert in_child(lambda: who(check)) == ("clone", True)
    assert who(lambda: start(unshare=unshare).method) == "clone3"


@needs_root
def test_clone_process_limit() -> None:
    """RLIMIT_NPROC is reached by nsbox-init, or by the payload."""

    def check(limit: int) -> Found:
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
        return found(unshare="mip")

    # The child itself is the first process of this user, whom no other test uses.
    user = 70_000 + os.getpid() % 10_000
    assert as_user(lambda: check(1), user) == ("clone", "caller", errno.EAGAIN)
    assert as_user(lambda: check(2), user) == ("fork", "init", errno.EAGAIN)


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "net", "mnt", "cgroup"])
def test_clone_namespace_limit(kind: str) -> None:
    """The number of namespaces of a kind is limited (namespaces(7), /proc/sys/user): ENOSPC."""

    def check() -> Found:
        enter_user_namespace()
        Path(f"/proc/sys/user/max_{kind}_namespaces").write_text("0")
        return found(unshare=kind)

    assert in_child(check) == ("clone", "caller", errno.ENOSPC)


@needs_root
def test_clone_in_a_chroot(place: Path) -> None:
    """User namespaces are refused in a chroot, which also has no /proc with evidence."""

    def check() -> Found:
        os.chroot(place)
        os.chdir("/")
        return found(unshare="U")

    assert in_child(check) == ("clone", "caller", errno.EPERM)


@needs_root
def test_clone_too_deep() -> None:
    """PID namespaces nest 32 deep."""

    def deeper(levels: int) -> Found:
        if levels == 0:
            return found(unshare="p")
        libc.unshare(CLONE_NEWPID)
        return in_child(lambda: deeper(levels - 1))

    assert in_child(lambda: deeper(32 - depth_of_this_process())) == ("clone", "caller", errno.ENOSPC)


@needs_root
def test_clone_in_a_dead_pid_namespace() -> None:
    """After PID 1 of the namespace for children has ended no process can be created in it (pid_namespaces(7))."""

    def check() -> tuple[Found, Found]:
        libc.unshare(CLONE_NEWPID)
        nsbox.run(["true"], unshare="")
        return found(unshare=""), found(unshare="p")

    assert in_child(check) == (("clone", "caller", errno.ENOMEM), ("clone", "caller", errno.EINVAL))


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOEXEC], ids=errno.errorcode.get)
def test_exec_init(number: int) -> None:
    """The exec of nsbox-init is refused."""
    assert denied(Deny("execveat", number), then=lambda: found(unshare="mip")) == ("exec init", "caller", number)


@pytest.fixture
def _usual_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look programs up where an ordinary user may: a closed directory in root's PATH would be another error."""
    monkeypatch.setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


@pytest.mark.usefixtures("_usual_path")
def test_uid_map() -> None:
    """An ordinary user maps the id of another user."""
    options: dict[str, Any] = {"unshare": "U", "map_users": [(0, 0, 1)]}
    number = errno.EPERM if shutil.which("newuidmap") else errno.ENOENT
    assert as_user(lambda: found(**options)) == ("uid_map", "caller", number)
    assert as_user(lambda: found(init=False, **options)) == ("uid_map", "caller", number)
    # The caller maps its own ids, so it writes the map itself.
    rule = Deny("openat", errno.EACCES, argument=2, bits=os.O_WRONLY)
    check = lambda: found(unshare="U", map_user=0)  # noqa: E731
    assert denied(rule, then=check) == ("uid_map", "caller", errno.EACCES)


@needs_root
@pytest.mark.usefixtures("_usual_path")
def test_gid_map() -> None:
    """The same for groups, and more ranges than the kernel takes, one of them with the caller's own id."""
    number = errno.EPERM if shutil.which("newgidmap") else errno.ENOENT
    assert as_user(lambda: found(unshare="U", map_groups=[(0, 0, 1)])) == ("gid_map", "caller", number)
    many = [(first, first, 1) for first in range(1, 681, 2)]
    assert found(unshare="U", map_group=0, map_groups=many) == ("gid_map", "caller", errno.EINVAL)


def test_setgroups_map(who: Who) -> None:
    """If setgroups(2) is denied in a namespace, it cannot be allowed in a nested one."""

    def check() -> Found:
        enter_user_namespace()
        return found(unshare="U", setgroups="allow", map_users=[(0, 0, 1)])

    assert in_child(lambda: who(check)) == ("setgroups", "caller", errno.EPERM)


@needs_root
def test_maps_without_proc(place: Path) -> None:
    """The caller writes the maps through /proc, which is missing."""

    def check() -> Found:
        libc.unshare(CLONE_NEWNS)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        libc.mount("nothing", "/proc", "tmpfs")
        return found(unshare="U")

    assert in_child(check) == ("setgroups", "caller", errno.ENOENT)


# Steps of nsbox-init, or of the payload where nsbox-init stays outside.


def actor_of(arrangement: str) -> str:
    """Return which process sets up the namespaces."""
    return "init" if arrangement == "init" else "payload"


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize(
    ("step", "rule", "options"),
    [
        ("clock offsets", None, {"unshare": "T", "boottime": -(10**9)}),
        ("propagation", Deny("mount", errno.EPERM, argument=3, bits=MS_PRIVATE), {"unshare": "m"}),
        ("hostname", Deny("sethostname", errno.EPERM), {"unshare": "u", "hostname": "box"}),
        ("domainname", Deny("setdomainname", errno.EACCES), {"unshare": "u", "domainname": "box"}),
        ("loopback", Deny("ioctl", errno.EPERM, argument=1, equals=SIOCSIFFLAGS), {"unshare": "n"}),
        ("loopback", Deny("socket", errno.EAFNOSUPPORT, argument=0, equals=2), {"unshare": "n"}),
        ("mount proc", Deny("mount", errno.EPERM, argument=3, bits=MS_NOEXEC), {"unshare": "m", "mount_proc": True}),
        ("mount proc", None, {"unshare": "m", "mount_proc": "/nonexistent"}),
    ],
)  # fmt: skip
def test_setup(who: Who, arrangement: str, step: str, rule: Deny | None, options: dict[str, Any]) -> None:
    """Each step that sets up the namespaces, in each arrangement."""

    def check() -> Found:
        if rule:
            seccomp.install(rule)
        return found(**options, **ARRANGEMENTS[arrangement])

    number = rule.errno if rule else errno.ERANGE if step == "clock offsets" else errno.ENOENT
    assert in_child(lambda: who(check)) == (step, actor_of(arrangement), number)


def test_mount_proc_on_a_file(who: Who) -> None:
    """The target of the proc is not a directory."""
    assert who(lambda: found(unshare="mp", mount_proc="/dev/null")) == ("mount proc", "init", errno.ENOTDIR)


def test_unshare() -> None:
    """Without a fork the payload unshares by itself."""
    rule = Deny("unshare", errno.EPERM)
    assert denied(rule, then=lambda: found(unshare="u", fork=False)) == ("unshare", "payload", errno.EPERM)

    def limited() -> Found:
        enter_user_namespace()
        Path("/proc/sys/user/max_uts_namespaces").write_text("0")
        return found(unshare="u", fork=False)

    assert in_child(limited) == ("unshare", "payload", errno.ENOSPC)


@pytest.mark.parametrize("arrangement", ["init", "no init"])
def test_unshare_time(arrangement: str) -> None:
    """A time namespace is unshared, as its clocks can be set only from outside."""
    rule, options = Deny("unshare", errno.EPERM), ARRANGEMENTS[arrangement]
    expected = ("unshare time", actor_of(arrangement))
    assert denied(rule, then=lambda: found(unshare="T", **options)) == (*expected, errno.EPERM)

    def limited() -> Found:
        enter_user_namespace()
        Path("/proc/sys/user/max_time_namespaces").write_text("0")
        return found(unshare="T", **options)

    assert in_child(limited) == (*expected, errno.ENOSPC)


@needs_root
@pytest.mark.parametrize("arrangement", ["init", "no init"])
def test_pid_max(arrangement: str) -> None:
    """/proc/sys is read-only, as in a container."""

    def check() -> Found:
        libc.unshare(CLONE_NEWNS)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        libc.mount("/proc/sys", "/proc/sys", flags=libc.MS_BIND)
        libc.mount(None, "/proc/sys", flags=libc.MS_BIND | libc.MS_REMOUNT | libc.MS_RDONLY)
        return found(unshare="p", pid_max=1000, **ARRANGEMENTS[arrangement])

    assert in_child(check) == ("pid_max", actor_of(arrangement), errno.EROFS)


@needs_root
def test_mount_proc_where_proc_is_masked() -> None:
    """/proc is masked, as in a container: the kernel does not let a user namespace uncover it (mount_too_revealing)."""

    def check() -> Found:
        libc.unshare(CLONE_NEWNS)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        libc.mount("/dev/null", "/proc/version", flags=libc.MS_BIND)
        return as_user(lambda: found(unshare="mip", mount_proc=True))

    assert in_child(check) == ("mount proc", "init", errno.EPERM)


def test_fork_into_the_namespaces() -> None:
    """Without an init inside, the fork creates the namespaces."""
    rules = Deny("clone3", errno.ENOSYS), Deny("clone", errno.EPERM, argument=0, bits=CLONE_NEWPID)
    assert denied(*rules, then=lambda: found(unshare="p", init=False)) == ("fork", "init", errno.EPERM)


# Steps of the payload.


@pytest.mark.parametrize(
    ("launch", "rule", "expected"),
    [
        ({"stdio": (999, -1, -1)}, None, ("descriptors", errno.EBADF)),
        ({"pass_fds": (998,)}, None, ("descriptors", errno.EBADF)),
        ({"cwd": b"/nonexistent"}, None, ("chdir", errno.ENOENT)),
        ({"cwd": b"/dev/null"}, None, ("chdir", errno.ENOTDIR)),
        ({"start_new_session": True}, Deny("setsid", errno.EPERM), ("setsid", errno.EPERM)),
        ({"process_group": 4194303}, None, ("setpgid", errno.EPERM)),
        ({"stdio": (-1, -1, -1), "start_new_session": True, "controlling_terminal": True},
         Deny("ioctl", errno.EIO, argument=1, equals=TIOCSCTTY), ("controlling terminal", errno.EIO)),
        ({"uid": 4}, Deny("setresuid", errno.EAGAIN), ("setuid", errno.EAGAIN)),
        ({"paths": (b"/nonexistent",)}, None, ("exec", errno.ENOENT)),
        ({"paths": (b"/etc/passwd",)}, None, ("exec", errno.EACCES)),
        ({"paths": (b"/dev/null/x", b"/nonexistent")}, None, ("exec", errno.ENOENT)),
        ({"argv": (b"x" * (1 << 18),)}, None, ("exec", errno.E2BIG)),
        ({"env": (b"x" * (1 << 18),)}, None, ("exec", errno.E2BIG)),
    ],
    ids=lambda value: "" if isinstance(value, Deny | None) else str(value)[:60],
)  # fmt: skip
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("unshare", ["", "mip"])
def test_payload(
    launch: dict[str, Any], rule: Deny | None, expected: tuple[str, int], unshare: str, arrangement: str
) -> None:
    """Each step before the program's exec, in each arrangement."""

    def check() -> Found:
        if rule:
            seccomp.install(rule)
        return found(launch, unshare=unshare, **ARRANGEMENTS[arrangement])

    step, number = expected
    assert in_child(check) == (step, "payload", number)


def test_not_a_terminal(place: Path) -> None:
    """Standard input is a file."""
    with (place / "file").open("w+") as file:
        launch = {"stdio": (file.fileno(), -1, -1), "start_new_session": True, "controlling_terminal": True}
        assert found(launch, unshare="mip") == ("controlling terminal", "payload", errno.ENOTTY)


def test_not_executable_format(place: Path) -> None:
    """The program is not executable."""
    program = place / "program"
    program.write_text("no program\n")
    program.chmod(0o755)
    assert found({"paths": (os.fsencode(program),)}, unshare="mip") == ("exec", "payload", errno.ENOEXEC)


@pytest.mark.parametrize("unshare", ["", "m"])
@pytest.mark.parametrize(
    ("launch", "step"),
    [({"groups": (1, 2)}, "set groups"), ({"gid": 5}, "setgid"), ({"uid": 5}, "setuid")],
    ids=["groups", "gid", "uid"],
)
def test_becoming_another_user(launch: dict[str, Any], step: str, unshare: str) -> None:
    """An ordinary user cannot, and in its own user namespace no other user is mapped."""
    number = errno.EINVAL if unshare and step != "set groups" else errno.EPERM
    assert as_user(lambda: found(launch, unshare=unshare)) == (step, "payload", number)


@pytest.mark.parametrize("keep", [True, False])
def test_capabilities(keep: bool) -> None:
    """The capabilities of the payload cannot be set."""
    step = "keep capabilities" if keep else "drop capabilities"
    check = lambda: found(unshare="U", keep_caps=keep)  # noqa: E731
    assert denied(Deny("capset", errno.EPERM), then=check) == (step, "payload", errno.EPERM)


def test_no_new_privs() -> None:
    """The flag cannot be set."""
    rule = Deny("prctl", errno.EINVAL, argument=0, equals=SET_NO_NEW_PRIVS)
    check = lambda: found(unshare="m", no_new_privs=True)  # noqa: E731
    assert denied(rule, then=check) == ("no_new_privs", "payload", errno.EINVAL)


# Errors of `run`, and failures that are no step.


@pytest.mark.parametrize(
    ("command", "keywords"),
    [
        (["/nonexistent"], {}),
        (["nonexistent-program"], {}),
        (["nonexistent-program"], {"env": {"PATH": "/nonexistent:/dev/null"}}),
        (["/etc/passwd"], {}),
        (["/dev/null/x"], {}),
        (["true"], {"cwd": "/nonexistent"}),
        (["true"], {"cwd": "/dev/null"}),
        (["x" * 5000], {}),
    ],
    ids=lambda value: str(value)[:60],
)
@pytest.mark.parametrize("captured", [True, False], ids=["captured", "unattended"])
def test_run_raises_the_errors_of_subprocess(
    who: Who, command: list[str], keywords: dict[str, Any], captured: bool
) -> None:
    """The same class, error number and file name as `subprocess.run`, and no SpawnError."""

    def both() -> list[tuple[type, int | None, object]]:
        seen = []
        either: list[tuple[Callable[..., Any], dict[str, Any]]] = [
            (nsbox.run, {"unshare": "mip"}),
            (subprocess.run, {}),
        ]
        for run, options in either:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - which one is the question
                run(command, capture_output=captured, **keywords, **options)
            seen.append((type(caught.value), caught.value.errno, caught.value.filename))
        return seen

    ours, theirs = who(both)
    assert ours == theirs


def test_out_of_descriptors() -> None:
    """If no descriptor is free, nothing is started, and none is lost."""

    def check() -> list[int | None]:
        numbers: list[int | None] = []
        # RLIMIT_NOFILE limits the numbers, not the count: without gaps below the highest number the two are equal.
        highest = max(map(int, os.listdir("/proc/self/fd")))
        while os.open("/dev/null", os.O_RDONLY) < highest:
            pass
        full = os.open("/dev/null", os.O_RDONLY)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        for spare in range(8):
            resource.setrlimit(resource.RLIMIT_NOFILE, (full + 1 + spare, most))
            try:
                numbers.append(nsbox.run(["true"], unshare="mip").returncode)
            except OSError as error:
                numbers.append(error.errno)
        return numbers

    numbers = in_child(check)
    assert numbers[0] == errno.EMFILE
    assert numbers[-1] == 0
    assert set(numbers) == {errno.EMFILE, 0}


def test_nsbox_init_closed_by_the_caller() -> None:
    """A program that becomes a daemon closes every descriptor; the next box works all the same."""

    def check() -> list[int]:
        os.closerange(3, 20)
        first = start(unshare="mip").method
        os.closerange(3, 20)
        # Now another file has the number.
        others = [os.open("/dev/null", os.O_RDONLY) for _ in range(17)]
        start(unshare="mip")
        assert first == "clone3"
        return [fd for fd in others if os.readlink(f"/proc/self/fd/{fd}") != "/dev/null"]

    # The pipe with the result must survive, so it is moved to a high number.
    def moved() -> list[int]:
        return in_child(check)

    os.set_inheritable(0, True)
    assert in_child(lambda: _high(moved)) == []


def _high(function: Callable[[], Any]) -> Any:
    """Call `function` while all low descriptors are taken, so that what it opens has high numbers."""
    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(30)]
    try:
        return function()
    finally:
        for fd in taken:
            os.close(fd)


def depth_of_this_process() -> int:
    """Return how deep the PID namespace of this process is nested (proc_pid_status(5), NSpid)."""
    fields = status(Path("/proc/self/status").read_text())
    return len(fields["NSpid"].split()) - 1


def enter_user_namespace() -> None:
    """Move this single-threaded child into a user namespace, as its root."""
    uid, gid = os.geteuid(), os.getegid()
    # After a change of ids a process is not dumpable, and its files in /proc are root's (prctl(2)).
    libc.prctl(libc.PR_SET_DUMPABLE, 1)
    libc.unshare(CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
