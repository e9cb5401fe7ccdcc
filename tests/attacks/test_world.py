"""Mounts that make files read-only, or hide them, cannot be got around by what a process inherits or finds in /proc.

Without `harden` they arrange: root of a user namespace can unmount them. With it they hold.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Bind, Tmpfs

from tests.support.attack import PYTHON, Arrangement, achieved, program
from tests.support.forked import USER, Who
from tests.support.needs import needs_root

PLANT = """
import os
for path in ("planted", "/proc/self/cwd/planted", "/proc/1/cwd/planted", "/proc/thread-self/cwd/planted"):
    try:
        open(path, "w").close()
        print("OUT", path)
    except OSError as error:
        print(path, error)
"""

WAYS: dict[str, dict[str, Any]] = {
    "init": {"unshare": "mip"},
    "no init": {"unshare": "mip", "init": False},
    "no fork": {"unshare": "m", "fork": False},
}


@pytest.fixture
def open_directory(place: Path) -> Path:
    """Return a directory in which every user may write."""
    path = place / "open"
    path.mkdir()
    path.chmod(0o777)
    return path


@contextlib.contextmanager
def within(path: Path) -> Iterator[None]:
    """Change the working directory, and back."""
    with contextlib.chdir(path):
        yield


def test_working_directory_is_read_only(arrangement: Arrangement, open_directory: Path) -> None:
    """A directory that a bind makes read-only cannot be written to by a reference to it from before."""
    mounts = [Bind(open_directory, open_directory, read_only=True)]

    def attack() -> list[str]:
        with within(open_directory):
            return arrangement.attack(PLANT, mounts=mounts)

    assert arrangement(attack) == []
    assert not list(open_directory.iterdir())


@pytest.mark.parametrize("cwd", [None, ".", "inner/.."])
def test_relative_directories(arrangement: Arrangement, open_directory: Path, cwd: str | None) -> None:
    """A relative `cwd` is looked up from the new view of the caller's directory, too."""
    (open_directory / "inner").mkdir()
    mounts = [Bind(open_directory, open_directory, read_only=True)]

    def attack() -> list[str]:
        with within(open_directory):
            return arrangement.attack(PLANT, mounts=mounts, cwd=cwd)

    assert arrangement(attack) == []
    assert [path.name for path in open_directory.iterdir()] == ["inner"]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_starting(who: Who, open_directory: Path, way: str) -> None:
    """With and without nsbox-init inside, and without a fork."""
    options: dict[str, Any] = {"mounts": [Bind(open_directory, open_directory, read_only=True)], **WAYS[way]}

    def attack() -> tuple[int, str]:
        with within(open_directory):
            done = nsbox.run(["sh", "-c", "touch planted; pwd"], stdout=-1, stderr=-3, text=True, **options)
            return done.returncode, done.stdout

    assert who(attack) == (0, f"{open_directory}\n")
    assert not list(open_directory.iterdir())


def test_hidden_working_directory(who: Who, open_directory: Path) -> None:
    """A program does not start in a directory that is hidden; the error names it, and the remedy."""
    (open_directory / "secret").write_text("hidden")
    options: dict[str, Any] = {"mounts": [Tmpfs(open_directory.parent)]}

    def start(**more: Any) -> str:
        with within(open_directory):
            return str(nsbox.run(["ls"], capture_output=True, text=True, check=True, **options, **more).stdout)

    with pytest.raises(nsbox.SpawnError) as caught:
        who(start)
    assert (caught.value.step, caught.value.errno) == ("directory", 2)
    assert str(open_directory) in caught.value.call
    assert 'cwd="/"' in caught.value.hint
    assert "usr" in who(lambda: start(cwd="/")).split()


def test_removed_working_directory(who: Who, place: Path) -> None:
    """A directory without a path cannot be looked up anew; the error says so before anything is started."""

    def start() -> None:
        gone = place / "gone"
        gone.mkdir()
        back = os.open(".", os.O_PATH)
        os.chdir(gone)
        try:
            gone.rmdir()
            # Without mounts the directory is inherited, as by subprocess.
            nsbox.run(["true"], check=True)
            nsbox.run(["true"], mounts=[Tmpfs("/mnt")])
        finally:
            os.fchdir(back)
            os.close(back)

    place.chmod(0o777)
    with pytest.raises(nsbox.SpecError, match=r"^cwd: the working directory of the caller has been removed"):
        who(start)


