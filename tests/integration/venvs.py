"""The virtual environments of the integration tests: ``python -m tests.integration.venvs DIRECTORY``, in `make test`.

Each has its own pytest and the plugins that are tried. They are not installed beside nsbox's own tests: pytest-randomly
and others change the runs of all tests that they are installed for. nsbox is not built again: what an editable
installation writes into a virtual environment is copied.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.support.inner_pytest import python_of_the_system

__all__ = ["PLAIN", "PLUGINS", "RECORDING", "VERSIONS", "build"]

VERSIONS = {"oldest": "pytest==8.4.0", "pytest8": "pytest==8.4.*", "pytest9": "pytest>=9"}
"""The pytest of each environment. The first is the oldest that the extra allows."""
PLUGINS = (
    "anyio>=4", "pytest-asyncio>=1", "pytest-cov>=6", "pytest-randomly>=3.16", "pytest-rerunfailures>=15",
    "pytest-subtests>=0.14", "pytest-timeout>=2", "pytest-xdist>=3",
)  # fmt: skip
"""The plugins in all environments but the first."""


RECORDING = {
    "recording": (
        "pytest>=9", "allure-pytest>=2.13", "pytest-assume>=2.4", "pytest-benchmark>=5", "pytest-check>=2.5",
        "pytest-html>=4", "pytest-json-report>=1.5", "pytest-metadata>=3",
    )
}  # fmt: skip
"""An environment with plugins in which a test records data, or failures that do not end it."""
PLAIN = {"plain8": ("pytest==8.4.*", "pytest-subtests>=0.14", "pytest-forked>=1.6")}
"""An environment without other plugins, and without nsbox, which is found by PYTHONPATH."""


def build(directory: Path) -> None:
    """Make all environments, at the same time.

    Raises:
        RuntimeError: when pip failed.
    """
    shutil.rmtree(directory, ignore_errors=True)
    # Ordinary users must be able to execute it.
    python = python_of_the_system() or sys.executable
    pips = {}
    oldest = next(iter(VERSIONS))
    packages = {name: (version, *(PLUGINS if name != oldest else ())) for name, version in VERSIONS.items()}
    packages |= RECORDING | PLAIN
    for name, wanted in packages.items():
        home = directory / name
        subprocess.run([python, "-m", "venv", "--without-pip", home], check=True)
        (site,) = home.glob("lib/python*/site-packages")
        if name not in PLAIN:
            for path in Path(sysconfig.get_path("purelib")).glob("nsbox[-.]*"):
                (shutil.copytree if path.is_dir() else shutil.copy)(path, site / path.name)
        pips[name] = subprocess.Popen(
            [sys.executable, "-m", "pip", "--python", home / "bin/python", "install", "--quiet",
             "--disable-pip-version-check", *wanted]
        )  # fmt: skip
    failed = [name for name, pip in pips.items() if pip.wait()]
    if failed:
        raise RuntimeError(f"pip could not install what these environments need: {', '.join(failed)}")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
