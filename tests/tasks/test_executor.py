"""The executor of `concurrent.futures` whose tasks have namespaces of their own and leave nothing behind."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import gc
import math
import operator
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Verdict
from nsbox.tasks.executor import Executor, Future

from tests.support import callees
from tests.support.callers import caller, survivors
from tests.support.census import wait_until
from tests.support.far import run_as
from tests.support.forked import Who, in_child
from tests.support.inside import LINKS, own_links, status
from tests.support.needs import needs

ALL = list(LINKS)


def test_every_task_is_in_fresh_namespaces(who: Who, place: Path) -> None:
    """A task shares no namespace of any kind with another task, the caller, or the Python that forks."""
    needs(who, " ".join(ALL))

    def tasks() -> list[dict[str, str]]:
        with Executor(3, ALL, timeout=30) as executor:
            server = _links_of(executor)
            kinds = list(LINKS.values())
            return [*executor.map(callees.links_together, [kinds] * 3, [str(place)] * 3, [3] * 3), server]

    *tasks_, server = run_as(who, place, tasks)
    outside = {LINKS[kind]: link for kind, link in own_links().items()}
    for kind in LINKS.values():
        assert len({task[kind] for task in (*tasks_, outside)}) == 4
    differing = {kind for kind, link in server.items() if link != outside[kind]}
    assert differing == ({"pid"} if who.is_root else {"pid", "user", "mnt"})
    assert not {server[kind] for kind in differing} & {link for task in tasks_ for link in task.values()}


def _links_of(executor: Executor) -> dict[str, str]:
    """Return the namespaces of the Python that forks, read by that Python or by its init."""
    box = executor._server.box
    links = str(box.run(["readlink", *(f"/proc/self/ns/{kind}" for kind in LINKS.values())], capture_output=True,
                        text=True).stdout).split()  # fmt: skip
    return dict(zip(LINKS.values(), links, strict=True))


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "proc": {"mount_proc": True},
    "no new privileges": {"no_new_privs": True},
    "user": {"unshare": "Ump", "map_user": 1000, "map_group": 1000},
    "user keeps": {"unshare": "Ump", "map_user": 1000, "map_group": 1000, "keep_caps": True},
    "root": {"unshare": "Ump", "map_root_user": True},
    "current user": {"unshare": "Ump", "map_current_user": True},
}
FIELDS = ("Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "SigBlk", "SigIgn")


@pytest.mark.parametrize("name", OPTIONS)
def test_a_task_has_the_rights_of_a_program(who: Who, place: Path, name: str) -> None:
    """The kernel shows the same rights for a task as for a program that `run` starts with the same options."""
    options = OPTIONS[name]

    def both() -> tuple[str, str]:
        with Executor(1, **options) as executor:
            task = executor.submit(callees.status).result()
        program = nsbox.run(["cat", "/proc/self/status"], capture_output=True, text=True, **options).stdout
        return task, program

    task, program = map(status, run_as(who, place, both))
    different = {field for field in FIELDS if task[field] != program[field]}
    # Python ignores SIGPIPE and SIGXFSZ in its own process.
    assert different == {"SigIgn"}


def test_limits_and_mounts_hold(who: Who, place: Path) -> None:
    """Resource limits and mounts apply to a task as to a program."""
    (place / "there").mkdir()
    options: dict[str, Any] = {
        "rlimits": {"nofile": (60, 70), "as": 1 << 33, "core": 0},
        "mounts": [nsbox.Tmpfs(str(place / "there"), size=1 << 20)],
    }

    def both() -> tuple[tuple[str, ...], str]:
        with Executor(1, **options) as executor:
            task = executor.submit(callees.read, "/proc/self/limits", "/proc/self/mounts").result()
        return task, nsbox.run(["cat", "/proc/self/limits"], capture_output=True, text=True, **options).stdout

    (limits, mounts), program = run_as(who, place, both)
    assert limits == program
    assert f"tmpfs {place}/there tmpfs" in mounts
    with Executor(1, rlimits={"as": 1 << 29}) as executor:
        assert executor.submit(callees.eat, 1000).outcome().verdict is Verdict.OOM


def test_options_hold(who: Who, place: Path) -> None:
    """The host name, the new proc and the working directory are as asked for."""

    def task() -> tuple[str, int, str, tuple[int, int]]:
        os.chdir("/usr")
        with Executor(1, "mipu", hostname="deep", mount_proc=True) as executor:
            os.chdir("/etc")
            return executor.submit(_look_around).result()

    before = os.getcwd()
    try:
        assert run_as(who, place, task) == ("deep", 2, "/etc", (2, 0))
    finally:
        os.chdir(before)


def _look_around() -> tuple[str, int, str, tuple[int, int]]:
    return os.uname().nodename, sum(map(str.isdigit, os.listdir("/proc"))), os.getcwd(), callees.numbers()


def test_a_task_cannot_access_others_nor_the_server(place: Path) -> None:
    """An ordinary user's task is root in a user namespace of its own, not in the server's."""

    def attempt() -> str:
        with Executor(1) as executor:
            pid = executor._server._child.pid
            return str(executor.submit(_read_memory, pid).result())

    def _read_memory(pid: int) -> str:
        try:
            with open(f"/proc/{pid}/mem", "rb"):
                return "opened"
        except PermissionError:
            return "refused"

    assert run_as(Who("user"), place, attempt) == "refused"


# The interface of an executor.


def test_map_and_submit() -> None:
    """Results are in order, exceptions are the original ones, with the traceback from inside."""
    with nsbox.Executor(3) as executor:
        assert list(executor.map(pow, range(5), range(5))) == [1, 1, 4, 27, 256]
        with pytest.raises(ZeroDivisionError) as caught:
            executor.submit(operator.truediv, 1, 0).result()
        assert "ZeroDivisionError" in str(caught.value.__cause__)
        assert executor.submit(lambda: callees.identity(a=1)).result() == ((), {"a": 1})
        assert len(executor.submit(bytes, 20_000_000).result()) == 20_000_000
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(math.sqrt, 4)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(lambda: (_ for _ in ()))


def test_waiting_and_callbacks(place: Path) -> None:
    """`wait`, `as_completed` and callbacks work for tasks that end in any way."""
    called: list[concurrent.futures.Future[Any]] = []
    with Executor(4) as executor:
        futures: list[Future[Any]] = [
            executor.submit(math.sqrt, 4),
            executor.submit(operator.truediv, 1, 0),
            executor.submit(callees.wait_for, str(place / "never")),
        ]
        for future in futures:
            future.add_done_callback(called.append)
        done, pending = concurrent.futures.wait(futures, timeout=30, return_when=concurrent.futures.FIRST_EXCEPTION)
        assert futures[1] in done
        assert futures[2] in pending
        assert futures[2].running()
        threading.Timer(0.1, futures[2].cancel).start()
        assert set(concurrent.futures.as_completed(futures, timeout=30)) == set(futures)
    assert set(called) == set(futures)
    assert [future.verdict for future in futures] == [Verdict.OK, Verdict.ERROR, Verdict.KILLED]


def test_cancelled_before_it_starts(place: Path) -> None:
    """A task that is cancelled in the queue is never run, as in any executor."""
    with Executor(1) as executor:
        first = executor.submit(callees.wait_for, str(place / "go"))
        second = executor.submit((place / "evidence").touch)
        assert second.cancel()
        assert second.cancelled()
        (place / "go").touch()
        assert first.result() == "it is there"
        with pytest.raises(CancelledError):
            second.result()
    assert not (place / "evidence").exists()
    assert (second.verdict, second.outcome().seconds) == (Verdict.KILLED, 0)


@pytest.mark.parametrize("wait", [True, False])
def test_shutdown_with_tasks_in_the_queue(place: Path, wait: bool) -> None:
    """Tasks in the queue are cancelled, running ones end; then nothing is left, also with wait=False."""
    executor = Executor(1)
    first = executor.submit(callees.wait_for, str(place / "go"))
    wait_until(first.running)
    rest: list[Future[Any]] = [executor.submit(math.sqrt, 4) for _ in range(3)]
    threading.Timer(0.1, (place / "go").touch).start()
    executor.shutdown(wait=wait, cancel_futures=True)
    every: list[Future[Any]] = [first, *rest]
    done, _ = concurrent.futures.wait(every, timeout=30)
    assert len(done) == 4
    assert first.result() == "it is there"
    assert all(future.cancelled() for future in rest)
    assert wait_until(lambda: not executor._server.box.alive)


def test_forgotten() -> None:
    """An executor that was not shut down ends when it is garbage-collected."""
    executor = Executor(2)
    assert executor.submit(math.sqrt, 4).result() == 2
    del executor
    gc.collect()
    assert survivors() == []


def test_with_asyncio(place: Path) -> None:
    """It works with an event loop; if the loop's future is cancelled, the task is cancelled."""

    async def use() -> tuple[float, bool]:
        loop = asyncio.get_running_loop()
        with Executor(2) as executor:
            value = await loop.run_in_executor(executor, math.sqrt, 4)
            task = asyncio.ensure_future(loop.run_in_executor(executor, callees.leave_behind_and_sleep, str(place)))
            while not (place / "begun").exists():
                await asyncio.sleep(0.01)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)  # the loop passes the cancellation on in its next iteration
            return value, only_the_server_is_left(executor)

    assert asyncio.run(use()) == (2, True)


