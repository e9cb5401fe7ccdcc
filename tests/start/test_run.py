"""nsbox as a replacement of `subprocess`: each result is compared with that of the plain module."""

from __future__ import annotations

import codecs
import gc
import os
import signal
import subprocess
import time
import types
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.callers import survivors
from tests.support.census import Census, reap_adopted
from tests.support.forked import Who, in_child
from tests.support.interrupt import interrupted
from tests.support.needs import needs_root
from tests.support.threads import busy

for name in ("utf-16", "latin-1", "ascii"):
    codecs.lookup(name)  # a user who cannot read Python's directories cannot import them later

Module = types.ModuleType
Outcome = tuple[object, ...]


def outcome(function: Callable[..., Any], *args: Any, **keywords: Any) -> Outcome:
    """Return the result of a call, or its exception with all attributes."""
    try:
        result = function(*args, **keywords)
    except OSError as error:
        return _kind(error), error.errno, error.filename
    except subprocess.TimeoutExpired as error:
        # Its timeout is the time that remained when the wait began, and so it varies.
        return type(error), error.cmd, error.timeout > 0, error.output, error.stderr
    except subprocess.CalledProcessError as error:
        return type(error), error.cmd, error.returncode, error.output, error.stderr
    except Exception as error:
        return (_kind(error),)
    return _kind(result), vars(result) if isinstance(result, subprocess.CompletedProcess) else result


def _kind(result: object) -> type:
    """Return the class; for a class of nsbox, the class of Python that it derives from."""
    return next(kind for kind in type(result).__mro__ if not kind.__module__.startswith("nsbox."))


def both(function: Callable[[Module], Any]) -> tuple[Any, Any]:
    """Return the result of a function with nsbox, and with `subprocess`."""
    return function(nsbox), function(subprocess)


