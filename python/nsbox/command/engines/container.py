"""A container as a command line asks for it: its namespaces, files, rights and limits."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from nsbox.records.steps import ExplainedStep
from nsbox.spec.kinds import KINDS

__all__ = ["STAGES", "Container", "Setting", "of_process"]

STAGES = ("namespaces", "network", "cgroup", "root", "mounts", "masks", "names", "rights", "process")
"""The order of the steps: in which the engine and runc carry them out."""


@dataclass(slots=True)
class Container:
    """What a command line asks for so far.

    Attributes:
        engine: ``"docker"`` or ``"podman"``.
        rootless: Whether the engine itself has no rights, as podman that an ordinary user starts.
        new: The kinds of new namespaces.
        joined: The namespaces that are joined: the process or file of each kind.
        added: Capabilities that are added to the usual ones.
        dropped: Capabilities that are taken from them.
        privileged: Whether the container has all rights.
        seccomp: ``"default"``, ``"unconfined"`` or a file with a filter.
        masked: Whether parts of /proc and /sys are hidden.
        read_only: Whether the files of the image are read-only.
        init: Whether an init is PID 1.
        python: Options of `nsbox.run`, as source text.
        unshare: Options of unshare(1) besides the namespaces.
        notes: Notes for the reader.
        options: The options that were given, by what each concerns, for the reasons of the steps.
    """

    engine: str
    rootless: bool = False
    new: set[str] = field(default_factory=lambda: {"mount", "uts", "ipc", "net", "pid", "cgroup"})
    joined: dict[str, str] = field(default_factory=dict)
    added: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    privileged: bool = False
    seccomp: str = "default"
    masked: bool = True
    read_only: bool = False
    init: bool = False
    python: dict[str, Any] = field(default_factory=dict)
    unshare: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)
    _steps: list[tuple[int, str, str, str, str, str]] = field(default_factory=list)

    def step(self, stage: str, name: str, call: str, command: str, manual: str, why: str) -> None:
        """Add a step to a stage, behind those that it has."""
        self._steps.append((STAGES.index(stage), name, call, command, manual, why))

    def given(self, about: str) -> str:
        """Return the options that were given about something, as the beginning of a reason; empty for none."""
        return "".join(f"{option}: " for option in [", ".join(self.options.get(about, []))] if option)

    def steps(self) -> tuple[ExplainedStep, ...]:
        """Return the steps in the order in which they are carried out."""
        found = sorted(self._steps, key=lambda step: step[0])
        return tuple(
            ExplainedStep(index, "runc", name, call, command, manual, why)
            for index, (_, name, call, command, manual, why) in enumerate(found)
        )

    def flags(self) -> str:
        """Return the flags of the new namespaces, in nsbox's order."""
        return "|".join(kind.flag_name for name, kind in KINDS.items() if name in self.new)

    def letters(self) -> str:
        """Return the letters of the new namespaces, in nsbox's order."""
        return "".join(kind.letter for name, kind in KINDS.items() if name in self.new)


Setting: TypeAlias = Callable[[Container, str, str], None]
"""Changes a container as an option asks for: the container, the name of the option and its value."""


def of_process(container: Container, name: str) -> str:
    """Return the PID of another container's first process, as text for a shell."""
    return f'"$({container.engine} inspect --format {{{{.State.Pid}}}} {shlex.quote(name)})"'
