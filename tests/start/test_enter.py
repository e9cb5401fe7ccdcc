"""Joining existing namespaces: compared with what the kernel shows of the process, and with the real nsenter(1)."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import raw
from nsbox.spec.kinds import KINDS, namespace_names

from tests.support import seccomp
from tests.support.callers import alive, caller, survivors
from tests.support.census import descendants, wait_until
from tests.support.forked import USER, Who, as_user, in_child
from tests.support.inside import LINKS, own_links, status
from tests.support.needs import needs_root
from tests.support.seccomp import Deny

ARRANGEMENTS: dict[str, dict[str, Any]] = {"init": {}, "no init": {"init": False}, "no fork": {"fork": False}}


@contextmanager
def box(unshare: str = "mipunC", **options: Any) -> Iterator[nsbox.Popen]:
    """Start a program that waits, in new namespaces, as a target to join."""
    with nsbox.Popen(["sleep", "1000"], unshare=unshare, **{"mount_proc": "m" in unshare, **options}) as running:
        try:
            yield running
        finally:
            running.kill()


def links_of(pid: int, kinds: Any = LINKS) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{pid}/ns/{LINKS[kind]}") for kind in kinds}


def entered(target: Any, kinds: Any, **options: Any) -> dict[str, str]:
    """The namespaces of a program that has joined."""
    paths = [f"/proc/self/ns/{link}" for link in LINKS.values()]
    result = nsbox.enter(target, kinds, ["readlink", *paths], capture_output=True, text=True, check=True, **options)
    return dict(zip(LINKS, result.stdout.split(), strict=True))


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("kinds", [None, "ipc", "pid", "ipc net", "mnt,pid", "muinC", "p"])
def test_namespaces(who: Who, kinds: str | None, arrangement: str) -> None:
    """Exactly the namespaces asked for are joined, and the user namespace where it is needed."""

    def check() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        # With the caller's proc, in which a process is found even if it is not in the joined PID namespace.
        with box(mount_proc=False) as target:
            return entered(target, kinds, **ARRANGEMENTS[arrangement]), links_of(target.pid), own_links()

    inside, theirs, ours = who(check)
    joined = set(theirs if kinds is None else namespace_names(kinds))
    if not who.is_root:
        joined.add("user")
    # readlink is the payload itself: with fork=False only a child of it would be in the PID namespace.
    if arrangement == "no fork":
        joined.discard("pid")
    assert inside == {kind: theirs[kind] if kind in joined else ours[kind] for kind in LINKS}
    assert {kind for kind in LINKS if theirs[kind] == ours[kind]} == ({"user", "time"} if who.is_root else {"time"})


REPORT = (
    "echo $$ $PPID; id -u; id -g; pwd; hostname; grep -E 'Cap|NoNewPrivs|Seccomp|Sig[^Q]|NSpid' /proc/self/status; ls /"
)


@pytest.mark.parametrize("flags", ["mipunC", "p", "m", "in", "mp"])
def test_as_nsenter_does(who: Who, flags: str) -> None:
    """A program started by nsenter(1) and by nsbox sees the same."""

    def check() -> tuple[str, str]:
        letters = [f"-{letter}" for letter in flags]
        with box(hostname="joined") as target:
            user = [] if who.is_root else ["-U", "--preserve-credentials"]
            command = ["nsenter", "-t", str(target.pid), *user, *letters, "sh", "-c", REPORT]
            theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            ours = nsbox.enter(target, flags, ["sh", "-c", REPORT], capture_output=True, text=True, check=True).stdout
        return theirs, ours

    theirs, ours = who(check)
    assert without_numbers(theirs) == without_numbers(ours)


def without_numbers(report: str) -> list[str]:
    """The report without the PIDs, which differ: inside, the parent is nsbox-init; with nsenter there is none."""
    lines = report.splitlines()[1:]
    return [f"NSpid {len(line.split())}" if line.startswith("NSpid") else line for line in lines]


@pytest.mark.parametrize("arrangement", ["init", "no init"])
def test_numbers(who: Who, arrangement: str) -> None:
    """The handle has the program's PIDs, outside and inside."""

    def check() -> tuple[tuple[int, int], list[int], str]:
        with (
            box() as target,
            nsbox.Popen(["sleep", "1000"], unshare="", join=target, **ARRANGEMENTS[arrangement]) as process,
        ):
            numbers = status(Path(f"/proc/{process.pid}/status").read_text())["NSpid"]
            shown = repr(process)
            process.kill()
        return (process.pid, process.pid_inside), [int(number) for number in numbers.split()], shown

    known, numbers, shown = who(check)
    assert list(known) == numbers
    assert "in joined " in shown
    assert "pid" in shown