SH = ["sh", "-c", 'cat; echo out; echo err >&2; exit "${1:-0}"', "sh"]
CASES: dict[str, dict[str, Any]] = {
    "nothing": {"args": ["true"]},
    "a status": {"args": ["sh", "-c", "exit 5"]},
    "a signal": {"args": ["sh", "-c", "kill -TERM $$"]},
    "captured": {"args": SH, "capture_output": True, "input": b"in\n"},
    "checked": {"args": [*SH, "9"], "capture_output": True, "stdin": subprocess.DEVNULL, "check": True},
    "checked, no pipes": {"args": ["sh", "-c", "exit 9"], "check": True},
    "checked, a signal": {"args": ["sh", "-c", "kill -KILL $$"], "check": True},
    "errors with the output": {"args": SH, "stdout": -1, "stderr": subprocess.STDOUT, "input": b""},
    "text": {"args": SH, "capture_output": True, "text": True, "input": "ünï\n"},
    "universal_newlines": {"args": ["printf", "a\\r\\nb\\r"], "stdout": -1, "universal_newlines": True},
    "encoding": {"args": SH, "capture_output": True, "encoding": "latin-1", "input": "ü"},
    "encoding of two bytes": {"args": ["cat"], "stdout": -1, "encoding": "utf-16", "input": "ü"},
    "errors": {"args": ["printf", "\\377"], "stdout": -1, "encoding": "ascii", "errors": "replace"},
    "text that is none": {"args": ["printf", "\\377"], "stdout": -1, "encoding": "ascii"},
    "bufsize": {"args": SH, "capture_output": True, "bufsize": 0, "input": b"x" * 100_000},
    "bufsize 1, text": {"args": SH, "capture_output": True, "bufsize": 1, "text": True, "input": "line\n"},
    "pipesize": {"args": SH, "capture_output": True, "pipesize": 4096, "input": b"x" * 100_000},
    "shell": {"args": "echo $0 $HOME; exit 3", "shell": True, "capture_output": True},
    "shell with arguments": {"args": ["echo $1", "zero", "one"], "shell": True, "capture_output": True},
    "another shell": {"args": "echo $0", "shell": True, "executable": "/bin/bash", "stdout": -1},
    "executable": {"args": ["other name", "-c", "echo $0"], "executable": "sh", "stdout": -1},
    "a string": {"args": "true"},
    "a path": {"args": Path("/bin/true")},
    "bytes": {"args": [b"echo", b"\xff"], "stdout": -1},
    "paths among the arguments": {"args": ["echo", Path("/x")], "stdout": -1},
    "cwd": {"args": ["pwd"], "cwd": "/usr", "stdout": -1},
    "a relative program": {"args": ["./true"], "cwd": "/bin"},
    "env": {"args": ["sh", "-c", "echo $A"], "env": {"A": "b", "PATH": os.environ["PATH"]}, "stdout": -1},
    "env in bytes": {"args": ["/bin/sh", "-c", "echo $A"], "env": {b"A": b"\xff"}, "stdout": -1},
    "umask": {"args": ["sh", "-c", "umask"], "umask": 0o27, "stdout": -1},
    "a negative umask": {"args": ["sh", "-c", "umask"], "umask": -5, "stdout": -1},
    "a large umask": {"args": ["sh", "-c", "umask"], "umask": 2**31 - 1, "stdout": -1},
    "too large a umask": {"args": ["true"], "umask": 2**31},
    "start_new_session": {"args": ["sh", "-c", "kill -0 -$$"], "start_new_session": True},
    "process_group": {"args": ["sh", "-c", "kill -0 -$$"], "process_group": 0},
    "the caller's process group": {"args": ["sh", "-c", "kill -0 -$$"], "stderr": subprocess.DEVNULL},
    "restore_signals": {"args": ["grep", "SigIgn", "/proc/self/status"], "restore_signals": False, "stdout": -1},
    "close_fds": {"args": ["true"], "close_fds": False},
    "flags that are numbers": {"args": ["sh", "-c", "kill -0 -$$ && grep SigIgn /proc/self/status"], "stdout": -1,
                               "close_fds": 1, "restore_signals": 0, "start_new_session": 1},
    "flags that are not": {"args": ["true"], "close_fds": None, "restore_signals": 1, "start_new_session": 0},
    "a flag that is a word": {"args": ["true"], "restore_signals": "no"},
    "another flag that is a word": {"args": ["true"], "start_new_session": "no"},
    "a negative process group": {"args": ["true"], "process_group": -2},
    "everything in place": {"args": ["cat"], "bufsize": None, "pipesize": None, "stdin": subprocess.DEVNULL},
    "timeout": {"args": ["sh", "-c", "echo early; echo warning >&2; exec sleep 60"], "capture_output": True,
                "timeout": 1},
    "timeout, text": {"args": ["sh", "-c", "echo early; exec sleep 60"], "stdout": -1, "text": True, "timeout": 1},
    "timeout, no pipes": {"args": ["sleep", "60"], "timeout": 0.1},
    "timeout in time": {"args": ["echo"], "stdout": -1, "timeout": 30},
    "no program": {"args": ["/nonexistent/program"]},
    "no such command": {"args": "no such command", "shell": True, "capture_output": True},
    "no directory": {"args": ["true"], "cwd": "/nonexistent"},
    "a file for a directory": {"args": ["true"], "cwd": Path("/etc/passwd")},
    "not to be executed": {"args": ["/etc/passwd"]},
    "a directory": {"args": ["/"]},
    "no arguments": {"args": []},
    "a number": {"args": 5},
    "NUL in an argument": {"args": ["echo", "a\0b"]},
    "NUL in the environment": {"args": ["true"], "env": {"A": "a\0b"}},
    "= in a name": {"args": ["true"], "env": {"A=B": "c"}},
    "a path for the shell": {"args": Path("/bin/true"), "shell": True},
    "input and stdin": {"args": ["cat"], "input": b"", "stdin": subprocess.DEVNULL},
    "captured and stdout": {"args": ["cat"], "capture_output": True, "stdout": subprocess.DEVNULL},
    "both kinds of text": {"args": ["cat"], "text": True, "universal_newlines": False},
    "unknown": {"args": ["true"], "no_such_keyword": 1},
    "for Windows": {"args": ["true"], "creationflags": 1},
    "for Windows too": {"args": ["true"], "startupinfo": 1},
    "bufsize is no number": {"args": ["true"], "bufsize": "1"},
    "no such user": {"args": ["true"], "user": "no such user"},
    "no such id": {"args": ["true"], "user": 2**40},
    "negative group": {"args": ["true"], "group": -3},
    "extra_groups is no list": {"args": ["true"], "extra_groups": "adm"},
    "no such descriptor": {"args": ["true"], "stdin": 999},
    "a negative descriptor": {"args": ["true"], "stdout": -7},
}  # fmt: skip
AS_ROOT: dict[str, dict[str, Any]] = {
    "user": {"args": ["id", "-u"], "user": "nobody", "stdout": -1},
    "group": {"args": ["id", "-g"], "group": 1234, "stdout": -1},
    "groups": {"args": ["id", "-G"], "extra_groups": [5, "adm"], "stdout": -1},
    "all of them": {"args": ["id"], "user": 1, "group": 2, "extra_groups": [], "stdout": -1},
}


