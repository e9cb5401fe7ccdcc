"""The steps of a plan or a command line: the system calls, the command that does the same, the manual page, and why."""

from __future__ import annotations

import dataclasses
import os
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from nsbox import _core
from nsbox.command.engines import run as engines
from nsbox.command.equivalents import command_for, unshare_line
from nsbox.command.nsenter.advice import notes_of, python_of
from nsbox.command.nsenter.request import entry_of
from nsbox.command.nsenter.steps import entering_steps
from nsbox.command.options import UsageError, parse
from nsbox.command.others import ip_netns, sudo, systemd_run
from nsbox.command.unshare.request import RUN_OPTIONS, Request, popen_options, request_from, request_of
from nsbox.command.unshare.steps import steps_of
from nsbox.errors import SpecError
from nsbox.records.steps import ExplainedStep, StepResult, data_of
from nsbox.spec.nearest import did_you_mean
from nsbox.spec.spec import Spec, spec_of
from nsbox.start.launch import Launch, candidates, environment, plan_for
from nsbox.views import mime
from nsbox.views import step_table as _view
from nsbox.views.ansi import paint

__all__ = ["Explanation", "explain"]

_WIDTH = 80
_EXPLAINED = (
    "unshare", "nsenter", "nsbox run", "docker run", "podman run", "ip netns exec", "systemd-run", "sudo",
)  # fmt: skip
"""The commands that can be explained."""


