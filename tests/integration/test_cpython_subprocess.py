"""CPython's own tests of subprocess pass with nsbox.Popen; `cpython_subprocess` lists those that cannot, and why."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("cpython_subprocess.py")


def run(place: Path, *arguments: str) -> tuple[list[str], int, str]:
    """Return the tests that failed, how many were run, and the report."""
    command = [sys.executable, str(PROGRAM), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=place)
    # Some tests write to standard output, too; what we look for comes last.
    *failed, count = result.stdout.splitlines()
    return (
        [line for line in failed if ".test_subprocess." in line or line.startswith("test_")],
        int(count),
        result.stderr,
    )


@pytest.mark.limit(300)
def test_with_namespaces(tmp_path: Path) -> None:
    """What fails must fail with the plain Popen as well."""
    if importlib.util.find_spec("test.test_subprocess") is None:
        pytest.skip("this Python comes without its test package")
    failed, count, report = run(tmp_path)
    assert count > 200
    if failed:
        assert set(failed) <= set(run(tmp_path, "--plain", *failed)[0]), report
