"""Questions whose answers are read from the kernel, for lessons in notebooks.

    answer = 1                        # the student's answer
    check(answer, numbers(shell))     # compared with the kernel's state, and where that is read

`check` compares an answer with a `Fact`, which is read at that moment. `confirm` calls an assertion of
`nsbox.assertions`, for a state that the student was to bring about. Both return a panel, or raise a `WrongAnswerError`
that says where to look. No right answer is written down in a lesson.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from nsbox.box.box import Box
from nsbox.errors import NsboxError, ProcessEndedError
from nsbox.records.processes import Process
from nsbox.seeing.ipc import ipcs
from nsbox.seeing.mounts import mounts
from nsbox.seeing.namespaces import namespaces_of, same_namespace
from nsbox.seeing.proc_files import ProcFiles
from nsbox.seeing.processes import ps
from nsbox.seeing.target import Target, pid_of
from nsbox.spec.id_maps import parse_id_map
from nsbox.spec.kinds import KINDS
from nsbox.start.enter import enter
from nsbox.views.answers import what_is_wrong
from nsbox.views.panel import Panel

__all__ = [
    "Fact",
    "WrongAnswerError",
    "check",
    "clock_offset",
    "confirm",
    "control_group",
    "host_name",
    "id_map",
    "interfaces",
    "ipc_objects",
    "left_of",
    "measured",
    "mounted",
    "new_kinds",
    "number_in_proc",
    "numbers",
    "owner_of_file",
    "parent",
    "sees",
    "shares",
    "zombies",
]


class WrongAnswerError(NsboxError, AssertionError):
    """An answer differs from the kernel's state, or a required state was not brought about."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A value that was read from the kernel.

    Attributes:
        value: The value.
        source: Where the student can read it.
        command: A command that shows it; empty if none does.
    """

    value: object
    source: str
    command: str = ""

    @property
    def hint(self) -> str:
        """What a student can do to find the answer."""
        return self.command or f"look at {self.source}"


def check(answer: object, fact: Fact) -> Panel:
    """Compare an answer with the kernel's state.

    Any usual form of the answer is accepted: numbers as text, kinds of namespaces as a set, a list, ``"mip"`` or
    ``"mnt pid"``, ``"yes"`` for True.

    Args:
        answer: The answer; ``...`` for none yet.
        fact: The value to compare with.

    Raises:
        WrongAnswerError: when they differ, with how far it is right, and where the right answer can be read.
    """
    if answer is ...:
        raise WrongAnswerError(f"no answer yet\nnext: replace the dots by your answer; {fact.hint}")
    if (wrong := what_is_wrong(answer, fact.value)) is not None:
        reason = f": {wrong}" if wrong else ""
        raise WrongAnswerError(f"wrong answer: {answer!r:.200}{reason}\nnext: {fact.hint}")
    return Panel("fine", f"right: {answer!r}", (("read", fact.source),))


def confirm(assertion: Callable[..., None], *args: Any, **keywords: Any) -> Panel:
    """Check that a required state was brought about.

    Args:
        assertion: A function that raises an AssertionError if not, such as those of `nsbox.assertions`.
        *args: Its arguments.
        **keywords: Its keyword arguments.

    Raises:
        WrongAnswerError: when it was not, with the expected and the seen state and the likely cause.
    """
    try:
        assertion(*args, **keywords)
    except AssertionError as error:
        raise WrongAnswerError(f"not yet: {error}") from None
    meaning = (assertion.__doc__ or assertion.__name__).strip().partition("\n")[0]
    return Panel("fine", f"confirmed: {meaning.removeprefix('Assert that ').rstrip('.')}")


def measured(value: object, source: str) -> Fact:
    """Make a fact of a value that a lesson has measured, such as one of `nsbox.lessons`."""
    return Fact(value, source)


# Processes


def numbers(target: Target) -> Fact:
    """The PIDs of a process, in the caller's PID namespace first and in its own last: NSpid, proc_pid_status(5)."""
    view = ProcFiles(target)
    found = tuple(view.numbers()) if not view.is_box else (view.pid, 1)
    return Fact(found, f"NSpid in /proc/{view.pid}/status", f"grep NSpid /proc/{view.pid}/status")


def parent(target: Target) -> Fact:
    """The PID of the parent of a process: PPid, proc_pid_status(5)."""
    view = ProcFiles(target)
    return Fact(int(view.status()["PPid"]), f"PPid in /proc/{view.pid}/status", f"grep PPid /proc/{view.pid}/status")


def number_in_proc(target: Target) -> Fact:
    """The PID under which a process is listed in its own /proc: its last one if that shows its own PID namespace."""
    view = ProcFiles(target)
    seen = view.seen_by_its_own_proc()
    # If its own /proc has no such PID, that belongs to an outer PID namespace.
    found = view.numbers()[-1] if len(seen) == 1 else view.pid
    return Fact(found, f"/proc as process {view.pid} sees it", f"nsbox ps --proc --of {view.pid}")


def zombies(box: Box) -> Fact:
    """How many processes of a box have ended and have not been waited for: state Z, proc_pid_stat(5)."""
    return Fact(
        sum(process.state == "Z" for process in box.ps()),
        "the processes with the state Z in ps",
        f"nsbox ps --of {ProcFiles(box).pid}",
    )


def left_of(processes: Iterable[Process]) -> Fact:
    """How many of these processes have not ended: a process with the same PID and start time exists."""
    known = {(process.pid_namespace or 0, *process.identity): process for process in processes}
    left = 0
    for process in known.values():
        with contextlib.suppress(ProcessEndedError):
            left += sum(now.state not in "ZX" for now in ps(pids=[pid_of(process, "processes")]))
    pids = [str(pid) for _, pid, _ in sorted(known)]
    return Fact(left, f"ps, for PIDs {', '.join(pids)}", f"ps -p {','.join(pids)}")


