"""Cgroups of one's own: which processes are in them, that they are removed after every way of ending, and refusals.

Where the machine enables memory, pids or cpu for children in version 2, the limits are tested too; where it does
not, the refusal is tested.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import nsbox
import pytest
from nsbox import Box, Limits, _core
from nsbox.start import cgroup as places

from tests.support.callers import caller, survivors
from tests.support.census import reap_adopted, wait_until
from tests.support.forked import USER, Who, in_child

T = TypeVar("T")

ARRANGEMENTS: dict[str, dict[str, Any]] = {
    "init": {"unshare": "mip"},
    "no pid": {"unshare": ""},
    "cgroup": {"unshare": "mipC"},
    "time": {"unshare": "mipT"},
    "users": {"unshare": "Umip"},
    "no init": {"unshare": "mip", "init": False},
    "no fork": {"unshare": "m", "fork": False},
}


@pytest.fixture
def ground() -> Iterator[Path]:
    """Return a cgroup that is delegated to the test user. In the end all cgroups below it must be removed."""
    hierarchy = places.Hierarchy.read()
    try:
        try:
            top = Path(hierarchy.place(frozenset({"memory", "pids", "cpu"})))
        except nsbox.UnsupportedError:
            top = Path(hierarchy.place(frozenset()))
    except nsbox.UnsupportedError as error:
        pytest.skip(str(error))
    path = Path(tempfile.mkdtemp(prefix="test-", dir=top))
    (path / "own").mkdir()
    for directory in (path, path / "own"):
        for file in (directory, directory / "cgroup.procs", directory / "cgroup.subtree_control"):
            os.chown(file, USER, USER)
    try:
        yield path
        assert _left(path) == []
    finally:
        for name in _left(path):
            (path / name / "cgroup.kill").write_text("1")
            _remove(path / name)
        _remove(path / "own")
        _remove(path)


def _remove(path: Path) -> None:
    """Remove a cgroup when no process is in it. An attack of a test beside this one may pass through any cgroup."""

    def removed() -> bool:
        with contextlib.suppress(OSError):
            path.rmdir()
        return not path.exists()

    assert wait_until(removed), (path / "cgroup.procs").read_text()


def _left(path: Path) -> list[str]:
    return [entry.name for entry in path.iterdir() if entry.is_dir() and entry.name != "own"]


def beside() -> None:
    """Create cgroups beside the caller's own one, as nsbox does where that enables nothing for children."""
    original = places.Hierarchy.place

    def place(self: places.Hierarchy, needed: frozenset[str]) -> str:
        return original(self, needed).removesuffix("/own")

    places.Hierarchy.place = place  # type: ignore[method-assign]


def there(who: Who, ground: Path, function: Callable[[], T]) -> T:
    """Return what `function` returns in a child that lives in a cgroup of its own, and creates others beside it."""

    def enter() -> T:
        (ground / "own" / "cgroup.procs").write_text("0")
        beside()
        return who(function)

    return in_child(enter)


def where(*lines: str) -> list[str]:
    """Return the names of the cgroups in the lines for version 2 of /proc/PID/cgroup."""
    return [line.rpartition("/")[2] for line in lines if line.startswith("0::")]


def reported(**options: Any) -> list[str]:
    """Return the cgroups of a program and of its child, as seen from the machine."""
    command = ["sh", "-c", "cat /proc/self/cgroup; sh -c 'cat /proc/self/cgroup; :'"]
    text = nsbox.run(command, stdout=subprocess.PIPE, text=True, check=True, limits={}, **options).stdout
    return where(*text.splitlines())


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_program_and_children(who: Who, ground: Path, arrangement: str) -> None:
    """The program and its children are in a new cgroup; the caller and nsbox-init are not."""
    options = ARRANGEMENTS[arrangement]

    def check() -> tuple[list[str], list[str], list[str]]:
        seen = reported(**options)
        with nsbox.Popen(["sleep", "50"], limits=Limits(), **options) as process:
            files = [Path(f"/proc/{pid}/cgroup").read_text() for pid in (process.init_pid, process.pid)]
            process.kill()
        return seen, where(*Path("/proc/self/cgroup").read_text().splitlines()), where(*"".join(files).splitlines())

    seen, own, both = there(who, ground, check)
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert seen[0].startswith("nsbox-")
    assert own == ["own"]
    assert both[0] == "own"
    assert both[1].startswith("nsbox-")


def test_a_box_and_all_boxes_in_it(who: Who, ground: Path) -> None:
    """All that is started in a box is in one cgroup."""

    def check() -> list[str]:
        read = ["cat", "/proc/self/cgroup"]
        with Box("mip", limits={}, mount_proc=True) as box, box.Box("mip") as inner:
            texts = [one.run(read, stdout=subprocess.PIPE, text=True).stdout for one in (box, box, inner)]
            with pytest.raises(nsbox.SpecError, match=r"^limits: "):
                box.Box("mip", limits={})
            box.run(["sh", "-c", "setsid sleep 50 &"])
        return where(*"".join(texts).splitlines())

    seen = there(who, ground, check)
    assert len(seen) == 3
    assert len(set(seen)) == 1


