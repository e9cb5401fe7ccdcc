"""`concurrent.futures` in namespaces: an executor that runs each task in new ones."""

from __future__ import annotations

import concurrent.futures
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import fields
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack

from nsbox import _core
from nsbox.errors import CallTimeoutError, ClosedError, SpecError, TransferError, WorkerDiedError
from nsbox.remote.exchange import deadline_after, to_stderr, to_stdout
from nsbox.remote.pool import search_path
from nsbox.remote.protocol import Failure, check_call, pack_call, title
from nsbox.spec.harden import PARTS
from nsbox.spec.kinds import Namespaces
from nsbox.spec.limits import rlimits_of
from nsbox.spec.spec import Options, Spec, box_spec
from nsbox.start.completed import cpu_limits
from nsbox.start.hardening import default_rlimits
from nsbox.start.output import MaxOutput, OutputLimit, OutputLimitError, output_limit
from nsbox.start.verdict import Verdict, judge
from nsbox.tasks.outcome import Outcome
from nsbox.tasks.task import ForkServer, Task

if TYPE_CHECKING:
    from nsbox.remote.protocol import CallSettings, Reply

__all__ = ["Executor", "Future"]

P = ParamSpec("P")
T = TypeVar("T")

_TASK_OPTIONS = {
    "unshare", "fork", "init", "mount_proc", "mounts", "propagation", "map_root_user", "map_current_user", "map_user",
    "map_group", "map_users", "map_groups", "setgroups", "hostname", "domainname", "pid_max", "loopback", "boottime",
    "monotonic",  # applied by nsbox-init
    "keep_caps", "rlimits",  # applied by the task itself
    "harden", "network", "sysctl", "writable", "readable", "hidden", *PARTS,
}  # fmt: skip
"""The fields of `nsbox.Spec` that have an effect on tasks."""

# The states of concurrent.futures.Future. Their names there are not public; asyncio relies on the values too.
_RUNNING = "RUNNING"
_CANCELLED_AND_NOTIFIED = "CANCELLED_AND_NOTIFIED"


class Future(concurrent.futures.Future[T]):
    """A `concurrent.futures.Future` with a verdict. Its task can be cancelled while it runs."""

    def __init__(self) -> None:
        """Begin pending."""
        super().__init__()
        self._task: Task | None = None
        self._cancel_requested = False
        self._outcome: Outcome | None = None

    def cancel(self) -> bool:
        """Cancel the task. Unlike the base class, kill a running task with all processes that it has started.

        Returns:
            Whether it is cancelled. All its processes have ended then.
        """
        if super().cancel():
            return True
        with self._condition:
            if self._state != _RUNNING:
                return False
            self._cancel_requested = True
            if self._task is not None:
                self._task.kill()
            # The thread that runs the task then calls `_end`.
            self._condition.wait_for(self._is_over)
            return self._state == _CANCELLED_AND_NOTIFIED

    def _is_over(self) -> bool:
        return self._state != _RUNNING

    def result(self, timeout: float | None = None) -> T:
        """Wait until the task has ended, and return its result, or raise its exception.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: when the task has not ended by then. It continues to run.
            CancelledError: when it was cancelled.
            Exception: what the function raised.
        """
        __tracebackhide__ = True
        error = self.exception(timeout)
        if error is None:
            return super().result()
        try:
            # Here, as pytest names the first line that is not hidden as the place of a skip.
            raise error
        finally:
            # A traceback has this frame, which must not have the exception with that traceback.
            del self, error

    @property
    def verdict(self) -> Verdict | None:
        """How the task has ended; None before that."""
        return self.outcome().verdict if self.done() else None

    def outcome(self, timeout: float | None = None) -> Outcome:
        """Wait until the task has ended, and return its outcome. The exception of a failed task is not raised.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: when the task has not ended by then.
        """
        try:
            error = self.exception(timeout)
        except CancelledError as cancelled:
            error = cancelled
        if self._outcome is not None:
            return self._outcome
        return Outcome(Verdict.KILLED if isinstance(error, CancelledError) else Verdict.ERROR, error=error)

    def _begin(self, task: Task) -> None:
        """Keep the task, so that it can be killed."""
        with self._condition:
            self._task = task
            if self._cancel_requested:
                task.kill()

    def _end(self, outcome: Outcome) -> None:
        """Set the outcome, unless the task was cancelled. All its processes have ended."""
        with self._condition:
            self._task = None
            if self._cancel_requested:
                self._outcome = Outcome(Verdict.KILLED, None, CancelledError(), outcome.seconds)
                self._state = _CANCELLED_AND_NOTIFIED
                for waiter in self._waiters:
                    waiter.add_cancelled(self)
                self._condition.notify_all()
            else:
                self._outcome = outcome
        if self._cancel_requested:
            self._invoke_callbacks()  # type: ignore[attr-defined]
        elif outcome.error is not None:
            self.set_exception(outcome.error)
        else:
            self.set_result(outcome.value)