@pytest.mark.parametrize("case", CASES)
def test_run(who: Who, case: str) -> None:
    """Every keyword of `subprocess.run` has the same result, or the same exception."""
    ours, theirs = who(lambda: both(lambda module: outcome(module.run, **CASES[case])))
    assert ours == theirs


@needs_root
@pytest.mark.parametrize("case", AS_ROOT)
def test_run_as_another_user(case: str) -> None:
    """Keywords that need privileges have the same result."""
    ours, theirs = both(lambda module: outcome(module.run, **AS_ROOT[case]))
    assert ours == theirs
    assert ours[1]["returncode"] == 0


@pytest.mark.parametrize(
    ("function", "args", "keywords"),
    [
        ("call", [["sh", "-c", "exit 4"]], {}),
        ("call", [["sleep", "60"]], {"timeout": 0.1}),
        ("call", [["true"]], {"stdout": subprocess.DEVNULL}),
        ("check_call", [["true"]], {}),
        ("check_call", [["sh", "-c", "exit 4"]], {}),
        ("check_call", [], {"args": ["false"]}),
        ("check_output", [["echo", "x"]], {}),
        ("check_output", [["echo", "x"]], {"text": True}),
        ("check_output", ["echo x; exit 3"], {"shell": True}),
        ("check_output", [["cat"]], {"input": b"x"}),
        ("check_output", [["cat"]], {"input": None}),
        ("check_output", [["cat"]], {"input": None, "encoding": "ascii"}),
        ("check_output", [["sh", "-c", "echo x; exec sleep 60"]], {"timeout": 1}),
        ("check_output", [["echo"]], {"stdout": -1}),
        ("check_output", [["echo"]], {"check": False}),
        ("getoutput", ["echo x; echo y >&2; exit 5"], {}),
        ("getoutput", ["printf '\\377'"], {"encoding": "latin-1"}),
        ("getstatusoutput", ["echo x; echo; exit 5"], {}),
        ("getstatusoutput", ["kill -9 $$"], {}),
        ("getstatusoutput", ["no such command"], {}),
        ("getstatusoutput", ["printf '\\377'"], {"encoding": "ascii", "errors": "replace"}),
    ],
)
def test_functions(who: Who, function: str, args: list[Any], keywords: dict[str, Any]) -> None:
    """The other functions of `subprocess` have the same results."""
    ours, theirs = who(lambda: both(lambda module: outcome(getattr(module, function), *args, **keywords)))
    assert ours == theirs


def test_names() -> None:
    """Changing the import is enough: every public name exists, and constants are the same objects."""
    assert set(subprocess.__all__) <= set(nsbox.__all__)
    for name in set(subprocess.__all__) - {"Popen"}:
        ours, theirs = getattr(nsbox, name), getattr(subprocess, name)
        assert ours is theirs or (callable(ours) and not isinstance(ours, type))
    assert issubclass(nsbox.Popen, subprocess.Popen)


