"""The list of namespaces compared with the real lsns(8) of util-linux, byte for byte; in the box nothing changes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from nsbox.seeing.namespaces import lsns

from tests.support.real_box import ancestor_box, plain_box

__all__ = ["ancestor_box", "plain_box"]

pytestmark = pytest.mark.skipif(
    shutil.which("lsns") is None, reason="lsns is not installed (Debian package util-linux)"
)

ENVIRONMENT = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
LSNS, OURS = ["lsns"], [sys.executable, "-m", "nsbox", "lsns"]


def run(box: int, command: list[str], *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a command in the box. It lists itself, as every lsns does, and its PID is never the lowest."""
    entered = ["nsenter", f"--target={box}", "--mount", "--pid", *command, *arguments]
    result = subprocess.run(entered, capture_output=True, env=ENVIRONMENT | environment, check=False)
    return result.returncode, result.stdout.decode("utf-8", "surrogateescape")


KINDS = ["mnt", "net", "ipc", "user", "pid", "uts", "cgroup", "time"]
FLAGS = [
    (), ("-l",), ("-r",), ("-J",), ("-n",), ("-u",), ("-W",), ("-n", "-r"), ("-J", "-l"), ("-r", "-l"), ("-J", "-n"),
    ("-T",), ("--tree=owner",), ("--tree=parent",), ("--tree=process",), ("-Tparent",), ("-Tprocess",),
    ("-T", "-J"), ("-T", "-r"), ("-T", "-n"), ("--tree=parent", "-J"), ("--tree=parent", "-r"), ("-Tprocess", "-J"),
    *[("-t", kind) for kind in KINDS], ("-t", "user", "-T"), ("-t", "user", "-t", "net", "-T"),
    *[("-t", a, "-t", b, "-l") for a, b in pairwise(KINDS)], ("-t", "user", "-t", "pid", "--tree=parent"),
    *[("-p", pid) for pid in ("1", "5", "30")], ("-p", "1", "-J"), ("-p", "1", "-T"), ("-p", "40", "--tree=parent"),
    ("-p", "99999"), ("-p", "99999", "-J"), ("-p", "99999", "-r"),
    ("-o", "NS"), ("-o", "TYPE,NS,COMMAND"), ("-o", "command,pid,ns"), ("-o", "NS,PATH,PPID,UID", "-l"),
    ("-o", "+PPID,PNS,ONS"), ("-o", "+NSFS,UID", "-J"), ("-o", "NS,NETNSID", "-t", "net"), ("-o", "+PATH", "-T"),
    ("-o", "PATH,USER,PID", "-T"), ("-o", "COMMAND,NPROCS", "-J", "-T"), ("-o", "PATH", "-T", "-p", "30"),
    ("--output-all",), ("--output-all", "-J"), ("--output-all", "-r"), ("--output-all", "-T"),
]  # fmt: skip


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_the_same_output(plain_box: int, flags: tuple[str, ...]) -> None:
    assert run(plain_box, OURS, *flags) == run(plain_box, LSNS, *flags)


@pytest.mark.parametrize("form", [(), ("-J",), ("-r",), ("-t", "user"), ("-t", "pid", "-t", "user")], ids=" ".join)
@pytest.mark.parametrize("relation", ["owner", "parent"])
def test_ancestors_without_processes(ancestor_box: int, form: tuple[str, ...], relation: str) -> None:
    """lsns shows them in a tree of relations."""
    arguments = (*form, f"--tree={relation}", "-o", "+PNS,ONS")
    assert run(ancestor_box, OURS, *arguments) == run(ancestor_box, LSNS, *arguments)
    hidden = [namespace for namespace in lsns(of=ancestor_box) if namespace.kept_by == ("ancestry",)]
    # As seen from outside, the PID namespace in which this one was made is listed, too.
    assert [namespace.kind for namespace in hidden] == ["pid", "user"]
    assert str(hidden[1].id) in run(ancestor_box, LSNS, *arguments)[1]


