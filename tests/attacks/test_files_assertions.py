"""Assertions are not fooled by what a program in the box mounts, links or writes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import nsbox
import pytest
from nsbox.assertions import assert_init, assert_isolated, assert_mounted, assert_proc_matches
from nsbox.quiz import mounted, sees

from tests.support.attack import Arrangement

NEW_TMP = "mount -t tmpfs none /tmp && cd /tmp && "
FAKE_PROC = (
    NEW_TMP
    + """
mkdir -p proc/self/ns proc/1/ns
echo '70 60 0:99 / /data rw - tmpfs none rw' > proc/self/mountinfo
echo '70 60 0:99 / /data rw - tmpfs none rw' > proc/1/mountinfo
printf 'Name:\\tbash\\nPid:\\t1\\nNSpid:\\t1\\n' > proc/self/status
cp proc/self/status proc/1/status
echo bash > proc/self/comm
ln -s /etc/passwd proc/self/ns/net
mount --rbind proc /proc
"""
)
"""A directory with the files that an assertion wants to see."""

FAKE_FILES = (
    NEW_TMP
    + """
echo '70 60 0:99 / /data rw - tmpfs none rw' > mountinfo
printf 'Name:\\tbash\\nPid:\\t1\\nNSpid:\\t1\\n' > status
for process in /proc/[0-9]*; do
    mount --bind mountinfo $process/mountinfo
    mount --bind status $process/status
done
"""
)
"""The proc of the box, in which the files of all processes are covered."""

OTHER_PROC = (
    NEW_TMP + "mkdir other && unshare -pf sh -c 'mount -t proc none /tmp/other && mount --rbind /tmp/other /proc'"
)
"""The proc of another PID namespace, whose PID 1 is another process."""

PART_OF_PROC = NEW_TMP + "mkdir -p part && mount -t proc none part && mount --bind part/sys /proc"
"""A directory of a proc, in which there are no processes."""

FORGERIES = {
    "a fake proc": FAKE_PROC,
    "covered files": FAKE_FILES,
    "another proc": OTHER_PROC,
    "a part of a proc": PART_OF_PROC,
}


@contextlib.contextmanager
def forged(arrangement: Arrangement, forgery: str) -> Iterator[tuple[nsbox.Box, Any]]:
    """Make a box where a program has forged /proc, and another program in it that is to be judged."""
    with nsbox.Box(**arrangement.options) as box, box.Popen(["sleep", "1000"]) as process:
        box.run(["sh", "-c", forgery], check=True)
        try:
            yield box, process
        finally:
            process.kill()


def fails(assertion: Callable[..., None], *arguments: object) -> bool:
    """Whether an assertion fails."""
    try:
        assertion(*arguments)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("target", ["the box", "a program"])
def test_forged_proc(with_user_namespace: Arrangement, forgery: str, target: str) -> None:
    """No assertion believes what a program has put in the place of the kernel's files."""

    def use() -> dict[str, object]:
        with forged(with_user_namespace, forgery) as (box, process):
            judged = box if target == "the box" else process
            return {
                "mounted": fails(assert_mounted, judged, "/data", "tmpfs"),
                "question": mounted(judged, "/data").value,
                "network": fails(assert_isolated, judged, "net"),
                "name": fails(assert_init, judged, "bash"),
                "proc": fails(assert_proc_matches, judged),
            }

    # In this one case the proc of the box is still there, and init looks at no file in it that is covered.
    proc = (forgery, target) != (FAKE_FILES, "the box")
    expected = {"mounted": True, "question": "", "network": True, "name": True, "proc": proc}
    assert with_user_namespace(use) == expected


def test_what_is_true_is_believed(with_user_namespace: Arrangement) -> None:
    """The same assertions hold where nothing was forged."""

    def use() -> list[bool]:
        with forged(
            with_user_namespace, "mount -t tmpfs none /tmp && mkdir /tmp/a && mount -t ramfs none /tmp/a"
        ) as both:
            found = [fails(assert_proc_matches, judged) for judged in both]
            return found + [fails(assert_mounted, judged, "/tmp/a", "ramfs") for judged in both]

    assert with_user_namespace(use) == [False] * 4


def test_hidden_mount(with_user_namespace: Arrangement) -> None:
    """A mount that a later one hides is none, though mountinfo still lists it."""
    hide = "mount -t tmpfs none /tmp && mkdir /tmp/a && mount -t ramfs none /tmp/a && mount -t tmpfs none /tmp"

    def use() -> tuple[Any, ...]:
        with forged(with_user_namespace, hide) as (box, process):
            listed = any(mount.point == "/tmp/a" for mount in nsbox.mounts(process.pid))
            hidden = [fails(assert_mounted, judged, "/tmp/a", "ramfs") for judged in (box, process)]
            return listed, hidden, mounted(process, "/tmp/a").value

    assert with_user_namespace(use) == (True, [True, True], "")


def test_links_stay_below_the_root(with_user_namespace: Arrangement) -> None:
    """A symbolic link leads where it leads for the program, not to the files of the grader."""
    links = NEW_TMP + "mkdir real && touch real/flag && ln -s /tmp/real link && ln -s /proc/self/root/etc out"

    def use() -> list[object]:
        with forged(with_user_namespace, links) as (_, process):
            paths = ("/tmp/link/flag", "/tmp/out/passwd", "/tmp/link", "/tmp/nothing")
            return [sees(process, path).value for path in paths]

    assert with_user_namespace(use) == [True, False, True, False]
