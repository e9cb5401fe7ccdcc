"""The tree compared with the real pstree(1) of psmisc, character for character.

Two kinds of trees: real processes in a PID namespace of their own, so that nothing changes, and fabricated /proc
directories, which are mounted over /proc for pstree in a mount namespace of its own.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nsbox.errors import SpecError
from nsbox.seeing.processes import ps
from nsbox.seeing.tree import ProcessTree, pstree

from tests.support.fake_proc import LINKS, FakeProc, FakeProcess
from tests.support.real_box import box

__all__ = ["box"]

PSTREE = shutil.which("pstree")
pytestmark = pytest.mark.skipif(PSTREE is None, reason="pstree is not installed (Debian package psmisc)")

OPTIONS: dict[str, dict[str, Any]] = {
    "-S": {"ns_changes": True},
    "-p": {"show_pids": True},
    "-g": {"show_pgids": True},
    "-u": {"uid_changes": True},
    "-n": {"numeric_sort": True},
    "-c": {"compact": False},
    "-T": {"threads": False},
    "-t": {"thread_names": True},
    "-a": {"arguments": True},
}
COMBINATIONS = [
    flags for count in range(4) for flags in itertools.combinations(OPTIONS, count) if not {"-T", "-t"} <= set(flags)
]
ENVIRONMENT = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8"}


def ours(tree: ProcessTree, flags: tuple[str, ...], **options: Any) -> str:
    """Return nsbox's tree for the flags of pstree."""
    chosen: dict[str, Any] = {"ns_changes": False}
    for flag in flags:
        chosen |= OPTIONS[flag]
    return tree.text(**chosen, **options)


def theirs(box: int, *arguments: str, **environment: str) -> str:
    """Run pstree in the box. Its parent is outside, so that pstree does not list itself."""
    command = ["nsenter", f"--target={box}", "--mount", "--pid", "pstree", *arguments]
    result = subprocess.run(command, capture_output=True, env=ENVIRONMENT | environment, check=True)
    return result.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


@pytest.mark.parametrize("flags", COMBINATIONS, ids=" ".join)
def test_real_processes(box: int, flags: tuple[str, ...]) -> None:
    tree = pstree(of=box)
    assert ours(tree, flags) == theirs(box, *flags, "-U", "-l")
    assert ours(tree, flags, ascii=True) == theirs(box, *flags, "-A", "-l")


@pytest.mark.parametrize("width", [1, 2, 10, 15, 20, 21, 22, 23, 24, 30, 40, 80, 132])
@pytest.mark.parametrize("flags", [(), ("-S",), ("-p",), ("-S", "-p", "-g", "-u")], ids=" ".join)
def test_real_processes_cut(box: int, flags: tuple[str, ...], width: int) -> None:
    # In ASCII: for a longer character at the edge pstree writes a + for each of its bytes.
    assert ours(pstree(of=box), flags, ascii=True, width=width) == theirs(box, *flags, "-A", COLUMNS=str(width))


def test_every_subtree(box: int) -> None:
    tree = pstree(of=box)
    for node in tree.walk():
        if node.thread is None:
            assert ours(tree.subtree(node.pid), ("-S", "-u")) == theirs(box, "-S", "-u", "-U", "-l", str(node.pid))


