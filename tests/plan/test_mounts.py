"""Mounts: they are what was asked for, at the right place only, even if paths change meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Bind, Overlay, Proc, Tmpfs

from tests.support import libc, seccomp
from tests.support.forked import Who, in_child
from tests.support.needs import needs_root
from tests.support.rootfs import Rootfs
from tests.support.seccomp import Deny
from tests.support.start import failure, plan_for

CLONE_NEWNS = 0x20000
ARRANGEMENTS: dict[str, dict[str, Any]] = {
    "init": {"unshare": "mip"},
    "no init": {"unshare": "mip", "init": False},
    "no fork": {"unshare": "m", "fork": False},
}


def shell(script: str, *mounts: Any, **options: Any) -> str:
    """Return the output of a script, errors included."""
    command = ["sh", "-c", script]
    run = nsbox.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, mounts=mounts, **options)
    return str(run.stdout)


def mountinfo(*mounts: Any, **options: Any) -> dict[str, tuple[set[str], str]]:
    """Return the options and the type of each mount by its mount point; the topmost if there are several."""
    fields = [line.split() for line in shell("cat /proc/self/mountinfo", *mounts, **options).splitlines()]
    return {line[4]: (set(line[5].split(",")), line[line.index("-") + 1]) for line in fields}


@pytest.fixture
def spot(place: Path) -> Path:
    """Return a directory to mount on."""
    path = place / "spot"
    path.mkdir()
    path.chmod(0o777)
    return path


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_bind(who: Who, place: Path, spot: Path, arrangement: str) -> None:
    """The directory can be read and written under another path, only inside."""
    (place / "source").mkdir()
    (place / "source").chmod(0o777)
    assert (
        who(lambda: shell(f"echo hello > {spot}/file", Bind(place / "source", spot), **ARRANGEMENTS[arrangement])) == ""
    )
    assert (place / "source" / "file").read_text() == "hello\n"
    assert not list(spot.iterdir())


def test_bind_of_a_file(who: Who, place: Path, spot: Path) -> None:
    """A file is bound on a file."""
    (place / "source").write_text("bound\n")
    (spot / "file").touch()
    assert who(lambda: shell(f"cat {spot}/file", Bind(place / "source", spot / "file"))) == "bound\n"


def test_read_only_with_all_that_is_below(who: Who, place: Path, spot: Path) -> None:
    """MS_REMOUNT would change only the mount itself; here all mounts below are read-only too, and the source is not."""
    (place / "source" / "below").mkdir(parents=True)
    for path in (place / "source", place / "source" / "below"):
        path.chmod(0o777)
    script = f"for d in {spot} {spot}/below {place}/source {place}/source/below; do touch $d/x && echo $d; done"

    def check() -> str:
        below, bind = Tmpfs(place / "source" / "below"), Bind(place / "source", spot, read_only=True)
        with nsbox.Box("mip", mounts=[below]) as box, box.Box("mip", mounts=[bind]) as inner:
            run = inner.run(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            return str(run.stdout)

    lines = who(check).splitlines()
    assert [line for line in lines if "Read-only file system" not in line] == [
        f"{place}/source", f"{place}/source/below",
    ]  # fmt: skip
    assert len(lines) == 4


@needs_root
def test_only_the_mount_itself(place: Path, spot: Path) -> None:
    """Without recursion the mounts below are left out; a user namespace may not uncover what they hide."""
    (place / "source" / "below").mkdir(parents=True)
    (place / "source" / "below" / "hidden").touch()
    options: dict[str, Any] = {"unshare": "m"}
    bind = Bind(place / "source", spot, recursive=False)

    def check() -> tuple[str, nsbox.SpawnError]:
        libc.unshare(CLONE_NEWNS)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        libc.mount("nothing", str(place / "source" / "below"), "tmpfs")
        return shell(f"ls {spot}/below", bind, **options), failure(mounts=[bind], map_root_user=True)

    seen, error = in_child(check)
    assert seen == "hidden\n"
    assert (error.step, error.errno) == ("source", errno.EINVAL)
    assert "may not leave out" in error.evidence
    assert "recursive" in error.hint


@needs_root
@pytest.mark.parametrize("flags", [libc.MS_RDONLY, libc.MS_RDONLY | 0x2 | 0x4 | 0x8], ids=["ro", "all"])
def test_locked_flags_stay(who: Who, place: Path, spot: Path, flags: int) -> None:
    """A user namespace cannot remove flags that the mount has outside (mount_namespaces(7)), and need not try."""
    (place / "source").mkdir()

    def check() -> set[str]:
        libc.unshare(CLONE_NEWNS)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        libc.mount(str(place / "source"), str(place / "source"), flags=libc.MS_BIND)
        libc.mount(None, str(place / "source"), flags=libc.MS_BIND | libc.MS_REMOUNT | flags)
        options: dict[str, Any] = {"map_root_user": True}
        return who(lambda: mountinfo(Bind(place / "source", spot, dev=True), **options))[str(spot)][0]

    wanted = {"ro", "nosuid"} if flags == libc.MS_RDONLY else {"ro", "nosuid", "nodev", "noexec"}
    assert in_child(check) - {"relatime"} == wanted


def test_attributes(who: Who, place: Path, spot: Path) -> None:
    """nosuid and nodev by default, noexec for a proc; devices only if they are asked for."""
    for name in ("a", "b", "c", "d", "lower", "upper", "work"):
        (place / name).mkdir()
        (place / name).chmod(0o777)
    layers = [place / "lower"], place / "upper", place / "work"
    mounts = (
        Bind("/etc", spot), Bind("/dev", place / "a", dev=True), Tmpfs(place / "b"), Overlay(place / "c", *layers),
        Proc(place / "d"),
    )  # fmt: skip
    found = who(lambda: mountinfo(*mounts))
    usual = {"nosuid", "nodev"}
    for point, flags in ((spot, usual), (place / "a", {"nosuid"}), (place / "b", usual), (place / "c", usual),
                         (place / "d", usual | {"noexec"})):  # fmt: skip
        assert found[str(point)][0] - {"rw", "relatime"} == flags
    script = f"echo x > {place}/a/null && echo works; echo x > {place}/b/null"
    assert "works" in who(lambda: shell(script, *mounts))
    assert "denied" in who(lambda: shell(f"echo x > {spot}/null", Bind("/dev", spot)))


def test_tmpfs(who: Who, spot: Path) -> None:
    """The size and the mode are as asked for."""
    script = f"stat -c %a {spot}; head -c 100000 /dev/zero > {spot}/file; wc -c < {spot}/file"
    lines = who(lambda: shell(script, Tmpfs(spot, size=1 << 16, mode=0o750))).splitlines()
    assert lines[0] == "750"
    assert "No space left" in lines[1]
    assert int(lines[2]) == 1 << 16
    assert who(lambda: shell(f"stat -c %a {spot}", Tmpfs(spot))) == "1777\n"


def test_overlay(who: Who, place: Path, spot: Path) -> None:
    """Reads use the topmost layer that has the file; writes and deletions go to the upper layer."""
    for name in ("top", "bottom", "upper", "work"):
        (place / name).mkdir()
        (place / name).chmod(0o777)
    for name, text in (("top/both", "top\n"), ("bottom/both", "bottom\n"), ("bottom/one", "one\n")):
        (place / name).write_text(text)
    lower = [place / "top", place / "bottom"]
    read = f"cat {spot}/both {spot}/one"
    assert who(lambda: shell(read, Overlay(spot, lower))) == "top\none\n"
    assert "Read-only" in who(lambda: shell(f"touch {spot}/x", Overlay(spot, lower)))
    script = f"echo new > {spot}/new; rm {spot}/both; ls {spot}"
    assert who(lambda: shell(script, Overlay(spot, lower, place / "upper", place / "work"))) == "new\none\n"
    assert (place / "upper" / "new").read_text() == "new\n"
    assert stat.S_ISCHR((place / "upper" / "both").lstat().st_mode)
    assert (place / "top" / "both").read_text() == "top\n"
    # The upper layer is used again.
    assert who(lambda: shell(f"ls {spot}", Overlay(spot, lower, place / "upper", place / "work"))) == "new\none\n"


def test_layers_with_special_characters(place: Path, spot: Path) -> None:
    """Names contain the separators of layers and options."""
    lower = [place / "a:b", place / "c,d", place / "e\\f"]
    for path in lower:
        path.mkdir()
        (path / path.name[0]).touch()
    assert shell(f"ls {spot}", Overlay(spot, lower)) == "a\nc\ne\n"


def test_order(who: Who, place: Path, spot: Path) -> None:
    """Mounts are made in order: later ones cover earlier ones. Sources are looked up before, so they have no order."""
    (place / "source" / "inner").mkdir(parents=True)
    (place / "source" / "file").write_text("source\n")
    (spot / "mine").touch()
    mounts = Bind(place / "source", spot), Tmpfs(spot / "inner"), Bind(spot, place / "source")
    script = f"ls {spot} {place}/source; stat -f -c %T {spot}/inner"
    expected = f"{spot}:\nfile\ninner\n\n{place}/source:\nmine\ntmpfs\n"
    assert sorted(who(lambda: shell(script, *mounts)).split()) == sorted(expected.split())
    assert who(lambda: shell(f"ls {spot}", *mounts, Tmpfs(spot))) == ""


def test_exchanged(who: Who, place: Path) -> None:
    """Two binds exchange two directories."""
    for name in ("a", "b"):
        (place / name).mkdir()
        (place / name / f"of-{name}").touch()
    a, b = place / "a", place / "b"
    assert who(lambda: shell(f"ls {a}; ls {b}", Bind(a, b), Bind(b, a))) == "of-b\nof-a\n"
    assert who(lambda: shell(f"ls {a}; ls {b}", Bind(b, a), Bind(a, b))) == "of-b\nof-a\n"


def test_source_in_a_mount_of_the_list(who: Who, place: Path, spot: Path) -> None:
    """It is not found, and the error says why; a box in a box can have it."""
    (place / "layer" / "part").mkdir(parents=True)
    (place / "layer" / "part" / "file").touch()
    (place / "other").mkdir()
    first, second = Bind(place / "layer", spot), Bind(spot / "part", place / "other")
    error = who(lambda: failure(mounts=[first, second]))
    assert (error.step, error.errno) == ("source", errno.ENOENT)
    assert "below a target of the same list" in error.evidence
    assert "Box(mounts=[FIRST]).Box(" in error.hint

    def nested() -> str:
        with nsbox.Box("mip", mounts=[first]) as box, box.Box("mip", mounts=[second]) as inner:
            return str(inner.run(["ls", place / "other"], capture_output=True, text=True).stdout)

    assert who(nested) == "file\n"


def test_proc(who: Who, spot: Path) -> None:
    """It shows the new PID namespace."""
    assert who(lambda: shell(f"ls {spot}", Proc(spot))).split()[0] == "1"
    error = who(lambda: failure(unshare="Um", mounts=[Proc(spot)]))
    assert (error.step, error.errno) == ("proc", errno.EPERM)
    assert who.is_root or "make a new PID namespace, too" in error.hint


# The targets of mounts.


@pytest.fixture
def rootfs(place: Path) -> Rootfs:
    return Rootfs.make(place)


@pytest.mark.parametrize("arrangement", ["init", "no init"])
@pytest.mark.parametrize(
    "link",
    ["/etc", "../etc", "../../../../../../etc", "/../../etc", "other", "/tmp/../etc/.", "/proc/../etc"],
)
def test_links_stay_inside(who: Who, rootfs: Rootfs, link: str, arrangement: str) -> None:
    """A link to /etc in the new root means the /etc in the new root, as for a process in it."""
    (rootfs.path / "data" / "trap").symlink_to(link)
    (rootfs.path / "data" / "other").symlink_to("/etc")
    options = rootfs.options(Tmpfs("/data/trap"), **ARRANGEMENTS[arrangement])
    mounts = options.pop("mounts")
    seen = who(lambda: shell("ls /etc; cat /proc/self/mountinfo", *mounts, mount_proc=True, **options))
    points = [line.split()[4] for line in seen.splitlines()]
    assert points[-2:] == ["/etc", "/proc"]
    assert (rootfs.path / "etc" / "marker").read_text() == "in the box\n"


@pytest.mark.parametrize("target", ["/data/../../../etc", "/../etc", "/data/./../etc/"])
def test_up_stays_inside(who: Who, rootfs: Rootfs, target: str) -> None:
    """`..` ends at the new root."""
    assert who(lambda: _mounted(rootfs, Tmpfs(target))) == "/etc"


def test_links_to_paths_that_exist_only_outside(who: Who, rootfs: Rootfs) -> None:
    """A link to a path that the new root does not have is an error."""
    (rootfs.path / "data" / "trap").symlink_to("/var")
    error = who(lambda: failure(**rootfs.options(Tmpfs("/data/trap"))))
    assert (error.step, error.errno) == ("tmpfs", errno.ENOENT)


@pytest.mark.parametrize("target", ["/proc/self/root/tmp", "/proc/self/cwd", "/proc/1/root/etc"])
def test_no_magic_links(who: Who, target: str) -> None:
    """Links of /proc can lead anywhere, whatever the root is (proc(5)), and are not followed."""
    error = who(lambda: failure(mounts=[Tmpfs(target)]))
    assert (error.step, error.errno) in (("tmpfs", errno.ELOOP), ("tmpfs", errno.EACCES))


def test_no_links_of_a_proc_in_the_new_root(who: Who, rootfs: Rootfs) -> None:
    """A proc that is mounted in it first has links to the old root, which are not followed."""
    error = who(lambda: failure(**rootfs.options(Proc("/proc"), Tmpfs("/proc/1/root/srv"))))
    assert (error.step, error.errno) == ("tmpfs", errno.ELOOP)


def test_a_link_that_is_exchanged_meanwhile(who: Who, rootfs: Rootfs) -> None:
    """While a thread exchanges a directory and a link that leads out, nothing is ever mounted outside."""
    data, outside = rootfs.path / "data", rootfs.path.parent / "outside"
    for path in (outside, data / "spot", data / "parked"):
        path.mkdir()
        path.chmod(0o777)
    (data / "link").symlink_to(f"../../{outside.name}")
    (data / "absolute").symlink_to(outside)
    (rootfs.path / "tmp" / "writable").mkdir()
    (rootfs.path / "tmp" / "writable").chmod(0o777)
    with _swapping(data / "spot", data / "link", data / "absolute"):
        for _ in range(60):
            found = who(lambda: _mounted(rootfs, Tmpfs("/data/spot")))
            # The link's target is missing inside, or the directory that was found has been renamed.
            assert isinstance(found, str) or found == ("tmpfs", errno.ENOENT), found
            assert not isinstance(found, str) or Path(found).parent == Path("/data")


def _mounted(rootfs: Rootfs, mount: Any) -> str | tuple[str, int | None]:
    """Return where a mount is, or the step that failed and its error number."""
    options = rootfs.options(mount, mount_proc=True)
    try:
        seen = shell("cat /proc/self/mountinfo", *options.pop("mounts"), **options)
    except nsbox.SpawnError as error:
        return error.step, error.errno
    return [line.split()[4] for line in seen.splitlines()][-2]


@contextlib.contextmanager
def _swapping(directory: Path, *links: Path) -> Iterator[None]:
    done = threading.Event()
    away = directory.with_name("away")

    def swap() -> None:
        while not done.is_set():
            for link in links:
                directory.rename(away)
                link.rename(directory)
                done.wait(0.0002)
                directory.rename(link)
                away.rename(directory)
                done.wait(0.0002)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_too_many(place: Path) -> None:
    """Each source is kept open until it is mounted, so there is a limit."""
    with pytest.raises(nsbox.SpecError, match=r"^mounts: 256 are too many"):
        plan_for(mounts=[Bind(place, "/mnt")] * 256)
    nsbox.run(["true"], mounts=[Bind(place, "/mnt")] * 255, cwd="/", check=True)


# Targets that are made.


def test_targets_in_a_tmpfs(who: Who, place: Path, spot: Path) -> None:
    """Directories and files are made, as the source is, and every user may pass, whatever the umask is."""
    (place / "file").write_text("bound\n")
    (place / "directory").mkdir()
    mounts = (
        Tmpfs(spot), Bind(place / "file", spot / "a" / "b" / "file"), Bind(place / "directory", spot / "a/./c//d/"),
        Tmpfs(spot / "e" / "f"), Tmpfs(spot / "e" / "f" / "g"),
    )  # fmt: skip
    script = f"umask; cat {spot}/a/b/file; stat -c %a {spot}/a {spot}/a/b; stat -c %F {spot}/a/c/d {spot}/e/f/g"

    def look() -> str:
        before = os.umask(0o077)
        try:
            return shell(script, *mounts)
        finally:
            os.umask(before)

    assert who(look) == "0077\nbound\n755\n755\ndirectory\ndirectory\n"
    assert not list(spot.iterdir())


@pytest.mark.parametrize("target", ["a/../b", "../outside", "link/x"])
def test_targets_that_are_not_made(who: Who, place: Path, spot: Path, target: str) -> None:
    """Nothing is made by `..`, nor in a file system of the caller, also if a bind of it is in a tmpfs."""
    (place / "source").mkdir()
    (place / "source").chmod(0o777)
    mounts = [Tmpfs(spot), Bind(place / "source", spot / "bound"), Tmpfs(spot / target)]
    error = who(lambda: failure(mounts=mounts if target != "link/x" else [*mounts[:2], Tmpfs(spot / "bound" / "x")]))
    assert (error.step, error.errno) == ("tmpfs", errno.ENOENT)
    assert "creates nothing in files of the caller" in error.evidence
    assert not list((place / "source").iterdir())
    assert not (place / "outside").exists()


# Failures.


def step_of(mount: Any, part: str) -> str:
    """Return the step that fails: what has a source is copied or made in a step of its own, before any mount."""
    if isinstance(mount, Overlay):
        return "layers"
    return "source" if part == "looking up the source" else type(mount).__name__.lower()


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize(
    ("mount", "rule", "part"),
    [
        (Bind("/etc", "/mnt"), Deny("open_tree", errno.EPERM), "looking up the source"),
        (Bind("/etc", "/mnt"), Deny("mount_setattr", errno.EPERM), "setting its attributes"),
        (Bind("/etc", "/mnt"), Deny("openat2", errno.EACCES), "looking up the target"),
        (Bind("/etc", "/mnt"), Deny("openat2", errno.EAGAIN), "looking up the target"),
        (Bind("/etc", "/mnt"), Deny("move_mount", errno.EPERM), "mounting it there"),
        (Tmpfs("/mnt"), Deny("fsopen", errno.ENODEV), "making the file system"),
        (Tmpfs("/mnt"), Deny("fsconfig", errno.EINVAL, argument=1, equals=1), "an option"),
        (Tmpfs("/mnt"), Deny("fsconfig", errno.ENOMEM, argument=1, equals=6), "making the file system"),
        (Tmpfs("/mnt"), Deny("fsmount", errno.EPERM), "making the file system"),
        (Tmpfs("/mnt"), Deny("move_mount", errno.ENOSYS), "mounting it there"),
        (Overlay("/mnt", ["/etc", "/usr"]), Deny("fsmount", errno.EPERM), "making the file system"),
    ],
    ids=str,
)
def test_each_call_can_fail(who: Who, arrangement: str, mount: Any, rule: Deny, part: str) -> None:
    """The error names the step, and the part of it that failed."""

    def check() -> tuple[str, str, int | None, str]:
        seccomp.install(rule)
        error = failure(mounts=[mount], **ARRANGEMENTS[arrangement])
        return error.step, error.actor, error.errno, error.evidence[: len(part)]

    actor = "init" if arrangement == "init" else "payload"
    assert in_child(lambda: who(check)) == (step_of(mount, part), actor, rule.errno, part)


@pytest.mark.parametrize(
    ("mount", "number", "part"),
    [
        (Bind("/nonexistent", "/mnt"), errno.ENOENT, "looking up the source"),
        (Bind("/etc/passwd/x", "/mnt"), errno.ENOTDIR, "looking up the source"),
        (Bind("/etc", "/nonexistent"), errno.ENOENT, "looking up the target"),
        (Bind("/etc", "/etc/passwd"), errno.EINVAL, "mounting it there"),
        (Bind("/etc/passwd", "/mnt"), errno.EINVAL, "mounting it there"),
        (Tmpfs("/etc/passwd"), errno.EINVAL, "mounting it there"),
        (Tmpfs("/etc/passwd/x"), errno.ENOTDIR, "looking up the target"),
        (Tmpfs("/mnt/" + "x" * 256), errno.ENAMETOOLONG, "looking up the target"),
        (Proc("/nonexistent"), errno.ENOENT, "looking up the target"),
        (Overlay("/mnt", ["/nonexistent", "/etc"]), errno.ENOENT, ""),
        (Overlay("/mnt", ["/etc"], "/nonexistent", "/nonexistent"), errno.ENOENT, ""),
    ],
    ids=str,
)
def test_missing_paths(who: Who, mount: Any, number: int, part: str) -> None:
    """The error names the mount, and whether the source or the target is missing."""
    error = who(lambda: failure(mounts=[Tmpfs("/tmp"), mount]))
    step = step_of(mount, part)
    assert (error.step, error.actor, error.errno) == (step, "init", number)
    assert error.evidence.startswith(part)
    assert {"source": getattr(mount, "source", ""), "layers": "/nonexistent"}.get(step, mount.target) in error.call


@needs_root
def test_directories_without_search_permission(who: Who, place: Path) -> None:
    """A directory of another user."""
    (place / "closed" / "inner").mkdir(parents=True)
    (place / "closed").chmod(0)
    mounts: list[tuple[Any, str]] = [
        (Bind(place / "closed" / "inner", "/mnt"), "looking up the source"),
        (Tmpfs(place / "closed" / "inner"), "looking up the target"),
    ]
    if who.is_root:
        assert len(mountinfo(*(mount for mount, _ in mounts))) > len(mountinfo())
        return
    for error, (_mount, part) in zip(
        who(lambda: [failure(mounts=[mount]) for mount, _ in mounts]), mounts, strict=True
    ):
        assert (error.errno, isinstance(error, PermissionError)) == (errno.EACCES, True)
        assert error.evidence.startswith(part)
