"""Under a seccomp filter that kills, as systemd's SystemCallFilter= does, the caller lives, and the step is named."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import nsbox
import pytest
from nsbox import _core
from nsbox.diagnosis import evidence

from tests.support.forked import Who, in_child
from tests.support.seccomp import Kill, install

USES: dict[str, Callable[..., Any]] = {
    "run": lambda **options: nsbox.run(["true"], **options),
    "run with pipes": lambda **options: nsbox.run(["true"], capture_output=True, **options),
    "call": lambda **options: nsbox.call(["true"], **options),
    "Popen": lambda **options: nsbox.Popen(["true"], **options).wait(),
    "box": lambda start_new_session=False, **options: nsbox.Box(**options),
    "run in a box": lambda **options: in_box(lambda box: box.run(["true"], **options)),
    "pipes in a box": lambda **options: in_box(lambda box: box.run(["true"], capture_output=True, **options)),
}


def in_box(use: Callable[[nsbox.Box], object]) -> None:
    """Use a box that needs no mount."""
    with nsbox.Box("p") as box:
        use(box)


def failure(who: Who, calls: str, use: Callable[[], object]) -> tuple[str, str, str] | None:
    """Return step, actor and cause of the error with a filter that kills for these calls."""

    def filtered() -> tuple[str, str, str] | None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        install(*map(Kill, calls.split()))
        try:
            use()
        except nsbox.SpawnError as error:
            return error.step, error.actor, error.cause
        return None

    return who(lambda: in_child(filtered))


@pytest.mark.parametrize("use", ["run", "run with pipes", "box"])
@pytest.mark.parametrize(("call", "step"), [("mount", "propagation"), ("execveat", "exec init")])
def test_init_is_killed(who: Who, use: str, call: str, step: str) -> None:
    """The error names the step, and not a return code of a program that was never started."""
    actor = "caller" if step == "exec init" else "init"
    assert failure(who, call, lambda: USES[use](unshare="mip")) == (step, actor, "seccomp-kill")


@pytest.mark.parametrize("use", ["run", "run with pipes", "run in a box", "pipes in a box", "call", "Popen"])
@pytest.mark.parametrize(("call", "step"), [("setsid", "setsid"), ("execve", "exec")])
def test_the_payload_is_killed_in_its_set_up(who: Who, use: str, call: str, step: str) -> None:
    """The same for a step of the payload's process, and for its exec."""
    found = failure(who, call, lambda: USES[use](start_new_session=True))
    # For a program that cannot be executed no cause is looked for, as subprocess has errors for that.
    assert found == (step, "payload", "" if step == "exec" else "seccomp-kill")


def test_told_once(who: Who) -> None:
    """A wait after the error returns the return code, and so does `poll`."""

    def use() -> list[int | None]:
        install(Kill("execve"))
        process = nsbox.Popen(["true"])
        with pytest.raises(nsbox.SpawnError):
            process.wait()
        return [process.wait(), process.poll(), process.returncode]

    assert who(lambda: in_child(use)) == [-31] * 3


def test_a_request_kills_init(who: Who) -> None:
    """A request for which init is killed is an error with the step, and not only a box that has ended."""

    def change() -> None:
        with nsbox.Box("pm", propagation="unchanged") as box:
            box.mount_proc()

    def inside() -> None:
        in_box(lambda box: box.Box("mip"))

    assert failure(who, "mount", change) == ("mount proc", "init", "seccomp-kill")
    assert failure(who, "mount", inside) == ("propagation", "init", "seccomp-kill")


def test_the_programs_own_end(who: Who) -> None:
    """A program that ends by SIGSYS has run: that is its return code."""
    command = ["sh", "-c", "kill -SYS $$"]
    assert who(lambda: (nsbox.run(command).returncode, nsbox.run(command, capture_output=True).returncode)) == (
        -31,
        -31,
    )


@pytest.mark.parametrize(
    "calls", ["mount", "unshare setns", "execveat", "clone3", "landlock_create_ruleset", "mount unshare setns"]
)
def test_doctor_lives(who: Who, calls: str) -> None:
    """The doctor and the evidence of errors try calls in a child: the caller lives, and the diagnosis is made."""

    def filtered() -> tuple[bool, bool]:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        install(*map(Kill, calls.split()))
        if calls == "clone3":
            # The doctor also starts a program, and no call can be made in its place.
            return set(evidence.gather().killed) == {"clone3"}, True
        found = nsbox.doctor()
        killed = set(evidence.gather().killed)
        return killed == set(calls.split()) - {"landlock_create_ruleset"}, len(str(found)) > 0

    assert who(lambda: in_child(filtered)) == (True, True)


def test_the_trial_changes_nothing() -> None:
    """Without a filter the calls have the results of the kernel."""
    found = _core.probe()
    assert (found.unshare, found.setns, found.clone3, found.mount, found.execveat) == (0, 9, 22, 14, 14)
    assert (found.clone_refused, found.killed, found.landlock) == ([], [], 0)
