"""Processes of nsbox-init in a box, and the file of nsbox-init (the classes of CVE-2016-9962 and CVE-2019-5736).

A program in the box watches every process of nsbox-init: init, those that are about to become a program, and those that
enter from outside. None may be traced, read, or robbed of a descriptor, and none may show its file.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import nsbox

from tests.support.attack import PYTHON, Arrangement, achieved, program

ROUNDS = 30


def watched(arrangement: Arrangement, act: Callable[[nsbox.Box], object]) -> tuple[list[str], int]:
    """Return what the spy achieved while `act` ran again and again, and how many processes in their set-up it saw."""
    with nsbox.Box(**arrangement.options) as box:
        spy = box.Popen(
            [PYTHON, "-c", program("spy.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **arrangement.as_id,
        )  # fmt: skip
        assert spy.stdout is not None
        assert spy.stdout.readline() == "ready\n"
        for _ in range(ROUNDS):
            act(box)
        output, _ = spy.communicate()
    return achieved(output), int(output.split()[-1])


def test_programs_that_are_started(every_arrangement: Arrangement) -> None:
    """`Box.run`: the process between its clone and its exec."""
    # A look-up of many directories gives the spy time.
    environment = {"PATH": ":".join([*(f"/nowhere/{number}" for number in range(1500)), "/usr/bin", "/bin"])}

    def use() -> tuple[list[str], int]:
        return watched(every_arrangement, lambda box: box.run(["true"], env=environment, **every_arrangement.as_id))

    out, looked = every_arrangement(use)
    assert out == []
    assert looked > 0


def test_programs_that_enter(arrangement: Arrangement) -> None:
    """`enter`: nsbox-init comes from outside, joins the namespaces and becomes the program."""
    environment = {"PATH": ":".join([*(f"/nowhere/{number}" for number in range(1500)), "/usr/bin", "/bin"])}

    def use() -> tuple[list[str], int]:
        return watched(arrangement, lambda box: nsbox.enter(box, "mip", ["true"], env=environment, **arrangement.as_id))

    out, looked = arrangement(use)
    assert out == []
    assert looked > 0


def test_what_init_is_asked_for(every_arrangement: Arrangement) -> None:
    """The requests that init carries out itself."""

    def act(box: nsbox.Box) -> None:
        box.ps()
        box.mount_proc()
        box.open("/etc/passwd").close()
        assert box.hostname

    def use() -> list[str]:
        return watched(every_arrangement, act)[0]

    assert every_arrangement(use) == []


TRACE_INIT = """
import ctypes, os
PTRACE_SEIZE = 0x4206
if ctypes.CDLL(None).ptrace(PTRACE_SEIZE, 1, None, None) == 0:
    print("OUT traces init")
try:
    os.open("/proc/1/mem", os.O_RDWR)
    print("OUT has the memory of init")
except OSError:
    pass
"""


def test_a_program_that_is_its_own_interpreter(with_user_namespace: Arrangement, place: Path) -> None:
    """A script that begins with `#!/proc/self/exe` makes the starting process execute nsbox-init again.

    So the program gets at the file, as the owner of which it counts in a user namespace. It cannot write to it. If the
    file could be read, root of the next user namespace could trace its init: the file is made anew.
    """
    script = str(place / "script")

    def use() -> tuple[list[str], int]:
        _close_the_file()
        with nsbox.Box(**with_user_namespace.options) as box:
            attacker = box.Popen([PYTHON, "-c", program("image.py"), script], stdout=subprocess.PIPE, text=True)
            assert attacker.stdout is not None
            assert attacker.stdout.readline() == "ready\n"
            # It can be started after all that is written.
            while attacker.poll() is None:
                with suppress(OSError, subprocess.SubprocessError, nsbox.NsboxError):
                    box.run([script], timeout=0.05)
            output = attacker.communicate()[0]
            out = achieved(output)
            with nsbox.Box(**with_user_namespace.options) as other:
                out += with_user_namespace.attack_from(other, TRACE_INIT)
            out += with_user_namespace.attack(TRACE_INIT)
        return out, len(output.splitlines())

    out, tried = with_user_namespace(use)
    assert out == []
    assert tried > 0, "the program has not reached the file"


def _close_the_file() -> None:
    """Close the file of nsbox-init, which may be another user's, so that this process makes its own."""
    for number in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{number}"
        if os.path.islink(path) and "nsbox-init" in os.readlink(path):
            os.close(int(number))


WRITE_TO_THE_FILE = """
import os
for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
    if os.path.exists(f"/proc/{pid}/exe") or pid == 1:
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDONLY):
            try:
                fd = os.open(f"/proc/{pid}/exe", flags)
            except OSError:
                continue
            if flags & 3:
                print("OUT opened the file of process", pid, "for writing")
            elif "nsbox-init" in os.readlink(f"/proc/self/fd/{fd}"):
                print("OUT opened the file of nsbox-init")
            os.close(fd)
    try:
        os.chmod(f"/proc/{pid}/exe", 0o777)
        if pid == 1:
            print("OUT changed the mode of the file of nsbox-init")
    except OSError:
        pass
"""


def test_the_file_of_init(every_arrangement: Arrangement) -> None:
    """/proc/1/exe cannot be opened, neither for reading nor for writing."""
    safe = WRITE_TO_THE_FILE.replace(
        'for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]', "for pid in [1]"
    )
    assert every_arrangement(lambda: every_arrangement.attack(safe)) == []
