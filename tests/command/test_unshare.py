"""`nsbox unshare` against the real unshare(1): what a program sees inside, and how it ends.

Wanted differences, each with a test of its own below:

- errors say why and what next, in several lines, where the real one has the kernel's words alone;
- a child killed by SIGKILL: version 2.38 of the real one fails and returns 1, ours dies of the same signal;
- a pinned user namespace: the real one, before version 2.42, tries to mount it from inside, which cannot work;
- id ranges as in later versions: several of them, in the form ``INSIDE:OUTSIDE:COUNT``, and root writes them itself,
  without a grant. An id beside a range costs none of the range its place;
- options of later versions: ``--map-subids``, ``--forward-signals``, ``--clear-env``, ``--whitelist-env``.

One more difference is unavoidable: Python starts with SIGPIPE and SIGXFSZ ignored and does not record whether they
were ignored before, so the program always gets them with their default action.
"""

from __future__ import annotations

import grp  # noqa: F401 - as another user nothing can be imported
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nsbox.cli.unshare  # noqa: F401
import pytest

from tests.support import libc
from tests.support.forked import USER, Who, in_child
from tests.support.look import LOOK, links_of
from tests.support.needs import needs, needs_root
from tests.support.subids import granted
from tests.support.twins import ours, theirs

pytestmark = pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed (util-linux)")

NSBOX = [sys.executable, "-m", "nsbox", "unshare"]

NAMESPACES = ["", "-m", "-u", "-i", "-n", "-C", "-T", "-p", "-U", "-fp", "-mipf", "-mipunCTf", "-Um", "-Ump -f"]
IDENTITIES = ["", "-r", "-c", "--map-user=7", "--map-user 7 --map-group=8", "-r --keep-caps", "-c --keep-caps"]
OTHERS = [
    "-m --propagation=shared", "-m --propagation slave", "-m --propagation=unchanged", "-m --prop=private",
    "-fp --mount-proc", "-mipf --mount-proc", "-mipf --mount-proc=/mnt", "-fp --mount-proc --propagation=slave",
    "-r -fp --mount-proc", "-rmipunCTf --mount-proc", "-rm --mount-proc", "-r --setgroups=deny", "-U --setgroups deny",
    "--map-user=0 --setgroups=allow", "-r -S 0 -G 0", "-S 5 -G 6", "-S5", "-G6 -m", "-r -G 0", "-r -S 5",
    "-w /usr", "-w/usr -m", "--wd=/nonexistent", "-R / -m", "--root=/ -w /usr", "-R /nonexistent", "-R /proc/self/root",
    "-T --monotonic=1000", "-T --boottime 2000", "-Tf --monotonic=5 --boottime=7", "-rT --boottime=100",
    "-T --boottime=-999999999", "--kill-child", "--kill-child=TERM -p", "--kill-child=SIGHUP -mp --mount-proc",
    "--kill-child=RTMIN+3", "-fpr --kill-child", "-r -r", "-c -r", "-r -c", "--map-user=1 --map-user=2", "-mm -uu",
    "--mount --uts --ipc --net --pid --fork", "--user --map-root-user", "-Urmipf", "-Ufi --", "-rpf -m --mount-proc",
]  # fmt: skip
CASES = {namespaces: [f"{namespaces} {identity}" for identity in IDENTITIES] for namespaces in NAMESPACES}
CASES["others"] = OTHERS