def test_working_directory_of_proc(who: Who) -> None:
    """A new proc hides the old one, also from a program whose caller is in it."""

    def start() -> str:
        with within(Path("/proc/self")):
            return str(nsbox.run(["cat", "status"], cwd="/proc/1", mount_proc=True, capture_output=True).stdout)

    def inherited() -> str:
        with within(Path("/proc/sys")):
            return str(nsbox.run(["cat", "../1/comm"], mount_proc=True, capture_output=True, text=True).stdout)

    assert "nsbox-init" in who(start)
    assert who(inherited) == "nsbox-init\n"


def test_a_box_is_mounted_on_later(who: Who, open_directory: Path) -> None:
    """Programs, functions, shells and inner boxes start below what `Box.mount` has mounted since."""
    (open_directory / "secret").write_text("hidden")

    def look() -> list[str]:
        with within(open_directory), nsbox.Box("mip") as box:
            before = box.run(["ls"], capture_output=True, text=True).stdout
            box.mount("tmpfs", str(open_directory), "tmpfs")
            after = box.run(["ls"], capture_output=True, text=True).stdout
            with box.shell("/bin/sh") as shell:
                typed = shell.run("ls").stdout
            with box.Box("mip") as inner:
                nested = inner.run(["ls"], capture_output=True, text=True).stdout
            relative = box.run(["ls"], cwd=".", capture_output=True, text=True).stdout
            return [before, after, typed, nested, relative]

    assert who(look) == ["secret\n", "", "", "", ""]


def test_functions_in_a_box_that_is_mounted_on(open_directory: Path) -> None:
    """A worker that runs already looks its directory up anew, too."""
    (open_directory / "secret").write_text("hidden")
    with within(open_directory), nsbox.Box("mip") as box:
        assert box.call(os.listdir, ".") == ["secret"]
        box.mount("tmpfs", str(open_directory), "tmpfs")
        assert box.call(os.listdir, ".") == []
        assert box.call(os.listdir, ".", fresh=True) == []


def test_tasks_start_below_the_mounts(open_directory: Path) -> None:
    """The directory of a task of an executor is looked up in the box of the task."""
    (open_directory / "secret").write_text("hidden")
    mounts = [Tmpfs(open_directory)]
    with within(open_directory), nsbox.Executor(mounts=mounts) as executor:
        assert executor.submit(os.listdir, ".").result() == []


def test_shell_starts_below_the_mounts(who: Who, open_directory: Path) -> None:
    """So does a shell that is PID 1."""
    (open_directory / "secret").write_text("hidden")

    def look() -> str:
        with within(open_directory), nsbox.Shell("mip", shell="/bin/sh", mounts=[Tmpfs(open_directory)]) as shell:
            return shell.run("ls; pwd").stdout

    assert who(look) == f"{open_directory}\n"


# The whole machine.


@pytest.fixture
def machine(place: Path) -> tuple[Path, Path, Path]:
    """Return a directory with a file that is hidden, one that is read-only, and one that is writable."""
    found = place / "hidden", place / "project", place / "project" / "work"
    for path in found:
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
    (found[0] / "secret").write_text("hidden\n")
    (found[1] / "given").write_text("given\n")
    return found


@pytest.mark.parametrize("harden", [False, True], ids=["arranged", "hardened"])
def test_one_directory_is_writable(arrangement: Arrangement, machine: tuple[Path, Path, Path], harden: bool) -> None:
    """Nothing else can be written to, and what is hidden cannot be read."""
    hidden, project, work = machine
    options: dict[str, Any] = {"writable": ["work"], "hidden": [str(hidden)]}
    if harden:
        options["harden"] = True
    # The tests are in /tmp, which would be new and empty.
    options["private_tmp"] = False

    def attack() -> list[str]:
        with within(project):
            return arrangement.attack(program("world.py"), str(project), str(hidden / "secret"), str(work), **options)

    # The directory of what is hidden is there, and empty.
    assert arrangement(attack) == ["list []"]
    assert sorted(path.name for path in work.iterdir()) == ["links", "planted"]
    assert sorted(path.name for path in project.iterdir()) == ["given", "work"]
    assert [path.name for path in hidden.iterdir()] == ["secret"]


