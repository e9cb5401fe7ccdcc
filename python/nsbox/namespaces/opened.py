"""The namespaces that a new process joins: opened before its start, closed after it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EPERM, ESRCH

from nsbox import _core
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import SpecError
from nsbox.namespaces import target as _target
from nsbox.namespaces.handle import Namespace
from nsbox.spec.capabilities import has_capability
from nsbox.spec.joins import Join, JoinTarget, joined_kinds
from nsbox.spec.kinds import KINDS

__all__ = ["Opened", "opened"]


@dataclass(slots=True)
class Opened:
    """What is joined, as open descriptors; the core reads the attributes."""

    namespaces: tuple[tuple[str, int], ...]
    root: int | None = None
    wd: int | None = None
    preserve_credentials: bool = False
    user_added: bool = False


@contextlib.contextmanager
def opened(joins: tuple[Join, ...]) -> Iterator[Opened | None]:
    """Open everything that is joined, and close it at the end of the block. None if nothing is joined.

    Raises:
        SpecError: when two joins name the same kind of namespace, or the same directory.
        SpawnError: when something cannot be opened, and for a PID namespace in which nothing can be started any more.
    """
    with contextlib.ExitStack() as kept:
        found: dict[str, Namespace] = {}
        directories: dict[str, int] = {}
        for join in joins:
            for kind, namespace in _namespaces(join, kept):
                if kind in found:
                    raise SpecError(f"join: two {kind} namespaces are to be joined")
                found[kind] = namespace
            for name, which in (("root", "root"), ("wd", "cwd")):
                if (wanted := getattr(join, name)) is False:
                    continue
                if name in directories:
                    raise SpecError(f"{name}: is given twice")
                directories[name] = kept.enter_context(_directory(join.target, wanted, which)).fileno()
        _check(found)
        user_added = _add_user(found, kept)
        if not found and not directories:
            yield None
            return
        yield Opened(
            namespaces=tuple((kind, found[kind].fileno()) for kind in KINDS if kind in found),
            preserve_credentials=any(join.preserve_credentials for join in joins),
            user_added=user_added,
            **directories,
        )


def _namespaces(join: Join, kept: contextlib.ExitStack) -> Iterator[tuple[str, Namespace]]:
    """Open the namespaces of one target. The caller's own user namespace is left out: the kernel refuses to join it."""
    if join.kinds is None and (single := _single(join.target)) is not None:
        namespace = kept.enter_context(single)
        if not _is_own_user(namespace):
            yield namespace.kind, namespace
        return
    wanted = KINDS if join.kinds is None else joined_kinds("join", join.kinds)
    for kind in wanted:
        if join.kinds is None and not os.path.lexists(f"/proc/self/ns/{KINDS[kind].link}"):
            continue
        namespace = kept.enter_context(Namespace.of(join.target, kind))
        own = _is_own(namespace) if join.kinds is None else _is_own_user(namespace)
        if not own:
            yield kind, namespace


def _single(target: JoinTarget) -> Namespace | None:
    """Open the namespace that the target itself is, if it is one."""
    if _target.is_process(target):
        return None
    return Namespace.of(target)


def _is_own(namespace: Namespace) -> bool:
    return _target.of_this_thread(namespace.kind) == namespace.identity


def _is_own_user(namespace: Namespace) -> bool:
    return namespace.kind == "user" and _is_own(namespace)


def _directory(target: JoinTarget, wanted: bool | str | bytes | os.PathLike[str], which: str) -> _core.Descriptor:
    if isinstance(wanted, bool):
        return _target.open_directory(target, which)
    return _target.open_path_directory(wanted)


def _check(found: dict[str, Namespace]) -> None:
    if "pid" in found and found["pid"].is_dead:
        call = _core.Call("ioctl", op=("NS_GET_PID_FROM_PIDNS",), arg=1)
        raise spawn_error(ESRCH, "join pid", "caller", [call], f"PID namespace {found['pid'].id}")


def _add_user(found: dict[str, Namespace], kept: contextlib.ExitStack) -> bool:
    """Add the user namespace that owns the others: without CAP_SYS_ADMIN outside they can only be joined from there."""
    if not found or "user" in found or has_capability(_core.facts().effective, "CAP_SYS_ADMIN"):
        return False
    try:
        owner = next(iter(found.values())).owner
    except OSError as error:
        if error.errno == EPERM:
            return False  # it is outside of the caller's own; then joining fails, with the reason
        raise
    kept.enter_context(owner)
    if _is_own(owner):
        return False
    found["user"] = owner
    return True
