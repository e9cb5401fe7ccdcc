"""What the command line of another program amounts to, in the terms of namespaces."""

from __future__ import annotations

from dataclasses import dataclass

from nsbox.records.steps import ExplainedStep

__all__ = ["Translation"]


@dataclass(frozen=True, slots=True)
class Translation:
    """Steps of another program, and what does the same.

    Attributes:
        steps: The steps, in their order.
        command: The most similar command line; empty if there is none.
        python: The most similar call of nsbox; empty if there is none.
        notes: What else the reader should know.
    """

    steps: tuple[ExplainedStep, ...]
    command: str = ""
    python: str = ""
    notes: tuple[str, ...] = ()
