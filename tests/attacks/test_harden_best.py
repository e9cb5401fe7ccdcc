"""A machine that lacks a part of `harden`: an error that names it, or with ``"best"`` a plan that names it."""

from __future__ import annotations

from collections.abc import Callable
from errno import ENOSYS, EPERM

import nsbox
import pytest
from nsbox.diagnosis.parts import try_part
from nsbox.start.launch import Launch, plan_for

from tests.support import seccomp
from tests.support.forked import Who, in_child
from tests.support.needs import needs
from tests.support.seccomp import Deny

PR_CAPBSET_DROP = 24
TRUE = Launch(paths=(b"/bin/true",), argv=(b"true",))

LACKING = {
    "keyring": (Deny("keyctl", ENOSYS), "session keyring"),
    "keyring, by a container": (Deny("keyctl", EPERM), "session keyring"),
    "landlock": (Deny("landlock_create_ruleset", ENOSYS), "landlock"),
    "seccomp": (Deny("seccomp", ENOSYS), "seccomp"),
    "drop_capabilities": (Deny("prctl", EPERM, argument=0, equals=PR_CAPBSET_DROP), "lock capabilities"),
}


@pytest.fixture
def anyone(who: Who) -> Who:
    """Run the test as root and as an ordinary user, with all that `harden` takes."""
    needs(who, "mipUnC")
    return who


def _on(who: Who, rule: Deny, work: Callable[[], str]) -> str:
    """Return what `work` returns, where the kernel lacks something."""

    def child() -> str:
        seccomp.install(rule)
        return work()

    return in_child(lambda: who(lambda: in_child(child)))


@pytest.mark.parametrize("case", LACKING)
def test_refused(anyone: Who, case: str) -> None:
    """With True the step fails that the machine lacks, and the error names the option and what to do."""
    rule, step = LACKING[case]
    part = case.split(",", maxsplit=1)[0]

    def work() -> str:
        with pytest.raises(nsbox.SpawnError) as caught:
            nsbox.run(["true"], harden=True, cwd="/")
        return f"{caught.value.step}|{caught.value.cause}|{caught.value.hint}"

    found, cause, hint = _on(anyone, rule, work).split("|")
    assert (found, cause) == (step, "part-missing")
    assert f"{part}=False" in hint


@pytest.mark.parametrize("case", LACKING)
def test_left_out(anyone: Who, case: str) -> None:
    """With "best" the part is left out, the plan names it with the reason, and the program runs."""
    rule, step = LACKING[case]
    part = case.split(",", maxsplit=1)[0]

    def work() -> str:
        with nsbox.Popen(["true"], harden="best", cwd="/") as process:
            names = [name for name, _ in process.plan.left_out]
            assert process.wait() == 0
        return f"{','.join(names)}|{process.plan}"

    left_out, plan = _on(anyone, rule, work).split("|", 1)
    assert part in left_out.split(",")
    assert f"    {part} is left out: {step}: " in plan
    assert step not in [line.split()[2] for line in plan.splitlines() if line[:2].strip().isdigit()]


def test_nothing_is_left_out_here(anyone: Who) -> None:
    """On this kernel "best" is the same as True."""

    def work() -> tuple[object, list[str], list[str]]:
        best, whole = (plan_for(nsbox.Spec(harden=harden), TRUE) for harden in ("best", True))
        return best.left_out, [step.name for step in best.steps], [step.name for step in whole.steps]

    left_out, best, whole = anyone(work)
    assert left_out == []
    assert best == whole


def test_doctor(anyone: Who) -> None:
    """The doctor names the part that this machine lacks, and tries each in a child."""

    def work() -> str:
        return "\n".join(f"{answer.verdict} {answer.answer}" for answer in nsbox.doctor().answers)

    found = _on(anyone, LACKING["landlock"][0], work)
    assert "problem landlock does not: " in found
    assert anyone(lambda: try_part("landlock").works)
