"""What comes out of a box is data: a program inside that forges results, failures or reports runs no code outside."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox.plugin.report import MAX_REPORT_BYTES
from nsbox.remote import exchange
from nsbox.remote.encoding import MAX_BYTES, encode
from nsbox.remote.protocol import FAILED, HEADER, RETURNED, TOKEN_BYTES

from tests.support.attack import PYTHON, Arrangement, achieved, program
from tests.support.far import run_as
from tests.support.forked import Who
from tests.support.inner_pytest import Inner


class Payload:
    """A pickle that makes a directory where it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.evidence = place / "code-ran"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.evidence),)


def _exception(*parts: Any) -> bytes:
    """Return the bytes of an exception of any class that is loaded in the caller."""
    name = b"loaded exception"
    return b"T" + len(name).to_bytes(8, "little") + name + encode((*parts, {}))


def _forged(place: Path) -> dict[str, list[bytes]]:
    """Return what an attacker may send in place of a reply."""
    payload = pickle.dumps(Payload(place))
    failure = ("builtins", "ValueError", "message", "trace", False, True, payload)
    other = ("nsbox", "x" * 3, "message", "trace", False, False, _exception("os", "system", ("true",)))
    named = encode(("x",)).replace(encode("x"), b"T" + (12).to_bytes(8, "little") + b"posix.system" + encode(("true",)))
    return {
        "a pickle": [RETURNED + payload],
        "a pickled failure": [FAILED + payload],
        "a failure with a pickle": [FAILED + encode(failure)],
        "a failure of another class": [FAILED + encode(other)],
        "a failure of text": [FAILED + encode("text")],
        "an unlisted name": [RETURNED + named],
        "an unknown record": [b"x" + payload],
        "two replies": [RETURNED + encode("forged"), RETURNED + payload],
        "data": [RETURNED + encode("forged")],
    }


_REPLACED = ("a failure with a pickle", "a failure of another class")


@pytest.mark.parametrize("name", _forged(Path()))
def test_a_program_that_takes_the_worker_over(arrangement: Arrangement, place: Path, name: str) -> None:
    """Its reply is a wrong plain value or an error, and the next call is not affected."""
    replies = _forged(place)[name]

    def use() -> tuple[Any, str, int]:
        command = [PYTHON, "-c", program("forge_reply.py"), HEADER.format, *(reply.hex() for reply in replies)]
        with nsbox.Box(**arrangement.options) as box:
            options: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True}
            with box.Popen(command, **options, **arrangement.as_id) as attacker:
                assert attacker.stdout
                assert attacker.stdout.readline() == "ready\n"
                try:
                    got: Any = box.call(os.path.exists, "/does/not/exist", timeout=100)
                except nsbox.CallError as error:
                    got = type(error).__name__
                done = attacker.stdout.read()
            return got, done, box.call(abs, -3, timeout=100)

    got, done, again = run_as(arrangement.who, place, use)
    assert not (place / "code-ran").exists()
    assert again == 3
    if arrangement.as_id:
        # The worker belongs to another user.
        assert (got, done) == (False, "")
        return
    assert achieved(done) == ["replied"]
    wrong = {"data": "forged", "two replies": "forged", **dict.fromkeys(_REPLACED, "RemoteError")}
    assert got == wrong.get(name, "TransferError")


# Functions that use the socket of their own process, which need no right for that.


def _send(*frames: tuple[bytes, bytes, int], wait: float = 0) -> str:
    """Send frames in the name of the function `work` or of the task: a letter, the content, a change of the length."""
    frame = sys._getframe()
    while frame.f_code.co_name not in ("work", "_become_task"):
        assert frame.f_back
        frame = frame.f_back
    token = frame.f_locals["token"]
    fd: int = frame.f_locals["fd" if frame.f_code.co_name == "work" else "call"]
    for letter, content, more in frames:
        this = token if letter != b"o" else bytes(TOKEN_BYTES)
        header = HEADER.pack(b"r" if letter == b"o" else letter, this, len(content) + more)
        os.write(fd, header + content)
    time.sleep(wait)
    return "returned"