def test_orphans_do_not_escape(who: Who) -> None:
    """A descendant with another session and parent ends with the program, while the PID namespace stays alive."""

    def check() -> tuple[str, int, list[str]]:
        with box() as target:
            script = "setsid sh -c 'sleep 1000 & sleep 1000 & exit' & wait; setsid sleep 1000 & echo started"
            result = nsbox.enter(target, None, ["sh", "-c", script], capture_output=True, text=True)
            names = [process.comm.decode() for process in nsbox.ps(of=target.pid)] if who.is_root else []
            return result.stdout, result.returncode, names

    stdout, returncode, names = who(check)
    assert (stdout, returncode) == ("started\n", 0)
    if who.is_root:
        assert sorted(names) == ["nsbox-init", "sleep"]


@pytest.mark.parametrize("stop", [False, True])
def test_kill(who: Who, stop: bool) -> None:
    """kill() ends all that was entered, even if our processes have been stopped from inside, and nothing else."""

    def check() -> tuple[int, bool]:
        with box() as target:
            script = "setsid sleep 1000 & sleep 1000"
            with nsbox.Popen(["sh", "-c", script], unshare="", join=target) as process:
                inner = [pid for pid in descendants(process.init_pid) if pid != process.pid]
                if stop:
                    for pid in (process.init_pid, *inner):
                        os.kill(pid, signal.SIGSTOP)
                process.kill()
                returncode = process.wait(100)
            return returncode, target.poll() is None

    assert who(check) == (-signal.SIGKILL, True)


def test_signals_and_status(who: Who) -> None:
    """Signals and exit statuses pass through both nsbox-inits."""

    def check() -> tuple[int, int, int]:
        with box() as target:
            end = nsbox.enter(target, None, ["sh", "-c", "exit 7"]).returncode
            with nsbox.Popen(["sleep", "1000"], unshare="", join=target) as process:
                process.send_signal(signal.SIGTERM)
            with nsbox.Popen(["sleep", "1000"], unshare="", join=target) as forwarded:
                os.kill(forwarded.init_pid, signal.SIGTERM)
                forwarded.wait(100)
            return end, process.returncode, forwarded.returncode

    assert who(check) == (7, -signal.SIGTERM, -signal.SIGTERM)


@pytest.mark.parametrize("victim", ["init_pid", "inner"])
def test_an_init_is_killed(victim: str) -> None:
    """If one of our own processes is killed, the program ends with it."""
    with box() as target, nsbox.Popen(["sleep", "1000"], unshare="", join=target) as process:
        inner = next(pid for pid in descendants(process.init_pid) if pid != process.pid)
        os.kill(inner if victim == "inner" else process.init_pid, signal.SIGKILL)
        assert process.wait(100) == -signal.SIGKILL
        assert wait_until(lambda: not alive(process.pid))
        if victim == "init_pid":
            # It may be our orphan now. Until it is reaped, its PID namespace cannot end (pid_namespaces(7)).
            os.waitpid(inner, 0)
        assert target.poll() is None


@pytest.mark.parametrize(
    ("arrangement", "unshare"),
    [("init", ""), ("init", "mp"), ("no init", ""), ("no init", "mp"), ("no fork", "")],
)
def test_caller_dies(arrangement: str, unshare: str) -> None:
    """If the caller is killed, all that it has entered ends."""
    with box() as target:

        def start(send: Callable[[object], None]) -> nsbox.Popen:
            command = ["sh", "-c", "sleep 1000 & echo; sleep 1000"]
            options = ARRANGEMENTS[arrangement]
            process = nsbox.Popen(command, unshare=unshare, join=target, stdout=subprocess.PIPE, **options)
            assert process.stdout
            process.stdout.readline()
            send(f"{process.pid} {process.init_pid}")
            return process

        with caller(start) as victim:
            ours = set(map(int, victim.receive().split()))
            victim.kill()
            kept = {target.pid, target.init_pid}
            if arrangement == "init":
                assert wait_until(lambda: not set(filter(alive, descendants())) - kept)
            else:
                # An nsbox-init outside of the PID namespace cannot end orphans inside (architecture.md).
                assert wait_until(lambda: not any(map(alive, ours)))
            assert target.poll() is None


