"""The state that the setup of a process has brought about: `state_of`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from nsbox.errors import SpawnError
from nsbox.records.mountinfo import Mount, parse, visible_at
from nsbox.records.names import safe
from nsbox.records.state import Mounted, State
from nsbox.seeing.proc_files import ProcFiles
from nsbox.seeing.target import Target
from nsbox.spec.capabilities import CAPABILITIES
from nsbox.spec.kinds import KINDS

__all__ = ["hostname_of", "state_of"]

_LOOK_SECONDS = 30

_Part = TypeVar("_Part")

_LOOK = """
import os, sys
# nsbox may be somewhere that only the caller's sys.path names.
sys.path.insert(0, sys.argv.pop(1))
from nsbox import _core, raw
# No root inside may trace it, whatever it enters (ptrace(2), PR_SET_DUMPABLE in prctl(2)).
_core.set_dumpable(False)
own = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
for namespace in [os.open(f"/proc/{sys.argv[1]}/ns/{kind}", os.O_RDONLY) for kind in sys.argv[2:]]:
    raw.setns(namespace)
if "mnt" in sys.argv:
    with open(os.open("mountinfo", os.O_RDONLY, dir_fd=own), "rb") as file:
        os.write(1, file.read())
else:
    os.write(1, os.fsencode(os.uname().nodename))
