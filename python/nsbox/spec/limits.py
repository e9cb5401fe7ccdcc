"""Limits for each process, as for getrlimit(2), and limits for all processes together, by a cgroup."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TypeAlias

from nsbox.errors import SpecError

__all__ = ["RLIMITS", "Limits", "Rlimits", "limits_of", "rlimits_of"]

RLIMITS = {
    name.removeprefix("RLIMIT_").lower(): int(getattr(resource, name))
    for name in sorted(dir(resource))
    # RLIMIT_OFILE is another system's name for RLIMIT_NOFILE.
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
}
"""The resources by name, such as ``"nofile"``, with the kernel's numbers."""

Rlimit: TypeAlias = "int | tuple[int | None, int | None] | None"
Rlimits: TypeAlias = "Mapping[str, Rlimit] | Mapping[int, Rlimit] | Iterable[tuple[str, Rlimit]]"
"""Limits by resource: one number for both limits, or ``(soft, hard)``; None is unlimited. A resource is a name of
getrlimit(2) in upper or lower case, with or without ``RLIMIT_``, or a constant of `resource`."""

_MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits for the program and everything it starts together, by a new cgroup (cgroups(7)).

    Without any limit only the cgroup is made.

    Args:
        memory: Bytes of memory, none of it swapped out. If more is used, the kernel kills processes.
        pids: Number of processes and threads at the same time. If there are as many, fork fails with EAGAIN.
        cpu: CPU time per time, in processors; 0.5 is half of one processor.

    Raises:
        SpecError: for a value that makes no sense.
    """

    memory: int | None = None
    pids: int | None = None
    cpu: float | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        for name, unit in (("memory", "bytes"), ("pids", "processes")):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and 0 < value <= _MAX_NUMBER):
                raise SpecError(f"{name}: expected a positive number of {unit}, got {value!r}")
        cpu = self.cpu
        if cpu is not None and not (type(cpu) in (int, float) and 0.01 <= cpu <= 10_000):
            # The kernel's smallest quota is a millisecond, of a period of a hundred.
            raise SpecError(f"cpu: expected processors, 0.01 or more, got {cpu!r}")


def limits_of(wanted: object) -> Limits | None:
    """Return limits that are given as `Limits`, as a mapping, or as pairs.

    Raises:
        SpecError: for anything else.
    """
    if wanted is None or isinstance(wanted, Limits):
        return wanted
    pairs = wanted.items() if isinstance(wanted, Mapping) else wanted
    names = [field.name for field in fields(Limits)]
    if isinstance(pairs, Iterable) and not isinstance(pairs, str | bytes):
        match list(pairs):
            case items if all(isinstance(item, tuple) and len(item) == 2 and item[0] in names for item in items):
                return Limits(**dict(items))
    raise SpecError(f"limits: expected Limits, or {', '.join(names)} with values, got {wanted!r}")


def rlimits_of(wanted: object) -> tuple[tuple[str, tuple[int, int]], ...]:
    """Return ``(name, (soft, hard))`` each, in the kernel's order; unlimited is `resource.RLIM_INFINITY`.

    Raises:
        SpecError: for an unknown resource, and for a value that is no limit.
    """
    if isinstance(wanted, str | bytes) or not isinstance(wanted, Iterable):
        raise SpecError(f"rlimits: expected names with limits, got {wanted!r}")
    found: dict[str, tuple[int, int]] = {}
    for pair in wanted.items() if isinstance(wanted, Mapping) else wanted:
        match pair:
            case (key, limit):
                name = _name(key)
                if name in found:
                    raise SpecError(f"rlimits: {name} is given twice")
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
    # Unlimited is -1 in Python, and the largest number for the kernel.
    if hard != resource.RLIM_INFINITY and not 0 <= soft <= hard:
        raise SpecError(f"rlimits: {name}: the soft limit is above the hard one")
    return soft, hard


def _number(name: str, value: object) -> int:
    if value is None or value == resource.RLIM_INFINITY:
        return resource.RLIM_INFINITY
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecError(f"rlimits: {name}: expected a number, (soft, hard) or None, got {value!r}")
    if not 0 <= value <= _MAX_NUMBER:
        raise SpecError(f"rlimits: {name}: {value} is out of range")
    return value
