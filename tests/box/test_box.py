"""A box: programs in it, its settings, and its steps and events."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.census import wait_until
from tests.support.forked import Who, in_child
from tests.support.inside import LINKS, own_links
from tests.support.interrupt import interrupted
from tests.support.needs import needs, needs_root

ALL = tuple(LINKS)


def output(box: nsbox.Box, *command: str, **keywords: Any) -> str:
    """Return the output of a command in the box."""
    return str(box.run(command, capture_output=True, text=True, check=True, **keywords).stdout)


def links(box: nsbox.Box, kinds: tuple[str, ...] = ALL) -> dict[str, str]:
    """Return the namespaces of a process in the box."""
    return dict(
        zip(kinds, output(box, "readlink", *(f"/proc/self/ns/{LINKS[kind]}" for kind in kinds)).split(), strict=True)
    )


@pytest.mark.parametrize("kind", [*ALL, "all"])
def test_new_are_those_asked_for(who: Who, kind: str) -> None:
    """Only the namespaces asked for are new, and all programs in the box share them."""
    asked = set(ALL) if kind == "all" else {kind}
    needs(who, " ".join(asked))

    def both() -> tuple[dict[str, str], dict[str, str]]:
        with nsbox.Box(asked) as box:
            return links(box), links(box)

    first, second = who(both)
    outside = own_links()
    assert first == second
    assert {kind for kind in ALL if first[kind] != outside[kind]} == asked | (set() if who.is_root else {"user"})


def test_the_parent_is_pid_1(who: Who) -> None:
    """Programs are children of nsbox-init, which is PID 1; their PIDs follow."""

    def numbers() -> list[str]:
        with nsbox.Box("mip") as box:
            return [output(box, "sh", "-c", "echo $$ $PPID") for _ in range(3)]

    assert who(numbers) == ["2 1\n", "3 1\n", "4 1\n"]


def test_steps_of_the_exercise(who: Who) -> None:
    """Processes are counted before and after proc is mounted, in the same namespaces."""

    def counts() -> tuple[int, int, str]:
        with nsbox.Box("mip") as box:
            before = output(box, "ps", "-e").count("\n")
            step = box.mount_proc()
            return before, output(box, "ps", "-e").count("\n"), step.name

    before, after, name = who(counts)
    assert before > after == 3  # the heading, nsbox-init and ps
    assert name == "mount proc"


def test_names_and_limits(who: Who) -> None:
    """Host name, domain name and pid_max are read and set in the box, and nowhere else."""

    def change() -> list[Any]:
        with nsbox.Box("up", hostname="first") as box:
            seen = [box.hostname, box.domainname]
            box.hostname, box.domainname, box.pid_max = "second", "domain", 400
            return [*seen, box.hostname, output(box, "uname", "-n"), box.domainname, box.pid_max]

    outside = os.uname().nodename, Path("/proc/sys/kernel/pid_max").read_text()
    assert who(change)[2:] == ["second", "second\n", "domain", 400]
    assert (os.uname().nodename, Path("/proc/sys/kernel/pid_max").read_text()) == outside


def test_loopback(who: Who) -> None:
    """The loopback interface is up unless loopback=False, and can be brought up later."""
    needs(who, "net")

    def states() -> list[bool]:
        with nsbox.Box("n") as up, nsbox.Box("n", loopback=False) as down:
            seen = [up.loopback, down.loopback]
            down.loopback = True
            return [*seen, down.loopback]

    assert who(states) == [True, False, True]


def test_mounts_stay_in_the_box(who: Who, place: Path) -> None:
    """A mount in the box is seen by all programs in it, and not outside."""
    (place / "there").mkdir()
    os.chmod(place / "there", 0o777)

    def mount() -> tuple[str, str, bool]:
        with nsbox.Box("m") as box:
            box.mount("tmpfs", place / "there", "tmpfs", "nosuid,nodev")
            box.run(["touch", str(place / "there" / "file")], check=True)
            seen = output(box, "ls", str(place / "there"))
            box.unmount(place / "there")
            return seen, output(box, "ls", str(place / "there")), any((place / "there").iterdir())

    assert who(mount) == ("file\n", "", False)


def test_wrong_arguments_are_refused() -> None:
    """Each refusal names the argument, and nothing is done."""
    with nsbox.Box("i") as box:
        attempts: dict[str, Callable[[], object]] = {
            "mount_proc": box.mount_proc,
            "mount": lambda: box.mount("tmpfs", "/mnt", "tmpfs"),
            "unmount": lambda: box.unmount("/mnt"),
            "hostname": lambda: setattr(box, "hostname", "name"),
            "domainname": lambda: setattr(box, "domainname", "name"),
            "pid_max": lambda: setattr(box, "pid_max", 400),
            "loopback": lambda: setattr(box, "loopback", True),
            "unshare": lambda: box.run(["true"], unshare="p"),
            "spec": lambda: box.Popen(["true"], spec=nsbox.Spec()),
            "init": lambda: box.Box("p", init=False),
        }
        for argument, attempt in attempts.items():
            with pytest.raises(nsbox.SpecError, match=rf"^{argument}: "):
                attempt()
    with nsbox.Box("mnp") as box:
        attempts = {
            "flags": lambda: box.mount("tmpfs", "/mnt", "tmpfs", "wrong"),
            "target": lambda: box.mount_proc(""),
            "loopback": lambda: setattr(box, "loopback", False),
            "pid_max": lambda: setattr(box, "pid_max", "400"),
        }
        for argument, attempt in attempts.items():
            with pytest.raises(nsbox.SpecError, match=rf"^{argument}: "):
                attempt()
    wrong: dict[str, dict[str, Any]] = {"init": {"init": False}, "fork": {"fork": False}, "cwd": {"cwd": "a\0b"}}
    for argument, options in wrong.items():
        with pytest.raises(nsbox.SpecError, match=rf"^{'init' if argument == 'fork' else argument}: "):
            nsbox.Box(**options)
    with pytest.raises(nsbox.SpecError, match=r"^spec: "):
        nsbox.Box(spec=nsbox.Spec(), hostname="name")


def test_a_request_that_fails() -> None:
    """The error names the step and the call; the box can still be used, and the failure is among its steps."""
    with nsbox.Box("m") as box:
        with pytest.raises(nsbox.SpawnError) as caught:
            box.mount_proc("/does/not/exist")
        assert (caught.value.step, caught.value.errno) == ("mount proc", errno.ENOENT)
        assert "/does/not/exist" in caught.value.call
        assert box.run(["true"]).returncode == 0
        assert [(step.name, step.errno) for step in box.steps][-1] == ("mount proc", errno.ENOENT)


@needs_root
def test_steps() -> None:
    """The steps of the plan come first, with their durations, then those of requests."""
    with nsbox.Box("mu", mount_proc=True, hostname="box") as box:
        box.hostname = "other"
        names = [step.name for step in box.steps]
        assert names == ["clone", "exec init", "propagation", "hostname", "mount proc", "serve", "hostname"]
        timed = {step.name for step in box.steps if step.microseconds is not None}
        assert timed == {"propagation", "hostname", "mount proc"}
        assert all(0 <= step.microseconds < 10e6 for step in box.steps if step.microseconds is not None)
        assert str(box.steps[-1]).startswith('init     hostname         sethostname("other", 5) = 0 <')


def test_events() -> None:
    """Starts, ends, orphans and signals are recorded and numbered in the order in which they happened."""
    with nsbox.Box("p") as box:
        box.run(["sh", "-c", "setsid sleep 0.05 & exit 7"])
        os.kill(box.pid, 15)
        assert wait_until(lambda: len(box.events) == 4)
        events = box.events
        kinds = [event.kind for event in events]
        assert kinds[:2] == ["started", "exited"]
        assert sorted(kinds[2:]) == ["reaped", "signalled"]
        assert events[1].status == 7
        assert {event.status for event in events[2:]} == {0, 15}
        assert [event.number for event in events] == [0, 1, 2, 3]
        assert [event.time for event in events] == sorted(event.time for event in events)


def test_signals_to_init_have_no_effect() -> None:
    """PID 1 ends only by SIGKILL from outside (pid_namespaces(7))."""
    with nsbox.Box("p") as box:
        for number in (1, 2, 3, 10, 12, 15):
            os.kill(box.pid, number)
            box.run(["kill", f"-{number}", "1"], check=True)
        box.run(["kill", "-9", "1"], check=True)
        assert box.alive
        assert output(box, "sh", "-c", "echo $PPID") == "1\n"


def test_zombies_until_they_are_reaped(who: Who) -> None:
    """With reap=False orphans stay zombies; programs started on request are still reaped."""

    def states() -> list[int]:
        with nsbox.Box("pm", mount_proc=True, reap=False) as box:
            for _ in range(3):
                box.run(["sh", "-c", "true & exit"], check=True)

            def count() -> int:
                return output(box, "ps", "-eo", "stat").count("Z")

            wait_until(lambda: count() == 3)
            before = count()
            box.reap()
            after = count()
            box.run(["sh", "-c", "true & exit"], check=True)
            wait_until(lambda: count() == 1)
            return [before, after, count()]

    assert who(states) == [3, 0, 1]


def test_nesting(who: Who) -> None:
    """Boxes can be nested: a process in the innermost one has a PID in each PID namespace."""

    def nest() -> tuple[str, list[str], list[str]]:
        with (
            nsbox.Box("mp", mount_proc=True) as outer,
            outer.Box("mpu", mount_proc=True, hostname="middle") as middle,
            middle.Box("mpU", mount_proc=True) as inner,
            inner.Popen(["sleep", "1000"]) as process,
        ):
            status = Path(f"/proc/{process.pid}/status").read_text()
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            names = [output(box, "uname", "-n") for box in (middle, inner)]
            process.kill()
            process.wait()
            return output(inner, "ps", "-eo", "comm="), numbers, names

    processes, numbers, names = who(nest)
    assert processes.split() == ["nsbox-init", "ps"]
    assert len(numbers) == 4
    assert numbers[-1] == "2"
    assert names == ["middle\n", "middle\n"]


@pytest.mark.parametrize("outer", ["U", "Up", "Um", "i", "Ump"])
@pytest.mark.parametrize("inner", ["U", "Up", "Un"])
def test_user_namespace_inside(who: Who, outer: str, inner: str) -> None:
    """The outer init writes the maps through the existing /proc, as it often may not mount one."""

    def nest() -> tuple[str, list[str], int]:
        with nsbox.Box(outer) as first, first.Box(inner) as second:
            ids = Path(f"/proc/{second.pid}/uid_map").read_text().split()
            return output(second, "id", "-u"), ids, os.geteuid()

    seen, ids, uid = who(nest)
    assert seen == "0\n"
    assert ids == ["0", str(uid), "1"]


def test_nesting_is_limited(who: Who) -> None:
    """PID namespaces nest 32 deep (pid_namespaces(7)); all levels end with the outermost one."""

    def nest() -> tuple[int, int | None]:
        boxes = [nsbox.Box("p")]
        try:
            while True:
                boxes.append(boxes[-1].Box("p"))
        except nsbox.SpawnError as error:
            return len(boxes), error.errno
        finally:
            boxes[0].close()
            assert wait_until(lambda: not any(box.alive for box in boxes))

    depth, number = who(nest)
    assert 28 <= depth <= 32
    assert number == errno.ENOSPC


def test_the_contract_of_popen(who: Who) -> None:
    """Pipes, input, environment, directory, descriptors and exceptions are as in subprocess."""

    def use() -> list[Any]:
        with nsbox.Box("mip", cwd="/usr") as box:
            reader, writer = os.pipe()
            seen: list[Any] = [
                box.run(["cat"], input="text", capture_output=True, text=True).stdout,
                output(box, "pwd"),
                output(box, "pwd", cwd="/proc"),
                output(box, "sh", "-c", "echo $A", env={"A": "b", "PATH": os.environ["PATH"]}),
                output(box, "sh", "-c", f"echo passed > /dev/fd/{writer}", pass_fds=[writer])
                + os.read(reader, 100).decode(),
                box.run(["sh", "-c", "echo out; echo error >&2"], stdout=-1, stderr=-2, text=True).stdout,
                box.run("exit 3", shell=True).returncode,
                box.run(["sh", "-c", "kill -9 $$"]).returncode,
            ]
            os.close(reader)
            os.close(writer)
            with pytest.raises(FileNotFoundError) as missing:
                box.run(["/does-not-exist"], capture_output=True)
            with pytest.raises(FileNotFoundError) as nowhere:
                box.run(["true"], cwd="/does/not/exist")
            with pytest.raises(subprocess.CalledProcessError):
                box.run(["false"], check=True)
            with pytest.raises(subprocess.TimeoutExpired) as late:
                box.run(["sh", "-c", "echo early; sleep 60"], capture_output=True, timeout=1)
            return [*seen, missing.value.filename, nowhere.value.filename, late.value.output]

    assert who(use) == [
        "text", "/usr\n", "/proc\n", "b\n", "passed\n", "out\nerror\n", 3, -9,
        "/does-not-exist", "/does/not/exist", b"early\n",
    ]  # fmt: skip


DESCRIPTORS = """
import os, nsbox
for number in range(3, 40):
    os.dup2(0, number, inheritable=number == 11)