# Namespaces


def shares(target: Target, kind: str) -> Fact:
    """Whether a process is in the same namespace of a kind as the caller: namespaces(7)."""
    link = KINDS[kind].link
    pid = ProcFiles(target).pid
    theirs, ours = f"/proc/{pid}/ns/{link}", f"/proc/self/ns/{link}"
    command = _if_allowed(pid, f"readlink {theirs} {ours}")
    return Fact(same_namespace(target, os.getpid(), kind), f"{theirs} and {ours}", command)


def new_kinds(target: Target) -> Fact:
    """The kinds of namespaces in which a process differs from the caller, as a set of names."""
    theirs, ours = namespaces_of(target), namespaces_of(os.getpid())
    kinds = {kind for kind in KINDS if getattr(theirs, kind) not in (None, getattr(ours, kind))}
    pid = ProcFiles(target).pid
    links = f"/proc/{pid}/ns"
    command = _if_allowed(pid, f"ls -l {links} /proc/self/ns")
    return Fact(kinds, f"the links in {links}, and those in /proc/self/ns", command)


def id_map(target: Target) -> Fact:
    """The first line of the map of user ids: inside, outside, count (user_namespaces(7)); empty without a map."""
    view = ProcFiles(target)
    ranges = parse_id_map(view.read("uid_map").decode())
    return Fact(ranges[0] if ranges else (), f"/proc/{view.pid}/uid_map", f"head -n 1 /proc/{view.pid}/uid_map")


def clock_offset(target: Target, clock: str = "boottime") -> Fact:
    """The offset in seconds of a clock in the time namespace of a process: time_namespaces(7)."""
    view = ProcFiles(target)
    lines = [line.split() for line in view.read("timens_offsets").decode().splitlines()]
    found = next(int(line[1]) for line in lines if line[0] == clock)
    return Fact(found, f"/proc/{view.pid}/timens_offsets", f"cat /proc/{view.pid}/timens_offsets")


def control_group(target: Target) -> Fact:
    """The control group of a process, as a process in the same cgroup namespace sees it: cgroup_namespaces(7)."""
    command = ["sed", "-n", r"s/^0:[^:]*://p;T;q", "/proc/self/cgroup"]
    found = _inside(target, "cgroup", command)
    return Fact(found, "/proc/self/cgroup, read from inside", _entered(target, "cgroup", "cat /proc/self/cgroup"))


# What is in them


def mounted(target: Target, path: str) -> Fact:
    """The type of the file system that is mounted on a path, as a process sees it: proc_pid_mountinfo(5).

    Empty if the path is no mount point.
    """
    found = mounts(target).at(path)
    source = f"/proc/{ProcFiles(target).pid}/mountinfo"
    return Fact(found.fstype if found else "", source, f"grep {shlex.quote(f' {path} ')} {source}")


def sees(target: Target, path: str) -> Fact:
    """Whether a path exists for a process. Symbolic links lead where they lead for that process.

    Raises:
        OSError: when the caller may not look, or the file system does not reply.
    """
    from nsbox import _core  # noqa: PLC0415 - not needed to show what was read

    pid = ProcFiles(target).pid
    found = _core.open_proc(b"/proc").exists_for(pid, os.fsencode(path))
    seen = f"/proc/{pid}/root{path}"
    return Fact(found, seen, _if_allowed(pid, f"ls -d {shlex.quote(seen)}"))


def owner_of_file(path: str) -> Fact:
    """The user id of the owner of a file, as the caller sees it: stat(2)."""
    return Fact(os.lstat(path).st_uid, f"stat {path}", f"stat {shlex.quote(path)}")


def ipc_objects(target: Target) -> Fact:
    """The number of System V objects and POSIX queues in the IPC namespace of a process: ipc_namespaces(7)."""
    return Fact(len(ipcs(target)), "ipcs, read from inside", _entered(target, "ipc", "ipcs"))


def host_name(target: Target) -> Fact:
    """The host name that a process sees: uts_namespaces(7)."""
    return Fact(_inside(target, "uts", ["uname", "-n"]), "uname -n, run inside", _entered(target, "uts", "uname -n"))


def interfaces(target: Target) -> Fact:
    """The names of the network interfaces that a process sees, as a set: network_namespaces(7)."""
    view = ProcFiles(target)
    lines = view.read("net/dev").decode().splitlines()[2:]
    names, source = {line.partition(":")[0].strip() for line in lines}, f"/proc/{view.pid}/net/dev"
    return Fact(names, source, f"cat {source}")


def _inside(target: Target, kind: str, command: list[str]) -> str:
    kinds = kind if "user" not in new_kinds(target).value else f"user {kind}"  # type: ignore[operator]
    done = enter(target, kinds, command, capture_output=True, text=True, check=True)
    return str(done.stdout).rstrip("\n")


def _entered(target: Target, kind: str, command: str) -> str:
    """Return a command that runs another one in the namespace of this kind."""
    new = new_kinds(target).value
    assert isinstance(new, set)
    if kind not in new:
        return command
    pid, user = ProcFiles(target).pid, " --user --preserve-credentials" if "user" in new else ""
    return _if_allowed(pid, f"nsenter --target {pid}{user} --{kind} {command}")


def _if_allowed(pid: int, command: str) -> str:
    """Return a command that takes the right to trace a process, if the caller has it; else an empty text."""
    try:
        os.readlink(f"/proc/{pid}/ns/user")
    except OSError:
        # The init of a box may not be traced by an ordinary user.
        return ""
    return command
