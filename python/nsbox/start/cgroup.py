"""Find a directory in which the caller can make a cgroup (cgroups(7)), or the reason why there is none.

Only what has been set up already is used: a directory of cgroup version 2 in which the caller may write, and whose
controllers are enabled for its children (cgroup.subtree_control). No controller is enabled, and no process is moved
except the one that is started. A cgroup with processes in it cannot enable controllers for children, so usually not the
caller's own cgroup serves, but one above it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass

from nsbox import _core
from nsbox.errors import UnsupportedError
from nsbox.records.mountinfo import parse
from nsbox.spec.limits import Limits

__all__ = ["Hierarchy", "make", "settings"]

_PREFIX = "nsbox-"
_CPU_PERIOD_MICROSECONDS = 100_000

_counter = itertools.count()


@dataclass(frozen=True)
class Hierarchy:
    """The cgroups of a process, read from /proc.

    Attributes:
        directory: Its directory in version 2; None if it is not visible here.
        top: The uppermost directory that is visible.
        first: The controllers that belong to version 1, each with the cgroup of the process.
    """

    directory: str | None
    top: str
    first: dict[str, str]

    @classmethod
    def read(cls, process: str = "/proc/self", viewer: str | None = None) -> Hierarchy:
        """Read them from a directory of /proc.

        Args:
            process: The process whose cgroups these are, as a directory of /proc.
            viewer: The process in whose mount namespace the directories are; by default the same process.

        Raises:
            UnsupportedError: when there is no proc to read.
        """
        try:
            with open(f"{process}/cgroup") as file:
                own = [line.rstrip("\n").split(":", 2) for line in file]
            with open(f"{viewer or process}/mountinfo", "rb") as mountinfo:
                mounts = parse(mountinfo.read())
        except OSError as error:
            raise UnsupportedError(f"limits: the cgroups of this process cannot be read: {error}") from None
        first = {name: path for _, names, path in own for name in names.split(",") if name}
        path = next((path for _, names, path in own if not names), None)
        for mount in mounts:
            if mount.fstype == "cgroup2" and path is not None and not path.startswith("/.."):
                below = os.path.relpath(path, mount.root)
                if not below.startswith(".."):
                    return cls(os.path.normpath(f"{mount.point}/{below}"), mount.point, first)
        return cls(None, "", first)

    def place(self, needed: frozenset[str]) -> str:
        """Return the directory in which a cgroup with these controllers can be made.

        Raises:
            UnsupportedError: when there is none, with the reason for each directory.
        """
        found = []
        for directory in self._upwards():
            if not _writable(directory):
                found.append(f"{directory} is not writable for this user")
                continue
            missing = needed - _words(f"{directory}/cgroup.subtree_control")
            if not missing:
                return directory
            unknown = missing - _words(f"{directory}/cgroup.controllers")
            names = ", ".join(sorted(unknown or missing))
            found.append(f"{directory} does not {f'have {names}' if unknown else f'enable {names} for its children'}")
        if self.directory is None:
            found.append("no cgroup of version 2 is visible")
        if old := sorted(needed & self.first.keys()):
            found.append(f"{', '.join(old)} {'belongs' if len(old) == 1 else 'belong'} to version 1 on this machine")
        wish = f"no cgroup for {', '.join(sorted(needed))}" if needed else "no cgroup"
        raise UnsupportedError(
            f"limits: {wish} can be made: {'; '.join(found)}. Start the program by systemd-run --user --scope "
            "-p Delegate=yes; a container needs a writable cgroup of its own"
        )

    def _upwards(self) -> Iterator[str]:
        directory = self.directory
        while directory is not None:
            yield directory
            directory = os.path.dirname(directory) if directory != self.top else None


def settings(limits: Limits) -> list[tuple[str, str, bool]]:
    """Return the files of a cgroup for these limits: name, content, and whether the file may be missing."""
    found = []
    if limits.memory is not None:
        found += [("memory.max", str(limits.memory), False), ("memory.swap.max", "0", True)]
    if limits.pids is not None:
        found.append(("pids.max", str(limits.pids), False))
    if limits.cpu is not None:
        period = _CPU_PERIOD_MICROSECONDS
        found.append(("cpu.max", f"{round(limits.cpu * period)} {period}", False))
    return found


def make(limits: Limits) -> _core.Cgroup:
    """Make a cgroup with these limits. It is removed when all processes in it have ended, or with the returned object.

    Raises:
        UnsupportedError: when there is no directory in which it can be made.
        SpawnError: when it cannot be made there.
    """
    found = settings(limits)
    place = Hierarchy.read().place(frozenset(file.split(".")[0] for file, _, _ in found))
    maker = _maker()
    _sweep(place, maker)
    made = _core.Cgroup(f"{place}/{_PREFIX}{maker}-{next(_counter)}", found)
    made.make()
    return made


def _maker() -> str:
    """Return a text that identifies this process for ever: PID namespace, PID and start time (proc_pid_stat(5))."""
    number = os.readlink("/proc/self")
    return f"{os.stat('/proc/self/ns/pid').st_ino}-{number}-{_start_time(number)}"


def _start_time(number: str) -> str:
    try:
        with open(f"/proc/{number}/stat", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return "gone"


def _sweep(place: str, ours: str) -> None:
    """Remove the empty cgroups of callers that were killed together with their nsbox-init.

    Cgroups of callers in other PID namespaces stay: whether those are alive is unknown here.
    """
    namespace = ours.partition("-")[0]
    for name in os.listdir(place):
        match name.removeprefix(_PREFIX).split("-"):
            case [theirs, number, start, _] if theirs == namespace and start != _start_time(number):
                with contextlib.suppress(OSError):
                    os.rmdir(f"{place}/{name}")


def _writable(directory: str) -> bool:
    """Return whether a directory can be made there, and a process moved from there (cgroups(7), Delegation)."""
    return all(os.access(path, os.W_OK, effective_ids=True) for path in (directory, f"{directory}/cgroup.procs"))


def _words(path: str) -> set[str]:
    try:
        with open(path) as file:
            return set(file.read().split())
    except OSError:
        return set()