def test_it_holds_only_with_harden(with_user_namespace: Arrangement, machine: tuple[Path, Path, Path]) -> None:
    """Root of the user namespace unmounts what is arranged. Hardened, it cannot."""
    hidden, project, _ = machine
    script = f"umount {hidden} && cat {hidden}/secret; umount -l / ; mount -o remount,rw / ; echo > {project}/planted"
    options: dict[str, Any] = {"hidden": [str(hidden)], "private_tmp": False, "capture_output": True, "text": True}
    options |= with_user_namespace.options | {"cwd": "/"}

    def attack(**more: Any) -> str:
        return str(nsbox.run(["sh", "-c", script], **options, **more).stdout)

    assert with_user_namespace(attack) == "hidden\n"
    assert with_user_namespace(lambda: attack(harden=True)) == ""
    assert not (project / "planted").exists()


def test_default_places(who: Who, place: Path) -> None:
    """Homes and what belongs to services are empty; the working directory, and this Python, are shown."""
    project = place / "project"
    project.mkdir()
    (project / "given").write_text("given\n")
    (project / "work").mkdir()
    (project / "work").chmod(0o777)
    script = "cat given; echo x > work/x; ls -A /run /srv /media /var/lib; ls -A /tmp; : > given; echo x > ~/settings"

    def look() -> tuple[str, str]:
        with within(project):
            done = nsbox.run(["sh", "-c", script], writable="work", capture_output=True, text=True)
            return done.stdout, done.stderr

    stdout, stderr = who(look)
    lines = stdout.split("\n")
    assert lines[0] == "given"
    assert "/run:" in lines
    assert place.name in lines
    assert [line for line in lines if line and not line.startswith(("/", "given", place.name))] == []
    assert "given: Read-only file system" in stderr
    assert (project / "work" / "x").read_text() == "x\n"


READ = """
import os, sys
for path in sys.argv[1:]:
    try:
        print("OUT", path, open(path).read())
    except OSError:
        pass
assert not os.path.exists("given") or open("given").read() == "given"
"""


