"""Everything nsbox raises.

    NsboxError
    ├── SpecError(ValueError)                the request itself makes no sense: which argument, and why
    ├── ClosedError                          the object has already ended
    ├── ScopeError(RuntimeError)             a scope was entered or left in a wrong way
    ├── NotEndedError                        processes that were killed have not ended
    ├── OutputLimitError(SubprocessError)    a program wrote more than `max_output` (nsbox.start.output)
    ├── UnsupportedError                     this kernel or machine does not have what is needed
    ├── CellTimeoutError(TimeoutError)       a cell of a notebook exceeded its time limit
    ├── WrongAnswerError(AssertionError)     an answer differs from what the kernel reports (nsbox.quiz)
    ├── CallError                            a function inside could not be called, or did not return
    │   ├── TransferError                    its arguments or its result cannot be sent
    │   ├── CallTimeoutError(TimeoutError)   it exceeded its timeout, and was killed
    │   ├── WorkerDiedError                  the process that ran it has ended
    │   └── RemoteError                      it raised an exception that cannot be sent as it is
    └── SpawnError(OSError)                  a step of the plan failed
        └── SpawnPermissionError(PermissionError)    ... with EPERM or EACCES, or for an id that is not mapped

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
    "NotEndedError",
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
    """The base class of all exceptions of nsbox."""

    _panel_is_shown = False
    """Whether a notebook shows the error as a panel as well, so that one line of text is enough."""

    def _headline(self) -> str:
        """Return the message in one line."""
        return str(self).partition("\n")[0]

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows instead of a traceback: the message, and the line of the user's own code."""
        text = self._headline() if self._panel_is_shown else str(self)
        where = _line_of_main(self.__traceback__)
        return [
            f"{_RED}{type(self).__name__}{_PLAIN}: {text}",
            *map(str, getattr(self, "__notes__", ())),
            *([where] if where else []),
        ]


def _line_of_main(trace: TracebackType | None) -> str:
    """Return the last line of the notebook's own code that was being executed; empty for a magic."""
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


class ProcessEndedError(ProcessLookupError, SpecError):
    """The process that was given has ended, or no process has this PID. Another one with the same PID is never taken.

    Attributes:
        errno: ESRCH.
        strerror: The message.
    """

    def __init__(self, number: int, text: str) -> None:
        """Keep the error number, which is ESRCH, and the message."""
        super().__init__(number, text)

    def __str__(self) -> str:
        """Return the message."""
        return str(self.strerror)


class ClosedError(NsboxError):
    """The shell, the box or the handle is not usable any more: it has ended, or was closed."""


class ScopeError(NsboxError, RuntimeError):
    """A scope of a thread (`nsbox.unshare`, `nsbox.setns`, `nsbox.mount_proc`) was entered or left in a wrong way.

    The message names the threads and the state in which each of them is.
    """


class ForeignImportError(NsboxError, ImportError):
    """A thread in the mount namespace of other processes (`nsbox.setns`) would have imported a file of theirs.

    It would have been executed with the rights of the caller. Import the module before the block.
    """

    def __init__(self, name: str) -> None:
        """Say which module."""
        module = name.partition(".")[0]
        text = (
            f"import of {name!r} was refused: this thread is in the mount namespace of other processes, and would "
            f"execute a file of theirs; write `import {module}` before `with nsbox.setns(...):`"
        )
        super().__init__(text, name=name)

    def __reduce__(self) -> tuple[type[ForeignImportError], tuple[str]]:
        """Return what makes an equal one."""
        return type(self), (str(self.name),)


class UnsupportedError(NsboxError):
    """This kernel or machine does not have what was asked for. Nothing has been started."""


class NotEndedError(NsboxError):
    """Processes were killed, and have not ended. A process that waits in the kernel ends only after that wait.

    Attributes:
        seconds: How long their end was waited for.
        processes: The PID of each, and its state in /proc; the state is empty for one that is not there any more.
    """

    def __init__(self, seconds: float, processes: tuple[tuple[int, str], ...]) -> None:
        """Keep the facts; `str()` makes the words."""
        super().__init__(seconds, processes)
        self.seconds = seconds
        self.processes = processes

    def __str__(self) -> str:
        """Return which processes are left, in which state, and what to do."""
        left = "; ".join(f"process {pid} ({state or 'not in /proc any more'})" for pid, state in self.processes)
        pids = " ".join(str(pid) for pid, _ in self.processes)
        return (
            f"what was killed has not ended after {self.seconds:g} seconds: {left}\n"
            "why: a process in state D waits in the kernel, as for a file system that does not reply; one in state T "
            "is stopped; one of another user can be killed by that user or root\n"
            f"next: sudo kill -CONT {pids}; sudo kill -KILL {pids}; sudo cat /proc/{pids.split()[0]}/stack"
        )


