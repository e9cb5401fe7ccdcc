"""Which process a record, a handle or a number means, for everything that takes a process."""

from __future__ import annotations

import contextlib
import copy
import errno
import io
import json
import os
import pickle
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import nsbox
import pytest
from nsbox import assertions, quiz
from nsbox.errors import ProcessEndedError, SpecError
from nsbox.records.processes import Process, Reading
from nsbox.remote.encoding import decode, encode
from nsbox.seeing.processes import ProcessTable
from nsbox.seeing.target import pid_of, pidfd_of
from nsbox.seeing.tree import ProcessTree

from tests.support import seccomp
from tests.support.forked import Who, become_user, in_child
from tests.support.seccomp import Deny

REQUESTS = 0xB706, 0xB707, 0xB708, 0xB709
"""The numbers of the requests that translate PIDs (ioctl_nsfs(2))."""
Reader = Callable[[Any], Any]
"""Takes a process, and returns what differs from one process to another."""


def _ids(found: nsbox.ProcessTable) -> Any:
    return [(one.pid, one.comm) for one in found]


def _failed(assertion: Callable[[], object]) -> str:
    """Return the text of a failed assertion, which names the process."""
    try:
        assertion()
    except AssertionError as error:
        return str(error)
    return "passed"


def _entered(target: Any) -> Any:
    result = nsbox.enter(target, None, ["readlink", *(f"/proc/self/ns/{kind}" for kind in ("pid", "mnt", "user"))],
                         root=True, capture_output=True, text=True)  # fmt: skip
    return result.stdout


def _moved(target: Any) -> str:
    with nsbox.setns(target, "uts"):
        return os.readlink("/proc/thread-self/ns/uts")


def _pidfd(target: Any) -> str:
    with pidfd_of(target, "target") as pidfd, open(f"/proc/self/fdinfo/{pidfd}") as lines:
        return next(line for line in lines if line.startswith("Pid:"))


def _observed(target: Any) -> Any:
    with nsbox.observe(target) as seen:
        pass
    return seen.before.of, _ids(seen.before.processes)


def _handle(target: Any) -> Any:
    with nsbox.Namespace.of(target, "pid") as namespace:
        return namespace.id


def _joined(target: Any) -> Any:
    result = nsbox.run(["readlink", "/proc/self/ns/ipc"], unshare="", join=(target, "ipc"), stdout=-1)
    return result.stdout


READERS: dict[str, Reader] = {
    "pid_of": lambda target: pid_of(target, "target"),
    "pidfd_of": _pidfd,
    "ps of": lambda target: _ids(nsbox.ps(of=target)),
    "ps view proc": lambda target: _ids(nsbox.ps(of=target, view="proc")),
    "pstree of": lambda target: str(nsbox.pstree(of=target)),
    "pstree root": lambda target: nsbox.pstree(target).root.pid,
    "lsns": lambda target: sorted(one.id for one in nsbox.lsns(of=target)),
    "mounts": lambda target: [mount.id for mount in nsbox.mounts(target)],
    "ipcs": lambda target: nsbox.ipcs(target).to_dict(),
    "namespaces_of": nsbox.namespaces_of,
    "same_namespace a": lambda target: nsbox.same_namespace(target, os.getpid(), "pid"),
    "same_namespace b": lambda target: nsbox.same_namespace(os.getpid(), target, "ipc"),
    "snapshot": lambda target: nsbox.snapshot(target).of,
    "observe": _observed,
    "compare": lambda target: nsbox.compare(target).pid,
    "enter": _entered,
    "join": _joined,
    "setns": _moved,
    "Namespace.of": _handle,
    "translate_pid": lambda target: nsbox.translate_pid(1, target),
    "assert_init": lambda target: _failed(lambda: assertions.assert_init(target, "no such name")),
    "assert_isolated": lambda target: _failed(lambda: assertions.assert_isolated(target, "time cgroup")),
    "assert_isolated since": lambda target: _failed(lambda: assertions.assert_isolated(os.getpid(), "time", target)),
    "assert_shared": lambda target: _failed(lambda: assertions.assert_shared(target, "mip")),
    "assert_proc_matches": lambda target: _failed(lambda: assertions.assert_proc_matches(target)),
    "assert_mounted": lambda target: _failed(lambda: assertions.assert_mounted(target, "/no/such/place")),
    "assert_no_leftovers": lambda target: _failed(lambda: assertions.assert_no_leftovers(target, 0)),
    "quiz.numbers": lambda target: quiz.numbers(target).value,
    "quiz.parent": lambda target: quiz.parent(target).value,
    "quiz.number_in_proc": lambda target: quiz.number_in_proc(target).value,
    "quiz.shares": lambda target: quiz.shares(target, "pid").value,
    "quiz.new_kinds": lambda target: quiz.new_kinds(target).value,
    "quiz.id_map": lambda target: quiz.id_map(target).value,
    "quiz.clock_offset": lambda target: quiz.clock_offset(target).source,
    "quiz.control_group": lambda target: quiz.control_group(target).value,
    "quiz.mounted": lambda target: quiz.mounted(target, "/proc").value,
    "quiz.sees": lambda target: quiz.sees(target, "/etc").source,
    "quiz.host_name": lambda target: quiz.host_name(target).value,
    "quiz.interfaces": lambda target: quiz.interfaces(target).value,
}
"""Every function of nsbox that takes a process."""
QUICK = {name: READERS[name] for name in ("pid_of", "pidfd_of", "mounts", "setns", "assert_init", "quiz.numbers")}
"""One of each kind."""
OF_EVERYTHING = {"ps of", "ps view proc", "pstree of", "lsns", "observe"}
"""Those whose result changes with other processes of the machine, if the process has no PID namespace of its own."""


