"""The steps that write the id maps of the new user namespace of unshare(1)."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from nsbox import _core
from nsbox._core import Call
from nsbox.command.step import CommandStep
from nsbox.command.unshare.helper import Helper
from nsbox.command.unshare.request import Request
from nsbox.seeing.target import own_number_in_proc
from nsbox.spec.capabilities import has_capability
from nsbox.spec.step_names import StepName
from nsbox.start.id_ranges import resolved_ranges

__all__ = ["own_map_steps", "range_steps", "write_step"]

_MANUAL = "user_namespaces(7)"
_FILES: Final[dict[str, Literal["uid_map", "gid_map"]]] = {"map_users": "uid_map", "map_groups": "gid_map"}
_PROGRAMS = {"uid_map": "newuidmap", "gid_map": "newgidmap"}
_CAPABILITIES = {"uid_map": "CAP_SETUID", "gid_map": "CAP_SETGID"}


def range_steps(request: Request, helper: Helper) -> Iterator[CommandStep]:
    """Return the steps for maps of ranges. They are written from outside, where the rights for that are."""
    number = own_number_in_proc()
    for option, own, single in (
        ("map_users", os.geteuid(), request.map_user),
        ("map_groups", os.getegid(), request.map_group),
    ):
        ranges = resolved_ranges(option, getattr(request, option))
        if not ranges:
            continue
        file = _FILES[option]
        lines = _core.id_map_lines(single, ranges, own)
        why = f"maps each {'user' if file == 'uid_map' else 'group'} id inside to one outside"
        rows = tuple(lines)
        if has_capability(_core.facts().effective, _CAPABILITIES[file]):
            call, manual = Call("write", path=f"/proc/PID/{file}", buf=rows), _MANUAL
            do = functools.partial(_put, Path(f"/proc/{number}", file), text_of(rows))
        else:
            program = _PROGRAMS[file]
            call, manual = Call.program(program, pid=("PID",), rows=rows), f"{program}(1)"
            numbers = [str(number) for row in rows for number in row]
            do = functools.partial(_run, [program, str(number), *numbers])
        yield CommandStep(file, (call,), manual, why, helper.add(file, do))


def text_of(rows: Iterable[tuple[int, int, int]]) -> str:
    """Return the text of an id map (user_namespaces(7)), a line for each row."""
    return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in rows)


def own_map_steps(request: Request) -> Iterator[CommandStep]:
    """Return the steps for maps of the caller's own ids, which this process writes itself."""
    if request.map_user is not None and not request.map_users:
        why = "maps a user id inside to that of the caller"
        yield _own_row("uid_map", request.map_user, os.geteuid(), why)
    if request.map_group is not None and not request.map_groups:
        yield write_step(
            "setgroups", "setgroups", "deny", _MANUAL, "without this an ordinary user may not write the group map"
        )
        why = "maps a group id inside to that of the caller"
        yield _own_row("gid_map", request.map_group, os.getegid(), why)
    if request.setgroups:
        yield write_step("setgroups", "setgroups", request.setgroups, _MANUAL, "as asked")


def _own_row(name: Literal["uid_map", "gid_map"], inside: int, own: int, why: str) -> CommandStep:
    rows = ((inside, own, 1),)
    path = Path("/proc/self", name)
    return CommandStep(
        name, (Call("write", path=str(path), buf=rows),), _MANUAL, why, lambda: _put(path, text_of(rows))
    )


def write_step(name: StepName, file: str, text: str, manual: str, why: str) -> CommandStep:
    """Return the step that writes a text into a file of this process in /proc."""
    path = Path("/proc/self", file)
    return CommandStep(name, (Call("write", path=str(path), buf=text),), manual, why, lambda: _put(path, text))


def _put(path: Path, text: str) -> None:
    # A single write(2): the kernel accepts a map only as a whole.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _run(command: list[str]) -> None:
    reader, writer = os.pipe()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 2)])
    os.close(writer)
    with open(reader, errors="replace") as errors:
        printed = errors.read().strip().replace("\n", "; ")
    if os.waitpid(pid, 0)[1]:
        raise OSError(errno.EPERM, printed)
