"""`concurrent.futures` in namespaces: an executor that runs each task in new ones."""

from __future__ import annotations

import atexit
import concurrent.futures
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, Unpack

from nsbox import _core
from nsbox.errors import CallTimeoutError, ClosedError, SpecError, TransferError, WorkerDiedError
from nsbox.remote.exchange import deadline_after
from nsbox.remote.pool import search_path
from nsbox.remote.protocol import Failure, check_call, pack_call, title
from nsbox.spec.harden import PARTS
from nsbox.spec.kinds import Namespaces
from nsbox.spec.limits import rlimits_of
from nsbox.spec.spec import Options, Spec, box_spec
from nsbox.start.completed import cpu_limits
from nsbox.start.hardening import default_rlimits
from nsbox.start.output import MaxOutput, OutputLimitError, output_limit
from nsbox.start.verdict import Verdict, judge
from nsbox.tasks.captured import Captured
from nsbox.tasks.future import Future
from nsbox.tasks.outcome import Outcome
from nsbox.tasks.task import ForkServer, Task

if TYPE_CHECKING:
    from nsbox.remote.protocol import CallSettings, Reply

__all__ = ["Executor", "Future"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_TASKS_AHEAD = 100
"""For each worker, of `outcomes` over iterables without a length: a slow task keeps no worker from the next ones."""

_TASK_OPTIONS = {
    "unshare", "fork", "init", "mount_proc", "mounts", "propagation", "map_root_user", "map_current_user", "map_user",
    "map_group", "map_users", "map_groups", "setgroups", "hostname", "domainname", "pid_max", "loopback", "boottime",
    "monotonic",  # applied by nsbox-init
    "keep_caps", "rlimits",  # applied by the task itself
    "harden", "network", "sysctl", "writable", "readable", "hidden", *PARTS,
}  # fmt: skip
"""The fields of `nsbox.Spec` that have an effect on tasks."""


class Executor(concurrent.futures.Executor):
    """Runs functions in other processes, each call in new namespaces. All processes of a call end with it.

    >>> import os
    >>> with Executor(max_workers=2, unshare="mip") as executor:
    ...     list(executor.map(os.path.basename, ["/a/b", "/c/d"]))
    ['b', 'd']

    It is used like `concurrent.futures.ProcessPoolExecutor`. These are the main differences; docs/functions.md has all:

    - a running task can be cancelled: it is killed with all processes that it has started;
    - a task that exits its process, is killed, or exceeds the timeout, does not affect other tasks;
    - `Future.outcome` and `outcomes` return how each task has ended, and do not raise its exception;
    - KeyboardInterrupt, or another exception that is no `Exception`, kills the running tasks when it leaves the
      ``with`` block.

    Each task is a fork of a Python with a single thread that has imported `preload`. It starts with those modules, and
    without any state of another task. It is a child of that Python, so its parent has PID 0 inside; PID 1 is an
    nsbox-init, which reaps orphans. Random number generators outside of the standard library begin in the same state in
    each task, unless the task seeds them.

    Functions and arguments are sent by pickle, and results as plain data, as by `nsbox.Box.call`.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        unshare: Namespaces = "mip",
        *,
        timeout: float | None = None,
        preload: Sequence[str] = (),
        capture_output: bool = False,
        max_output: MaxOutput = None,
        trust: bool = False,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        mp_context: None = None,
        max_tasks_per_child: int | None = None,
        spec: Spec | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Start the Python that forks.

        Args:
            max_workers: How many tasks run at once; by default the number of CPUs that this process may use.
            unshare: The new namespaces of each task, with a PID namespace; see `nsbox.Spec`.
            timeout: Seconds after which a task is killed, counted from its start.
            preload: Names of modules that are imported once, for all tasks.
            capture_output: Whether the output of tasks is kept in their outcomes, instead of being printed here.
            max_output: With `capture_output`, bytes that a task may write to each of its two streams. More of them kill
                the task, with the verdict OUTPUT. An `OutputLimit` can truncate instead.
            trust: Whether only your own functions are run, so that their results may be unpickled; see `nsbox.Box`.
            initializer: A function that is called in each task before its own, in the same namespaces. If it raises an
                exception, that task fails with it.
            initargs: The arguments of the initializer.
            mp_context: Refused, if it is not None: tasks are forks of a Python that nsbox starts.
            max_tasks_per_child: Accepted for `ProcessPoolExecutor`'s sake: a process never runs more than one task.
            spec: The namespaces, instead of separate options.
            **options: Further options of `nsbox.Spec`.

        Raises:
            SpecError: for arguments that make no sense.
            TransferError: when the initializer does not pickle with its arguments.
            SpawnError: when the namespaces cannot be made.
            Exception: what importing a module of `preload` raises.
        """
        self._max_workers = _cpus() if max_workers is None else max_workers  # Dask reads it
        _check_count("max_workers", self._max_workers)
        if mp_context is not None:
            raise SpecError(
                "mp_context: tasks are forks of a Python that nsbox starts, with the modules of preload=; there is no "
                "choice of a start method"
            )
        if max_tasks_per_child is not None:
            _check_count("max_tasks_per_child", max_tasks_per_child)
        self._spec = box_spec(unshare, spec, options)
        _check_spec(self._spec)
        check_call(Executor, timeout)
        if isinstance(preload, str | bytes) or not all(
            isinstance(name, str) and all(part.isidentifier() for part in name.split(".")) for name in preload
        ):
            raise SpecError(f"preload: expected names of modules, got {preload!r}")
        if max_output is not None and not capture_output:
            raise SpecError("max_output: output is not captured, so there is nothing to limit")
        self._max_output = output_limit(max_output)
        self._timeout, self._preload, self._capture, self._trust = timeout, tuple(preload), capture_output, trust
        self._calls_before: list[bytes] = []
        if initializer is not None:
            if not callable(initializer):
                raise SpecError(f"initializer: {initializer!r} cannot be called")
            self._calls_before.append(pack_call((initializer, tuple(initargs), {})))
        self._owner = _core.this_process()
        self._lock = threading.Lock()
        self._unfinished: set[Future[Any]] = set()
        self._is_shut_down = False
        self._server = ForkServer(self._preload)
        self._finalizer = weakref.finalize(self, ForkServer.close, self._server)
        _living.add(self)
        self._threads = ThreadPoolExecutor(self._max_workers, thread_name_prefix="nsbox.Executor")

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule a call of a function with these arguments, and return its `Future` at once.

        If the arguments do not pickle, the future fails with `TransferError`.

        Raises:
            RuntimeError: after `shutdown`.
        """
        if _core.this_process() != self._owner:
            raise ClosedError("this executor cannot be used in a child of os.fork")
        future: Future[T] = Future()
        try:
            check_call(fn, None)
            call = pack_call((fn, args, kwargs))
        except (SpecError, TransferError) as error:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown") from None
            future._end(Outcome(Verdict.ERROR, error=error))
            return future
        settings = search_path(), os.getcwd(), (*rlimits_of(self._spec.rlimits), *default_rlimits(self._spec))
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            queued = self._threads.submit(self._run_task, future, title(fn), settings, call)
            self._unfinished.add(future)
        # The ThreadPoolExecutor has the queue. What is cancelled there is cancelled here too.
        queued.add_done_callback(lambda queued: self._forget(future, queued.cancelled()))
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return an iterator over the results of calls with the elements of the iterables, in their order.

        If the iterator is closed early, or raises an exception, the tasks that have not ended are killed.

        Args:
            fn: The function.
            *iterables: For each call an element of each; the shortest ends the calls.
            timeout: Seconds after which the iterator raises TimeoutError, counted from the call of `map`.
            chunksize: Has no effect: each call is a task of its own.
            buffersize: How many tasks may be submitted whose results have not been read. With it the iterables are read
                while the iterator is, so they may be endless. Without it they are read at once.

        Raises:
            SpecError: for numbers that make no sense.
            RuntimeError: after `shutdown`.
        """
        _check_count("chunksize", chunksize)
        deadline = deadline_after(timeout)

        def result(future: Future[T]) -> T:
            return future.result(None if deadline is None else max(0.0, deadline - time.monotonic()))

        return self._each(fn, iterables, buffersize, result)

    def outcomes(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], buffersize: int | None = None
    ) -> Iterator[Outcome]:
        """Do what `map` does, but return the outcome of each task, so that a failed task does not end the iteration.

        If the iterator is closed early, the tasks that have not ended are cancelled.

        Args:
            fn: The function.
            *iterables: For each call an element of each. If none of them has a length, such as generators, they may be
                endless, and are read while the iterator is: 100 tasks for each worker are submitted ahead.
            buffersize: How many tasks may be submitted whose outcomes have not been read.
        """
        if buffersize is None and iterables and not any(isinstance(one, Sized) for one in iterables):
            buffersize = _TASKS_AHEAD * self._max_workers
        return self._each(fn, iterables, buffersize, Future.outcome)

    def _each(
        self,
        fn: Callable[..., T],
        iterables: tuple[Iterable[Any], ...],
        buffersize: int | None,
        read: Callable[[Future[T]], R],
    ) -> Iterator[R]:
        """Submit calls, now as many as there may be; return an iterator that submits the others, and reads futures."""
        if buffersize is not None:
            _check_count("buffersize", buffersize)
        every = zip(*iterables, strict=False)
        futures = deque(self.submit(fn, *args) for args in islice(every, buffersize))
        # Without a buffer size all are submitted, and the iterator does not keep the executor.
        submit = None if buffersize is None else partial(self._submit_next, fn, every)
        return _read_each(futures, submit, read)

    def _submit_next(self, fn: Callable[..., T], every: Iterator[tuple[Any, ...]]) -> Future[T] | None:
        if self._is_shut_down:
            raise RuntimeError(
                "cannot schedule new futures after shutdown: the iterables are read while the results are, which must "
                "be before the end of the with block; without a buffersize, lists are submitted at once"
            )
        args = next(every, None)
        return None if args is None else self.submit(fn, *args)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more tasks, and end the Python that forks when all tasks have ended.

        Args:
            wait: Whether to return only then.
            cancel_futures: Whether tasks that have not started are cancelled.
        """
        with self._lock:
            self._is_shut_down = True
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        self._close_if_idle()

    def terminate_workers(self) -> None:
        """Do what `kill_workers` does: a task could ignore SIGTERM."""
        self.kill_workers()

    def kill_workers(self) -> None:
        """Accept no more tasks, and cancel all tasks, also running ones, which are killed with all their processes."""
        with self._lock:
            self._is_shut_down = True
            unfinished = list(self._unfinished)
        self._threads.shutdown(wait=False, cancel_futures=True)
        for future in unfinished:
            future.cancel()
        self.shutdown()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Shut down; kill running tasks first if an exception that is no `Exception` leaves the block."""
        if value is not None and not isinstance(value, Exception):
            self.kill_workers()
        else:
            self.shutdown()

    def __reduce__(self) -> NoReturn:
        """Refuse to pickle it: a task would wait for tasks that may wait for it."""
        raise TypeError("an Executor cannot be sent to another process; a task that needs one makes its own")

    def _run_task(self, future: Future[Any], name: str, settings: CallSettings, call: bytes) -> None:
        """Run one task, in a thread of the pool."""
        if not future.set_running_or_notify_cancel():
            return
        start = time.monotonic()
        deadline = deadline_after(self._timeout)
        printed = Captured(name, self._max_output), Captured(name, self._max_output)
        verdict, value, error = Verdict.OK, None, None
        sinks = (printed[0].add, printed[1].add) if self._capture else ()
        try:
            with Task(self._living_server(), self._spec) as task:
                future._begin(task)
                reply = task.call(name, settings, [*self._calls_before, call], deadline, self._trust, *sinks)
            verdict = _verdict_of_reply(reply)
            value = reply.result()
        except BaseException as raised:
            error = raised.with_traceback(None)
            verdict = _verdict_of_error(raised, verdict, cpu_limits(self._spec))
        seconds = time.monotonic() - start
        stdout, stderr = (one.text if self._capture else None for one in printed)
        truncated = any(one.truncated for one in printed)
        future._end(Outcome(verdict, value, error, seconds, stdout, stderr, truncated))

    def _living_server(self) -> ForkServer:
        with self._lock:
            if not self._server.is_alive:
                # It was killed. Its running tasks have failed; later ones use a new server.
                self._finalizer()
                self._server = ForkServer(self._preload)
                self._finalizer = weakref.finalize(self, ForkServer.close, self._server)
            return self._server

    def _forget(self, future: Future[Any], was_cancelled: bool) -> None:
        """Remove a task that has ended, or was cancelled in the queue."""
        if was_cancelled and future.cancel():
            future.set_running_or_notify_cancel()
        with self._lock:
            self._unfinished.discard(future)
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        with self._lock:
            idle = self._is_shut_down and not self._unfinished
        if idle:
            self._finalizer()


