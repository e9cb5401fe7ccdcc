"""The payload gets the same environment, descriptors, signals and ids as from `subprocess`: each is compared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import _core
from nsbox.start.launch import Launch

from tests.support.forked import USER, Who, in_child
from tests.support.inside import status
from tests.support.needs import needs_root

ARRANGEMENTS: dict[str, dict[str, Any]] = {
    "nothing new": {"unshare": ""},
    "init": {"unshare": "mip"},
    "no pid namespace": {"unshare": "mi"},
    "no init": {"unshare": "mip", "init": False},
    "no fork": {"unshare": "mip", "fork": False},
}
IN_STATUS = (
    "Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "ShdPnd", "NoNewPrivs", "Seccomp",
    "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Cpus_allowed", "Threads",
)  # fmt: skip


@pytest.fixture(params=ARRANGEMENTS)
def box(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each arrangement of processes."""
    return ARRANGEMENTS[request.param]


def _both(command: list[str], box: dict[str, Any], **keywords: Any) -> tuple[str, str]:
    """Return what a program prints in the box, and what it prints when `subprocess` starts it."""
    keywords = {"capture_output": True, "text": True} | keywords
    ours = nsbox.run(command, check=True, **box, **keywords).stdout
    return ours, subprocess.run(command, check=True, **keywords).stdout