@contextlib.contextmanager
def sleeping(box: nsbox.Box, *more: str) -> Iterator[nsbox.Popen]:
    """Run a program in a box until the end of the block."""
    with box.Popen(["sleep", "1000", *more]) as process:
        try:
            yield process
        finally:
            process.kill()


def read(reader: Reader, target: Any) -> Any:
    """Return the result, or the type of the exception."""
    try:
        return reader(target)
    except (OSError, SpecError) as error:
        return type(error).__name__


def by_json(process: Process) -> Process:
    """Return the record as another program reads it."""
    table = ProcessTable([process], boot=0.0, read_at=0.0)
    (again,) = ProcessTable.from_dict(json.loads(json.dumps(table.to_dict())))
    return again


COPIES: dict[str, Callable[[Process], Process]] = {
    "itself": lambda process: process,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda process: pickle.loads(pickle.dumps(process)),
    "JSON": by_json,
}


def records_of(box: nsbox.Box, pid: int) -> dict[str, Any]:
    """Return the record of a process of the box, by everything that makes one."""
    found: dict[str, Any] = {}

    def add(name: str, some: Any) -> None:
        found[name] = next(one for one in some if one.pid_outside == pid)

    trees = {"pstree": nsbox.pstree()}
    add("ps", nsbox.ps())
    if os.geteuid() != 0 and "pid" not in box.namespaces:
        # Then nsbox-init cannot make a proc, and may not be traced.
        return found
    add("box.ps", box.ps())
    add("box.ps, few fields", box.ps(fields="pid"))
    add("ps of", nsbox.ps(of=box))
    add("ps of, proc", nsbox.ps(of=box, view="proc"))
    for name, tree in (trees | {"box.pstree": box.pstree(), "pstree of": nsbox.pstree(of=box)}).items():
        found[name] = next(node for node in tree.walk() if node.process and node.process.pid_outside == pid)
    found["compare"] = next(pair.inside for pair in nsbox.compare(box).pairs if pair.outside.pid == pid)
    add("snapshot", nsbox.snapshot(box).processes)
    add("snapshot tree", [node.process for node in nsbox.snapshot(box).tree.walk() if node.process])
    return found


