"""The counterparts of asyncio's functions: the same streams and results; nothing is left after a cancellation."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox.start import aio

from tests.support.callers import alive
from tests.support.census import Census, descendants
from tests.support.forked import Who, fork, in_child
from tests.support.interrupt import interrupted

SLEEP = ("sleep", "1000")
Create = Callable[..., Awaitable[Any]]


def both(function: Callable[[Create, Create], Coroutine[Any, Any, Any]]) -> tuple[Any, Any]:
    """Return the result of a coroutine with nsbox's two functions, and with asyncio's."""
    return (
        asyncio.run(function(nsbox.create_subprocess_exec, nsbox.create_subprocess_shell)),
        asyncio.run(function(asyncio.create_subprocess_exec, asyncio.create_subprocess_shell)),
    )


def test_streams_and_results(who: Who) -> None:
    """Pipes, limits, input and status are the same as with asyncio."""

    async def speak(create_exec: Create, create_shell: Create) -> list[object]:
        process = await create_exec("sh", "-c", "read a; echo got $a; read b; echo $b >&2; exit 3",
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        process.stdin.write(b"one\n")
        await process.stdin.drain()
        said: list[object] = [await process.stdout.readline(), process.returncode]
        said += [*await process.communicate(b"two\n"), process.returncode, await process.wait()]
        process = await create_shell("echo $A; echo err >&2; kill -TERM $$", stdout=-1, stderr=-2, env={"A": "b"})
        said += [*await process.communicate(), process.returncode]
        process = await create_exec("head", "-c", "100000", "/dev/zero", stdout=-1, limit=10)
        said += [len((await process.communicate())[0]), process.stdin, process.stderr]
        return said

    ours, theirs = who(lambda: both(speak))
    assert ours == theirs
    assert ours[0] == b"got one\n"


@pytest.mark.parametrize(
    ("args", "keywords"),
    [
        (("/nonexistent/program",), {}),
        (("true",), {"cwd": "/nonexistent"}),
        (("/etc/passwd",), {}),
        (("true",), {"text": True}),
        (("true",), {"encoding": "ascii"}),
        (("true",), {"errors": "strict"}),
        (("true",), {"universal_newlines": True}),
        (("true",), {"bufsize": 1}),
        (("true",), {"no_such_keyword": 1}),
    ],
)
def test_errors(args: tuple[str, ...], keywords: dict[str, Any], census: Census) -> None:
    """The exceptions are the same as asyncio's, and nothing is left."""

    async def fail(create_exec: Create, create_shell: Create) -> list[object]:
        said: list[object] = []
        for create in (create_exec, create_shell):
            try:
                process = await create(*args, stdout=-1, **keywords)
            except (OSError, ValueError, TypeError) as error:
                kind = next(kind for kind in type(error).__mro__ if kind.__module__ != "nsbox.errors")
                said += [kind, getattr(error, "errno", None), getattr(error, "filename", None)]
            else:
                await process.communicate()
                said.append(process.returncode)
        return said

    ours, theirs = both(fail)
    assert ours == theirs
    assert not census.left_behind()


@pytest.mark.parametrize(
    ("create", "args", "keywords", "message"),
    [
        (nsbox.create_subprocess_exec, ("true",), {"shell": True}, "^shell: use create_subprocess_shell"),
        (nsbox.create_subprocess_shell, ("true",), {"shell": False}, "^shell: use create_subprocess_exec"),
        (nsbox.create_subprocess_shell, (["true"],), {}, "^cmd: expected a command"),
        (nsbox.create_subprocess_exec, ("true",), {"preexec_fn": print}, "^preexec_fn: "),
        (nsbox.create_subprocess_exec, ("true",), {"unshare": "x"}, "^unshare: "),
    ],
)
def test_refusals(create: Create, args: tuple[Any, ...], keywords: dict[str, Any], message: str) -> None:
    """Wrong arguments are refused by name before anything is started."""

    async def fail() -> None:
        await create(*args, **keywords)

    with pytest.raises(nsbox.SpecError, match=message):
        asyncio.run(fail())


