"""The objects in an IPC namespace, compared with ipcs(1) and the files of an mqueue."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import nsbox
import pytest

from tests.support.forked import Who
from tests.support.needs import needs_root

pytestmark = pytest.mark.skipif(
    shutil.which("ipcmk") is None, reason="ipcmk is not installed (Debian util-linux-extra)"
)

# mq_open through the C library; every user may read /usr/bin/python3.
QUEUE = (
    "import ctypes, os; l = ctypes.CDLL(None); "
    "q = l.mq_open(b'/hello', os.O_CREAT | os.O_RDWR, 0o640, None); assert q >= 0; "
    "assert l.mq_send(q, b'five.', 5, 0) == 0"
)


def lines_of_ipcs(text: str) -> Iterator[list[str]]:
    return (line.split() for line in text.splitlines() if re.match("0x", line))


def test_another_namespace(who: Who) -> None:
    def act() -> tuple[Any, ...]:
        with nsbox.Shell("mip") as shell:
            shell.run("ipcmk -M 5000 -p 600; ipcmk -M 1; ipcmk -S 3; ipcmk -Q -p 444", check=True)
            shell.run(f'/usr/bin/python3 -c "{QUEUE}"', check=True)
            return nsbox.ipcs(shell), {flag: shell.run(f"ipcs -{flag}").stdout for flag in "msq"}, os.geteuid()

    found, texts, uid = who(act)
    assert found.unknown == ()
    shared, semaphores, queues, posix = (found.of_kind(kind) for kind in ("shm", "sem", "msg", "mqueue"))
    rows = list(lines_of_ipcs(texts["m"]))
    assert [(o.key, o.id, f"{o.mode:o}", o.size, o.count) for o in shared] == [
        (int(key, 16), int(id_), mode, int(size), int(attached)) for key, id_, _, mode, size, attached in rows
    ]
    assert [o.size for o in shared] == [5000, 1]
    rows = list(lines_of_ipcs(texts["s"]))
    assert [(o.key, o.id, f"{o.mode:o}", o.count) for o in semaphores] == [
        (int(key, 16), int(id_), mode, int(count)) for key, id_, _, mode, count in rows
    ]
    rows = list(lines_of_ipcs(texts["q"]))
    assert [(o.key, o.id, f"{o.mode:o}", o.size, o.count) for o in queues] == [
        (int(key, 16), int(id_), mode, int(used), int(messages)) for key, id_, _, mode, used, messages in rows
    ]
    assert [(o.name, f"{o.mode:o}", o.size) for o in posix] == [("hello", "640", 5)]
    # Root inside is this user outside.
    assert {(o.uid, o.gid) for o in found} == {(uid, uid)}
    assert [line.split()[0] for line in str(found).splitlines()] == ["KIND", "shm", "shm", "sem", "msg", "mqueue"]


def test_the_callers_own_namespace(who: Who) -> None:
    """Objects made elsewhere are not listed; without the privilege to read POSIX queues these are unknown."""

    def act() -> tuple[Any, ...]:
        with nsbox.Shell("mip") as shell:
            shell.run("ipcmk -M 5000", check=True)
            key = nsbox.ipcs(shell)[0].key
            return nsbox.ipcs(), nsbox.ipcs(os.getpid()), key

    own, same, key = who(act)
    assert list(own) == list(same)
    assert key not in [one.key for one in own]
    assert own.unknown == (() if who.is_root else ("mqueue",))
    expected = list(lines_of_ipcs(subprocess.run(["ipcs"], capture_output=True, text=True, check=True).stdout))
    assert len(own) - len(own.of_kind("mqueue")) == len(expected)


@needs_root
def test_a_namespace_that_may_not_be_entered(who: Who) -> None:
    with nsbox.Shell("i", map_root_user=False) as shell:
        if who.is_root:
            assert list(nsbox.ipcs(shell)) == []
            return
        pid = shell.pid

        def act() -> str:
            try:
                nsbox.ipcs(pid)
            except PermissionError as error:
                return str(error)
            return ""

        assert str(pid) in who(act)


def test_no_such_process() -> None:
    with pytest.raises(ProcessLookupError):
        nsbox.ipcs(999_999_999)
    with pytest.raises(nsbox.SpecError, match="of: expected a PID"):
        nsbox.ipcs(0)
