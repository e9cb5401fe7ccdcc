"""Parsing of mountinfo, with any names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.errors import SpecError
from nsbox.records.mountinfo import nsfs_mounts, parse, visible_at
from nsbox.seeing.mounts import MountTable, mounts

pytestmark = pytest.mark.pure

PATHS = st.binary(max_size=30).map(lambda raw: b"/" + raw.replace(b"\0", b""))
WORDS = st.from_regex(r"[a-z][a-z0-9=:]{0,8}", fullmatch=True)


def mangled(path: bytes) -> bytes:
    """Escape as the kernel does (seq_path, mangle)."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in path)


@given(
    st.integers(1, 2**31), st.tuples(st.integers(0, 4095), st.integers(0, 2**20)), PATHS, PATHS,
    st.lists(WORDS, min_size=1, max_size=4),
    st.lists(st.sampled_from(["shared:1", "master:2", "propagate_from:3", "unbindable"]), max_size=3), PATHS,
)  # fmt: skip
def test_any_mount_is_exact(
    id: int,
    device: tuple[int, int],
    root: bytes,
    point: bytes,
    options: list[str],
    propagation: list[str],
    source: bytes,
) -> None:
    line = b"%d 7 %d:%d %b %b %b " % (id, *device, mangled(root), mangled(point), ",".join(options).encode())
    line += b"".join(field.encode() + b" " for field in propagation)
    line += b"- ext4 %b rw,%b\n" % (mangled(source), options[0].encode())
    (found,) = parse(line)
    assert (found.id, found.parent, found.device) == (id, 7, device)
    assert (os.fsencode(found.root), os.fsencode(found.point), os.fsencode(found.source)) == (root, point, source)
    assert (found.options, found.propagation) == (tuple(options), tuple(propagation))
    assert (found.fstype, found.super_options) == ("ext4", ("rw", options[0]))


@given(st.binary() | st.text("0123456789 :/-\\\n,[]a", max_size=120).map(str.encode))
def test_anything_is_survived(text: bytes) -> None:
    for mount in parse(text):
        assert mount.id >= 0 or b"-" in text
    for _, id_, _ in nsfs_mounts(text):
        assert id_ >= 0
    str(MountTable(parse(text)))


def test_an_empty_source_and_a_missing_end() -> None:
    (first, second) = parse(b"1 0 0:1 / /a rw - tmpfs  rw,size=1k\n2 1 0:2 / /b rw - tmpfs none\nnonsense\n\n")
    assert (first.source, first.super_options) == ("", ("rw", "size=1k"))
    assert (second.source, second.super_options) == ("none", ())


def test_namespaces_that_are_mounted() -> None:
    text = (
        b"1 0 0:4 net:[4026532181] /run/a\\040b rw shared:3 - nsfs nsfs rw\n"
        b"2 0 0:4 mnt:[7] /c rw - nsfs nsfs rw\n3 0 0:5 /x /d rw - tmpfs nsfs rw\n"
    )
    assert list(nsfs_mounts(text)) == [("net", 4026532181, "/run/a b"), ("mnt", 7, "/c")]


def test_the_callers_own() -> None:
    table = mounts()
    root = table.at("/")
    assert root is not None
    assert root.point == "/"
    assert table[0:2][0] == table[0]
    assert table.at("/nowhere at all") is None
    lines = str(table).splitlines()
    assert len(lines) == 1 + len(table)
    found: dict[str, Any] = {mount.point: mount for mount in table}
    assert found["/proc"].pid_namespace == os.stat("/proc/self/ns/pid").st_ino


def table(*rows: tuple[int, int, str]) -> MountTable:
    return MountTable(
        parse(b"\n".join(b"%d %d 0:%d / %b rw - tmpfs t%d rw" % (id, above, id, os.fsencode(point), id)
                         for id, above, point in rows))
    )  # fmt: skip


def found(rows: MountTable, *points: Any) -> list[int | None]:
    return [None if (mount := rows.at(point)) is None else mount.id for point in points]


STACKED = [
    (1, 0, "/"),
    (2, 1, "/mnt"),
    (3, 2, "/mnt"),
    (4, 3, "/mnt"),
    (5, 3, "/mnt/low"),
    (6, 1, "/srv/a/b"),
    (7, 1, "/srv"),
]


def test_the_last_of_a_stack_is_visible() -> None:
    """Also of three, in any order of the list; what is mounted below a covered directory is hidden."""
    for rows in (STACKED, STACKED[::-1]):
        assert found(table(*rows), "/", "/mnt", "/mnt/low", "/srv", "/srv/a/b", "/none") == [1, 4, None, 7, None, None]


def test_paths_in_every_form() -> None:
    points: list[Any] = [b"/mnt", Path("/mnt"), "/mnt/", "//mnt", "/./mnt//", b"/mnt/", os.fsencode("/mnt")]
    assert found(table(*STACKED), *points, "//", "/.") == [4] * len(points) + [1, 1]
    assert found(table((1, 0, "/"), (2, 1, "/\udcff")), b"/\xff", "/\udcff/") == [2, 2]
    for point in ("mnt", "", b"", "/mnt/../srv", "."):
        with pytest.raises(SpecError, match="expected an absolute path"):
            table(*STACKED).at(point)


def test_a_mount_on_the_root_directory_hides_nothing() -> None:
    """The process keeps the root directory that it has: ``mount -t tmpfs none /`` changes nothing for it."""
    assert found(table((1, 0, "/"), (2, 1, "/mnt"), (3, 1, "/")), "/", "/mnt") == [1, 2]


def test_below_a_chroot() -> None:
    """In a directory of a mount, that mount is not listed, and several others have no parent in the list."""
    rows = table((4, 1, "/proc"), (5, 1, "/sys"), (6, 5, "/sys/fs"), (7, 4, "/proc"))
    assert found(rows, "/", "/proc", "/sys", "/sys/fs") == [None, 7, 5, 6]
    assert found(MountTable(()), "/", "/proc") == [None, None]
    assert visible_at([], "/") is None
