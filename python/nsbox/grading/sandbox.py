"""The boxes in which submissions run: held, or with namespaces of their own to make.

Both hide the lab, the other submissions and the results, and have no network, a fixed host name, clocks that begin at
the same time, and PIDs that begin at the same number.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nsbox.box.box import Box
from nsbox.errors import SpecError
from nsbox.spec.world import HIDDEN_PLACES, PRIVATE_TMP

__all__ = ["CLOCK_BEGIN_SECONDS", "HOSTNAME", "WORK", "SandboxLimits", "environment", "open_sandbox"]

WORK = "/tmp/work"
"""The directory with the files of the submission, in memory. A program of it may change them."""
HOSTNAME = "lab"
CLOCK_BEGIN_SECONDS = 1000
"""What CLOCK_MONOTONIC and CLOCK_BOOTTIME show when a sandbox is made (time_namespaces(7))."""
PID_MAX = 1000
"""The pid_max of a sandbox (since Linux 6.14): numbers of processes are used again early, and not more than this."""
_PID_MAX_PER_NAMESPACE = (6, 14)
_NAMESPACES = "user mount pid ipc uts net"
_UNITS = {"K": 10, "M": 20, "G": 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """The limits of a sandbox. Bytes can be given with a unit, as in ``"64M"``.

    Attributes:
        seconds: The time for one program. It is killed then.
        cpu: CPU seconds for each process (RLIMIT_CPU).
        memory: Bytes of address space for each process (RLIMIT_AS).
        output: Bytes that a program may write into each of its two captured streams. It is killed then.
        file: Bytes of each file that is written (RLIMIT_FSIZE). All files together are limited by ``private_tmp``.
        processes: Processes and threads at the same time (RLIMIT_NPROC).

    Raises:
        SpecError: for a value that is no number above 0.
    """

    seconds: float = 10.0
    cpu: int = 10
    memory: int = 1 << 30
    output: int = 1 << 20
    file: int = 64 << 20
    processes: int = 100

    def __post_init__(self) -> None:
        """Bring all bytes into one form."""
        for name in ("memory", "output", "file"):
            object.__setattr__(self, name, _bytes(name, getattr(self, name)))
        for name in ("seconds", "cpu", "processes"):
            value = getattr(self, name)
            whole = name != "seconds"
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not value > 0:
                raise SpecError(f"{name}: expected a {'whole ' * whole}number above 0, got {value!r}")

    @property
    def rlimits(self) -> dict[str, int | tuple[int, int]]:
        """The limits of getrlimit(2)."""
        return {
            "cpu": (self.cpu, self.cpu + 1), "as": self.memory, "fsize": self.file, "nproc": self.processes, "core": 0,
        }  # fmt: skip


def _bytes(name: str, value: object) -> int:
    if isinstance(value, str) and value[:-1].isdecimal() and value[-1:].upper() in _UNITS:
        value = int(value[:-1]) << _UNITS[value[-1].upper()]
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise SpecError(f"{name}: expected bytes, such as 1048576 or '1M', got {value!r}")
    return value


@contextlib.contextmanager
def open_sandbox(
    source: Path, hidden: Iterable[Path], limits: SandboxLimits, namespaces: bool, options: dict[str, Any]
) -> Iterator[tuple[Box, Box]]:
    """Make a sandbox with a copy of the submission in `WORK`.

    Args:
        source: The directory to copy there.
        hidden: Further directories that are empty inside.
        limits: The limits.
        namespaces: Whether programs may make namespaces and mounts. Then they are root of a user namespace in which
            these exist, and not hardened: the mounts that hide files are those of a box around it, so they are locked
            (mount_namespaces(7)).
        options: Further options of `nsbox.Box`, which come first.

    Yields:
        The box for the programs, and the box around it, which is the same one if there is no other.
    """
    places = {path.resolve() for path in hidden} - {Path("/"), *map(Path, PRIVATE_TMP)}
    concealed = [*HIDDEN_PLACES, *map(str, places)]
    common: dict[str, Any] = {
        "cwd": "/", "readable": [str(source)], "hidden": concealed, "rlimits": limits.rlimits, **_clocks(), **_pids(),
    }  # fmt: skip
    inner = {"hostname": HOSTNAME, **(options if namespaces else {})}
    with contextlib.ExitStack() as stack:
        if namespaces:
            around: dict[str, Any] = {"private_ids": True, "private_tmp": True, "new_session": True, "keyring": True}
            outer = stack.enter_context(Box([*_NAMESPACES.split(), *_time()], mount_proc=True, **common, **around))
            # Not through the stack: the end of the outer box ends both.
            box = outer.Box(_NAMESPACES, **{"map_root_user": True, "mount_proc": True, "cwd": "/", **_pids(), **inner})
            stack.callback(box.close)
        else:
            box = outer = stack.enter_context(Box(["uts", *_time()], **{"harden": True, **common, **inner, **options}))
        box.run(["cp", "-RP", f"{source}/.", WORK], check=True, env=environment(0), stdin=-3)
        yield box, outer


def environment(seed: int) -> dict[str, str]:
    """Return the environment of a program of a submission: nothing of the grader's.

    ``SEED`` has the seed, and Python's hashes do not change (PYTHONHASHSEED).
    """
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": WORK, "SHELL": "/bin/bash", "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0", "SEED": str(seed),
    }  # fmt: skip


def _time() -> list[str]:
    return ["time"] if os.path.exists("/proc/self/ns/time") else []


def _clocks() -> dict[str, int]:
    if not _time():
        return {}
    return {
        name: CLOCK_BEGIN_SECONDS - int(time.clock_gettime(clock))
        for name, clock in (("boottime", time.CLOCK_BOOTTIME), ("monotonic", time.CLOCK_MONOTONIC))
    }


def _pids() -> dict[str, int]:
    version = tuple(int(part) for part in os.uname().release.split(".")[:2])
    return {"pid_max": PID_MAX} if version >= _PID_MAX_PER_NAMESPACE else {}
