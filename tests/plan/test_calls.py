"""System calls as data: the values that are given are read back, and the text is made from them."""

from __future__ import annotations

import os
from typing import Any

import nsbox
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox import Bind
from nsbox._core import Call
from nsbox.command.equivalents import command_for
from nsbox.records.steps import data_of

pytestmark = pytest.mark.pure

VALUES: list[tuple[Any, str]] = [
    (None, "NULL"),
    (-3, "-3"),
    (("MS_REC", "MS_BIND"), "MS_REC|MS_BIND"),
    ((), "0"),
    ("/a b", '"/a b"'),
    ("/\udcff\"\\\n'", '"/\\xff\\"\\\\\\n\'"'),
    ({"file": "/run/netns/a"}, "</run/netns/a>"),
    ([1, ["x"]], '[1, ["x"]]'),
    ({"rlim_cur": 5, "rlim_max": ("RLIM_INFINITY",)}, "{rlim_cur=5, rlim_max=RLIM_INFINITY}"),
    (((0, 1000, 1), (1, 100000, 9)), '"0 1000 1\\n1 100000 9\\n"'),
]


@pytest.mark.parametrize(("value", "text"), VALUES, ids=[text for _, text in VALUES])
def test_values(value: object, text: str) -> None:
    """Each kind of value has one form in Python and one as text."""
    call = Call("name", first=1, value=value)
    assert str(call) == f"name(1, {text})"
    assert call.arguments == [("first", 1), ("value", value)]
    assert call == Call("name", first=1, value=value)


@pytest.mark.parametrize("value", [True, 1.5, object(), ("a", 1), {1: 2}, 2**80])
def test_wrong_arguments(value: object) -> None:
    """The error names the argument."""
    with pytest.raises((TypeError, OverflowError)):
        Call("name", value=value)


def test_programs() -> None:
    """Programs are written without quotes."""
    call = Call.program("newuidmap", pid=("PID",), rows=((0, 5, 1),))
    assert (str(call), call.is_program) == ("newuidmap PID 0 5 1", True)


@given(st.binary().filter(lambda path: b"\0" not in path))
def test_paths(path: bytes) -> None:
    """Any bytes are a path, and are read back; the literal is printable ASCII."""
    call = Call("chdir", path=path)
    assert call.arguments == [("path", os.fsdecode(path))]
    text = str(call)
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize("name", ["AT_RECURSIVE", '") in the new root', "MOUNT_ATTR_RDONLY", "\\n", "x; umount"])
def test_a_path_cannot_be_taken_for_a_flag(name: str) -> None:
    """The commands are made from values, so that no text in a path changes their meaning."""
    plan = nsbox.explain(["true"], mounts=[Bind(f"/{name}", "/b", recursive=False)])
    (command,) = (step.command for step in plan.steps if step.name == "bind")
    assert command.startswith("mount --bind -o nosuid,nodev ")


@pytest.mark.parametrize(
    ("flags", "source", "fstype", "command"),
    [
        (("MS_RDONLY", "MS_REMOUNT", "MS_BIND"), None, None, "mount -o ro,remount,bind /t"),
        (("MS_BIND", "MS_REC"), "/s", None, "mount --rbind /s /t"),
        (("MS_MOVE",), "/s", None, "mount --move /s /t"),
        (("MS_REC", "MS_SHARED"), None, None, "mount --make-rshared /t"),
        (("MS_NOSUID",), "tmpfs", "tmpfs", "mount -t tmpfs -o nosuid tmpfs /t"),
    ],
)
def test_mounts_in_a_box(flags: tuple[str, ...], source: str | None, fstype: str | None, command: str) -> None:
    """The commands have the syntax of mount(8)."""
    call = Call("mount", source=source, target="/t", filesystemtype=fstype, mountflags=flags, data=None)
    assert command_for("mount", data_of([call])) == command