@pytest.mark.parametrize("unshare", ["mip", "mi"])
def test_a_record_is_its_process(who: Who, unshare: str) -> None:
    """Every function finds the process of a record that has the PIDs of a box: also with PID 2, kthreadd outside."""

    def act() -> list[str]:
        wrong = []
        readers = READERS if "p" in unshare else {name: READERS[name] for name in READERS.keys() - OF_EVERYTHING}
        with nsbox.Box(unshare, mount_proc="p" in unshare) as box, sleeping(box) as sleep:
            # For an ordinary user the init may not be traced: then nothing is found, but never another process.
            for pid in (sleep.pid, box.pid):
                for kind, record in records_of(box, pid).items():
                    for name, reader in (readers if kind in ("box.ps", "ps") else QUICK).items():
                        if (found := read(reader, record)) != (expected := read(reader, pid)):
                            wrong.append(f"{name} of {kind} {record!r}: {found!r}, not {expected!r}")
            row = records_of(box, sleep.pid).popitem()[1]
            row = getattr(row, "process", row)
            for how, made in COPIES.items():
                assert made(row) == row
                for name, reader in QUICK.items():
                    if read(reader, made(row)) != read(reader, sleep.pid):
                        wrong.append(f"{name} of {how}")
        return wrong

    assert who(act) == []


def test_two_levels(who: Who) -> None:
    """A record of a box in a box; and one of the outer box, in which the PIDs are others."""

    def act() -> list[str]:
        wrong = []
        options: dict[str, Any] = {"mount_proc": True}
        with (
            nsbox.Box("mip", **options) as outer,
            outer.Box("mip", **options) as inner,
            sleeping(inner) as sleep,
        ):
            rows = [next(one for one in box.ps() if one.pid_outside == sleep.pid) for box in (outer, inner)]
            assert [row.pid for row in rows] != [sleep.pid] * 2
            for row in rows:
                for name, reader in READERS.items():
                    if (found := read(reader, row)) != (expected := read(reader, sleep.pid)):
                        wrong.append(f"{name} of {row!r}: {found!r}, not {expected!r}")
        return wrong

    assert who(act) == []


def test_a_process_that_has_ended(who: Who) -> None:
    """Its PID may be that of another process, which started later."""

    def act() -> list[str]:
        wrong = []
        with nsbox.Box("mip", mount_proc=True) as box:
            with sleeping(box) as sleep:
                rows = [next(one for one in some if one.pid_outside == sleep.pid) for some in (box.ps(), nsbox.ps())]
                # As if the process with this PID were a later one.
                reused = [Process(**row._asdict() | {"start_ticks": row.start_ticks - 1}) for row in rows]
                found: dict[Any, str] = {
                    (name, row): _refusal(reader, row) for row in reused for name, reader in READERS.items()
                }
            with sleeping(box) as other:
                found |= {(name, row): _refusal(reader, row) for row in rows for name, reader in READERS.items()}
                ended = subprocess.Popen(["true"])
                ended.wait()
                for handle in (sleep, ended):
                    found |= {(name, handle): _refusal(reader, handle) for name, reader in READERS.items()}
                other.kill()
        for (name, row), text in found.items():
            if "has ended" not in text:
                wrong.append(f"{name} of {row!r}: {text}")
        return wrong

    assert who(act) == []


def _refusal(reader: Reader, target: Any) -> str:
    try:
        return f"returned {reader(target)!r}"
    except (ProcessEndedError, AssertionError) as error:
        return str(error)


def test_what_a_program_inside_has_read(who: Who) -> None:
    """It may be made up: no function believes which process it means."""

    def act() -> list[str]:
        with nsbox.Box("mip", mount_proc=True) as box:
            # As they arrive from a box; an ordinary user may not be able to start this Python there.
            row, tree, table = (decode(encode(sent)) for sent in (box.ps()[0], box.pstree(), box.lsns()))
            copies = [row, tree.root, *table[:1], *(made(row) for made in COPIES.values())]
            return [_spec_error(reader, one) for one in copies for reader in READERS.values()]

    for text in who(act):
        assert "was sent by a program in a box" in text
        assert "box.ps().find(1)" in text


def _spec_error(reader: Reader, target: Any) -> str:
    try:
        return f"returned {reader(target)!r}"
    except SpecError as error:
        return str(error)