# ls has its own descriptor for the directory: the lowest free one.
command = ["sh", "-c", "ls -v /proc/self/fd | tr '\\n' ' '; echo"]
with nsbox.Box("mpi") as box:
    box.run(command)
    for options in {"pass_fds": (5, 6, 7, 8, 9, 10, 11)}, {"pass_fds": (4, 39)}, {"close_fds": False}:
        print(box.run(command, capture_output=True, text=True, **options).stdout, end="", flush=True)
    os.close(0)
    print(box.run(["ls", "-v", "/proc/self/fd"], capture_output=True, text=True).stdout.split())
"""


def test_descriptors_under_their_own_numbers() -> None:
    """Any numbers work, also those that nsbox-init uses, with stdin closed; no other descriptor is inherited."""
    result = subprocess.run([sys.executable, "-c", DESCRIPTORS], stdin=-3, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [
        "0 1 2 3 ",
        "0 1 2 3 5 6 7 8 9 10 11 ",
        "0 1 2 3 4 39 ",
        "0 1 2 3 11 ",
        "['0', '1', '2']",
    ]


def test_a_large_request(who: Who) -> None:
    """An environment that is too large for a message is sent in a file."""

    def large() -> int:
        with nsbox.Box("p") as box:
            env = os.environ | {f"LARGE_{number}": "x" * 100_000 for number in range(10)}
            return len(output(box, "sh", "-c", "echo $LARGE_7", env=env))

    assert who(large) == 100_001


def test_many_descriptors_are_refused_by_name() -> None:
    """More descriptors than a message can carry are refused by name."""
    with nsbox.Box("p") as box:
        fds = [os.dup(0) for _ in range(260)]
        try:
            with pytest.raises(nsbox.SpecError, match=r"^pass_fds: "):
                box.run(["true"], pass_fds=fds)
            with pytest.raises(nsbox.SpawnError, match="descriptor"):
                box.run(["true"], pass_fds=[10_000])
        finally:
            for fd in fds:
                os.close(fd)


def test_a_shell_in_a_box() -> None:
    """Several shells, one after another, are in the same namespaces."""
    with nsbox.Box("mipu") as box:
        with box.shell() as shell:
            assert shell.run("hostname other; echo $PPID").stdout == "1\n"
        with box.shell() as shell:
            assert shell.run("hostname").stdout == "other\n"
            assert shell.run("exit 3").returncode == 3
        assert box.alive


def test_many_threads(who: Who) -> None:
    """Eight threads send requests at once, and each gets its own replies."""

    def use(box: nsbox.Box, number: int) -> bool:
        for turn in range(12):
            answer = output(box, "echo", f"{number}.{turn}")
            status = box.run(["sh", "-c", f"exit {number + turn}"]).returncode
            if answer != f"{number}.{turn}\n" or status != number + turn:
                return False
        return True

    def all_of_them() -> list[bool]:
        with nsbox.Box("mip") as box, ThreadPoolExecutor(8) as pool:
            return list(pool.map(use, [box] * 8, range(8)))

    assert who(all_of_them) == [True] * 8


@needs_root
def test_repr_is_a_sentence() -> None:
    """The repr is a sentence: the box's namespaces, whose rights its programs have, and whether it runs."""
    box = nsbox.Box("mp")
    rights = "root inside is root outside: no new user namespace is between them"
    assert repr(box) == f"<nsbox.Box with new mount, pid namespaces; PID 1 is process {box.pid}; {rights}; alive>"
    box.close()
    assert repr(box).endswith("; ended with -9>")


