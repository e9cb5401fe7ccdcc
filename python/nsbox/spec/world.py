"""What a program sees of this machine: the options `writable`, `readable` and `hidden`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from nsbox.errors import SpecError
from nsbox.spec.paths import StrOrBytesPath, path_of

if TYPE_CHECKING:
    from nsbox.spec.spec import Spec

__all__ = ["HIDDEN_PLACES", "PRIVATE_TMP", "Paths", "has_world", "paths_of"]

HIDDEN_PLACES = (
    "/home", "/root", "/run", "/var/lib", "/var/log", "/var/mail", "/var/spool", "/mnt", "/media", "/srv",
)  # fmt: skip
"""Where a machine has what belongs to its users and services: hidden by default with `writable`, `readable` or
`harden`."""

PRIVATE_TMP = ("/tmp", "/var/tmp", "/dev/shm")
"""The places that ``private_tmp`` replaces, and that nsbox makes for it in a root in memory (`src/plan/harden.rs`)."""

Paths: TypeAlias = "StrOrBytesPath | Iterable[StrOrBytesPath]"
"""A path, or several."""


def paths_of(argument: str, value: object) -> tuple[str, ...] | None:
    """Return paths as text; relative ones stay relative, as a `Spec` can be used in several directories.

    Raises:
        SpecError: for a value that is no path.
    """
    if value is None:
        return None
    if isinstance(value, str | bytes | os.PathLike):
        value = (value,)
    if not isinstance(value, Iterable):
        raise SpecError(f"{argument}: expected paths, got {value!r}")
    return tuple(os.fsdecode(path_of(argument, path)) for path in value)


def has_world(spec: Spec) -> bool:
    """Return whether the machine is made read-only, with parts of it hidden and others writable.

    Raises:
        SpecError: when an option contradicts another one.
    """
    if not spec.harden and spec.writable is None and spec.readable is None and spec.hidden is None:
        return False
    options: dict[str, tuple[str, ...] | None]
    options = {option: getattr(spec, option) for option in ("writable", "readable", "hidden")}
    given = [option for option, paths in options.items() if paths is not None]
    for path in options["hidden"] or ():
        if not path.startswith("/") or os.path.normpath(path).strip("/") == "":
            raise SpecError(f"hidden: expected absolute paths below the root, got {path!r}")
    if given and spec.root is not None:
        raise SpecError(f"{given[0]}: is for the files of this machine; with another root use mounts")
    if given and not spec.fork:
        raise SpecError(f"{given[0]}: with fork=False nothing is arranged for the program")
    if any(os.path.normpath(path).strip("/") == "" for path in options["writable"] or ()):
        if len(given) > 1:
            raise SpecError(f"writable: '/' is the whole machine, so {given[1]} would have no effect")
        return False
    return bool(given) or (bool(spec.harden) and spec.root is None)