def _forged(pid: int, reading: Reading) -> Process:
    """Return a record as a hostile program sends it: of a process outside."""
    row = next(iter(nsbox.ps(pids=[os.getpid()])))
    return Process(**row._asdict() | {"pid": pid, "pid_outside": pid, "reading": reading})


def test_a_made_up_record() -> None:
    """A program that sends a record of the caller itself does not get the caller's namespaces entered."""
    own = next(iter(nsbox.ps(pids=[os.getpid()])))
    with nsbox.Box("mip", mount_proc=True) as box:
        row = box.call(_forged, own.pid, own.reading)
        assert (row.pid, row.pid_namespace) == (own.pid, own.pid_namespace)
        assert "was sent by a program in a box" in _spec_error(_entered, row)
    with nsbox.Box("mip", mount_proc=True, trust=True) as box, sleeping(box) as sleep:
        row = next(row for row in box.call(nsbox.ps) if row.comm == b"sleep")
        assert row.pid_outside == row.pid != sleep.pid
        assert pid_of(row, "of") == sleep.pid


def test_other_times() -> None:
    """A record from another boot, of another machine, or without a source is refused, and not looked up."""
    row = next(iter(nsbox.ps(pids=[os.getpid()])))
    elsewhere = Process(**row._asdict() | {"reading": replace(row.reading, boot_id="another")})
    with pytest.raises(SpecError, match=r"of: <process \d+ .*> was read on another machine, or before"):
        nsbox.mounts(elsewhere)
    old = Process(**{name: value for name, value in row._asdict().items() if name not in ("reading", "pid_outside")})
    with pytest.raises(SpecError, match="of: it is not known of which PID namespace"):
        nsbox.mounts(by_json(old))
    foreign = Process(**row._asdict() | {"reading": replace(row.reading, pid_namespace=7, outside=8)})
    with pytest.raises(SpecError, match=rf"of: PID {row.pid} is of PID namespace 7, not of yours, PID namespace \d+"):
        nsbox.mounts(foreign)


def test_results_are_no_processes() -> None:
    """They have a pid that was seen inside."""
    with nsbox.Shell("mip") as shell, nsbox.Box("mip") as box:
        box.run(["true"])
        wrong: Any
        for wrong in (shell.run("true"), box.events[0]):
            with pytest.raises(SpecError, match=r"of: .* no process|of: .* has ended"):
                nsbox.mounts(wrong)
        namespace = box.lsns().find(nsbox.namespaces_of(box).pid or 0)
        assert namespace is not None
        assert [mount.id for mount in nsbox.mounts(namespace)] == [mount.id for mount in nsbox.mounts(box)]
        assert nsbox.namespaces_of(nsbox.compare(box)) == nsbox.namespaces_of(box)


def test_handles_of_others() -> None:
    """Everything that starts processes in Python, and psutil."""
    import asyncio
    import multiprocessing

    psutil = pytest.importorskip("psutil")

    async def started() -> None:
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        assert pid_of(process, "of") == process.pid
        process.kill()
        await process.wait()
        with pytest.raises(ProcessEndedError, match=r"of: process \d+ has ended"):
            pid_of(process, "of")
        ours = await nsbox.create_subprocess_exec("sleep", "1000", unshare="ip")
        assert pid_of(ours, "of") == ours.pid
        ours.kill()
        await ours.wait()
        with pytest.raises(ProcessEndedError):
            pid_of(ours, "of")

    asyncio.run(started())
    with subprocess.Popen(["sleep", "1000"]) as plain:
        known = psutil.Process(plain.pid)
        assert pid_of(plain, "of") == pid_of(known, "of") == plain.pid
        plain.kill()
    for ended in (plain, known):
        with pytest.raises(ProcessEndedError, match=r"of: .* has ended"):
            nsbox.mounts(ended)
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
    worker.start()
    assert pid_of(worker, "of") == worker.pid
    worker.kill()
    worker.join()
    with pytest.raises(ProcessEndedError):
        pid_of(worker, "of")
    worker.close()


def _pids(row: tuple[int, int | None]) -> Any:
    assert row[1] is not None
    return quiz.numbers(row[1]).value


