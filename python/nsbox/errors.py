"""Everything nsbox raises.

    NsboxError
    ├── SpecError(ValueError)                the request itself makes no sense: which argument, and why
    ├── ClosedError                          the object has ended before
    ├── ScopeError(RuntimeError)             a thread did not leave a scope as it should
    ├── UnsupportedError                     this kernel or this machine lacks something
    ├── CellTimeoutError(TimeoutError)       a cell of a notebook took longer than it was to take
    ├── WrongAnswerError(AssertionError)     the kernel does not agree with an answer (nsbox.quiz)
    ├── CallError                            a function inside could not be called, or did not come back
    │   ├── TransferError                    its arguments or its result cannot travel by pickle
    │   ├── CallTimeoutError(TimeoutError)   it took too long, and was killed
    │   ├── WorkerDiedError                  the process that carried it out ended
    │   └── RemoteError                      it raised something that cannot travel
    └── SpawnError(OSError)                  a step of the plan failed
        └── SpawnPermissionError(PermissionError)    ... with EPERM or EACCES, or an id without a meaning

A program that cannot be executed and a working directory that does not exist raise what `subprocess` raises for
them: `FileNotFoundError`, `PermissionError`, `NotADirectoryError` and their relatives.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import signal
from types import TracebackType

__all__ = [
    "CallError",
    "CallTimeoutError",
    "ClosedError",
    "NsboxError",
    "RemoteError",
    "RemoteTraceback",
    "ScopeError",
    "SpawnError",
    "SpawnPermissionError",
    "SpecError",
    "TransferError",
    "UnsupportedError",
    "WorkerDiedError",
]

_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


class NsboxError(Exception):
    """What all exceptions of nsbox have in common."""

    _panel_is_shown = False
    """Whether a notebook shows the error as a panel already, so that one line of text is enough."""

    def _headline(self) -> str:
        """Return the message in one line."""
        return str(self).partition("\n")[0]

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows instead of a traceback: the message, and the line of the reader's own code."""
        text = self._headline() if self._panel_is_shown else str(self)
        where = _line_of_main(self.__traceback__)
        return [
            f"{_RED}{type(self).__name__}{_PLAIN}: {text}",
            *map(str, getattr(self, "__notes__", ())),
            *([where] if where else []),
        ]


def _line_of_main(trace: TracebackType | None) -> str:
    """Return the last line of the notebook's own code that was being executed; magics have none worth showing."""
    found = ""
    while trace is not None:
        frame, number = trace.tb_frame, trace.tb_lineno
        if frame.f_globals.get("__name__") == "__main__":
            line = linecache.getline(frame.f_code.co_filename, number).strip()
            found = "" if line.startswith("get_ipython()") else f"in line {number}: {line}" if line else ""
        trace = trace.tb_next
    return found


class SpecError(NsboxError, ValueError):
    """An argument, or a combination of arguments, that makes no sense. Nothing has been started."""


class ClosedError(NsboxError):
    """The shell or the box that was asked has ended before."""


class ScopeError(NsboxError, RuntimeError):
    """A scope of a thread (`nsbox.unshare`, `nsbox.setns`, `nsbox.mount_proc`) was not entered or left as it should.

    The message says in which state which thread is.
    """


class UnsupportedError(NsboxError):
    """This kernel or this machine lacks something that was asked for. Nothing has been started."""


class CallError(NsboxError):
    """A function that was to be called inside could not be called, or did not come back."""


class TransferError(CallError):
    """A function, an argument or a result cannot travel: it does not pickle here, or does not unpickle there."""


class CallTimeoutError(CallError, TimeoutError):
    """A function inside took too long, and was killed."""


class WorkerDiedError(CallError):
    """The process that carried out a function inside has ended before the function did.

    Attributes:
        returncode: Its exit status, negative for a signal.
        out_of_memory: Whether the kernel has meanwhile killed for want of memory, which then is the likely reason.
    """

    def __init__(self, name: str, returncode: int, out_of_memory: bool = False) -> None:
        """Keep the facts; `str()` makes the words."""
        super().__init__(name, returncode, out_of_memory)
        self.name = name
        self.returncode = returncode
        self.out_of_memory = out_of_memory

    def __str__(self) -> str:
        """Say what ended, and how."""
        how = f"exited with {self.returncode}"
        if self.returncode < 0:
            how = f"was ended by signal {-self.returncode}"
            with contextlib.suppress(ValueError):
                how += f" ({signal.Signals(-self.returncode).name})"
        why = "; meanwhile the kernel has killed for want of memory" if self.out_of_memory else ""
        return f"the process that carried out {self.name} {how}{why}"