ENDINGS: dict[str, Callable[..., object]] = {}


def ending(function: Callable[..., object]) -> Callable[..., object]:
    ENDINGS[function.__name__.strip("_")] = function
    return function


@ending
def _by_itself(**options: Any) -> None:
    assert nsbox.run(["true"], limits={}, **options).returncode == 0
    assert nsbox.run(["false"], capture_output=True, limits={}, **options).returncode == 1


@ending
def _with_daemons(**options: Any) -> None:
    nsbox.run(
        ["sh", "-c", "setsid sleep 50 > /dev/null 2>&1 & setsid sleep 50 > /dev/null 2>&1 &"], limits={}, **options
    )


@ending
def _killed(**options: Any) -> None:
    with nsbox.Popen(["sh", "-c", "setsid sleep 50 & sleep 50"], limits={}, **options) as process:
        process.kill()


@ending
def _timed_out(**options: Any) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        nsbox.run(["sleep", "50"], timeout=0.05, limits={}, **options)


@ending
def _init_killed(**options: Any) -> None:
    with nsbox.Popen(["sh", "-c", "sleep 50 & sleep 50"], limits={}, **options) as process:
        os.kill(process.init_pid, signal.SIGKILL)


@ending
def _forgotten(**options: Any) -> None:
    nsbox.fork_exec(["sleep", "50"], limits={}, **options)


@ending
def _no_program(**options: Any) -> None:
    with pytest.raises(FileNotFoundError):
        nsbox.run(["/nonexistent"], limits={}, **options)
    with pytest.raises(FileNotFoundError):
        nsbox.Popen(["/nonexistent"], limits={}, **options)


@ending
def _no_start(**options: Any) -> None:
    with pytest.raises(nsbox.SpawnError, match="rlimit"):
        nsbox.run(["true"], limits={}, rlimits={"nofile": 1 << 40}, **options)


@ending
def _no_clone(**options: Any) -> None:
    with pytest.raises(OSError, match="descriptor"):
        nsbox.run(["true"], limits={}, pass_fds=[987], **options)


@ending
def _no_plan(**options: Any) -> None:
    with contextlib.suppress(nsbox.SpecError):
        nsbox.run(["tr\0ue"], limits={}, **options)


@ending
def _interrupted(**options: Any) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, stop)
    for delay in (0.0005, 0.001, 0.002, 0.004, 0.05):
        with contextlib.suppress(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, delay)
            nsbox.run(["sleep", "50"], limits={}, **options)


@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize("arrangement", ["init", "no pid", "no init"])
def test_gone_afterwards(who: Who, ground: Path, arrangement: str, end: str) -> None:
    """The cgroup is removed when the call returns, so that no census finds it; the fixture checks again."""

    def check() -> list[str]:
        ENDINGS[end](**ARRANGEMENTS[arrangement])
        return _left(ground)

    assert there(who, ground, check) == []
    assert not survivors()
    reap_adopted()


@pytest.mark.parametrize("arrangement", ["init", "no pid", "no init"])
def test_gone_when_the_caller_is_killed(ground: Path, arrangement: str) -> None:
    """If the caller is killed, nsbox-init, which is outside of the cgroup, kills all processes in it and removes it."""

    def begin(send: Callable[[object], None]) -> object:
        (ground / "own" / "cgroup.procs").write_text("0")
        beside()
        process = nsbox.Popen(["sh", "-c", "setsid sleep 50 & sleep 50"], limits={}, **ARRANGEMENTS[arrangement])
        send(process.pid)
        return process

    with caller(begin) as process:
        assert int(process.receive())
        assert len(_left(ground)) == 1
        process.kill()
        assert not survivors()
    assert wait_until(lambda: _left(ground) == [])


def test_a_forked_child_leaves_it_alone(ground: Path) -> None:
    """A forked child does not remove its parent's cgroup."""

    def check() -> list[str]:
        with nsbox.Popen(["sleep", "50"], limits={}) as process:
            in_child(process.poll)
            # Dropping the handle and the plan in this process would end everything; in the child it must not.
            in_child(vars(process).clear)
            left = _left(ground)
            process.kill()
        return left

    assert len(there(Who("root"), ground, check)) == 1


