"""Nothing of a hardened box runs unhardened, whichever way it is started."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import nsbox
import pytest

from tests.support.attack import PYTHON
from tests.support.far import apart
from tests.support.forked import Who, in_child
from tests.support.needs import needs, needs_root
from tests.support.reachable import become_reachable

STATUS = """
import os
fields = dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(int(fields["CapEff"], 16), int(fields["CapBnd"], 16), fields["NoNewPrivs"], fields["Seccomp"])
"""
HELD = ["0 0 1 2"]


@pytest.fixture
def anyone(who: Who) -> Who:
    """Run the test as root and as an ordinary user, with all that `harden` takes."""
    needs(who, "mipUnC")
    return who


def _run() -> str:
    return str(nsbox.run([PYTHON, "-c", STATUS], harden=True, capture_output=True, text=True, cwd="/").stdout)


def _popen() -> str:
    with nsbox.Popen([PYTHON, "-c", STATUS], harden=True, stdout=nsbox.PIPE, text=True, cwd="/") as process:
        return str(process.communicate()[0])


def _box_run() -> str:
    with nsbox.Box(harden=True, cwd="/") as box:
        return str(box.run([PYTHON, "-c", STATUS], capture_output=True, text=True).stdout)


def _box_popen() -> str:
    with nsbox.Box(harden=True, cwd="/") as box, box.Popen([PYTHON, "-c", STATUS], stdout=nsbox.PIPE, text=True) as one:
        return str(one.communicate()[0])


def _box_shell() -> str:
    with nsbox.Box(harden=True, cwd="/") as box, box.shell("/bin/bash", cwd="/") as shell:
        return shell.run(f"{PYTHON} -c '{STATUS}'").stdout


def _shell() -> str:
    with nsbox.Shell(harden=True, shell="/bin/bash", cwd="/") as shell:
        return shell.run(f"{PYTHON} -c '{STATUS}'").stdout


def _nested() -> str:
    with nsbox.Box(harden=True, cwd="/") as box, box.Box("m", cwd="/") as inner:
        return str(inner.run([PYTHON, "-c", STATUS], capture_output=True, text=True).stdout)


def _nested_user() -> str:
    with nsbox.Box(harden=True, cwd="/") as box, box.Box("mU", cwd="/") as inner:
        return str(inner.run([PYTHON, "-c", STATUS], capture_output=True, text=True).stdout)


def _enter() -> str:
    with nsbox.Box(harden=True, cwd="/") as box:
        return str(nsbox.enter(box, None, [PYTHON, "-c", STATUS], capture_output=True, text=True).stdout)


def _join() -> str:
    argv = [PYTHON, "-c", STATUS]
    with (
        nsbox.Box(harden=True, cwd="/") as box,
        nsbox.Popen(argv, unshare="", join=box, stdout=nsbox.PIPE, text=True) as process,
    ):
        return str(process.communicate()[0])


def _asyncio() -> str:
    async def work() -> str:
        process = await nsbox.create_subprocess_exec(
            PYTHON, "-c", STATUS, harden=True, stdout=asyncio.subprocess.PIPE, cwd="/"
        )
        return (await process.communicate())[0].decode()

    return asyncio.run(work())


WAYS: dict[str, Callable[[], str]] = {
    "run": _run,
    "Popen": _popen,
    "Box.run": _box_run,
    "Box.Popen": _box_popen,
    "Box.shell": _box_shell,
    "Shell": _shell,
    "Box.Box": _nested,
    "Box.Box, user": _nested_user,
    "enter": _enter,
    "join": _join,
    "asyncio": _asyncio,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_held(anyone: Who, way: Callable[[], str]) -> None:
    """No capability, an empty bounding set, no_new_privs, and a filter."""
    assert anyone(way).split("\n")[0].strip() == HELD[0]


T = TypeVar("T")


def reachable(who: Who, place: Path, work: Callable[[], T]) -> T:
    """Return what `work` returns, where Python is in a directory that a private id can reach."""

    def as_root() -> T:
        become_reachable(place)
        return work()

    return in_child(as_root) if who.is_root else apart(who, place, work)


def _status() -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return f"{int(fields['CapEff'], 16)} {int(fields['CapBnd'], 16)} {fields['NoNewPrivs']} {fields['Seccomp']}"


def test_call(who: Who, place: Path) -> None:
    """A function runs in a hardened worker."""
    needs(who, "mipUnC")

    def work() -> str:
        with nsbox.Box(harden=True, cwd="/") as box:
            return box.call(_status)

    assert reachable(who, place, work) == HELD[0]


def _limits() -> tuple[int, int]:
    import resource

    return resource.getrlimit(resource.RLIMIT_NPROC)


def test_executor(who: Who, place: Path) -> None:
    """A task of an executor is hardened, too."""
    needs(who, "mipUnC")

    def work() -> tuple[str, tuple[int, int]]:
        with nsbox.Executor(1, harden=True) as executor:
            return executor.submit(_status).result(), executor.submit(_limits).result()

    assert reachable(who, place, work) == (HELD[0], (1024, 1024))


def test_command_line(who: Who, place: Path) -> None:
    """`nsbox run --harden` holds the program, too."""
    needs(who, "mipUnC")
    command = [sys.executable, "-m", "nsbox", "run", "--harden", PYTHON, "-c", STATUS]

    def work() -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout

    assert reachable(who, place, work).strip() == HELD[0]


MARKED = """
import pytest

