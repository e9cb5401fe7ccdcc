"""Mounts as values: what they accept, and that they do not change."""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox import Bind, Overlay, Proc, SpecError, Tmpfs

pytestmark = pytest.mark.pure

EACH: list[Any] = [
    Bind("/usr", "/usr", read_only=True),
    Tmpfs("/tmp", size=4096, mode=0o700),
    Overlay("/mnt", ["/a", "/b"], "/u", "/w"),
    Proc("/proc"),
]


@pytest.mark.parametrize("mount", EACH, ids=lambda mount: type(mount).__name__)
def test_value(mount: Any) -> None:
    """A mount is frozen, comparable, hashable and picklable, and its repr is the call."""
    assert pickle.loads(pickle.dumps(mount)) == mount == dataclasses.replace(mount)
    assert hash(pickle.loads(pickle.dumps(mount))) == hash(mount)
    assert eval(repr(mount)) == mount
    with pytest.raises(dataclasses.FrozenInstanceError):
        mount.target = "/other"


@pytest.mark.parametrize("path", ["/mnt/é", "/mnt/é".encode(), Path("/mnt/é")], ids=["str", "bytes", "path"])
def test_paths(path: Any) -> None:
    """All types of paths are equal."""
    assert Bind(path, path) == Bind("/mnt/é", "/mnt/é")
    assert Overlay(path, [path, path]).lower == ("/mnt/é",) * 2


def test_relative_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative source is resolved when the mount is made, so that later changes of directory do not matter."""
    monkeypatch.chdir(tmp_path)
    here = os.getcwd()
    assert Bind("a/../b", "/b").source == f"{here}/a/../b"
    overlay = Overlay("/o", ["l"], "u", "w")
    assert (overlay.lower, overlay.upper, overlay.work) == ((f"{here}/l",), f"{here}/u", f"{here}/w")


@pytest.mark.parametrize(
    ("cls", "arguments", "argument"),
    [
        (Bind, ("", "/a"), "source"),
        (Bind, ("/a", "relative"), "target"),
        (Bind, ("/a", "/", False, False), "recursive"),
        (Bind, ("/a", "/x/.."), "target"),
        (Bind, ("/a", "//"), "target"),
        (Bind, ("/a", "/b\0"), "target"),
        (Bind, ("/a", None), "target"),
        (Bind, (5, "/b"), "source"),
        (Bind, ("/a", "/b", 1), "read_only"),
        (Bind, ("/a", "/b", False, None), "recursive"),
        (Bind, ("/a", "/b", False, True, "yes"), "dev"),
        (Tmpfs, ("tmp",), "target"),
        (Tmpfs, ("/tmp", 0), "size"),
        (Tmpfs, ("/tmp", -1), "size"),
        (Tmpfs, ("/tmp", "1m"), "size"),
        (Tmpfs, ("/tmp", True), "size"),
        (Tmpfs, ("/tmp", 2**63), "size"),
        (Tmpfs, ("/tmp", None, 0o10000), "mode"),
        (Tmpfs, ("/tmp", None, "755"), "mode"),
        (Overlay, ("/o", "/lower"), "lower"),
        (Overlay, ("/o", 5), "lower"),
        (Overlay, ("/o", []), "lower"),
        (Overlay, ("/o", [], "/u", "/w"), "lower"),
        (Overlay, ("/o", ["/l"]), "lower"),
        (Overlay, ("/o", ["/l", ""]), "lower"),
        (Overlay, ("/o", ["/l"], "/u"), "work"),
        (Overlay, ("/o", ["/l", "/m"], None, "/w"), "work"),
        (Overlay, ("/o", ["/l", "/m"], None, None, 4096), "size"),
        (Overlay, (["/l"], (), "/u", "/w", 4096), "size"),
        (Overlay, (["/l"], (), None, None, 0), "size"),
        (Overlay, ([],), "lower"),
        (Overlay, ("/",), "lower"),
        (Proc, ("proc",), "target"),
    ],
    ids=str,
)
def test_refused(cls: Any, arguments: tuple[Any, ...], argument: str) -> None:
    """The message begins with the argument that is wrong."""
    with pytest.raises(SpecError, match=f"^{argument}: "):
        cls(*arguments)


@given(st.text() | st.binary())
def test_any_path(path: str | bytes) -> None:
    """Any path is either accepted unchanged or refused."""
    try:
        mount = Bind(path, path)
    except (SpecError, UnicodeEncodeError):
        return
    assert isinstance(mount.target, str)
    assert os.fsencode(mount.target) == os.fsencode(path)