def _both_status(box: dict[str, Any], **keywords: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Return the fields of /proc/self/status that must agree."""
    both = _both(["cat", "/proc/self/status"], box, **keywords)
    ours, theirs = ({name: status(text)[name] for name in IN_STATUS} for text in both)
    return ours, theirs


@needs_root
def test_status(box: dict[str, Any]) -> None:
    """Without options, credentials, masks and signals are as with `subprocess`."""
    ours, theirs = _both_status(box)
    assert ours == theirs


@pytest.mark.parametrize("file", ["environ", "limits", "cmdline", "oom_score_adj", "personality"])
def test_proc_files(box: dict[str, Any], file: str) -> None:
    """Other files in /proc/PID have the same contents as with `subprocess`."""
    ours, theirs = _both(["cat", f"/proc/self/{file}"], box)
    assert ours == theirs


@needs_root
def test_signals(box: dict[str, Any]) -> None:
    """Blocked and ignored signals are those of the caller; handlers are not inherited."""

    def check() -> None:
        for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, print)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGRTMIN + 3})
        for restore in (True, False):
            ours, theirs = _both_status(box, restore_signals=restore)
            # If the kernel reaps the caller's children by itself, `subprocess` cannot know a status; nsbox does.
            assert ours == theirs

    in_child(check)


def test_blocked_signals_of_the_caller_stay(box: dict[str, Any]) -> None:
    """The caller's own mask is unchanged afterwards, after a failure as well."""
    wanted = {signal.SIGUSR2}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    try:
        nsbox.run(["true"], **box)
        with pytest.raises(FileNotFoundError):
            nsbox.run(["/nonexistent"], **box)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before | wanted
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _open_descriptors(box: dict[str, Any], **keywords: Any) -> tuple[list[str], list[str]]:
    """Return the descriptors of a program, without the one that lists them."""

    def lines(text: str) -> list[str]:
        found = (re.search(r"(\d+) -> (.*)", line) for line in text.splitlines()[1:])
        pairs = (one.groups() for one in found if one)
        return sorted(
            f"{fd} {'pipe' if target.startswith('pipe') else target}"
            for fd, target in pairs
            if not target.startswith("/proc/")
        )

    ours, theirs = _both(["ls", "-l", "/proc/self/fd"], box, **keywords)
    return lines(ours), lines(theirs)


def test_descriptors(box: dict[str, Any]) -> None:
    """The program has standard input, output and error, and no descriptor of nsbox or of the caller."""
    with tempfile.TemporaryFile() as file:
        os.set_inheritable(file.fileno(), True)
        ours, theirs = _open_descriptors(box)
    assert ours == theirs
    assert [line[0] for line in ours] == ["0", "1", "2"]


def test_descriptors_passed_on(box: dict[str, Any]) -> None:
    """Descriptors in `pass_fds` keep their numbers, inheritable or not."""
    with tempfile.TemporaryFile() as one, tempfile.TemporaryFile() as other, tempfile.TemporaryFile() as third:
        high = os.dup2(other.fileno(), 700)
        try:
            ours, theirs = _open_descriptors(box, pass_fds=(one.fileno(), high))
        finally:
            os.close(high)
        assert third.fileno() not in {int(line.split()[0]) for line in ours}
    assert ours == theirs
    assert len(ours) == 5


def test_descriptors_not_closed(box: dict[str, Any]) -> None:
    """With `close_fds=False` the program has the inheritable ones, and none of nsbox's own."""
    with tempfile.TemporaryFile() as inheritable, tempfile.TemporaryFile():
        os.set_inheritable(inheritable.fileno(), True)
        ours, theirs = _open_descriptors(box, close_fds=False)
    assert ours == theirs


def _rewired(command: list[str], start: Callable[..., Any], **keywords: Any) -> str:
    """Start a program whose descriptors 0, 1 and 2 are exchanged, and return what arrives in each."""
    with tempfile.TemporaryFile() as one, tempfile.TemporaryFile() as two:
        os.dup2(one.fileno(), 0)
        os.dup2(two.fileno(), 1)
        os.dup2(two.fileno(), 2)
        start(command, stdout=0, stderr=1, stdin=2, **keywords)
        return f"{_content(one.fileno())}|{_content(two.fileno())}"


def _content(fd: int) -> str:
    return os.pread(fd, 100, 0).decode()


def test_descriptors_are_exchanged(box: dict[str, Any]) -> None:
    """A source below 3 that is also a target arrives at the right number."""
    command = ["sh", "-c", "echo out; echo err >&2"]
    ours = in_child(lambda: _rewired(command, nsbox.run, **box))
    assert ours == in_child(lambda: _rewired(command, subprocess.run)) == "out\n|err\n"


@pytest.mark.parametrize("missing", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_caller_without_standard_descriptors(box: dict[str, Any], missing: tuple[int, ...]) -> None:
    """If the caller has closed some of 0, 1, 2, as a daemon does, nsbox's own descriptors may get these numbers."""

    def start(run: Callable[..., Any], **keywords: Any) -> str:
        for fd in missing:
            os.close(fd)
        return str(run(["sh", "-c", "echo hello"], stdout=subprocess.PIPE, text=True, **keywords).stdout)

    assert in_child(lambda: start(nsbox.run, **box)) == in_child(lambda: start(subprocess.run)) == "hello\n"


def test_directory(box: dict[str, Any], place: Path) -> None:
    """The working directory is the one asked for."""
    ours, theirs = _both(["readlink", "/proc/self/cwd"], box, cwd=place)
    assert ours == theirs == f"{place}\n"


def test_environment(box: dict[str, Any]) -> None:
    """The environment is the one asked for, byte for byte, and its PATH finds the program."""
    strange = {"A": "", "B": "x=y\n\udcff", "C": "ü" * 5000}
    keywords = {"text": False, "env": strange | {"PATH": "/nonexistent:/usr/bin:/bin"}}
    ours, theirs = _both(["cat", "/proc/self/environ"], box, **keywords)
    assert ours == theirs
    with pytest.raises(FileNotFoundError):
        nsbox.run(["cat"], env={"PATH": "/nonexistent"}, **box)


def test_putenv_is_passed_on(box: dict[str, Any]) -> None:
    """A variable that Python does not know of is passed on, as with execv(3)."""

    def both() -> tuple[str, str]:
        os.putenv("NSBOX_TEST_PUTENV", "seen")
        return _both(["cat", "/proc/self/environ"], box)

    ours, theirs = in_child(both)
    assert ours == theirs
    assert "NSBOX_TEST_PUTENV=seen" in ours.split("\0")


def test_many_arguments(box: dict[str, Any]) -> None:
    """Thousands of arguments, empty ones among them."""
    command = ["cat", "/proc/self/cmdline", "/dev/null"] + ["/dev/null"] * 8000
    ours, theirs = _both(command, box)
    assert ours == theirs
    ours, theirs = _both(["printf", "<%s>", "", "a b", "", "ä\n"], box)
    assert ours == theirs


@needs_root
@pytest.mark.parametrize(
    "keywords",
    [
        {"umask": 0o027},
        {"user": USER},
        {"user": USER, "group": USER, "extra_groups": [1, 2, USER]},
        {"group": "daemon"},
        {"extra_groups": []},
        {"user": "nobody"},
    ],
    # Workers of xdist have different users, but must agree on the name of the test.
    ids=lambda keywords: str(keywords).replace(str(USER), "USER"),
)
def test_credentials(box: dict[str, Any], keywords: dict[str, Any]) -> None:
    """Umask, user and groups are those asked for."""
    ours, theirs = _both_status(box, **keywords)
    assert ours == theirs


@pytest.mark.parametrize("keywords", [{"start_new_session": True}, {"process_group": 0}, {}], ids=str)
def test_sessions_and_groups(box: dict[str, Any], keywords: dict[str, Any]) -> None:
    """Session and process group, as seen from outside, are new or the caller's."""
    for start in (nsbox.Popen, subprocess.Popen):
        options = box if start is nsbox.Popen else {}
        with start(["cat"], stdin=subprocess.PIPE, **options, **keywords) as process:
            own = os.getsid(process.pid) == process.pid, os.getpgid(process.pid) == process.pid
            callers = os.getsid(process.pid) == os.getsid(0), os.getpgid(process.pid) == os.getpgid(0)
        expected = {"start_new_session": (True, True), "process_group": (False, True)}
        assert own == expected.get(next(iter(keywords), ""), (False, False))
        assert callers == tuple(not one for one in own)


def test_controlling_terminal() -> None:
    """With `controlling_terminal` standard input, a pseudo-terminal, becomes the terminal of the new session."""
    master, slave = os.openpty()
    try:
        launch = Launch(
            paths=(b"/bin/sh",), argv=(b"sh", b"-c", b"stat /dev/tty && read line"), stdio=(slave, slave, slave),
            start_new_session=True, controlling_terminal=True,
        )  # fmt: skip
        plan = _core.compile(nsbox.Spec(unshare="mip"), launch, _core.facts())
        child = _core.spawn(plan)
        number = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[4]
        os.write(master, b"\n")
        end = child.wait()
    finally:
        os.close(master)
        os.close(slave)
    assert end is not None
    assert (number != "0", end.returncode) == (True, 0)


def test_as_user(who: Who) -> None:
    """For an ordinary user, in a new user namespace, descriptors and signals are the same, too."""

    def check() -> tuple[list[str], dict[str, str], dict[str, str]]:
        ours, _ = _open_descriptors({"unshare": "mip"})
        return ours, *_both_status({"unshare": "mip"})

    descriptors, ours, theirs = who(check)
    assert [line[0] for line in descriptors] == ["0", "1", "2"]
    same = ("Umask", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Threads")
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
