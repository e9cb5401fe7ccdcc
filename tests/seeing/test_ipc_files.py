"""Parsing of the files of /proc/sysvipc, with any contents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.records.ipc import IpcKind, IpcObject
from nsbox.seeing.ipc import IpcTable, parse

pytestmark = pytest.mark.pure

KINDS: list[IpcKind] = ["shm", "sem", "msg"]
SHM = b"""\
 key shmid perms size cpid  lpid nattch   uid   gid  cuid  cgid  atime  dtime  ctime  rss  swap
-556215552          0   1600                  4096   123   124      2  4242  1001     0     0  0 0 1700000000  4096    0
"""
SEM = b"""\
       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime
         0          5   644          3     0     0     0     0          0 1700000000
"""
MSG = b"""\
       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime
        17          6   666          10          2   321     0     7     8     0     0          0          0 1700000000
"""


def test_every_kind() -> None:
    (shared,) = parse("shm", SHM)
    assert shared == IpcObject(
        kind="shm", id=0, key=0xDED8D300, uid=4242, gid=1001, mode=0o1600, size=4096, count=2, creator=123
    )
    (semaphores,) = parse("sem", SEM, lambda uid: uid + 100)
    assert semaphores == IpcObject(kind="sem", id=5, key=0, uid=100, gid=0, mode=0o644, count=3)
    (queue,) = parse("msg", MSG, lambda _: None)
    assert queue == IpcObject(kind="msg", id=6, key=17, uid=None, gid=8, mode=0o666, size=10, count=2, creator=321)


@given(
    st.sampled_from(KINDS), st.binary() | st.sampled_from([SHM, SEM, MSG]), st.binary(max_size=20), st.integers(0, 300)
)
def test_anything_is_survived(kind: IpcKind, text: bytes, inserted: bytes, place: int) -> None:
    for one in parse(kind, text[:place] + inserted + text[place:]):
        assert one.kind == kind
        assert 0 <= one.mode <= 0o7777


def test_the_table() -> None:
    queue = IpcObject(kind="mqueue", name="a\x1bb", uid=0, gid=0, mode=0o600)
    table = IpcTable([*parse("shm", SHM), *parse("sem", SEM), queue], unknown=["msg"])
    assert str(table).splitlines() == [
        "KIND   ID KEY        OWNER PERMS SIZE COUNT PID",
        "shm     0 0xded8d300 4242  1600  4096     2 123",
        "sem     5 0x00000000 root  644      -     3   -",
        "mqueue  - /a\\x1bb    root  600      ?     -   -",
        "(msg: could not be read)",
    ]
    assert repr(table) == "<table of 3 ipc objects, msg unknown>"
    assert str(IpcTable([])) == ""
