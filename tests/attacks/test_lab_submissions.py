"""The hostile submissions of examples/lab, as programs with `harden`. tests/grading/test_labs.py grades them."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import nsbox
import pytest

from tests.support.attack import HARDENED, Arrangement
from tests.support.needs import needs

LAB = Path(__file__).parents[2] / "examples" / "lab" / "exercise" / "submissions"
HOSTILE = [
    "attacks", "cannot-be-interrupted", "daemon", "ends-pid-1", "fork-bomb", "hangs", "kills-everything", "kills-pid-1",
]  # fmt: skip
WAS_HERE = [Path(place, "nsbox-lab-was-here") for place in ("/tmp", "/dev/shm", "/")]


@pytest.mark.parametrize("arrangement", HARDENED, ids=lambda one: one.who.name)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(arrangement: Arrangement, name: str) -> None:
    """It ends by itself or at the timeout, and leaves nothing: no file, and no process (the census)."""
    needs(arrangement.who, "mip")
    text = (LAB / f"{name}.sh").read_text()

    def use() -> None:
        options = {**arrangement.options, "rlimits": {"nproc": 100}}
        with contextlib.suppress(subprocess.TimeoutExpired):
            nsbox.run(["bash"], input=text, text=True, stdout=-3, stderr=-3, timeout=2, **options)

    arrangement(use)
    assert not [path for path in WAS_HERE if path.exists()]
