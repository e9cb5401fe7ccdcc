"""Functions in a box: arguments and results, printed output, and how they and their Python end."""

from __future__ import annotations

import gc
import io
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FunctionType
from typing import Any

import nsbox
import pytest

from tests.support import callees
from tests.support.callers import Caller, caller, survivors
from tests.support.census import wait_until
from tests.support.far import run_as
from tests.support.forked import Who, in_child
from tests.support.inside import own_links
from tests.support.interrupt import interrupted

KINDS = ["mnt", "pid", "ipc"]


def test_arguments_and_result(who: Who, place: Path) -> None:
    """Arguments and results pass through new namespaces to a child of PID 1."""

    def calls() -> list[Any]:
        offset = 5
        with nsbox.Box("mip") as box:
            return [
                box.call(math.sqrt, 4.0),
                box.call(callees.identity, 1, b"2", three=[3]),
                box.call(callees.numbers),
                box.call(callees.links, KINDS),
                box.call(lambda number: number + offset, 2),
                len(box.call(bytes, 20_000_000)),
            ]

    root, echo, numbers, links, sum_, length = run_as(who, place, calls)
    assert (root, echo, numbers, sum_, length) == (2.0, ((1, b"2"), {"three": [3]}), (2, 1), 7, 20_000_000)
    assert not set(links.values()) & set(own_links().values())


def test_one_python_for_all_calls_unless_fresh() -> None:
    """The Python keeps its state; a fresh one has none, and has ended afterwards."""
    with nsbox.Box("p") as box:
        assert [box.call(callees.state, number) for number in range(2)] == [[0], [0, 1]]
        assert box.call(callees.state, 7, fresh=True) == [7]
        assert box.call(callees.state, 2) == [0, 1, 2]
        kinds = [event.kind for event in box.events]
        assert kinds == ["started", "started", "exited"]


def test_large_arguments() -> None:
    """Data larger than any buffer passes in both directions, while the function prints."""
    with nsbox.Box("p") as box:
        data = os.urandom(1 << 20) * 20
        assert box.call(callees.identity, data) == ((data,), {})


SAID = """{0} print
{0} without newline {0} write
{0} program
{0} ünïcödé \U0001f40d
"""


def test_printed_output_arrives_in_the_caller(capsys: pytest.CaptureFixture[str]) -> None:
    """Before the call returns, output is in the current `sys.stdout` and `sys.stderr`, however it was printed."""
    with nsbox.Box("mp") as box:
        for word in ("one", "two"):
            box.call(callees.say, word)
            out, err = capsys.readouterr()
            assert out == SAID.format(word)
            assert err == f"{word} error\n{word} program error\n"


def test_printed_output_arrives_at_once(place: Path) -> None:
    """Output arrives while the function runs."""

    class Listener(io.StringIO):
        def write(self, text: str) -> int:
            if "waiting" in text:
                (place / "received").touch()
            return super().write(text)

    with nsbox.Box("p") as box, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", Listener())
        assert box.call(callees.announce_and_wait, str(place / "received"), timeout=30) == "it is there"


