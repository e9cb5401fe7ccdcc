"""What this machine, user and container allow, why not, and the remedy: `doctor`."""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass
from typing import Any

from nsbox.diagnosis.evidence import Evidence, gather
from nsbox.diagnosis.places import PLACES
from nsbox.diagnosis.questions import answers
from nsbox.diagnosis.trial import attempt
from nsbox.records.diagnosis import Allowed, Answer, Trial
from nsbox.spec.kinds import KINDS, Namespaces, namespace_names
from nsbox.views import diagnosis_table as _view
from nsbox.views import mime

__all__ = ["Diagnosis", "doctor"]

_WIDTH = 80
_MARKS = {"fine": "ok  ", "note": "note", "problem": "NO  "}


@dataclass(frozen=True, slots=True)
class Diagnosis(mime.Table):
    """What `doctor` found. `str()` makes a page of it, `data()` what JSON takes; a notebook shows tables.

    Attributes:
        places: What the surroundings are, the closest first.
        answers: The questions and answers, in order.
        kinds: What can be had, for each kind of namespace and for ``"proc"``, a new proc in a new PID namespace.
        everything: The same for all kinds at once, a new proc, and the loopback interface.
        evidence: What the answers come from.
    """

    places: tuple[str, ...]
    answers: tuple[Answer, ...]
    kinds: dict[str, Allowed]
    everything: Allowed
    evidence: Evidence

    @property
    def problems(self) -> tuple[Answer, ...]:
        """The answers that stand in the way of something."""
        return tuple(answer for answer in self.answers if answer.verdict == "problem")

    @property
    def where(self) -> str:
        """The names of the places, as text; empty where none is known."""
        return ", ".join(PLACES[place] for place in self.places)

    def data(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, texts and numbers."""
        return dataclasses.asdict(self)

    def html(self) -> str:
        """Return tables as HTML, with attributes only: no styles, classes, ids or scripts."""
        return _view.page(self.verdict, self.where, self.answers, {**self.kinds, "all": self.everything})

    def __str__(self) -> str:
        """Return a page to read."""
        lines = [f"Where: {self.where}" if self.where else "Where: no container that is known here", ""]
        for answer in self.answers:
            head = f"{answer.number:2}  {_MARKS[answer.verdict]}  "
            lines += _hanging(head, f"{answer.question} {answer.answer}")
            lines += _hanging(" " * len(head) + "next: ", answer.remedy) if answer.remedy else []
        lines += ["", f"{'kind':<8}  {'as it is':<18}  in a user namespace"]
        for name, allowed in {**self.kinds, "all": self.everything}.items():
            lines.append(f"{name:<8}  {_yes(allowed.root):<18}  {_yes(allowed.rootless)}")
        lines += ["", *_hanging("", self.verdict)]
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """All of it in a sentence."""
        if self.everything.rootless.works:
            return "Everything works here, without being root outside."
        if self.everything.root.works:
            failed = self.everything.rootless
            by = "Everything works by the rights this process has"
            return f"{by}; in a user namespace {failed.step!r} fails: {failed.why}."
        working = [name for name, allowed in self.kinds.items() if allowed.works]
        if not working:
            return "No new namespaces can be made here. The lines marked NO say why, and what to do."
        rest = "The lines marked NO say why the rest does not."
        return f"Not everything works here; what does: {', '.join(working)}. {rest}"

    def __repr__(self) -> str:
        """Say it in a line."""
        return f"<diagnosis: {self.verdict}>"


def doctor() -> Diagnosis:
    """Find out what this machine, this user and this container allow: namespaces(7), user_namespaces(7).

    Everything is read, or tried in a throw-away child; nothing happens to the calling process. Takes some 50 ms.
    """
    evidence = gather()
    kinds = {kind: _both(kind) for kind in KINDS}
    kinds["proc"] = _both("mp", mount_proc=True)
    present = [kind for kind in KINDS if evidence.kinds is None or kind in evidence.kinds]
    everything = _both(*present, mount_proc=True)
    chain = everything.root if everything.root.works else everything.rootless
    return Diagnosis(evidence.places, answers(evidence, chain), kinds, everything, evidence)


def require(wanted: Namespaces) -> Trial:
    """Try whether these namespaces can be had together, in the way nsbox would make them.

    Raises:
        SpecError: for what is no namespace.
    """
    return attempt(namespace_names(wanted))


def _both(*kinds: str, mount_proc: bool = False) -> Allowed:
    names = namespace_names(kinds)
    without = tuple(name for name in names if name != "user")
    rootless = attempt(("user", *names), map_root_user=True, mount_proc=mount_proc)
    # There is no user namespace without a user namespace.
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
