"""Assertions on kernel state, for tests and grading. Failures show the expected and the seen state and a likely cause.

>>> with Shell("mip") as shell:
...     assert_isolated(shell, "pid ipc")
...     assert_init(shell, comm="bash")
...     assert_proc_matches(shell)
AssertionError: a /proc that shows the PID namespace of process 28207 (bash)
    expected: /proc lists it under its own number, 1
    seen:     /proc belongs to an outer PID namespace, where its number is 28207
    likely:   no proc was mounted after the PID namespace was made: mount -t proc proc /proc

Nothing is run inside, and nothing is believed that a program could have written or mounted: the state is read from the
caller's /proc, and for a box from the proc that its nsbox-init keeps from before any program ran.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from nsbox.box.workers import belongs_to_worker
from nsbox.diagnosis import pid_namespace
from nsbox.records.mountinfo import Mount, holding, normal_path, parse, visible_at
from nsbox.records.names import safe
from nsbox.seeing.leftovers import described, leftovers
from nsbox.seeing.proc_files import ProcFiles
from nsbox.seeing.target import Target
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
    """Assert that a process has other namespaces than another process, of all these kinds.

    Args:
        target: The process.
        kinds: The namespaces, in any form that ``unshare`` takes.
        since: The process to compare with; by default the caller.

    Raises:
        AssertionError: when a namespace is the same, with the likely cause.
        SpecError: for an unknown namespace, and a target that is no process.
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
    rest = "; all mounts made now are made outside, too" if kind == "mount" and set(names) != {"mount"} else ""
    return f"unshare without {option}{rest}."


def assert_shared(target: Target, kinds: Namespaces, since: Target | None = None) -> None:
    """Assert that a process has the same namespaces as another process, of all these kinds; see `assert_isolated`.

    Raises:
        AssertionError: when a namespace is not the same.
        SpecError: for an unknown namespace, and a target that is no process.
    """
    __tracebackhide__ = True
    view, other = ProcFiles(target), ProcFiles(os.getpid() if since is None else since)
    new = [kind for kind in namespace_names(kinds) if view.namespace(kind) != other.namespace(kind)]
    if new:
        _fail(
            f"{view} in the same {', '.join(namespace_names(kinds))} namespaces as {other}",
            ", ".join(f"{kind}:[{other.namespace(kind)}]" for kind in new),
            ", ".join(f"{kind}:[{view.namespace(kind)}]" for kind in new),
            "unshare with an option too many, or a namespace that was not joined.",
        )


def assert_init(target: Target, comm: str | None = None, since: Target | None = None) -> None:
    """Assert that a process is PID 1 of its own PID namespace (pid_namespaces(7)).

    That must not be the namespace of the caller, nor that of `since`.

    Args:
        target: The process.
        comm: The expected name of the process (proc_pid_comm(5)); None for any.
        since: A process from before, such as the box of a submission: what was so already is not enough.

    Raises:
        AssertionError: when it is not, with the likely cause.
        SpecError: for a target that is no process.
    """
    __tracebackhide__ = True
    _assert_new_pid_namespace(target, since)
    view = ProcFiles(target)
    number = view.numbers()[-1]
    if view.namespace("pid") == ProcFiles(os.getpid()).namespace("pid"):
        _fail(f"{view} as PID 1", "PID 1 of a new PID namespace", f"PID {number} in the caller's own PID namespace",
              _why_shared("pid", view, ["pid"]))  # fmt: skip
    if number != 1:
        _fail(f"{view} as PID 1", "number 1 in its PID namespace", f"number {number} there",
              "another process was started in the PID namespace before, and is PID 1.")  # fmt: skip
    if comm is not None and view.comm != comm:
        _fail(f"{comm} as PID 1", f"the name {comm!r}", f"the name {view.comm!r}",
              f"another program was started as PID 1, or {comm} has replaced itself by it (exec).")  # fmt: skip