"""
"""A program of the caller that enters namespaces and opens no file there: only what it has of /proc from before."""


def state_of(target: Target, since: Target, unknown: list[str] | None = None) -> State:
    """Return the state of a process, compared with what was there before.

    Everything is read from the files of the kernel, from outside. The PID, the name and the rights of a box are those
    of its nsbox-init, and so are left out.

    Args:
        target: The process.
        since: A process from before, such as the box that it was started in, or the caller.
        unknown: Where to add the parts that could not be read; without it, that is an error for the first seven.

    Raises:
        AssertionError: when the process has ended.
    """
    view, before = ProcFiles(target), ProcFiles(since)
    kinds = frozenset(kind for kind in KINDS if _differs(view, before, kind))
    left_out: list[str] = []

    def part(name: str, read: Callable[[], _Part], is_lenient: bool = True) -> _Part | None:
        if unknown is None and not is_lenient:
            return read()
        try:
            return read()
        # A process that has just ended is noticed by the first part, or by the caller.
        except (OSError, AssertionError):
            left_out.append(name)
            return None

    listed = part("mounts", lambda: parse(view.read("mountinfo")))
    namespace = part("root", lambda: _mounts_of_namespace(view) if "mount" in kinds else [], False)
    old = {(mount.device, mount.root) for mount in part("root", lambda: parse(before.read("mountinfo")), False) or ()}
    root = None if namespace is None else visible_at(namespace, "/")
    status = part("rights", view.status) or {}
    is_program = not view.is_box
    state = State(
        namespaces=kinds,
        pid=view.numbers()[-1] if is_program or unknown is None else None,
        comm=safe(view.comm) if is_program or unknown is None else None,
        proc=part("proc", lambda: "pid" in kinds and len(view.seen_by_its_own_proc()) == 1, False),
        new_root=None if namespace is None else root is not None and (root.device, root.root) not in old,
        outside=None
        if namespace is None
        else "mount" not in kinds or any((one.device, one.root) in old and one.root == "/" for one in namespace),
        hostname=part("host name", lambda: _hostname(view, target), False) if "uts" in kinds else None,
        pid_for_children=part("namespaces for children", lambda: _is_for_children(view)) if is_program else False,
        id_map=part("id map", lambda: _id_map(view)) if "user" in kinds else None,
        loopback=part("loopback", lambda: b"127.0.0.1" in view.read("net/fib_trie")) if "net" in kinds else None,
        interfaces=part("interfaces", lambda: _interfaces(view)) if "net" in kinds else None,
        mounts=None if listed is None else _mounted(listed),
        shared=None if listed is None else _is_shared(listed),
        no_new_privs=_number(status, "NoNewPrivs", 10) == 1 if is_program and "NoNewPrivs" in status else None,
        seccomp=_number(status, "Seccomp", 10) == 2 if is_program and "Seccomp" in status else None,
        capabilities=_capabilities(_number(status, "CapEff", 16)) if is_program and "CapEff" in status else None,
        clocks=part("clocks", lambda: _clocks(view)) if "time" in kinds else None,
    )
    if unknown is not None:
        unknown += dict.fromkeys(left_out)
    return state


def _differs(view: ProcFiles, before: ProcFiles, kind: str) -> bool:
    try:
        return view.namespace(kind) != before.namespace(kind)
    except (FileNotFoundError, SpawnError):  # a kind that this kernel does not have
        return False


def _looked(view: ProcFiles, kind: str) -> bytes:
    """Look into a namespace of a process, with the rights of its user namespace.

    Raises:
        AssertionError: when that fails, as the process has ended.
    """
    is_nested = view.namespace("user") != ProcFiles(os.getpid()).namespace("user")
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = [sys.executable, "-c", _LOOK, package, str(view.pid), *["user"] * is_nested, kind]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_LOOK_SECONDS)
    if done.returncode:
        raise AssertionError(f"process {view.pid} has ended, or its {kind} namespace cannot be entered")
    return done.stdout


def _mounts_of_namespace(view: ProcFiles) -> list[Mount]:
    """Return all mounts of a mount namespace: a process sees only those below its root directory (chroot(2))."""
    # The root of nsbox-init is that of its namespace, and an ordinary user may not enter it from outside.
    return parse(view.read("mountinfo") if view.is_box else _looked(view, "mnt"))


def hostname_of(target: Target | None) -> str:
    """Return the host name that a process sees (uts_namespaces(7)); by default the caller.

    Raises:
        AssertionError: when the process has ended, or its UTS namespace cannot be entered.
        OSError: when the caller may not know its namespaces.
    """
    if target is None:
        return os.uname().nodename
    view = ProcFiles(target)
    return _hostname(view, target) if _differs(view, ProcFiles(os.getpid()), "uts") else os.uname().nodename


def _hostname(view: ProcFiles, target: Target) -> str:
    return safe(cast("Any", target).hostname if view.is_box else os.fsdecode(_looked(view, "uts")))


def _is_for_children(view: ProcFiles) -> bool:
    """Return whether children are in another PID namespace; before the first child the link cannot be read."""
    try:
        return os.stat(f"/proc/{view.pid}/ns/pid_for_children").st_ino != view.namespace("pid")
    except FileNotFoundError:
        view.namespace("pid")
        return True


def _id_map(view: ProcFiles) -> tuple[tuple[int, int], ...]:
    """Return the ranges inside; the ids outside depend on the user namespace of the reader."""
    rows = [line.split() for line in view.read("uid_map").decode().splitlines()]
    return tuple(sorted((int(first), int(count)) for first, _, count in rows))


def _interfaces(view: ProcFiles) -> tuple[str, ...]:
    lines = os.fsdecode(view.read("net/dev")).splitlines()[2:]
    return tuple(sorted(line.partition(":")[0].strip() for line in lines))


def _mounted(listed: Sequence[Mount]) -> dict[str, Mounted]:
    """Return what is found on each mount point that is not hidden by a mount on a directory above."""
    found = {}
    for point in dict.fromkeys(mount.point for mount in listed):
        mount = visible_at(listed, point)
        if mount is not None and point != "/":
            below = tuple(one.fstype for one in listed if one.point == point and one.id != mount.id)
            found[point] = Mounted(mount.fstype, "ro" in mount.options, below)
    return found


def _is_shared(listed: Sequence[Mount]) -> bool:
    root = visible_at(listed, "/")
    return root is not None and any(tag.startswith("shared:") for tag in root.propagation)


def _number(status: dict[str, str], name: str, base: int) -> int:
    return int(status[name], base)


def _capabilities(mask: int) -> tuple[str, ...]:
    names = {bit: name for name, bit in CAPABILITIES.items()}
    return tuple(names.get(bit, f"capability {bit}") for bit in range(mask.bit_length()) if mask >> bit & 1)


def _clocks(view: ProcFiles) -> dict[str, int]:
    rows = [line.split() for line in view.read("timens_offsets").decode().splitlines()]
    return {name: int(seconds) for name, seconds, *_ in rows}
