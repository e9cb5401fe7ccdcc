"""Whether something can be started, found out by starting it: in a child that then exits, never in the caller."""

from __future__ import annotations

from typing import Unpack

from nsbox import _core
from nsbox.errors import SpawnError, UnsupportedError
from nsbox.records.diagnosis import Trial
from nsbox.spec.kinds import Namespaces
from nsbox.spec.spec import Options, Spec

__all__ = ["attempt"]

# A directory cannot be executed: so the last step fails with EACCES, after all steps that are to be tried.
_DIRECTORY_AS_PROGRAM = _core.Launch(paths=(b"/",), argv=(b"nothing",), env=())


def attempt(unshare: Namespaces, **options: Unpack[Options]) -> Trial:
    """Set up new namespaces as for a program, without starting one.

    Args:
        unshare: The new namespaces.
        **options: Further options of `Spec`.

    Raises:
        SpecError: for options that contradict each other.
    """
    spec = Spec(unshare=unshare, **options)
    try:
        _core.spawn(_core.compile(spec, _DIRECTORY_AS_PROGRAM, _core.facts())).kill()
    except UnsupportedError as error:
        return Trial(False, why=str(error))
    except SpawnError as error:
        if (error.actor, error.step) == ("payload", "exec"):
            return Trial(True)
        why = ": ".join(filter(None, (error.strerror, error.evidence)))
        return Trial(False, error.step, error.cause, why, error.hint)
    return Trial(True)
