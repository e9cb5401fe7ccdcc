"""What an ordinary user sees of their own boxes where /proc hides something: hidepid, masks, another PID namespace."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import nsbox
import pytest
from nsbox import raw
from nsbox.records.processes import NamespaceIds

from tests.support import libc
from tests.support.forked import USER, Who, become_user, fork, in_child
from tests.support.needs import needs_root
from tests.support.running import ended

SLEEP = ["sleep", "600"]


def cover_proc(how: str) -> None:
    """Mount a proc that hides processes, or hide a part of it, in a mount namespace of its own."""
    raw.unshare(raw.CLONE_NEWNS)
    raw.mount("none", "/", None, raw.MS_REC | raw.MS_PRIVATE)
    if how == "masked":
        # Then no proc can be mounted in a user namespace (mount_namespaces(7)).
        raw.mount("none", "/proc/sys/kernel", "tmpfs")
    else:
        raw.mount("none", "/proc", "proc", 0, how)


@needs_root
@pytest.mark.parametrize("how", ["hidepid=1", "hidepid=2", "masked"])
def test_every_look_into_a_box(how: str) -> None:
    """nsbox-init shows what the caller's /proc does not; what is not known is named."""

    def act() -> dict[str, Any]:
        cover_proc(how)
        become_user()
        with nsbox.Box("mip") as box, ended(box.Popen(SLEEP)) as program:
            found: dict[str, Any] = {}
            looks: dict[str, Callable[[], nsbox.ProcessTable]] = {
                "ps": box.ps, "ps of": lambda: nsbox.ps(of=box), "ps of a program": lambda: nsbox.ps(of=program),
            }  # fmt: skip
            for name, look in looks.items():
                found[name] = [(one.pid, one.name, all(one.namespaces)) for one in look()]
            for name, tree in {"pstree": box.pstree(), "pstree of": nsbox.pstree(of=box)}.items():
                found[name] = tree.text(mark_unknown=True)
            ids = nsbox.namespaces_of(box)
            tables = {"lsns": box.lsns(), "lsns of": nsbox.lsns(of=box), "of a program": nsbox.lsns(of=program)}
            for name, rows in tables.items():
                table = {one.id: one for one in rows}
                found[name] = [(one.kind, one.process_count, one.pid) for id_ in ids if (one := table[id_ or 0])]
            compared = nsbox.compare(box)
            found["compare"] = compared.own, [pair.inside.name for pair in compared.pairs], compared.unknown
            found["snapshot"] = len(nsbox.snapshot(box).processes), nsbox.snapshot(box).unknown
            found["mounts"] = [mount.point for mount in nsbox.mounts(box)] == [mount.point for mount in box.mounts()]
            found["mounts of"] = len(nsbox.mounts(box)) > 1
            found["ipcs"] = len(nsbox.ipcs(box))
            return found

    found = in_child(act)
    inside = [(1, "nsbox-init", True), (2, "sleep", True)]
    assert found["ps"] == found["ps of"] == found["ps of a program"] == inside
    assert found["pstree"] == found["pstree of"] == "nsbox-init───sleep"
    for name in ("lsns", "lsns of", "of a program"):
        rows = {kind: (count, pid) for kind, count, pid in found[name]}
        assert [rows[kind] for kind in ("user", "mount", "pid", "ipc")] == [(2, 1)] * 4, name
    own, pairs, unknown = found["compare"]
    assert own == ("user", "mount", "pid", "ipc")
    # nsbox-init itself is hidden outside, so it is on one side only.
    hidden = how != "masked"
    assert pairs == (["sleep"] if hidden else ["nsbox-init", "sleep"])
    assert ("hidden processes" in unknown) == hidden
    assert found["snapshot"] == (2, ())
    assert found["mounts"]
    assert found["mounts of"]
    assert found["ipcs"] == 0


@needs_root
def test_a_tree_below_hidden_parents() -> None:
    """A process whose parent is hidden is drawn below a question mark, as by pstree, and not left out."""

    def act() -> tuple[list[bool], str, str]:
        cover_proc("hidepid=2")
        # A user who has no other processes; dumpable, so that pstree sees this one.
        become_user(USER - 1000)
        libc.prctl(libc.PR_SET_DUMPABLE, 1)
        with ended(nsbox.Popen(SLEEP, unshare="mip")):
            tree = nsbox.pstree(threads=False)
            drawn = tree.text(ns_changes=False)
            result = subprocess.run(["pstree", "-T", "-U"], capture_output=True, text=True, check=True,
                                    env={**os.environ, "LC_ALL": "C.UTF-8"})  # fmt: skip
            found = [tree.find(one.pid) is not None for one in nsbox.ps()]
            return found, drawn, result.stdout

    found, drawn, by_pstree = in_child(act)
    assert found
    assert all(found)
    assert drawn.startswith("?─┬─?───")
    assert by_pstree.replace("───pstree", "").split() == drawn.split()


def test_entered_processes_are_in_the_tree(who: Who) -> None:
    """What `enter` has started in a box has no parent there. It is in the table and in the tree."""

    def act() -> tuple[list[str], list[bool], str]:
        with nsbox.Box("mip", mount_proc=True) as box, ended(nsbox.Popen(SLEEP, unshare="", join=box)):
            table, tree = box.ps(), box.pstree(threads=False)
            return [one.name for one in table], [tree.find(one.pid) is not None for one in table], str(tree)

    names, found, drawn = who(act)
    assert sorted(names) == ["nsbox-init", "nsbox-init", "sleep"]
    assert found == [True] * 3
    assert drawn.startswith("?─┬─nsbox-init")


def test_the_caller_is_in_its_own_tree(who: Who) -> None:
    """As under ``docker exec``: the caller is in a PID namespace where its parent is not."""

    def act() -> tuple[bool, bool, NamespaceIds]:
        with nsbox.Box("mipU", mount_proc=True) as box:
            reader, writer = os.pipe()
            kinds = ("user", "mount", "pid")
            namespaces = [box.namespace(kind) for kind in kinds]
            if (pid := fork()) == 0:
                for namespace in namespaces:
                    raw.setns(namespace.fileno(), 0)
                if (inner := fork()) == 0:
                    tree = nsbox.pstree()
                    os.write(writer, b"%d%d" % (tree.find(os.getpid()) is not None, os.getppid() == 0))
                    os._exit(0)
                os.waitpid(inner, 0)
                os._exit(0)
            os.waitpid(pid, 0)
            for namespace in namespaces:
                namespace.close()
            os.close(writer)
            with open(reader) as answer:
                found, outside = (bool(int(digit)) for digit in answer.read())
            return found, outside, box.namespace_ids

    found, outside, _ = who(lambda: in_child(act))
    assert outside
    assert found
