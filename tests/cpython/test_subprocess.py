"""CPython's own tests of subprocess pass with nsbox; `cpython_subprocess` lists those that cannot, with reasons."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.far import become, open_place
from tests.support.forked import Who
from tests.support.needs import needs

PROGRAM = Path(__file__).with_name("cpython_subprocess.py")
WITH_FUNCTIONS = [f"test.test_subprocess.{case}" for case in ("ProcessTestCase", "RunFuncTestCase", "CommandTests")]


def run(who: Who, what: str, *tests: str) -> tuple[set[str], int, str]:
    """Return the tests that failed, how many were run, and the report."""
    with open_place() as place, open_place() as work:
        result = subprocess.run(
            [sys.executable, str(PROGRAM), what, *tests], capture_output=True, text=True, check=False,
            cwd=work, env=os.environ | {"TMPDIR": str(work)}, preexec_fn=become(who, place),
        )  # fmt: skip
    assert result.returncode == 0, result.stderr
    # Some tests write to standard output, too; our report comes last.
    *failed, count = result.stdout.splitlines()
    return {line for line in failed if line.startswith(("test.test_", "unittest.loader"))}, int(count), result.stderr


@pytest.mark.limit(900)
@pytest.mark.parametrize("who", ["root", "user"])
@pytest.mark.parametrize(
    ("what", "plain", "module", "at_least", "tests"),
    [
        ("popen", "plain", "test.test_subprocess", 200, []),
        ("functions", "plain", "test.test_subprocess", 100, WITH_FUNCTIONS),
        ("asyncio", "plain-asyncio", "test.test_asyncio.test_subprocess", 100, []),
    ],
    ids=["popen", "functions", "asyncio"],
)
def test_with_namespaces(who: str, what: str, plain: str, module: str, at_least: int, tests: list[str]) -> None:
    """Only tests that also fail with the plain `subprocess` may fail."""
    person = Who(who)
    needs(person, "mip")
    try:
        importlib.util.find_spec(module)
    except ModuleNotFoundError:
        pytest.skip("this Python comes without its test package")
    failed, count, report = run(person, what, *tests)
    assert count > at_least
    if failed:
        assert failed <= run(person, plain, *failed)[0], report
