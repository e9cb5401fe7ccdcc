"""Run a program in namespaces that exist already, as nsenter(1) does."""

from __future__ import annotations

import os
from typing import Any

from nsbox.spec.joins import Join, JoinTarget
from nsbox.spec.kinds import Namespaces
from nsbox.start.completed import Completed
from nsbox.start.run import run

__all__ = ["enter"]


def enter(
    target: JoinTarget,
    kinds: Namespaces | None,
    *args: Any,
    root: bool | str | bytes | os.PathLike[str] = False,
    wd: bool | str | bytes | os.PathLike[str] = False,
    preserve_credentials: bool = False,
    **keywords: Any,
) -> Completed[Any]:
    """Run a program in the namespaces of a process and return when all processes of the program have ended (setns(2)).

    ``nsbox.enter(4711, "ipc net", ["ip", "address"])`` is ``nsenter --target 4711 --ipc --net ip address`` with the
    result, the exceptions and the lifetime rules of `run`. To start the program without waiting, use
    ``nsbox.Popen(args, unshare="", join=nsbox.Join(target, kinds))``.

    Args:
        target: The process that is in the namespaces; see `Join`.
        kinds: Which of them, as for `unshare`; None for all in which the target differs from the caller.
        *args: As for `subprocess.run`.
        root: The directory that becomes the root directory; True for that of the target.
        wd: The directory that becomes the working directory; True for that of the target.
        preserve_credentials: Whether the ids stay as they are when a user namespace is joined.
        **keywords: As for `run`. New namespaces (`unshare`) are made inside those that are joined.

    Raises:
        SpecError: for arguments that make no sense.
        SpawnError: when something cannot be opened or joined.
        OSError: as `subprocess.run`.
        subprocess.TimeoutExpired: as `subprocess.run`.
        subprocess.CalledProcessError: as `subprocess.run`.
    """
    join = Join(target, kinds, root, wd, preserve_credentials)
    return run(*args, unshare=keywords.pop("unshare", ""), join=join, **keywords)