class _Step(Protocol):
    """What steps of plans and of command lines have in common."""

    @property
    def actor(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def calls(self) -> Sequence[Any]: ...
    @property
    def call(self) -> str: ...
    @property
    def manual(self) -> str: ...
    @property
    def why(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Explanation(mime.Table):
    """Steps in their order. `str()` returns a text, `data()` values for JSON; a notebook shows a table.

    Attributes:
        title: What is explained.
        steps: The steps.
        command: The most similar command line; empty if there is none.
        python: The most similar call of nsbox; empty if there is none.
        notes: What else the reader should know.
    """

    title: str
    steps: tuple[ExplainedStep, ...]
    command: str = ""
    python: str = ""
    notes: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, texts and numbers."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        """Return a text to read."""
        return self.text()

    def text(self, *, colour: bool = False) -> str:
        """Return a text to read; with `colour`, titles and system calls have the colours of a terminal."""
        lines = [paint(self.title, "bold", colour=colour), ""]
        for step in self.steps:
            article = "the " if step.actor in ("caller", "payload") else ""
            lines.append(paint(f"{step.index:2}  {step.name}, by {article}{step.actor}", "bold", colour=colour))
            lines += [paint(line, "cyan", colour=colour) for line in _labelled("", step.call)]
            lines += _labelled("by hand  ", step.command)
            lines += _labelled("result   ", step.result)
            lines += _labelled("why      ", f"{step.why}: {step.manual}")
        lines += [""] if self.command or self.python or self.notes else []
        lines += _labelled("command  ", self.command, "") + _labelled("Python   ", self.python, "")
        for note in self.notes:
            lines += _labelled("note     ", note, "")
        return "\n".join(lines)

    def html(self) -> str:
        """Return a table as HTML, without classes, ids or scripts."""
        return _view.explained(
            self.title, self.steps, {"As a command": self.command, "In Python": self.python}, self.notes
        )

    def __repr__(self) -> str:
        """Return the title and the number of steps."""
        return f"<explanation of {self.title!r}: {len(self.steps)} steps>"


def explain(what: object = None, /, **options: Any) -> Explanation:
    """Explain the steps that would be carried out, or that were carried out (namespaces(7), unshare(1)).

    Args:
        what: A command line of unshare(1), of nsenter(1), of ``nsbox run``, ``docker run``, ``podman run``, ``ip netns
            exec`` or ``systemd-run``, also behind sudo(8), as a text or as words; with options, the program as for
            `run`; a `Spec`; a plan, or anything that has one, such as a `Popen` or a `Box`.
        **options: The options of `Spec`.

    Raises:
        SpecError: for invalid options, and for an object that has no plan.
        SpawnError: when a namespace that is to be joined (``join=``) cannot be opened.
    """
    plan = getattr(what, "plan", what)
    if isinstance(plan, _core.Plan) and not options:
        # The steps of a box have their results.
        steps = getattr(what, "steps", plan.steps)
        return Explanation(repr(plan)[1:-1], _explained(steps), notes=_added(plan))
    if isinstance(what, Spec) and not options:
        return _of_spec(what, ["PROGRAM"])
    if what is None:
        return _of_spec(spec_of(options.pop("unshare", "mip"), cast("Any", options)), ["PROGRAM"])
    words = _words(what, split=not options)
    if options:
        return _of_spec(spec_of(options.pop("unshare", "mip"), cast("Any", options)), words)
    return _of_command(words, is_root=os.geteuid() == 0)


def _words(what: object, *, split: bool) -> list[str]:
    if isinstance(what, str):
        try:
            return shlex.split(what) if split else [what]
        except ValueError as error:
            raise UsageError(f"explain: {error}") from None
    if isinstance(what, Sequence) and all(isinstance(word, str | bytes | os.PathLike) for word in what):
        return [os.fsdecode(word) for word in what]
    raise SpecError(f"explain: expected a command line, a program with options, a Spec or a plan, got {what!r}")


def _of_command(words: list[str], *, is_root: bool) -> Explanation:
    match words:
        case ["nsbox", "run", *rest]:
            return _of_run(rest)
        case ["nsbox", "unshare", *rest] | ["unshare", *rest]:
            request = request_of(rest)
            notes = tuple(_notes_of(request))
            return Explanation(
                shlex.join(words), _explained(steps_of(request)), python=_python_of(request), notes=notes
            )
        case ["nsbox", "nsenter", *rest] | ["nsenter", *rest]:
            entry = entry_of(rest)
            steps = _explained(entering_steps(entry))
            return Explanation(shlex.join(words), steps, python=python_of(entry), notes=tuple(notes_of(entry)))
        case [("docker" | "podman") as engine, "run", *rest] | [
            ("docker" | "podman") as engine,
            "container",
            "run",
            *rest,
        ]:
            found = engines.run(engine, rest, is_root=is_root)
            return Explanation(shlex.join(words), found.steps, found.command, found.python, found.notes)
        case ["ip", "netns", "exec", *rest]:
            found = ip_netns.execute(rest)
            return Explanation(shlex.join(words), found.steps, found.command, found.python, found.notes)
        case ["systemd-run", *rest]:
            found = systemd_run.execute(rest)
            return Explanation(shlex.join(words), found.steps, found.command, found.python, found.notes)
        case [("sudo" | "doas") as name, *rest]:
            user, program = sudo.program_of(name, rest)
            below = _of_command(program, is_root=user == "root")
            note = sudo.note(name, user, program[0])
            return dataclasses.replace(below, title=shlex.join(words), notes=(note, *below.notes))
    given = " ".join(words[:2]) if words[:1] in (["docker"], ["podman"], ["nsbox"], ["ip"]) else " ".join(words[:1])
    known = f"; what can be: {', '.join(_EXPLAINED)}"
    raise UsageError(f"explain: {given!r} cannot be explained{did_you_mean(given, _EXPLAINED) or known}")


def _of_run(words: list[str]) -> Explanation:
    found, program = parse(RUN_OPTIONS, words)
    request = request_from([pair for pair in found if pair[0].name not in ("timeout", "max-output")], program)
    options = popen_options(request)
    for name in (*request.program_options(), "env"):
        options.pop(name, None)
    spec = spec_of(options.pop("unshare"), cast("Any", options))
    launch = _launch(
        program or ["PROGRAM"],
        env=environment(request.environment),
        cwd=os.fsencode(request.wd) if request.wd else None,
        groups=None if request.gid is None else (),
        gid=request.gid,
        uid=request.uid,
    )
    plan = plan_for(spec, launch)
    return Explanation(shlex.join(["nsbox", "run", *words]), _explained(plan.steps), notes=_added(plan))


def _of_spec(spec: Spec, program: list[str]) -> Explanation:
    plan = plan_for(spec, _launch(program))
    command, missing = unshare_line(spec, program)
    notes = [f"unshare(1) has no option for {', '.join(missing)}"] if missing else []
    return Explanation(repr(plan)[1:-1], _explained(plan.steps), command, notes=(*_added(plan), *notes))


def _launch(program: list[str], **others: Any) -> Launch:
    return Launch(paths=candidates(program[0], None), argv=tuple(map(os.fsencode, program)), **others)


def _explained(steps: Iterable[_Step]) -> tuple[ExplainedStep, ...]:
    return tuple(_explain_step(index, step) for index, step in enumerate(steps))


def _explain_step(index: int, step: _Step) -> ExplainedStep:
    if isinstance(step, StepResult):
        calls, errno, microseconds = step.calls, step.errno, step.microseconds
    else:
        calls, errno, microseconds = data_of(step.calls), None, None
    return ExplainedStep(
        index=index,
        actor=step.actor,
        name=step.name,
        call=step.call,
        command=command_for(step.name, calls),
        manual=step.manual,
        why=step.why,
        errno=errno,
        microseconds=microseconds,
        calls=calls,
    )


def _added(plan: _core.Plan) -> tuple[str, ...]:
    return tuple(f"a new {namespace} namespace was added: {reason}" for namespace, reason in plan.added)


def _python_of(request: Request) -> str:
    """Return the most similar call of nsbox; empty where there is none."""
    options = request.spec_options()
    if not request.fork:
        options["fork"] = False
    elif request.program:
        options["init"] = False
    if request.root or request.pins or (request.clear_env and not request.program):
        return ""
    named = [f"{name}={value!r}" for name, value in (options | request.program_options()).items()]
    if request.clear_env:
        kept = ", ".join(f"{name!r}: os.environ[{name!r}]" for name in sorted(request.keep_env))
        named.append(f"env={{{kept}}}")
    text = ", ".join(named)
    if request.program:
        return f"nsbox.run({list(request.program)!r}, {text})"
    return f"nsbox.Shell({text})"


def _notes_of(request: Request) -> Iterable[str]:
    """Yield notes on effects of these options that readers may not expect."""
    if "pid" in request.kinds and not request.fork:
        yield (
            "without --fork the program stays outside of the new PID namespace. Its first child becomes PID 1 there. "
            'When that one exits, no process can be started in it any more: "Cannot allocate memory"'
        )
    if "pid" in request.kinds and not request.mount_proc:
        yield "ps and /proc show the old PID namespace until a new proc is mounted (--mount-proc)"
    if request.mount_proc and "pid" not in request.kinds:
        yield "without --pid the new proc shows the same processes as the old one"
    if "net" in request.kinds:
        yield "the new network namespace has only a loopback interface, which is down: ip link set lo up brings it up"
    if "user" in request.kinds and request.map_user is None:
        yield "without a map the program has the ids 65534 (nobody) inside, and an exec drops its capabilities"
    if "ipc" in request.kinds:
        yield "POSIX shared memory is files in /dev/shm, which is a mount, and no part of the IPC namespace"


def _labelled(label: str, text: str, indent: str = "      ") -> list[str]:
    head = indent + label
    blank = " " * len(head)
    wrapper = textwrap.TextWrapper(_WIDTH, head, blank, break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(text)
