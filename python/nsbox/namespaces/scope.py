"""Other namespaces for the calling thread during a ``with`` block: the system calls, undone at its end.

Each thread has its own namespaces. A scope moves the thread that enters it and no other thread. What that thread opens
in the block, such as a socket, works outside as well. Threads and processes that it starts in the block are in these
namespaces, and stay in them. To run a whole program in namespaces, use `nsbox.run` or `nsbox.enter`: they start a
process for it, and do not move a thread of the caller.

Three things are not undone:

- after a scope with a new or joined mount namespace the thread has its own root directory, working directory and umask,
  with their old values: ``os.chdir`` in other threads does not change its directory any more (clone(2), CLONE_FS);
- changes to shared things, such as files;
- child processes that are still running.

In the mount namespace of other processes (`setns`) the thread reads their files, and what they have put in place of the
caller's. So there it imports no modules from files (`nsbox.ForeignImportError`): import them before the block. nsbox
loads its own modules, and what of the standard library they need, before the thread moves. It cannot prevent what C
libraries load by themselves, with the rights of the caller. In such a block do not use

- names of users, groups and hosts (`pwd`, `grp`, `socket.getaddrinfo`): nsswitch.conf(5) of that place says which
  libraries are loaded for them. nsbox itself shows numbers there;
- certificates (`ssl`), `ctypes.util`, and `subprocess` or other ways to start programs: they come from there, too.
  `nsbox.enter` runs a program with the rights of the processes there;
- files by their names, other than to look at them: each may be a FIFO that blocks, or endless.

While a coroutine or a generator is suspended in the block, the thread stays in these namespaces, and everything else
that runs in that thread as well. So do not use ``await`` or ``yield`` in the block.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from errno import ESRCH
from pathlib import Path
from typing import Literal

from nsbox import _core
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import SpecError
from nsbox.namespaces import imports
from nsbox.namespaces.handle import Namespace
from nsbox.namespaces.target import is_process, of_this_thread
from nsbox.spec.joins import JoinTarget, joined_kinds
from nsbox.spec.kinds import KINDS, Namespaces
from nsbox.spec.paths import path_of

__all__ = ["Scope", "mount_proc", "setns", "unshare"]

_HOW_ELSE = "nsbox.run and nsbox.enter start a program there instead, from any process"

os.register_at_fork(after_in_child=_core.forget_scopes)


class Scope(_core.ThreadScope):
    """A context manager for the calling thread, from `unshare`, `setns` or `mount_proc`. It can be entered once.

    A child of `os.fork` that is made in the block stays in its namespaces when it leaves the block.

    Raises:
        SpawnError: on entering, when a step fails; the thread has not moved.
        ScopeError: on leaving, when the thread could not go back, when another thread had entered, and when scopes are
            not left in the reverse order; the message names the threads and where they are.
    """

    _what = "scope"
    _joins_mounts = False
    _handles: tuple[Namespace, ...] = ()

    def _prepare(self) -> None:
        """Import what may be needed inside, and refuse other imports there; called before the thread moves."""
        if self._joins_mounts:
            imports.prepare()

    def __repr__(self) -> str:
        """Return what it does, and whether a thread is in it."""
        state = "not entered" if self.thread is None else "left"
        if self.active:
            state = f"thread {self.thread} is in it"
        return f"<nsbox scope: {self._what}, {state}>"

    def __del__(self) -> None:
        """Close its handles; warn if it was never entered, as then it had no effect."""
        for handle in self._handles:
            handle.close()
        if not self.tried and not sys.is_finalizing():
            warnings.warn(
                f"{self!r} has had no effect: write `with nsbox.…:`; nsbox.raw has the bare system calls",
                RuntimeWarning,
                source=self,
                stacklevel=2,
            )


def unshare(
    kinds: Namespaces, *, propagation: Literal["private", "unchanged"] = "private", loopback: bool = True
) -> Scope:
    """Put the calling thread into new namespaces, until the end of the block (unshare(2)).

    Processes that the thread starts in the block are in a new PID namespace: the first is PID 1, and when it ends no
    more can be started (ENOMEM). In the block the thread can start no threads. After the block it can start both again.

    Args:
        kinds: Which, as for the option `unshare` of `run`. User namespaces are refused, as a thread cannot go back from
            one. Time namespaces are refused if the process has several threads, as then no thread may go back.
        propagation: With ``"private"`` mounts that are made in a new mount namespace do not appear outside. With
            ``"unchanged"`` the mounts keep their propagation, by which they usually do (mount_namespaces(7)).
        loopback: Whether the loopback interface of a new network namespace is brought up.

    Raises:
        SpecError: for kinds that make no sense, or that a thread could not leave again.
    """
    names = joined_kinds("kinds", kinds)
    if not names:
        raise SpecError("kinds: no namespace is named")
    if propagation not in ("private", "unchanged"):
        raise SpecError(f"propagation: expected 'private' or 'unchanged', got {propagation!r}")
    if not isinstance(loopback, bool):
        raise SpecError(f"loopback: expected True or False, got {loopback!r}")
    _refuse_one_way(names)
    scope = Scope(unshare=list(names), private=propagation == "private", loopback=loopback)
    scope._what = f"new {', '.join(names)} namespaces"
    return scope


def setns(target: JoinTarget, kinds: Namespaces | None = None) -> Scope:
    """Put the calling thread into existing namespaces, until the end of the block (setns(2)).

    ``with nsbox.setns(box, "net"): sock = socket.socket()`` makes a socket of the box's network, usable outside.

    Args:
        target: The process or the namespace; see `nsbox.Join`.
        kinds: Which of its namespaces; by default all in which the target differs from the thread, or the one that the
            target is. Of a PID namespace, only processes that the thread starts in the block are members. Restricted as
            for `unshare`.

    Raises:
        SpecError: for kinds that make no sense, or that a thread could not leave again.
        SpawnError: when something cannot be opened, and for a PID namespace in which nothing can be started any more.
    """
    handles: list[Namespace] = []
    try:
        if not is_process(target):
            handles.append(Namespace.of(target, None if kinds is None else _only(joined_kinds("kinds", kinds))))
        else:
            wanted = tuple(KINDS) if kinds is None else joined_kinds("kinds", kinds)
            for kind in wanted:
                if kinds is None and not os.path.lexists(f"/proc/self/ns/{KINDS[kind].link}"):
                    continue
                handles.append(Namespace.of(target, kind))
                if kinds is None and of_this_thread(kind) == handles[-1].identity:
                    handles.pop().close()
        names = tuple(handle.kind for handle in handles)
        if not names:
            raise SpecError(f"target: {target!r} is in no other namespaces than this thread")
        _refuse_one_way(names)
        for handle in handles:
            if handle.is_dead:
                call = _core.Call("ioctl", op=("NS_GET_PID_FROM_PIDNS",), arg=1)
                raise spawn_error(ESRCH, "join pid", "caller", [call], f"PID namespace {handle.id}")
        scope = Scope(join=[(handle.kind, handle.fileno()) for handle in handles])
    except BaseException:
        for handle in handles:
            handle.close()
        raise
    scope._handles = tuple(handles)
    scope._joins_mounts = "mount" in names
    scope._what = f"{', '.join(names)} namespaces of {target!r}"
    return scope


def mount_proc(target: str | bytes | os.PathLike[str] = "/proc") -> Scope:
    """Mount a new proc for the calling thread, until the end of the block (proc(5)).

    It shows the PID namespace of the thread's future children. If that is not the thread's own, the thread has no entry
    in the proc, and Linux 6.17 is needed. It takes a scope with a new mount namespace around it: elsewhere it would
    cover what other processes see, and entering it raises `SpecError`.

    Args:
        target: The directory on which it is mounted.

    Raises:
        SpecError: for a target that is no path.
    """
    path = path_of("target", target)
    scope = Scope(mount_proc=os.path.abspath(path))
    scope._what = f"proc on {os.fsdecode(path)}"
    return scope


def _only(kinds: tuple[str, ...]) -> str:
    if len(kinds) != 1:
        raise SpecError(f"kinds: the target is a single namespace, and not {', '.join(kinds) or 'none'}")
    return kinds[0]


def _refuse_one_way(names: tuple[str, ...]) -> None:
    """Refuse namespaces that a thread may enter, but not leave again."""
    if not {"user", "time"} & set(names):
        return
    others = _other_threads()
    if "user" in names:
        alone = "a thread cannot go back from a user namespace, as it has no rights in the parent of that"
        reason = f"the kernel moves only a process with a single thread, and this process has also {others}"
        raise SpecError(f"kinds: user: {reason if others else alone}; {_HOW_ELSE}")
    if others:
        raise SpecError(
            "kinds: time: only the single thread of a process may go back from a time namespace, and this process has "
            f"also {others}; {_HOW_ELSE}"
        )


def _other_threads() -> str:
    """Return the names of the other threads of this process, also of those that Python does not know."""
    current = threading.current_thread()
    known = {thread.native_id: thread.name for thread in threading.enumerate() if thread is not current}
    names: dict[int | None, str] = dict(known)
    # In a child of os.fork Python may still know the id of a thread of the parent: the list of the kernel is used.
    with contextlib.suppress(OSError):
        others = {int(tid) for tid in os.listdir("/proc/self/task")} - {threading.get_native_id()}
        # Not all are named. Those that the caller has started are more likely to be known to Python, and to be recent.
        order = sorted(others, key=lambda tid: (tid not in known, -tid))
        names = {tid: known.get(tid) or _comm(tid) for tid in order}
    found = [repr(name) for name in names.values()]
    return ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")


def _comm(tid: int) -> str:
    try:
        return Path(f"/proc/self/task/{tid}/comm").read_text().strip()
    except OSError:
        return f"thread {tid}"  # it has just ended
