"""Why resource limits cannot be set, and why a cgroup cannot be made or entered."""

from __future__ import annotations

import resource
from errno import EAGAIN, EBUSY, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, EPERM, EROFS

from nsbox.diagnosis.causes.cause import DENIED, Cause, FailedStep, Found, always
from nsbox.diagnosis.evidence import Evidence

__all__ = ["LIMITS"]

_CGROUP = frozenset({"cgroup", "join cgroup"})
_OWN_CGROUP = "systemd-run --user --scope -p Delegate=yes PROGRAM"


def _own_limit(failed: FailedStep, _: Evidence) -> Found | None:
    (name,) = failed.argument("resource") or ("",)
    hard = resource.getrlimit(getattr(resource, name))[1] if hasattr(resource, name) else resource.RLIM_INFINITY
    return {"name": name, "hard": "unlimited" if hard == resource.RLIM_INFINITY else str(hard)}


def _of_cgroup(failed: FailedStep, _: Evidence) -> Found | None:
    # A cgroup namespace is joined by a step of the same name, which never writes.
    return None if failed.calls_one_of("setns") else {}


LIMITS = (
    Cause(
        name="limit-too-high",
        title="The limit is above the caller's own",
        steps=frozenset({"rlimit"}),
        errnos=frozenset({EPERM}),
        find=_own_limit,
        why="the caller's own hard limit {name} is {hard}",
        remedy="choose a limit at or below it; to go above, run as root outside of any user namespace (with "
        "CAP_SYS_RESOURCE), for RLIMIT_NOFILE also with a higher fs.nr_open",
        meaning="Every process may lower its hard limits. To raise one, it needs a right of root.",
        manual="getrlimit(2)",
        example={"name": "RLIMIT_NOFILE", "hard": "4096"},
    ),
    Cause(
        name="too-many-cgroups",
        title="No further cgroup may be made",
        steps=frozenset({"cgroup"}),
        errnos=frozenset({EAGAIN}),
        find=always,
        why="a cgroup above has reached a limit of cgroups (cgroup.max.descendants, cgroup.max.depth)",
        remedy="remove cgroups that are empty (rmdir their directories in /sys/fs/cgroup), or write a higher limit to "
        "that file",
        meaning="The number of cgroups below another can be limited.",
        manual="cgroups(7)",
    ),
    Cause(
        name="foreign-cgroup",
        title="The cgroup belongs to another user",
        steps=_CGROUP,
        errnos=DENIED | {EROFS},
        find=_of_cgroup,
        why="the cgroup belongs to another user, or is read-only",
        remedy=f"start this program in a cgroup of its own: {_OWN_CGROUP}",
        meaning="To move a process, a user must have the right to write to its cgroup, to the new one, and to the "
        "nearest cgroup above both.",
        manual="cgroups(7)",
    ),
    Cause(
        name="cgroup-gone",
        title="The cgroup was removed, or has no such controller",
        steps=_CGROUP,
        errnos=frozenset({ENOENT, ENODEV}),
        find=always,
        why="the cgroup was removed meanwhile, or does not have the controller",
        remedy=f"start this program in a cgroup of its own: {_OWN_CGROUP}",
        meaning="A cgroup is a directory in /sys/fs/cgroup. Any user who may write there can remove it when it is "
        "empty, and can take controllers from it.",
        manual="cgroups(7)",
    ),
    Cause(
        name="cgroup-limit-value",
        title="The kernel does not take this limit",
        steps=frozenset({"cgroup"}),
        errnos=frozenset({EINVAL}),
        find=always,
        why="the kernel does not take this value",
        remedy="choose a larger limit: at least 0.01 processors for cpu, and a page (4096) for memory",
        meaning="A quota of processor time must be a millisecond or more in each period of 100 milliseconds.",
        manual="cgroups(7)",
    ),
    Cause(
        name="cgroup-of-cgroups",
        title="The cgroup gives its controllers to cgroups below, and can hold no processes",
        steps=frozenset({"join cgroup"}),
        errnos=frozenset({EBUSY, EOPNOTSUPP}),
        find=always,
        why="the cgroup gives its controllers to cgroups below it, or is one for threads, so no process can enter it",
        remedy="leave --join-cgroup out, or name a target in a cgroup below: cat /proc/PID/cgroup prints where it is",
        meaning="A cgroup of version 2 holds either processes or cgroups with controllers, not both.",
        manual="cgroups(7)",
    ),
)