WRONG = [
    "--bogus", "-Z", "--map-u 0", "--mapx", "-S", "--setgroups", "--fork=3", "--propagation=bogus",
    "--setgroups=maybe", "-S abc", "-S -", "--boottime=abc -T", "--boottime=5", "--kill-child=FOO", "--kill-child=9",
    "--map-user=nosuchuser", "--map-group=nosuch", "-r --setgroups=allow", "-xr", "--mount-proc=/nonexistent",
    "--mount-proc=/dev/null",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _outer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTER", links_of())


def both(who: Who, *arguments: str) -> str:
    """Check that the two agree, and return what was printed."""
    real, own = theirs(who, *arguments), ours(who, *arguments)
    assert own.output == real.output, (arguments, own.error)
    assert own.status == real.status, (arguments, own.error)
    assert bool(own.error) is bool(real.error)
    return own.output


@pytest.mark.parametrize("group", CASES, ids=lambda group: group or "nothing")
def test_what_a_program_sees(who: Who, group: str) -> None:
    """Ids, maps, capabilities, signals, namespaces, mounts, descriptors, environment, clocks and PIDs agree."""
    for line in CASES[group]:
        both(who, *line.split(), "sh", "-c", LOOK)


def test_the_comparison_is_not_empty() -> None:
    """The output has the expected values where everything is new."""
    assert len({line for lines in CASES.values() for line in lines}) > 100
    output = both(Who("root"), *["-rmipunCTf", "--mount-proc", "--boottime=5", "-T"], "sh", "-c", LOOK)
    assert "pids: 1 0" in output
    assert all(f"\n{kind} new" in output for kind in ("user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"))
    assert "boottime" in output
    assert "/proc rw,nosuid,nodev,noexec" in output


def test_wrong_usage(who: Who) -> None:
    """The status is 1, and the first line is that of unshare but for the name."""
    for line in WRONG:
        real, own = theirs(who, *line.split(), "true"), ours(who, *line.split(), "true")
        assert (own.status, own.output) == (real.status, real.output) == (1, ""), line
        if "step" not in own.error:
            first = real.error.splitlines()[0].replace("(-t)", "(-T)")
            assert own.error.splitlines()[0] == f"nsbox {first}"


ENDS = [
    ["true"], ["false"], ["sh", "-c", "exit 42"], ["sh", "-c", "exit 255"], ["/nonexistent"], ["nosuchprogram"],
    ["/etc/passwd"], ["/"], ["sh", "-c", "kill -TERM $$; exit 6"], ["sh", "-c", "kill -SEGV $$; exit 7"],
    ["sh", "-c", "kill -PIPE $$; exit 8"],
]  # fmt: skip


@pytest.mark.parametrize("options", ["", "-f", "-m", "-fp", "-mipf --mount-proc", "-rmipf"])
def test_status(who: Who, options: str) -> None:
    """The status is the program's, 126, 127, or the same signal."""
    for command in ENDS:
        both(who, *options.split(), *command)


def test_ignored_sigchld() -> None:
    """A caller that ignores SIGCHLD still gets the status."""
    for command in (["unshare"], NSBOX):
        line = ["env", "--ignore-signal=CHLD", *command, "-f", "sh", "-c", "exit 5"]
        assert subprocess.run(line, check=False).returncode == 5


def test_script_without_interpreter(who: Who, place: Path) -> None:
    """As with execvp(3), a file without a known format is run by the shell."""
    script = place / "script"
    script.write_text("echo it was $0 $1\n")
    script.chmod(0o755)
    assert both(who, "-ru", str(script), "one") == f"it was {script} one\n"


@pytest.mark.parametrize("shell", ["/bin/sh", None])
def test_shell(who: Who, shell: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a program it is $SHELL, as a login shell, which reads an empty input and ends."""
    monkeypatch.delenv("SHELL", raising=False)
    if shell:
        monkeypatch.setenv("SHELL", shell)
    both(who, "-u")


def test_signals_while_it_waits() -> None:
    """SIGINT and SIGTERM have no effect on the parent; SIGKILL ends it alone, or with --kill-child also the child."""
    outcomes = []
    for command in (["unshare"], NSBOX):
        for option in ("--fork", "--kill-child"):
            line = [*command, option, "sh", "-c", "echo $$; exec sleep 30"]
            with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                child = os.pidfd_open(int(process.stdout.readline()))
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGINT)
                time.sleep(0.1)
                alive = process.poll() is None
                process.kill()
                process.wait()
                # A pidfd is readable when its process has ended.
                ended, _, _ = select.select([child], [], [], 60 if option == "--kill-child" else 0.3)
                outcomes.append((alive, "both" if ended else "alone"))
                signal.pidfd_send_signal(child, signal.SIGKILL)
                # The child's parent has died, so this process has adopted it (see the census).
                os.waitid(os.P_PIDFD, child, os.WEXITED)
                os.close(child)
    assert outcomes == [(True, "alone"), (True, "both")] * 2


def test_killed_child() -> None:
    """A wanted difference: unshare in version 2.38 fails with 1 if its child is killed by SIGKILL."""
    for line in (["-f"], ["-rf"]):
        assert ours(Who("root"), *line, "sh", "-c", "kill -KILL $$").status == -signal.SIGKILL
        assert theirs(Who("root"), *line, "sh", "-c", "kill -KILL $$").status in (1, -signal.SIGKILL)


RANGES = [
    "--map-users=300000,0,10", "--map-users=300000,0,10 --map-groups=300000,0,10", "--map-auto", "--map-auto -r",
    "--map-auto -c", "--map-users=auto --map-user=5", "--map-users=300000,5,3 -r", "-r --map-groups=300000,7,3",
    "--map-users=auto --map-user=5 --map-groups=auto --map-group=3 --setgroups=allow", "--map-groups=auto",
    "--map-auto -r -S 5 -G 6 --keep-caps", "--map-auto -r -fpm --mount-proc", "--map-auto -S 0 -G 0 -mipunCTf",
    "--map-users=300000,300000,10 -r --map-groups=300000,300000,10", "--map-auto --setgroups=deny -r",
    "--map-users=0,0,0", "--map-users=5,0,10", "--map-groups=300000,0,70000",
]  # fmt: skip


@pytest.mark.parametrize("name", ["root", "user"])
def test_ranges(name: str) -> None:
    """Maps of the ranges granted by subuid(5) and subgid(5)."""

    def check() -> None:
        for line in RANGES:
            if name == "root" and line in _MORE_FOR_ROOT:
                continue
            both(Who(name), *line.split(), "sh", "-c", LOOK)

    granted(check)


_MORE_FOR_ROOT = {"--map-users=5,0,10", "--map-groups=300000,0,70000"}
"""As version 2.40 and later, nsbox writes the maps of root itself, without grants."""


def test_ranges_of_later_versions() -> None:
    """Wanted differences: other forms, several ranges, and no id lost beside a single id."""
    script = ["sh", "-c", "cat /proc/self/uid_map; echo; cat /proc/self/gid_map"]

    def maps(who: Who, line: str) -> list[list[str]]:
        ended = ours(who, *line.split(), *script)
        assert ended.status == 0, ended.error
        return [[" ".join(row.split()) for row in map_.splitlines()] for map_ in ended.output.split("\n\n")]

    def check() -> None:
        for who in (Who("root"), Who("user")):
            assert maps(who, "--map-users=0:300000:10")[0] == ["0 300000 10"]
            assert maps(who, "--map-subids") == [["300000 300000 65536"]] * 2
            assert maps(who, "--map-users=0:300000:10 --map-users=20:300020:5 --map-groups=subids") == [
                ["0 300000 10", "20 300020 5"], ["300000 300000 65536"],
            ]  # fmt: skip
            own = 0 if who.is_root else USER
            assert maps(who, "--map-users=0:300000:10 --map-user=10")[0] == [f"10 {own} 1", "0 300000 10"]
        everybody = Path("/proc/self/uid_map").read_text().split()
        assert maps(Who("root"), "--map-users=all")[0] == [f"{everybody[0]} {everybody[0]} {everybody[2]}"]
        assert maps(Who("root"), "--map-users=5:0:1")[0] == ["5 0 1"]

    granted(check)


def test_errors_of_ranges() -> None:
    """If an id is not granted, or none are, the error comes from the step or from newuidmap(1) itself."""
    refused = granted(lambda: ours(Who("user"), "--map-users=0:5:10", "true"))
    assert refused.error.startswith("nsbox unshare: step 'uid_map' failed: newuidmap PID 0 5 10")
    assert "not allowed" in refused.error
    assert "/etc/subuid" in refused.error
    nothing = granted(lambda: ours(Who("user"), "--map-auto", "true"), lines="")
    assert (nothing.status, nothing.output) == (1, "")
    assert "usermod --add-subuids" in nothing.error
    for line in ("--map-users=1:2", "--map-users=-1:0:1", "--map-groups=1:2:3:4", "--map-users=a:b:c"):
        assert ours(Who("user"), line, "true").error.startswith("nsbox unshare: invalid mapping")


def test_environment(who: Who, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of later versions: --clear-env and --whitelist-env."""
    monkeypatch.setenv("A", "1")
    monkeypatch.setenv("B", "2 3")
    path = f"PATH={os.environ['PATH']}"
    assert ours(who, "-ru", "--clear-env", "/usr/bin/env").output == ""
    kept = ours(who, "-ru", "--whitelist-env=A,PATH", "--whitelist-env", "B,C", "env").output
    assert sorted(kept.splitlines()) == ["A=1", "B=2 3", path]


@needs_root
def test_forwarded_signals() -> None:
    """Of later versions: with --forward-signals the child gets them; without it they have no effect (see above)."""
    script = "trap 'exit 7' TERM; trap 'exit 8' INT; echo; while :; do sleep 0.01; done"
    for number, status in ((signal.SIGTERM, 7), (signal.SIGINT, 8)):
        line = ["env", "--default-signal", *NSBOX, "--forward-signals", "-u", "sh", "-c", script]
        with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            process.send_signal(number)
            assert process.wait(100) == status


def test_refused_options() -> None:
    """Refused before anything is done, with the reason."""
    for line, words in (("--owner=1:1", "setpriv"), ("-l x", "binfmt_misc"), ("--mount-binfmt", "binfmt_misc")):
        refused = ours(Who("root"), *line.split(), "true")
        assert refused.status == 1
        assert words in refused.error


NSFS = "6e736673"


def _file_system(file: Path) -> str:
    """Return the type of the file system a file is on (statfs(2))."""
    command = ["stat", "--file-system", "--format=%t", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@needs_root
@pytest.mark.parametrize(
    "line", ["--uts={0}", "--ipc={0} -f", "--pid={0} -f", "--net={0}", "--time={0} -f", "--mount={0}", "--cgroup={0}",
             "--mount --uts={0}", "--mount --pid={0} -f --mount-proc", "--mount={0} --uts={1} -f"],
)  # fmt: skip
def test_pinning(line: str, place: Path) -> None:
    """The namespace is alive at the file when the program has ended, and can be entered by it."""

    def check(run: str) -> list[tuple[int, list[bool]]]:
        # Linux 6.18 compares the ages of mount namespaces by numbers that each processor assigns by itself.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        libc.unshare(0x20000)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        libc.mount("tmpfs", str(place), "tmpfs")
        files = [place / "a", place / "b"]
        for file in files:
            file.touch()
        command = {"theirs": theirs, "ours": ours}[run]
        ended = command(Who("root"), *line.format(*files).split(), "sh", "-c", "echo in")
        assert ended.output == "in\n", ended.error
        types = [_file_system(file) for file in files]
        return [(ended.status, [kind == NSFS for kind in types])]

    own = in_child(lambda: check("ours"))
    assert own == in_child(lambda: check("theirs"))
    assert own[0][1][0]


@needs_root
def test_pinned_user_namespace(who: Who, place: Path) -> None:
    """A wanted difference: nsbox mounts it from outside, where root may."""
    file = place / "user"
    file.touch()

    def check() -> tuple[int, str]:
        libc.unshare(0x20000)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        ended = ours(who, f"--user={file}", "-r", "true")
        return ended.status, _file_system(file)

    status, kind = in_child(check)
    assert (status, kind == NSFS) == ((0, True) if who.is_root else (1, False))


@needs_root
def test_with_a_proc_of_an_outer_pid_namespace(place: Path) -> None:
    """Files in /proc are those of the process itself, whose PID is another one there."""
    file = place / "pin"
    file.touch()

    def check() -> tuple[str, str, int, int]:
        maps = ours(Who("root"), "-U", "--map-users", "100000:0:10", "cat", "/proc/self/uid_map")
        pinned = ours(Who("root"), f"--uts={file}", "-f", "readlink", "/proc/self/ns/uts")
        return maps.output, pinned.output, os.stat(file).st_ino, os.getpid()

    def outside() -> tuple[str, str, int, int]:
        libc.unshare(0x20000000 | 0x20000)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        return in_child(check)

    maps, uts, inode, pid = in_child(outside)
    assert pid == 1
    assert maps.split() == ["100000", "0", "10"]
    assert uts == f"uts:[{inode}]\n"


def test_errors_have_causes(who: Who) -> None:
    """A wanted difference: what failed, why, and what next."""
    wrong = {"root": ["-T", "--boottime=-999999999"], "user": ["-p", "-f"]}[who.name]
    lines = ours(who, *wrong, "true").error.splitlines()
    assert lines[0].startswith("nsbox unshare: step '")
    assert lines[1].startswith("why: ")
    assert lines[2].startswith("next: ")
    if not who.is_root:
        assert "CAP_SYS_ADMIN" in lines[1]
        assert "unshare -r" in lines[2]


def test_evidence_is_collected_before() -> None:
    """Inside the new user namespace every caller is root, which does not decide about /proc."""
    user = Who("user")
    needs(user, "m")
    error = ours(user, "-rm", "--mount-proc", "true").error
    assert "a PID namespace that belongs to it" in error


@needs_root
def test_from_a_real_interpreter() -> None:
    """The whole command: Python changes its environment in the C locale, and the program does not see that."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "", "HOME": "/"}
    found = [
        subprocess.run([*command, "-mipf", "env"], env=environment, capture_output=True, text=True, check=True).stdout
        for command in (["unshare"], NSBOX)
    ]
    assert found[0] == found[1]
    for command, status in ((["-f", "sh", "-c", "exit 9"], 9), (["--help"], 0), (["--version"], 0), (["--bogus"], 1)):
        assert subprocess.run([*NSBOX, *command], capture_output=True, check=False).returncode == status