def test_a_function_that_redirects_affects_only_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a function does to its streams and its directory, the next one finds them restored."""
    with nsbox.Box("mp", cwd="/usr") as box:
        for _ in range(2):
            box.call(callees.confuse)
            assert capsys.readouterr().out == "before\n"
            box.call(callees.say, "then")
            assert capsys.readouterr().out == SAID.format("then")
            assert box.call(os.getcwd) == "/usr"
        assert box.call(callees.fork_twice) == "parent"
        assert box.call(callees.identity) == ((), {})


def test_modules_are_found_as_here(place: Path) -> None:
    """Modules are imported by the current path, not by that of the first call."""
    (place / "late_module.py").write_text("def answer(): return 42\n")
    with nsbox.Box("p") as box, pytest.MonkeyPatch.context() as patch:
        box.call(callees.numbers)
        patch.syspath_prepend(str(place))
        import late_module  # type: ignore[import-not-found]

        assert box.call(late_module.answer) == 42
    del sys.modules["late_module"]


def test_exceptions_are_the_original_ones(who: Who, place: Path) -> None:
    """Exceptions keep their type and attributes, and have the traceback from inside as the cause."""

    def failures() -> list[tuple[type, str, str]]:
        found = []
        with nsbox.Box("mip") as box:
            raised = [KeyError("key"), FileNotFoundError(2, "text", "name"), SystemExit(3), nsbox.SpecError("x: y")]
            for error in raised:
                with pytest.raises(BaseException) as caught:  # noqa: PT011 - any exception is possible
                    box.call(callees.raise_it, error)
                found.append((type(caught.value), str(caught.value), str(caught.value.__cause__)))
        return found

    found = run_as(who, place, failures)
    assert [kind for kind, _, _ in found] == [KeyError, FileNotFoundError, SystemExit, nsbox.SpecError]
    assert [text for _, text, _ in found] == ["'key'", "[Errno 2] text: 'name'", "3", "x: y"]
    for _, _, cause in found:
        assert "in raise_it" in cause
        assert "run_calls" not in cause


def test_objects_that_cannot_be_pickled() -> None:
    """The error names the object; the Python inside can still be used."""
    with nsbox.Box("p", trust=True) as box:
        pid, _ = box.call(callees.numbers)
        attempts: dict[str, Callable[[], object]] = {
            "call does not pickle with its arguments: cannot pickle '_thread.lock'": lambda: box.call(
                threading.Thread(target=None).__class__.__call__, threading.Lock()
            ),
            "<lambda> returned a lock, which does not pickle: ": lambda: box.call(threading.Lock),
        }
        for problem, attempt in attempts.items():
            with pytest.raises(nsbox.TransferError) as caught:
                attempt()
            assert problem.partition(" ")[2] in str(caught.value)
        with pytest.raises(callees.OddError, match=r"^1 and 2$") as odd:
            box.call(_raise_odd)
        assert "_raise_odd" in str(odd.value.__cause__)
        assert box.call(callees.numbers)[0] == pid


def test_objects_that_are_no_data() -> None:
    """Without trust, a result and an exception of another type are refused, and the error names the cure."""
    with nsbox.Box("p") as box:
        pid, _ = box.call(callees.numbers)
        with pytest.raises(nsbox.TransferError, match=r"generator cannot be sent(?s:.*)trust=True"):
            box.call(lambda: [(_ for _ in ())])
        with pytest.raises(nsbox.RemoteError, match=r"^PickledError: mine \(.* __str__ of its own"):
            box.call(callees.raise_it, callees.PickledError("mine"))
        assert box.call(callees.numbers)[0] == pid
    with nsbox.Box("p", trust=True) as box:
        with pytest.raises(callees.PickledError, match="mine"):
            box.call(callees.raise_it, callees.PickledError("mine"))
        assert isinstance(box.call(callees.PickledError, "x"), callees.PickledError)
        with box.Box("p") as inner, pytest.raises(nsbox.TransferError, match=r"callees\.PickledError cannot be sent"):
            inner.call(callees.PickledError, "x")


def _raise_odd() -> None:
    raise callees.OddError(1, 2)


def test_without_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of modules can be called; for others the error says what to install."""
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    script = FunctionType(callees.numbers.__code__, {}, "script")
    script.__module__ = script.__qualname__ = "__main__"
    with nsbox.Box("p") as box:
        assert box.call(callees.identity, "__main__") == (("__main__",), {})
        for function in (lambda: None, script):
            with pytest.raises(nsbox.TransferError, match="pip install cloudpickle"):
                box.call(function)


def test_functions_that_cannot_be_imported_inside() -> None:
    """A module that exists only in the caller is an error."""
    module = type(sys)("only_here")
    exec("def function(): pass", module.__dict__)
    sys.modules["only_here"] = module
    try:
        with nsbox.Box("p") as box, pytest.raises(nsbox.TransferError, match="No module named 'only_here'"):
            box.call(module.function)
    finally:
        del sys.modules["only_here"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, -3])