@pytest.mark.parametrize("flags", [(), ("-T",), ("-J",)], ids=" ".join)
def test_the_same_output_in_ascii(plain_box: int, flags: tuple[str, ...]) -> None:
    ours = run(plain_box, OURS, *flags, LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ours == run(plain_box, LSNS, *flags, LC_ALL="C")


@pytest.mark.parametrize("flags", [(), ("-l",), ("-J",), ("-r",), ("-n",), ("-o", "PID,NS,COMMAND"), ("-o", "+PPID")],
                         ids=" ".join)  # fmt: skip
def test_the_processes_of_a_namespace(plain_box: int, flags: tuple[str, ...]) -> None:
    """Without the command itself, which differs: namespaces that it is not in."""
    namespaces = lsns(of=plain_box)
    own = {namespace.id for namespace in namespaces.of_process(1) if namespace.kind not in ("pid", "mount")}
    others = [namespace for namespace in namespaces if namespace.id not in own and namespace.process_count]
    inside = [namespace for namespace in others if 1 not in [p.pid for p in namespaces.processes_in(namespace.id)]]
    assert len(inside) > 12
    for namespace in inside[:: 1 if not flags else 4]:
        arguments = (*flags, str(namespace.id))
        assert run(plain_box, OURS, *arguments) == run(plain_box, LSNS, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [("5",), ("-t", "nonsense"), ("-o", "nonsense"), ("-p", "1", "5"), ("-Tnonsense",)],
    ids=" ".join,
)
def test_wrong_arguments(plain_box: int, arguments: tuple[str, ...]) -> None:
    assert run(plain_box, OURS, *arguments) == run(plain_box, LSNS, *arguments) == (1, "")


@pytest.mark.parametrize("form", [(), ("-l",), ("-J",), ("-r",), ("-o", "COMMAND,PID")], ids=" ".join)
@pytest.mark.parametrize(
    ("expression", "option"),
    [
        ("TYPE == 'pid'", ("-t", "pid")), ("type eq 'uts' or TYPE =~ '^ipc$'", ("-t", "uts", "-t", "ipc")),
        ("true", ()), ("!(TYPE != 'user') && NS > 0", ("-t", "user")), ("PID == 4000000", ("-p", "4000000")),
    ],
)  # fmt: skip
def test_filters(plain_box: int, expression: str, option: tuple[str, ...], form: tuple[str, ...]) -> None:
    """An expression selects the same rows as the option with the same meaning."""
    assert run(plain_box, OURS, *form, "-Q", expression) == run(plain_box, LSNS, *form, *option)


def test_filters_of_columns_that_are_not_shown(plain_box: int) -> None:
    """Columns of the filter are read even if they are not shown, also for the processes of a namespace."""
    (uts,) = [namespace for namespace in lsns(of=plain_box).of_process(1) if namespace.kind == "uts"]
    everything = run(plain_box, OURS, "-l", "-n", "-r", "-o", "NS,NPROCS")[1].split()
    more = {namespace for namespace, count in zip(everything[::2], everything[1::2], strict=True) if int(count) > 1}
    assert more
    assert set(run(plain_box, OURS, "-lnr", "-o", "NS", "--filter", "NPROCS gt 1")[1].split()) == more
    networks = run(plain_box, OURS, "-lnr", "-o", "TYPE", "-Q", "NETNSID")[1].split()
    assert set(networks) == {"net"}
    assert run(plain_box, OURS, "-lnr", "-o", "PID", "-Q", "PID < 2", str(uts.id)) == (0, "1\n")


def test_wrong_filters(plain_box: int) -> None:
    """The status is 1, as for all arguments that lsns refuses."""
    for expression in ("NOSUCH == 1", "TYPE ==", "TYPE =~ '('"):
        assert run(plain_box, OURS, "-Q", expression) == (1, "")


@pytest.mark.parametrize("form", [(), ("-r",), ("-J",)])
def test_list_of_columns(plain_box: int, form: tuple[str, ...]) -> None:
    """The list has every column, its type, and the JSON type."""
    status, output = run(plain_box, OURS, *form, "--list-columns")
    assert status == 0
    if form == ("-J",):
        listed = {line["holder"]: line["type"] for line in json.loads(output)["lsns-columns"]}
        (first, *_) = json.loads(run(plain_box, OURS, "-J", "-l", "--output-all")[1])["namespaces"]
        for name, kind in listed.items():
            assert kind == ("<integer>" if isinstance(first[name.lower()], int) else "<string>")
    else:
        words = [line.split()[:2] for line in output.splitlines()]
        listed = dict(words)
    assert list(listed) == run(plain_box, OURS, "--output-all", "-r")[1].splitlines()[0].split()


def on_terminal(box: int, command: list[str], columns: int, *arguments: str) -> str:
    """Run a command on a terminal with this many columns."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        entered = ["nsenter", f"--target={box}", "--mount", "--pid", *command, *arguments]
        with subprocess.Popen(entered, stdout=theirs, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as running:
            os.close(theirs)
            theirs = -1
            parts = []
            while True:
                try:
                    parts.append(os.read(ours, 65536))
                except OSError:  # EIO: the other end is closed
                    break
            assert running.wait() == 0
        return b"".join(parts).decode().replace("\r\n", "\n")
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)


@pytest.mark.parametrize("columns", [60, 80, 100, 300])
@pytest.mark.parametrize("flags", [(), ("-l",), ("-u",), ("-T",), ("-J",), ("-r",)], ids=" ".join)
def test_the_same_on_a_terminal(plain_box: int, flags: tuple[str, ...], columns: int) -> None:
    assert on_terminal(plain_box, OURS, columns, *flags) == on_terminal(plain_box, LSNS, columns, *flags)


def test_json_is_json(plain_box: int) -> None:
    """The JSON is valid, also where lsns prints bytes that are not."""
    table = lsns(of=plain_box)
    rows = json.loads(table.json())["namespaces"]
    assert [row["ns"] for row in rows] == [namespace.id for namespace in table]
    rows = json.loads(table.json(tree="owner", columns=["ns", "ons"]))["namespaces"]

    def count(rows: list[Any]) -> int:
        return sum(1 + count(row.get("children", [])) for row in rows)

    assert count(rows) == len(table)


def test_mounted_namespaces() -> None:
    """The mount points of a network namespace, on one line and on several."""
    script = (
        "mount -t tmpfs none /mnt; touch /mnt/a /mnt/b '/mnt/a blank'; unshare --net=/mnt/a true; "
        "mount --bind /mnt/a /mnt/b; mount --bind /mnt/a '/mnt/a blank'; "
        "nsenter --net=/mnt/a sleep 60 & child=$!; sleep 0.1; "
        'for form in "" -W -r -J "-o NSFS,NS,COMMAND" "-o+NSFS"; do '
        "nsenter --net=/mnt/a $LSNS -t net $form; done; kill $child"
    )
    if os.geteuid() != 0:
        pytest.skip("only root can make namespaces and mounts without a user namespace")

    def result(command: Sequence[str]) -> str:
        for _ in range(20):
            text = subprocess.run(
                ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--net", "sh", "-c", script],
                capture_output=True, env=ENVIRONMENT | {"LSNS": " ".join(command)}, check=False,
                stdin=subprocess.DEVNULL,
            ).stdout.decode()  # fmt: skip
            # Rows are sorted by the ids, which are reused after namespaces have ended.
            rows = [line.split()[0] for line in text.splitlines()[1:3]]
            if rows == sorted(rows) and "sleep" in text.splitlines()[2]:
                break
        return text

    answers = [result(command) for command in (LSNS, OURS)]
    assert "/mnt/a,/mnt/b" in answers[0]
    # The ids of the new namespaces differ.
    first, second = (sorted_numbers(result) for result in answers)
    assert first == second


def sorted_numbers(text: str) -> str:
    """Replace each id of a namespace by its rank."""
    ids = sorted(set(re.findall(r"\b40265\d{5}\b", text)))
    return re.sub(r"\b40265\d{5}\b", lambda found: f"{ids.index(found[0]):010}", text)
