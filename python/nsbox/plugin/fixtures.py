"""The fixtures of `nsbox.pytest_plugin`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nsbox import Box, Process, Shell
from nsbox.plugin import leaks
from nsbox.seeing.leftovers import leftovers

__all__ = ["boxes", "shell"]


def boxes(request: pytest.FixtureRequest) -> Iterator[Callable[..., Box]]:
    """Yield a function that makes boxes; close them all, and report the processes that were left in them."""
    made: list[Box] = []
    with contextlib.ExitStack() as stack:

        def make(*unshare: Any, **options: Any) -> Box:
            box = stack.enter_context(Box(unshare or "mip", **options))
            made.append(box)
            return box

        yield make
        for box in made:
            box._end_workers()  # with what multiprocessing keeps for them
        leaked = leftovers([box.pid for box in made if box.alive]) if made else []
    _report(request, leaked)


def shell(request: pytest.FixtureRequest, unshare: Any, options: dict[str, Any]) -> Iterator[Shell]:
    """Yield a shell; end it, and report the processes that it left behind."""
    with Shell(unshare, **options) as shell:
        yield shell
        leaked = leftovers([shell.init_pid, shell.pid]) if shell.alive else []
    _report(request, leaked)


def _report(request: pytest.FixtureRequest, leaked: list[Process]) -> None:
    if leaked:
        leaks.note(request.node, leaked)
        if request.config.getoption("fail_on_leak"):
            pytest.fail(leaks.complaint(leaked), pytrace=False)