_living: weakref.WeakSet[Executor] = weakref.WeakSet()


def _kill_after_interrupt() -> None:
    """Kill all tasks if Ctrl-C ends the program. The terminal's SIGINT does not reach them: they are in other sessions.

    Otherwise the program would wait for them, as for those of any executor that was not shut down.
    """
    ended_by = getattr(sys, "last_type", None)
    # In an interactive interpreter the last exception is not what ends it.
    if isinstance(ended_by, type) and issubclass(ended_by, KeyboardInterrupt) and not hasattr(sys, "ps1"):
        for executor in list(_living):
            if executor._owner == _core.this_process():
                executor.kill_workers()


# As concurrent.futures does for its own, which waits for the threads, and is called after this one.
getattr(threading, "_register_atexit", atexit.register)(_kill_after_interrupt)


def _read_each(
    futures: deque[Future[T]], submit: Callable[[], Future[T] | None] | None, read: Callable[[Future[T]], R]
) -> Iterator[R]:
    """Read one future after the other, submitting another task for each; cancel the others if that ends early."""
    try:
        while futures:
            if submit is not None:
                following = submit()
                if following is None:
                    submit = None
                else:
                    futures.append(following)
                del following
            # No variable of this generator keeps the result.
            yield _read_first(futures, read)
    finally:
        for future in futures:
            future.cancel()