def test_a_python_that_dies(who: Who, place: Path, how: int) -> None:
    """The error says how it ended; the next call starts another one."""

    def deaths() -> tuple[int, str, int]:
        with nsbox.Box("mip") as box:
            with pytest.raises(nsbox.WorkerDiedError) as caught:
                box.call(callees.die, how)
            return caught.value.returncode, str(caught.value), box.call(callees.numbers)[1]

    returncode, text, parent = run_as(who, place, deaths)
    assert returncode == -how
    assert "die" in text
    assert (signal.Signals(how).name if how > 0 else "exited with 3") in text
    assert parent == 1


def test_a_death_is_noticed_while_a_child_keeps_the_descriptors() -> None:
    """A forked child that lives on has copies of all descriptors."""
    with nsbox.Box("p") as box:
        with pytest.raises(nsbox.WorkerDiedError):
            box.call(callees.leave_behind, signal.SIGKILL)
        assert box.call(callees.numbers)[1] == 1


def test_a_python_that_closes_its_socket_and_runs_on() -> None:
    """It is killed, as it can no longer be reached."""

    def hang_up() -> None:
        os.closerange(3, 1000)
        time.sleep(1000)

    with nsbox.Box("p") as box:
        with pytest.raises(nsbox.WorkerDiedError):
            box.call(hang_up)
        assert wait_until(lambda: [event.kind for event in box.events] == ["started", "exited"])


def test_a_python_that_died_while_idle_is_replaced() -> None:
    """The next call succeeds."""
    with nsbox.Box("p") as box:
        pid, _ = box.call(callees.numbers)
        box.run(["kill", "-KILL", str(pid)])
        assert wait_until(lambda: [event.status for event in box.events if event.kind == "exited"].count(-9) == 1)
        assert box.call(callees.numbers)[0] != pid


@pytest.mark.parametrize("function", [callees.chatter, callees.locked])
def test_timeout(function: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> None:
    """The timeout applies to a function that prints all the time, and to one that ignores signals."""
    with nsbox.Box("mp", mount_proc=True) as box:
        # On a busy machine Python may not start within the first timeouts.
        for seconds in (0.5, 5, 50):
            with pytest.raises(nsbox.CallTimeoutError, match=function.__name__):
                box.call(function, timeout=seconds)
            assert box.call(_programs) == ["nsbox-init", "python"]
            printed = capsys.readouterr().out
            if printed or function is not callees.chatter:
                break
        assert (printed != "") == (function is callees.chatter)


def _programs() -> list[str]:
    names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in os.listdir("/proc") if pid.isdigit()]
    return sorted("python" if name.startswith("python") else name for name in names)


def test_interrupted() -> None:
    """KeyboardInterrupt ends the call and its Python."""

    def check() -> tuple[list[str], bool]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with nsbox.Box("mp", mount_proc=True) as box:
            box.call(callees.numbers)
            before = time.monotonic()
            with pytest.raises(KeyboardInterrupt), interrupted():
                box.call(callees.locked)
            return box.call(_programs), time.monotonic() - before < 100

    assert in_child(check) == (["nsbox-init", "python"], True)


def test_signals_are_handled_meanwhile() -> None:
    """A signal handler runs during the call, which continues."""

    def check() -> tuple[Any, int]:
        count = 0

        def handler(*_: object) -> None:
            nonlocal count
            count += 1

        signal.signal(signal.SIGUSR1, handler)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        with nsbox.Box("p") as box:
            value = box.call(_sleep, 0.5)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return value, count

    value, count = in_child(check)
    assert value == "slept"
    assert count > 1


def _sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


def test_many_threads(who: Who, place: Path) -> None:
    """Each thread gets its own results; there are no more Pythons than threads."""

    def use(box: nsbox.Box, number: int) -> bool:
        return all(box.call(callees.identity, number, turn) == ((number, turn), {}) for turn in range(50))

    def all_of_them() -> tuple[list[bool], int]:
        with nsbox.Box("mip") as box, ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(use, [box] * 4, range(4)))
            return answers, sum(event.kind == "started" for event in box.events)

    answers, pythons = run_as(who, place, all_of_them)
    assert answers == [True] * 4
    assert 1 <= pythons <= 4