def assert_proc_matches(target: Target, since: Target | None = None) -> None:
    """Assert that the /proc of a process shows its own PID namespace (proc(5)).

    Only a proc of the kernel counts, whatever a program has mounted there. Of a process for which nothing was done,
    this is true as well. With `since` it has to be in a new PID namespace, too.

    Args:
        target: The process.
        since: A process from before, such as the box of a submission: what was so already is not enough.

    Raises:
        AssertionError: when it does not, with the likely cause.
        SpecError: for a target that is no process.
    """
    __tracebackhide__ = True
    _assert_new_pid_namespace(target, since)
    view = ProcFiles(target)
    seen = view.seen_by_its_own_proc()
    if len(seen) == 1:
        return
    numbers = view.numbers()
    own_mounts = view.namespace("mount") != ProcFiles(os.getpid()).namespace("mount")
    remedy = "mount -t proc proc /proc" if own_mounts else "make a mount namespace of its own (-m), then mount a proc"
    _fail(
        f"a /proc that shows the PID namespace of {view}",
        f"/proc lists it under its own number, {numbers[-1]}",
        f"/proc belongs to an outer PID namespace, where its number is {seen[0]}"
        if seen
        else "what is mounted on /proc is no proc, or one that does not show it",
        f"no proc was mounted after the PID namespace was made: {remedy}."
        if seen
        else f"another file system was mounted there, or the proc of another PID namespace: {remedy}.",
    )


def _assert_new_pid_namespace(target: Target, since: Target | None) -> None:
    __tracebackhide__ = True
    if since is not None:
        assert_isolated(target, "pid", since=since)


def assert_mounted(
    target: Target,
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    fstype: str | None = None,
    since: Target | None = None,
) -> None:
    """Assert that a path is a mount point in the mount namespace of a process (proc_pid_mountinfo(5)).

    A mount that another mount hides does not count, and with `since` none that was there before.

    Args:
        target: The process.
        path: The mount point: an absolute path without ``..``; links are not followed.
        fstype: The expected type of the file system; None for any.
        since: A process from before, such as the box of a submission.

    Raises:
        AssertionError: when it is not.
        SpecError: for a target that is no process, and for any other path.
    """
    __tracebackhide__ = True
    view = ProcFiles(target)
    wanted = normal_path(path)
    listed = parse(view.read("mountinfo"))
    mount = visible_at(listed, wanted)
    if mount is None or (fstype is not None and mount.fstype != fstype):
        _fail(
            f"{fstype or 'something'} on {wanted} for {view}",
            f"a mount of {fstype or 'any type'}",
            f"{safe(mount.fstype)} is mounted there" if mount else "nothing is mounted there",
            _why_not_mounted(listed, wanted, fstype),
        )
    before = None if since is None else visible_at(parse(ProcFiles(since).read("mountinfo")), wanted)
    # A copy of the mounts has other ids, so the file system and its directory are compared.
    if mount is not None and before is not None and (before.device, before.root) == (mount.device, mount.root):
        _fail(
            f"{safe(mount.fstype)} on {wanted} for {view}",
            "a mount that was not there before",
            f"the same mount as before, of {safe(mount.fstype)}",
            "nothing was mounted there.",
        )


def _why_not_mounted(listed: list[Mount], path: str, fstype: str | None) -> str:
    is_hidden = any(mount.point == path and fstype in (None, mount.fstype) for mount in listed)
    if not is_hidden:
        return "the mount was made in another mount namespace, or not at all."
    cover = holding(listed, path)
    by = "another mount" if cover is None else f"the mount of {safe(cover.fstype)} on {safe(cover.point)}"
    return f"the mount was made, but {by} hides it: umount, or mount it again."


def assert_no_leftovers(target: Target, patience: float = 0.5) -> None:
    """Assert that a process or box has no living descendants, including orphans that it has adopted.

    The workers of `nsbox.Box.call` do not count while they wait for the next call, nor do the processes that
    multiprocessing keeps for them.

    It is true where nothing was started. For grading, add ``@pytest.mark.requires(...)`` with a test of the work.

    Args:
        target: The process.
        patience: Seconds to wait until they have ended.

    Raises:
        AssertionError: with those that are still alive.
        SpecError: for a target that is no process.
    """
    __tracebackhide__ = True
    view = ProcFiles(target)
    if left := leftovers([view.pid], belongs_to_worker, timeout=patience):
        daemons = any(process.sid == process.pid for process in left)
        _fail(
            f"nothing left behind below {view}",
            "no process",
            "; ".join(described(left)),
            "a daemon was started (setsid), which ends only with its PID namespace."
            if daemons
            else "a process was started in the background, and was neither ended nor waited for.",
        )


def _fail(title: str, expected: str, seen: str, likely: str) -> None:
    __tracebackhide__ = True
    raise AssertionError(f"{title}\n    expected: {expected}\n    seen:     {seen}\n    likely:   {likely.rstrip('.')}")