@pytest.mark.parametrize("kind", ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts", "time"])
@pytest.mark.parametrize("flags", [(), ("-S",), ("-p",), ("-S", "-u", "-c"), ("-n", "-T"), ("-a", "-S")], ids=" ".join)
def test_forests(box: int, kind: str, flags: tuple[str, ...]) -> None:
    assert ours(pstree(of=box), flags, by=kind) == theirs(box, *flags, "-N", kind, "-U", "-l")


def test_forest_as_data(box: int) -> None:
    tree = pstree(of=box)
    assert tree.root.namespaces.net is not None
    forest = tree.forest("net")
    assert forest[tree.root.namespaces.net][0] is tree.root
    (moved,) = forest[next(node for node in tree.walk() if node.name == "new net").namespaces.net]
    assert moved.changes == ("net",)
    with pytest.raises(SpecError, match="by: expected a kind of namespace"):
        tree.forest("nonsense")


@pytest.mark.parametrize("flags", [(), ("-S", "-p", "-u"), ("-a",), ("-n", "-g")], ids=" ".join)
def test_every_lineage(box: int, flags: tuple[str, ...]) -> None:
    tree = pstree(of=box)
    for node in list(tree.walk())[::3]:
        expected = theirs(box, *flags, "-s", "-U", "-l", str(node.pid))
        assert ours(tree.lineage(node.pid), flags) == expected


@pytest.mark.parametrize("flags", [(), ("-S",), ("-p", "-u"), ("-a",)], ids=" ".join)
def test_graphic_characters_of_a_vt100(box: int, flags: tuple[str, ...]) -> None:
    tree = pstree(of=box)
    assert ours(tree, flags, vt100=True) == theirs(box, *flags, "-G", "-l")
    # With arguments pstree reads only as many bytes of them as the line has columns.
    for width in (20, 40, 80) if "-a" not in flags else ():
        assert ours(tree, flags, vt100=True, width=width) == theirs(box, *flags, "-G", COLUMNS=str(width))


@pytest.mark.parametrize("flags", [(), ("-Z",), ("-a",), ("-S", "-Z", "-p"), ("-a", "-Z", "-T")], ids=" ".join)
def test_security_contexts(box: int, flags: tuple[str, ...]) -> None:
    tree = pstree(of=box, labels=True)
    options = {"security_context": "-Z" in flags}
    assert ours(tree, tuple(flag for flag in flags if flag != "-Z"), **options) == theirs(box, *flags, "-U", "-l")


def test_users(box: int) -> None:
    for user, uid in (("root", 0), ("nobody", 65534)):
        trees = pstree(of=box).of_user(uid)
        for flags in ((), ("-u",), ("-S", "-p")):
            drawn = [ours(tree, flags, parent_owner=uid) for tree in trees]
            assert "\n\n".join(drawn) == theirs(box, *flags, "-U", "-l", user)


@pytest.mark.parametrize("terminal", ["xterm", "xterm-256color", "linux", "screen", "vt100", "tmux-256color", "dumb"])
def test_the_command_with_bold_text(box: int, terminal: str) -> None:
    if terminal not in known_terminals():
        pytest.skip(f"this machine has no terminfo entry for {terminal}")
    nodes = list(pstree(of=box).walk())
    pid = str(next(node.pid for node in nodes if node.name == "innermost"))
    for flags in ([], ["-p", "-S"], ["-a"], ["-c", "-u", "-n"]):
        command = [sys.executable, "-m", "nsbox", "pstree", "--of", str(box), "-H", pid, *flags, "-A", "-l"]
        result = subprocess.run(
            command, capture_output=True, text=True, check=True, env=ENVIRONMENT | {"TERM": terminal}
        )
        assert result.stdout.rstrip("\n") == theirs(box, "-H", pid, *flags, "-A", "-l", TERM=terminal)
    for width in ("20", "60"):
        command = [sys.executable, "-m", "nsbox", "pstree", "--of", str(box), "-H", pid, "-p"]
        environment = ENVIRONMENT | {"TERM": terminal, "COLUMNS": width}
        result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert result.stdout.rstrip("\n") == theirs(box, "-H", pid, "-p", TERM=terminal, COLUMNS=width)


def known_terminals() -> set[str]:
    """Return the terminals in the terminfo data base."""
    lines = subprocess.run(["toe", "-a"], capture_output=True, text=True, check=False).stdout.splitlines()
    return {line.split()[0] for line in lines if line}


def test_the_command_as_the_program_fails(box: int) -> None:
    """The exit status and standard output are those of pstree."""
    for arguments, extra in {
        ("999999",): {}, ("-s", "999999"): {}, ("no-such-user",): {}, ("games",): {}, ("-N", "pid", "7"): {},
        ("-H", "1"): {}, ("-H", "1", "-p"): {"TERM": "no-such-terminal"}, ("-h",): {}, ("-s", "-p", "4"): {},
        ("root", "-p"): {}, ("nobody", "-u"): {}, ("-Sp", "-n", "3"): {}, ("-C", "AGE", "999999"): {},
    }.items():  # fmt: skip
        command = [sys.executable, "-m", "nsbox", "pstree", "--of", str(box), *arguments, "-l"]
        mine = subprocess.run(command, capture_output=True, env=ENVIRONMENT | extra, check=False)
        command = ["nsenter", f"--target={box}", "--mount", "--pid", "pstree", *arguments, "-l"]
        program = subprocess.run(command, capture_output=True, env=ENVIRONMENT | extra, check=False)
        assert (mine.returncode, mine.stdout) == (program.returncode, program.stdout), arguments


def test_the_command(box: int) -> None:
    """`nsbox pstree` takes pstree's flags, and draws as pstree does when the output is not a terminal."""
    for flags in (["-S"], ["-Sp"], ["-apu", "-U"], ["-Tcn"], ["-lA", "1"]):
        command = [sys.executable, "-m", "nsbox", "pstree", "--of", str(box), *flags]
        result = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
        assert result.stdout.rstrip("\n") == theirs(box, *flags, "-l")
        assert result.stderr == ""


def test_inner_pids(box: int) -> None:
    """The PIDs are those in the kernel's status file."""
    for process in ps():
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
        assert process.pids == tuple(map(int, line.split()[1:]))
    assert ps(pids=[box])[0].pids == (box, 1)
    assert max(len(process.pids) for process in ps(of=box)) == 3
    assert "INSIDE" in str(ps(of=box))


NAMES = [
    b"a",
    b"b",
    b"ab",
    b"bash",
    b"x-y",
    b"x0",
    b"A",
    b"",
    b"a)b",
    b"{a}",
    b"caf\xc3\xa9",
    b"longername12345",
    b"\\",
]
WORDS = [b"a", b"bb", b"--x=\xc3\xa9", b"12345678"]


def fabricate(proc: FakeProc, chance: random.Random, *, orphans: bool) -> list[int]:
    """Fill a /proc with a tree in which neighbours are often equal; return the PIDs."""
    pids = [1, *chance.sample(range(2, 400), chance.randint(0, 14))]
    spaces: dict[int, dict[str, int]] = {0: {link: 0 for link in LINKS if chance.random() < 0.8}}
    processes = []
    for position, pid in enumerate(pids):
        parent = chance.choice(pids[:position][-4:]) if position else 0
        spaces[pid] = dict(spaces[parent])
        if orphans and position and chance.random() < 0.15:
            parent = chance.choice([0, 777, pid + 1000])
        for link in LINKS:
            if chance.random() < 0.06:
                spaces[pid][link] = chance.choice([0, 1, 2, 3])
            if chance.random() < 0.02:
                spaces[pid].pop(link, None)
        name = chance.choice(NAMES)
        tids = sorted(chance.sample(range(1000 + 10 * pid, 1010 + 10 * pid), chance.choice([0, 0, 0, 1, 2, 4])))
        processes.append(
            FakeProcess(
                pid=pid,
                ppid=parent,
                comm=name,
                state=chance.choice("SSSZ"),
                pgid=chance.choice([1, pid]),
                uid=chance.choice([0, 0, 0, 4242, 65534]),
                cmdline=tuple(chance.choice(WORDS) for _ in range(chance.choice([0, 1, 1, 2, 4]))),
                threads=tuple((tid, chance.choice([name, name, b"w1", b"w2"])) for tid in tids),
                namespaces=spaces[pid],
            )
        )
    # In whichever order the directory lists them, which both sides see. For the namespaces of a thread pstree looks
    # below /proc/TID, which is not there: it finds none, and nsbox none that differ from those of the process.
    for process in processes:
        proc.add(process)
    return sorted(pids)


def over_proc(proc: FakeProc, *arguments: str, **environment: str) -> str:
    """Run pstree with a fabricated /proc, in a mount namespace of its own."""
    script = 'mount --bind "$0" /proc && exec pstree "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, str(proc.path), *arguments]
    result = subprocess.run(command, capture_output=True, env=ENVIRONMENT | environment, check=True)
    return result.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount over /proc, even in a mount namespace of its own")
@pytest.mark.parametrize("kind", ["plain", "orphans", "arguments", "cut", "cut arguments"])
@pytest.mark.parametrize("seed", range(12))
def test_fabricated_processes(tmp_path: Path, kind: str, seed: int) -> None:
    chance = random.Random(f"{kind} {seed}")
    proc = FakeProc(tmp_path)
    pids = fabricate(proc, chance, orphans=kind == "orphans")
    # Not -g for unseen parents: pstree prints their process group, 0, as nothing.
    usable = [
        flag for flag in OPTIONS if flag != {"orphans": "-g"}.get(kind) and (flag == "-a") <= ("arguments" in kind)
    ]
    for _ in range(4):
        flags = tuple(flag for flag in usable if chance.random() < 0.4)
        top = chance.choice([None, None, *pids[:3]])
        root = [] if top is None else [str(top)]
        # By default the tree of nsbox also has what is not below PID 1.
        tree = pstree(1 if top is None else top, proc=proc.path)
        if "cut" in kind:
            # With arguments only so narrow that pstree still reads all of them.
            width = chance.randint(45 if "-a" in flags else 5, 70)
            expected = over_proc(proc, *flags, "-A", *root, COLUMNS=str(width))
            assert ours(tree, flags, ascii=True, width=width) == expected
        else:
            assert ours(tree, flags) == over_proc(proc, *flags, "-U", "-l", *root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount over /proc, even in a mount namespace of its own")
@pytest.mark.parametrize("flags", [(), ("-p",), ("-a",), ("-S", "-u")], ids=" ".join)
def test_ages_and_labels(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Ages at the ends of the ranges, and a machine that has been up for 1000 s, in whole hours and minutes."""
    proc = FakeProc(tmp_path)
    (proc.path / "uptime").write_text("10000.50 900.00\n")
    labels = [b"unconfined\n", b"a:b:c:s0\n", b"with\\back\n", b""]
    for pid, age in enumerate((10000, 3601, 3600, 3599, 61, 60, 59, 1, 0, -5), start=1):
        started = 1000050 - age * 100
        thread = ((100 + pid, b"t"),) if pid % 3 == 0 else ()
        # For the label of a thread pstree looks below /proc/TID, which does not exist.
        label = b"" if thread else labels[pid % 4]
        parent = pid - 1 if pid % 2 else pid // 2
        proc.add(FakeProcess(pid=pid, ppid=parent, start_ticks=started, comm=b"n%d" % pid, threads=thread, label=label))
    tree = pstree(proc=proc.path, labels=True)
    tree.uptime = 10000.5
    for options, more in (({"color": "age"}, ("-C", "age")), ({"security_context": True}, ("-Z",))):
        assert ours(tree, flags, **options) == over_proc(proc, *flags, *more, "-U", "-l")
    for width in (15, 20, 30):
        if "-a" not in flags:
            expected = over_proc(proc, *flags, "-C", "age", "-A", COLUMNS=str(width))
            assert ours(tree, flags, color="age", ascii=True, width=width) == expected
