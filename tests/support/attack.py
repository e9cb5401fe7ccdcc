"""Run a program that tries to get out, in each arrangement in which nsbox is used, and collect what it achieved.

An attack program prints one line `OUT what` for each thing that it should not have been able to do. It must end by
itself. Everything else that it prints is for the reader of a failed test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import nsbox

from tests.support.forked import USER, Who

__all__ = ["ARRANGEMENTS", "HARDENED", "PYTHON", "Arrangement", "achieved", "program"]

T = TypeVar("T")

PYTHON = "/usr/bin/python3"
"""A Python that every user can reach, also in a box."""

_PROGRAMS = Path(__file__).parents[1] / "attacks" / "programs"


@dataclass(frozen=True)
class Arrangement:
    """Who is the caller, and with which options the payload is started.

    Attributes:
        name: What a failed test shows.
        who: The caller. Call it with a function to run that function as the caller.
        options: The options of `run`, `Popen` and `Box`.
        as_id: The options of one program in a `Box`, as a box takes its ids for each program.
    """

    name: str
    who: Who
    options: dict[str, Any]
    as_id: dict[str, Any] = field(default_factory=dict)

    def __call__(self, function: Callable[[], T]) -> T:
        """Return what `function` returns when the caller of this arrangement runs it."""
        return self.who(function)

    def attack(self, source: str, *arguments: str, **options: Any) -> list[str]:
        """Run a Python program in a box of its own, and return what it achieved."""
        command = [PYTHON, "-c", source, *arguments]
        keywords: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}
        keywords |= self.options | self.as_id | options
        return achieved(nsbox.run(command, **keywords).stdout)

    def attack_from(self, box: nsbox.Box, source: str, *arguments: str, **options: Any) -> list[str]:
        """Run a Python program in a box, and return what it achieved."""
        keywords: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}
        keywords |= self.as_id | options
        return achieved(box.run([PYTHON, "-c", source, *arguments], **keywords).stdout)


def achieved(output: str) -> list[str]:
    """Return what an attack program says that it achieved."""
    return [line.removeprefix("OUT ") for line in output.splitlines() if line.startswith("OUT ")]


def program(name: str) -> str:
    """Return the source of an attack program in tests/attacks/programs."""
    return (_PROGRAMS / name).read_text()


_DROPPED: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []}

ARRANGEMENTS = [
    Arrangement("root, user namespace", Who("root"), {"unshare": "mipU", "mount_proc": True}),
    Arrangement("user", Who("user"), {"unshare": "mip", "mount_proc": True}),
    Arrangement("root, dropped uid", Who("root"), {"unshare": "mip", "mount_proc": True}, _DROPPED),
]
"""Those in which nsbox is meant to hold a program."""

HARDENED = [
    Arrangement("root, harden", Who("root"), {"unshare": "mip", "harden": True}),
    Arrangement("user, harden", Who("user"), {"unshare": "mip", "harden": True}),
]
"""The same with everything that `harden` stands for."""
