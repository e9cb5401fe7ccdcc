"""Ranges of ids, and the programs that map them for unprivileged callers: compared with unshare(1)."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support import libc
from tests.support.callers import survivors
from tests.support.census import descendants, reap_adopted
from tests.support.forked import USER, Who, as_user
from tests.support.inside import by_unshare, cat, status
from tests.support.interrupt import interrupted
from tests.support.start import failure
from tests.support.subids import GRANTED, NAME, granted

FILES = "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups"
FIRST, COUNT = GRANTED
ARRANGEMENTS: dict[str, dict[str, Any]] = {"init": {}, "no init": {"init": False}, "no fork": {"fork": False}}


def maps(text: str) -> list[list[str]]:
    """Return the lines without the padding of columns."""
    return [line.split() for line in text.splitlines()]


SINGLES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"map_root_user": True}, ["-r"]),
    ({"map_current_user": True}, ["-c"]),
    ({"map_user": 5, "map_group": 7}, ["--map-user=5", "--map-group=7"]),
    ({"map_user": 65535, "map_group": 65536 + 9}, ["--map-user=65535", f"--map-group={65536 + 9}"]),
    ({"map_user": 1}, ["--map-user=1"]),
]


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize(("single", "arguments"), SINGLES, ids=lambda value: " ".join(map(str, value)))
def test_auto_as_unshare(who: Who, single: dict[str, Any], arguments: list[str], arrangement: str) -> None:
    """The whole granted range, around the single id that is mapped: line by line what unshare(1) writes."""

    def both() -> tuple[str, str]:
        words: dict[str, Any] = {"map_users": "auto", "map_groups": "auto"}
        theirs = who(lambda: by_unshare("-U", "--map-auto", *arguments, "cat", *FILES))
        return who(lambda: cat(*FILES, unshare="U", **words, **single, **ARRANGEMENTS[arrangement])), theirs

    ours, theirs = granted(both)
    assert maps(ours) == maps(theirs)
    assert theirs.split()[-1] == "allow"


def test_ranges_as_unshare(who: Who) -> None:
    """Parts of the granted range, with and without a single id."""
    chosen = random.Random(5)
    cases = []
    for _ in range(10):
        inside, start, count = chosen.randrange(100), chosen.randrange(100), chosen.randrange(1, 100)
        single, arguments = chosen.choice(SINGLES[:4])
        # If the single id is next to the range, unshare(1) of util-linux 2.38 omits one id more than necessary.
        if inside + count not in (0, 5, 7):
            cases.append(((inside, FIRST + start, count), single, arguments))

    def both() -> list[tuple[str, str]]:
        found = []
        for (inside, outside, count), single, arguments in cases:
            ranges: dict[str, Any] = {option: [(inside, outside, count)] for option in ("map_users", "map_groups")}
            given = [f"--map-{ids}={outside},{inside},{count}" for ids in ("users", "groups")]
            ours = cat(*FILES, unshare="U", **ranges, **single)
            found.append((ours, by_unshare("-U", *given, *arguments, "cat", *FILES)))
        return found

    found = granted(lambda: who(both))
    assert len(found) > 5
    for ours, theirs in found:
        assert sorted(maps(ours)) == sorted(maps(theirs))


def test_options_of_newer_versions_of_unshare() -> None:
    """Granted ids mapped to themselves, and every id mapped to itself."""
    options: dict[str, Any] = {"map_users": "subids", "map_groups": "subids", "unshare": "U"}
    line = [str(FIRST), str(FIRST), str(COUNT)]
    assert maps(granted(lambda: as_user(lambda: cat(*FILES, **options)))) == [line, line, ["allow"]]
    everything = cat(*FILES, unshare="U", map_users="all", map_groups="all")
    assert maps(everything)[0] == maps(Path("/proc/self/uid_map").read_text())[0]


def test_becoming_a_user_in_the_range(who: Who) -> None:
    """The box of an ordinary user has all the users and groups of a machine."""
    options: dict[str, Any] = {"unshare": "U", "map_root_user": True, "map_users": "auto", "map_groups": "auto"}
    run = lambda: cat("/proc/self/status", **options, user=1000, group=1000, extra_groups=[4, 20])  # noqa: E731
    seen = status(granted(lambda: who(run)))
    assert (seen["Uid"].split()[0], seen["Gid"].split()[0], seen["Groups"]) == ("1000", "1000", "4 20")


@pytest.mark.parametrize("lines", ["", f"{NAME}\n{NAME}:x:1\nother:1:2\n"], ids=["empty", "nonsense"])
def test_nothing_granted(lines: str) -> None:
    """Nothing is started, and the error names the file and the remedy."""

    def check() -> str:
        with pytest.raises(nsbox.UnsupportedError, match=f"^map_users: .*/etc/subuid.* for {NAME}") as caught:
            nsbox.run(["true"], unshare="U", map_users="auto")
        return str(caught.value)

    assert "usermod --add-subuids" in granted(lambda: as_user(check), lines=lines)


def test_granted_by_number() -> None:
    """A line of subuid(5) can name its owner by uid."""
    seen = granted(lambda: as_user(lambda: cat(FILES[0], unshare="U", map_users="auto")), lines=f"{USER}:400000:9\n")
    assert maps(seen) == [["0", "400000", "9"]]


def test_not_granted() -> None:
    """The error has newuidmap's own message, the file, and the remedy."""
    error = granted(lambda: as_user(lambda: failure(unshare="U", map_users=[(0, FIRST + COUNT, 1), (1, FIRST, 1)])))
    assert (error.step, error.actor, error.errno) == ("uid_map", "caller", errno.EPERM)
    assert error.call == f"newuidmap PID 0 {FIRST + COUNT} 1 1 {FIRST} 1"
    assert "not allowed" in error.evidence
    assert "/etc/subuid" in error.evidence
    error = granted(lambda: as_user(lambda: failure(unshare="U", map_groups=[(0, FIRST - 1, 2)])))
    assert (error.step, error.errno) == ("gid_map", errno.EPERM)
    assert "/etc/subgid" in error.evidence


