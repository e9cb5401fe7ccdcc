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
    trust: bool = False,
    **keywords: Any,
) -> Completed[Any]:
    """Run a program in the namespaces of a process and return when all processes of the program have ended (setns(2)).

    ``nsbox.enter(4711, "ipc net", ["ip", "address"])`` is ``nsenter --target 4711 --ipc --net ip address`` with the
    result, the exceptions and the lifetime rules of `run`. To start the program without waiting, use
    ``nsbox.Popen(args, unshare="", join=nsbox.Join(target, kinds))``.

    In a mount namespace of the target, and below its root, the program itself comes from files that its processes may
    have replaced. So the user namespace that owns what is joined is joined as well, unlike nsenter(1) does it: the
    program has the rights of the processes there. ``trust=True`` keeps the caller's rights. A target without a user
    namespace of its own has the caller's rights already: nothing is added then. In a `Box` with ``harden`` the
    program is held as the programs of that box are.

    Args:
        target: The process that is in the namespaces; see `Join`.
        kinds: Which of them, as for `unshare`; None for all in which the target differs from the caller.
        *args: As for `subprocess.run`.
        root: The directory that becomes the root directory; True for that of the target.
        wd: The directory that becomes the working directory; True for that of the target.
        preserve_credentials: Whether the ids stay as they are when a user namespace is joined.
        trust: Whether the program keeps the caller's rights where other programs may have changed what it finds.
        **keywords: As for `run`. New namespaces (`unshare`) are made inside those that are joined.

    Raises:
        SpecError: for arguments that make no sense.
        SpawnError: when something cannot be opened or joined.
        OSError: as `subprocess.run`.
        subprocess.TimeoutExpired: as `subprocess.run`.
        subprocess.CalledProcessError: as `subprocess.run`.
    """
    join = Join(target, kinds, root, wd, preserve_credentials, trust)
    return run(*args, unshare=keywords.pop("unshare", ""), join=join, **keywords)