@pytest.mark.parametrize("inside", [False, True], ids=["elsewhere", "working-directory-in-it"])
@pytest.mark.parametrize("link", [False, True], ids=["home", "linked-home"])
@needs_root
def test_a_home_anywhere_is_hidden(who: Who, monkeypatch: pytest.MonkeyPatch, link: bool, inside: bool) -> None:
    """The home of the caller is empty wherever it is, such as /data/people/NAME, and by each path that leads there."""
    with tempfile.TemporaryDirectory(dir="/opt", prefix="nsbox-test-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        home, linked = place / "people" / "me", place / "link"
        (home / "project").mkdir(parents=True)
        linked.symlink_to(home)
        (home / "secret").write_text("secret")
        (home / "project" / "given").write_text("given")
        if not who.is_root:
            os.chown(home, USER, USER)
            os.chown(home / "secret", USER, USER)
            home.chmod(0o700)
            (home / "secret").chmod(0o600)
        monkeypatch.setenv("HOME", str(linked if link else home))
        command = [PYTHON, "-c", READ, str(home / "secret"), str(linked / "secret")]
        options: dict[str, Any] = {"cwd": home / "project" if inside else "/", "stdout": -1, "text": True}
        done = who(lambda: nsbox.run(command, harden=True, check=True, **options).stdout)
        assert done == ""
        # The other arrangement of files, and a list that replaces the usual one.
        assert who(lambda: nsbox.run(command, unshare="mip", readable=(), check=True, **options).stdout) == ""
        shown = who(lambda: nsbox.run(command, harden=True, hidden=(), check=True, **options).stdout)
        assert "secret" in shown


@needs_root
@pytest.mark.parametrize("home", ["/", "/bin", "/usr/sbin", "/nonexistent", "", "relative"])
def test_a_home_that_is_a_part_of_the_system(who: Who, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    """Users that are no persons have such homes; nothing is hidden for them."""
    monkeypatch.setenv("HOME", home)
    assert who(lambda: nsbox.run(["ls", "/usr/bin/env"], harden=True, cwd="/", stdout=-1).returncode) == 0


@needs_root
def test_a_home_in_a_closed_directory(who: Who, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing inside can reach it, so nothing has to be mounted there, where nsbox-init could not."""
    with tempfile.TemporaryDirectory(dir="/opt", prefix="nsbox-test-") as directory:
        home = Path(directory, "home")
        home.mkdir()
        (home / "secret").write_text("secret")
        monkeypatch.setenv("HOME", str(home))
        command = [PYTHON, "-c", READ, str(home / "secret")]
        assert who(lambda: nsbox.run(command, harden=True, cwd="/", stdout=-1, text=True, check=True).stdout) == ""


SOCKET = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as client:
    try:
        client.connect(sys.argv[1])
        print("OUT connected")
    except OSError:
        pass
"""


def test_sockets_by_path_documented(who: Who, place: Path) -> None:
    """A program outside that listens on a socket in a directory that is shown can be reached, also read-only (unix(7)).

    Where the socket is hidden it cannot.
    """

    def scene() -> tuple[list[str], ...]:
        path = place / f"socket-{who.name}"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.fspath(path))
            path.chmod(0o666)
            server.listen(8)
            command = [PYTHON, "-c", SOCKET, os.fspath(path)]
            options: dict[str, Any] = {"stdout": -1, "text": True, "harden": True}
            shown = nsbox.run(command, cwd=os.fspath(place), **options).stdout
            return achieved(shown), achieved(nsbox.run(command, cwd="/", **options).stdout)

    assert who(scene) == (["connected"], [])


DESCRIPTORS = """
import os
for flags, how in ((os.O_RDWR, "read and write"), (os.O_WRONLY | os.O_TRUNC, "truncate")):
    try:
        os.close(os.open("/proc/self/fd/0", flags))
        print("OUT", how)
    except OSError:
        pass
try:
    os.fchmod(0, 0o777)
    print("OUT permissions")
except OSError:
    pass
"""


@pytest.mark.parametrize("landlock", [True, False])
def test_standard_input_documented(who: Who, place: Path, landlock: bool) -> None:
    """A file that is passed on for reading cannot be opened again for writing, where there is Landlock.

    Its permissions can be changed by its owner, which an ordinary user's payload is.
    """

    def scene() -> list[str]:
        path = place / f"input-{who.name}"
        path.touch(0o600)
        options: dict[str, Any] = {"harden": True, "landlock": landlock, "cwd": "/", "stdout": -1, "text": True}
        with path.open("rb") as file:
            return achieved(nsbox.run([PYTHON, "-c", DESCRIPTORS], stdin=file, **options).stdout)

    opened = [] if landlock or who.is_root else ["read and write", "truncate"]
    assert who(scene) == opened + ([] if who.is_root else ["permissions"])


def test_this_python_runs(place: Path) -> None:
    """Wherever it is installed, and functions run in it."""
    with within(place):
        done = nsbox.run(
            [sys.executable, "-c", "import nsbox, sys; print(sys.prefix)"], readable=(), stdout=-1, text=True
        )
        assert done.stdout == f"{sys.prefix}\n"
        with nsbox.Box("mip", readable=()) as box:
            assert box.call(os.getcwd) == str(place)


def test_depth_decides(who: Who, place: Path) -> None:
    """Of two paths the deeper one decides, whatever it is."""
    for path in (place / "a" / "b" / "c", place / "a" / "d"):
        path.mkdir(parents=True)
        path.chmod(0o777)
    (place / "a" / "b").chmod(0o777)
    (place / "a" / "b" / "c" / "file").touch()
    options: dict[str, Any] = {
        "private_tmp": False, "cwd": "/", "hidden": [str(place / "a")], "readable": [place / "a" / "b"],
        "writable": [place / "a" / "b" / "c"],
    }  # fmt: skip
    script = f"ls {place}/a {place}/a/b; touch {place}/a/b/x; touch {place}/a/b/c/y"

    def look() -> list[str]:
        return str(nsbox.run(["sh", "-c", script], stdout=-1, stderr=-2, text=True, **options).stdout).splitlines()

    lines = who(look)
    assert lines[:5] == [f"{place}/a:", "b", "", f"{place}/a/b:", "c"]
    assert "Read-only" in lines[5]
    assert sorted(path.name for path in (place / "a" / "b" / "c").iterdir()) == ["file", "y"]


def test_nothing_changes_with_everything_writable(who: Who, open_directory: Path) -> None:
    """`writable="/"` leaves the machine as it is, also with `harden`."""

    def write() -> None:
        with within(open_directory):
            nsbox.run(["touch", "x"], writable="/", harden=True, private_tmp=False, check=True)

    who(write)
    assert [path.name for path in open_directory.iterdir()] == ["x"]


def test_passed_descriptors_stay(open_directory: Path) -> None:
    """What the caller passes on leads to the files that it has opened: it was asked for."""
    fd = os.open(open_directory, os.O_RDONLY)
    try:
        script = f"import os; os.open('asked', os.O_CREAT, dir_fd={fd})"
        mounts = [Bind(open_directory, open_directory, read_only=True)]
        nsbox.run([PYTHON, "-c", script], mounts=mounts, pass_fds=[fd], check=True, cwd="/", stderr=subprocess.PIPE)
    finally:
        os.close(fd)
    assert [path.name for path in open_directory.iterdir()] == ["asked"]


# Root's private ids.


@needs_root
def test_a_directory_of_root_is_writable(place: Path) -> None:
    """Root inside has private ids, and writes files that belong to root outside; root's other files are closed."""
    project, secret = place / "project", place / "secret"
    (project / "work").mkdir(parents=True)
    (project / "work" / "old").touch(mode=0o600)
    # The working directory is shown with what root can read; it may be closed to others.
    (project / "given").touch(mode=0o600)
    project.chmod(0o700)
    secret.touch(mode=0o600)
    script = f"cat given; cat work/old; echo new > work/new; rm work/old; cat {secret}; echo x > given; id -u"
    options: dict[str, Any] = {"harden": True, "writable": "work", "private_tmp": False, "text": True}
    with within(project):
        done = nsbox.run(["sh", "-c", script], stdout=-1, stderr=-2, **options)
        with nsbox.Box("mip", harden=True, writable="work", private_tmp=False) as box:
            box.run(["touch", "work/boxed"], check=True)
            assert sorted(box.call(os.listdir, "work")) == ["boxed", "new"]
    denied, read_only, uid = done.stdout.splitlines()
    assert (denied, uid) == (f"cat: {secret}: Permission denied", "0")
    assert "Read-only file system" in read_only
    assert sorted(path.name for path in (project / "work").iterdir()) == ["boxed", "new"]
    assert {path.stat().st_uid for path in (project / "work").iterdir()} == {0}


@needs_root
def test_a_directory_of_another_user(place: Path) -> None:
    """A file has inside the id that it has outside: a program that becomes that user writes as that user."""
    (place / "work").mkdir()
    os.chown(place / "work", USER, USER)
    options: dict[str, Any] = {"harden": True, "writable": "work", "private_tmp": False, "stderr": -3}
    with within(place):
        assert nsbox.run(["touch", "work/x"], **options).returncode == 1
        assert nsbox.run(["touch", "work/x"], user=USER, group=USER, extra_groups=[], **options).returncode == 0
    assert (place / "work" / "x").stat().st_uid == USER


SET_ID = """
import os, shutil, sys
path = sys.argv[1] + "/program"
shutil.copy("/bin/true", path)

def attempt(what, function):
    try:
        function()
        print("OUT", what)
    except OSError as error:
        print(what, error)

attempt("chmod", lambda: os.chmod(path, 0o4755))
attempt("chmod of a group", lambda: os.chmod(path, 0o2755))
attempt("fchmod", lambda: os.chmod(os.open(path, os.O_RDONLY), 0o4755))
attempt("fchmodat", lambda: os.chmod("program", 0o4755, dir_fd=os.open(sys.argv[1], os.O_RDONLY)))
attempt("open", lambda: os.open(path + "1", os.O_CREAT | os.O_WRONLY, 0o4755))
attempt("mknod", lambda: os.mknod(path + "2", 0o104755))
attempt("temporary", lambda: os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o4755))
os.chmod(path, 0o1755)
os.open(path, os.O_RDONLY, 0o7777)
"""


def test_no_set_id_program_is_left_behind(with_user_namespace: Arrangement, place: Path) -> None:
    """A file in a writable directory belongs to the caller: who executes it outside would get the caller's rights."""
    work = place / "work"
    work.mkdir()
    work.chmod(0o777)
    options: dict[str, Any] = {"writable": [str(work)], "private_tmp": False, "cwd": "/"}
    made = with_user_namespace(lambda: with_user_namespace.attack(SET_ID, str(work), **options))
    assert "chmod" in made
    for path in work.iterdir():
        path.unlink()
    assert with_user_namespace(lambda: with_user_namespace.attack(SET_ID, str(work), harden=True, **options)) == []
    assert [path.stat().st_mode & 0o6000 for path in work.iterdir()] == [0]


def test_idmap_needs_maps(place: Path) -> None:
    """The error says what is missing."""
    with pytest.raises(nsbox.SpecError, match=r"^idmap: takes id maps"):
        nsbox.run(["true"], mounts=[Bind(place, "/mnt", idmap=True)])


@needs_root
def test_idmap_of_a_file_system_that_cannot(place: Path) -> None:
    """A proc has the ids of processes. To read it, no other ids are needed."""
    for path in ("/proc/sys", place / "nonexistent"):
        with pytest.raises(nsbox.SpawnError) as caught:
            nsbox.run(["true"], harden=True, writable=path)
        assert caught.value.step == "idmap"
        assert str(path) in caught.value.call
    assert nsbox.run(["true"], harden=True, readable="/proc/sys").returncode == 0


# Everything that starts something.


def _writes() -> tuple[list[str], str]:
    Path("work/written").touch()
    try:
        Path("planted").touch()
    except OSError as error:
        return sorted(os.listdir("/srv")), error.strerror or ""
    return [], "written"


@pytest.mark.parametrize("harden", [False, True], ids=["arranged", "hardened"])
def test_executor_shell_and_box(machine: tuple[Path, Path, Path], harden: bool) -> None:
    """Tasks, shells and functions in a box see the same."""
    _, project, work = machine
    options: dict[str, Any] = {"writable": ["work"], "private_tmp": False, "harden": harden}
    refused: tuple[list[str], str] = [], "Read-only file system"
    with within(project):
        with nsbox.Executor(**options) as executor:
            assert executor.submit(_writes).result() == refused
        (work / "written").unlink()
        with nsbox.Box("mip", **options) as box:
            assert box.call(_writes) == refused
        (work / "written").unlink()
        with nsbox.Shell("mip", shell="/bin/sh", **options) as shell:
            assert "Read-only" in shell.run("touch planted; touch work/written").stdout
    assert [path.name for path in work.iterdir()] == ["written"]
    assert sorted(path.name for path in project.iterdir()) == ["given", "work"]


def test_command_line(machine: tuple[Path, Path, Path]) -> None:
    """`nsbox run` has the options, each as often as needed."""
    hidden, project, work = machine
    command = [sys.executable, "-m", "nsbox", "run", f"--writable={work}", f"--hidden={hidden}", "--readable=/etc"]
    script = f"ls {hidden}; touch work/written; touch planted"
    done = subprocess.run([*command, "sh", "-c", script], cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "planted': Read-only file system" in done.stderr
    assert [path.name for path in work.iterdir()] == ["written"]


def test_wd_of_a_join_is_no_way_around(open_directory: Path) -> None:
    """It is opened before the mounts, so it is refused together with them; `cwd` is looked up after them."""
    with nsbox.Box("mip") as box:
        options: dict[str, Any] = {"unshare": "m", "mounts": [Tmpfs(open_directory)], "stdout": -1, "text": True}
        with pytest.raises(nsbox.SpecError, match=r"^wd: is opened before the mounts"):
            nsbox.enter(box, "mount", ["pwd"], wd=str(open_directory), **options)
        (open_directory / "secret").touch()
        assert nsbox.enter(box, "mount", ["ls"], cwd=str(open_directory), **options).stdout == ""


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"writable": ["work"], "root": "/srv"}, "writable"),
        ({"readable": ["work"], "fork": False, "unshare": "m"}, "readable"),
        ({"hidden": ["relative"]}, "hidden"),
        ({"hidden": ["/"]}, "hidden"),
        ({"writable": ["/"], "hidden": ["/srv"]}, "writable"),
        ({"writable": 5}, "writable"),
        ({"writable": [""]}, "writable"),
    ],
)
def test_contradictions(options: dict[str, Any], argument: str) -> None:
    """Each is an error that names the option."""
    with pytest.raises(nsbox.SpecError, match=f"^{argument}: "):
        nsbox.Spec(**options)
