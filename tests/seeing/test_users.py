"""What an ordinary user sees of their own boxes and programs is what root sees of the same scene."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import nsbox
import pytest
from nsbox.records.processes import NamespaceIds
from nsbox.seeing.tree import ProcessTree

from tests.support.forked import Who, as_user, in_child
from tests.support.needs import needs
from tests.support.running import ended

Scene = Callable[[], contextlib.AbstractContextManager[dict[str, Any]]]
"""Starts something; the boxes and shells in it by name."""

SLEEP = ["sleep", "600"]


@contextlib.contextmanager
def one_box() -> Iterator[dict[str, Any]]:
    with nsbox.Box("mipuU") as box, ended(box.Popen(SLEEP)):
        yield {"box": box}


@contextlib.contextmanager
def empty_box() -> Iterator[dict[str, Any]]:
    # No process but nsbox-init is in its namespaces.
    with nsbox.Box("mipunCTU") as box:
        yield {"box": box}


@contextlib.contextmanager
def three_deep() -> Iterator[dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        outer = stack.enter_context(nsbox.Box("mipuU"))
        middle = stack.enter_context(outer.Box("pi"))
        inner = stack.enter_context(middle.Box("pm"))
        boxes = {"outer": outer, "middle": middle, "inner": inner}
        for box in boxes.values():
            stack.enter_context(ended(box.Popen(SLEEP)))
        yield boxes


@contextlib.contextmanager
def unforked_shell() -> Iterator[dict[str, Any]]:
    with nsbox.Shell("mipU", shell="/bin/sh", fork=False) as shell:
        yield {"shell": shell}


@contextlib.contextmanager
def program() -> Iterator[dict[str, Any]]:
    with ended(nsbox.Popen(SLEEP, unshare="mipU")) as popen:
        yield {"program": popen}


@contextlib.contextmanager
def joined() -> Iterator[dict[str, Any]]:
    with nsbox.Box("mipU") as box, ended(nsbox.Popen(SLEEP, unshare="", join=box)) as popen:
        yield {"box": box, "program": popen}


@contextlib.contextmanager
def new_in_joined() -> Iterator[dict[str, Any]]:
    with nsbox.Box("mipU") as box, ended(nsbox.Popen(SLEEP, unshare="mip", join=box)) as popen:
        yield {"box": box, "program": popen}


@contextlib.contextmanager
def another_user_namespace() -> Iterator[dict[str, Any]]:
    with nsbox.Box("mipU") as outer, outer.Box("mipU") as inner, ended(inner.Popen(SLEEP)):
        yield {"outer": outer, "inner": inner}


SCENES: list[Scene] = [
    one_box, empty_box, three_deep, unforked_shell, program, joined, new_in_joined, another_user_namespace,
]  # fmt: skip


class Normal:
    """Names for ids and PIDs, in the order in which they are met: equal scenes have equal names."""

    def __init__(self, own: NamespaceIds) -> None:
        self._names: dict[object, str] = {id_: f"own {kind}" for kind, id_ in own._asdict().items()}

    def __call__(self, what: str, value: object) -> str:
        if value is None:
            return "unknown"
        return self._names.setdefault(value, f"{what} {len(self._names)}")

    def ids(self, found: NamespaceIds) -> tuple[str, ...]:
        return tuple(self(kind, id_) for kind, id_ in found._asdict().items())


def frames(tree: ProcessTree, name: Normal) -> list[str]:
    """Return the texts on the frames of a picture, and its question marks, in the order of drawing."""
    texts = re.findall(r">([^<>]+)</text>", tree.svg())
    found = [re.fullmatch(r"(\w+) (\d{6,})|(\?)", text) for text in texts]
    return [one[3] or name(one[1], int(one[2])) for one in found if one]


def drawn(tree: ProcessTree) -> str:
    """Draw a tree, or what is below this process if it is there."""
    tree = tree.subtree(os.getpid()) if tree.find(os.getpid()) else tree
    return tree.text(ascii=True, mark_unknown=True, threads=False)


def seen(scene: Scene) -> dict[str, object]:
    """Look at a scene in every way, and return all that is seen of it, without the numbers that differ each time."""
    with scene() as things:
        name = Normal(nsbox.namespaces_of(os.getpid()))
        found: dict[str, object] = {}
        tree = nsbox.pstree().subtree(os.getpid())
        found["tree"] = tree.text(ascii=True, mark_unknown=True, threads=False)
        found["frames"] = frames(tree, name)
        pids = {node.pid for node in tree.walk()}
        found["ps"] = [
            (one.name, len(one.pids), one.state == "Z", name.ids(one.namespaces))
            for one in nsbox.ps()
            if one.pid in pids and one.pid != os.getpid()
        ]
        mine = [one for one in nsbox.lsns() if one.pid in pids and one.pid != os.getpid()]
        order = {name(one.kind, one.id): one for one in mine}
        found["lsns"] = [
            (
                id_, one.kind, one.process_count, sorted(pids & {one.creator}) != [], name("", one.parent),
                name("", one.owner), one.owner_uid == os.geteuid(), one.uid == os.geteuid(), one.kept_by,
            )
            for id_, one in sorted(order.items())
        ]  # fmt: skip
        for key, thing in things.items():
            found[f"of {key}"] = [
                (one.name, one.pids[0] == one.pid_outside or one.pids, name.ids(one.namespaces))
                for one in nsbox.ps(of=thing)
                if one.pid_outside in pids and one.pid_outside != os.getpid()
            ]
            found[f"tree of {key}"] = drawn(nsbox.pstree(of=thing))
            found[f"namespaces of {key}"] = name.ids(nsbox.namespaces_of(thing))
            compared = nsbox.compare(thing)
            found[f"compared with {key}"] = (
                name.ids(compared.inside), compared.own, {*compared.unknown} - {*nsbox.ipcs().unknown},
                [
                    (pair.outside.name, name.ids(pair.inside.namespaces))
                    for pair in compared.pairs
                    if pair.outside.pid in pids and pair.outside.pid != os.getpid()
                ],
            )  # fmt: skip
            snapshot = nsbox.snapshot(thing)
            found[f"snapshot of {key}"] = (
                [one.name for one in snapshot.processes if one.pid_outside in pids], snapshot.unknown,
                drawn(snapshot.tree),
            )  # fmt: skip
            if compared.own and "pid" in compared.own:
                with nsbox.observe(of=thing) as observation:
                    pass
                found[f"observed of {key}"] = str(observation.diff)
        return found


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_user_sees_what_root_sees(scene: Scene) -> None:
    needs(Who("root"), "mipuU")
    by_root, by_user = seen(scene), as_user(lambda: seen(scene))
    for part, expected in by_root.items():
        assert by_user[part] == expected, part
    assert "?" not in str(by_user["tree"])


def test_an_init_that_is_stopped(who: Who) -> None:
    """It cannot reply. What it has said before holds, and its namespaces are unknown otherwise: drawn as unknown."""

    def act() -> list[str]:
        def drawn() -> str:
            return nsbox.pstree().subtree(os.getpid()).text(mark_unknown=True, threads=False)

        with nsbox.Box("mipU") as asked, nsbox.Box("mipU") as other:
            found = [nsbox.pstree(of=asked).text(mark_unknown=True)]
            nsbox.Box("u").close()
            for box in (asked, other):
                signal.pidfd_send_signal(box.pidfd, signal.SIGSTOP)
            found.append(drawn())
            for box in (asked, other):
                signal.pidfd_send_signal(box.pidfd, signal.SIGCONT)
            return [*found, drawn()]

    first, stopped, later = who(act)
    assert first == "nsbox-init"
    assert stopped == later
    assert "2*[nsbox-init]" not in later
    assert later.count("nsbox-init(ipc,mnt,pid,user)") == 2


def test_a_child_of_fork_asks_no_init(who: Who) -> None:
    """The boxes belong to its parent, and so do the replies: what it may not read is unknown, and it does not wait."""

    def act() -> list[str]:
        def drawn() -> str:
            return nsbox.pstree(of=box.pid).text(mark_unknown=True)

        with nsbox.Box("mip") as box:
            return [drawn(), in_child(drawn)]

    own, of_child = who(act)
    assert own == "nsbox-init"
    assert of_child == ("nsbox-init" if who.is_root else "nsbox-init(?)")
