"""Why a step fails, and what to do about it.

An error number cannot teach: EPERM alone has more than a dozen causes here. So every cause is written down once, as
data (`Cause`): for which steps and numbers it comes into question, how it is recognised in the evidence, what it is,
and what to do about it, in general and in certain places. Errors, `doctor` and docs/errors.md say what is written
there.

The first cause that is recognised is told. Where none is, all those are named that come into question and leave no
trace that could be read: nothing is guessed.
"""

from __future__ import annotations

from typing import NamedTuple

from nsbox.diagnosis.causes.cause import Cause, Failure
from nsbox.diagnosis.causes.creation import CREATION
from nsbox.diagnosis.causes.directories import DIRECTORIES
from nsbox.diagnosis.causes.id_maps import MAPS
from nsbox.diagnosis.causes.joining import JOINING
from nsbox.diagnosis.causes.policy import POLICY
from nsbox.diagnosis.causes.proc_and_settings import MOUNTS
from nsbox.diagnosis.causes.program import PAYLOAD
from nsbox.diagnosis.causes.root_and_mounts import WORLD
from nsbox.diagnosis.causes.subordinate_ids import SUBIDS
from nsbox.diagnosis.evidence import Evidence, gather

__all__ = ["CAUSES", "SECTIONS", "Cause", "Explanation", "Failure", "explain"]

SECTIONS = {
    "What forbids namespaces from outside": POLICY,
    "Creating namespaces": CREATION,
    "Namespaces that exist": JOINING,
    "Id maps by newuidmap": SUBIDS,
    "Id maps": MAPS,
    "A root, mounts and limits": WORLD,
    "Mounts and settings": MOUNTS,
    "The root and the working directory of a command": DIRECTORIES,
    "The program and its surroundings": PAYLOAD,
}
"""All causes, in the order in which they are tried."""

CAUSES = {cause.name: cause for causes in SECTIONS.values() for cause in causes}


class Explanation(NamedTuple):
    """What is known about a failure.

    Attributes:
        cause: The name of the cause; empty if the evidence does not decide.
        why: What was found, in a sentence.
        hint: What to do next.
    """

    cause: str
    why: str
    hint: str


def explain(failure: Failure, evidence: Evidence | None = None) -> Explanation:
    """Explain a failed step.

    Args:
        failure: The step.
        evidence: What is known about the machine; by default it is gathered now.
    """
    possible = [cause for cause in CAUSES.values() if cause.concerns(failure)]
    if not possible:
        return Explanation("", failure.detail, "")
    if evidence is None:
        evidence = gather()
    for cause in possible:
        if (found := cause.find(failure, evidence)) is not None:
            return Explanation(cause.name, _with(failure, cause.why.format(**found)), cause.hint(evidence, found))
    candidates = [cause for cause in possible if cause.traceless is not None and cause.traceless(failure, evidence)]
    if not candidates:
        return Explanation("", failure.detail, "")
    names = "; or ".join(cause.title[:1].lower() + cause.title[1:] for cause in candidates)
    hints = "; or ".join(dict.fromkeys(cause.hint(evidence, cause.example) for cause in candidates))
    undecided = (
        "the evidence does not decide between" if len(candidates) > 1 else "the evidence does not show it, but likely"
    )
    return Explanation("", _with(failure, f"{undecided}: {names}"), hints)


def _with(failure: Failure, words: str) -> str:
    return "; ".join(filter(None, (failure.detail, words)))