def test_namespaces(who: Who) -> None:
    """The program runs in the namespaces asked for, and the process has the handle as `popen`."""

    async def look() -> tuple[bytes, int, tuple[str, ...], str]:
        process = await nsbox.create_subprocess_exec("cat", stdin=-1, stdout=-1, unshare="mip", mount_proc=True,
                                                     init=False)  # fmt: skip
        popen, text = process.popen, repr(process)
        output, _ = await process.communicate(b"x")
        return output, popen.pid_inside, popen.namespaces, text.replace(str(process.pid), "N")

    output, pid_inside, namespaces, text = who(lambda: asyncio.run(look()))
    assert (output, pid_inside) == (b"x", 1)
    assert set(namespaces) >= {"mount", "pid", "ipc"}
    assert text.startswith("<nsbox.start.aio.AsyncProcess: ['cat'] as process N (1 inside), in new ")
    assert "as PID 1, which ignores signals" in text


def test_wait_does_not_wait_for_children(place: Path) -> None:
    """If the program ends, its child, which holds the pipe open, is killed and not waited for."""

    async def run() -> tuple[bytes, list[int]]:
        before = set(descendants())
        process = await nsbox.create_subprocess_shell("sleep 1000 & echo $!", stdout=-1)
        output, _ = await process.communicate()
        return output, sorted(set(descendants()) - before)

    output, left = asyncio.run(run())
    assert int(output) > 1
    assert left == []