def only_the_server_is_left(executor: Executor) -> bool:
    """Whether no process of any task is left."""
    server = executor._server
    return wait_until(lambda: set(survivors(0)) <= {server.box.pid, server._child.pid})


# How tasks end.


def test_verdicts_do_not_end_the_batch(place: Path) -> None:
    """Each task has its own outcome, in order; its output is kept."""
    cases: list[tuple[Callable[[], object], Verdict, type | None]] = [
        (callees.greet, Verdict.OK, None),
        (callees.divide, Verdict.ERROR, ZeroDivisionError),
        (callees.exit_with_3, Verdict.ERROR, nsbox.WorkerDiedError),
        (callees.kill_itself, Verdict.KILLED, nsbox.WorkerDiedError),
        (callees.too_much, Verdict.OOM, MemoryError),
        (callees.crowd, Verdict.PIDS, BlockingIOError),
        (callees.threads, Verdict.PIDS, RuntimeError),
        (callees.would_block, Verdict.ERROR, BlockingIOError),
        (callees.time_out_itself, Verdict.ERROR, TimeoutError),
        (callees.unpicklable, Verdict.ERROR, nsbox.TransferError),
        (callees.greet, Verdict.OK, None),
    ]
    with Executor(2, pid_max=400, timeout=200, capture_output=True) as executor:
        outcomes = list(executor.outcomes(callees.call, [case[0] for case in cases]))
        assert only_the_server_is_left(executor)
    assert [(outcome.verdict, type(outcome.error)) for outcome in outcomes] == [
        (verdict, type(None) if kind is None else kind) for _, verdict, kind in cases
    ]
    assert [outcomes[0].value, outcomes[0].stdout, outcomes[0].stderr] == ["greeted", "hello\n", "error\n"]
    assert all(outcome.seconds > 0 for outcome in outcomes)
    copies = pickle.loads(pickle.dumps(outcomes))
    assert [copy.verdict for copy in copies] == [outcome.verdict for outcome in outcomes]
    assert [str(copy.error) for copy in copies] == [str(outcome.error) for outcome in outcomes]


