"""Limits for the program: they are as asked for, and the calling process keeps its own."""

from __future__ import annotations

import errno
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox.spec.limits import RLIMITS

from tests.support import seccomp
from tests.support.forked import Who, as_user, in_child
from tests.support.inside import cat
from tests.support.seccomp import Deny
from tests.support.start import failure

ARRANGEMENTS: dict[str, dict[str, Any]] = {"init": {}, "no init": {"init": False}, "no fork": {"fork": False}}
LINES = {
    "cpu": "Max cpu time", "fsize": "Max file size", "data": "Max data size", "stack": "Max stack size",
    "core": "Max core file size", "rss": "Max resident set", "nproc": "Max processes", "nofile": "Max open files",
    "memlock": "Max locked memory", "as": "Max address space", "sigpending": "Max pending signals",
    "msgqueue": "Max msgqueue size", "nice": "Max nice priority", "rtprio": "Max realtime priority",
    "rttime": "Max realtime timeout",
}  # fmt: skip


def limits(text: str) -> dict[str, tuple[int, int]]:
    """Return the soft and the hard limit of each resource in a /proc/PID/limits."""
    found = {}
    for name, title in LINES.items():
        (line,) = [line for line in text.splitlines() if line.startswith(title)]
        soft, hard = line[len("Max realtime priority    ") :].split()[:2]
        found[name] = tuple(-1 if word == "unlimited" else int(word) for word in (soft, hard))
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("unshare", ["", "mip"])
def test_every_resource(who: Who, unshare: str, arrangement: str) -> None:
    """Each limit can be lowered; the others stay, and so do the caller's."""
    before = limits(Path("/proc/self/limits").read_text())
    assert set(LINES) == set(RLIMITS)
    large = {"as": 1 << 33, "data": 1 << 32, "stack": 1 << 22, "nproc": 5000, "fsize": 1 << 30}
    wanted: dict[str, tuple[int, int]] = {}
    for name, (_, hard) in before.items():
        limit = large.get(name, 40)
        limit = limit if hard == -1 else min(limit, hard)
        wanted[name] = (limit, limit)
    options: dict[str, Any] = {"unshare": unshare, **ARRANGEMENTS[arrangement]}
    assert limits(who(lambda: cat("/proc/self/limits", rlimits=wanted, **options))) == wanted
    found = limits(who(lambda: cat("/proc/self/limits", rlimits={"nofile": (20, 30)}, **options)))
    assert found == before | {"nofile": (20, 30)}
    assert limits(Path("/proc/self/limits").read_text()) == before


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("resource_name", ["nofile", "as", "data", "fsize", "stack", "memlock", "sigpending"])
def test_limits_of_zero(who: Who, resource_name: str, arrangement: str) -> None:
    """With any limit 0 nsbox's own steps still succeed; the program may fail."""
    options: dict[str, Any] = {"rlimits": {resource_name: 0}, **ARRANGEMENTS[arrangement]}
    end = who(lambda: nsbox.run(["true"], stderr=subprocess.DEVNULL, **options).returncode)
    survives = resource_name in ("fsize", "memlock", "sigpending")
    assert (end == 0) is survives, end


def test_cpu_time(who: Who) -> None:
    """The program gets SIGXCPU at the soft limit."""
    script = "while :; do :; done"
    end = who(lambda: nsbox.run(["sh", "-c", script], unshare="mip", init=False, rlimits={"cpu": (1, 2)}).returncode)
    # PID 1 gets no signal that it does not handle, but for the kernel's own SIGKILL at the hard limit.
    assert end == -signal.SIGKILL
    assert who(lambda: nsbox.run(["sh", "-c", script], rlimits={"cpu": (1, 2)}).returncode) == -signal.SIGXCPU


def test_above_the_callers_limit() -> None:
    """The error names the caller's own hard limit."""

    def check() -> nsbox.SpawnError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
        return failure(rlimits={"nofile": 201})

    error = as_user(check)
    assert (error.step, error.actor, error.errno) == ("rlimit", "payload", errno.EPERM)
    assert "200" in error.evidence
    assert "CAP_SYS_RESOURCE" in error.hint


def test_refused() -> None:
    """If the call fails, the error names the step."""

    def check() -> tuple[str, str, int | None]:
        seccomp.install(Deny("prlimit64", errno.EINVAL))
        error = failure(rlimits={"core": 0, "cpu": 5})
        assert "RLIMIT_CPU" in error.call
        return error.step, error.actor, error.errno

    assert in_child(check) == ("rlimit", "payload", errno.EINVAL)
