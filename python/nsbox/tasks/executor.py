"""`concurrent.futures` in namespaces: an executor whose every task has its own."""

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

from nsbox.errors import CallTimeoutError, ClosedError, SpecError, TransferError, WorkerDiedError
from nsbox.remote.exchange import deadline_after, failure_in, result_of, to_stderr, to_stdout
from nsbox.remote.pool import search_path
from nsbox.remote.protocol import FAILED, check_call, pack_call, pack_request, title
from nsbox.spec.kinds import Namespaces, namespace_names
from nsbox.spec.limits import rlimits_of
from nsbox.spec.spec import Options, Spec, box_spec
from nsbox.tasks.outcome import Outcome, Verdict
from nsbox.tasks.task import ForkServer, Task

if TYPE_CHECKING:
    from nsbox.remote.protocol import Frame, Surroundings

__all__ = ["Executor", "Future"]

P = ParamSpec("P")
T = TypeVar("T")

_FOR_TASKS = {
    "unshare", "fork", "init", "mount_proc", "mounts", "propagation", "map_root_user", "map_current_user", "map_user",
    "map_group", "map_users", "map_groups", "setgroups", "hostname", "domainname", "pid_max", "loopback", "boottime",
    "monotonic",  # by the init
    "keep_caps", "no_new_privs", "rlimits",  # by the task itself
}  # fmt: skip
"""The fields of `nsbox.Spec` that hold for tasks."""

# The states of concurrent.futures.Future. They have names there, but those are not public; asyncio relies on them too.
_RUNNING = "RUNNING"
_CANCELLED_AND_NOTIFIED = "CANCELLED_AND_NOTIFIED"


