"""The `concurrent.futures.Future` of a task: it has a verdict, and its task can be cancelled while it runs."""

from __future__ import annotations

import concurrent.futures
from concurrent.futures import CancelledError
from typing import NoReturn, TypeVar

from nsbox.start.verdict import Verdict
from nsbox.tasks.outcome import Outcome
from nsbox.tasks.task import Task

__all__ = ["Future"]

T = TypeVar("T")

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

    def __reduce__(self) -> NoReturn:
        """Refuse to pickle it: it waits for a task of this process."""
        raise TypeError("a Future cannot be sent to another process; send its result, future.result()")

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
