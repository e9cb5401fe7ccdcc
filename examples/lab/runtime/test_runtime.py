"""Grade a container runtime by what the kernel shows of the program that it has started."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest
from nsbox.grading import State, Submission, differences, state_of

ROOT = "/tmp/rootfs"
PROGRAMS = ("/bin/sh", "/bin/sleep", "/bin/cat", "/bin/mount", "/bin/umount")
PAYLOAD = ("/bin/sleep", "86421")
MODEL = State(
    namespaces={"pid", "mount", "ipc", "uts", "net"}, pid=1, comm="sleep", hostname="container",
    new_root=True, outside=False, proc=True,
)  # fmt: skip
"""The state that the model answers bring about."""


@dataclass(frozen=True)
class Container:
    """What the runtime of a submission has started."""

    submission: Submission
    command: tuple[str, ...]
    state: State | None
    problem: str

    def must_have(self, model: State) -> None:
        """Fail the test if the program is not in this state, with the sentence that names the missing step."""
        __tracebackhide__ = True
        missing = [self.problem] if self.state is None else differences(self.state, model)
        if missing:
            pytest.fail(missing[0])


@pytest.fixture(scope="module")
def container(open_submission: Callable[..., AbstractContextManager[Submission]]) -> Iterator[Container]:
    """Build the runtime, and let it start a program that does not end."""
    with open_submission(namespaces=True, seconds=20) as submission:
        make_root(submission)
        command = build(submission)
        if not command:
            pytest.fail("there is no runtime.c, runtime.py or runtime.sh", pytrace=False)
        with submission.start([*command, ROOT, *PAYLOAD]) as runtime:
            state, problem = None, ""
            try:
                state = state_of(submission.find(*PAYLOAD, seconds=15), submission.box)
            except AssertionError as error:
                problem = str(error)
            yield Container(submission, command, state, problem)
            runtime.kill()


def make_root(submission: Submission) -> None:
    """Make a root directory in the sandbox: a few programs of this machine, and the libraries that they need."""
    found = subprocess.run(["ldd", *PROGRAMS], capture_output=True, text=True, check=True).stdout
    libraries = set(re.findall(r"(?<!:)(/[^\s:()]+)(?: \(|$)", found, re.MULTILINE))
    script = 'mkdir -p "$0/proc" "$0/old" "$0/tmp" && exec cp -L --parents "$@" "$0"'
    submission.box.run(["sh", "-c", script, ROOT, *PROGRAMS, *sorted(libraries)], check=True)


def build(submission: Submission) -> tuple[str, ...]:
    """Return the command of the runtime, which may have to be compiled."""
    names = {path.name for path in submission.source.iterdir()}
    if "runtime.c" in names:
        built = submission.run(["cc", "-O1", "-o", "runtime", "runtime.c"])
        if not built.ok:
            pytest.fail(f"runtime.c cannot be compiled:\n{built.stderr}", pytrace=False)
        return ("./runtime",)
    return ("python3", "runtime.py") if "runtime.py" in names else ("bash", "runtime.sh") * ("runtime.sh" in names)


@pytest.mark.points(1)
@pytest.mark.parametrize("kind", sorted(MODEL.namespaces or ()))
def test_new_namespaces(container: Container, kind: str) -> None:
    """The program is in a new namespace of this kind."""
    container.must_have(State(namespaces={kind}))


@pytest.mark.points(3)
@pytest.mark.requires("test_new_namespaces[pid]")
def test_is_pid_1(container: Container) -> None:
    """The program itself is PID 1."""
    container.must_have(State(pid=MODEL.pid, comm=MODEL.comm))


@pytest.mark.points(2)
@pytest.mark.requires("test_new_namespaces[uts]")
def test_hostname(container: Container) -> None:
    """The host name is another one, and only for the program."""
    container.must_have(State(hostname=MODEL.hostname))
    assert container.submission.box.hostname == "lab"


@pytest.mark.points(3)
@pytest.mark.requires("test_new_namespaces[mount]")
def test_root(container: Container) -> None:
    """The root directory is the one that was given, by pivot_root."""
    container.must_have(State(new_root=True))


@pytest.mark.points(2)
@pytest.mark.requires("test_root")
def test_old_root_is_gone(container: Container) -> None:
    """No mount of the machine is left below the new root."""
    container.must_have(State(outside=False))


@pytest.mark.points(3)
@pytest.mark.requires("test_new_namespaces[pid]", "test_new_namespaces[mount]")
def test_proc(container: Container) -> None:
    """/proc shows the new PID namespace."""
    container.must_have(State(proc=True))


@pytest.mark.points(1)
@pytest.mark.requires("test_new_namespaces[pid]", "test_new_namespaces[mount]")
def test_machine_is_unchanged(container: Container) -> None:
    """Nothing is mounted outside of the container."""
    assert not container.submission.mounts_added()


@pytest.mark.points(1)
@pytest.mark.requires("test_new_namespaces[pid]")
def test_exit_status(container: Container) -> None:
    """The runtime exits with the status of the program."""
    done = container.submission.run([*container.command, ROOT, "/bin/sh", "-c", "exit 42"])
    assert done.returncode == 42, done