def test_redirections(who: Who, place: Path) -> None:
    """Files and descriptors for input, output and errors work as in `subprocess`."""

    def redirect(module: Module) -> list[bytes]:
        source, target, other = (place / f"{name} {module.__name__} {who.name}" for name in ("in", "out", "err"))
        source.write_bytes(b"in\n")
        with source.open() as stdin, target.open("wb", buffering=0) as stdout, other.open("w") as stderr:
            module.run(SH, stdin=stdin, stdout=stdout, stderr=stderr.fileno())
            stdin.seek(0)
            module.run(SH, stdin=stdin.fileno(), stdout=stdout.fileno(), stderr=subprocess.STDOUT)
        return [target.read_bytes(), other.read_bytes()]

    ours, theirs = who(lambda: both(redirect))
    assert ours == theirs == [b"in\nout\nin\nout\nerr\n", b"err\n"]


def test_line_by_line(who: Who) -> None:
    """A Popen with three pipes in text mode exchanges lines with its program."""

    def speak(module: Module) -> list[object]:
        with module.Popen(["sh", "-c", "while read a; do echo got $a; done; echo bye >&2; exit 7"],
                          stdin=-1, stdout=-1, stderr=-1, text=True, bufsize=1) as process:  # fmt: skip
            said: list[object] = []
            for line in ("one\n", "two\n"):
                process.stdin.write(line)
                said.append(process.stdout.readline())
            said.append(process.poll())
            return [*said, process.communicate(), process.wait(), process.poll(), process.universal_newlines]

    ours, theirs = who(lambda: both(speak))
    assert ours == theirs
    assert ours[0] == "got one\n"


def test_communicate_again_after_a_timeout(who: Who) -> None:
    """A `communicate` that timed out can be called again, and no output is lost."""

    def twice(module: Module) -> list[object]:
        with module.Popen(["sh", "-c", "cat; sleep 2; echo late"], stdin=-1, stdout=-1) as process:
            with pytest.raises(subprocess.TimeoutExpired) as caught:
                process.communicate(b"early\n", timeout=1)
            return [caught.value.output, caught.value.timeout, process.communicate()]

    ours, theirs = who(lambda: both(twice))
    assert ours == theirs
    assert ours[0] == b"early\n"


def test_warning_about_a_forgotten_process() -> None:
    """The ResourceWarning is the same as in `subprocess`, and there is none for a program that has ended."""

    def forget(module: Module) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            process = module.Popen(["sleep", "0.05"])
            number, process = str(process.pid), None
            over = module.Popen(["true"])
            over.wait()
            del over
            gc.collect()
        survivors(2, root=os.getpid())
        subprocess._cleanup()  # type: ignore[attr-defined]
        return [f"{one.category.__name__}: {one.message}".replace(number, "PID") for one in caught]

    ours, theirs = in_child(lambda: both(forget))
    assert ours == theirs == ["ResourceWarning: subprocess PID is still running"]


LOOP = "echo ready >&3; while :; do sleep 0.01; done"


@pytest.mark.parametrize("captured", [True, False], ids=["with pipes", "without pipes"])
@pytest.mark.parametrize("trap", ["trap 'sleep 0.05; echo cleaned up >&3; exit' INT", "trap '' INT"])
def test_ctrl_c(captured: bool, trap: str) -> None:
    """At Ctrl-C the program, which gets SIGINT as well, has a moment to exit; then everything is killed."""

    def pressed(module: Module) -> tuple[bool, bytes, list[int]]:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        reader, writer = os.pipe()
        os.dup2(writer, 3, inheritable=True)

        def ready() -> bool:
            return os.read(reader, 6) == b"ready\n"

        keywords: dict[str, Any] = {"capture_output": True, "pass_fds": (3,)} if captured else {"close_fds": False}
        try:
            with interrupted(ready, lambda: os.killpg(0, signal.SIGINT)):
                module.run(["sh", "-c", f"{trap}; {LOOP}"], **keywords)
            raised = False
        except KeyboardInterrupt:
            raised = True
        os.close(3)
        os.close(writer)
        return raised, os.read(reader, 100), survivors(2, root=os.getpid())

    for _ in range(10):
        ours, theirs = in_child(lambda: pressed(nsbox)), in_child(lambda: pressed(subprocess))
        reap_adopted()  # processes that the plain module has killed, but not waited for
        # The moment is 0.25 s in both modules; on a busy machine the program may not run in that time.
        if ours == theirs and bool(ours[1]) == ("cleaned" in trap):
            break
    assert ours == theirs
    assert ours == (True, b"cleaned up\n" if "cleaned" in trap else b"", [])