@pytest.mark.parametrize("arrangement", ["init", "no init"])
def test_new_namespaces_inside_joined_ones(who: Who, arrangement: str) -> None:
    """New namespaces are made inside the joined ones: a nested PID namespace, new mounts, the joined network."""

    def check() -> tuple[str, dict[str, str], dict[str, str]]:
        with box() as target:
            command = [
                "sh",
                "-c",
                "grep NSpid /proc/self/status; hostname; readlink /proc/self/ns/net; exec sleep 1000",
            ]
            with nsbox.Popen(
                command, unshare="mpu", mount_proc=True, hostname="deeper", join=(target, "pid net user"),
                stdout=subprocess.PIPE, text=True, **ARRANGEMENTS[arrangement],
            ) as process:  # fmt: skip
                assert process.stdout
                said = "".join(process.stdout.readline() for _ in range(3))
                links, theirs = links_of(process.pid), links_of(target.pid)
                numbers = status(Path(f"/proc/{process.pid}/status").read_text())["NSpid"].split()
                assert [int(numbers[0]), int(numbers[2])] == [process.pid, process.pid_inside]
                assert len(numbers) == 3
                process.kill()
            return said, links, theirs

    said, links, theirs = who(check)
    assert "deeper\n" in said
    assert links["net"] == theirs["net"]
    assert links["user"] == theirs["user"]
    assert not {links[kind] for kind in ("pid", "mount", "uts")} & set(theirs.values())


@needs_root
def test_new_user_namespace_beside_joined_ones() -> None:
    """Root joins a network, and maps itself in a new user namespace."""
    with box() as target:
        command = ["sh", "-c", "cat /proc/self/uid_map; readlink /proc/self/ns/net"]
        for options in ARRANGEMENTS.values():
            output = nsbox.enter(
                target, "net", command, unshare="U", map_users=[(5, 0, 1)], map_groups=[(0, 0, 1)],
                capture_output=True, text=True, check=True, **options,
            ).stdout  # fmt: skip
            assert output.split() == ["5", "0", "1", links_of(target.pid)["net"]]


@needs_root
def test_root_becomes_root_of_a_users_namespace() -> None:
    """A process that joins a user namespace becomes its root; with preserve_credentials its ids are unmapped there."""

    def start(send: Callable[[object], None]) -> nsbox.Popen:
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        process = nsbox.Popen(["sleep", "1000"], unshare="mip")
        send(process.pid)
        return process

    with caller(start) as owner:
        pid = int(owner.receive())
        command = ["sh", "-c", "id -u; id -g; grep CapEff /proc/self/status"]
        root = nsbox.enter(pid, None, command, capture_output=True, text=True, check=True).stdout.split()
        stranger = nsbox.enter(
            pid, None, command, preserve_credentials=True, capture_output=True, text=True, check=True
        ).stdout.split()
        assert root[:2] == ["0", "0"]
        assert int(root[-1], 16) != 0
        assert stranger[:2] == ["65534", "65534"]
        assert int(stranger[-1], 16) == 0
        owner.kill()
        assert survivors() == []


def test_root_and_working_directory(who: Who, place: Path) -> None:
    """As with --root and --wd: the target's own directories, or others of the caller."""
    (place / "work").mkdir()
    (place / "marker").touch()
    (place / "work").chmod(0o777)

    def check() -> list[tuple[str, str]]:
        found = []
        with box(cwd=str(place / "work")) as target:
            for options, flags in (
                ({}, []),
                ({"wd": True}, ["-w"]),
                ({"wd": str(place)}, [f"-w{place}"]),
                ({"root": True}, ["-r"]),
                ({"root": True, "wd": True}, ["-r", "-w"]),
            ):
                user = [] if who.is_root else ["-U", "--preserve-credentials"]
                command = ["nsenter", "-t", str(target.pid), *user, "-m", *flags, "pwd"]
                theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                ours = nsbox.enter(target, "m", ["/bin/pwd"], capture_output=True, text=True, check=True, **options)
                found.append((theirs, ours.stdout))
        return found

    for theirs, ours in who(check):
        assert theirs == ours


def test_another_root(place: Path) -> None:
    """If a directory becomes the root, the program is looked up in it, and is not found."""
    with box() as target, pytest.raises(FileNotFoundError):
        nsbox.enter(target, "ipc", ["/bin/true"], root=place)