def test_timeouts_do_not_end_the_batch() -> None:
    """A task that times out takes no time from those before and after it."""
    with Executor(2, timeout=3) as executor:
        outcomes = list(executor.outcomes(callees.call, [callees.greet, callees.locked, callees.greet]))
        assert only_the_server_is_left(executor)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.OK, Verdict.TIMEOUT, Verdict.OK]
    assert isinstance(outcomes[1].error, nsbox.CallTimeoutError)


def test_killed_for_lack_of_memory() -> None:
    """The kernel kills a task that exceeds its memory cgroup, and the outcome says so."""
    with memory_cgroup(150 << 20) as procs:

        def check() -> tuple[Verdict, str, float]:
            procs.write_text(str(os.getpid()))
            with Executor(1) as executor:
                outcome = executor.submit(callees.eat, 400).outcome()
                return outcome.verdict, str(outcome.error), executor.submit(math.sqrt, 4).result()

        verdict, text, after = in_child(check)
    assert (verdict, after) == (Verdict.OOM, 2)
    assert "lack of memory" in text


@contextlib.contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """Make a cgroup below that of this process if possible; return the file to which processes are written."""
    lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    parents = {controllers: path for _, controllers, path in lines}
    if "memory" in parents:
        parent, file = Path("/sys/fs/cgroup/memory" + parents["memory"]), "memory.limit_in_bytes"
    else:
        parent, file = Path("/sys/fs/cgroup" + parents[""]), "memory.max"
    group = parent / f"nsbox-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made: {error}")
    try:
        try:
            (group / file).write_text(str(limit))
        except OSError as error:
            pytest.skip(f"the cgroup has no memory controller: {error}")
        yield group / "cgroup.procs"
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_cancel_kills_the_whole_tree(who: Who, place: Path) -> None:
    """When cancel returns, all processes are dead, including those in another session that ignore signals."""

    def cancel() -> list[Any]:
        with Executor(1, mount_proc=True) as executor:
            future = executor.submit(callees.leave_behind_and_sleep, str(place))
            assert wait_until((place / "begun").exists)
            seen = [future.running(), future.cancel(), future.cancelled(), future.verdict, future.cancel()]
            left = set(survivors(0)) - {executor._server.box.pid, executor._server._child.pid}
            return [*seen, left, executor.submit(math.sqrt, 4).result()]

    assert run_as(who, place, cancel) == [True, True, True, Verdict.KILLED, True, set(), 2]