class RemoteError(CallError):
    """A function inside raised an exception that cannot travel; this stands for it."""


class RemoteTraceback(Exception):  # noqa: N818 - it is the cause of an error, and no error
    """The cause of an exception that was raised inside: where it was raised there, as text."""

    def __str__(self) -> str:
        """Show the traceback as Python shows one, below whatever is printed before it."""
        return f'\n"""\n{self.args[0]}"""'


class SpawnError(NsboxError, OSError):
    """A step of the plan failed. Everything that had been started is gone.

    Attributes:
        errno: The error number (errno(3)).
        strerror: Its text.
        step: The name of the step, such as ``"mount proc"``; the same name as in the plan.
        actor: Who carried it out: ``"caller"``, ``"init"`` or ``"payload"``; for a box in a box ``"outer init"``.
        call: The system call with its arguments.
        evidence: What was found out about the reason at that moment; may be empty.
        hint: What to do about it; may be empty.
        cause: The name of the cause in docs/errors.md, such as ``"seccomp-filter"``; empty if it could not be decided.
    """

    def __init__(
        self, errno: int, step: str, actor: str, call: str, evidence: str = "", hint: str = "", cause: str = ""
    ) -> None:
        """Keep the facts; `str()` makes the words."""
        super().__init__(errno, os.strerror(errno))
        self.step = step
        self.actor = actor
        self.call = call
        self.evidence = evidence
        self.hint = hint
        self.cause = cause

    def __str__(self) -> str:
        """Say what failed, why, and what to do next: a line for each."""
        lines = [f"step {self.step!r} failed: {self.call}: {self.strerror} (errno {self.errno})"]
        if self.evidence:
            lines.append(f"why: {self.evidence}")
        if self.hint:
            lines.append(f"next: {self.hint}")
        return "\n".join(lines)

    def _headline(self) -> str:
        """Return which step failed."""
        return f"step {self.step!r} failed"

    def __reduce__(self) -> tuple[type[SpawnError], tuple[object, ...]]:
        """Pickle with all attributes: `OSError` would keep only its own."""
        return type(self), (
            self.errno, self.step, self.actor, self.call, self.evidence, self.hint, self.cause,
        )  # fmt: skip


class SpawnPermissionError(SpawnError, PermissionError):
    """A step was refused with EPERM or EACCES; or an id was asked for that is not mapped, which is EINVAL."""


def scope_error(problem: str, entered_in: int | None, here: int, failures: list[tuple[str, str, int]]) -> ScopeError:
    """Make the exception for a scope that is misused, or cannot be undone. Called by the core."""
    if problem == "not undone":
        lines = [f"thread {here} could not go back to where it was:"]
        lines += [f"{step}: {call}: {os.strerror(number)} (errno {number})" for step, call, number in failures]
        lines.append(
            "it stays there, for all else that it does; everything not named here is undone. "
            "next: end the thread, or the process if this is its main thread"
        )
        return ScopeError("\n".join(lines))
    return ScopeError(_MISUSES[problem].format(entered=entered_in, here=here))


_MISUSES = {
    "never entered": "the scope that is to be left was never entered",
    "entered twice": "a scope can be entered once; make another one",
    "left twice": "the scope has been left before",
    "left in another thread": (
        "the scope was entered in thread {entered} and left in thread {here}, as happens with generators and "
        "coroutines that change threads. Thread {here} is where it was; thread {entered} stays in the other namespaces "
        "until it leaves an outer scope, or ends"
    ),
    "left out of turn": (
        "thread {here} is still in a scope that was entered after the one that is left, as happens when generators or "
        "coroutines take turns. Both are undone when it leaves that one"
    ),
}
