"""Mounts that keep the new namespaces of unshare(1) alive at files."""

from __future__ import annotations

import os
from collections.abc import Callable

from nsbox import _core, raw
from nsbox._core import Call
from nsbox.command.step import CommandStep
from nsbox.command.unshare.helper import Helper
from nsbox.command.unshare.request import Request
from nsbox.seeing.target import own_number_in_proc
from nsbox.spec.kinds import KINDS

__all__ = ["pin_step"]


def pin_step(request: Request, helper: Helper) -> CommandStep | None:
    """Return the step that makes them, if any are asked for.

    A mount in a new mount namespace would be removed with that one, and a new user namespace has no rights over the old
    mounts. So where one of these is new, the helper makes the mounts.
    """
    files, owner = request.pins, own_number_in_proc()
    if not files:
        return None

    def mount() -> None:
        for kind, file in files.items():
            _core.mount(f"/proc/{owner}/ns/{_link(kind)}".encode(), os.fsencode(file), None, raw.MS_BIND)

    do: Callable[[], None] = mount
    if {"mount", "user"} & set(request.kinds):
        do = helper.add("pin", mount)
    calls = tuple(
        Call(
            "mount", source=f"/proc/PID/ns/{_link(kind)}", target=file, filesystemtype=None, mountflags=("MS_BIND",),
            data=None,
        )
        for kind, file in files.items()
    )  # fmt: skip
    return CommandStep("pin", calls, "mount(2)", "a mount keeps a namespace alive without a process", do)


def _link(kind: str) -> str:
    link = KINDS[kind].link
    return f"{link}_for_children" if kind in ("pid", "time") else link