def test_no_descriptors_are_left(who: Who, ground: Path) -> None:
    """Neither the caller, while the program runs, nor the program has a descriptor of the cgroup."""

    def check() -> tuple[int, str]:
        before = len(os.listdir("/proc/self/fd"))
        command = ["sh", "-c", "ls -l /proc/self/fd; sleep 50"]
        with nsbox.Popen(command, limits={}, close_fds=False, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = "".join(process.stdout.readline() for _ in range(4))
            count = len(os.listdir("/proc/self/fd"))
            process.kill()
        return count - before, lines

    more, lines = there(who, ground, check)
    # The pipe, two pidfds and the socket.
    assert more == 4
    assert "cgroup" not in lines


def test_stale_ones_are_removed(ground: Path) -> None:
    """If a caller and its nsbox-init are killed at once, their cgroup is removed when the next one is made."""
    namespace, number, start = places._maker().split("-")
    gone = [f"{namespace}-{number}-1-0", f"{namespace}-{in_child(os.getpid)}-{start}-0"]
    living = [f"{namespace}-{number}-{start}-9", f"1-{number}-1-0", "other"]
    for name in (*gone, *living):
        (ground / f"nsbox-{name}").mkdir()
    there(Who("root"), ground, lambda: nsbox.run(["true"], limits={}))
    left = sorted(_left(ground))
    for name in left:
        (ground / name).rmdir()
    assert left == sorted(f"nsbox-{name}" for name in living)


def test_files_are_written(ground: Path) -> None:
    """Limits are written before anything runs. A missing optional file is skipped; any other failure leaves nothing."""
    files = [("cgroup.max.descendants", "3", False), ("memory.nonexistent", "0", True)]
    made = _core.Cgroup(ground / "made", files)
    made.make()
    assert (Path(made.path) / "cgroup.max.descendants").read_text() == "3\n"
    del made
    for wrong, number in ((("memory.nonexistent", "0", False), errno.ENOENT),
                          (("cgroup.max.descendants", "many", False), errno.EINVAL)):  # fmt: skip
        with pytest.raises(nsbox.SpawnError) as caught:
            _core.Cgroup(ground / "made", [wrong]).make()
        assert (caught.value.step, caught.value.actor, caught.value.errno) == ("cgroup", "caller", number)
        assert wrong[0] in caught.value.call
        assert not (ground / "made").exists()


def test_it_cannot_be_made(ground: Path) -> None:
    """The cgroup above allows no more children."""
    (ground / "cgroup.max.descendants").write_text("1")

    def check() -> nsbox.SpawnError:
        with pytest.raises(nsbox.SpawnError) as caught:
            nsbox.run(["true"], limits={})
        return caught.value.with_traceback(None)

    error = there(Who("root"), ground, check)
    assert (error.step, error.actor, error.errno) == ("cgroup", "caller", errno.EAGAIN)
    assert "cgroup.max.descendants" in error.evidence


def test_it_cannot_be_entered(ground: Path) -> None:
    """The cgroup has been removed before the program enters it."""

    def check() -> tuple[str, str, int | None]:
        cgroup = _core.Cgroup(ground / "made", [])
        cgroup.make()
        plan = _core.compile(nsbox.Spec(), _launch(), _core.facts(), cgroup)
        Path(cgroup.path).rmdir()
        with pytest.raises(nsbox.SpawnError) as caught:
            _core.spawn(plan)
        return caught.value.step, caught.value.actor, caught.value.errno

    assert there(Who("root"), ground, check) == ("join cgroup", "payload", errno.ENODEV)


def _launch() -> Any:
    from nsbox.start.launch import Launch

    return Launch(paths=(b"/bin/true", b"/usr/bin/true"), argv=(b"true",))


def test_not_delegated(who: Who) -> None:
    """Without delegation nothing is started, and the error says what is missing."""
    needed = frozenset({"memory", "pids", "cpu"})

    def check() -> str:
        try:
            places.Hierarchy.read().place(needed)
        except nsbox.UnsupportedError as error:
            expected = str(error)
        else:
            pytest.skip("this machine hands memory, pids and cpu on")
        with pytest.raises(nsbox.UnsupportedError) as caught:
            nsbox.run(["true"], limits=Limits(memory=1 << 24, pids=5, cpu=1))
        assert str(caught.value) == expected
        with pytest.raises(nsbox.UnsupportedError):
            Box("mip", limits={"memory": 1 << 24, "pids": 5, "cpu": 1})
        return expected

    assert all(name in who(check) for name in needed)


def _hands_on(controller: str) -> bool:
    try:
        places.Hierarchy.read().place(frozenset({controller}))
    except nsbox.UnsupportedError:
        return False
    return True


def test_pids() -> None:
    """Beyond the limit fork fails; nsbox-init does not count."""
    command = ["sh", "-c", "sleep 0.1 & sleep 0.1 & sleep 0.1 & wait"]
    if not _hands_on("pids"):
        with pytest.raises(nsbox.UnsupportedError, match="pids"):
            nsbox.run(command, limits=Limits(pids=4))
        return
    assert nsbox.run(command, limits=Limits(pids=4)).returncode == 0
    assert nsbox.run(command, limits=Limits(pids=2), stderr=subprocess.DEVNULL).returncode != 0


def test_memory() -> None:
    """Beyond the limit the kernel kills a process of the program, and not nsbox-init."""
    command = ["sh", "-c", "head -c 100000000 /dev/zero | tail > /dev/null"]
    if not _hands_on("memory"):
        with pytest.raises(nsbox.UnsupportedError, match="memory"):
            nsbox.run(command, limits=Limits(memory=300_000_000))
        return
    assert nsbox.run(command, limits=Limits(memory=300_000_000)).returncode == 0
    assert nsbox.run(command, limits=Limits(memory=20_000_000), stderr=subprocess.DEVNULL).returncode != 0
