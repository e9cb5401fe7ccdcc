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
from nsbox.plugin.channel import MAX_REPORT_BYTES
from nsbox.remote import exchange
from nsbox.remote.encoding import MAX_BYTES, encode
from nsbox.remote.protocol import FAILED, HEADER, RETURNED, TOKEN_BYTES

from tests.support import callees
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


# Functions that use the pipe of their own process, which need no right for that.


def _send(*frames: tuple[bytes, bytes, int], wait: float = 0) -> str:
    """Send frames in the name of the function `work` or of the task: a letter, the content, a change of the length."""
    frame = sys._getframe()
    while frame.f_code.co_name not in ("work", "_become_task"):
        assert frame.f_back
        frame = frame.f_back
    token = frame.f_locals["token"]
    fd: int = frame.f_locals["replies"]
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


def test_descriptors_that_keep_the_caller_waiting(who: Who, place: Path) -> None:
    """The caller gets no descriptor of a program inside, as closing it could take as long as the program likes."""

    def use() -> list[Any]:
        with nsbox.Box(harden=True) as box, nsbox.Executor(1, harden=True) as executor:
            return [
                box.call(callees.linger, 60, timeout=50),
                executor.submit(callees.linger, 60).result(50),
                box.call(abs, -3),
                executor.submit(abs, -3).result(50),
            ]

    assert run_as(who, place, use) == [0, 0, 3, 3]


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
    error: dict[str, Any] = {
        "classes": [("builtins", "ValueError"), ("builtins", "BaseException")], "texts": ("x", "ValueError('x')"),
        "args": ["x"], "attributes": {}, "members": {}, "frames": [], "cause": None, "context": None,
        "suppress": False, "exceptions": None,
    }  # fmt: skip
    deep = error
    for _ in range(80):
        deep = error | {"cause": deep}
    subtest: dict[str, Any] = good | {"_report_type": "SubTestReport", "_subtest.context": {"msg": None, "kwargs": {}}}
    forms: dict[str, Any] = {
        "another record": ("code", "import os"),
        "a list": [1],
        "other parts": ("end", good, None, [], 1),
        "no name": (),
        "an outcome": ("end", good | {"outcome": "x"}, None, []),
        "a method": ("end", good | {"_get_verbose_word_with_markup": 1}, None, []),
        "a class attribute": ("end", good | {"head_line": 1}, None, []),
        "another type": ("end", good | {"$report_type": "CollectReport", "result": 1}, None, []),
        "nothing": ("end", {}, None, []),
        "numbers as lines": ("end", good | {"longrepr": looping}, error, []),
        "an unknown entry": ("end", good | {"longrepr": unknown}, error, []),
        "a property that is no text": ("end", good | {"user_properties": [("nsbox_leaked", [1])]}, None, []),
        "a live property that is no text": ("property", "nsbox_leaked", [1]),
        "bytes": ("end", good | {"user_properties": [("x", b"x")]}, None, []),
        "a large number": ("end", good | {"sections_of": 1 << 70000}, None, []),
        "a surrogate": ("end", good | {"sections": [("Captured stdout call", "\ud800")]}, None, []),
        "a duration": ("end", good | {"duration": float("nan")}, None, []),
        "an exception of another form": ("end", good, error | {"code": "x"}, []),
        "an exception without a class": ("end", good, error | {"classes": [("os", "system")]}, []),
        "an exception with a class of another kind": ("end", good, error | {"classes": [("subprocess", "Popen")]}, []),
        "an exception with a module as a class": ("end", good, error | {"classes": [("os", "path")]}, []),
        "an exception with a pickle": ("end", good, error | {"args": [object.__name__, {1: 2}]}, []),
        "a deep exception": ("end", good, deep, []),
        "frames that are none": ("end", good, error | {"frames": [("/etc/shadow", "f", "1", 1)]}, []),
        "a warning that is none": ("warning", error, "file", 1, ""),
        "a log record for nothing": ("log", 77, {"msg": "x"}),
        "a log record with a method": ("log", 0, {"msg": "x", "getMessage": "x"}),
        "a log record of another time": ("log", 0, {"msg": "x", "created": 1e300}),
        "a dictionary of the test": ("attribute", "funcargs", {"request": 1}),
        "another attribute": ("attribute", "_nodeid", {}),
        "a subtest of another kind": ("subtest", subtest | {"_report_type": "TestReport"}, None),
        "a subtest of nothing": ("subtest", subtest | {"_subtest.context": {"msg": 1}}, None),
        "a subtest in the end": ("end", subtest, None, []),
    }
    return {name: (records(form), 0, "was refused") for name, form in forms.items()} | {
        "a pickle": (pickle.dumps(("end", Payload(place))), 0, "was refused"),
        "a pickle as a record": (records(pickle.dumps(("end", Payload(place))), raw=True), 0, "was refused"),
        "a pickle in it": (records(("end", pickle.dumps(Payload(place)), None, [])), 0, "was refused"),
        "a part of a record": (records(("done",))[:-1] + b"\xff" * 9, 0, "was refused"),
        "an end before the beginning": (b"\x01" + bytes(7), 0, "was refused"),
        "an end behind the file": (b"\xff" * 8, 0, "at most"),
        "a huge file": (records(("end", good, None, [])), MAX_REPORT_BYTES * 1000, "at most"),
    }


def records(*values: Any, raw: bool = False) -> bytes:
    """Return what is in the file of a report with these records."""
    data = values if raw else [encode(value) for value in values]
    content = b"".join(len(one).to_bytes(8, sys.byteorder) + one for one in data)
    return (8 + len(content)).to_bytes(8, sys.byteorder) + content


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
    # One of another type is not looked at: it is the report of this test in any case, and says that it has passed. Its
    # process was killed, so the teardown fails.
    result.assert_outcomes(passed=2, failed=len(reports) - 1, errors=1)
    lines = [line for line in result.outlines if "report of the test's process was refused" in line]
    assert len([line for line in lines if not line.startswith("FAILED")]) == len(reports) - 1


@pytest.mark.parametrize(
    "classes",
    [[("builtins", "Exit")], [("builtins", "KeyboardInterrupt")], [("_pytest.main", "Interrupted")]],
    ids=["exit", "interrupt", "interrupted"],
)
def test_a_forged_end_of_the_run_is_no_success(place: Path, classes: list[Any]) -> None:
    """As any test it can end the whole run, but not with the status for success."""
    inner = Inner(place, Who("root") if os.geteuid() == 0 else Who("user"))
    error = {
        "classes": classes, "texts": ("forged", "forged"), "args": ["forged"], "members": {}, "frames": [],
        "attributes": {"msg": "forged", "returncode": 0}, "cause": None, "context": None, "suppress": False,
        "exceptions": None,
    }  # fmt: skip
    report = {"outcome": "failed", "longrepr": "forged", "keywords": {}, "sections": [], "user_properties": []}
    forged = records(("end", report, error, []), ("done",)).hex()
    inner.write(
        test_it=f"""
        import pytest, subprocess

        @pytest.mark.unshare("mip", mount_proc=True)
        def test_student():
            subprocess.run([{PYTHON!r}, "-c", {program("forge_report.py")!r}, {forged!r}, "0"])
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
