"""The private parts of the standard library that nsbox needs are checked when it is imported."""

from __future__ import annotations

import subprocess
import sys
from asyncio.base_subprocess import BaseSubprocessTransport
from typing import Any

import pytest
from nsbox.start import stdlib_hooks

pytestmark = pytest.mark.pure


def test_this_python() -> None:
    """This Python has all of them."""
    stdlib_hooks.check(subprocess.Popen, stdlib_hooks.SUBPROCESS)
    stdlib_hooks.check(BaseSubprocessTransport, stdlib_hooks.ASYNCIO)


class Known:
    """A class for the checks below."""

    declared = None

    def __init__(self) -> None:
        """Set an attribute."""
        self.assigned = None

    def method(self, first: int, second: int, third: int = 0) -> None:
        """Take two arguments and perhaps a third."""


@pytest.mark.parametrize(
    "expected", [("self", "first", "second"), ("self", "first", "second", "third")], ids=["the least", "all"]
)
def test_existing_parameters(expected: tuple[str, ...]) -> None:
    """Parameters with a default need not be listed."""
    stdlib_hooks.check(Known, stdlib_hooks.Hooks({"method": expected}, ("declared", "assigned")))


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        (stdlib_hooks.Hooks({"gone": ("self",)}, ()), r"Known\.gone is missing"),
        (stdlib_hooks.Hooks({"declared": ("self",)}, ()), r"Known\.declared is missing"),
        (stdlib_hooks.Hooks({"method": ("self", "first")}, ()), r"takes \(self, first, second, third\) instead of"),
        (stdlib_hooks.Hooks({"method": ("self", "second", "first")}, ()), r"instead of \(self, second, first\)"),
        (stdlib_hooks.Hooks({"method": ("self", "first", "second", "third", "fourth")}, ()), "instead of"),
        (stdlib_hooks.Hooks({}, ("assigned", "gone")), "Known has no gone"),
    ],
    ids=["no method", "not a method", "wants more", "other order", "takes less", "no attribute"],
)
def test_differences(hooks: stdlib_hooks.Hooks, message: str) -> None:
    """The error names the difference, the version of Python, and the remedy."""
    with pytest.raises(ImportError, match=message) as caught:
        stdlib_hooks.check(Known, hooks)
    assert f"Python {sys.version.split()[0]}" in str(caught.value)
    assert str(caught.value).endswith("install a newer nsbox")


@pytest.mark.parametrize(
    ("change", "use"),
    [
        ("del subprocess.Popen._wait", "import nsbox; nsbox.run"),
        ("subprocess.Popen._execute_child = lambda self, args, executable: None", "import nsbox.start.popen"),
        (
            "import asyncio.base_subprocess as base; base.BaseSubprocessTransport._start = lambda self, what: None",
            "import nsbox; nsbox.create_subprocess_exec",
        ),
    ],
)
def test_a_python_of_the_future(change: str, use: str) -> None:
    """On an unknown Python the import fails with that message."""
    program = f"import subprocess; {change}; {use}"
    result: Any = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("ImportError: this nsbox does not support Python 3")


def test_asyncio_is_not_imported_for_nothing() -> None:
    """asyncio is imported only when it is used: its import takes longer than all the rest."""
    program = "import sys, nsbox; nsbox.run; assert 'asyncio' not in sys.modules; nsbox.create_subprocess_exec"
    subprocess.run([sys.executable, "-c", program], check=True)