def test_time() -> None:
    """A process that joins a time namespace gets its clocks; one that shares the caller's memory could not join it."""
    with box("T", boottime=10**6) as target:
        for options in ARRANGEMENTS.values():
            output = nsbox.enter(
                target, "time", ["cat", "/proc/uptime"], capture_output=True, text=True, **options
            ).stdout
            assert float(output.split()[0]) > 10**6


def test_forms_of_a_target(who: Who) -> None:
    """A PID, a pidfd, a path, an open file, a handle, an object with a pid; and several at once."""

    def check() -> list[bool]:
        with box() as target:
            theirs = links_of(target.pid)["ipc"]
            path = f"/proc/{target.pid}/ns/ipc"

            class Numbered:
                pid = target.pid

            class Boxed:
                def namespace(self, kind: str) -> nsbox.Namespace:
                    return nsbox.Namespace.of(target, kind)

            handles = {"ipc": nsbox.Namespace.of(target, "ipc"), "net": nsbox.Namespace.of(target, "net")}
            forms: list[Any] = [
                (target, "ipc"), (target.pid, "ipc"), (nsbox.Pidfd(target.pidfd), "ipc"), path, Path(path),
                path.encode(), (Numbered(), "ipc"), (Boxed(), "ipc"), handles["ipc"],
                [handles["ipc"], (target.pid, "net")], nsbox.Join(target.pid, "i"),
            ]  # fmt: skip
            found = []
            for form in forms:
                command = ["readlink", "/proc/self/ns/ipc"]
                result = nsbox.run(command, unshare="", join=form, capture_output=True, text=True, check=True)
                found.append(result.stdout.strip() == theirs)
            with open(path) as file:
                result = nsbox.run(["readlink", path], unshare="", join=file, capture_output=True, text=True)
                found.append(result.returncode == 0)
            for handle in handles.values():
                handle.close()
            return found

    assert who(check) == [True] * 12


def test_a_namespace_without_processes(who: Who) -> None:
    """A handle keeps a namespace alive after its last process, and it can be joined."""

    def check() -> bool:
        with box("i") as target:
            kept = nsbox.Namespace.of(target, "ipc")
        with kept:
            link = nsbox.enter(kept, None, ["readlink", "/proc/self/ns/ipc"], capture_output=True, text=True).stdout
            return bool(link.strip() == f"ipc:[{kept.id}]")

    assert who(check)


def test_a_dead_pid_namespace(who: Who) -> None:
    """A PID namespace whose PID 1 has ended is refused before anything is started."""

    def check() -> tuple[str, int | None, str]:
        with box() as target:
            kept = nsbox.Namespace.of(target, "pid")
        with kept:
            assert kept.is_dead
            try:
                nsbox.enter(kept, None, ["true"])
            except nsbox.SpawnError as error:
                return error.step, error.errno, str(error)
        raise AssertionError("it was joined")

    step, number, text = who(check)
    assert (step, number) == ("join pid", errno.ESRCH)
    assert "PID 1" in text


def failing(target: Any, kinds: Any = None, **options: Any) -> tuple[str, str, int | None, str]:
    with pytest.raises(nsbox.SpawnError) as caught:
        nsbox.enter(target, kinds, ["true"], **options)
    error = caught.value
    return error.step, error.actor, error.errno, error.hint


def test_targets_that_cannot_be_opened(place: Path) -> None:
    """No such process; no such file; not a namespace; a process of another user."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    step, actor, number, hint = failing(gone.pid)
    assert (step, actor, number) == ("open target", "caller", errno.ESRCH)
    assert hint
    with pytest.raises(nsbox.SpecError, match="has ended"):
        nsbox.enter(gone, None, ["true"])
    assert failing(str(place / "nothing"))[2] == errno.ENOENT
    with pytest.raises(nsbox.SpecError, match="is no namespace"):
        nsbox.enter(str(place), None, ["true"])
    assert as_user(lambda: failing(1, "ipc"))[:3] == ("open target", "caller", errno.EACCES)


@needs_root
def test_a_user_without_rights_is_refused(place: Path) -> None:
    """A user with an open descriptor of root's namespace still has no rights over it."""
    with box() as target, nsbox.Namespace.of(target, "ipc") as ipc, nsbox.Namespace.of(target, "pid") as pid:
        for namespace in (ipc, pid):

            def check(namespace: nsbox.Namespace = namespace) -> Any:
                return failing(namespace)

            step, actor, number, hint = as_user(check)
            assert (step, actor, number) == (f"join {namespace.kind}", "init", errno.EPERM)
            assert hint


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("kind", ["mount", "pid", "ipc", "uts", "net", "cgroup"])
def test_each_step_can_fail(who: Who, kind: str, arrangement: str) -> None:
    """The error names the step that failed, and nothing is left."""

    def check() -> tuple[str, str, int | None, str]:
        with box() as target:
            flag = KINDS[kind].flag
            seccomp.install(Deny("setns", errno.EUSERS, argument=1, equals=flag))
            return failing(target, kind, **ARRANGEMENTS[arrangement])

    actor = "payload" if arrangement == "no fork" else "init"
    assert in_child(lambda: who(check))[:3] == (f"join {kind}", actor, errno.EUSERS)


