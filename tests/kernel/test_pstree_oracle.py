"""The tree against the real pstree(1) of psmisc, character for character.

Two kinds of trees: real processes in a PID namespace of their own, so that nothing moves, and fabricated /proc
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
from nsbox.processes import ps
from nsbox.tree import ProcessTree, pstree

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
    """Return what nsbox draws for the flags of pstree."""
    chosen: dict[str, Any] = {"ns_changes": False}
    for flag in flags:
        chosen |= OPTIONS[flag]
    return tree.text(**chosen, **options)


def theirs(box: int, *arguments: str, **environment: str) -> str:
    """Run pstree in the box. Its parent is outside, so that it is in no tree that it draws."""
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
    # In ASCII: a longer character at the edge makes pstree write a + for each of its bytes.
    assert ours(pstree(of=box), flags, ascii=True, width=width) == theirs(box, *flags, "-A", COLUMNS=str(width))


def test_every_subtree(box: int) -> None:
    tree = pstree(of=box)
    for node in tree.walk():
        if node.thread is None:
            assert ours(tree.subtree(node.pid), ("-S", "-u")) == theirs(box, "-S", "-u", "-U", "-l", str(node.pid))


def test_the_command(box: int) -> None:
    """`nsbox pstree` takes pstree's flags, and draws as it does when the output is no terminal."""
    for flags in (["-S"], ["-Sp"], ["-apu", "-U"], ["-Tcn"], ["-lA", "1"]):
        command = [sys.executable, "-m", "nsbox", "pstree", "--of", str(box), *flags]
        result = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
        assert result.stdout.rstrip("\n") == theirs(box, *flags, "-l")
        assert result.stderr == ""


def test_inner_pids(box: int) -> None:
    """The kernel itself says which PIDs there are, in the status file."""
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
    """Fill a /proc with a tree in which neighbours are likely to be alike; return the PIDs."""
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
@pytest.mark.parametrize("seed", range(25))
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
        tree = pstree(top, proc=proc.path)
        if "cut" in kind:
            # With arguments only so narrow that pstree still reads all of them.
            width = chance.randint(45 if "-a" in flags else 5, 70)
            expected = over_proc(proc, *flags, "-A", *root, COLUMNS=str(width))
            assert ours(tree, flags, ascii=True, width=width) == expected
        else:
            assert ours(tree, flags) == over_proc(proc, *flags, "-U", "-l", *root)