def test_not_installed(place: Path) -> None:
    """Without the programs the error names the package that has them."""

    def check() -> nsbox.SpawnError:
        os.environ["PATH"] = str(place)
        return failure(unshare="U", map_users=[(0, FIRST, 10)])

    error = as_user(check)
    assert (error.step, error.actor, error.errno) == ("uid_map", "caller", errno.ENOENT)
    assert "uidmap" in error.hint


def test_powerless_without_new_privileges() -> None:
    """With no_new_privs a setuid program gives no privileges, and the error says so."""

    def check() -> nsbox.SpawnError:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        return failure(unshare="U", map_users=[(0, FIRST, 10)])

    error = granted(lambda: as_user(check))
    assert (error.step, error.errno) == ("uid_map", errno.EPERM)
    assert "no_new_privs" in error.evidence


def test_caller_ignores_sigchld() -> None:
    """The kernel reaps the children of a caller that ignores SIGCHLD, and the maps are written all the same."""

    def check() -> str:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        with pytest.raises(nsbox.SpawnError, match="not allowed"):
            nsbox.run(["true"], unshare="U", map_users=[(0, 1, 1)])
        return cat(FILES[0], unshare="U", map_users="auto", map_root_user=False)

    assert maps(granted(lambda: as_user(check))) == [["0", str(FIRST), str(COUNT)]]


def test_interrupted_while_the_program_runs(place: Path) -> None:
    """If a signal handler raises, the program and everything else ends; the census checks that nothing is left."""
    for name in ("newuidmap", "newgidmap"):
        (place / name).write_text("#!/bin/sh\nexec sleep 40\n")
        (place / name).chmod(0o755)

    def check() -> float:
        os.environ["PATH"] = f"{place}:{os.environ['PATH']}"

        signal.signal(signal.SIGINT, signal.default_int_handler)
        begin = time.monotonic()
        # nsbox-init and newuidmap.
        with pytest.raises(KeyboardInterrupt), interrupted(lambda: len(descendants()) == 2):
            nsbox.run(["true"], unshare="U", map_users=[(0, FIRST, 10)])
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return time.monotonic() - begin

    assert as_user(check) < 30


def test_the_caller_dies_while_the_program_runs(place: Path) -> None:
    """If the caller dies, nsbox-init, which waits for its maps, ends too."""
    (place / "newuidmap").write_text("#!/bin/sh\nkill -KILL $PPID\n")
    (place / "newuidmap").chmod(0o755)

    def check() -> None:
        os.environ["PATH"] = f"{place}:{os.environ['PATH']}"
        nsbox.run(["true"], unshare="U", map_users=[(0, FIRST, 10)])

    with pytest.raises(RuntimeError, match="-9"):
        as_user(check)
    assert not survivors()
    reap_adopted()