@pytest.mark.parametrize("unshare", ["", "mp"])
def test_descending_can_fail(who: Who, unshare: str) -> None:
    """If the second nsbox-init cannot be made, the error names the step and the process that failed."""

    def check() -> tuple[str, str, int | None, str]:
        with box() as target:
            seccomp.install(Deny("clone", errno.EAGAIN, argument=0, bits=0x1000))
            return failing(target, "pid user", unshare=unshare)

    assert in_child(lambda: who(check))[:3] == ("descend", "init", errno.EAGAIN)


@pytest.mark.parametrize(
    ("join", "reason"),
    [
        (True, "neither a process nor a namespace"),
        (0, "no PID"),
        (-1, "no PID"),
        ((1, "ipc", "net"), "a target and kinds"),
        ((1, "x"), "join: 'x'"),
        (object(), "neither a process nor a namespace"),
        ([(os.getpid(), "ipc"), (os.getpid(), "ipc")], "two ipc namespaces"),
    ],
)
def test_impossible(join: Any, reason: str) -> None:
    """Refused before anything is started, with the argument's name."""
    with pytest.raises(nsbox.SpecError, match=reason):
        nsbox.run(["true"], unshare="", join=join)


def test_the_program_inherits_no_namespaces(who: Who) -> None:
    """A program that inherits all descriptors inherits none of a namespace."""

    def check() -> str:
        with box() as target:
            command = ["sh", "-c", "readlink /proc/self/fd/*"]
            found = [
                nsbox.enter(
                    target, "ipc net", command, close_fds=False, capture_output=True, text=True, **options
                ).stdout
                for options in ARRANGEMENTS.values()
            ]
            return "".join(found)

    assert ":[" not in who(check).replace("pipe:[", "")


def test_from_a_process_with_threads(who: Who, busy_threads: None) -> None:
    """The caller's threads do not matter: another process joins."""

    def check() -> int:
        with box() as target:
            return sum(nsbox.enter(target, None, ["true"]).returncode for _ in range(20))

    assert who(check) == 0


def test_a_caller_that_ignores_its_children(who: Who) -> None:
    """If the caller ignores SIGCHLD, the program inherits that, and the status is still known."""

    def check() -> tuple[int, str]:
        with box() as target:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            process = nsbox.Popen(
                ["grep", "SigIgn", "/proc/self/status", "nothing"], unshare="", join=target, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            text, _ = process.communicate()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return process.returncode, text

    returncode, text = in_child(lambda: who(check))
    assert returncode == 2
    assert int(text.split()[1], 16) & 1 << (signal.SIGCHLD - 1)


def test_few_descriptors() -> None:
    """Wherever the limit of open descriptors is reached, an error is raised, and nothing is left open."""

    def check() -> list[str]:
        found = []
        with box() as target:
            pid = target.pid
            used, limits = len(os.listdir("/proc/self/fd")), resource.getrlimit(resource.RLIMIT_NOFILE)
            for spare in range(1, 14):
                before = sorted(os.listdir("/proc/self/fd"))
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, limits[1]))
                try:
                    nsbox.enter(pid, None, ["true"])
                    found.append("done")
                except OSError as error:
                    found.append(errno.errorcode[error.errno or 0])
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                assert sorted(os.listdir("/proc/self/fd")) == before
        return found

    found = in_child(check)
    assert set(found) <= {"EMFILE", "done"}
    assert found[0] == "EMFILE"


def test_interrupted(who: Who) -> None:
    """If a signal handler raises during set-up, nothing is left."""

    def check() -> int:
        caught = 0
        with box() as target:

            def late(*_: object) -> None:
                raise KeyboardInterrupt

            signal.signal(signal.SIGALRM, late)
            for microseconds in range(100, 6000, 300):
                try:
                    signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
                    nsbox.enter(target, None, ["true"])
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except KeyboardInterrupt:
                    caught += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            kept = {target.pid, target.init_pid}
            assert wait_until(lambda: not set(filter(alive, descendants())) - kept)
        return caught

    assert in_child(lambda: who(check)) > 0


