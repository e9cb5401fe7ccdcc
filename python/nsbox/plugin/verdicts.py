"""What installed plugins such as pytest-check decide about a marked test, by what they keep in memory.

Plugins with soft assertions collect failures during the test, and let it fail in a hook after it. In pytest's process,
where hooks run, they would find nothing. So they are asked in the process of the test: after the call there, the
wrappers of pytest_runtest_call that were entered before the fork are continued, and those of pytest_runtest_makereport
are called. What they decide is sent. What else they do ends with the process.

Hooks of the test suite are not called twice, as they may write files.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pluggy
import pytest

__all__ = ["Verdicts"]

_CALL = "pytest_runtest_call"
_BASE = "runner"
"""The plugin of pytest that makes the report of a test."""


class Verdicts:
    """The hooks of installed plugins.

    Attributes:
        can_judge: Whether there are some that see the report.
    """

    def __init__(self, item: pytest.Item) -> None:
        """Find them, in pytest's process, in the call of the test."""
        self._item = item
        self._make = item.config.hook.pytest_runtest_makereport
        self._makers = [
            one for one in self._make.get_hookimpls() if one.plugin_name == _BASE or _is_installed(one.plugin)
        ]
        self.can_judge = len(self._makers) > 1
        self._wrappers = list(_entered())
        self._late = list(_late_functions(item))

    # In the child

    def call(self, runtest: Callable[[], object]) -> None:
        """Call the test, and what installed plugins do after it.

        Raises:
            BaseException: what the test has raised, or in its place what a plugin has raised.
        """
        __tracebackhide__ = True
        if not self._wrappers and not self._late:
            runtest()
            return
        error: BaseException | None = None
        try:
            runtest()
            for function in self._late:
                function(item=self._item)
        except BaseException as raised:
            error = raised
        for wrapper in reversed(self._wrappers):
            error = _continued(wrapper, error)
        if error is not None:
            raise error

    def judge(self, call: pytest.CallInfo[None], report: pytest.TestReport) -> bool:
        """Let the plugins change the report of the call; return whether they have changed its outcome."""
        if not self.can_judge:
            return False
        before, excinfo = report.outcome, call.excinfo
        others = self._make._hookimpls[:]
        self._make._hookimpls[:] = self._makers
        try:
            made = self._make(item=self._item, call=call)
        except Exception:  # one that needs pytest's process
            made = None
        finally:
            self._make._hookimpls[:] = others
        is_judged = isinstance(made, pytest.TestReport) and (made.outcome != before or call.excinfo is not excinfo)
        if not is_judged:
            call.excinfo = excinfo
            return False
        report.outcome, report.longrepr = made.outcome, made.longrepr
        if hasattr(made, "wasxfail"):
            report.wasxfail = made.wasxfail
        return True


def _is_installed(plugin: object) -> bool:
    """Return whether a plugin belongs to an installed package, and neither to pytest, nsbox nor the test suite."""
    return _is_installed_module(plugin.__name__ if isinstance(plugin, types.ModuleType) else type(plugin).__module__)


@functools.cache
def _is_installed_module(name: str) -> bool:
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    is_package = "site-packages" in file or "dist-packages" in file
    return is_package and name.partition(".")[0] not in ("_pytest", "pytest", "nsbox")


def _entered() -> Iterator[Any]:
    """Return the wrappers of the running call of the hook that belong to installed plugins, the outermost first.

    They are in a variable of pluggy. In a version that has another one, there are none.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "_multicall" and frame.f_locals.get("hook_name") == _CALL:
            for one in frame.f_locals.get("teardowns", ()):
                if _is_installed(_plugin_of(one)):
                    yield one
            return
        frame = frame.f_back


def _plugin_of(wrapper: Any) -> object:
    """Return the plugin of an entered wrapper: its object, or its module."""
    if isinstance(wrapper, tuple):  # one of the old style, in pluggy 1.5
        return wrapper[1].plugin
    frame = getattr(wrapper, "gi_frame", None)
    if frame is None:
        return None
    if "hook_impl" in frame.f_locals:  # one of the old style
        return frame.f_locals["hook_impl"].plugin
    return sys.modules.get(frame.f_globals.get("__name__", ""))


def _late_functions(item: pytest.Item) -> Iterator[Callable[..., object]]:
    """Return what installed plugins do after pytest has called the test, if it has passed."""
    found: list[Callable[..., object]] = []
    for one in item.config.hook.pytest_runtest_call.get_hookimpls():
        if one.plugin_name == _BASE:
            yield from reversed(found)
            return
        if not one.hookwrapper and not one.wrapper and _is_installed(one.plugin):
            found.append(one.function)


def _continued(wrapper: Any, error: BaseException | None) -> BaseException | None:
    """Continue a wrapper after the call. Return the error that there is then.

    It can make a test fail, but not pass: in pytest's process, it is continued as well. An error of another kind is one
    of a plugin that needs pytest's process.
    """
    __tracebackhide__ = True
    try:
        if isinstance(wrapper, tuple):
            result: pluggy.Result[None] = pluggy.Result(None, error)
            wrapper[0].send(result)
        elif error is None:
            wrapper.send(None)
        else:
            wrapper.throw(error)
    except StopIteration:
        return error
    except (AssertionError, pytest.fail.Exception, pytest.skip.Exception, pytest.xfail.Exception) as raised:
        return raised
    except BaseException:
        return error
    return error
