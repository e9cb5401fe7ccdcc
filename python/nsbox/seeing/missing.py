"""Why a setup differs from a model: `MissingSteps`, which `compare` returns for two."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nsbox.errors import ProcessEndedError
from nsbox.records.names import safe
from nsbox.records.steps import data_of
from nsbox.seeing.namespaces import namespaces_of
from nsbox.seeing.proc import as_box
from nsbox.seeing.state import state_of
from nsbox.seeing.target import Target, pid_of
from nsbox.views import mime
from nsbox.views.missing_steps import differences

__all__ = ["MissingSteps", "between_processes", "between_steps", "steps_of"]


class _Step(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def call(self) -> str: ...
    @property
    def calls(self) -> Sequence[Any]: ...


@dataclass(frozen=True, slots=True, repr=False)
class MissingSteps(mime.Text, Sequence[str]):
    """What differs from a model: a sentence for each step that is missing or wrong. It is false if there is none.

    Attributes:
        student: What was compared.
        model: The model.
        sentences: A sentence for each step, in the order of the steps.
        unknown: The parts that the caller may not read in one of both, and so are not compared.
    """

    student: str
    model: str
    sentences: tuple[str, ...]
    unknown: tuple[str, ...] = ()

    def __getitem__(self, index: Any) -> Any:
        """Return a sentence by its position."""
        return self.sentences[index]

    def __len__(self) -> int:
        """Count the sentences."""
        return len(self.sentences)

    def __iter__(self) -> Iterator[str]:
        """Yield the sentences."""
        return iter(self.sentences)

    def __str__(self) -> str:
        """Return the sentences as a list."""
        verb = "differs from" if self.sentences else "does not differ from"
        title = f"{self.student} {verb} {self.model}{':' if self.sentences else ''}"
        lines = [title, *(f"    - {sentence}" for sentence in self.sentences)]
        return "\n".join([*lines, *([f"not compared: {', '.join(self.unknown)}"] if self.unknown else [])])

    def __repr__(self) -> str:
        """Return the number of sentences."""
        return f"<{len(self)} step{'' if len(self) == 1 else 's'} missing in {self.student}>"


def between_processes(student: Target, model: Target) -> MissingSteps:
    """Compare the states of two processes, each with the namespaces and mounts of the caller.

    Raises:
        SpecError: when one of them is no process.
        ProcessEndedError: when one of them has ended.
        PermissionError: when the caller may not know its namespaces.
    """
    unknown: list[str] = []
    found = []
    for target, argument in ((student, "box"), (model, "model")):
        pid = pid_of(target, argument)
        namespaces_of(target)
        try:
            found.append(state_of(target, os.getpid(), unknown))
        except AssertionError as error:
            raise ProcessEndedError(3, f"{argument}: {error}") from None
        pid_of(target, argument)
        if not os.path.exists(f"/proc/{pid}"):
            raise ProcessEndedError(3, f"{argument}: process {pid} has ended")
    sentences = differences(found[0], found[1], exact=True)
    return MissingSteps(_named(student), _named(model), tuple(sentences), tuple(dict.fromkeys(unknown)))


def _named(target: Target) -> str:
    pid = pid_of(target, "target")
    return f"the box of process {pid}" if as_box(target) else f"process {pid}"


def steps_of(target: object) -> list[_Step] | None:
    """Return the steps of a plan, an explanation or a list; None for anything else, such as a process."""
    if hasattr(target, "pid"):
        return None
    found = getattr(target, "steps", target)
    if isinstance(found, str | bytes) or not isinstance(found, Iterable):
        return None
    steps = list(found)
    return steps if all(hasattr(one, "name") and hasattr(one, "calls") for one in steps) else None


def between_steps(student: Sequence[_Step], model: Sequence[_Step]) -> MissingSteps:
    """Compare two lists of steps by their names and system calls. The program that is executed does not matter."""
    first, second = (_by_name(steps) for steps in (student, model))
    sentences = []
    for name, wanted in second.items():
        has = first.get(name, [])
        if len(has) < len(wanted):
            missing = next((one for one in wanted if _data(one) not in map(_data, has)), wanted[-1])
            sentences.append(f"the step {name!r} is missing: {safe(missing.call)}")
        else:
            sentences += [
                f"the step {name!r} is {safe(one.call)} and not {safe(other.call)}"
                for one, other in zip(has, wanted, strict=False)
                if _data(one) != _data(other)
            ]
    sentences += [
        f"the step {name!r} is one that the model does not have: {safe(has[-1].call)}"
        for name, has in first.items()
        if len(has) > len(second.get(name, []))
    ]
    sentences += _order([one.name for one in student], [one.name for one in model])
    return MissingSteps("this list of steps", "the model", tuple(sentences))


_OF_THE_PROGRAM = frozenset({"exec", "exec init"})
"""Steps that differ with the program, and not with its setup."""


def _by_name(steps: Iterable[_Step]) -> dict[str, list[_Step]]:
    found: dict[str, list[_Step]] = {}
    for step in steps:
        if step.name not in _OF_THE_PROGRAM:
            found.setdefault(step.name, []).append(step)
    return found


def _data(step: _Step) -> object:
    calls = step.calls
    return calls if all(isinstance(one, dict) for one in calls) else data_of(calls)


def _order(student: list[str], model: list[str]) -> Iterator[str]:
    """Yield the first pair of steps that both have once, and in another order."""
    once = [name for name in model if model.count(name) == 1 and student.count(name) == 1]
    for before, after in itertools.pairwise(once):
        if student.index(before) > student.index(after):
            yield f"the step {before!r} comes after {after!r}, and in the model before it"
            return