def test_a_box_of_another_process() -> None:
    """After os.fork the child can neither use nor end its parent's box."""
    with nsbox.Box("p") as box:

        def child() -> str:
            with pytest.raises(nsbox.ClosedError, match=r"child of os\.fork"):
                box.run(["true"])
            box.close()
            return repr(box)

        assert "of another process" in in_child(child)
        assert box.run(["true"]).returncode == 0


def test_forgotten() -> None:
    """A box that is garbage-collected is ended, with a warning."""
    box = nsbox.Box("p")
    pid = box.pid
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del box
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert not Path(f"/proc/{pid}").exists()


def test_spec_pickles_and_serves() -> None:
    """A spec can be pickled, and the copy makes an equal box."""
    spec = pickle.loads(pickle.dumps(nsbox.Spec(unshare="u", hostname="far")))
    with nsbox.Box(spec=spec) as box:
        assert box.hostname == "far"


def test_without_a_pid_namespace(who: Who) -> None:
    """Without a PID namespace nsbox-init still adopts and ends what it has started."""

    def use() -> tuple[int, bool]:
        with nsbox.Box("mi") as box:
            process = box.Popen(["sh", "-c", "setsid sleep 1000 & echo; exec sleep 1000"], stdout=-1)
            assert process.stdout is not None
            process.stdout.readline()
            status = box.run(["sh", "-c", "exit 5"]).returncode
            pid = process.pid
        process.communicate()
        return status, Path(f"/proc/{pid}").exists()

    assert who(use) == (5, False)


