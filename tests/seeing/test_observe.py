"""`observe` of boxes, shells and PIDs: the host name, and a box in the PID namespace of the caller."""

from __future__ import annotations

import os
from typing import Any

import nsbox

from tests.support.forked import Who


def test_the_host_name(who: Who) -> None:
    """Set in a box, in a box of a box, in a shell and in the shell's PID; a namespace of its own is no change."""

    def act() -> dict[str, Any]:
        found: dict[str, Any] = {}
        with nsbox.Box("mipu") as box, box.Box("mipu", hostname="inner") as nested, nsbox.Shell("mipu") as shell:
            with nsbox.observe(of=box) as seen, nsbox.observe() as outside:
                box.run(["sh", "-c", "exec 2>&-; hostname outer || echo outer > /proc/sys/kernel/hostname"], check=True)
            found["box"], found["outside"] = seen.diff, outside.diff
            with nsbox.observe(of=nested) as seen:
                nested.hostname = "new\x1b"
            found["nested"] = seen.diff
            with nsbox.observe(of=shell) as by_shell, nsbox.observe(of=shell.pid) as by_pid:
                shell.run("hostname lab", check=True)
            found["shell"], found["pid"] = by_shell.diff, by_pid.diff
        return found

    found = who(act)
    own = os.uname().nodename
    assert found["box"].hostname == (own, "outer")
    assert f"~ host name outer was {own}" in " ".join(found["box"].text(color=False).split())
    assert repr(found["box"]).endswith("host name>")
    assert found["outside"].hostname is None
    assert found["nested"].hostname == ("inner", "new\\x1b")
    for name in ("shell", "pid"):
        # The interpreter, which enters the UTS namespace, may be where the user of the tests cannot read.
        unknown = "host name: unknown" in found[name].notes
        assert found[name].hostname == (None if unknown else (own, "lab"))
        assert not (unknown and who.is_root)
    again = nsbox.Diff.from_dict(found["box"].to_dict())
    assert again.hostname == found["box"].hostname
    assert again
    older = found["box"].after.to_dict()
    del older["hostname"]
    assert nsbox.Snapshot.from_dict(older).hostname is None
    assert "host name outer" in str(found["box"].after)


def test_a_box_in_the_pid_namespace_of_the_caller(who: Who) -> None:
    """Its processes are those of the caller's own PID namespace, and may be seen by every user."""

    def act() -> Any:
        with nsbox.Box("u") as box, nsbox.observe(of=box) as seen:
            running = box.Popen(["sleep", "1000"])
            tables = box.ps(), nsbox.ps(of=box), nsbox.ps()
            first = [table.find(1) for table in tables]
            init = [table.find(box.pid) for table in tables]
            ids = box.namespace_ids
            came = [one.pid for one in seen.diff.processes.came]
            tree = box.pstree().find(running.pid)
            running.kill()
            running.wait()
        return [len(table) for table in tables], first, init, ids, came, running.pid, tree is not None

    counts, first, init, ids, came, pid, in_tree = who(act)
    assert min(counts) > 0.5 * max(counts)
    assert [one.pid for one in first] == [1, 1, 1]
    # Nobody else is taken for its init.
    assert first[0].namespaces == first[1].namespaces == first[2].namespaces
    assert init[1].namespaces == ids
    assert pid in came
    assert in_tree


def test_only_what_was_done_is_new(who: Who) -> None:
    """A program in a box, in a box of a box, in a shell, beside a PID: no old namespace comes or goes for it."""

    def act() -> dict[str, Any]:
        found: dict[str, Any] = {}
        with nsbox.Box("mip") as box, box.Box("pi") as nested, nsbox.Shell("mip") as shell:
            targets: dict[str, Any] = {"box": box, "nested": nested, "box's pid": box.pid}
            for name, target in targets.items():
                place = nested if target is nested else box
                with nsbox.observe(of=target) as seen:
                    running = place.Popen(["sleep", "1000"])
                with nsbox.observe(of=target) as ending:
                    running.kill()
                    running.wait()
                found[name] = seen.diff, ending.diff
            with nsbox.observe(of=shell) as seen:
                shell.run("sleep 1000 &")
            with nsbox.observe(of=shell) as ending:
                shell.run("kill $!; wait", check=True)
            found["shell"] = seen.diff, ending.diff
            with nsbox.observe(of=box) as seen:
                inner = box.Box("u")
            with nsbox.observe(of=box) as ending:
                inner.close()
            found["made"] = seen.diff, ending.diff
        return found

    found = who(act)
    made, ended = found.pop("made")
    for name, (begun, over) in found.items():
        assert not begun.namespaces, (name, str(begun))
        assert not over.namespaces, (name, str(over))
        # A shell does not wait until its background job has executed the program.
        assert [one.pid for one in begun.processes.came] == [one.pid for one in over.processes.went], name
        assert [one.comm for one in over.processes.went] == [b"sleep"] or name == "shell", name
    kinds = {"uts"} if who.is_root else {"uts", "user"}
    assert "uts" in {one.kind for one in made.namespaces.came} <= kinds
    assert {one.kind for one in ended.namespaces.went} <= kinds
    assert not made.namespaces.went
    assert not ended.namespaces.came