class CallError(NsboxError):
    """A function inside could not be called, or did not return."""


class TransferError(CallError):
    """A function or an argument cannot be pickled, a result is no plain data, or what arrived is no reply."""


class CallTimeoutError(CallError, TimeoutError):
    """A function inside exceeded its timeout, and was killed."""


class WorkerDiedError(CallError):
    """The process that ran a function inside has ended before the function returned.

    Attributes:
        returncode: Its exit status, negative for a signal.
        out_of_memory: Whether the kernel has killed processes for lack of memory meanwhile, which then is the likely
            reason.
        cpu_seconds: The CPU time that it used; None if that is not known.
    """

    def __init__(
        self, name: str, returncode: int, out_of_memory: bool = False, cpu_seconds: float | None = None
    ) -> None:
        """Keep the facts; `str()` makes the words."""
        super().__init__(name, returncode, out_of_memory, cpu_seconds)
        self.cpu_seconds = cpu_seconds
        self.name = name
        self.returncode = returncode
        self.out_of_memory = out_of_memory

    def __str__(self) -> str:
        """Return which function was running, and how the process ended."""
        how = f"exited with {self.returncode}"
        if self.returncode < 0:
            how = f"was ended by signal {-self.returncode}"
            with contextlib.suppress(ValueError):
                how += f" ({signal.Signals(-self.returncode).name})"
        why = "; meanwhile the kernel has killed processes for lack of memory" if self.out_of_memory else ""
        return f"the process that ran {self.name} {how}{why}"


class RemoteError(CallError):
    """A function inside raised an exception that cannot be sent as it is; this one is raised in its place.

    Attributes:
        text: The message of this error.
        type_name: The class of the original exception, with its module, such as ``"lab.GradeError"``.
        message: The message of the original exception.
    """

    def __init__(self, text: str, type_name: str = "", message: str = "") -> None:
        """Keep the facts."""
        super().__init__(text, type_name, message)
        self.text, self.type_name, self.message = text, type_name, message

    def __str__(self) -> str:
        """Return the text."""
        return self.text


class RemoteTraceback(Exception):  # noqa: N818 - it is the cause of an error, not an error
    """The cause of an exception that was raised inside: its traceback there, as text."""

    def __str__(self) -> str:
        """Return the traceback as Python prints one, on lines of its own."""
        return f'\n"""\n{self.args[0]}"""'


class SpawnError(NsboxError, OSError):
    """A step of the plan failed. Everything that had been started is gone.

    Attributes:
        errno: The error number (errno(3)).
        strerror: Its text.
        step: The name of the step, such as ``"mount proc"``; the same name as in the plan.
        actor: The process that carried it out: ``"caller"``, ``"init"`` or ``"payload"``; for a box in a box ``"outer
            init"``.
        call: The system call with its arguments.
        evidence: What was found about the reason when the step failed; may be empty.
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
        """Return what failed, why, and what to do next: a line for each."""
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
        """Pickle all attributes: `OSError` would pickle only its own."""
        return type(self), (
            self.errno, self.step, self.actor, self.call, self.evidence, self.hint, self.cause,
        )  # fmt: skip


class SpawnPermissionError(SpawnError, PermissionError):
    """A step was refused with EPERM or EACCES; or with EINVAL, for an id that is not mapped."""


def scope_error(problem: str, entered_in: int | None, here: int, failures: list[tuple[str, str, int]]) -> ScopeError:
    """Return the exception for a scope that is used in a wrong way, or cannot be undone. Called by the core."""
    if problem == "not undone":
        lines = [f"thread {here} could not go back to the namespaces it was in:"]
        lines += [f"{step}: {call}: {os.strerror(number)} (errno {number})" for step, call, number in failures]
        lines.append(
            "the thread stays in the namespaces of the scope; everything that is not named here is undone. "
            "next: end the thread, or the process if this is its main thread"
        )
        return ScopeError("\n".join(lines))
    return ScopeError(_MISUSES[problem].format(entered=entered_in, here=here))


_MISUSES = {
    "never entered": "the scope cannot be left, as it was never entered",
    "entered twice": "a scope can be entered only once; make another one",
    "left twice": "the scope has already been left",
    "left in another thread": (
        "the scope was entered in thread {entered} and left in thread {here}, as happens with generators and "
        "coroutines that change threads. Thread {here} has not moved; thread {entered} stays in the namespaces of the "
        "scope until it leaves an outer scope, or ends"
    ),
    "left out of turn": (
        "thread {here} is still in a scope that was entered after the one that is left, as happens when generators or "
        "coroutines run in turns. Both are undone when the thread leaves the later one"
    ),
}