def _read_first(futures: deque[Future[T]], read: Callable[[Future[T]], R]) -> R:
    result = read(futures[0])
    futures.popleft()
    return result


def _cpus() -> int:
    """Return the number of CPUs that this process may use; later Pythons have an option for it (-X cpu_count)."""
    count: Callable[[], int | None] | None = getattr(os, "process_cpu_count", None)
    return (count and count()) or len(os.sched_getaffinity(0))


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SpecError(f"{name}: expected a number of at least 1, got {value!r}")


def _check_spec(spec: Spec) -> None:
    """Refuse options that have no effect on a fork that enters namespaces.

    Raises:
        SpecError: for such an option.
    """
    for one in fields(spec):
        if one.init and one.name not in _TASK_OPTIONS and getattr(spec, one.name) != one.default:
            raise SpecError(f"{one.name}: is for programs, and has no effect on the tasks of an executor")
    if "pid" not in spec.kinds:
        raise SpecError("unshare: tasks need a new pid namespace, which ends all processes that a task has started")


def _verdict_of_reply(reply: Reply) -> Verdict:
    if not isinstance(reply, Failure):
        return Verdict.OK
    return Verdict.PIDS if reply.exhausted else Verdict.ERROR


def _verdict_of_error(error: BaseException, so_far: Verdict, limits: tuple[int, int]) -> Verdict:
    match so_far, error:
        case Verdict.ERROR, MemoryError():
            return Verdict.OOM
        case Verdict.OK, CallTimeoutError():
            return Verdict.TIMEOUT
        case Verdict.OK, OutputLimitError():
            return Verdict.OUTPUT
        case Verdict.OK, WorkerDiedError(out_of_memory=True):
            return Verdict.OOM
        case Verdict.OK, WorkerDiedError(returncode=returncode, cpu_seconds=used) if returncode < 0:
            return judge(returncode, used, limits)[0]
        case Verdict.PIDS, _:
            return Verdict.PIDS
    return Verdict.ERROR