class Executor(concurrent.futures.Executor):
    """Runs functions in other processes, each call in new namespaces. All processes of a call end with it.

    >>> import os
    >>> with Executor(max_workers=2, unshare="mip") as executor:
    ...     list(executor.map(os.path.basename, ["/a/b", "/c/d"]))
    ['b', 'd']

    It is used like `concurrent.futures.ProcessPoolExecutor`, with these differences:

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
            spec: The namespaces, instead of separate options.
            **options: Further options of `nsbox.Spec`.

        Raises:
            SpecError: for arguments that make no sense.
            SpawnError: when the namespaces cannot be made.
            Exception: what importing a module of `preload` raises.
        """
        cpus = len(os.sched_getaffinity(0)) if max_workers is None else max_workers
        if isinstance(cpus, bool) or not isinstance(cpus, int) or cpus < 1:
            raise SpecError(f"max_workers: expected a number of at least 1, got {max_workers!r}")
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
        self._owner = _core.this_process()
        self._lock = threading.Lock()
        self._unfinished: set[Future[Any]] = set()
        self._is_shut_down = False
        self._server = ForkServer(self._preload)
        self._finalizer = weakref.finalize(self, ForkServer.close, self._server)
        self._threads = ThreadPoolExecutor(cpus, thread_name_prefix="nsbox.Executor")

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

    def outcomes(self, fn: Callable[..., Any], *iterables: Iterable[Any]) -> Iterator[Outcome]:
        """Do what `map` does, but return the outcome of each task, so that a failed task does not end the iteration.

        If the iterator is closed early, the tasks that have not ended are cancelled.
        """
        futures = [self.submit(fn, *args) for args in zip(*iterables, strict=False)]

        def each() -> Iterator[Outcome]:
            try:
                futures.reverse()
                while futures:
                    yield futures[-1].outcome()
                    futures.pop()
            finally:
                for future in futures:
                    future.cancel()

        return each()

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

    def kill_workers(self) -> None:
        """Accept no more tasks, and cancel all tasks, also running ones."""
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

    def _run_task(self, future: Future[Any], name: str, settings: CallSettings, call: bytes) -> None:
        """Run one task, in a thread of the pool."""
        if not future.set_running_or_notify_cancel():
            return
        start = time.monotonic()
        deadline = deadline_after(self._timeout)
        printed = _Printed(name, self._max_output), _Printed(name, self._max_output)
        verdict, value, error = Verdict.OK, None, None
        sinks = (printed[0].add, printed[1].add) if self._capture else (to_stdout, to_stderr)
        try:
            with Task(self._living_server(), self._spec) as task:
                future._begin(task)
                reply = task.call(name, settings, call, deadline, self._trust, *sinks)
            verdict = _verdict_of_reply(reply)
            value = reply.result()
        except BaseException as raised:
            error = raised.with_traceback(None)
            verdict = _verdict_of_error(raised, verdict, cpu_limits(self._spec))
        seconds = time.monotonic() - start
        stdout, stderr = ("".join(one.texts) if self._capture else None for one in printed)
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


class _Printed:
    """What a task writes to one of its streams, up to the limit."""

    def __init__(self, name: str, limit: OutputLimit | None) -> None:
        self._name, self._limit = name, limit
        self._bytes = 0
        self.texts: list[str] = []
        self.truncated = False

    def add(self, text: str) -> None:
        if self.truncated:
            return
        if self._limit is not None:
            data = text.encode(errors="surrogatepass")
            room = self._limit.bytes - self._bytes
            self._bytes += len(data)
            if len(data) > room:
                self.truncated = True
                text = data[:room].decode(errors="ignore")
        self.texts.append(text)
        if self.truncated and self._limit is not None and self._limit.on_exceed == "kill":
            raise OutputLimitError(self._name, self._limit.bytes)


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
