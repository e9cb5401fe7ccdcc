"""`nsbox nsenter` against the real nsenter(1): what a program sees inside, and how it ends.

Wanted differences, each with a test of its own below:

- errors say why and what next, in several lines, where the real one has the kernel's words alone;
- as later versions of the real one: a sign between a letter and its file (``-n=FILE``) does not belong to the file;
  a second target is refused; a PID is one of the caller's own PID namespace, whatever /proc shows;
- as since version 2.42, a command line without any namespace is refused, where 2.38 runs the program outside;
- options of later versions: ``-N``, ``-e``, ``--keep-caps``, ``--user-parent``, ``-c``, ``-S follow``,
  ``-t PID:INODE``;
- letters that follow a letter cause a note that they are no file;
- a directory is only opened as a place, so that ``-w`` takes one that may be entered but not read;
- a child killed by a signal that was ignored outside: ours dies of that signal, the real one returns 1.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nsbox
import nsbox.cli.nsenter
import pytest
from nsbox import raw
from nsbox.start import cgroup as places

from tests.support.census import wait_until
from tests.support.forked import USER, Who, in_child
from tests.support.held import Held, by_socket, held
from tests.support.look import LOOK, links_of
from tests.support.nsenter_targets import KINDS, running
from tests.support.twins import Ended, ours, theirs

pytestmark = [
    pytest.mark.skipif(shutil.which("nsenter") is None, reason="nsenter is not installed (util-linux)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="processes of several users can only be made by root"),
]


@pytest.fixture(scope="module", params=KINDS)
def target(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """Return the kind and the PID of a process to be joined."""
    with running(request.param) as pid:
        yield request.param, pid


@pytest.fixture(scope="module")
def lab() -> Iterator[int]:
    """Return the PID of a process in new namespaces of all kinds but user."""
    with running("all") as pid:
        yield pid


def both(who: Who, pid: int, *arguments: str) -> Ended:
    """Check that the two agree, and return the result of nsbox's command."""
    line = [argument.replace("@", str(pid)) for argument in arguments]
    real, own = theirs(who, *line, command="nsenter"), ours(who, *line, command="nsenter")
    assert own.output == real.output, (line[:-1], own.error, real.error)
    assert own.status == real.status, (line, own.error, real.error)
    assert bool(own.error) is bool(real.error), (own.error, real.error)
    return own


EVERYWHERE = ["-a", "-m", "-p", "-u", "-i -n", "-C -T", "-U", "-r -w -u", "-a -F", "-U --preserve-credentials -a"]
LINES = {
    "all": [
        "-m -u -i -n -p -C -T", "-m -p", "-p -F", "-m -F -p", "-n", "-T", "-C", "-mF -i", "-F -m -p -u -i -n -C -T",
        "-a -S 5 -G 6", "-a -S5", "-G6 -u", "-S 7 -i", "-u -S 0 -G 0", "-a -w", "-a -r", "-a -r -w", "-a -w/usr",
        "-m -w",
        "-m -r", "-m -W /usr", "-m --wdns=/proc", "-m -r --wdns=/usr", "-W /nonexistent -u", "-w/nonexistent -u",
        "-r/usr/bin -u",
        "--mount --uts --ipc --net --pid --cgroup --time", "--all", "--all --wd", "--mount --root=/", "--wd=/usr --uts",
        "--uts=/proc/@/ns/uts", "-n/proc/@/ns/net -u", "--net=/proc/self/ns/net -a", "--net=/proc/@/ns/uts",
        "--uts=/etc/passwd", "--uts=/nonexistent", "-m -p --preserve-credentials", "-p -p -u", "--pi --no-f",
    ],
    "mapped": [
        "-U -m -p", "-U -S 5", "-U -G 6", "-U -S 0 -G 0", "-U --preserve-credentials", "-p -m -n", "-a -r -w",
        "-U --preserve-credentials -S 0", "-u -U -F -p", "-a --preserve-credentials -F", "-U -i -n -w", "--user --uts",
    ],
    "users": [
        "-U -m -p", "-U -n", "-U --preserve-credentials -n -u", "-a -S 0 -G 0", "-a -r -w", "-a -W /usr", "-U -S 1",
        "-U -G 1 -n", "-U -p -F", "--user=/proc/@/ns/user --net=/proc/@/ns/net", "-n --user=/proc/@/ns/user",
        "--preserve-credentials -U -S 0", "-n -u -p",
    ],
    "seven": ["-U -u", "-U -u -S 7 -G 8", "-U -S 7", "-U -G 8", "-U -u --preserve-credentials", "-U -i -w",
              "-a -S 7 -G 8"],
    "plain": ["-w -i", "-r -i", "-w -u", "-U", "-r -W /usr -i", "-G 6 -i", "-i"],
    "rooted": ["-m", "-m -r", "-m -r -w", "-r -i", "-r -w -i", "-w -i", "-m -W /data", "-r -W /data -i",
               "-m -r/ -w/", "-a -w -u"],
    "box": ["-m -p -u -i -n", "-p -r", "-n -S 5"],
}  # fmt: skip


