"""The executor beside `ProcessPoolExecutor`: the same ideas for both, and the differences of docs/functions.md."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import itertools
import multiprocessing
import operator
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import OutputLimit, Verdict
from nsbox.tasks.executor import Executor

from tests.support import callees
from tests.support.census import wait_until
from tests.support.far import run_as
from tests.support.forked import Who, in_child

Pool = Callable[..., Any]


def both(function: Callable[[Pool], Any]) -> tuple[Any, Any]:
    """Return what a function finds for each kind of pool, in a child: multiprocessing leaves its processes there."""

    def outcome(pool: Pool) -> Any:
        try:
            return function(pool)
        except Exception as error:
            return type(error), str(error)

    return in_child(lambda: outcome(_process_pool)), in_child(lambda: outcome(Executor))


def _process_pool(*args: Any, **options: Any) -> Any:
    pool: Any = ProcessPoolExecutor
    return pool(*args, mp_context=multiprocessing.get_context("fork"), **options)


# The same for both


def _calls(pool: Pool) -> Any:
    with pool(2) as executor:
        futures = [
            executor.submit(pow, 2, 5), executor.submit(functools.partial(pow, 2), 3), executor.submit("ab".upper),
            executor.submit(callees.identity, 1, self=2, fn=3), executor.submit(dict, a=1),
        ]  # fmt: skip
        return [future.result(60) for future in futures]


def _errors(pool: Pool) -> Any:
    found = []
    with pool(2) as executor:
        for error in (KeyError("k"), SystemExit(3), KeyboardInterrupt("x"), StopIteration(1), OSError(2, "x", "name")):
            got = executor.submit(callees.raise_it, error).exception(60)
            found.append(
                (type(got), got.args, "in raise_it" in str(got.__cause__), "raise error" in str(got.__cause__))
            )
    return found


def _maps(pool: Pool) -> Any:
    with pool(2) as executor:
        found: list[Any] = [
            list(executor.map(pow, range(5), [2] * 9)),
            list(executor.map(pow, range(5), range(5), chunksize=2)),
            list(executor.map(abs, [])),
        ]
        for arguments in ({"timeout": 0.2}, {"timeout": -1}):
            with pytest.raises(TimeoutError):
                list(executor.map(time.sleep, [0, 2], **arguments))
        for chunksize in (0, -1):
            with pytest.raises(ValueError, match="chunksize"):
                executor.map(abs, [1], chunksize=chunksize)
        iterator = executor.map(operator.truediv, [4, 1, 2], [2, 0, 1])
        found.append(next(iterator))
        with pytest.raises(ZeroDivisionError):
            next(iterator)
        found.append(next(iterator, "ended"))
        with pytest.raises(RuntimeError, match="generator raised StopIteration"):
            list(executor.map(callees.raise_it, [StopIteration(1)]))
    return found


def _shutdown(pool: Pool) -> Any:
    executor = pool(1)
    future = executor.submit(abs, -1)
    executor.shutdown()
    executor.shutdown(wait=False, cancel_futures=True)
    with executor:
        pass
    texts = []
    for method, argument in ((executor.submit, 1), (executor.map, [1])):
        with pytest.raises(RuntimeError) as caught:
            method(abs, argument)
        texts.append(str(caught.value))
    return future.result(), texts


def _callbacks(pool: Pool) -> Any:
    seen: list[Any] = []
    with pool(1) as executor:
        future = executor.submit(time.sleep, 0.1)
        future.add_done_callback(lambda done: seen.append((done is future, done.result())))
        future.result()
    future.add_done_callback(lambda done: seen.append("later"))
    return seen


def _waits(pool: Pool) -> Any:
    with pool(2) as executor:
        futures = [executor.submit(abs, number) for number in range(4)]
        done, pending = concurrent.futures.wait(futures, 60)
        results = sorted(future.result() for future in concurrent.futures.as_completed(futures, 60))
        slow = executor.submit(time.sleep, 1)
        _, late = concurrent.futures.wait([slow], 0.01)
        with pytest.raises(TimeoutError):
            slow.result(0.01)
        return len(done), len(pending), results, late == {slow}


def _loop(pool: Pool) -> Any:
    async def use() -> Any:
        loop = asyncio.get_running_loop()
        with pool(2) as executor:
            results = await asyncio.gather(*(loop.run_in_executor(executor, abs, number) for number in range(4)))
            try:
                await loop.run_in_executor(executor, operator.truediv, 1, 0)
            except ZeroDivisionError as error:
                results.append(str(error))  # type: ignore[arg-type]
            return results

    return asyncio.run(use())


def _initializer(pool: Pool) -> Any:
    with pool(1, initializer=callees.state, initargs=(7,), max_tasks_per_child=None) as executor:
        return executor.submit(callees.state, 8).result(60), executor._max_workers


def _cannot_be_sent(pool: Pool) -> Any:
    with pool(1) as executor:
        future = executor.submit(abs, -1)
        for value in (executor, future):
            with pytest.raises(TypeError):
                pickle.dumps(value)
            # No deadlock: the executor cannot wait for itself.
            assert executor.submit(callees.identity, value).exception(60) is not None
        return future.result()


def _numbers(pool: Pool) -> Any:
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="max_workers"):
            pool(wrong)
    with pool() as executor:
        return executor._max_workers > 0


@pytest.mark.parametrize(
    "idea",
    [_calls, _errors, _maps, _shutdown, _callbacks, _waits, _loop, _initializer, _cannot_be_sent, _numbers],
    ids=lambda idea: idea.__name__,
)
def test_the_same(idea: Callable[[Pool], Any]) -> None:
    """Both give the same results, exceptions and texts."""
    pool, executor = both(idea)
    assert executor == pool


def test_at_the_end_of_the_program() -> None:
    """Submitted tasks are run, and later ones refused, as the program ends without a shutdown."""
    program = (
        "import atexit, {0} as pool\n"
        "def late():\n"
        "    try: executor.submit(abs, 1)\n"
        "    except RuntimeError as error: print(error)\n"
        "if __name__ == '__main__':\n"
        "    executor = pool.{1}(1)\n"
        "    for n in range(3): executor.submit(abs, n).add_done_callback(lambda done: print(done.result()))\n"
        "    atexit.register(late)\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program.format(*kind)], capture_output=True, text=True, check=True
        ).stdout.replace("interpreter shutdown", "shutdown")
        for kind in (("concurrent.futures", "ProcessPoolExecutor"), ("nsbox", "Executor"))
    }
    assert outputs == {"0\n1\n2\ncannot schedule new futures after shutdown\n"}


# Differences


def test_forgotten_with_tasks_in_the_queue() -> None:
    """They are run, and then nothing is left of the executor."""
    executor = Executor(1)
    reference = weakref.ref(executor)
    futures = [executor.submit(abs, number) for number in range(5)]
    del executor
    assert [future.result(60) for future in futures] == [0, 1, 2, 3, 4]
    assert wait_until(lambda: reference() is None)


def test_interrupted_without_a_block(place: Path) -> None:
    """Ctrl-C ends a program that waits for a task, although the terminal's signal does not reach the task."""
    program = (
        "import nsbox, signal, sys\n"
        "from tests.support import callees\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "executor = nsbox.Executor(1)\n"
        "future = executor.submit(callees.leave_behind_and_sleep, sys.argv[1])\n"
        "future.result()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(place)], stderr=subprocess.PIPE, text=True) as process:
        assert wait_until((place / "begun").exists)
        process.send_signal(2)
        _, errors = process.communicate(timeout=100)
    assert "KeyboardInterrupt" in errors
    assert process.returncode == -2


@pytest.mark.parametrize("method", ["kill_workers", "terminate_workers"])
def test_kill_workers(place: Path, method: str) -> None:
    """Running tasks and those in the queue are cancelled; no other can be submitted."""
    executor = Executor(1)
    futures = [executor.submit(callees.leave_behind_and_sleep, str(place)) for _ in range(2)]
    assert wait_until((place / "begun").exists)
    getattr(executor, method)()
    assert [future.cancelled() for future in futures] == [True, True]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)
    assert wait_until(lambda: not executor._server.box.alive)


