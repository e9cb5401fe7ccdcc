"""Generate the pictures in `docs/pictures` from invented processes, or check that they are up to date."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

from nsbox.box.networks import Networks
from nsbox.records.comparison import Pair
from nsbox.records.networks import InterfaceRecord, NetworkRecord, RouteRecord
from nsbox.records.processes import NamespaceIds, Process
from nsbox.seeing.compare import Comparison
from nsbox.seeing.diff import diff
from nsbox.seeing.ipc import IpcTable
from nsbox.seeing.mounts import MountTable
from nsbox.seeing.namespaces import NamespaceTable
from nsbox.seeing.processes import ProcessTable
from nsbox.seeing.snapshot import Snapshot
from nsbox.seeing.tree import ProcessTree

PLACE = Path(__file__).parent.parent / "docs" / "pictures"
HOST = NamespaceIds(
    4026531837, 4026531832, 4026531836, 4026531839, 4026531838, 4026531833, 4026531835, 4026531834
)  # fmt: skip


def process(pid: int, ppid: int, name: str, namespaces: NamespaceIds = HOST, *inner: int, **others: Any) -> Process:
    """Return a process, by default in the namespaces of the machine; `inner` are its PIDs in nested namespaces."""
    values: dict[str, Any] = {
        "pid": pid, "ppid": ppid, "pgid": pid, "sid": pid, "tty_nr": 0, "tpgid": -1, "state": "S", "nice": 0,
        "owner": 0, "thread_count": 1, "comm": name.encode(), "kernel_thread": False, "start_ticks": 100 * pid,
        "start_seconds": float(pid), "utime": 0.0, "stime": 0.0, "rss": 0, "vsize": 0, "pids": (pid, *inner),
        "uids": (0, 0, 0, 0), "gids": (0, 0, 0, 0), "groups": (), "locked": 0, "capabilities": None,
        "no_new_privs": False, "seccomp": 0, "cmdline": (name.encode(),), "namespaces": namespaces,
    }  # fmt: skip
    return Process(**(values | others))


UNSHARED = HOST._replace(mount=4026532281, ipc=4026532282)
IN_BOX = UNSHARED._replace(pid=4026532283)
DEEPER = IN_BOX._replace(user=4026532300, mount=4026532301, uts=4026532302, net=4026532304, pid=4026532303)


def workshop() -> list[Process]:
    """Return the processes of a machine on which one student does the exercise and another one joins the namespaces."""
    return [
        process(1, 0, "systemd"),
        process(300, 1, "auditd", HOST._replace(mount=4026532190), thread_count=2),
        process(301, 300, "sedispatch", HOST._replace(mount=4026532190)),
        process(410, 1, "chronyd", HOST._replace(mount=4026532191)),
        process(415, 1, "crond"),
        process(500, 1, "sshd"),
        process(7100, 500, "sshd"),
        process(7110, 7100, "sshd"),
        process(7128, 7110, "bash"),
        process(8100, 7128, "unshare", UNSHARED),
        process(8101, 8100, "bash", IN_BOX, 1),
        process(8120, 8101, "sleep", IN_BOX, 20),
        process(8121, 8101, "worker", NamespaceIds(user=HOST.user, pid=IN_BOX.pid), 21, state="Z"),
        process(8122, 8101, "unshare", IN_BOX, 22),
        process(8123, 8122, "sh", DEEPER, 23, 1),
        process(8124, 8123, "top", DEEPER, 24, 2),
        process(7200, 500, "sshd"),
        process(7210, 7200, "sshd"),
        process(7228, 7210, "bash"),
        process(9000, 7228, "bash", IN_BOX, 25),
    ]


DAEMONS = (
    "NetworkManager", "agetty", "auditd", "chronyd", "crond", "dbus-daemon", "firewalld", "irqbalance", "polkitd",
    "rhsmcertd", "rngd", "rsyslogd", "sssd", "sssd_be", "sssd_nss", "systemd-journal", "systemd-logind",
    "systemd-udevd", "tuned", "cupsd", "avahi-daemon", "gdm", "snapd",
)  # fmt: skip


def classroom() -> list[Process]:
    """Return 300 processes: services, students at different steps of the exercise, and a few containers."""
    found = [process(1, 0, "systemd")]
    pids = iter(range(2, 1000))

    def add(ppid: int, name: str, namespaces: NamespaceIds = HOST, *inner: int, **others: Any) -> int:
        found.append(process(next(pids), ppid, name, namespaces, *inner, **others))
        return found[-1].pid

    fresh = iter(range(4026532100, 4026539999))
    for number, name in enumerate(DAEMONS):
        namespaces = HOST._replace(mount=next(fresh)) if number % 6 == 2 else HOST
        add(1, name, namespaces, thread_count=3 if number % 4 == 0 else 1)
    sshd = add(1, "sshd")
    for student in range(28):
        shell = add(add(add(sshd, "sshd"), "sshd"), "bash")
        if student % 4 == 0:
            unshared = HOST._replace(mount=next(fresh), ipc=next(fresh))
            inside = unshared._replace(pid=next(fresh))
            first = add(add(shell, "unshare", unshared), "bash", inside, 1)
            for number, name in zip(range(student % 5), cycle(("sleep", "top", "vim")), strict=False):
                add(first, name, inside, 2 + number)
    add(1, "containerd", thread_count=12)
    for name, workers in cycle((("postgres", 6), ("nginx", 4), ("redis", 0))):
        kinds = ("mount", "pid", "ipc", "uts", "net")
        inside = HOST._replace(**{kind: next(fresh) for kind in kinds})
        first = add(add(1, "containerd-shim", thread_count=11), name, inside, 1)
        for number in range(workers):
            add(first, name, inside, 2 + number)
        if len(found) >= 300:
            return found[:300]
    raise AssertionError


def snapshot(processes: list[Process]) -> Snapshot:
    """Return a snapshot that has only processes."""
    table = ProcessTable(processes, boot=0.0, read_at=9000.0)
    return Snapshot(table, NamespaceTable(()), MountTable(()), IpcTable(()))


def comparison() -> Comparison:
    """Compare the processes outside with those in the box of the exercise."""
    inside = {one.pid: one.pids[1] for one in workshop() if len(one.pids) > 1}

    def seen(one: Process) -> Process:
        values = one._asdict() | {"pid": inside[one.pid], "ppid": inside.get(one.ppid, 0), "pids": one.pids[1:]}
        return Process(**values)

    pairs = tuple(Pair(one, seen(one)) for one in workshop() if one.pid in inside)
    others = tuple(one for one in workshop() if one.pid not in inside)
    return Comparison(8101, HOST, IN_BOX, pairs, others)


def routed() -> Networks:
    """Return three hosts in networks of their own, and a router between them."""
    hosts, ends, routes = [], [], []
    for number, name in enumerate(("web", "db", "client")):
        prefix, prefix6 = f"10.0.{number}", f"fd00:0:0:{number}:" if number else "fd00:"
        hosts.append(
            NetworkRecord(
                name, 4026532400 + number, 4711 + number,
                (LOOPBACK, cable("eth0", (f"{prefix}.1/24", f"{prefix6}:1/64"), f"eth{number}", "router")),
                (RouteRecord("default", f"{prefix}.2", "eth0", 4), RouteRecord(f"{prefix}.0/24", "", "eth0", 4)),
            )
        )  # fmt: skip
        ends.append(cable(f"eth{number}", (f"{prefix}.2/24", f"{prefix6}:2/64"), "eth0", name))
        routes.append(RouteRecord(f"{prefix}.0/24", "", f"eth{number}", 4))
    router = NetworkRecord("router", 4026532403, 4714, (LOOPBACK, *ends), tuple(routes), (4, 6))
    return Networks([*hosts, router])


LOOPBACK = InterfaceRecord("lo", 1, kind="loopback", up=True, addresses=("127.0.0.1/8", "::1/128"))


def cable(name: str, addresses: tuple[str, ...], peer: str, peer_in: str) -> InterfaceRecord:
    """Return one end of a pair."""
    return InterfaceRecord(
        name, 2, kind="veth", up=True, carrier=True, addresses=addresses, peer=peer, peer_in=peer_in
    )  # fmt: skip


def pictures() -> Iterator[tuple[str, str]]:
    """Yield all pictures: the name and the document of each."""
    processes = workshop()
    yield "box", ProcessTree(processes[:12], root=7128).svg()
    yield "workshop", ProcessTree(processes).svg()
    yield "classroom", ProcessTree(classroom()).svg()
    yield "diff", diff(snapshot(processes[:12]), snapshot([*processes[:11], *processes[13:16]])).svg()
    yield "compare", comparison().svg()
    yield "networks", routed().svg()


def main() -> int:
    """Write the pictures, or with --check compare them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with status 1 if a picture is out of date"
    )
    check = parser.parse_args().check
    stale = []
    for name, document in pictures():
        path = PLACE / f"{name}.svg"
        if not check:
            path.write_text(document)
        elif not path.exists() or path.read_text() != document:
            stale.append(name)
    if stale:
        print(f"docs/pictures is out of date: run `python tools/pictures.py` ({', '.join(stale)})", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
