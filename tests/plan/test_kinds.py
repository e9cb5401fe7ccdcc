"""Exactly the namespaces that were asked for are new."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.forked import Who
from tests.support.inside import LINKS, by_unshare, cat, links, mounts, own_links
from tests.support.needs import needs, needs_root

KINDS = tuple(LINKS)
ARRANGEMENTS: dict[str, dict[str, Any]] = {
    "init": {},
    "no init": {"init": False},
    "no fork": {"fork": False},
}


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_new_are_those_asked_for(who: Who, kind: str, arrangement: str) -> None:
    """The payload differs from the caller in the namespaces asked for, and in a user namespace if that is needed."""
    asked = set(KINDS) if kind == "all" else {kind}
    needs(who, " ".join(asked))
    inside, outside = who(lambda: (links(unshare=asked, **ARRANGEMENTS[arrangement]), own_links()))
    expected = asked | (set() if who.is_root else {"user"})
    if arrangement == "no fork":
        expected -= {"pid"}
    assert {kind for kind in KINDS if inside[kind] != outside[kind]} == expected


def test_no_namespaces(who: Who) -> None:
    """Without namespaces all are the caller's."""
    inside, outside = who(lambda: (links(unshare=""), own_links()))
    assert inside == outside


def test_without_a_fork_a_pid_namespace_is_for_children(who: Who) -> None:
    """Without fork the payload keeps its PID namespace, and its first child is PID 1 of the new one."""
    script = "sh -c 'echo $$; readlink /proc/self/ns/pid'; exec readlink /proc/self/ns/pid"
    outside, output = who(lambda: (own_links(["pid"]), _sh(script, unshare="p", fork=False)))
    number, new, own = output.split()
    assert number == "1"
    assert new != own == outside["pid"]


def test_pid_numbers(who: Who) -> None:
    """With nsbox-init the payload is PID 2, without it PID 1; the handle has its PIDs inside and outside."""

    def numbers(**options: Any) -> tuple[str, int, bool]:
        # The program reads its PID in the outer /proc, as the caller sees it.
        command = ["readlink", "/proc/self"]
        with nsbox.Popen(command, unshare="pid", stdout=subprocess.PIPE, text=True, **options) as process:
            output = process.communicate()[0].strip()
        return _sh("echo $$", unshare="p", **options).strip(), process.pid_inside, output == str(process.pid)

    assert who(numbers) == ("2", 2, True)
    assert who(lambda: numbers(init=False)) == ("1", 1, True)
    number, inside, same = who(lambda: numbers(fork=False))
    assert (int(number) > 2, inside > 2, same) == (True, True, True)


def test_names_are_inside_only(who: Who) -> None:
    """The host name and the domain name, of the maximum length, change inside and not outside."""
    before = os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text()
    files = "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname"
    names = {"hostname": "h" * 64, "domainname": "box.example"}
    assert who(lambda: cat(*files, unshare="u", **names)) == f"{'h' * 64}\nbox.example\n"
    assert (os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text()) == before


def test_empty_host_name(who: Who) -> None:
    """An empty name is set."""
    assert who(lambda: cat("/proc/sys/kernel/hostname", unshare="u", hostname="")) == "\n"


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_loopback(who: Who, arrangement: str) -> None:
    """The loopback interface is up, with its addresses, unless loopback=False."""
    needs(who, "net")
    options = ARRANGEMENTS[arrangement]
    table = "/proc/self/net/fib_trie"
    assert "127.0.0.1" in who(lambda: cat(table, unshare="n", **options))
    assert "127.0.0.1" not in who(lambda: cat(table, unshare="n", loopback=False, **options))


def test_loopback_carries_traffic(who: Who) -> None:
    """A connection over it works."""
    program = (
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die;"
        "my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $s->sockport) or die $!; print 'ok'"
    )
    run = lambda: nsbox.run(["perl", "-e", program], unshare="n", capture_output=True, text=True)  # noqa: E731
    assert who(run).stdout == "ok"


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_clocks(who: Who, arrangement: str) -> None:
    """The clocks of the time namespace have the offsets asked for; outside nothing changes."""
    needs(who, "time")
    offsets: dict[str, Any] = {"boottime": 5000, "monotonic": (70, 250_000_000)}
    files = "/proc/uptime", "/proc/self/timens_offsets"
    text = who(lambda: cat(*files, unshare="T", **offsets, **ARRANGEMENTS[arrangement]))
    uptime, monotonic, boottime = text.splitlines()
    assert monotonic.split() == ["monotonic", "70", "250000000"]
    assert boottime.split() == ["boottime", "5000", "0"]
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert now + 4900 < float(uptime.split()[0]) < now + 5001


