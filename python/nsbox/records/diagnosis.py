"""What was asked and tried about a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Allowed", "Answer", "Trial"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question.

    Attributes:
        number: Its number, from 1.
        question: The question.
        verdict: ``"fine"``, ``"note"`` for what is good to know, or ``"problem"``.
        answer: The answer, with what was read.
        remedy: What to do; empty where there is nothing to do.
    """

    number: int
    question: str
    verdict: Literal["fine", "note", "problem"]
    answer: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it.

    Attributes:
        works: Whether every step up to the program succeeded.
        step: The step that failed.
        cause: The name of the cause in docs/errors.md; empty if it could not be decided.
        why: The kernel's words for it, and what was found about the reason.
        remedy: What to do about it.
    """

    works: bool
    step: str = ""
    cause: str = ""
    why: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What can be had in the two ways there are.

    Attributes:
        root: Without a user namespace, by the caller's own rights.
        rootless: In a user namespace in which the caller is root.
    """

    root: Trial
    rootless: Trial

    @property
    def works(self) -> bool:
        """Whether it can be had in one way at least."""
        return self.root.works or self.rootless.works