def test_cancel_while_it_is_started() -> None:
    """A task can be cancelled from another thread at any moment of its start."""
    with Executor(2) as executor:
        for number in range(40):
            future = executor.submit(time.sleep, 1000)
            time.sleep(number / 4000)
            assert future.cancel()
            assert future.cancelled()
        done = executor.submit(math.sqrt, 4)
        assert done.result() == 2
        assert not done.cancel()
        assert only_the_server_is_left(executor)


def test_interrupted_block() -> None:
    """KeyboardInterrupt in the block kills running tasks, and tasks in the queue are never started."""

    def check() -> list[bool]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        futures: list[Future[Any]] = []
        with pytest.raises(KeyboardInterrupt):
            _hurry(futures)
        return [future.cancelled() for future in futures]

    assert in_child(check) == [True] * 3


def _hurry(futures: list[Future[Any]]) -> None:
    with Executor(1) as executor:
        futures += [executor.submit(callees.locked) for _ in range(3)]
        assert wait_until(futures[0].running)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        futures[0].result()


def test_leftovers_of_a_task_end_with_it() -> None:
    """Processes that a task leaves behind end with it, also if it has returned normally."""
    with Executor(1) as executor:
        assert len(executor.submit(callees.leave_behind).result()) == 2
        assert only_the_server_is_left(executor)


def test_the_server_is_killed(place: Path) -> None:
    """Running tasks fail, later ones succeed."""
    with Executor(2) as executor:
        running = executor.submit(callees.leave_behind_and_sleep, str(place))
        assert wait_until((place / "begun").exists)
        os.kill(executor._server._child.pid, signal.SIGKILL)
        assert running.outcome(100).verdict is Verdict.KILLED
        assert executor.submit(math.sqrt, 4).result() == 2
        os.kill(executor._server.box.pid, signal.SIGKILL)
        assert wait_until(lambda: not executor._server.is_alive)
        assert list(executor.map(math.sqrt, [4, 9])) == [2, 3]


def test_the_caller_is_killed(place: Path) -> None:
    """If the caller is killed while tasks run, no process survives."""

    def function(send: Callable[[object], None]) -> object:
        executor = Executor(2)
        futures = [executor.submit(callees.leave_behind_and_sleep, str(place)) for _ in range(4)]
        while not (place / "begun").exists():
            time.sleep(0.01)
        send("ready")
        return futures

    with caller(function) as dying:
        assert dying.receive() == "ready"
        dying.kill()
        assert survivors() == []


def test_a_child_of_fork_cannot_use_it() -> None:
    """A child of fork cannot use the executor, and does not end it."""
    with Executor(1) as executor:

        def child() -> None:
            with pytest.raises(nsbox.ClosedError, match=r"child of os\.fork"):
                executor.submit(math.sqrt, 4)

        in_child(child)
        assert executor.submit(math.sqrt, 4).result() == 2


# Modules that are imported before the tasks.


