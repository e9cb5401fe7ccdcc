"""The answers and trials of a diagnosis of a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Allowed", "Answer", "Trial"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A question about the machine, with its answer.

    Attributes:
        number: Its number, from 1.
        question: The question, as a sentence.
        verdict: ``"fine"``, ``"note"`` for useful information, or ``"problem"``.
        answer: The answer, with what was read.
        remedy: What to do; empty if nothing has to be done.
    """

    number: int
    question: str
    verdict: Literal["fine", "note", "problem"]
    answer: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of trying to make a kind of namespace.

    Attributes:
        works: Whether every step up to the program succeeded.
        step: The step that failed; empty if none did.
        cause: The name of the cause in docs/errors.md; empty if it could not be decided.
        why: The kernel's error, and what was found about the reason.
        remedy: What to do about it.
    """

    works: bool
    step: str = ""
    cause: str = ""
    why: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Whether a kind of namespace can be made, in each of two ways.

    Attributes:
        root: Without a user namespace, with the caller's own rights.
        rootless: In a user namespace in which the caller is root.
    """

    root: Trial
    rootless: Trial

    @property
    def works(self) -> bool:
        """Whether it can be made in at least one of the two ways."""
        return self.root.works or self.rootless.works
