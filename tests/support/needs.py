"""Whether this machine allows what a test needs, found out by trying it."""

from __future__ import annotations

import functools
import os

import nsbox
import pytest

from tests.support.forked import Who

__all__ = ["needs", "needs_root"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the tests do not run as root")
"""For tests that only root can run."""


def needs(who: Who, unshare: str) -> None:
    """Skip, with the reason, if `who` cannot create these namespaces; under CI fail instead."""
    if who.is_root and os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    reason = _refusal(who, unshare)
    if reason:
        message = f"{who.name} cannot make new namespaces {unshare!r}: {reason}"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{message} (skips are not allowed when CI=true)")
        pytest.skip(message)


@functools.cache
def _refusal(who: Who, unshare: str) -> str:
    try:
        who(lambda: nsbox.run(["true"], unshare=unshare, check=True))
    except nsbox.NsboxError as error:
        return str(error)
    except OSError as error:
        return f"this process cannot become that user: {error}"
    return ""
