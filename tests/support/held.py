"""Namespaces in which no process is, held by a process with mount and network namespaces of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from nsbox import _core, raw

from tests.support import libc
from tests.support.forked import fork

__all__ = ["Held", "by_descriptors", "by_mounts", "by_socket", "held", "separate"]

NEW = {kind.name: kind.flag for kind in _core.kinds()}

Held = dict[str, int]
"""The ids of namespaces by their kinds or names, and numbers of descriptors."""


def separate() -> None:
    """Move this process into new mount and network namespaces with a /run of their own; a user also becomes root."""
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed (Debian package iproute2)")
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        # A process that has given up its rights may not write its maps.
        libc.prctl(libc.PR_SET_DUMPABLE, 1)
        libc.unshare(NEW["user"])
        for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{file}", "w") as opened:
                opened.write(text)
    libc.unshare(NEW["mount"] | NEW["net"])
    libc.mount("none", "/", None, libc.MS_REC | libc.MS_PRIVATE)
    libc.mount("none", "/run", "tmpfs")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def by_descriptors() -> Held:
    """Open namespaces where they are mounted, and take the mounts away: the links of the descriptors are paths."""
    _ip("netns", "add", "held")
    with open("/run/net:[5]", "w"):
        pass
    subprocess.run(["unshare", "--uts=/run/net:[5]", "true"], check=True)
    found = {}
    for kind, path in (("net", "/run/netns/held"), ("uts", "/run/net:[5]")):
        found[kind] = os.fstat(os.open(path, os.O_RDONLY)).st_ino
    _ip("netns", "delete", "held")
    raw.umount2("/run/net:[5]", MNT_DETACH)
    return found


MNT_DETACH = 2
_SOCKETS: list[socket.socket] = []


def by_socket() -> Held:
    """Open a socket in a new network namespace, and go back. Sockets of the own namespace are open, too."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    _SOCKETS.extend([socket.socket(), *socket.socketpair()])
    libc.unshare(NEW["net"])
    opened = socket.socket()
    _SOCKETS.append(opened)
    id_ = os.stat("/proc/thread-self/ns/net").st_ino
    raw.setns(own, 0)
    os.close(own)
    return {"net": id_, "fd": opened.fileno(), "own": _SOCKETS[0].fileno()}


def by_mounts() -> Held:
    """Mount a network namespace that has an id here, and one without."""
    for name in ("named", "unnamed"):
        _ip("netns", "add", name)
    _ip("netns", "set", "named", "4711")
    return {name: os.stat(f"/run/netns/{name}").st_ino for name in ("named", "unnamed")}


@contextlib.contextmanager
def held(make: Callable[[], Held]) -> Iterator[Held]:
    """Let a child of the same user hold namespaces; `pid` is the child."""
    (reader, writer), (waits, ends) = os.pipe(), os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.close(ends)
            separate()
            os.write(writer, json.dumps(make()).encode())
            os.close(writer)
            os.read(waits, 1)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(0)
    os.close(writer)
    os.close(waits)
    try:
        with open(reader) as answer:
            yield {"pid": pid} | json.loads(answer.read())
    finally:
        os.close(ends)
        os.waitpid(pid, 0)