def test_signals() -> None:
    """Signals go through the pidfd. After the end they raise ProcessLookupError, as in asyncio."""

    async def run() -> list[int]:
        ends = []
        for send in ("terminate", "kill", "send_signal"):
            process = await nsbox.create_subprocess_exec(*SLEEP)
            getattr(process, send)(*[signal.SIGUSR1] * (send == "send_signal"))
            ends.append(await process.wait())
            with pytest.raises(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        return ends

    assert asyncio.run(run()) == [-signal.SIGTERM, -signal.SIGKILL, -signal.SIGUSR1]


def test_wait_elsewhere() -> None:
    """If other code waits for the program first, the loop gets the status, too."""

    async def run() -> tuple[int, int, int]:
        process = await nsbox.create_subprocess_exec("sh", "-c", "exit 6")
        early = await asyncio.get_running_loop().run_in_executor(None, process.popen.wait)
        blocked = await nsbox.create_subprocess_exec("sh", "-c", "exit 7")
        blocked.popen.wait()
        return early, await asyncio.wait_for(process.wait(), 20), await asyncio.wait_for(blocked.wait(), 20)

    assert asyncio.run(run()) == (6, 6, 7)


def test_two_hundred_at_once(who: Who) -> None:
    """Two hundred programs run on one loop without a thread, a child watcher or a handler, and nothing is left."""

    async def one(number: int) -> bool:
        process = await nsbox.create_subprocess_exec("sh", "-c", f"cat; exit {number}", stdin=-1, stdout=-1)
        output, _ = await process.communicate(b"%d" % number)
        return output == b"%d" % number and process.returncode == number

    async def main() -> tuple[bool, int]:
        processes = [await nsbox.create_subprocess_exec(*SLEEP) for _ in range(100)]
        results = await asyncio.gather(*map(one, range(200)))
        threads = threading.active_count()
        for process in processes:
            process.kill()
        ends = await asyncio.gather(*(process.wait() for process in processes))
        return all(results) and set(ends) == {-signal.SIGKILL}, threads

    def check() -> tuple[bool, int, bool, list[str]]:
        asyncio.run(one(0))
        before, handler = Census.take(), signal.getsignal(signal.SIGCHLD)
        right, threads = asyncio.run(main())
        return right, threads, signal.getsignal(signal.SIGCHLD) == handler, before.left_behind()

    right, threads, unhandled, left = who(check)
    assert right
    assert threads == 1
    assert unhandled
    assert left == []


def test_a_thousand_one_after_the_other(census: Census) -> None:
    """No process, descriptor, mount, namespace or object is left, not even while the loop still runs."""

    async def main() -> list[int]:
        counts = []
        for number in range(1001):
            process = await nsbox.create_subprocess_exec("true", stdout=-1)
            await process.communicate()
            if number in (10, 1000):
                gc.collect()
                counts.append(sum(isinstance(thing, (aio.Transport, nsbox.Popen)) for thing in gc.get_objects()))
                assert len(Census.take().extra(census)) <= 12  # the loop's own descriptors, and the last process
        return counts

    few, many = asyncio.run(main())
    assert many <= few
    assert not census.left_behind()


def test_the_loop_runs_while_many_start() -> None:
    """When many programs start at once, the loop runs other tasks in between."""

    async def main() -> int:
        rounds, over = 0, False

        async def count() -> None:
            nonlocal rounds
            while not over:
                await asyncio.sleep(0)
                rounds += 1

        counting = asyncio.create_task(count())
        processes = await asyncio.gather(*(nsbox.create_subprocess_exec("true") for _ in range(50)))
        over = True
        await asyncio.gather(counting, *(process.wait() for process in processes))
        return rounds

    assert asyncio.run(main()) >= 50


# A task that is cancelled leaves nothing.


async def job() -> None:
    process = await nsbox.create_subprocess_shell("sleep 1000 & sleep 1000", stdin=-1, stdout=-1)
    assert process.stdout is not None
    await process.stdout.readline()


async def cancelled_after(seconds: float, coroutine: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def in_communicate() -> None:
    process = await nsbox.create_subprocess_exec(*SLEEP, stdin=-1, stdout=-1)
    await cancelled_after(0.1, process.communicate(b"x" * 1_000_000))
    assert process.returncode == -signal.SIGKILL
    # A caller that knows only asyncio kills here; the program has ended already, and that is no error.
    process.kill()
    assert (await process.communicate())[0] == b""


async def in_a_flood() -> None:
    process = await nsbox.create_subprocess_exec("yes", stdout=-1)
    await cancelled_after(0.1, process.communicate())
    assert process.returncode == -signal.SIGKILL


async def in_any_other_place() -> None:
    await cancelled_after(0.2, asyncio.wait({asyncio.create_task(job())}))
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        await cancelled_after(0.1, asyncio.wait({task}))
        task.cancel()
    await cancelled_after(0.2, job())


async def in_a_group() -> None:
    async def group() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(job())
            await asyncio.sleep(0.1)
            raise ValueError

    with pytest.raises(ExceptionGroup):
        await group()


async def while_starting() -> None:
    for steps in range(12):
        tasks = [asyncio.create_task(job()) for _ in range(5)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def twice() -> None:
    task = asyncio.create_task(job())
    await asyncio.sleep(0.1)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)


@pytest.mark.parametrize("give_up", [in_communicate, in_a_flood, in_any_other_place, in_a_group, while_starting, twice])
def test_cancelled(give_up: Callable[[], Coroutine[Any, Any, None]], census: Census) -> None:
    """When a task is cancelled, all that it has started is killed; when the loop is closed, nothing is left at all."""
    asyncio.run(give_up())
    assert Census.take().extra(census) == []


def test_a_cancelled_wait_kills_nothing() -> None:
    """A wait with a timeout only checks whether the program has ended."""

    async def main() -> None:
        process = await nsbox.create_subprocess_exec(*SLEEP)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.1)
        assert process.returncode is None
        assert alive(process.pid)
        process.kill()
        assert await process.wait() == -signal.SIGKILL

    asyncio.run(main())


async def forgotten() -> None:
    await asyncio.gather(*(nsbox.create_subprocess_exec(*SLEEP, stdin=-1, stdout=-1) for _ in range(10)))


async def still_awaited() -> None:
    tasks = [asyncio.create_task(job()) for _ in range(10)]
    await asyncio.wait(tasks, timeout=0.2)
    raise ZeroDivisionError


async def still_starting() -> None:
    tasks = [asyncio.create_task(job()) for _ in range(30)]
    await asyncio.wait(tasks, timeout=0.01)
    raise ZeroDivisionError


@pytest.mark.parametrize("main", [forgotten, still_awaited, still_starting])
@pytest.mark.parametrize("orderly", [True, False], ids=["by asyncio.run", "by close alone"])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_closed_loop(main: Callable[[], Coroutine[Any, Any, None]], orderly: bool, census: Census) -> None:
    """When a loop is closed, in whatever state, everything started on it has ended when close() returns."""

    def close_alone() -> None:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()

    try:
        asyncio.run(main()) if orderly else close_alone()
    except ZeroDivisionError:
        assert main is not forgotten
    extra = Census.take().extra(census)
    gc.collect()
    assert [line for line in extra if not line.startswith("descriptors")] == []
    assert not census.left_behind()


def test_ctrl_c(census: Census) -> None:
    """Ctrl-C in asyncio.run cancels the main task, and everything ends."""

    def interrupt() -> str:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            # nsbox-init, a shell, and the process that the shell has started.
            with interrupted(lambda: len(descendants()) >= 4):
                asyncio.run(job())
        except KeyboardInterrupt:
            return "" if not descendants() else "something is left"
        return "no KeyboardInterrupt"

    assert in_child(interrupt) == ""
    assert not census.left_behind()


@pytest.mark.skipif(
    not hasattr(subprocess.Popen, "_on_error_fd_closer"),
    reason="the subprocess of this Python (before 3.11.4) forgets pipes when the next one cannot be made",
)
def test_out_of_descriptors() -> None:
    """Whichever descriptor is missing, the start fails with EMFILE, and everything made so far is removed."""

    async def main() -> tuple[set[int | None], list[str]]:
        ends: set[int | None] = set()
        before = Census.take()
        # RLIMIT_NOFILE limits the numbers, not the count: without gaps below the highest number the two are equal.
        highest = max(map(int, os.listdir("/proc/self/fd")))
        fillers = [os.open("/dev/null", os.O_RDONLY)]
        while fillers[-1] < highest:
            fillers.append(os.open("/dev/null", os.O_RDONLY))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        for spare in range(16):
            resource.setrlimit(resource.RLIMIT_NOFILE, (fillers[-1] + 1 + spare, limits[1]))
            try:
                process = await nsbox.create_subprocess_exec("cat", stdin=-1, stdout=-1, stderr=-1)
            except OSError as error:
                ends.add(error.errno)
            else:
                await process.communicate(b"")
                ends.add(process.returncode)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in fillers:
            os.close(fd)
        return ends, before.left_behind()

    ends, left = in_child(lambda: asyncio.run(main()))
    assert ends == {errno.EMFILE, 0}
    assert left == []


def test_a_child_of_fork_ends_nothing() -> None:
    """A forked child that discards the loop ends nothing that its parent has started."""

    async def main() -> int:
        process = await nsbox.create_subprocess_exec("sh", "-c", "sleep 0.3; exit 4")
        in_child(gc.collect)
        pid = fork()
        if pid == 0:
            try:
                process._transport._popen._end()  # type: ignore[union-attr]
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        return await process.wait()

    assert asyncio.run(main()) == 4


def test_from_busy_threads(busy_threads: None) -> None:
    """A loop in each of four threads works, beside four other threads that allocate all the time."""
    del busy_threads

    async def main(number: int) -> list[int]:
        processes = [await nsbox.create_subprocess_exec("sh", "-c", f"exit {number}") for _ in range(20)]
        return await asyncio.gather(*(process.wait() for process in processes))

    ends: dict[int, list[int]] = {}
    threads = [threading.Thread(target=lambda n=n: ends.update({n: asyncio.run(main(n))})) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == {number: [number] * 20 for number in range(4)}
