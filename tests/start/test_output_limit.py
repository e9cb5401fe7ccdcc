"""`max_output` of `run`, `Popen.communicate`, `Box.run` and `Executor`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import nsbox
import pytest
from nsbox import OutputLimit, Verdict

from tests.support import callees
from tests.support.forked import Who

Run = Callable[..., Any]


@pytest.fixture(params=["run", "box"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Return `nsbox.run` and the method of a box."""
    if request.param == "run":
        yield nsbox.run
    else:
        with nsbox.Box("mip") as box:
            yield box.run


def test_endless_output_is_killed(who: Who) -> None:
    """A program that never stops writing is killed, long before memory runs out; the error has the beginning."""

    def use() -> tuple[Any, ...]:
        with pytest.raises(nsbox.OutputLimitError) as caught:
            nsbox.run(["yes"], capture_output=True, max_output=1 << 20)
        error = caught.value
        return error.cmd, error.limit, len(error.output), error.stderr, str(error)

    assert who(use) == (["yes"], 1 << 20, 1 << 20, b"", "['yes'] has written more than 1048576 bytes, and was killed")


def test_is_killed_in_a_box(run: Run) -> None:
    """The same in a box, on standard error; its form is that of TimeoutExpired."""
    with pytest.raises(subprocess.SubprocessError) as caught:
        run("yes >&2", shell=True, stderr=-1, max_output=1000, text=True)
    assert isinstance(caught.value, nsbox.OutputLimitError)
    assert (caught.value.stdout, caught.value.stderr) == (None, "y\n" * 500)


@pytest.mark.parametrize("length", [0, 1, 99_999, 100_000])
def test_the_limit_itself_is_not_too_much(run: Run, length: int) -> None:
    """Up to the limit the result is that without one."""
    result = run(["head", "-c", str(length), "/dev/zero"], capture_output=True, max_output=100_000)
    assert (result.returncode, len(result.stdout), result.truncated) == (0, length, False)


def test_truncated(run: Run) -> None:
    """The rest is read and dropped: the program is not stopped, and the result says so."""
    result = run(
        "head -c 1000000 /dev/zero; echo error >&2; exit 3",
        shell=True,
        capture_output=True,
        max_output=OutputLimit(100_001, "truncate"),
    )
    assert (result.returncode, result.stdout, result.stderr) == (3, bytes(100_001), b"error\n")
    assert result.truncated
    assert result.verdict is Verdict.ERROR


def test_a_character_that_is_cut(run: Run) -> None:
    """Of text only whole characters are kept."""
    limit = OutputLimit(4, "truncate")
    command = [sys.executable, "-c", r"print('ää\r\nä', end='')"]
    assert run(command, stdout=-1, encoding="utf-8", env={"PYTHONUTF8": "1"}, max_output=limit).stdout == "ää"
    limit = OutputLimit(7, "truncate")
    assert run(command, stdout=-1, encoding="utf-8", env={"PYTHONUTF8": "1"}, max_output=limit).stdout == "ää\n"


def test_input_and_limit(run: Run) -> None:
    """Input that is larger than a pipe is sent meanwhile; a program that does not read it all is no error."""
    data = b"x" * 1_000_000
    assert run(["cat"], input=data, stdout=-1, max_output=len(data)).stdout == data
    assert run(["true"], input=data, stdout=-1, max_output=0).stdout == b""
    assert run(["cat"], input="a\nb", stdout=-1, text=True, max_output=3).stdout == "a\nb"


def test_timeout_and_limit(run: Run) -> None:
    """A timeout is an error as without a limit, with the output so far."""
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        run("echo begin; exec sleep 1000", shell=True, stdout=-1, max_output=100, text=True, timeout=0.5)
    assert caught.value.output == b"begin\n"


def test_communicate_is_continued() -> None:
    """After a timeout `communicate` can be called again, and nothing is lost."""
    program = "trap 'echo end; exit' TERM; echo begin; while :; do sleep 0.01; done"
    with nsbox.Popen(program, shell=True, stdout=-1, max_output=100) as process:
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            process.communicate(timeout=0.5)
        assert caught.value.output == b"begin\n"
        process.terminate()
        with pytest.raises(ValueError, match="Cannot send input"):
            process.communicate(b"more")
        assert process.communicate() == (b"begin\nend\n", None)
        assert not process.truncated


def test_check_output() -> None:
    """The functions over `run` pass it on."""
    with pytest.raises(nsbox.OutputLimitError):
        nsbox.check_output(["yes"], max_output=10)


@pytest.mark.parametrize("wrong", [-1, True, 1.5, "1M", OutputLimit(1, "drop"), OutputLimit(-1)])  # type: ignore[arg-type]
def test_no_limit(wrong: Any) -> None:
    """What is no limit is refused before anything starts."""
    with pytest.raises(nsbox.SpecError, match="max_output"):
        nsbox.run(["true"], capture_output=True, max_output=wrong)


def test_nothing_to_limit(run: Run) -> None:
    """A limit without a captured stream would have no effect."""
    with pytest.raises(nsbox.SpecError, match="neither"):
        run(["true"], max_output=10)
    with pytest.raises(nsbox.SpecError, match="not captured"):
        nsbox.Executor(1, max_output=10)


def test_tasks_of_an_executor() -> None:
    """A task that writes too much is killed with a verdict of its own, or truncated; others are not affected."""
    with nsbox.Executor(1, capture_output=True, max_output=10_000) as executor:
        outcomes = [executor.submit(callees.write_much, count).outcome() for count in (10_000, 10_000_000, 1)]
    assert [outcome.verdict for outcome in outcomes] == [Verdict.OK, Verdict.OUTPUT, Verdict.OK]
    assert [len(outcome.stdout or "") for outcome in outcomes] == [10_000, 10_000, 1]
    assert isinstance(outcomes[1].error, nsbox.OutputLimitError)
    with nsbox.Executor(1, capture_output=True, max_output=OutputLimit(10, "truncate")) as executor:
        outcome = executor.submit(callees.write_much, 10_000_000).outcome()
    assert (outcome.verdict, outcome.value, outcome.stdout, outcome.truncated) == (Verdict.OK, 10**7, "x" * 10, True)
