"""Limits for each process: the resources of getrlimit(2) by name."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from nsbox.errors import SpecError

__all__ = ["RLIMITS", "Rlimits", "rlimits_of"]

RLIMITS = {
    name.removeprefix("RLIMIT_").lower(): int(getattr(resource, name))
    for name in sorted(dir(resource))
    # RLIMIT_OFILE is another system's name for RLIMIT_NOFILE.
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
}
"""The resources by name, such as ``"nofile"``, with the kernel's numbers."""

Rlimit: TypeAlias = "int | tuple[int | None, int | None] | None"
Rlimits: TypeAlias = "Mapping[str, Rlimit] | Mapping[int, Rlimit] | Iterable[tuple[str, Rlimit]]"
"""A limit for each of some resources: both limits in one number, or ``(soft, hard)``; None is unlimited. The names are
those of getrlimit(2) in any case, with or without ``RLIMIT_``, or the constants of `resource`."""

_LARGEST = 2**63 - 1


def rlimits_of(wanted: object) -> tuple[tuple[str, tuple[int, int]], ...]:
    """Return ``(name, (soft, hard))`` each, in the kernel's order; unlimited is `resource.RLIM_INFINITY`.

    Raises:
        SpecError: for a resource or a limit that is none.
    """
    if isinstance(wanted, str | bytes) or not isinstance(wanted, Iterable):
        raise SpecError(f"rlimits: expected names with limits, got {wanted!r}")
    found: dict[str, tuple[int, int]] = {}
    for pair in wanted.items() if isinstance(wanted, Mapping) else wanted:
        match pair:
            case (key, limit):
                name = _name(key)
                if name in found:
                    raise SpecError(f"rlimits: {name} is there twice")
                found[name] = _both(name, limit)
            case _:
                raise SpecError(f"rlimits: expected a name and a limit, got {pair!r}")
    return tuple(sorted(found.items(), key=lambda item: RLIMITS[item[0]]))


def _name(key: object) -> str:
    if isinstance(key, int) and not isinstance(key, bool) and key in RLIMITS.values():
        return next(name for name, number in RLIMITS.items() if number == key)
    if isinstance(key, str) and (name := key.lower().removeprefix("rlimit_")) in RLIMITS:
        return name
    raise SpecError(f"rlimits: {key!r} is no resource; the names are {', '.join(RLIMITS)}")


def _both(name: str, limit: object) -> tuple[int, int]:
    both = limit if isinstance(limit, tuple) and len(limit) == 2 else (limit, limit)
    soft, hard = (_number(name, value) for value in both)
    # Unlimited is a negative number here, and the largest for the kernel.
    if hard != resource.RLIM_INFINITY and not 0 <= soft <= hard:
        raise SpecError(f"rlimits: {name}: the soft limit is above the hard one")
    return soft, hard


def _number(name: str, value: object) -> int:
    if value is None or value == resource.RLIM_INFINITY:
        return resource.RLIM_INFINITY
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecError(f"rlimits: {name}: expected a number, (soft, hard) or None, got {value!r}")
    if not 0 <= value <= _LARGEST:
        raise SpecError(f"rlimits: {name}: {value} is out of range")
    return value
