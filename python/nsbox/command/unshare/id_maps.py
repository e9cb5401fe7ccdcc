"""The id maps of the new user namespace of unshare(1): who writes them, and when."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator
from pathlib import Path

from nsbox import _core
from nsbox.command.step import CommandStep
from nsbox.command.unshare.helper import Bystander
from nsbox.command.unshare.request import Request
from nsbox.spec.capabilities import has_capability
from nsbox.start.id_ranges import resolved_ranges

__all__ = ["own_map_steps", "range_steps", "write_step"]

_MANUAL = "user_namespaces(7)"
_FILES = {"map_users": "uid_map", "map_groups": "gid_map"}
_PROGRAMS = {"uid_map": "newuidmap", "gid_map": "newgidmap"}
_CAPABILITIES = {"uid_map": "CAP_SETUID", "gid_map": "CAP_SETGID"}


def range_steps(request: Request, bystander: Bystander) -> Iterator[CommandStep]:
    """Return the steps for maps of ranges. They are written from outside, where there are rights to do so."""
    for option, own, single in (
        ("map_users", os.geteuid(), request.map_user),
        ("map_groups", os.getegid(), request.map_group),
    ):
        ranges = resolved_ranges(option, getattr(request, option))
        if not ranges:
            continue
        file = _FILES[option]
        lines = _core.id_map_lines(single, ranges, own)
        why = f"which {'user' if file == 'uid_map' else 'group'} outside each one inside stands for"
        if has_capability(_core.facts().effective, _CAPABILITIES[file]):
            text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in lines)
            do = bystander.add(file, functools.partial(_put, Path(f"/proc/{os.getpid()}", file), text))
            shown = text.replace("\n", "\\n")
            yield CommandStep(file, f'write("/proc/PID/{file}", "{shown}")', _MANUAL, why, do)
        else:
            words = [str(number) for line in lines for number in line]
            program = _PROGRAMS[file]
            do = bystander.add(file, functools.partial(_run, [program, str(os.getpid()), *words]))
            yield CommandStep(file, " ".join([program, "PID", *words]), f"{program}(1)", why, do)


def own_map_steps(request: Request) -> Iterator[CommandStep]:
    """Return the steps for maps of the caller's own ids, which this process writes itself."""
    if request.map_user is not None and not request.map_users:
        why = "which user inside stands for the caller"
        yield write_step("uid_map", "uid_map", f"{request.map_user} {os.geteuid()} 1", _MANUAL, why)
    if request.map_group is not None and not request.map_groups:
        yield write_step(
            "setgroups", "setgroups", "deny", _MANUAL, "without this an ordinary user may not write the group map"
        )
        why = "which group inside stands for the caller's"
        yield write_step("gid_map", "gid_map", f"{request.map_group} {os.getegid()} 1", _MANUAL, why)
    if request.setgroups:
        yield write_step("setgroups", "setgroups", request.setgroups, _MANUAL, "as asked")


def write_step(name: str, file: str, text: str, manual: str, why: str) -> CommandStep:
    """Return the step that writes a text into a file of this process in /proc."""
    path = Path("/proc/self", file)
    return CommandStep(name, f'write("{path}", "{text}")', manual, why, lambda: _put(path, text))


def _put(path: Path, text: str) -> None:
    # One write: the kernel takes a map only as a whole.
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
        words = errors.read().strip().replace("\n", "; ")
    if os.waitpid(pid, 0)[1]:
        raise OSError(errno.EPERM, words)
