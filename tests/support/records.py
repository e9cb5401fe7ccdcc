"""Made-up records, and strategies for records with unusual values."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st
from nsbox.records.ipc import IpcObject
from nsbox.records.mountinfo import Mount
from nsbox.records.namespaces import NamespaceRecord
from nsbox.records.processes import NamespaceIds, Process, Thread

__all__ = ["HOST", "ipc_objects", "mounts", "names", "namespaces", "paths", "process", "trees"]

HOST = NamespaceIds(1, 2, 3, 4, 5, 6, 7, 8)


def process(pid: int, ppid: int, name: bytes | str = "name", **others: Any) -> Process:
    """Return a process with the fields that are read by default."""
    comm = name.encode() if isinstance(name, str) else name
    values: dict[str, Any] = {
        "pid": pid, "ppid": ppid, "pgid": pid, "sid": 1, "tty_nr": 0, "tpgid": -1, "state": "S", "nice": 0, "owner": 0,
        "thread_count": 1, "comm": comm, "kernel_thread": False, "start_ticks": 100, "start_seconds": 1.0,
        "utime": 0.0, "stime": 0.0, "rss": 0, "vsize": 0, "pids": (pid,), "uids": (0, 0, 0, 0), "gids": (0, 0, 0, 0),
        "groups": (), "locked": 0, "capabilities": None, "no_new_privs": False, "seccomp": 0, "cmdline": (comm,),
        "namespaces": HOST,
    }  # fmt: skip
    return Process(**(values | others))


names = st.one_of(
    st.binary(max_size=15),
    st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [b"]]>", b"<!--", b"&amp;", b"</text><script>", b"\x00\x0b\xff\xfe", "\u202ereversed".encode(), b" "]
    ),
)
"""Names of processes: any bytes, including those with a meaning in XML and unassigned ones."""

paths = names.map(lambda name: "/" + name.decode("utf-8", "surrogateescape"))
"""Paths as Python has them: bytes that are not UTF-8 are surrogates."""

_ids = st.one_of(st.none(), st.integers(1, 12))


@st.composite
def trees(draw: st.DrawFn, most: int = 60) -> list[Process]:
    """Processes below PID 1, in any shape, state and namespaces."""
    count = draw(st.integers(1, most))
    some = draw(st.lists(names, min_size=1, max_size=4))
    found: list[Process] = []
    for pid in range(1, count + 1):
        above = found[draw(st.integers(0, pid - 2))] if pid > 1 else None
        own = above.namespaces if above else HOST
        pids = (pid, *(range(2, 1 + len(above.pids)) if above else ()))
        if draw(st.integers(0, 5)) == 0:
            kind = draw(st.sampled_from(NamespaceIds._fields))
            own = own._replace(**{kind: draw(_ids)})
            pids = (*pids, 1) if kind == "pid" and len(pids) < 5 else pids
        state = draw(st.sampled_from("SSSSSZT"))
        threads: tuple[Thread, ...] = ()
        if own.uts and draw(st.integers(0, 9)) == 0:
            threads = (Thread(1000 + pid, draw(st.sampled_from(some)), own._replace(uts=draw(_ids))),)
        others: dict[str, Any] = {"namespaces": own, "pids": pids, "state": state, "threads": threads}
        name = draw(st.sampled_from(some))
        found.append(process(pid, above.pid if above else 0, name, thread_count=1 + len(threads), **others))
    return found


numbers = st.integers(0, 2**32)
mounts = st.builds(
    Mount, id=numbers, parent=numbers, device=st.tuples(numbers, numbers), root=paths, point=paths,
    options=st.lists(st.sampled_from(["ro", "nosuid"])).map(tuple),
    propagation=st.lists(st.sampled_from(["shared:1", "master:2"])).map(tuple),
    fstype=st.text(string.ascii_lowercase), source=paths, super_options=st.just(()), pid_namespace=_ids,
)  # fmt: skip
namespaces = st.builds(
    NamespaceRecord, id=numbers, kind=st.sampled_from(NamespaceIds._fields), parent=_ids, owner=_ids, owner_uid=_ids,
    process_count=numbers, pid=_ids, ppid=_ids, uid=_ids, command=st.one_of(st.none(), names), creator=_ids,
    threads=st.lists(st.tuples(numbers, numbers), max_size=2).map(tuple), for_children=st.just(()),
    descriptors=st.just(()), mounts=st.lists(paths, max_size=2).map(tuple),
)  # fmt: skip
ipc_objects = st.builds(
    IpcObject, kind=st.sampled_from(["shm", "sem", "msg", "mqueue"]), id=_ids, key=_ids,
    name=st.one_of(st.none(), paths), uid=_ids, gid=_ids, mode=st.integers(0, 0o777), size=_ids, count=_ids,
    creator=_ids,
)  # fmt: skip
