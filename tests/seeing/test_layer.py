"""What was written to a root that is an overlay: listed, and copied out, whatever the program has made."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Bind, NsboxError, Overlay, SpecError, WrittenFiles

from tests.support.forked import USER, Who

WRITES = r"""
echo new > /new; rm /gone; echo more >> /changed; mkdir /made; echo x > /made/file
rm -r /old; mkdir /old; echo y > /old/other; chmod 700 /kept/inner
rm /kept/was-a-file; mkdir /kept/was-a-file; cat /read > /dev/null
"""

HOSTILE = r"""
mkdir /n; ln -s /etc/passwd /n/link; ln -s / /n/root; mkfifo /n/fifo; cp /bin/true /n/suid; chmod 6755 /n/suid
echo x > "$(printf '/n/\033[31m\n<b>')"; truncate -s 1T /n/sparse
"""


@pytest.fixture
def rootfs(request: pytest.FixtureRequest, place: Path) -> Path:
    """Return a root with some files, of the user who runs the test; the machine's programs come by mounts."""
    root = place / "root"
    for name in ("usr", "old/inner", "kept/inner", "dev"):
        (root / name).mkdir(parents=True)
    for name in ("gone", "changed", "read", "old/inner/file", "kept/was-a-file", "kept/untouched"):
        (root / name).write_text(f"{name}\n")
    for name in ("bin", "lib", "lib64"):
        if (host := Path("/", name)).is_symlink():
            (root / name).symlink_to(host.readlink())
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
            if "who" in request.fixturenames and not request.getfixturevalue("who").is_root:
                # An overlay copies no file of a user without an id inside.
                os.chown(path, USER, USER)
    return root


def run(*args: Any, **keywords: Any) -> Any:
    """Run a program; the result has the method `changes`."""
    return nsbox.run(*args, **keywords)


def options(rootfs: Path, **more: Any) -> dict[str, Any]:
    """Return the options for it."""
    mounts = [Bind("/usr", "/usr", read_only=True), Bind("/dev", "/dev", dev=True)]
    return {"root": Overlay([rootfs], **more), "mounts": mounts, "mount_proc": True, "unshare": "mip"}


def summary(files: WrittenFiles) -> list[str]:
    """Return states and paths."""
    return [f"{file.state} {file.kind} {file.path}" for file in files]


EXPECTED = [
    "changed file /changed", "deleted file /gone", "changed directory /kept/inner", "deleted file /kept/was-a-file",
    "created directory /kept/was-a-file", "created directory /made", "created file /made/file", "created file /new",
    "deleted directory /old", "created directory /old", "created file /old/other",
]  # fmt: skip


def test_in_memory(who: Who, rootfs: Path) -> None:
    """The directory stays as it is; the result, a process and a box list what was written, also after their end."""

    def look() -> list[list[str]]:
        keywords = options(rootfs)
        done = run(["sh", "-c", WRITES], check=True, **keywords)
        with nsbox.Popen(["sh", "-c", WRITES], **keywords) as process:
            process.wait()
        with nsbox.Box(**keywords) as box:
            box.run(["sh", "-c", WRITES], check=True)
            during = summary(box.changes())
        return [summary(one) for one in (done.changes(), process.changes(), box.changes())] + [during]

    before = sorted(str(path) for path in rootfs.rglob("*"))
    for found in who(look):
        assert found == EXPECTED
    assert sorted(str(path) for path in rootfs.rglob("*")) == before
    assert (rootfs / "changed").read_text() == "changed\n"


@pytest.mark.parametrize("init", [True, False])
def test_each_arrangement(who: Who, rootfs: Path, init: bool) -> None:
    """The payload's process makes the overlay if nsbox-init stays outside."""
    done = who(lambda: summary(run(["touch", "/new"], init=init, **options(rootfs)).changes()))
    assert done == ["created file /new"]


def test_in_a_directory(who: Who, place: Path, rootfs: Path) -> None:
    """With an upper directory the files stay there, and are found again."""
    # The upper layer is a directory of the caller, in which nsbox makes no target.
    for path in (place / "upper", place / "work", rootfs / "proc"):
        path.mkdir()
        path.chmod(0o777)
    keywords = options(rootfs, upper=place / "upper", work=place / "work")

    def look() -> tuple[list[str], str]:
        run(["sh", "-c", WRITES], check=True, **keywords)
        again = run(["cat", "/new"], capture_output=True, text=True, **keywords)
        return summary(again.changes()), again.stdout

    assert who(look) == (EXPECTED, "new\n")


def test_size(who: Who, rootfs: Path) -> None:
    """The bytes that can be written are limited."""

    def fill() -> str:
        script = "head -c 100000 /dev/zero > /big; wc -c < /big"
        return str(run(["sh", "-c", script], stdout=-1, stderr=-3, text=True, **options(rootfs, size=1 << 16)).stdout)

    assert int(who(fill)) <= 1 << 16


def test_several_layers(who: Who, place: Path, rootfs: Path) -> None:
    """A file is below if any of the layers has it, and whiteouts in them hide it."""
    (place / "patch").mkdir()
    (place / "patch" / "gone").write_text("patched\n")
    keywords = options(rootfs) | {"root": Overlay([place / "patch", rootfs])}
    done = who(lambda: summary(run(["sh", "-c", "rm /gone; touch /more"], **keywords).changes()))
    assert done == ["deleted file /gone", "created file /more"]