def test_initializers(who: Who, place: Path) -> None:
    """An initializer runs in the namespaces of each task. If it fails, its task fails with the exception."""

    def use() -> list[Any]:
        with Executor(1, "mipu", hostname="deep", initializer=socket.sethostname, initargs=("set",)) as executor:
            found: list[Any] = list(executor.map(callees.host_name, range(2)))
        with Executor(1, initializer=callees.raise_unless, initargs=(str(place / "there"),)) as executor:
            failed = executor.submit(abs, -1).outcome()
            (place / "there").touch()
            found += [failed.verdict, failed.error, executor.submit(abs, -1).result()]
        return found

    *names, verdict, error, after = run_as(who, place, use)
    assert (names, verdict, after) == (["set", "set"], Verdict.ERROR, 1)
    assert str(error) == "not there"
    assert error.__notes__ == ["the initializer raise_unless has raised this, so its task was not called"]


def test_an_initializer_counts() -> None:
    """Its output is captured, and its time counts for the timeout."""
    with Executor(1, initializer=print, initargs=("begin",), capture_output=True) as executor:
        assert executor.submit(print, "then").outcome().stdout == "begin\nthen\n"
    with Executor(1, initializer=time.sleep, initargs=(1000,), timeout=0.5) as executor:
        assert executor.submit(abs, -1).outcome().verdict is Verdict.TIMEOUT


