"""The state that a program has brought about, and what differs from that of the model answer: `State`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass

from nsbox.grading.text import one_line
from nsbox.records.mountinfo import Mount, parse, visible_at
from nsbox.seeing.proc_files import ProcFiles
from nsbox.seeing.target import Target
from nsbox.spec.kinds import KINDS

_LOOK_SECONDS = 30

__all__ = ["State", "assert_state", "differences", "state_of"]


@dataclass(frozen=True, kw_only=True)
class State:
    """What a program has brought about, as the kernel shows it. A lab writes down the state of its model answer.

    A part that is None does not matter.

    Attributes:
        namespaces: The kinds of namespaces that are others than before the submission.
        pid: The PID of the program in its own PID namespace.
        comm: The name of the program.
        proc: Whether its /proc shows its own PID namespace.
        new_root: Whether the root of its mount namespace is another one, as after pivot_root(2). chroot(2) leaves it.
        outside: Whether its mount namespace still has a root directory from before, such as the old root.
        hostname: The host name that it sees.
    """

    namespaces: Collection[str] | None = None
    pid: int | None = None
    comm: str | None = None
    proc: bool | None = None
    new_root: bool | None = None
    outside: bool | None = None
    hostname: str | None = None


def state_of(target: Target, since: Target) -> State:
    """Return the state of a process, compared with what was there before the submission.

    Everything is read from the files of the kernel, from outside.

    Args:
        target: The process.
        since: A process from before the submission, such as the box that it was started in.

    Raises:
        AssertionError: when the process has ended.
    """
    view, before = ProcFiles(target), ProcFiles(since)
    kinds = frozenset(kind for kind in KINDS if _differs(view, before, kind))
    numbers = view.numbers()
    seen = _mounts_of_namespace(view) if "mount" in kinds else []
    old = {(mount.device, mount.root) for mount in parse(before.read("mountinfo"))}
    root = visible_at(seen, "/")
    return State(
        namespaces=kinds,
        pid=numbers[-1],
        comm=one_line(view.comm),
        proc="pid" in kinds and len(view.seen_by_its_own_proc()) == 1,
        new_root=root is not None and (root.device, root.root) not in old,
        outside="mount" not in kinds or any((mount.device, mount.root) in old and mount.root == "/" for mount in seen),
        hostname=_hostname(view) if "uts" in kinds else None,
    )


def _differs(view: ProcFiles, before: ProcFiles, kind: str) -> bool:
    try:
        return view.namespace(kind) != before.namespace(kind)
    except FileNotFoundError:  # a kind that this kernel does not have
        return False


_LOOK = """
import os, sys
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


def _looked(view: ProcFiles, kind: str) -> bytes:
    """Look into a namespace of a process, with the rights of its user namespace.

    Raises:
        AssertionError: when that fails, as the process has ended.
    """
    is_nested = view.namespace("user") != ProcFiles(os.getpid()).namespace("user")
    command = [sys.executable, "-c", _LOOK, str(view.pid), *["user"] * is_nested, kind]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_LOOK_SECONDS)
    if done.returncode:
        raise AssertionError(f"process {view.pid} has ended, or its {kind} namespace cannot be entered")
    return done.stdout


def _mounts_of_namespace(view: ProcFiles) -> list[Mount]:
    """Return all mounts of a mount namespace: a process sees only those below its root directory (chroot(2))."""
    return parse(_looked(view, "mnt"))


def _hostname(view: ProcFiles) -> str:
    return one_line(os.fsdecode(_looked(view, "uts")))


def differences(seen: State, model: State) -> list[str]:
    """Return what is missing to the model answer: a sentence for each missing step, in the order of the steps."""
    missing = [
        f"there is no new {kind} namespace: unshare without --{kind} (-{KINDS[kind].letter})"
        for kind in KINDS
        if kind in (model.namespaces or ()) and kind not in (seen.namespaces or ())
    ]
    has_pid = "pid" in (seen.namespaces or ())
    if _lacks(seen.pid, model.pid) and has_pid:
        missing.append(
            f"the program has PID {seen.pid} in its PID namespace and not {model.pid}: "
            "another process was started there before"
        )
    if _lacks(seen.comm, model.comm):
        missing.append(f"the program is {seen.comm} and not {model.comm}")
    if _lacks(seen.hostname, model.hostname) and "uts" in (seen.namespaces or ()):
        missing.append(f"the host name is {seen.hostname!r} and not {model.hostname!r}: sethostname(2)")
    if _lacks(seen.new_root, model.new_root):
        missing.append("the root of the mount namespace is that of the machine, below chroot, too: pivot_root(2)")
    if _lacks(seen.outside, model.outside):
        missing.append("the old root is still mounted: umount2(2), with MNT_DETACH")
    if _lacks(seen.proc, model.proc) and has_pid:
        missing.append("no proc was mounted after the PID namespace was made: mount -t proc proc /proc")
    return missing


def _lacks(seen: object, wanted: object) -> bool:
    return wanted is not None and seen != wanted


def assert_state(target: Target, model: State, since: Target) -> None:
    """Assert that a process is in the state of the model answer.

    Args:
        target: The process.
        model: The state of the model answer.
        since: A process from before the submission.

    Raises:
        AssertionError: with a sentence for each missing step.
    """
    __tracebackhide__ = True
    missing = differences(state_of(target, since), model)
    if missing:
        raise AssertionError("\n".join(["this differs from the model answer:", *(f"    - {one}" for one in missing)]))