def test_preexec_fn_is_refused(census: Census) -> None:
    """preexec_fn is refused, with the reason and the alternative, before anything is started."""
    for start in (nsbox.run, nsbox.Popen, nsbox.call):
        with pytest.raises(nsbox.SpecError, match=r"^preexec_fn: no Python code can run between .* start_new_session"):
            start(["true"], preexec_fn=os.setsid)
    assert not census.left_behind()


def test_a_process_group_of_the_caller(census: Census) -> None:
    """In a new PID namespace process_group cannot name a group of the caller; without one the program joins it."""
    with pytest.raises(nsbox.SpecError, match=r"^process_group: .* \(setpgid\(2\)\)\. 0 makes a new group"):
        nsbox.run(["true"], process_group=os.getpgrp())
    assert not census.left_behind()
    group = os.getpgrp()
    command = ["sh", "-c", "ps -o pgid= -p $$"]
    ours = nsbox.run(command, process_group=group, stdout=-1, unshare="mi").stdout
    theirs = subprocess.run(command, process_group=group, stdout=-1, check=True).stdout
    assert int(ours) == int(theirs) == group


def test_pid_1_ignores_signals() -> None:
    """With init=False a program ignores signals without a handler, and its repr says so; SIGKILL ends it."""
    with nsbox.Popen(["sleep", "60"], init=False) as process:
        assert "as PID 1, which ignores signals without a handler, except SIGKILL and SIGSTOP" in repr(process)
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert "ignores signals" not in repr(process)
    with nsbox.Popen(["sleep", "60"]) as process:
        assert "ignores signals" not in repr(process)
        process.terminate()
        assert process.wait() == -signal.SIGTERM


def test_threads_that_end_before_their_processes(who: Who) -> None:
    """Processes outlive the threads that started them: eight busy threads, and eight of a pool that is shut down."""

    def check() -> list[Any]:
        with busy(8):
            pool = ThreadPoolExecutor(8)
            start = lambda n: nsbox.Popen(["sh", "-c", f"read x; echo $x; exit {n}"], stdin=-1, stdout=-1)  # noqa: E731
            started = list(pool.map(start, range(40)))
            more = [pool.submit(nsbox.run, ["sh", "-c", f"exit {n}"]) for n in range(200)]
            pool.shutdown(wait=True, cancel_futures=True)
            time.sleep(0.05)
            ends = [(process.poll(), process.communicate(b"hello\n")[0], process.returncode) for process in started]
            assert all(future.cancelled() or future.result().returncode == n for n, future in enumerate(more))
        return ends

    assert who(check) == [(None, b"hello\n", n) for n in range(40)]


@pytest.mark.parametrize("given", [[-1], [0, -7], [2**31], ["no number"], [None], [998]])
def test_descriptors_that_cannot_be_passed_on(given: list[Any]) -> None:
    """The exception is that of `subprocess`, or one derived from it, in a box as well."""
    with nsbox.Box("p") as box:
        ours, theirs, in_box = (
            outcome(run, ["true"], pass_fds=given) for run in (nsbox.run, subprocess.run, box.run)
        )  # fmt: skip
    assert ours == in_box == theirs


def test_equal_numbers_in_pass_fds() -> None:
    """As in `subprocess`, pass_fds may have duplicates, any order, and anything that int() takes."""
    reader, writer = os.pipe()
    command = ["sh", "-c", f"echo {writer} > /proc/self/fd/{writer}"]
    nsbox.run(command, unshare="m", pass_fds=[str(writer), writer, reader], check=True)
    os.close(writer)
    assert os.read(reader, 100) == f"{writer}\n".encode()
    os.close(reader)
