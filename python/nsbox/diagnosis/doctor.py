"""What this machine, user and container allow, why not, and the remedy: `doctor`."""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass
from typing import Any

from nsbox.diagnosis.evidence import Evidence, gather
from nsbox.diagnosis.parts import TRIED_PARTS, try_part
from nsbox.diagnosis.places import PLACES
from nsbox.diagnosis.questions import answers
from nsbox.diagnosis.trial import attempt
from nsbox.records.diagnosis import Allowed, Answer, Trial
from nsbox.spec.kinds import KINDS, Namespaces, namespace_names
from nsbox.views import diagnosis_table as _view
from nsbox.views import mime
from nsbox.views.ansi import Style, paint

__all__ = ["Diagnosis", "doctor"]

_WIDTH = 80
_STYLES: dict[str, Style] = {"fine": "green", "note": "yellow", "problem": "red"}
_MARKS = {"fine": "ok  ", "note": "note", "problem": "NO  "}


@dataclass(frozen=True, slots=True)
class Diagnosis(mime.Table):
    """What `doctor` found. `str()` returns a page of text, `data()` values for JSON; a notebook shows tables.

    Attributes:
        places: Where the process runs, the closest place first (`nsbox.diagnosis.places.PLACES`).
        answers: The questions and answers, in order.
        kinds: What can be made, for each kind of namespace and for ``"proc"``, a new proc in a new PID namespace.
        parts: Which parts of `harden` work, for those that a machine can lack.
        everything: The same for all kinds at once, a new proc, and the loopback interface.
        evidence: What the answers are concluded from.
    """

    places: tuple[str, ...]
    answers: tuple[Answer, ...]
    kinds: dict[str, Allowed]
    parts: dict[str, Trial]
    everything: Allowed
    evidence: Evidence

    @property
    def problems(self) -> tuple[Answer, ...]:
        """The answers whose verdict is ``"problem"``."""
        return tuple(answer for answer in self.answers if answer.verdict == "problem")

    @property
    def where(self) -> str:
        """The names of the places, as text; empty where none is known."""
        return ", ".join(PLACES[place] for place in self.places)

    def data(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, texts and numbers."""
        return dataclasses.asdict(self)

    def html(self) -> str:
        """Return tables as HTML, without classes, ids or scripts."""
        return _view.page(self.verdict, self.where, self.answers, {**self.kinds, "all": self.everything})

    def __str__(self) -> str:
        """Return a page to read."""
        return self.text()

    def text(self, *, colour: bool = False) -> str:
        """Return a page to read; with `colour`, the marks of the answers have the colours of a terminal."""
        lines = [f"Where: {self.where}" if self.where else "Where: no container that is known here", ""]
        for answer in self.answers:
            head = f"{answer.number:2}  {_MARKS[answer.verdict]}  "
            first, *rest = _hanging(head, f"{answer.question} {answer.answer}")
            mark = paint(_MARKS[answer.verdict], _STYLES[answer.verdict], colour=colour)
            lines += [first.replace(_MARKS[answer.verdict], mark, 1), *rest]
            lines += _hanging(" " * len(head) + "next: ", answer.remedy) if answer.remedy else []
        lines += ["", f"{'kind':<8}  {'as it is':<18}  in a user namespace"]
        for name, allowed in {**self.kinds, "all": self.everything}.items():
            lines.append(f"{name:<8}  {_yes(allowed.root):<18}  {_yes(allowed.rootless)}")
        lines += ["", *_hanging("", self.verdict)]
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """A summary in one or two sentences."""
        if self.everything.rootless.works:
            return "Everything works here, without being root outside."
        if self.everything.root.works:
            failed = self.everything.rootless
            return (
                "Everything works here with the rights of this process. In a user namespace the step "
                f"{failed.step!r} fails: {failed.why}."
            )
        working = [name for name, allowed in self.kinds.items() if allowed.works]
        if not working:
            return "No new namespaces can be made here. The lines marked NO show why, and what to do."
        rest = "The lines marked NO show why the rest does not."
        return f"Not everything works here. These work: {', '.join(working)}. {rest}"

    def __repr__(self) -> str:
        """Return the verdict."""
        return f"<diagnosis: {self.verdict}>"


def doctor() -> Diagnosis:
    """Find out what this machine, this user and this container allow (namespaces(7), user_namespaces(7)).

    Everything is read, or tried in a child that then exits; the calling process stays as it is. Takes some 50 ms.
    """
    evidence = gather()
    kinds = {kind: _both(kind) for kind in KINDS}
    kinds["proc"] = _both("mp", mount_proc=True)
    present = [kind for kind in KINDS if evidence.kinds is None or kind in evidence.kinds]
    everything = _both(*present, mount_proc=True)
    chain = everything.root if everything.root.works else everything.rootless
    parts = {part: try_part(part) for part in TRIED_PARTS}
    return Diagnosis(evidence.places, answers(evidence, parts, chain), kinds, parts, everything, evidence)


def require(wanted: Namespaces) -> Trial:
    """Try whether these namespaces can be made together, in the way in which nsbox makes them.

    Raises:
        SpecError: for a name that is no kind of namespace.
    """
    return attempt(namespace_names(wanted))


def _both(*kinds: str, mount_proc: bool = False) -> Allowed:
    names = namespace_names(kinds)
    without = tuple(name for name in names if name != "user")
    rootless = attempt(("user", *names), map_root_user=True, mount_proc=mount_proc)
    # A new user namespace alone is the same in both columns.
    root = attempt(without, map_root_user=False, mount_proc=mount_proc) if without else rootless
    return Allowed(root, rootless)


def _yes(trial: Trial) -> str:
    return "yes" if trial.works else f"no: {trial.step or 'not in this kernel'}"


def _hanging(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