def test_busy_threads(busy_threads: None) -> None:
    """It works in a process with busy threads."""
    with nsbox.Box("mip") as box:
        assert [box.call(abs, -number) for number in range(20)] == list(range(20))
        assert box.call(abs, -1, fresh=True) == 1


def test_close_during_a_call() -> None:
    """The call ends with ClosedError."""
    with nsbox.Box("p") as box, ThreadPoolExecutor(1) as pool:
        call = pool.submit(box.call, callees.locked)
        assert wait_until(lambda: len(box.events) == 1)
        box.close()
        assert isinstance(call.exception(100), nsbox.ClosedError)
        with pytest.raises(nsbox.ClosedError):
            box.call(callees.numbers)


def test_a_box_of_another_process() -> None:
    """After os.fork the child cannot call in the box, and its Python still works for the parent."""
    with nsbox.Box("p") as box:
        pid, _ = box.call(callees.numbers)

        def child() -> None:
            with pytest.raises(nsbox.ClosedError, match=r"child of os\.fork"):
                box.call(callees.numbers)

        in_child(child)
        assert box.call(callees.numbers)[0] == pid


def test_forgotten() -> None:
    """When a box is garbage-collected, its Pythons end, and their sockets are closed."""
    box = nsbox.Box("p")
    box.call(callees.leave_behind)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del box
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]


def test_the_caller_is_killed() -> None:
    """If the caller is killed during a call, no process survives."""

    def function(send: Callable[[object], None]) -> object:
        box = nsbox.Box("mip")
        box.call(callees.leave_behind)
        send("ready")
        return box.call(callees.locked)

    with caller(function) as dying:
        assert isinstance(dying, Caller)
        assert dying.receive() == "ready"
        dying.kill()
        assert survivors() == []


def test_wrong_arguments_are_refused() -> None:
    """They are refused before anything is started."""
    with nsbox.Box("p") as box:
        with pytest.raises(nsbox.SpecError, match=r"^function: "):
            box.call("not a function")  # type: ignore[arg-type]
        for timeout in (-1, "1", True):
            with pytest.raises(nsbox.SpecError, match=r"^timeout: "):
                box.call(abs, -1, timeout=timeout)  # type: ignore[arg-type]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "executable", "")
            with pytest.raises(nsbox.SpecError, match=r"^sys\.executable: "):
                box.call(abs, -1)
            patch.setattr(sys, "executable", "/does/not/exist")
            with pytest.raises(FileNotFoundError):
                box.call(abs, -1)
        assert box.events == []


@nsbox.boxed(unshare="mipu", hostname="boxed", timeout=20)
def described(word: str, *, timeout: str) -> tuple[str, str, tuple[int, int]]:
    """Return what the function sees inside."""
    return word + timeout, os.uname().nodename, callees.numbers()


@nsbox.boxed
def plain() -> int:
    """Return the PID."""
    return os.getpid()


def test_boxed(who: Who, place: Path) -> None:
    """Each call has a new box; functions of modules and local ones, with options and without."""

    def calls() -> list[Any]:
        local = nsbox.boxed(unshare="p")(lambda: callees.numbers()[1])
        return [described("a", timeout="b"), plain(), local()]

    assert run_as(who, place, calls) == [("ab", "boxed", (2, 1)), 2, 1]
    assert described.__name__ == "described"
    assert described.__wrapped__("a", timeout="c")[0] == "ac"  # type: ignore[attr-defined]


def test_boxed_is_checked_when_it_is_decorated() -> None:
    """Wrong options are refused at the decoration, not at the call."""
    wrong: dict[str, Any] = {"init": {"init": False}, "timeout": {"timeout": -1}, "unshare": {"unshare": "?"}}
    for argument, options in wrong.items():
        with pytest.raises(nsbox.SpecError, match=rf"^{argument}: "):
            nsbox.boxed(**options)(plain)


def test_boxed_leaves_nothing() -> None:
    """A call that times out leaves nothing either."""

    @nsbox.boxed(unshare="p", timeout=0.5)
    def late() -> None:
        callees.leave_behind()
        time.sleep(1000)

    with pytest.raises(nsbox.CallTimeoutError):
        late()
    assert survivors() == []
