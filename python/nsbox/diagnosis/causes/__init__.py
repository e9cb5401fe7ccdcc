"""Why a step fails, and what to do about it.

An error number does not explain a failure: EPERM alone has more than a dozen causes here. So every cause is written
down once, as data (`Cause`): which steps and numbers it belongs to, how it is recognised in the evidence, what it is,
and what to do about it, in general and in certain places. Errors, `doctor` and docs/errors.md are made from that.

The first cause that is recognised is reported. Where none is, all causes are named that are possible and leave no
trace in the evidence: nothing is guessed.
"""

from __future__ import annotations

from typing import NamedTuple

from nsbox.diagnosis.causes.box_requests import BOX_REQUESTS
from nsbox.diagnosis.causes.cause import Cause, FailedStep
from nsbox.diagnosis.causes.connections import CONNECTIONS
from nsbox.diagnosis.causes.creation import CREATION
from nsbox.diagnosis.causes.directories import DIRECTORIES
from nsbox.diagnosis.causes.general import GENERAL
from nsbox.diagnosis.causes.hardening import HARDENING
from nsbox.diagnosis.causes.id_maps import MAPS
from nsbox.diagnosis.causes.joining import JOINING
from nsbox.diagnosis.causes.limits import LIMITS
from nsbox.diagnosis.causes.mounts import MOUNTS
from nsbox.diagnosis.causes.pins import PINS
from nsbox.diagnosis.causes.policy import POLICY
from nsbox.diagnosis.causes.proc import PROC
from nsbox.diagnosis.causes.program import PROGRAM
from nsbox.diagnosis.causes.settings import SETTINGS
from nsbox.diagnosis.causes.subordinate_ids import SUBIDS
from nsbox.diagnosis.evidence import Evidence, gather

__all__ = ["CAUSES", "SECTIONS", "Cause", "FailedStep", "Finding", "explain"]

SECTIONS = {
    "Rules outside the kernel that forbid namespaces": POLICY,
    "New namespaces": CREATION,
    "Namespaces that exist": JOINING,
    "Namespaces kept at files": PINS,
    "Id maps by newuidmap": SUBIDS,
    "Id maps": MAPS,
    "A root and mounts": MOUNTS,
    "A new proc": PROC,
    "Settings of namespaces": SETTINGS,
    "Resource limits and cgroups": LIMITS,
    "The root and the working directory of a command": DIRECTORIES,
    "The program: its descriptors, ids and terminal": PROGRAM,
    "Parts of harden": HARDENING,
    "Requests to a box": BOX_REQUESTS,
    "Boxes that are connected": CONNECTIONS,
    "All steps": GENERAL,
}
"""All causes, in the order in which they are tried."""

CAUSES = {cause.name: cause for causes in SECTIONS.values() for cause in causes}


class Finding(NamedTuple):
    """What is known about a failure.

    Attributes:
        cause: The name of the cause; empty if the evidence does not decide.
        why: What was found, in a sentence.
        hint: What to do next.
    """

    cause: str
    why: str
    hint: str


def explain(failed: FailedStep, evidence: Evidence | None = None) -> Finding:
    """Explain a failed step.

    Args:
        failed: The step.
        evidence: What is known about the machine; by default it is gathered now.
    """
    possible = [cause for cause in CAUSES.values() if cause.concerns(failed.step, failed.errno)]
    if not possible:
        return Finding("", failed.detail, "")
    if evidence is None:
        evidence = gather()
    for cause in possible:
        if (found := cause.find(failed, evidence)) is not None:
            return Finding(cause.name, _with_detail(failed, cause.why.format(**found)), cause.hint(evidence, found))
    candidates = [cause for cause in possible if cause.traceless is not None and cause.traceless(failed, evidence)]
    candidates = [cause for cause in candidates if not cause.last] or candidates
    if not candidates:
        return Finding("", failed.detail, "")
    names = "; or ".join(cause.title[:1].lower() + cause.title[1:] for cause in candidates)
    hints = "; or ".join(dict.fromkeys(cause.hint(evidence, cause.example) for cause in candidates))
    undecided = (
        "the evidence does not decide between" if len(candidates) > 1 else "the evidence does not show it, but likely"
    )
    return Finding("", _with_detail(failed, f"{undecided}: {names}"), hints)


def _with_detail(failed: FailedStep, why: str) -> str:
    return "; ".join(filter(None, (failed.detail, why)))
