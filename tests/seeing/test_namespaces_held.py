"""Namespaces without processes, held by descriptors, sockets and mounts: the facts that util-linux's own tests ask."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

import nsbox
from nsbox.cli import main

from tests.support.forked import Who, in_child
from tests.support.held import Held, by_descriptors, by_mounts, by_socket, held, separate


def shown(expression: str, *names: str) -> list[list[str]]:
    """Return what ``nsbox lsns`` prints for the namespaces that an expression selects: the cells of each line."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(["lsns", "--noheadings", "--raw", "--output", ",".join(names), "--filter", expression]) == 0
    return [line.split(" ") for line in output.getvalue().splitlines()]


def test_descriptors_that_were_opened_by_a_path(who: Who) -> None:
    """The text of such a link is a path, one that is gone after ``ip netns delete``."""

    def act() -> tuple[Held, Any]:
        with held(by_descriptors) as found:
            table, names = nsbox.lsns(), ("TYPE", "NPROCS", "UID", "PID")
            rows = [(table.find(found[kind]), shown(f"NS == {found[kind]}", *names)) for kind in ("net", "uts")]
            return found, [*rows, os.geteuid()]

    found, (*rows, uid) = who(act)
    for kind, (record, cells) in zip(("net", "uts"), rows, strict=True):
        assert record is not None, kind
        assert (record.kind, record.kept_by, record.process_count) == (kind, ("descriptors",), 0)
        assert [pid for pid, _ in record.descriptors] == [found["pid"]]
        assert record.owner is not None
        assert cells == [[kind, "0", str(uid), ""]]


def test_sockets(who: Who) -> None:
    """A network namespace in which nothing else is; sockets of the process's own network namespace are not listed."""

    def act() -> tuple[Held, Any]:
        with held(by_socket) as found:
            table = nsbox.lsns()
            (process,) = nsbox.ps(pids=[found["pid"]], fields="socket_namespaces namespaces")
            names = ("TYPE", "NPROCS", "PID", "UID", "COMMAND")
            cells = shown(f"NS == {found['net']}", *names)
            return found, (table, process, cells, os.geteuid())

    found, (table, process, cells, uid) = who(act)
    record = table.find(found["net"])
    assert record is not None
    assert (record.kind, record.kept_by, record.sockets) == ("net", ("sockets",), ((found["pid"], found["fd"]),))
    assert record.owner is not None
    assert cells == [["net", "0", "", str(uid), ""]]
    own = table.find(process.namespaces.net)
    assert own.sockets == ()
    assert dict(process.socket_namespaces)[found["fd"]] == record.id
    assert dict(process.socket_namespaces)[found["own"]] == own.id


def test_mounts_and_ids(who: Who) -> None:
    """NETNSID and NSFS of network namespaces without processes, as a filter and as columns; also in Python."""

    def act() -> tuple[Held, Any]:
        def inside() -> tuple[Held, Any]:
            separate()
            found = by_mounts()
            names = ("NETNSID", "TYPE", "NSFS", "NPROCS")
            table = nsbox.lsns(kinds="net")
            return found, (
                shown("NETNSID == '4711'", *names), shown(f"NS == {found['unnamed']}", *names), table,
                table.text(columns=["NS", "NETNSID"]),
            )  # fmt: skip

        return in_child(inside)

    found, (named, unnamed, table, text) = who(act)
    assert named == [["4711", "net", "/run/netns/named", "0"]]
    assert unnamed == [["unassigned", "net", "/run/netns/unnamed", "0"]]
    assert [table.find(found[name]).netns_id for name in ("named", "unnamed")] == [4711, -1]
    assert [found["named"], 4711] in [[*map(int, line.split())] for line in text.splitlines() if "4711" in line]