def test_clock_backwards() -> None:
    """An offset may be negative, with a fraction."""
    text = cat("/proc/self/timens_offsets", unshare="T", monotonic=-0.25)
    assert text.splitlines()[0].split() == ["monotonic", "-1", "750000000"]


@needs_root
def test_clock_as_unshare() -> None:
    """The clocks are those of the real unshare(1)."""
    file = "/proc/self/timens_offsets"
    theirs = by_unshare("-T", "--boottime", "1000", "--monotonic", "2000", "cat", file)
    assert cat(file, unshare="T", boottime=1000, monotonic=2000) == theirs


@pytest.mark.parametrize("arrangement", ["init", "no init"])
def test_pid_max(who: Who, arrangement: str) -> None:
    """The limit holds inside, where PIDs are reused. Outside nothing changes."""
    file = "/proc/sys/kernel/pid_max"
    before = Path(file).read_text()
    script = f"cat {file}; for i in $(seq 400); do true & wait; [ $! -lt 350 ] || echo $!; done"
    options = ARRANGEMENTS[arrangement]
    assert who(lambda: _sh(script, unshare="p", pid_max=350, **options)) == "350\n"
    assert Path(file).read_text() == before


@pytest.mark.parametrize("arrangement", ["init", "no init"])
def test_fresh_proc(who: Who, arrangement: str) -> None:
    """A new proc shows only the new PID namespace, and has the mount options of unshare(1)."""
    options: dict[str, Any] = {"unshare": "mip", "mount_proc": True, **ARRANGEMENTS[arrangement]}
    seen = who(lambda: _sh("echo /proc/[0-9]*; readlink /proc/self/ns/pid >/dev/null; echo $$", **options))
    assert seen in ("/proc/1\n1\n", "/proc/1 /proc/2\n2\n")
    last = who(lambda: mounts(cat("/proc/self/mountinfo", **options)))[-1]
    assert last == "/ /proc rw,nosuid,nodev,noexec,relatime - proc proc rw"
    assert "nsbox-init" in who(lambda: cat("/proc/1/comm", **options)) or arrangement == "no init"


def test_proc_elsewhere(who: Who, place: Path) -> None:
    """A new proc can be mounted on any directory, and is not visible from outside."""
    seen = who(lambda: cat(f"{place}/1/comm", unshare="mip", mount_proc=place))
    assert seen == "nsbox-init\n"
    assert not list(place.iterdir())


def test_proc_alone_adds_a_mount_namespace(who: Who) -> None:
    """proc is never mounted in the caller's own mount namespace."""
    inside, outside = who(lambda: (links(["mount"], unshare="p", mount_proc=True), own_links(["mount"])))
    assert inside != outside


@needs_root
def test_mounts_as_unshare() -> None:
    """The mount table is that of the real unshare(1), line by line."""
    theirs = mounts(by_unshare("-mipf", "--mount-proc", "cat", "/proc/self/mountinfo"))
    file = "/proc/self/mountinfo"
    assert mounts(cat(file, unshare="mip", mount_proc=True)) == [
        line.replace("- proc none", "- proc proc") for line in theirs
    ]


def test_ipc_is_empty(who: Who) -> None:
    """A System V segment made outside does not exist inside."""
    made = subprocess.run(["ipcmk", "-M", "4096"], capture_output=True, text=True, check=True).stdout.split()[-1]
    try:
        text = who(lambda: cat("/proc/sysvipc/shm", unshare="i"))
        assert made in Path("/proc/sysvipc/shm").read_text().split()
        assert len(text.splitlines()) == 1
    finally:
        subprocess.run(["ipcrm", "-m", made], check=True)


def test_cgroup_root(who: Who) -> None:
    """In a new cgroup namespace the caller's cgroup is the root."""
    needs(who, "cgroup")
    lines = who(lambda: cat("/proc/self/cgroup", unshare="C")).splitlines()
    assert {line.split(":", 2)[2] for line in lines} == {"/"}


def test_boxes_nest(who: Who) -> None:
    """The real unshare(1) works inside, and so does another box."""
    script = "unshare -Urmipf --mount-proc sh -c 'echo $$ $(ls -d /proc/[0-9]*)'"
    assert who(lambda: _sh(script, unshare="mip", mount_proc=True)).split()[:2] == ["1", "/proc/1"]


def test_busy_threads(who: Who, busy_threads: None) -> None:
    """Threads that allocate all the time do not affect the start."""
    del busy_threads
    for _ in range(15):
        assert who(lambda: _sh("echo $$", unshare="mip")) == "2\n"


def _sh(script: str, **options: Any) -> str:
    result = nsbox.run(["sh", "-c", script], capture_output=True, text=True, check=True, **options)
    return str(result.stdout)
