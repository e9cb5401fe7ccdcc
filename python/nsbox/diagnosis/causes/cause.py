"""The form in which a cause of failures is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from errno import EACCES, EPERM
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from nsbox.diagnosis.evidence import Evidence
from nsbox.spec.kinds import KINDS
from nsbox.spec.step_names import STEP_NAMES, StepName

if TYPE_CHECKING:
    from nsbox._core import Call

__all__ = [
    "ALL_STEPS",
    "ANY",
    "DENIED",
    "MAKING",
    "MAPPING",
    "MOUNTING",
    "SETTING",
    "Cause",
    "FailedStep",
    "Found",
    "always",
    "never",
]

DENIED = frozenset({EPERM, EACCES})
ANY = frozenset[int]()
"""Any error number."""

# Which steps do the same kind of thing.
ALL_STEPS = frozenset(STEP_NAMES)
MAKING = frozenset(
    {"clone", "new user", "fork", "start", "bystander", "unshare", "unshare time", "descend", "clone init"}
)
MAPPING = frozenset({"setgroups", "gid_map", "uid_map"})
MOUNTING = frozenset(
    {
        "propagation", "private proc", "mount proc", "source", "layers", "root", "bind", "tmpfs", "overlay", "proc",
        "pivot root", "mount", "mount shm", "detached mount", "private tmp", "private pts", "mask proc",
        "read-only sys",
    }
)  # fmt: skip
SETTING = frozenset({"hostname", "domainname", "loopback", "pid_max", "clock offsets", "sysctl"})


class FailedStep(NamedTuple):
    """A step that failed.

    Attributes:
        errno: The error number.
        step: The name of the step.
        calls: Its system calls, of which one failed.
        detail: What else was reported about it.
    """

    errno: int
    step: StepName
    calls: tuple[Call, ...] = ()
    detail: str = ""

    def argument(self, name: str) -> Any:
        """Return the value of the first argument with this name; None where no call has one."""
        return next((value for call in self.calls for argument, value in call.arguments if argument == name), None)

    def calls_one_of(self, *names: str) -> bool:
        """Whether one of the calls has one of these names."""
        return any(call.name in names for call in self.calls)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of namespaces among the flags (clone(2), unshare(2), setns(2))."""
        flags = self.argument("flags") or self.argument("nstype") or ()
        return tuple(name for name, kind in KINDS.items() if kind.flag_name in flags)

    @property
    def rows(self) -> tuple[tuple[int, int, int], ...]:
        """The rows of the id map that is written: (inside, outside, count) each."""
        rows = self.argument("buf") or self.argument("rows")
        return rows if isinstance(rows, tuple) else ()


Found: TypeAlias = "Mapping[str, str]"
"""The values of the names in braces in `Cause.why` and `Cause.remedy`."""


def always(_: FailedStep, __: Evidence) -> Found | None:
    """For `Cause.find`, where the step and the number decide."""
    return {}


def never(_: FailedStep, __: Evidence) -> Found | None:
    """For `Cause.find`, where the cause leaves no trace."""
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """A reason why steps fail.

    Attributes:
        name: A stable name, also the heading in docs/errors.md.
        title: The cause in a few words, as a sentence without its full stop.
        steps: The steps that can fail because of it.
        errnos: The error numbers; `ANY` for all.
        find: Return what was found, or None if the evidence does not show this cause.
        why: What was found, in a sentence.
        remedy: What to do.
        places: What to do instead in certain places (`nsbox.diagnosis.places.PLACES`).
        meaning: An explanation for readers who meet it for the first time.
        manual: Where it is described.
        traceless: Whether it may still be the cause where `find` finds nothing; None if `find` would have found it.
        last: Whether it is a candidate only where no other cause is one.
        example: What `find` returns, for docs and for candidates.
    """

    name: str
    title: str
    steps: frozenset[str]
    errnos: frozenset[int]
    find: Callable[[FailedStep, Evidence], Found | None]
    why: str
    remedy: str
    meaning: str
    manual: str
    places: Mapping[str, str] = field(default_factory=dict)
    traceless: Callable[[FailedStep, Evidence], bool] | None = None
    last: bool = False
    example: Found = field(default_factory=dict)

    def concerns(self, step: str, errno: int) -> bool:
        """Whether the step can fail with that number because of this."""
        return step in self.steps and (not self.errnos or errno in self.errnos)

    def hint(self, evidence: Evidence, found: Found) -> str:
        """Return the remedy for the closest place that has one of its own."""
        text = next((self.places[place] for place in evidence.places if place in self.places), self.remedy)
        return text.format(**found)
