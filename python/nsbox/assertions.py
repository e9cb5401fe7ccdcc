"""Assertions on kernel state, for tests and grading: each says what was expected, what was seen, and the likely cause.

>>> with Shell("mip") as shell:
...     assert_isolated(shell, "pid ipc")
...     assert_init(shell, comm="bash")
...     assert_proc_matches(shell)
AssertionError: a /proc that shows the PID namespace of process 28207 (bash)
    expected: /proc lists it under its own number, 1
    seen:     /proc belongs to an outer PID namespace, where its number is 28207
    likely:   no proc was mounted after the PID namespace was made: mount -t proc proc /proc

Nothing is run inside: it is read from /proc of the caller, or by the nsbox-init of a box.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from nsbox.diagnosis import pid_namespace
from nsbox.records.mounts import parse
from nsbox.seeing.leftovers import describe, leftovers
from nsbox.seeing.proc import Target
from nsbox.seeing.proc_files import ProcFiles
from nsbox.spec.kinds import KINDS, Namespaces, namespace_names

__all__ = [
    "assert_init",
    "assert_isolated",
    "assert_mounted",
    "assert_no_leftovers",
    "assert_proc_matches",
    "assert_shared",
]


def assert_isolated(target: Target, kinds: Namespaces, since: Target | None = None) -> None:
    """Assert that a process has namespaces of its own, of all these kinds.

    Args:
        target: The process.
        kinds: The namespaces, in any form that ``unshare`` takes.
        since: The process whose namespaces they are not; by default the caller.

    Raises:
        AssertionError: when one is the same, with the likely cause.
        SpecError: for what is no namespace or process.
    """
    __tracebackhide__ = True
    view, other = ProcFiles(target), ProcFiles(os.getpid() if since is None else since)
    names = namespace_names(kinds)
    shared = [kind for kind in names if view.namespace(kind) == other.namespace(kind)]
    if shared:
        numbers = ", ".join(f"{kind}:[{view.namespace(kind)}]" for kind in shared)
        whose = "the caller" if since is None else str(other)
        _fail(
            f"{view} isolated by new {', '.join(names)} namespaces",
            f"namespaces other than those of {whose}",
            f"{numbers} {'is' if len(shared) == 1 else 'are'} the same",
            " ".join(_why_shared(kind, view, names) for kind in shared),
        )


def _why_shared(kind: str, view: ProcFiles, names: Iterable[str]) -> str:
    option = f"--{kind} (-{KINDS[kind].letter})"
    if kind == "pid" and not view.is_box:
        match pid_namespace.for_children(view.pid):
            case "alive" | "dead" | "unborn":
                return "a PID namespace was unshared without a fork, for the children only: unshare needs --fork (-f)."
    rest = "; what is mounted now is mounted outside, too" if kind == "mount" and set(names) != {"mount"} else ""
    return f"unshare without {option}{rest}."


def assert_shared(target: Target, kinds: Namespaces, since: Target | None = None) -> None:
    """Assert that a process has the same namespaces as another one, of all these kinds; see `assert_isolated`.

    Raises:
        AssertionError: when one is another.
        SpecError: for what is no namespace or process.
    """
    __tracebackhide__ = True
    view, other = ProcFiles(target), ProcFiles(os.getpid() if since is None else since)
    new = [kind for kind in namespace_names(kinds) if view.namespace(kind) != other.namespace(kind)]
    if new:
        _fail(
            f"{view} in the same {', '.join(namespace_names(kinds))} namespaces as {other}",
            ", ".join(f"{kind}:[{other.namespace(kind)}]" for kind in new),
            ", ".join(f"{kind}:[{view.namespace(kind)}]" for kind in new),
            "unshare with an option too many, or a target that had not been joined.",
        )


def assert_init(target: Target, comm: str | None = None) -> None:
    """Assert that a process is the first one of a PID namespace of its own (pid_namespaces(7)).

    Args:
        target: The process.
        comm: The name it has, if that matters (proc_pid_comm(5)).

    Raises:
        AssertionError: when it is not, with the likely cause.
        SpecError: for what is no process.
    """
    __tracebackhide__ = True
    view = ProcFiles(target)
    number = view.numbers()[-1]
    if view.namespace("pid") == ProcFiles(os.getpid()).namespace("pid"):
        _fail(f"{view} as PID 1", "PID 1 of a new PID namespace", f"PID {number} in the caller's own PID namespace",
              _why_shared("pid", view, ["pid"]))  # fmt: skip
    if number != 1:
        _fail(f"{view} as PID 1", "number 1 in its PID namespace", f"number {number} there",
              "the PID namespace had its first process already: something else was started in it before.")  # fmt: skip
    if comm is not None and view.comm != comm:
        _fail(f"{comm} as PID 1", f"the name {comm!r}", f"the name {view.comm!r}",
              f"another program was started as PID 1, or {comm} has executed one in its own place (exec).")  # fmt: skip


def assert_proc_matches(target: Target) -> None:
    """Assert that what a process sees in /proc is its own PID namespace (proc(5)).

    Raises:
        AssertionError: when it is not, with the likely cause.
        SpecError: for what is no process.
    """
    __tracebackhide__ = True
    view = ProcFiles(target)
    seen = view.seen_by_its_own_proc()
    if len(seen) == 1:
        return
    numbers = view.numbers()
    outer = seen[0] if seen else numbers[0]
    own_mounts = view.namespace("mount") != ProcFiles(os.getpid()).namespace("mount")
    remedy = "mount -t proc proc /proc" if own_mounts else "a mount namespace of its own first (-m), then a proc"
    _fail(
        f"a /proc that shows the PID namespace of {view}",
        f"/proc lists it under its own number, {numbers[-1]}",
        f"/proc belongs to an outer PID namespace, where its number is {outer}",
        f"no proc was mounted after the PID namespace was made: {remedy}.",
    )


def assert_mounted(target: Target, path: str | os.PathLike[str], fstype: str | None = None) -> None:
    """Assert that something is mounted in the mount namespace of a process (proc_pid_mountinfo(5)).

    Args:
        target: The process.
        path: Where.
        fstype: The type of the file system, if that matters.

    Raises:
        AssertionError: when it is not.
        SpecError: for what is no process.
    """
    __tracebackhide__ = True
    view = ProcFiles(target)
    wanted = os.fspath(path)
    types = [mount.fstype for mount in parse(view.read("mountinfo")) if mount.point == wanted]
    # The last one covers the others.
    if not types or (fstype is not None and types[-1] != fstype):
        _fail(
            f"{fstype or 'something'} on {wanted} for {view}",
            f"a mount of {fstype or 'any type'}",
            f"{types[-1]} is mounted there" if types else "nothing is mounted there",
            "it was mounted in another mount namespace, or not at all.",
        )


def assert_no_leftovers(target: Target, patience: float = 0.5) -> None:
    """Assert that a process, or a box, has no living descendants, orphans that it has adopted included.

    Args:
        target: The process.
        patience: Seconds in which they may still end.

    Raises:
        AssertionError: with those that are there.
        SpecError: for what is no process.
    """
    __tracebackhide__ = True
    view = ProcFiles(target)
    if left := leftovers([view.pid], patience=patience):
        daemons = any(process.sid == process.pid for process in left)
        _fail(
            f"nothing left behind below {view}",
            "no process",
            "; ".join(map(describe, left)),
            "a daemon was started (setsid), which ends only with its PID namespace."
            if daemons
            else "something was started in the background, and neither ended nor waited for.",
        )


def _fail(title: str, expected: str, seen: str, likely: str) -> None:
    __tracebackhide__ = True
    raise AssertionError(f"{title}\n    expected: {expected}\n    seen:     {seen}\n    likely:   {likely.rstrip('.')}")
