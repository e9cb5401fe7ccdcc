"""What a program sees of this machine: read-only, with parts of it hidden, and others writable.

The options `writable`, `readable` and `hidden` of `nsbox.Spec` stand for mounts. Which ones depends on the machine: on
the places that it has, on where its Python is, and on the working directory. So they are chosen when a process is
started. The deeper of two paths decides.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import cast

from nsbox import _core
from nsbox.spec.mounts import Bind, Overlay, Tmpfs
from nsbox.spec.spec import Spec
from nsbox.spec.world import HIDDEN_PLACES, PRIVATE_TMP, has_world

__all__ = ["arranged"]

_SIZE = 16 << 20
_INODES = 4096
"""The bytes and the files that a hidden place can hold in memory: a home for caches and settings."""
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr")
"""What programs need of the machine. Users that are no persons can have their homes there."""
_DEVICES = {
    "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
}  # fmt: skip
"""What programs need of /dev. Terminals and files in memory have parts of `harden` of their own."""
_PACKAGES = ("site-packages", "dist-packages")


def arranged(spec: Spec, cwd: bytes | None, *, stranger: bool = False) -> Spec:
    """Return the spec with the mounts that its options for this machine stand for.

    Args:
        spec: The namespaces.
        cwd: The working directory that the program is to have; None for that of the caller.
        stranger: Whether the nsbox-init that makes it is another user than the caller: that of a box with other ids.
    """
    if not has_world(spec):
        return _with_layers(spec)
    here = os.path.normpath(os.path.join(_core.facts().directory or "/", os.fsdecode(cwd or b"")))
    writable, readable, asked = (
        cast("tuple[str, ...] | None", one) for one in (spec.writable, spec.readable, spec.hidden)
    )
    # To private ids of root, all files of the machine are those of others.
    idmap = spec.hardened.private_ids and os.geteuid() == 0 and bool(spec.maps.users)
    # A home that nothing inside can reach needs no mount, and nsbox-init could not make one there.
    homes = (path for path in _homes() if (_is_open(path) if idmap else _is_reachable(path, stranger)))
    hidden = [os.path.normpath(path) for path in ((*HIDDEN_PLACES, *homes) if asked is None else asked)]
    hidden = [path for path in dict.fromkeys(hidden) if os.path.isdir(path)]
    has_private_tmp = spec.private_tmp is not False
    covered = [*hidden, *(PRIVATE_TMP if has_private_tmp else ())]
    mounts: dict[str, Bind | Tmpfs] = {path: _empty(path) for path in hidden}
    if spec.harden:
        mounts.update(_hidden_devices())
    for path in _needed():
        if _is_below(path, covered) and _is_reachable(path, stranger):
            mounts[path] = _empty(path) if _is_home(path, covered) else Bind(path, path, read_only=True)
    if _is_below(here, covered):
        if _is_reachable(here, stranger):
            mounts[here] = _empty(here) if _is_home(here, covered) else _shown(here, idmap)
    elif idmap and here != "/" and _is_open(here):
        # With private ids it may be closed, although it is there.
        mounts[here] = _shown(here, idmap)
    for paths, read_only in ((readable, True), (writable, False)):
        for path in paths or ():
            absolute = os.path.join(here, os.path.expanduser(path))
            mounts[os.path.normpath(absolute)] = Bind(absolute, absolute, read_only=read_only, idmap=idmap)
    ordered = [mounts[path] for path in sorted(mounts, key=lambda path: len(PurePath(path).parts))]
    found = replace(
        spec,
        root=Bind("/", "/", read_only=True),
        mounts=(*ordered, *spec.mounts),
        private_tmp=has_private_tmp,
        writable=None,
        readable=None,
        hidden=None,
    )
    return found.leave_out(dict(spec.hardened.left_out))


def _with_layers(spec: Spec) -> Spec:
    """Return the spec with copies of the layers of its root, whose files belong to private ids of root's.

    Nothing could be written to them otherwise: to those ids, all files of the machine are those of others.
    """
    if not (spec.hardened.private_ids and isinstance(spec.root, Overlay) and os.geteuid() == 0 and spec.maps.users):
        return spec
    layers = [Bind(path, path, read_only=True, recursive=False, idmap=True) for path in spec.root.lower if path != "/"]
    return replace(spec, mounts=(*layers, *spec.mounts)).leave_out(dict(spec.hardened.left_out))


def _empty(path: str) -> Tmpfs:
    return Tmpfs(path, size=_SIZE, mode=0o755, inodes=_INODES)


def _shown(path: str, idmap: bool) -> Bind:
    return Bind(path, path, read_only=True, idmap=idmap)


def _needed() -> Iterator[str]:
    """Give what a program needs, wherever it is: its home, this Python, the names of hosts."""
    yield os.path.expanduser("~")
    # This interpreter, its virtual environment and the Python that is made of; the packages of both, and nsbox.
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    packages = {entry for entry in sys.path if os.path.basename(entry) in _PACKAGES}
    program = os.path.dirname(os.path.dirname(os.path.realpath(sys.executable))) if sys.executable else ""
    nsbox = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for path in sorted({*prefixes, *packages, program, nsbox} - {""}):
        yield from dict.fromkeys((path, os.path.realpath(path)))
    if os.path.isfile(names := os.path.realpath("/etc/resolv.conf")):
        yield names


def _homes() -> Iterator[str]:
    """Give the homes of the caller: by HOME and by the list of users, and where these are if they are links.

    A home that is a part of the system is none, such as ``/`` in a container, or ``/bin``.
    """
    homes = [os.environ.get("HOME", "")]
    with contextlib.suppress(KeyError):
        homes.append(pwd.getpwuid(os.geteuid()).pw_dir)
    for home in homes:
        for path in (os.path.normpath(home), os.path.realpath(home)):
            if path.startswith("/") and path.strip("/") and not _is_below(path, _SYSTEM):
                yield path


def _hidden_devices() -> Iterator[tuple[str, Bind | Tmpfs]]:
    """Give paths in /dev, besides the usual devices, with the mounts that hide what is there and can be opened.

    Such as the terminal that belongs to a user at the console, the kernel's log, sound, cameras, virtual machines,
    sockets of daemons, and the message queues of the caller's IPC namespace.
    """
    with os.scandir("/dev") as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name in _DEVICES or entry.is_symlink():
                continue
            if entry.is_dir():
                yield entry.path, Tmpfs(entry.path, size=0x1000, mode=0o755, inodes=16)
            elif _can_be_opened(entry.path):
                yield entry.path, Bind("/dev/null", entry.path)


def _can_be_opened(path: str) -> bool:
    """Whether a program inside can read or write it; those of root have ids of their own."""
    if os.geteuid() == 0:
        return bool(os.stat(path).st_mode & 0o006)
    return any(os.access(path, mode, effective_ids=True) for mode in (os.R_OK, os.W_OK))


def _is_below(path: str, places: Iterable[str]) -> bool:
    """Whether the path is in one of the places, also by a symbolic link."""
    real = [os.path.realpath(place) for place in places]
    candidates = (PurePath(path), PurePath(os.path.realpath(path)))
    return any(one.is_relative_to(place) for one in candidates for place in (*places, *real))


def _is_reachable(path: str, stranger: bool) -> bool:
    """Whether the path exists, and can be reached without capabilities, which nsbox-init has only inside."""
    own = {os.getegid(), *os.getgroups()}
    for parent in PurePath(path).parents:
        try:
            status = os.stat(parent)
        except OSError:
            return False
        shift = 0 if stranger else 6 if status.st_uid == os.geteuid() else 3 if status.st_gid in own else 0
        if not status.st_mode >> shift & 1:
            return False
    return os.path.exists(path)


def _is_open(path: str) -> bool:
    """Whether every user may search all directories above the path."""
    try:
        return all(os.stat(parent).st_mode & 1 for parent in PurePath(path).parents)
    except OSError:
        return False


def _is_home(path: str, places: Iterable[str]) -> bool:
    """Whether the path is that of a home, or of a hidden place itself: such a directory is never shown as a whole."""
    return path in places or path == os.path.expanduser("~") or os.path.dirname(path) == "/home"