@pytest.mark.unshare(harden=True)
def test_held():
    with open("/proc/self/status") as file:
        lines = dict(line.rstrip("\\n").split(":\\t", 1) for line in file if ":\\t" in line)
    assert int(lines["CapBnd"], 16) == 0
    assert (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "2")
"""


def test_marked_test() -> None:
    """A test with the marker runs hardened, too."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="nsbox-test-") as directory:
        Path(directory).chmod(0o755)
        Path(directory, "test_marked.py").write_text(MARKED)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=directory)
    assert "1 passed" in done.stdout, done.stdout


def test_join_is_refused() -> None:
    """A program cannot be put beside a hardened one without its parts."""
    with pytest.raises(nsbox.SpecError, match="join"):
        nsbox.run(["true"], harden=True, join=1)


PROGRAMS = {
    "pipelines": "printf 'b\\na\\nb\\n' | sort | uniq -c | tr -s ' ' | cut -d' ' -f3 | paste -sd,",
    "jobs": "sleep 0 & wait $!; (exit 3); echo $?",
    "ps": "ps -e | grep -c nsbox-init",
    "files": "cd /tmp && mkdir a b && echo x > a/f && mv a/f b/g && ln -s g b/h && cat b/h && tar cf t b && rm -r a b",
    "here-document": "cat <(echo y) <<< x",
    "gcc": "cd /tmp && echo 'int main(){return 7;}' > a.c && gcc a.c -o a && ./a; echo $?",
    "git": "cd /tmp && export HOME=/tmp && git init -q r && cd r && git config user.email a@b && git config user.name a"
    " && echo 1 > f && git add f && git commit -qm one && git log --oneline | wc -l",
    "threads": f"{PYTHON} -c 'import threading; t = threading.Thread(target=print, args=(5,)); t.start(); t.join()'",
    "subprocess": f'{PYTHON} -c \'import subprocess; print(subprocess.run(["echo", "6"]).returncode)\'',
    "multiprocessing": f"{PYTHON} -c 'import multiprocessing as m; p = m.Pool(2); print(p.map(abs, [-8]))'",
    "asyncio": f"{PYTHON} -c 'import asyncio; print(asyncio.run(asyncio.sleep(0, 9)))'",
    "sockets": f'{PYTHON} -c \'import socket; s = socket.create_server(("127.0.0.1", 0)); '
    "c = socket.create_connection(s.getsockname()); print(10)'",
    "pty": f"{PYTHON} -c 'import pty; print(pty.spawn([\"true\"]))'",
    "shared memory": f"{PYTHON} -c 'from multiprocessing import shared_memory as s; m = s.SharedMemory(create=True, "
    "size=9); m.close(); m.unlink(); print(11)'",
}
EXPECTED = {
    "pipelines": "a,b", "jobs": "3", "ps": "1", "files": "x", "here-document": "y", "gcc": "7", "git": "1",
    "threads": "5", "subprocess": "6\n0", "multiprocessing": "[8]", "asyncio": "9", "sockets": "10", "pty": "0",
    "shared memory": "11",
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_ordinary_programs(anyone: Who, name: str) -> None:
    """Ordinary programs work in a hardened box."""
    script = ["/bin/bash", "-c", PROGRAMS[name]]
    done = anyone(lambda: nsbox.run(script, harden=True, capture_output=True, text=True, cwd="/", timeout=60))
    assert (done.stdout.strip(), done.stderr) == (EXPECTED[name], "")


def test_a_part_cannot_be_switched_off_by_entering(anyone: Who) -> None:
    """A program that joins a hardened box keeps the parts of that box."""

    def work() -> str:
        with nsbox.Box(harden=True, cwd="/") as box, pytest.raises(nsbox.SpecError) as refused:
            nsbox.enter(box, None, ["true"], seccomp=False)
        return str(refused.value)

    assert anyone(work).startswith("seccomp: ")


@needs_root
def test_trust_enters_without_the_parts() -> None:
    """With ``trust=True`` a program has the caller's rights in the namespace that it joins."""
    with nsbox.Box(harden=True, cwd="/") as box:
        trusted = nsbox.enter(box, "net", [PYTHON, "-c", STATUS], trust=True, capture_output=True, text=True)
    assert trusted.stdout.split()[2:] == ["0", "0"]
