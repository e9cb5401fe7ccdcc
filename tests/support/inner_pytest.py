"""pytest, run by a test: as root through pytester, or as an ordinary user in a directory that every user may enter."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.forked import USER, Who

__all__ = ["Inner", "python_of_the_system"]

_LIMIT_SECONDS = 250


@functools.cache
def python_of_the_system() -> str:
    """Return another Python of this version, if that of these tests is where other users cannot execute it."""
    if all(path.stat().st_mode & 0o001 for path in Path(sys.executable).resolve().parents):
        return ""
    version = "{}.{}".format(*sys.version_info)
    return shutil.which(f"python{version}", path=os.defpath) or ""


class Inner:
    """A directory with tests, which are run by a pytest of their own."""

    def __init__(self, path: Path, who: Who) -> None:
        self.path = path
        self.who = who
        self.environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PY_COLORS": "0", "COLUMNS": "100"}
        python = sys.executable
        if not who.is_root and (other := python_of_the_system()):
            python = other
            # As a user with a virtual environment of this Python would have it.
            self.environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path.startswith("/"))
        self.command = [python, "-m", "pytest"]
        # It must make no difference whether the inner run is started by these tests or by a CI.
        for name in [name for name in self.environment if name.startswith("PYTEST_") or name in ("CI", "BUILD_NUMBER")]:
            del self.environment[name]

    def write(self, **files: str) -> None:
        """Write Python files."""
        for name, text in files.items():
            path = self.path / f"{name}.py"
            path.write_text(textwrap.dedent(text))
            path.chmod(0o644)

    def run(self, *arguments: str, limit: float = _LIMIT_SECONDS) -> pytest.RunResult:
        """Run the tests and return the result."""
        command = [*self.command, "-p", "no:cacheprovider", f"--basetemp={self.path / 'tmp'}", *arguments]
        if not self.who.is_root:
            command = [*self.privileges(), *command]
        out = self.path / "output"
        # Write to a file: a process that is left behind and holds a pipe open would block this test.
        with out.open("w") as file:
            result = subprocess.run(
                command, cwd=self.path, env=self.environment, stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, timeout=limit, check=False,
            )  # fmt: skip
        shutil.rmtree(self.path / "tmp", ignore_errors=True)
        output = out.read_text(errors="replace")
        print(output)  # shown when a test fails
        return pytest.RunResult(result.returncode, output.splitlines(), [], 0)

    def starts_pythons(self) -> bool:
        """Whether this Python can start another one, as xdist does. It cannot when it belongs to another user."""
        command = [
            self.command[0],
            "-c",
            "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)",
        ]
        if not self.who.is_root:
            command = [*self.privileges(), *command]
        return subprocess.run(command, cwd="/", capture_output=True, check=False).returncode == 0

    @staticmethod
    def privileges() -> list[str]:
        """Return the command prefix that runs a program as an ordinary user, if that user can execute this Python."""
        if os.geteuid() != 0:
            return []
        drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        try:
            result = subprocess.run(
                [*drop, sys.executable, "-c", "import pytest, nsbox._core"], cwd="/", capture_output=True, check=False
            )
        except FileNotFoundError:
            pytest.skip("setpriv (util-linux) is not there")
        if result.returncode:
            pytest.skip(f"an ordinary user cannot run {sys.executable} with what is installed for it")
        return drop