def test_targets_are_no_changes(who: Who, rootfs: Path) -> None:
    """What nsbox makes for mounts was not written by the program; what the program writes there was."""
    (rootfs / "dev").rmdir()
    keywords = options(rootfs)
    keywords["mounts"].append(Bind("/etc/passwd", "/made/by/nsbox"))
    assert who(lambda: summary(run(["true"], **keywords).changes())) == []
    script = "touch /made/mine"
    assert who(lambda: summary(run(["sh", "-c", script], **keywords).changes())) == ["created file /made/mine"]


def test_keep(who: Who, place: Path, rootfs: Path) -> None:
    """Files are copied with their permissions, nothing else; names of a program do nothing to the reader."""
    (place / "kept").mkdir()
    (place / "kept").chmod(0o777)

    def keep() -> tuple[str, list[str], str]:
        done = run(["sh", "-c", HOSTILE.replace("truncate", ": truncate")], check=True, **options(rootfs))
        changes = done.changes()
        kept = changes.keep(place / "kept")
        return str(changes), [path for path, _ in kept.skipped], changes.html()

    text, skipped, html = who(keep)
    assert skipped == ["/n/fifo", "/n/link", "/n/root"]
    assert r"/n/\x1b[31m\x0a<b>" in text
    assert "\x1b" not in text + html
    assert "<b>" not in html
    kept = place / "kept" / "n"
    assert sorted(path.name for path in kept.iterdir()) == ["\x1b[31m\n<b>", "suid"]
    assert stat.S_IMODE((kept / "suid").stat().st_mode) == 0o755
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in kept.iterdir())


def test_keep_has_limits(who: Who, place: Path, rootfs: Path) -> None:
    """A sparse file of any length, or many files, end with an error instead of a full disk."""

    def keep() -> list[str]:
        done = run(["sh", "-c", HOSTILE + "mkdir /m; cd /m; touch 1 2 3 4 5 6 7 8 9"], **options(rootfs))
        changes, errors = done.changes(), []
        for directory, limits in (("a", {"max_bytes": 1 << 20}), ("b", {"max_files": 5})):
            (place / directory).mkdir(mode=0o777)
            with pytest.raises(NsboxError) as caught:
                changes.keep(place / directory, **limits)
            errors.append(str(caught.value))
        with pytest.raises(NsboxError) as caught:
            done.changes(max_files=5)
        return [*errors, str(caught.value)]

    place.chmod(0o777)
    bytes_, copied, listed = who(keep)
    assert "max_bytes allows more" in bytes_
    assert "max_files allows more" in copied
    assert "max_files allows more" in listed
    assert sum(path.stat().st_size for path in (place / "a").rglob("*") if path.is_file()) <= 1 << 20


def test_deep_directories(rootfs: Path) -> None:
    """Directories in each other, without an end, take no more descriptors than there are."""
    script = "i=0; while [ $i -lt 300 ]; do mkdir d && cd -P d || exit 1; i=$((i+1)); done; touch end"
    done = run(["sh", "-c", script], **options(rootfs))
    changes = done.changes()
    assert len(changes) == 101
    assert "below more than 100 directories" in changes.notes[0]
    assert changes.notes[0] in str(changes)


def test_closed_directory(who: Who, rootfs: Path) -> None:
    """A directory that the caller may not open is named."""

    def look() -> tuple[list[str], tuple[str, ...]]:
        changes = run(["sh", "-c", "mkdir /d; touch /d/x; chmod 0 /d"], **options(rootfs)).changes()
        return summary(changes), changes.notes

    found, notes = who(look)
    assert found[0] == "created directory /d"
    assert (len(found), len(notes)) == ((2, 0) if who.is_root else (1, 1))


def test_keep_into_a_directory_with_files(place: Path, rootfs: Path) -> None:
    """It is refused, so nothing is overwritten, and no link there is followed."""
    done = run(["touch", "/new"], **options(rootfs))
    (place / "full").mkdir()
    (place / "full" / "new").symlink_to("/nonexistent")
    with pytest.raises(FileExistsError, match="not empty"):
        done.changes().keep(place / "full")
    assert done.changes().keep(place / "made" / "here").files == 1


def test_no_overlay(rootfs: Path) -> None:
    """Without such a root there is nothing to list; a process in a box has none of its own."""
    with nsbox.Box("mip") as box, pytest.raises(SpecError, match=r"^changes: the root is no overlay"):
        box.changes()
    with nsbox.Popen(["true"]) as process, pytest.raises(SpecError, match=r"^changes: the root is no overlay"):
        process.changes()
    with (
        nsbox.Box(**options(rootfs)) as box,
        box.Popen(["true"]) as process,
        pytest.raises(SpecError, match="of the box"),
    ):
        process.changes()
    assert isinstance(nsbox.run(["true"]), subprocess.CompletedProcess)
    assert not hasattr(nsbox.run(["true"]), "changes")


def test_layer_with_mounts(who: Who) -> None:
    """A user namespace cannot leave out the mounts below a layer, and the error says so."""
    if who.is_root:
        assert run(["true"], root=Overlay(["/"])).returncode == 0
        return
    with pytest.raises(nsbox.SpawnError) as caught:
        who(lambda: run(["true"], root=Overlay(["/"])))
    assert (caught.value.step, caught.value.hint.startswith("see what is mounted there: findmnt")) == ("layers", True)


def test_descriptors(rootfs: Path) -> None:
    """The layer's descriptors are closed with the objects that hold them."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        run(["true"], **options(rootfs)).changes()
    assert len(os.listdir("/proc/self/fd")) == before