def test_interrupted() -> None:
    """KeyboardInterrupt during run ends the program, and the box can still be used."""

    def check() -> list[Any]:
        with nsbox.Box("mp", mount_proc=True) as box:
            import signal

            signal.signal(signal.SIGINT, signal.default_int_handler)
            seen: list[Any] = []
            for keywords in ({}, {"capture_output": True}):
                before = time.monotonic()
                runs = lambda: "sleep" in output(box, "ps", "-eo", "comm=")  # noqa: E731
                with pytest.raises(KeyboardInterrupt), interrupted(runs):
                    box.run(["sleep", "1000"], **keywords)
                seen.append(time.monotonic() - before < 100)
                wait_until(lambda: "sleep" not in output(box, "ps", "-eo", "comm="))
                seen.append("sleep" in output(box, "ps", "-eo", "comm="))
            return seen

    assert in_child(check) == [True, False, True, False]


def test_busy_threads(who: Who, busy_threads: None) -> None:
    """It works in a process with busy threads."""
    with nsbox.Box("mip") as box:
        assert [box.run(["sh", "-c", f"exit {number}"]).returncode for number in range(20)] == list(range(20))


def test_a_thread_that_ended() -> None:
    """A box outlives the thread that has made it."""
    boxes: list[nsbox.Box] = []
    thread = threading.Thread(target=lambda: boxes.append(nsbox.Box("p")))
    thread.start()
    thread.join()
    time.sleep(0.1)
    with boxes.pop() as box:
        assert box.run(["true"]).returncode == 0
