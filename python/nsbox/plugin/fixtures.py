"""The fixtures of `nsbox.pytest_plugin`.

A test with the marker ``unshare`` runs in a child of pytest's process, and in other namespaces. A box or shell that
pytest's process has made cannot be used there. So in such a test they are made by the process that uses them first:
by the test itself, in its namespaces, or by pytest's process if a fixture uses them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nsbox import Box, Process, Shell, _core
from nsbox.errors import SpawnError, UnsupportedError
from nsbox.plugin import leaks, needs
from nsbox.seeing.leftovers import leftovers
from nsbox.seeing.target import Target

__all__ = ["boxes", "shell"]

_MADE_OUTSIDE = (
    ": the marker unshare runs this test in one, and a fixture has used it before in pytest's process. "
    "Make another one in the test, by nsbox.{}, or use it in fixtures only"
)


def boxes(request: pytest.FixtureRequest) -> Iterator[Callable[..., Box]]:
    """Yield a function that makes boxes; close them all, and report the processes that were left in them."""
    made = _Made(request)

    def make(*unshare: Any, **options: Any) -> Box:
        __tracebackhide__ = True
        kinds = unshare or "mip"

        def make_now(box: Box) -> None:
            __tracebackhide__ = True
            with _skipping(request, kinds, options):
                Box.__init__(box, kinds, **options)
            made.add(box)

        if made.is_later:
            return _LaterBox(make_now)
        box = Box.__new__(Box)
        make_now(box)
        return box

    yield make
    _report(request.node, made.finish())


def shell(request: pytest.FixtureRequest, unshare: Any, options: dict[str, Any]) -> Iterator[Shell]:
    """Yield a shell; end it, and report the processes that it left behind."""
    __tracebackhide__ = True
    made = _Made(request)

    def make_now(shell: Shell) -> None:
        __tracebackhide__ = True
        with _skipping(request, unshare, options):
            Shell.__init__(shell, unshare, **options)
        made.add(shell)

    if made.is_later:
        yield _LaterShell(make_now)
    else:
        shell = Shell.__new__(Shell)
        make_now(shell)
        yield shell
    _report(request.node, made.finish())


class _Made:
    """The boxes and shells that a fixture has made, in the process that has made them.

    Attributes:
        marked: Whether the test runs in a child.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.marked = request.node.get_closest_marker("unshare") is not None
        self._item = request.node
        self._begin()

    def _begin(self) -> None:
        self._process = _core.this_process()
        self._stack = contextlib.ExitStack()
        self._boxes: list[Box] = []
        self._shells: list[Shell] = []
        self.in_child = False

    @property
    def is_later(self) -> bool:
        """Whether the test runs in another process than this one, so that nothing is made before it is used."""
        return self.marked and _core.this_process() == self._process and not self.in_child

    def add(self, one: Box | Shell) -> None:
        """Keep one that was made, to end it."""
        if _core.this_process() != self._process:
            self._begin()  # this is the child: what pytest's process has made is ended there
            self.in_child = True
            self._item.addfinalizer(self._end)
        elif self.marked:
            one._elsewhere = _MADE_OUTSIDE.format("Box" if isinstance(one, Box) else "Shell")
        self._stack.enter_context(one)
        if isinstance(one, Box):
            self._boxes.append(one)
        else:
            self._shells.append(one)

    def _end(self) -> None:
        _report(self._item, self.finish())

    def finish(self) -> list[Process]:
        """End them, and return the processes that were left in them; none the second time."""
        with self._stack.pop_all():
            for box in self._boxes:
                box._end_workers()  # and with them what multiprocessing keeps for them
            boxes = [box for box in self._boxes if box.alive]
            shells = [shell for shell in self._shells if shell.alive]
            # The nsbox-init of a shell is outside. It adopts the orphans of a shell that is not PID 1.
            roots: list[Target] = [*boxes, *shells, *(shell.init_pid for shell in shells)]
            return leftovers(roots) if roots else []


class _LaterBox(Box):
    """A box that is made when it is first used: when an attribute is read that only a made one has."""

    def __init__(self, make: Callable[[Box], None]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        return _made(self, name)

    def close(self) -> None:
        if "_make" not in vars(self):
            super().close()

    def __repr__(self) -> str:
        return "<nsbox.Box, not made>" if "_make" in vars(self) else super().__repr__()

    def __del__(self) -> None:
        if "_make" not in vars(self):
            super().__del__()


class _LaterShell(Shell):
    """A shell that is made when it is first used."""

    def __init__(self, make: Callable[[Shell], None]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        return _made(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name != "_make" and "_make" in vars(self):
            _made(self, name)  # which sets all attributes
        super().__setattr__(name, value)

    def __exit__(self, *error: Any) -> None:
        if "_make" not in vars(self):
            super().__exit__(*error)

    def __repr__(self) -> str:
        return "<nsbox.Shell, not made>" if "_make" in vars(self) else super().__repr__()

    def __del__(self) -> None:
        if "_make" not in vars(self):
            super().__del__()


def _made(one: Any, name: str) -> Any:
    """Make a box or shell, and return an attribute of it."""
    make = None if name.startswith("__") else vars(one).pop("_make", None)
    if make is None:
        raise AttributeError(f"{type(one).__name__} has no attribute {name!r}", name=name, obj=one)
    try:
        make(one)
    except BaseException:
        vars(one).clear()
        one._make = make
        raise
    return getattr(one, name)


@contextlib.contextmanager
def _skipping(request: pytest.FixtureRequest, unshare: Any, options: dict[str, Any]) -> Iterator[None]:
    """Skip a test with the marker ``needs_namespaces`` whose namespaces turn out not to be allowed here."""
    try:
        yield
    except (SpawnError, UnsupportedError):
        if request.node.get_closest_marker("needs_namespaces"):
            needs.skip_if_refused(request.node, [needs.Needed((unshare,), options)])
        raise


def _report(item: pytest.Item, leaked: list[Process]) -> None:
    if leaked:
        leaks.note(item, leaked)
        if item.config.getoption("fail_on_leak"):
            pytest.fail(leaks.complaint(leaked), pytrace=False)