def test_preload(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Modules are imported once, their output is printed once, and tasks do not see each other's changes."""
    (place / "preloaded_here.py").write_text(
        "import os\nPLACE = os.readlink('/proc/self/ns/pid')\nVALUES = []\nprint('imported')\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        with Executor(2, preload=["preloaded_here", "xml.dom"]) as executor:
            seen = list(executor.map(_look_at_preloaded, range(3)))
    assert seen == [(False, [0], True), (False, [1], True), (False, [2], True)]
    assert capsys.readouterr().out == "imported\n"


def _look_at_preloaded(number: int) -> tuple[bool, list[int], bool]:
    import preloaded_here  # type: ignore[import-not-found]

    preloaded_here.VALUES.append(number)
    here = os.readlink("/proc/self/ns/pid")
    return here == preloaded_here.PLACE, preloaded_here.VALUES, "xml.dom" in sys.modules


def test_preload_that_fails(place: Path) -> None:
    """If the import fails, the error is raised before any task."""
    (place / "with_a_thread.py").write_text(
        "import threading, time; threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
    )
    (place / "that_dies.py").write_text("import os; os._exit(9)\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):
            Executor(1, preload=["no_such_module"])
        with pytest.raises(nsbox.SpecError, match="with_a_thread has started a thread"):
            Executor(1, preload=["with_a_thread"])
        with pytest.raises(nsbox.WorkerDiedError, match="exited with 9"):
            Executor(1, preload=["that_dies"])


def test_trust() -> None:
    """Results and exceptions of any type arrive only with trust, also from decorated functions."""
    with Executor(1) as executor:
        refused = executor.submit(callees.PickledError, "x").outcome()
        assert refused.verdict is Verdict.ERROR
        assert isinstance(refused.error, nsbox.TransferError)
        assert "trust=True" in str(refused.error)
        assert isinstance(executor.submit(callees.raise_it, callees.PickledError("x")).exception(), nsbox.RemoteError)
    with Executor(1, trust=True) as executor:
        assert isinstance(executor.submit(callees.PickledError, "x").result(), callees.PickledError)
        assert isinstance(
            executor.submit(callees.raise_it, callees.PickledError("x")).exception(), callees.PickledError
        )
    make = callees.PickledError
    with pytest.raises(nsbox.TransferError, match="trust=True"):
        nsbox.boxed(lambda: make("x"))()
    assert isinstance(nsbox.boxed(trust=True)(lambda: make("x"))(), callees.PickledError)


def test_wrong_arguments_are_refused() -> None:
    """They are refused before anything is started."""
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("max_workers", {"max_workers": 0}),
        ("max_workers", {"max_workers": 1.5}),
        ("unshare", {"unshare": "mi"}),
        ("unshare", {"unshare": "?"}),
        ("init", {"init": False}),
        ("timeout", {"timeout": -1}),
        ("preload", {"preload": "json"}),
        ("preload", {"preload": ["not a name"]}),
        ("spec", {"spec": nsbox.Spec(), "hostname": "x"}),
    ]
    for argument, options in wrong:
        with pytest.raises(nsbox.SpecError, match=rf"^{argument}: "):
            Executor(**options)
    with Executor(1) as executor:
        not_callable: concurrent.futures.Future[Any] = executor.submit("text")  # type: ignore[arg-type]
        assert isinstance(not_callable.exception(), nsbox.SpecError)


def test_unsupported_options_are_refused() -> None:
    """An option that a later `Spec` adds is refused until tasks support it."""

    @dataclass(frozen=True, kw_only=True)
    class LaterSpec(nsbox.Spec):
        later: int = 0

    with Executor(1, spec=LaterSpec()) as executor:
        assert executor.submit(math.sqrt, 4).result() == 2
    with pytest.raises(nsbox.SpecError, match=r"^later: "):
        Executor(1, spec=LaterSpec(later=1))


def test_namespaces_that_cannot_be_created() -> None:
    """The task fails with the error of the step; the executor can still be used."""
    with Executor(1, "mp", mount_proc="/does/not/exist") as executor:
        outcomes = list(executor.outcomes(math.sqrt, [4, 9]))
    for outcome in outcomes:
        assert isinstance(outcome.error, nsbox.SpawnError)
        assert (outcome.error.step, outcome.error.errno) == ("mount proc", errno.ENOENT)
        assert outcome.verdict is Verdict.ERROR


def test_outcomes_can_be_left_early() -> None:
    """If the caller stops reading outcomes, the other tasks are cancelled."""
    with Executor(1) as executor:
        outcomes = executor.outcomes(time.sleep, [0, 1000, 1000])
        assert next(outcomes).verdict is Verdict.OK
        outcomes.close()  # type: ignore[attr-defined]
        assert only_the_server_is_left(executor)


def test_busy_threads(busy_threads: None) -> None:
    """It works in a process with busy threads, and from several threads at once."""
    with Executor(3) as executor:
        assert list(executor.map(abs, range(-20, 0))) == list(range(20, 0, -1))