def test_what_is_refused() -> None:
    """By name, and with the reason."""
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("mp_context: tasks are forks", {"mp_context": multiprocessing.get_context("spawn")}),
        ("initializer: 3 cannot be called", {"initializer": 3}),
        ("max_tasks_per_child", {"max_tasks_per_child": 0}),
        ("max_tasks_per_child", {"max_tasks_per_child": True}),
        ("max_workers", {"max_workers": "2"}),
    ]
    for text, options in wrong:
        with pytest.raises(nsbox.SpecError, match=f"^{text}"):
            Executor(**options)
    with pytest.raises(nsbox.TransferError, match="cannot pickle"):
        Executor(initializer=abs, initargs=(threading.Lock(),))
    with Executor(1, max_tasks_per_child=5, mp_context=None) as executor:
        for buffersize in (0, -1, 1.5, True):
            with pytest.raises(nsbox.SpecError, match=r"^buffersize"):
                executor.map(abs, [1], buffersize=buffersize)  # type: ignore[arg-type]
        assert executor.submit(abs, -1).result() == 1


# Lazy iteration


class Counted:
    """An endless iterator that counts what was taken from it."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.taken += 1
        return self.taken - 1


def test_endless_iterables() -> None:
    """With a buffer size `map` and `outcomes` read no further ahead than that; later tasks are cancelled at the end."""
    with Executor(2) as executor:
        for function in (executor.map, executor.outcomes):
            source = Counted()
            iterator: Iterator[Any] = function(abs, source, buffersize=3)
            assert source.taken == 3
            got = list(itertools.islice(iterator, 5))
            assert [getattr(one, "value", one) for one in got] == [0, 1, 2, 3, 4]
            assert source.taken == 8
            iterator.close()  # type: ignore[attr-defined]
        assert list(executor.map(abs, iter([-1, -2]), buffersize=9)) == [1, 2]
        assert list(executor.map(pow, [2, 3], itertools.count(1), buffersize=1)) == [2, 9]
        assert wait_until(lambda: not executor._unfinished)


def test_outcomes_of_generators() -> None:
    """Without a length the iterables may be endless, so they are read while the outcomes are."""
    with Executor(2) as executor:
        source = Counted()
        outcomes = executor.outcomes(abs, source)
        assert source.taken == 200
        assert [outcome.value for outcome in itertools.islice(outcomes, 3)] == [0, 1, 2]
        assert source.taken == 203
        outcomes.close()  # type: ignore[attr-defined]
        # A zip with a list ends.
        assert [one.value for one in executor.outcomes(pow, Counted(), [2] * 3)] == [0, 1, 4]
        late = executor.outcomes(abs, iter(range(500)))
    with pytest.raises(RuntimeError, match=r"after shutdown: .* before the end of the with block"):
        next(late)


def test_lazy_iteration_keeps_the_executor() -> None:
    """A caller that keeps nothing but the iterator gets all results."""
    assert list(Executor(1).map(abs, iter(range(8)), buffersize=2)) == list(range(8))


def test_results_are_not_kept() -> None:
    """The iterator keeps no result after it was read."""
    with Executor(1, trust=True) as executor:
        for buffersize in (None, 1):
            iterator = executor.map(callees.Kept, range(3), buffersize=buffersize)
            reference = weakref.ref(next(iterator))
            assert reference() is None
            list(iterator)


def test_an_iterable_that_raises() -> None:
    """Its exception arrives, and the tasks before it are cancelled."""

    def source() -> Iterator[float]:
        yield 0
        yield 1000
        raise KeyError("source")

    with Executor(2) as executor:
        iterator = executor.map(time.sleep, source(), buffersize=2)
        with pytest.raises(KeyError, match="source"):
            next(iterator)
        assert wait_until(lambda: not executor._unfinished)


# Functions that do not return what they seem to


async def asynchronous() -> int:
    """Return a number later."""
    return 3


def generator() -> Iterator[int]:
    """Yield a number."""
    yield 3


async def asynchronous_generator() -> Any:
    """Yield a number later."""
    yield 3


class Called:
    """An object that is called."""

    async def __call__(self) -> None:
        """Do nothing."""

    def method(self) -> Iterator[int]:
        """Yield a number."""
        yield 3


IN_VAIN: dict[Any, str] = {
    asynchronous: r"asynchronous is asynchronous(?s:.*)asyncio\.run", generator: r"a generator function(?s:.*)list\(",
    asynchronous_generator: r"asynchronous generator", Called(): "is asynchronous",
    Called().method: "a generator function", functools.partial(functools.partial(generator)): "a generator function",
}  # fmt: skip


@pytest.mark.parametrize("function", IN_VAIN, ids=lambda function: type(function).__name__)
def test_functions_that_do_nothing_when_called(function: Any) -> None:
    """They are refused before anything is started, and the error names the cure."""
    text = IN_VAIN[function]
    with nsbox.Box("p") as box:
        with pytest.raises(nsbox.SpecError, match=text):
            box.call(function)
        assert box.events == []
    with pytest.raises(nsbox.SpecError, match=text):
        nsbox.boxed(function)
    with Executor(1) as executor:
        assert isinstance(executor.submit(function).exception(), nsbox.SpecError)


@pytest.mark.parametrize("trust", [False, True])
def test_results_that_stay_inside(trust: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """The same for a function that returns a coroutine or a generator; Python does not warn about it."""
    with nsbox.Box("p", trust=trust) as box:
        for function, text in ((asynchronous, r"asyncio\.run"), (generator, r"list\(")):
            with pytest.raises(nsbox.TransferError, match=rf"cannot leave its process\nnext: .*{text}"):
                box.call(callees.call, functools.partial(function))
        assert box.call(lambda: asyncio.run(asynchronous())) == 3
    assert "never awaited" not in capfd.readouterr().err


# Output


@pytest.mark.parametrize("data", [b"\xff", "ä".encode(), b"x"])
def test_bytes_of_output_are_counted(data: bytes) -> None:
    """A task may write exactly so many bytes, whatever they are."""
    with Executor(1, capture_output=True, max_output=len(data) * 100) as executor:
        outcomes = list(executor.outcomes(callees.write_bytes, [data * 100, data * 101]))
    text = data.decode(errors="replace")
    assert [outcome.verdict for outcome in outcomes] == [Verdict.OK, Verdict.OUTPUT]
    assert outcomes[0].stdout == text * 100
    with Executor(1, capture_output=True, max_output=OutputLimit(len(data) * 100 - 1, "truncate")) as executor:
        outcome = executor.submit(callees.write_bytes, data * 100).outcome()
    assert (outcome.verdict, outcome.truncated, outcome.stdout) == (Verdict.OK, True, text * 99)


# Everything at once


def test_nested(who: Who, place: Path) -> None:
    """A task makes an executor of its own, whose tasks end with it."""
    assert run_as(who, place, lambda: nsbox.boxed(callees.nested)(-3)) == 3
    with Executor(1) as executor:
        assert executor.submit(callees.nested, -3).result() == 3


def test_few_descriptors(who: Who, place: Path) -> None:
    """Hundreds of tasks fit into the usual limit of open files."""

    def use() -> int:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        with Executor(8) as executor:
            futures = [executor.submit(abs, -number) for number in range(300)]
            assert [future.result() for future in futures] == list(range(300))
            running = executor.submit(time.sleep, 1000)
            assert running.cancel()
            with pytest.raises(CancelledError):
                running.result()
        return len(os.listdir("/proc/self/fd"))

    assert run_as(who, place, lambda: in_child(use)) < 60


def test_large_arguments(who: Who, place: Path) -> None:
    """Arguments are not copied more often than needed: pickled once, and sent from there."""

    def use() -> int:
        import resource

        data = bytes(100 << 20)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with nsbox.Box("p") as box:
            assert box.call(len, data) == len(data)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10

    # The pickle has 100 MiB; pickling by cloudpickle takes as much again.
    assert run_as(who, place, lambda: in_child(use)) < 250