def test_outer_pids(who: Who) -> None:
    """Rows tell the PID outside, as an attribute and as a column; the repr tells both."""

    def act() -> tuple[list[tuple[int, int | None]], str, str, list[int], str]:
        with nsbox.Box("mip", mount_proc=True) as box, sleeping(box) as sleep:
            rows = box.ps()
            numbers = [(row.pid, row.pid_outside) for row in rows]
            assert numbers == [(1, box.pid), (2, sleep.pid)]
            text = rows.text(columns=["pid", "outside", "command"])
            html = rows.html(columns=["outside"])
            assert [pids[-1] for pids in map(_pids, numbers)] == [1, 2]
            found = numbers, text, repr(rows[1]), [box.pid, sleep.pid], html
        return found

    numbers, text, shown, (init, pid), html = who(act)
    assert text.splitlines()[0].split() == ["PID", "OUTSIDE", "COMMAND"]
    assert text.splitlines()[2].split() == ["2", str(pid), "sleep", "1000"]
    assert numbers[0] == (1, init)
    assert f"{pid} outside" in shown
    assert str(pid) in html


def test_columns_of_the_command(who: Who) -> None:
    """``nsbox ps -o``."""

    def act() -> str:
        from nsbox.cli import main

        with nsbox.Shell("mip") as shell:
            with contextlib.redirect_stdout(io.StringIO()) as text:
                assert main(["ps", "--of", str(shell.pid), "-o", "pid,outside"]) == 0
            return f"{text.getvalue()}{shell.pid}"

    head, row, pid = who(act).splitlines()
    assert head.split() == ["PID", "OUTSIDE"]
    assert row.split() == ["1", pid]


def test_left_of_a_box(who: Who) -> None:
    """Processes of a box count as left while they live, although their PIDs are others outside."""

    def act() -> list[Any]:
        with nsbox.Box("mip", mount_proc=True) as box, sleeping(box) as sleep:
            rows = box.ps()[1:]
            left = [quiz.left_of(rows).value]
            sleep.kill()
            sleep.wait()
            return [*left, quiz.left_of(rows).value]

    assert who(act) == [1, 0]


def test_root_of_a_tree(who: Who) -> None:
    """The top of a tree is the same process, whatever PIDs the tree has."""

    def act() -> list[tuple[int, str]]:
        with nsbox.Box("mip", mount_proc=True) as box, sleeping(box) as sleep:
            row = box.ps().find(2)
            assert row is not None
            trees: list[ProcessTree] = [
                nsbox.pstree(row, of=box), nsbox.pstree(sleep, of=box), nsbox.pstree(2, of=box), nsbox.pstree(row),
            ]  # fmt: skip
            with pytest.raises(ProcessLookupError, match=r"root: .* is not in the PID namespace that was read"):
                nsbox.pstree(next(iter(nsbox.ps(pids=[os.getpid()]))), of=box)
            return [(tree.root.pid - sleep.pid, tree.root.name) for tree in trees]

    inner = [(pid, name) for pid, name in who(act) if pid]
    assert len(inner) == 3
    assert {name for _, name in inner} == {"sleep"}


def in_new_pid_namespace(function: Callable[[], Any], who: Who) -> Any:
    """Run it in PID 1 of a new PID namespace whose /proc is still that of the outer one."""

    def first() -> Any:
        from nsbox import raw

        raw.unshare(raw.CLONE_NEWPID if who.is_root else raw.CLONE_NEWPID | raw.CLONE_NEWUSER)
        return in_child(function)

    return who(lambda: in_child(first))


