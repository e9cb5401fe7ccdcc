"""The program file of nsbox-init: a sealed memfd, or a nameless file where a memfd may not be executed."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
import sys
import threading

import nsbox
import pytest

from tests.support import seccomp
from tests.support.forked import USER, Who, in_child
from tests.support.needs import needs_root
from tests.support.seccomp import Deny
from tests.support.start import start

MFD_EXEC = 0x10


def _forget_image() -> None:
    """Close this process's descriptor of nsbox-init, so that the file must be created again."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if "memfd:nsbox-init" in os.readlink(f"/proc/self/fd/{name}"):
                os.close(int(name))
        except FileNotFoundError:
            continue


def _image() -> int:
    """Return the number of this process's descriptor of nsbox-init."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            if "memfd:nsbox-init" in os.readlink(f"/proc/self/fd/{name}"):
                return int(name)
    raise AssertionError("there is none")


def test_closed_by_another_thread(who: Who) -> None:
    """Another thread that replaces the descriptor at any moment causes neither an error nor another program."""

    def check() -> set[int]:
        ends = set()
        with open(os.devnull, "rb") as other:
            for _ in range(150):
                ends.add(nsbox.run(["true"], unshare="mi").returncode)
                image = _image()
                replace = threading.Timer(random.uniform(0, 5e-4), os.dup2, (other.fileno(), image))
                replace.start()
                ends.add(nsbox.run(["true"], unshare="mi").returncode)
                replace.join()
                os.close(image)
        return ends

    assert in_child(lambda: who(check)) == {0}


@needs_root
def test_it_is_a_sealed_memfd() -> None:
    """A process inside cannot change the program of the next box (fcntl(2), F_GET_SEALS)."""
    with nsbox.Popen(["sleep", "1000"], unshare="mi") as process:
        assert os.readlink(f"/proc/{process.init_pid}/exe") == "/memfd:nsbox-init (deleted)"
        # Write, shrink, grow, and seal.
        with open(f"/proc/{process.init_pid}/exe", "rb") as image:
            import fcntl

            assert fcntl.fcntl(image, fcntl.F_GET_SEALS) & 0xF == 0xF
        with pytest.raises(OSError, match=r"(?i)busy|not permitted"):
            os.open(f"/proc/{process.init_pid}/exe", os.O_WRONLY)
        process.kill()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
def test_nameless_file(who: Who, number: int) -> None:
    """If a memfd may not be executed, a file without a name is used."""

    def check() -> tuple[str, str]:
        _forget_image()
        seccomp.install(Deny("memfd_create", number, argument=1, bits=MFD_EXEC))
        with nsbox.Popen(["sleep", "1000"], unshare="mip") as process:
            image = os.readlink(f"/proc/{process.init_pid}/exe") if who.is_root else "/tmp (deleted)"
            process.kill()
        return start(unshare="mip", mount_proc=True).method, image

    method, image = in_child(lambda: who(check))
    assert method == "clone3"
    assert image.endswith("(deleted)")
    assert "memfd" not in image


@needs_root
def test_nameless_file_of_a_process_that_gives_up_its_rights() -> None:
    """The file created by root still works when the same process has changed its user."""

    def check() -> str:
        _forget_image()
        seccomp.install(Deny("memfd_create", errno.EACCES, argument=1, bits=MFD_EXEC))
        start(unshare="mip")
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        return start(unshare="mip").method

    assert in_child(check) == "clone3"


@needs_root
@pytest.mark.parametrize("level", [0, 1, 2])
def test_memfd_noexec(level: int) -> None:
    """A real setting: a PID namespace with a vm.memfd_noexec of its own (memfd_create(2))."""
    program = (
        f"open('/proc/sys/vm/memfd_noexec', 'w').write('{level}') if {level} else 0\n"
        "import nsbox\n"
        "print(nsbox.run(['sh', '-c', 'echo $$'], unshare='mip', mount_proc=True).returncode)\n"
    )
    result = nsbox.run(
        [sys.executable, "-W", "ignore", "-c", program],
        unshare="mip", mount_proc=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert result.stdout == "2\n0\n"


def test_no_memfd_at_all(who: Who) -> None:
    """Without memfd_create a plan of usual size works; a large one works, or the error says what is missing."""

    def check() -> tuple[int, object]:
        _forget_image()
        seccomp.install(Deny("memfd_create", errno.ENOSYS))
        usual = nsbox.run(["true"], unshare="mip").returncode
        try:
            return usual, nsbox.run(["true", "x" * 100_000], unshare="mip").returncode
        except OSError as error:
            return usual, "memfd_create" in str(error)

    usual, large = in_child(lambda: who(check))
    assert usual == 0
    assert large in (0, True)