def test_what_a_program_sees(who: Who, target: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids, maps, capabilities, signals, namespaces, mounts, descriptors, environment, clocks and PIDs agree."""
    kind, pid = target
    monkeypatch.setenv("OUTER", links_of())
    monkeypatch.setenv("TARGET", links_of(pid))
    for line in dict.fromkeys([*EVERYWHERE, *LINES[kind]]):
        both(who, pid, "-t", "@", *line.split(), "sh", "-c", LOOK)


def test_the_comparison_is_not_empty(lab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output has the expected values where everything is joined."""
    assert sum(len({*EVERYWHERE, *lines}) for lines in LINES.values()) > 60
    monkeypatch.setenv("OUTER", links_of())
    monkeypatch.setenv("TARGET", links_of(lab))
    found = both(Who("root"), lab, "-t", "@", "-a", "sh", "-c", LOOK).output
    assert "pids: CHILD 0" in found
    assert all(f"\n{kind} target" in found for kind in ("mnt", "pid", "uts", "ipc", "net", "cgroup", "time"))
    assert "\nuser same" in found
    assert "\nlab\n" in found
    assert "boottime          100" in found


WRONG = [
    "--bogus", "-m", "-a", "-r", "-w", "-U -r", "--user", "-t", "-t abc -m", "-t 0 -u", "-t @ -w -W/",
    "-t @ -w --wdns=/", "--p", "-S abc", "-G", "-G -", "-t @ -S 1x", "--preserve-credentials=1", "-x", "-axZ", "--al=1",
]  # fmt: skip


def test_wrong_usage(who: Who) -> None:
    """The status is 1, and the first line is that of nsenter but for the name."""
    for line in WRONG:
        words = [word.replace("@", str(os.getpid())) for word in line.split()]
        real, own = theirs(who, *words, "true", command="nsenter"), ours(who, *words, "true", command="nsenter")
        assert (own.status, own.output) == (real.status, real.output) == (1, ""), line
        assert own.error.splitlines()[0] == f"nsbox {real.error.splitlines()[0]}"


ENDS = [
    ["true"], ["false"], ["sh", "-c", "exit 42"], ["sh", "-c", "exit 255"], ["/nonexistent"], ["nosuchprogram"],
    ["/etc/passwd"], ["/"], ["sh", "-c", "kill -TERM $$; exit 6"], ["sh", "-c", "kill -SEGV $$; exit 7"],
    ["sh", "-c", "kill -PIPE $$; exit 8"], ["sh", "-c", "kill -KILL $$; exit 9"], ["sh", "-c", "kill -INT $$; exit 3"],
]  # fmt: skip


@pytest.mark.parametrize("options", ["-i", "-u", "-p", "-m -p", "-p -F", "-a"])
def test_status(lab: int, options: str) -> None:
    """The status is the program's, 126, 127, or the same signal."""
    for command in ENDS:
        both(Who("root"), lab, "-t", "@", *options.split(), *command)


@pytest.mark.parametrize("shell", ["/bin/sh", None])
def test_shell(lab: int, shell: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a program it is $SHELL, as a login shell, which reads an empty input and ends."""
    monkeypatch.delenv("SHELL", raising=False)
    if shell:
        monkeypatch.setenv("SHELL", shell)
    both(Who("root"), lab, "-t", "@", "-u")


NSENTER = [sys.executable, "-m", "nsbox", "nsenter"]


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")


def test_stopping_and_signals(lab: int) -> None:
    """It stops and continues with its child; SIGTERM ends it alone, as it does not supervise the child."""
    outcomes = []
    for command in (["nsenter"], NSENTER):
        line = [*command, "-t", str(lab), "-p", "sh", "-c", "echo in; kill -STOP $$; echo on; read line; exit 5"]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"in\n"
            stopped = wait_until(functools.partial(_is_stopped, process.pid), 20)
            process.send_signal(signal.SIGCONT)
            assert process.stdout.readline() == b"on\n"
            child = os.pidfd_open(int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()))
            process.send_signal(signal.SIGTERM)
            ended = process.wait()
            # The child's parent has died, so this process has adopted it (see the census).
            process.stdin.write(b"line\n")
            child_ended = os.waitid(os.P_PIDFD, child, os.WEXITED)
            os.close(child)
            assert child_ended is not None
            outcomes.append((stopped, ended, child_ended.si_status))
    assert outcomes == [(True, -signal.SIGTERM, 5)] * 2


def test_inherited_signals(lab: int) -> None:
    """Signals that are ignored or blocked outside are so inside; with SIGCHLD ignored the status is still known."""

    def check(command: list[str]) -> tuple[int, str]:
        for number in (signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        line = [*command, "-t", str(lab), "-p", "sh", "-c", "grep Sig[^Q] /proc/self/status; exit 7"]
        done = subprocess.run(["env", "--ignore-signal=CHLD", *line], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    found = [in_child(functools.partial(check, command)) for command in (["nsenter"], NSENTER)]
    assert found[0] == found[1]
    assert found[0][0] == 7


def test_from_a_real_interpreter(tmp_path: Path) -> None:
    """The whole command, in a root without a Python: nothing is imported there, and errors still have their cause."""
    with running("rooted") as pid:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "", "HOME": "/"}
        found = [
            subprocess.run([*command, "-t", str(pid), "-m", "-w", "sh", "-c", "env; pwd; cat /etc/marker"],
                           env=environment, capture_output=True, text=True, check=True).stdout
            for command in (["nsenter"], NSENTER)
        ]  # fmt: skip
        assert found[0] == found[1]
        assert "/data\nin the box\n" in found[0]
        line = [*NSENTER, "-t", str(pid), "-m", "-W", "/nonexistent", "true"]
        failed = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
        assert failed.returncode == 1
        assert failed.stderr.startswith("nsbox nsenter: step 'chdir' failed")


def test_errors_have_causes(who: Who, lab: int) -> None:
    """A wanted difference: what failed, why, and what next."""
    wrong = ["-t", "@", "-u"] if not who.is_root else ["-t", str(2**22 - 1), "-u"]
    lines = ours(who, *[word.replace("@", str(lab)) for word in wrong], "true", command="nsenter").error.splitlines()
    assert lines[0].startswith("nsbox nsenter: step 'open target' failed: ")
    assert lines[1].startswith("why: ")
    assert lines[2].startswith("next: ")


def root(pid: int, *arguments: str) -> Ended:
    """Run nsbox's command as root."""
    line = [argument.replace("@", str(pid)) for argument in arguments]
    return ours(Who("root"), "-t", str(pid), *line, command="nsenter")


def test_a_sign_between_letter_and_file(lab: int) -> None:
    """A wanted difference, as in later versions."""
    assert root(lab, "-u=/proc/@/ns/uts", "hostname").output == "lab\n"
    assert root(lab, "-u", "-w=/usr", "pwd").output == "/usr\n"
    assert root(lab, "-u", "-r=/usr", "-W=/bin", "pwd").output == "/bin\n"
    assert ours(Who("root"), "-t", "1", "-t", "1", "-u", "true", command="nsenter").status == 1


def test_numbers_of_the_caller() -> None:
    """A wanted difference, as in later versions: 1 is the caller's PID 1, also below another namespace's /proc."""
    look = f"{' '.join(NSENTER)} -t 1 -a -w -e sh -c 'hostname; pwd; env'"
    script = f'hostname outer; cd /; unshare -u sh -c "hostname inner; cd /srv; MARK=2 {look}"; :'
    environment = {"PATH": os.environ["PATH"], "MARK": "1"}
    done = subprocess.run(["unshare", "-fpu", "sh", "-c", script], env=environment, stdout=subprocess.PIPE, check=True)
    assert done.stdout.startswith(b"outer\n/\n")
    assert b"MARK=1" in done.stdout


@pytest.mark.parametrize("line", ["", "-t @", "-t @ -r -w", "-t @ -S 7 -G 8", "-t @ -e", "-t @ -c", "-W /", "-F -r/"])
def test_no_namespace(who: Who, line: str) -> None:
    """A wanted difference, as in later versions: the program would run outside."""
    refused = ours(who, *line.replace("@", str(os.getpid())).split(), "echo", "outside", command="nsenter")
    assert (refused.status, refused.output) == (1, "")
    assert refused.error.splitlines()[0] == "nsbox nsenter: no namespace specified"
    with pytest.raises(nsbox.SpecError, match="no namespace specified"):
        nsbox.explain(["nsenter", *line.replace("@", "1").split(), "echo"])


def test_the_network_namespace_of_a_socket(who: Who) -> None:
    """-N, --net-socket: a namespace in which the target is no longer; it replaces that of --net and --all."""
    # The other namespaces of the target are those of the machine, which an ordinary user may not join.
    lines = ["--net-socket {fd}", "-N{fd}", "-n -N {fd}", "-N {fd} -m"]
    lines += ["-u -N {fd}", "-a -N {fd}"] if who.is_root else []
    user = [] if who.is_root else ["-U", "--preserve-credentials"]

    def act() -> tuple[Held, list[Ended], list[Ended]]:
        with held(by_socket) as found:

            def enter(line: str) -> Ended:
                words = line.format(**found).split()
                return ours(Who("root"), "-t", str(found["pid"]), *user, *words, "readlink", "/proc/self/ns/net",
                            command="nsenter")  # fmt: skip

            return found, [enter(line) for line in lines], [enter("-N 0"), enter("-N 987654")]

    found, entered, refused = who(act)
    for one in entered:
        assert (one.status, one.output) == (0, f"net:[{found['net']}]\n"), one.error
    for one in refused:
        assert one.status == 1
        assert one.error.startswith("nsbox nsenter: step 'open target' failed: ")
        assert "no socket" in one.error
    without = ours(who, "-N", "3", "true", command="nsenter")
    assert (without.status, without.error.splitlines()[0]) == (
        1, "nsbox nsenter: no target PID specified for --net-socket",
    )  # fmt: skip


def test_letters_that_are_no_file(lab: int) -> None:
    """A wanted difference: a note explains this common mistake."""
    error = root(lab, "-mpu", "true").error
    assert "-m -p -u" in error.splitlines()[0]


def test_environment(lab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """-e: the environment is exactly that of the target, and its PATH and SHELL are used."""
    monkeypatch.setenv("NSBOX_HERE", "1")
    monkeypatch.setenv("SHELL", "/nonexistent")
    environment = {"PATH": os.environ["PATH"], "SHELL": "/bin/false", "A": "b=c", "EMPTY": ""}
    with subprocess.Popen(["sleep", "1000"], env=environment) as target:
        try:
            wait_until(lambda: Path(f"/proc/{target.pid}/cmdline").read_bytes().startswith(b"sleep"))
            printed = root(target.pid, "-u", "-e", "env").output
            assert sorted(printed.splitlines()) == sorted(f"{name}={value}" for name, value in environment.items())
            assert root(target.pid, "-u", "--env").status == 1
        finally:
            target.kill()


def test_ids_of_the_target() -> None:
    """-S follow, -G follow: the ids are those of the target's owner, as mapped in the joined user namespace."""
    with running("seven") as pid:
        assert root(pid, "-U", "-S", "follow", "-G", "follow", "sh", "-c", "id -u; id -g").output == "7\n8\n"
        assert root(pid, "-u", "-S", "follow", "sh", "-c", "id -u; id -g").output == f"{USER}\n0\n"


def test_capabilities_are_kept() -> None:
    """--keep-caps: a user who is not root inside has the capabilities after the exec."""
    with running("seven") as pid:
        line = ["-t", str(pid), "-U", "--preserve-credentials", "grep", "CapEff", "/proc/self/status"]
        user = Who("user")
        assert int(ours(user, *line, command="nsenter").output.split()[1], 16) == 0
        kept = ours(user, "--keep-caps", *line, command="nsenter")
        assert int(kept.output.split()[1], 16) & 1 << 21, kept.error


def test_user_parent() -> None:
    """--user-parent: the parent of the target's user namespace is joined."""
    nested = ["unshare", "-r", "unshare", "-r", "sh", "-c", "echo; exec sleep 1000"]
    with subprocess.Popen(nested, stdout=subprocess.PIPE, user=USER, group=USER, extra_groups=[]) as target:
        try:
            assert target.stdout is not None
            target.stdout.readline()
            fd = os.open(f"/proc/{target.pid}/ns/user", os.O_RDONLY)
            parent = raw.ns_get_userns(fd)
            inode = os.fstat(parent).st_ino
            for number in (fd, parent):
                os.close(number)
            for option in ([], ["-U"]):
                line = [
                    "-t",
                    str(target.pid),
                    *option,
                    "--user-parent",
                    "--preserve-credentials",
                    "readlink",
                    "/proc/self/ns/user",
                ]
                found = ours(Who("user"), *line, command="nsenter")
                assert found.output == f"user:[{inode}]\n", found.error
        finally:
            target.kill()


def test_cgroup_of_the_target(lab: int) -> None:
    """-c: the program is in the target's cgroup."""
    try:
        top = Path(places.Hierarchy.read().place(frozenset()))
    except nsbox.UnsupportedError as error:
        pytest.skip(str(error))
    cgroup = top / f"test-{os.getpid()}"
    cgroup.mkdir()
    try:
        with subprocess.Popen(["sleep", "1000"]) as target:
            try:
                (cgroup / "cgroup.procs").write_text(str(target.pid))
                found = root(target.pid, "-i", "-c", "cat", "/proc/self/cgroup")
                assert f"{cgroup.name}\n" in found.output, found.error
            finally:
                target.kill()
    finally:
        wait_until(lambda: "populated 0" in (cgroup / "cgroup.events").read_text())
        cgroup.rmdir()


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("rooted", "-m -u -W /data"), ("rooted", "-m -r -w"), ("rooted", "-m --uts=/proc/@/ns/uts"), ("all", "-a"),
        ("all", "-p -u"), ("seven", "-U -u -S 7 -G 8"), ("seven", "-U -u --preserve-credentials"),
        ("all", "-n -S 5 -G 6"),
    ],
)  # fmt: skip
def test_the_closest_call(kind: str, line: str) -> None:
    """The call in Python that `explain` prints has the same effect."""
    with running(kind) as pid:
        script = "hostname; pwd; ls /; id -u; id -g; id -G; grep Cap /proc/self/status; ls /sys/class/net"
        words = ["-t", str(pid), *line.replace("@", str(pid)).split(), "sh", "-c", script]
        python = nsbox.explain(["nsenter", *words]).python
        call = python.replace("nsbox.enter(", "enter(").replace("nsbox.run(", "run(")
        known = {"enter": functools.partial(nsbox.enter, stdout=subprocess.PIPE, text=True),
                 "run": functools.partial(nsbox.run, stdout=subprocess.PIPE, text=True), "nsbox": nsbox}  # fmt: skip
        assert eval(call, known).stdout == ours(Who("root"), *words, command="nsenter").output, python


def test_inode_of_a_pidfd(lab: int) -> None:
    """-t PID:INODE: another process with that PID is refused."""
    fd = os.pidfd_open(lab)
    inode = os.fstat(fd).st_ino
    os.close(fd)
    line = ["-u", "hostname"]
    # Each process has its own inode since Linux 6.9.
    assert ours(Who("root"), "-t", f"{lab}:{inode}", *line, command="nsenter").output == "lab\n"
    refused = ours(Who("root"), "-t", f"{lab}:{inode + 1}", *line, command="nsenter")
    assert (refused.status, refused.output) == (1, "")
    assert "inode" in refused.error


def test_refused_options(lab: int) -> None:
    """Refused before anything is done, with the reason."""
    for line, words in (("-Z", "runcon"), ("--net=:4711", "process")):
        refused = root(lab, *line.split(), "true")
        assert refused.status == 1
        assert words in refused.error
