"""Every step has a cause for each error number that it can give, or is listed as having none."""

from __future__ import annotations

from errno import EACCES, EMFILE, ENOMEM, ENOSYS, EPERM, errorcode

import pytest
from nsbox.diagnosis.causes import CAUSES, Cause, FailedStep, explain
from nsbox.diagnosis.evidence import Evidence
from nsbox.diagnosis.step_errors import STEP_ERRORS, WITHOUT_CAUSE
from nsbox.spec.step_names import STEP_NAMES, StepName

from tests.support.machines import ROOT, USER

pytestmark = pytest.mark.pure


def test_every_step_is_listed() -> None:
    """The table has all names of steps, and pages for all calls that can fail."""
    assert set(STEP_ERRORS) == set(STEP_NAMES)
    assert all(bool(errors.manual) == bool(errors.errnos) for errors in STEP_ERRORS.values())


@pytest.mark.parametrize("step", STEP_ERRORS)
def test_a_cause_or_none(step: StepName) -> None:
    """For each number a cause exists, or the list has the reason why there is none."""
    wrong = []
    for errno in STEP_ERRORS[step].errnos:
        causes = [cause.name for cause in CAUSES.values() if cause.concerns(step, errno)]
        if bool(causes) == ((step, errno) in WITHOUT_CAUSE):
            wrong.append((errorcode[errno], causes))
    assert not wrong


def test_the_list_has_nothing_else() -> None:
    """It has only numbers that the step can give, each with a reason."""
    assert all(errno in STEP_ERRORS[step].errnos for step, errno in WITHOUT_CAUSE)
    assert all(WITHOUT_CAUSE.values())


@pytest.mark.parametrize("cause", CAUSES.values(), ids=list(CAUSES))
def test_every_cause_can_occur(cause: Cause) -> None:
    """Each cause belongs to a number of a step."""
    assert any(cause.concerns(step, errno) for step, errors in STEP_ERRORS.items() for errno in errors.errnos)


@pytest.mark.parametrize("evidence", [ROOT, USER], ids=["root", "user"])
@pytest.mark.parametrize("step", STEP_ERRORS)
def test_refused(step: StepName, evidence: Evidence) -> None:
    """If a filter or a limit of the process refuses the step, the error has a cause and a remedy."""
    for errno in {EPERM, EACCES, ENOSYS, EMFILE, ENOMEM} & STEP_ERRORS[step].errnos:
        if (step, errno) not in WITHOUT_CAUSE:
            found = explain(FailedStep(errno, step), evidence)
            assert found.why, errorcode[errno]
            assert found.hint, errorcode[errno]
