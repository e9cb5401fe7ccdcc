"""What `harden` depends on besides the spec: who the caller is, and what this machine lacks.

Decided when a process is started, as a `Spec` can be kept and sent elsewhere.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nsbox import _core
from nsbox.errors import SpecError, UnsupportedError
from nsbox.spec.capabilities import has_capability
from nsbox.spec.harden import INHERITED, NEED_NO_NEW_PRIVS, sysctls_of
from nsbox.spec.limits import RLIMITS, rlimits_of
from nsbox.spec.spec import Spec
from nsbox.start.private_ids import COUNT, private_range

__all__ = ["check_other_ids", "default_rlimits", "inherited", "resolve_hardening", "within_masked"]

_RLIMITS = {
    "core": 1, "nofile": 1024, "nproc": 1024, "memlock": 1 << 20, "sigpending": 1024, "msgqueue": 400_000, "rtprio": 0,
}  # fmt: skip
"""Limits of each process of a hardened program, unless the caller gives others (getrlimit(2)).

With the limit 1 for core files there are none, and no handler of them is started either: the machine's handler runs as
root outside, and 0 does not prevent it (core(5)). The kernel counts locked memory, signals that wait and message queues
for the user outside as well.
"""

_SYSCTLS = {"max_inotify_instances": 16, "max_inotify_watches": 8192}
"""Limits of the new user namespace below /proc/sys/user. What is counted there is also counted for the user outside who
made the namespace, who could get no more."""
_USER_SYSCTLS = "/proc/sys/user"

_MASKED = "the box keeps the /proc of the outer one, which hides the same: no other proc can be mounted below it"


def resolve_hardening(spec: Spec, *, nested: bool = False, mapped: bool = False) -> Spec:
    """Return the spec with what `harden` means for this caller on this machine.

    Args:
        spec: The namespaces as the caller asked for them.
        nested: Whether it is for a box in a box, where the limits of the outer one hold.
        mapped: Whether it is for a box in a user namespace, whose ids are others than the caller's already.

    Raises:
        SpecError: when root would be root outside.
        UnsupportedError: when no private ids are free.
    """
    if not (spec.harden or spec.hardened.private_ids):
        return spec
    changes: dict[str, Any] = {}
    if not mapped and os.geteuid() == 0:
        changes |= _private_ids(spec)
    changes["rlimits"] = (*rlimits_of(spec.rlimits), *default_rlimits(spec))
    if spec.harden and not nested:
        changes["sysctl"] = (*sysctls_of(spec.sysctl, spec.kinds), *_default_sysctls(spec))
    left_out = _lacking(spec) if spec.harden == "best" else {}
    changes |= dict.fromkeys(left_out, False)
    return replace(spec, **changes).leave_out({**dict(spec.hardened.left_out), **left_out})


def default_rlimits(spec: Spec) -> tuple[tuple[str, tuple[int, int]], ...]:
    """Return the limits of `harden` for the resources for which the spec has none."""
    given = dict(rlimits_of(spec.rlimits))
    return tuple((name, _lowered(name, limit)) for name, limit in _RLIMITS.items() if spec.harden and name not in given)


def _default_sysctls(spec: Spec) -> Iterator[tuple[str, str]]:
    """Give the limits of the new user namespace that the spec does not set, where they can be written."""
    given = {name for name, _ in sysctls_of(spec.sysctl, spec.kinds)}
    for name, limit in _SYSCTLS.items():
        try:
            with open(f"{_USER_SYSCTLS}/{name}") as file:
                least = min(limit, int(file.read()))
        except (OSError, ValueError):
            continue
        if f"user.{name}" not in given and not os.statvfs(_USER_SYSCTLS).f_flag & os.ST_RDONLY:
            yield f"user.{name}", str(least)


def inherited(spec: Spec, outer: Spec) -> Spec:
    """Return the spec of a box or program inside a box, with what holds in that box: nothing there runs without it.

    Raises:
        SpecError: when the spec switches a part off.
    """
    parts = [part for part in INHERITED if getattr(outer.hardened, part)]
    if "drop_capabilities" in parts and "lock_mounts" in parts:
        # Without any capability nothing more is needed for it, such as a user namespace.
        parts.remove("lock_mounts")
    if off := [part for part in parts if getattr(spec, part) is False]:
        raise SpecError(f"{off[0]}: the outer box has it, and what runs inside of that box cannot do without")
    if not parts:
        return spec
    own = rlimits_of(spec.rlimits)
    rlimits = (*own, *(limit for limit in rlimits_of(outer.rlimits) if limit[0] not in dict(own)))
    changes: Any = dict.fromkeys(parts, True)
    return replace(spec, rlimits=rlimits, **changes)


def within_masked(spec: Spec, outer: Spec) -> Spec:
    """Return the spec of a box inside a box whose /proc has hidden parts: it keeps that /proc.

    The kernel lets a user namespace mount a proc only where it sees another one as a whole (mount_namespaces(7)).

    Raises:
        SpecError: when another one is asked for without `harden`.
    """
    if not (outer.hardened.mask_proc or _MASKED in dict(outer.hardened.left_out).values()):
        return spec
    if "user" not in spec.kinds or spec.mount_proc is None:
        return spec
    if not (spec.hardened.mask_proc and spec.harden):
        raise SpecError(
            "mount_proc: the outer box hides parts of its /proc, so the kernel lets no user namespace in it mount "
            "another one; leave it out, or give mask_proc=False to the outer box"
        )
    left_out = {**dict(spec.hardened.left_out), "mask_proc": _MASKED}
    return replace(spec, mount_proc=False, mask_proc=False).leave_out(left_out)


def check_other_ids(spec: Spec) -> None:
    """Check that a hardened box is not in a user namespace whose root is root outside: no other ids exist there.

    Raises:
        SpecError: when it is.
    """
    if (spec.harden or spec.hardened.private_ids) and os.geteuid() == 0:
        raise SpecError(
            "private_ids: root of the outer box is root outside, and its user namespace has no other ids; give harden, "
            "or map_users, to the outer box"
        )


def _lacking(spec: Spec) -> dict[str, str]:
    """Return the parts that this machine lacks, with the reasons."""
    # Imported only here: it starts a process for each part.
    from nsbox.diagnosis.parts import TRIED_PARTS, try_part  # noqa: PLC0415

    trials = {part: try_part(part) for part in TRIED_PARTS if getattr(spec.hardened, part)}
    found = {part: f"{trial.step}: {trial.why}" for part, trial in trials.items() if not trial.works}
    if "no_new_privs" in found:
        found |= dict.fromkeys(NEED_NO_NEW_PRIVS, "it does not hold without no_new_privs")
    return found


def _private_ids(spec: Spec) -> dict[str, Any]:
    """Return the id maps for a caller who is root."""
    if not spec.hardened.private_ids:
        raise SpecError("private_ids: without them root inside is root outside, whom nothing holds")
    if spec.maps.users or spec.maps.groups:
        rows = [row for row in (*spec.maps.users, *spec.maps.groups) if not isinstance(row, str)]
        if any(outside in (None, 0) for _, outside, _ in rows):
            raise SpecError("private_ids: the id maps that are given map an id to root outside")
        return {}
    effective = _core.facts().effective
    if not (has_capability(effective, "CAP_SETUID") and has_capability(effective, "CAP_SETGID")):
        raise UnsupportedError("private_ids: root lacks CAP_SETUID or CAP_SETGID here, so it cannot map other ids")
    ranges = ((0, private_range(), COUNT),)
    return {"map_users": ranges, "map_groups": ranges}


def _lowered(name: str, limit: int) -> tuple[int, int]:
    """Return a limit, soft and hard, that is not above the caller's: to raise it takes CAP_SYS_RESOURCE.

    Of open files, it is not above half of the caller's. The kernel compares it with the number of descriptors that are
    on their way through sockets, of all processes of the user outside (unix(7), ETOOMANYREFS): at the caller's limit
    the caller could send none, and start nothing.
    """
    soft, hard = resource.getrlimit(RLIMITS[name])
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    if name == "nofile" and soft != resource.RLIM_INFINITY:
        limit = min(limit, soft // 2)
    return limit, limit
