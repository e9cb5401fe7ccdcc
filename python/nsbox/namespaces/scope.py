"""Other namespaces for the calling thread, as long as a ``with`` block lasts: the system calls, undone at the end.

Namespaces belong to threads, not to processes. A scope moves the thread that enters it and no other; what that thread
opens in there, such as a socket, goes on working outside. Threads and processes that it starts in there are born in
there, and stay. Where a whole program is to be in namespaces, `nsbox.run` and `nsbox.enter` start it there, and
everything they can do a scope cannot break.

Three things do not go back:

- after a scope with a new or joined mount namespace the thread has a root directory, a working directory and a umask
  of its own, at their old values: ``os.chdir`` in other threads does not move it any more (clone(2), CLONE_FS);
- what was done in there to things that are shared, such as files;
- children that live on.

While a coroutine or a generator is suspended in a scope the thread stays in it, and so is everything else that runs in
that thread: no ``await`` and no ``yield`` belong in the block.
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
from nsbox.namespaces.handle import Namespace
from nsbox.namespaces.target import is_process, of_this_thread
from nsbox.spec.joins import Target, joined_kinds
from nsbox.spec.kinds import KINDS, Namespaces
from nsbox.spec.paths import path_of

__all__ = ["Scope", "mount_proc", "setns", "unshare"]

_HOW_ELSE = "nsbox.run and nsbox.enter start a program there instead, from any process"

os.register_at_fork(after_in_child=_core.forget_scopes)


class Scope(_core.ThreadScope):
    """What `unshare`, `setns` and `mount_proc` return: a context manager that can be entered once.

    A child of `os.fork` made in there leaves the block without going back: it was born in there.

    Raises:
        SpawnError: on entering, when a step fails; the thread is where it was.
        ScopeError: on leaving, when the thread could not go back, when it is another thread than the one that entered,
            and when scopes are not left in the reverse order; it says where which thread is.
    """

    _what = "scope"
    _handles: tuple[Namespace, ...] = ()

    def __repr__(self) -> str:
        """Say what it does, and whether a thread is in it."""
        state = "not entered" if self.thread is None else "left"
        if self.active:
            state = f"thread {self.thread} is in it"
        return f"<nsbox scope: {self._what}, {state}>"

    def __del__(self) -> None:
        """Say that somebody took it for the system call."""
        for handle in self._handles:
            handle.close()
        if not self.tried and not sys.is_finalizing():
            warnings.warn(
                f"{self!r} has done nothing: write `with nsbox.…:`; nsbox.raw has the bare system calls",
                RuntimeWarning,
                source=self,
                stacklevel=2,
            )


def unshare(
    kinds: Namespaces, *, propagation: Literal["private", "unchanged"] = "private", loopback: bool = True
) -> Scope:
    """New namespaces for the calling thread, until the end of the block (unshare(2)).

    A new PID namespace is for processes that the thread starts in the block: the first is PID 1, and when that ends no
    more can be started (ENOMEM). Threads cannot be started meanwhile. At the end both is cured.

    Args:
        kinds: Which, as for the option `unshare` of `run`. User namespaces are refused, as there is no way back from
            one, and time namespaces where the process has several threads, as only a single one may come back.
        propagation: ``"private"`` keeps what is mounted in a new mount namespace in there; ``"unchanged"`` leaves it to
            the mounts, which usually lets it out (mount_namespaces(7)).
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


def setns(target: Target, kinds: Namespaces | None = None) -> Scope:
    """Namespaces that exist already for the calling thread, until the end of the block (setns(2)).

    ``with nsbox.setns(box, "net"): sock = socket.socket()`` makes a socket of the box's network, usable outside.

    Args:
        target: Whose; see `nsbox.Join`.
        kinds: Which of them; by default all in which the target differs from the thread, or the one that it is. A PID
            namespace is for processes that the thread starts in the block. Restricted as for `unshare`.

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
                call = "ioctl(NS_GET_PID_FROM_PIDNS, 1)"
                raise spawn_error(ESRCH, "join pid", "caller", call, f"PID namespace {handle.id}")
        scope = Scope(join=[(handle.kind, handle.fileno()) for handle in handles])
    except BaseException:
        for handle in handles:
            handle.close()
        raise
    scope._handles = tuple(handles)
    scope._what = f"{', '.join(names)} namespaces of {target!r}"
    return scope


def mount_proc(target: str | bytes | os.PathLike[str] = "/proc") -> Scope:
    """A new proc for the calling thread, until the end of the block (proc(5)).

    It shows the PID namespace that children of the thread are born into; where that is another than the thread's own,
    the thread has no entry in there, and Linux 6.17 is needed. Only in a scope that has a new mount
    namespace: anywhere else it would cover what other processes see there, and entering it raises `SpecError`.

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
    """Refuse what a thread may enter, but not leave again."""
    if not {"user", "time"} & set(names):
        return
    others = _other_threads()
    if "user" in names:
        alone = "there is no way back from a user namespace, whose parent gives no rights to those inside"
        reason = f"the kernel moves only processes with a single thread, and this one has also {others}"
        raise SpecError(f"kinds: user: {reason if others else alone}; {_HOW_ELSE}")
    if others:
        raise SpecError(
            "kinds: time: only the single thread of a process may come back from a time namespace, and this one has "
            f"also {others}; {_HOW_ELSE}"
        )


def _other_threads() -> str:
    """Name the other threads of this process, also those that Python does not know, such as a library's."""
    current = threading.current_thread()
    known = {thread.native_id: thread.name for thread in threading.enumerate() if thread is not current}
    names: dict[int | None, str] = dict(known)
    # In a child of os.fork Python may still know the number of a thread of the parent: the kernel's list counts.
    with contextlib.suppress(OSError):
        others = {int(tid) for tid in os.listdir("/proc/self/task")} - {threading.get_native_id()}
        # There may be more than are named. Those the caller has started are more likely to be Python's, and recent.
        order = sorted(others, key=lambda tid: (tid not in known, -tid))
        names = {tid: known.get(tid) or _comm(tid) for tid in order}
    found = [repr(name) for name in names.values()]
    return ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")


def _comm(tid: int) -> str:
    try:
        return Path(f"/proc/self/task/{tid}/comm").read_text().strip()
    except OSError:
        return f"thread {tid}"  # it has just ended