def test_proc_of_an_outer_namespace(who: Who) -> None:
    """A number is one of the caller, as for kill(2), and a row is the process that it shows."""

    def act() -> list[str]:
        wrong = []
        assert os.getpid() == 1
        with subprocess.Popen(["sleep", "1000"]) as child:
            in_proc = {number: int(os.readlink("/proc/self")) for number in (os.getpid(),)}
            with open(f"/proc/{in_proc[1]}/task/{in_proc[1]}/children") as children:
                (in_proc[child.pid],) = map(int, children.read().split())
            rows = {row.pid_outside: row for row in nsbox.ps() if row.pid_outside is not None}
            assert {number: row.pid for number, row in rows.items()} == in_proc
            for number, shown in in_proc.items():
                for target in (number, rows[number], *((child,) if number == child.pid else ())):
                    if pid_of(target, "of") != shown:
                        wrong.append(f"{target!r} is not {shown}")
                    if [mount.id for mount in nsbox.mounts(target)] != [mount.id for mount in nsbox.mounts()]:
                        wrong.append(f"mounts of {target!r}")
                    if nsbox.namespaces_of(target).pid != os.stat("/proc/self/ns/pid").st_ino:
                        wrong.append(f"namespaces of {target!r}")
                    if quiz.numbers(target).value != (shown, number):
                        wrong.append(f"numbers of {target!r}")
            text = _failed(lambda: assertions.assert_init(os.getpid()))
            if "in the caller's own PID namespace" not in text or f"process {in_proc[1]} " not in text:
                wrong.append(text)
            for missing in (nsbox.mounts, nsbox.namespaces_of, lambda pid: nsbox.ps(of=pid)):
                with pytest.raises(ProcessLookupError, match="no process has the PID 77777 in your PID namespace"):
                    missing(77777)
            child.kill()
        return wrong

    assert in_new_pid_namespace(act, who) == []


def test_names_in_a_proc_of_another_namespace() -> None:
    """In the mount namespace of a box /proc shows the box: rows of it are found, and the caller's number is refused."""
    with nsbox.Box("mip", mount_proc=True) as box, sleeping(box) as sleep:
        expected = [mount.id for mount in nsbox.mounts(sleep)]

        def inside() -> list[Any]:
            with nsbox.setns(box, "mount"):
                row = nsbox.ps().find(2)
                assert row is not None
                refused = []
                for number in (os.getpid(), sleep, sleep.pid):
                    with pytest.raises(SpecError, match="is not shown by /proc, which is of PID namespace") as error:
                        nsbox.mounts(number)
                    refused.append(error)
                return [row.pid_outside, [mount.id for mount in nsbox.mounts(row)]]

        if os.geteuid() == 0:
            assert inside() == [sleep.pid, expected]


def test_a_kernel_that_does_not_translate(who: Who) -> None:
    """Before Linux 6.11 the PIDs are compared in the caller's /proc: the PID outside is told, and rows are found."""

    def check() -> list[Any]:
        with nsbox.Box("mip", mount_proc=True) as box, sleeping(box) as sleep:
            box_rows = box.ps()
            seccomp.install(*(Deny("ioctl", errno.ENOTTY, argument=1, equals=0x80040000 | one) for one in REQUESTS))
            row = box.ps().find(2)
            assert row is not None
            outer = [row.pid_outside, next(one for one in nsbox.ps(of=box) if one.pid == 2).pid_outside]
            unknown = Process(**row._asdict() | {"pid_outside": None})
            return [sleep.pid, *outer, *(pid_of(one, "of") for one in (row, unknown, *box_rows[1:]))]

    found = who(lambda: in_child(check))
    assert found == [found[0]] * 6


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a proc without a user namespace")
@pytest.mark.parametrize("option", ["hidepid=1", "hidepid=2"])
def test_hidden_processes(option: str) -> None:
    """A process that the caller may not see has not ended."""

    def check() -> list[str]:
        from nsbox import raw

        (row,) = nsbox.ps(pids=[os.getpid()])
        raw.unshare(raw.CLONE_NEWNS)
        raw.mount("none", "/", None, raw.MS_REC | raw.MS_PRIVATE)
        raw.mount("proc", "/proc", "proc", 0, option)
        become_user()
        found = []
        for reader in (nsbox.mounts, _entered):
            with pytest.raises(PermissionError, match=r"is hidden") as error:
                reader(Process(**row._asdict() | {"pid": parent.pid, "pid_outside": parent.pid}))
            found.append(str(error.value))
        return found

    (parent,) = nsbox.ps(pids=[os.getpid()])
    assert all("hidepid" in text for text in in_child(check))
