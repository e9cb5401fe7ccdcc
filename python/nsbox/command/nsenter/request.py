"""The request of a command line of nsenter(1): which namespaces, directories, ids and program."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nsbox.command.options import Option, UsageError, parse, whole
from nsbox.spec.id_maps import IDS
from nsbox.spec.kinds import KINDS

__all__ = ["FOLLOW", "OPTIONS", "Entry", "entry_of"]

_NAMESPACES = ("mount", "uts", "ipc", "net", "pid", "cgroup", "user", "time")

_LETTERS = {KINDS[kind].letter for kind in _NAMESPACES}

FOLLOW = "follow"
"""Used in the place of an id for that of the target."""

OPTIONS = (
    Option("all", "a", meaning="join all namespaces"),
    Option("target", "t", "PID[:INODE]", meaning="the process; with the inode of its pidfd, no later process"),
    *(
        Option(kind, KINDS[kind].letter, "FILE", optional=True, attached=True,
               meaning=f"join the {kind} namespace of the target, or that of FILE")
        for kind in _NAMESPACES
    ),
    Option("net-socket", "N", "FD", meaning="join the network namespace of the socket FD of the target"),
    Option("user-parent", meaning="join the parent of that user namespace"),
    Option("setuid", "S", "UID", meaning='set the user id inside; "follow" means that of the target'),
    Option("setgid", "G", "GID", meaning='set the group id inside; "follow" means that of the target'),
    Option("preserve-credentials", meaning="do not change user and group ids"),
    Option("keep-caps", meaning="keep the capabilities in the joined user namespace after the exec"),
    Option("root", "r", "DIR", optional=True, attached=True,
           meaning="set the root directory to that of the target, or to DIR"),
    Option("wd", "w", "DIR", optional=True, attached=True,
           meaning="set the working directory to that of the target, or to DIR"),
    Option("wdns", "W", "DIR", meaning="set the working directory to DIR, a path inside"),
    Option("env", "e", meaning="use the environment of the target"),
    Option("no-fork", "F", meaning="do not fork, also when a PID namespace is joined"),
    Option("join-cgroup", "c", meaning="join the cgroup of the target (version 2)"),
    Option("follow-context", "Z", meaning="not supported: set SELinux contexts with runcon(1)"),
    Option("help", "h", meaning="display this help"),
    Option("version", "V", meaning="display the version"),
)  # fmt: skip
"""The options of nsenter(1), util-linux 2.38, and of later ones what nsbox has."""


@dataclass(slots=True)
class Entry:
    """A request.

    Attributes:
        target: The PID of the target; 0 for none.
        inode: The inode of its pidfd; 0 if it is not checked.
        everything: Whether all namespaces of the target are joined.
        kinds: The namespaces to be joined, with the file of each; None for that of the target. In the order of options.
        net_socket: The number of a socket of the target whose network namespace is joined; None for none.
        user_parent: Whether the parent of the user namespace is joined, not the user namespace itself.
        uid: The user id of the program, `FOLLOW` or None.
        gid: The group id of the program, `FOLLOW` or None.
        preserve_credentials: Whether the ids stay the same where a user namespace is joined.
        keep_caps: Whether the program keeps the capabilities in the joined user namespace.
        root: The root directory; empty for the target's, None for the caller's.
        wd: The working directory; empty for the target's, None where it follows the root.
        wdns: The working directory inside; None for none.
        env: Whether the environment is the target's.
        fork: Whether the program is a child; None for yes where a PID namespace is joined.
        join_cgroup: Whether the cgroup of the target is joined.
        show: ``"help"``, ``"version"`` or empty.
        program: The program and its arguments; empty for a shell.
    """

    target: int = 0
    inode: int = 0
    everything: bool = False
    kinds: dict[str, str | None] = field(default_factory=dict)
    net_socket: int | None = None
    user_parent: bool = False
    uid: int | str | None = None
    gid: int | str | None = None
    preserve_credentials: bool = False
    keep_caps: bool = False
    root: str | None = None
    wd: str | None = None
    wdns: str | None = None
    env: bool = False
    fork: bool | None = None
    join_cgroup: bool = False
    show: str = ""
    program: tuple[str, ...] = ()

    @property
    def needs_target(self) -> str:
        """The name that nsenter(1) has for an option that needs a target; empty if no option does."""
        if self.everything:
            return "all"
        if self.net_socket is not None:
            return "net-socket"
        for kind, file in self.kinds.items():
            if file is None:
                return f"ns/{KINDS[kind].link}"
        asked = {
            "root": self.root == "", "cwd": self.wd == "", "environ": self.env, "cgroup": self.join_cgroup,
            "setuid": self.uid == FOLLOW, "setgid": self.gid == FOLLOW,
            "ns/user": self.user_parent and not self.kinds,
        }  # fmt: skip
        return next((name for name, wanted in asked.items() if wanted), "")


def entry_of(words: Sequence[str]) -> Entry:
    """Read a command line, without the name of the command.

    Raises:
        UsageError: for invalid or contradicting options, with the message of nsenter(1) if it has one.
    """
    found, program = parse(OPTIONS, words)
    entry = Entry(program=tuple(program))
    for option, value in found:
        if option.name in ("help", "version"):
            entry.show = option.name
            return entry
        _READ.get(option.name, _namespace)(entry, option, value)
    if entry.wd is not None and entry.wdns is not None:
        raise UsageError("mutually exclusive arguments: --wdns --wd")
    if not entry.target and (name := entry.needs_target):
        if name in ("all", "net-socket"):
            raise UsageError(f"no target PID specified for --{name}")
        raise UsageError(f"neither filename nor target pid supplied for {name}")
    if not (entry.everything or entry.kinds or entry.user_parent or entry.net_socket is not None):
        raise UsageError("no namespace specified")
    return entry


def _namespace(entry: Entry, option: Option, value: str | None) -> None:
    path = None if value is None else _path(value)
    if path is not None and path.startswith(":"):
        raise UsageError(f"--{option.name}={path}: a namespace cannot be given by a number; give a file or a process")
    if path and _LETTERS.issuperset(path) and not os.path.lexists(path):
        single = " ".join(f"-{letter}" for letter in f"{option.letter}{path}")
        raise UsageError(f"there is no file {path!r}; for several namespaces, write each option by itself: {single}")
    entry.kinds[option.name] = path


def _path(text: str) -> str:
    """Return the value without the ``=`` that may stand between a letter and its value."""
    return text.removeprefix("=")


def _target(entry: Entry, _: Option, value: str | None) -> None:
    if entry.target:
        raise UsageError("option --target may be given only once")
    pid, colon, inode = (value or "").partition(":")
    entry.target = whole(pid, "pid", range(2**31))
    entry.inode = whole(inode, "pidfd inode", range(2**64)) if colon else 0


def _socket(entry: Entry, _: Option, value: str | None) -> None:
    entry.net_socket = whole(value or "", "socket", range(2**31))


def _id(attribute: str, what: str) -> Callable[[Entry, Option, str | None], None]:
    def read(entry: Entry, _: Option, value: str | None) -> None:
        setattr(entry, attribute, FOLLOW if value == FOLLOW else whole(value or "", what, IDS))

    return read


def _directory(attribute: str) -> Callable[[Entry, Option, str | None], None]:
    def read(entry: Entry, option: Option, value: str | None) -> None:
        path = "" if value is None else _path(value)
        if value is not None and not path:
            raise UsageError(f"--{option.name}: the name of the directory is empty")
        setattr(entry, attribute, path)

    return read


def _flag(attribute: str, value: bool = True) -> Callable[[Entry, Option, str | None], None]:
    return lambda entry, _, __: setattr(entry, attribute, value)


def _refuse(reason: str) -> Callable[[Entry, Option, str | None], None]:
    def read(_: Entry, option: Option, __: str | None) -> None:
        raise UsageError(f"--{option.name} is not supported: {reason}")

    return read


_READ: Mapping[str, Callable[[Entry, Option, str | None], None]] = {
    "all": _flag("everything"),
    "target": _target,
    "user-parent": _flag("user_parent"),
    "setuid": _id("uid", "uid"),
    "setgid": _id("gid", "gid"),
    "preserve-credentials": _flag("preserve_credentials"),
    "keep-caps": _flag("keep_caps"),
    "root": _directory("root"),
    "wd": _directory("wd"),
    "wdns": _directory("wdns"),
    "env": _flag("env"),
    "no-fork": _flag("fork", False),
    "join-cgroup": _flag("join_cgroup"),
    "net-socket": _socket,
    "follow-context": _refuse("nsbox does not set SELinux contexts; use runcon(1)"),
}