WRONG: dict[str, tuple[Callable[..., Any], tuple[Any, ...], str]] = {
    "unknown record": (_send, ((b"?", b"", 0),), "an unknown record"),
    "request": (_send, ((b"c", b"", 0),), "an unknown record"),
    "another call": (_send, ((b"o", encode(1), 0),), "another call"),
    "endless": (_send, ((RETURNED, b"", 1 << 62),), f"at most {MAX_BYTES}"),
    "too long": (_send, ((RETURNED, b"", MAX_BYTES + 1),), f"at most {MAX_BYTES}"),
    "no value": (_send, ((RETURNED, b"", 0),), "no encoded value"),
    "pickle": (_send, ((RETURNED, pickle.dumps(1), 0),), "no encoded value"),
    "no failure": (_send, ((FAILED, encode((1, 2)), 0),), "no failure"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_reply_ends_the_worker(name: str) -> None:
    """The call fails, and the next one has a new worker."""
    function, args, message = WRONG[name]
    with nsbox.Box("p") as box:
        first = box.call(os.getpid)
        with pytest.raises(nsbox.TransferError, match=message):
            box.call(function, *args, timeout=100)
        assert box.call(os.getpid) != first
    with nsbox.Executor(1) as executor:
        assert isinstance(executor.submit(function, *args).exception(100), nsbox.TransferError)
        assert executor.submit(abs, -3).result(100) == 3


def test_a_second_reply_serves_no_other_call() -> None:
    """The first reply is taken. What follows it ends the worker: before the next call, or that call fails."""
    with nsbox.Box("p") as box:
        for _ in range(3):
            assert box.call(_send, (RETURNED, encode("forged"), 0), (RETURNED, encode("late"), 0)) == "forged"
            try:
                got = str(box.call(abs, -3))
            except nsbox.TransferError as error:
                got = str(error)
            assert got == "3" or "another call" in got
            assert box.call(abs, -3) == 3
    with nsbox.Executor(1) as executor:
        assert executor.submit(_send, (RETURNED, encode("forged"), 0)).result(100) == "forged"
        assert executor.submit(abs, -3).result(100) == 3


def test_a_reply_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the worker at the timeout of the call, or at that of a reply."""
    part = RETURNED, b"", 1000
    with nsbox.Box("p") as box:
        with pytest.raises(nsbox.CallTimeoutError):
            box.call(_send, part, wait=1000, timeout=0.5)
        assert box.call(abs, -3) == 3
        monkeypatch.setattr(exchange, "_REPLY_SECONDS", 0.2)
        with pytest.raises(nsbox.TransferError, match="not ended it"):
            box.call(_send, part, wait=1000)
        assert box.call(abs, -3) == 3


# A marked test, and the processes around it.


def _inner(arrangement: Arrangement, place: Path) -> tuple[Inner, str]:
    """Return a directory for tests, and the arguments of their marker."""
    kinds = arrangement.options["unshare"]
    return Inner(place, arrangement.who), f"{kinds!r}, mount_proc=True"


@pytest.mark.parametrize("unshare", ["as arranged", "uts"])
def test_a_marked_test_has_no_traceable_process_outside(
    with_user_namespace: Arrangement, place: Path, unshare: str
) -> None:
    """A program that it starts is root of its user namespace, and has no right over pytest and the keeper."""
    inner, marker = _inner(with_user_namespace, place)
    if unshare == "uts":
        marker = repr("uts U" if with_user_namespace.who.is_root else "uts")
    inner.write(
        test_it=f"""
        import pytest, subprocess

        @pytest.mark.unshare({marker})
        def test_student():
            command = [{PYTHON!r}, "-c", {program("traceable.py")!r}, {os.readlink("/proc/self/ns/mnt")!r}]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    """
    )
    result = inner.run("-rP")
    result.assert_outcomes(passed=1)
    assert "looked at" in result.stdout.str()
    assert achieved(result.stdout.str()) == []


def test_a_marked_test_has_no_connection_of_pytest(with_user_namespace: Arrangement, place: Path) -> None:
    """Those of an xdist worker lead to its controller, which imports and calls what a message about a warning names."""
    inner, marker = _inner(with_user_namespace, place)
    inner.write(
        test_it=f"""
        import os, pytest, subprocess

        def connections(pid):
            links = [os.readlink(f"/proc/{{pid}}/fd/{{fd}}") for fd in os.listdir(f"/proc/{{pid}}/fd") if int(fd) > 2
                     and os.path.islink(f"/proc/{{pid}}/fd/{{fd}}")]
            return {{link for link in links if link.startswith(("pipe:", "socket:"))}}

        @pytest.fixture
        def of_worker():
            return connections(os.getpid())

        @pytest.fixture
        def own_pipe():
            reader, writer = os.pipe()
            yield reader, writer
            os.close(reader)
            os.close(writer)

        @pytest.mark.unshare({marker})
        def test_student(of_worker, own_pipe):
            os.write(own_pipe[1], b"x")
            assert os.read(own_pipe[0], 1) == b"x"
            own = {{os.readlink(f"/proc/self/fd/{{fd}}") for fd in own_pipe}}
            assert "PYTEST_XDIST_WORKER" not in os.environ or of_worker
            assert connections(os.getpid()) - own == set()

        def test_outside(of_worker):
            pass
    """
    )
    inner.run(*(("-n", "1") if inner.starts_pythons() else ())).assert_outcomes(passed=2)


def _reports(place: Path) -> dict[str, tuple[bytes, int, str]]:
    """Return what an attacker may write as a report, its size, and what the failed test says about it."""
    good: dict[str, Any] = {
        "outcome": "passed",
        "longrepr": None,
        "keywords": {},
        "sections": [],
        "user_properties": [],
    }
    entry = {"type": "ReprEntryNative", "data": {"lines": [1]}}
    bad: dict[str, Any] = {"reprcrash": None, "sections": [], "chain": None}
    looping = bad | {"reprtraceback": {"reprentries": [entry], "extraline": None, "style": "long"}}
    unknown = bad | {"reprtraceback": {"reprentries": [{"type": "os.system", "data": {}}], "style": "x"}}
    forms: dict[str, Any] = {
        "other parts": {"report": good, "raised": False, "code": 1},
        "a list": [1],
        "an outcome": {"report": good | {"outcome": "x"}, "raised": False},
        "a method": {"report": good | {"_get_verbose_word_with_markup": 1}, "raised": False},
        "a class attribute": {"report": good | {"head_line": 1}, "raised": False},
        "another type": {"report": good | {"$report_type": "CollectReport", "result": 1}, "raised": False},
        "nothing": {"report": {}, "raised": False},
        "numbers as lines": {"report": good | {"longrepr": looping}, "raised": True},
        "an unknown entry": {"report": good | {"longrepr": unknown}, "raised": True},
        "a property that is no text": {"report": good | {"user_properties": [("nsbox_leaked", [1])]}, "raised": False},
        "bytes": {"report": good | {"user_properties": [("x", b"x")]}, "raised": False},
        "a large number": {"report": good | {"sections_of": 1 << 70000}, "raised": False},
        "a surrogate": {"report": good | {"sections": [("Captured stdout call", "\ud800")]}, "raised": False},
        "a duration": {"report": good | {"duration": float("nan")}, "raised": False},
    }
    return {name: (encode(form), 0, "was refused") for name, form in forms.items()} | {
        "a pickle": (pickle.dumps({"report": Payload(place)}), 0, "was refused"),
        "a pickle in it": (encode({"report": pickle.dumps(Payload(place)), "raised": False}), 0, "was refused"),
        "a huge file": (encode(good), MAX_REPORT_BYTES * 1000, "at most"),
    }


def test_a_forged_report_fails_its_test(with_user_namespace: Arrangement, place: Path) -> None:
    """What is no report fails the test with a message; a good one is about this test only. Nothing runs outside."""
    inner, marker = _inner(with_user_namespace, place)
    reports = _reports(place)
    inner.write(
        test_it=f"""
        import pytest, subprocess

        @pytest.mark.unshare({marker})
        @pytest.mark.parametrize(("data", "size"), {[(data.hex(), size) for data, size, _ in reports.values()]!r},
                                 ids={list(reports)!r})
        def test_student(data, size):
            subprocess.run([{PYTHON!r}, "-c", {program("forge_report.py")!r}, data, str(size)])

        def test_next():
            pass
    """
    )
    result = inner.run()
    assert not (place / "code-ran").exists()
    # One of another type is not looked at: it is the report of this test in any case, and says that it has passed.
    result.assert_outcomes(passed=2, failed=len(reports) - 1)
    lines = [line for line in result.outlines if "report of the test's process was refused" in line]
    assert len([line for line in lines if not line.startswith("FAILED")]) == len(reports) - 1


@pytest.mark.parametrize("ending", [{"exit": ("forged", 0)}, {"interrupt": True}], ids=["exit", "interrupt"])
def test_a_forged_end_of_the_run_is_no_success(place: Path, ending: dict[str, Any]) -> None:
    """As any test it can end the whole run, but not with the status for success."""
    inner = Inner(place, Who("root") if os.geteuid() == 0 else Who("user"))
    inner.write(
        test_it=f"""
        import pytest, subprocess

        @pytest.mark.unshare("mip", mount_proc=True)
        def test_student():
            subprocess.run([{PYTHON!r}, "-c", {program("forge_report.py")!r}, {encode(ending).hex()!r}, "0"])
    """
    )
    assert inner.run().ret == pytest.ExitCode.INTERRUPTED


# An executor.


def _look_around(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("options", [{}, {"map_root_user": False}], ids=["default", "map_root_user=False"])
def test_a_task_cannot_trace_the_server_nor_other_tasks(
    with_user_namespace: Arrangement, place: Path, options: dict[str, Any]
) -> None:
    """So it cannot take their sockets, and forge their results."""
    command = [PYTHON, "-c", program("traceable.py"), os.readlink("/proc/self/ns/mnt")]

    def use() -> str:
        with nsbox.Executor(2, **with_user_namespace.options, **options) as executor:
            other = executor.submit(time.sleep, 1000)
            outcome = executor.submit(_look_around, command).outcome(100)
            other.cancel()
        return str(outcome.value or outcome.error)

    seen = run_as(with_user_namespace.who, place, use)
    if options and not with_user_namespace.who.is_root:
        assert seen.startswith("map_root_user: ")
    else:
        assert "looked at" in seen
    assert achieved(seen) == []