class Future(concurrent.futures.Future[T]):
    """A `concurrent.futures.Future` whose task can also be cancelled while it runs, and which knows its verdict."""

    def __init__(self) -> None:
        """Begin pending."""
        super().__init__()
        self._task: Task | None = None
        self._unwanted = False
        self._outcome: Outcome | None = None

    def cancel(self) -> bool:
        """Cancel the task. One that runs is killed with all that it has started, which the base class does not do.

        Returns:
            Whether it is cancelled. Nothing of it is alive then.
        """
        if super().cancel():
            return True
        with self._condition:
            if self._state != _RUNNING:
                return False
            self._unwanted = True
            if self._task is not None:
                self._task.kill()
            # Whoever carries it out sees to the rest.
            self._condition.wait_for(self._is_over)
            return self._state == _CANCELLED_AND_NOTIFIED

    def _is_over(self) -> bool:
        return self._state != _RUNNING

    @property
    def verdict(self) -> Verdict | None:
        """How the task has ended; None while it has not."""
        return self.outcome().verdict if self.done() else None

    def outcome(self, timeout: float | None = None) -> Outcome:
        """Wait for the end of the task, and return what has become of it. Whatever that is, it is not raised.

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
        """Note what carries it out, so that it can be killed."""
        with self._condition:
            self._task = task
            if self._unwanted:
                task.kill()

    def _end(self, outcome: Outcome) -> None:
        """Take the outcome, unless the task was cancelled. Nothing of it is alive any more."""
        with self._condition:
            self._task = None
            if self._unwanted:
                self._outcome = Outcome(Verdict.KILLED, None, CancelledError(), outcome.seconds)
                self._state = _CANCELLED_AND_NOTIFIED
                for waiter in self._waiters:
                    waiter.add_cancelled(self)
                self._condition.notify_all()
            else:
                self._outcome = outcome
        if self._unwanted:
            self._invoke_callbacks()  # type: ignore[attr-defined]
        elif outcome.error is not None:
            self.set_exception(outcome.error)
        else:
            self.set_result(outcome.value)


class Executor(concurrent.futures.Executor):
    """Carries out functions in other processes, each call in fresh namespaces, of which nothing is left at its end.

    >>> import os
    >>> with Executor(max_workers=2, unshare="mip") as executor:
    ...     list(executor.map(os.path.basename, ["/a/b", "/c/d"]))
    ['b', 'd']

    It is used like `concurrent.futures.ProcessPoolExecutor`, with these differences:

    - a task that runs can be cancelled: it is killed with all that it has started;
    - a task that ends its process, is killed, or takes too long, ends alone; the others go on;
    - `Future.outcome` and `outcomes` say how each has ended, and raise nothing;
    - leaving the ``with`` block by KeyboardInterrupt, or another exception that is no `Exception`, kills what runs.

    Each task is a fork of a Python with a single thread that has imported `preload`, so it starts with those modules,
    and in no state that another task has left. It is a child of that Python, so its parent has PID 0 inside; PID 1 is
    an nsbox-init, which reaps what it leaves behind. Generators of random numbers outside of the standard library begin
    in the same state in each task, unless it seeds them.

    What is said of pickle in `nsbox.Box.call` holds here too: a function that is not trusted should not be one whose
    result is.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        unshare: Namespaces = "mip",
        *,
        timeout: float | None = None,
        preload: Sequence[str] = (),
        capture_output: bool = False,
        spec: Spec | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Start the Python that forks.

        Args:
            max_workers: How many tasks run at once; by default as many as there are CPUs for this process.
            unshare: The new namespaces of each task, the PID namespace among them; see `nsbox.Spec`.
            timeout: Seconds after which a task is killed, counted from when it begins to run.
            preload: Names of modules that are imported once, for all tasks.
            capture_output: Whether what tasks print is kept in their outcomes, instead of being printed here.
            spec: The namespaces, instead of separate options.
            **options: Further options of `nsbox.Spec`.

        Raises:
            SpecError: for arguments that make no sense.
            SpawnError: when there cannot be namespaces.
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
        self._timeout, self._preload, self._capture = timeout, tuple(preload), capture_output
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._unfinished: set[Future[Any]] = set()
        self._is_shut_down = False
        self._server = ForkServer(self._preload)
        self._finalizer = weakref.finalize(self, ForkServer.close, self._server)
        self._threads = ThreadPoolExecutor(cpus, thread_name_prefix="nsbox.Executor")

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function called with these arguments, and return its `Future` at once.

        Arguments that do not pickle are a matter of the future as well, as `TransferError`.

        Raises:
            RuntimeError: after `shutdown`.
        """
        if os.getpid() != self._owner:
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
        surroundings = search_path(), os.getcwd(), rlimits_of(self._spec.rlimits)
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            queued = self._threads.submit(self._carry_out, future, title(fn), surroundings, call)
            self._unfinished.add(future)
        # The queue is that of the threads; what is taken out of it there is cancelled here.
        queued.add_done_callback(lambda queued: self._leave(future, queued.cancelled()))
        return future

    def outcomes(self, fn: Callable[..., Any], *iterables: Iterable[Any]) -> Iterator[Outcome]:
        """Do what `map` does, but return what has become of each task: no failure of one hides those after it.

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
        """Accept no more tasks, and end the Python that forks once there are none.

        Args:
            wait: Whether to return only then.
            cancel_futures: Whether tasks that have not begun to run are cancelled.
        """
        with self._lock:
            self._is_shut_down = True
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        self._close_if_idle()

    def kill_workers(self) -> None:
        """Accept no more tasks, and cancel all there are, also those that run."""
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
        """Shut down; at once, if the block is left in a hurry."""
        if value is not None and not isinstance(value, Exception):
            self.kill_workers()
        else:
            self.shutdown()

    # Within

    def _carry_out(self, future: Future[Any], name: str, surroundings: Surroundings, call: bytes) -> None:
        """Do one task, in a thread of its own."""
        if not future.set_running_or_notify_cancel():
            return
        began = time.monotonic()
        deadline = deadline_after(self._timeout)
        printed: tuple[list[str], list[str]] = [], []
        verdict, value, error = Verdict.OK, None, None
        sinks = (printed[0].append, printed[1].append) if self._capture else (to_stdout, to_stderr)
        try:
            with Task(self._living_server(), self._spec) as task:
                future._begin(task)
                answer = task.ask(name, pack_request(surroundings, call), deadline, *sinks)
            verdict = _verdict_of_answer(answer)
            value = result_of(name, answer)
        except BaseException as raised:
            error = raised.with_traceback(None)
            verdict = _verdict_of_error(raised, verdict)
        seconds = time.monotonic() - began
        texts = ("".join(printed[0]), "".join(printed[1])) if self._capture else (None, None)
        future._end(Outcome(verdict, value, error, seconds, *texts))

    def _living_server(self) -> ForkServer:
        with self._lock:
            if not self._server.is_alive:
                # Somebody has killed it: the tasks it had are lost, but not those to come.
                self._finalizer()
                self._server = ForkServer(self._preload)
                self._finalizer = weakref.finalize(self, ForkServer.close, self._server)
            return self._server

    def _leave(self, future: Future[Any], was_cancelled: bool) -> None:
        """Forget a task that is over, or has been taken out of the queue."""
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


def _check_spec(spec: Spec) -> None:
    """Refuse what a fork that enters namespaces would silently not have.

    Raises:
        SpecError: for that.
    """
    for one in fields(spec):
        if one.init and one.name not in _FOR_TASKS and getattr(spec, one.name) != one.default:
            raise SpecError(f"{one.name}: is for programs, and would have no effect on the tasks of an executor")
    if "pid" not in namespace_names(spec.unshare):
        raise SpecError("unshare: without a pid namespace the end of a task would not be the end of all it started")


def _verdict_of_answer(answer: Frame) -> Verdict:
    if answer[0] != FAILED:
        return Verdict.OK
    return Verdict.PIDS if failure_in(answer).exhausted else Verdict.ERROR


def _verdict_of_error(error: BaseException, so_far: Verdict) -> Verdict:
    match so_far, error:
        case Verdict.ERROR, MemoryError():
            return Verdict.OOM
        case Verdict.OK, CallTimeoutError():
            return Verdict.TIMEOUT
        case Verdict.OK, WorkerDiedError(out_of_memory=True):
            return Verdict.OOM
        case Verdict.OK, WorkerDiedError(returncode=returncode) if returncode < 0:
            return Verdict.KILLED
        case Verdict.PIDS, _:
            return Verdict.PIDS
    return Verdict.ERROR
