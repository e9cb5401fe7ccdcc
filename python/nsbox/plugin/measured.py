"""What coverage.py has measured in the process of a marked test: `save_coverage`."""

from __future__ import annotations

import sys
import warnings

__all__ = ["save_coverage"]


def save_coverage() -> None:
    """Write what was measured in this child of os.fork to a file of its own, if coverage.py is measuring.

    coverage.py gives each process its own file, and pytest-cov and ``coverage combine`` add them up. It writes at the
    exit of the interpreter, which this process does not have.
    """
    coverage = sys.modules.get("coverage")
    measured = coverage and coverage.Coverage.current()
    if not measured:
        return
    try:
        measured.stop()
        measured.save()
    except Exception as error:
        # The directory may not be there for the test, or not be writable.
        warnings.warn(f"nsbox: what was measured in the test was not saved: {error}", stacklevel=2)