@needs_root
def test_raw_setns_by_pidfd_agrees() -> None:
    """One setns(2) with a pidfd and a mask has the same effect as our single steps."""
    with box() as target:
        mask = raw.CLONE_NEWIPC | raw.CLONE_NEWUTS | raw.CLONE_NEWNET

        def check() -> dict[str, str]:
            raw.setns(target.pidfd, mask)
            return own_links()

        assert in_child(check) == entered(target, "ipc uts net")


def test_a_box(who: Who) -> None:
    """A box provides its namespaces itself, as an ordinary user may not open those of its nsbox-init."""

    def check() -> tuple[dict[str, str], dict[str, str], bool, int]:
        with nsbox.Box("mipunC") as target:
            paths = [f"/proc/self/ns/{link}" for link in LINKS.values()]
            output = target.run(["readlink", *paths], capture_output=True, text=True, check=True).stdout
            theirs = dict(zip(LINKS, output.split(), strict=True))
            target.mount_proc()
            with target.namespace("net") as net:
                same = theirs["net"] == f"net:[{net.id}]"
            nested = nsbox.run(["true"], unshare="mp", join=(target, "pid user")).returncode
            return theirs, entered(target, None), same, nested

    theirs, inside, same, nested = who(check)
    assert theirs == inside
    assert same
    assert nested == 0
    with pytest.raises(nsbox.SpecError, match="join: a box"):
        nsbox.Box(join=os.getpid())


def test_a_shell(who: Who) -> None:
    """A shell can be a target, and can be started in joined namespaces."""

    def check() -> tuple[str, str, str]:
        with nsbox.Shell("mip") as target:
            link = os.readlink(f"/proc/{target.pid}/ns/ipc")
            found = nsbox.enter(target, "ipc", ["readlink", "/proc/self/ns/ipc"], capture_output=True, text=True).stdout
            with nsbox.Shell("", join=(target, "ipc")) as joined:
                return link, found.strip(), joined.run("readlink /proc/self/ns/ipc").stdout.strip()

    assert len(set(who(check))) == 1


def test_settings_of_new_namespaces_inside_joined_ones(who: Who) -> None:
    """Files of /proc/sys are written by the process that has the rights inside."""

    def check() -> str:
        with box("mipU", mount_proc=False) as target:
            options: dict[str, Any] = {"unshare": "mp", "pid_max": 1000, "mount_proc": True}
            command = ["cat", "/proc/sys/kernel/pid_max"]
            return str(
                nsbox.run(command, join=(target, "user ipc pid"), capture_output=True, text=True, **options).stdout
            )

    assert who(check) == "1000\n"


def test_clocks_inside_a_joined_user_namespace(who: Who) -> None:
    """Root may set them. For a user's box nsbox-init would have to be traceable from inside, which is refused."""

    def check() -> tuple[str, str]:
        with box("mipU") as target:
            command = ["cat", "/proc/uptime"]
            options: dict[str, Any] = {"unshare": "T", "boottime": 10**6, "join": (target, "user ipc")}
            try:
                uptime = nsbox.run(command, capture_output=True, text=True, **options).stdout.split()[0]
                return ("set" if float(uptime) > 10**6 else "not set"), ""
            except nsbox.SpawnPermissionError as error:
                return error.step, error.evidence

    step, evidence = who(check)
    assert step == ("set" if who.is_root else "clock offsets")
    assert who.is_root or "nsbox-init cannot be traced from inside" in evidence


def test_processes_inside_cannot_trace_init() -> None:
    """Root of the joined user namespace sees our second nsbox-init, but may not inspect it (ptrace(2))."""

    def check() -> tuple[str, str]:
        with box("mipU", mount_proc=True) as target, nsbox.Popen(["sleep", "1000"], unshare="", join=target) as process:
            inner = nsbox.translate_pid(next(p for p in descendants(process.init_pid) if p != process.pid), to=target)
            script = f"readlink /proc/{inner}/exe || echo hidden; readlink /proc/{process.pid_inside}/exe"
            output = nsbox.enter(target, None, ["sh", "-c", script], capture_output=True, text=True).stdout
            process.kill()
            hidden, shown = output.split()
            return hidden, Path(shown).name

    assert as_user(check) == ("hidden", "sleep")
