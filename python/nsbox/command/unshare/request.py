"""What a command line of unshare(1) asks for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nsbox.command.options import Option, UsageError, parse, whole
from nsbox.spec.id_maps import IDS, IdRange, parse_id_range
from nsbox.spec.kinds import KINDS
from nsbox.start.id_ranges import resolved_ranges

__all__ = ["OPTIONS", "RUN_OPTIONS", "Request", "popen_options", "request_from", "request_of"]

_NAMESPACES = ("mount", "uts", "ipc", "net", "pid", "user", "cgroup", "time")

OPTIONS = (
    *(
        Option(kind, KINDS[kind].letter, "FILE", optional=True, meaning=f"new {kind} namespace, kept alive at FILE")
        for kind in _NAMESPACES
    ),
    Option("fork", "f", meaning="start the program as a child"),
    Option("map-user", "", "USER", meaning="map the user id of the caller to this one (implies --user)"),
    Option("map-group", "", "GROUP", meaning="map the group id of the caller to this one (implies --user)"),
    Option("map-root-user", "r", meaning="map the ids of the caller to root (implies --user)"),
    Option("map-current-user", "c", meaning="map the ids of the caller to themselves (implies --user)"),
    Option(
        "map-users", "", "RANGE", meaning="map user ids: INSIDE:OUTSIDE:COUNT, auto, subids or all (implies --user)"
    ),
    Option("map-groups", "", "RANGE", meaning="map group ids, in the same forms (implies --user)"),
    Option("map-auto", meaning="map the subordinate ids of the caller to the ids from 0 on (implies --user)"),
    Option("map-subids", meaning="map the subordinate ids of the caller to themselves (implies --user)"),
    Option(
        "kill-child", "", "SIGNAL", optional=True, meaning="send SIGNAL to the child when unshare dies (implies --fork)"
    ),
    Option("forward-signals", meaning="forward SIGINT and SIGTERM to the child (implies --fork)"),
    Option("mount-proc", "", "DIR", optional=True, meaning="mount a new proc on DIR (implies --mount)"),
    Option("propagation", "", "MODE", meaning="set the propagation of all mounts: private, shared, slave or unchanged"),
    Option("setgroups", "", "allow|deny", meaning="allow or deny setgroups(2) in the user namespace"),
    Option("keep-caps", meaning="keep the capabilities in the new user namespace after the exec"),
    Option("root", "R", "DIR", meaning="change the root directory"),
    Option("wd", "w", "DIR", meaning="change the working directory"),
    Option("setuid", "S", "UID", meaning="set the user id in the namespaces"),
    Option("setgid", "G", "GID", meaning="set the group id, and drop all other groups"),
    Option("monotonic", "", "SECONDS", meaning="offset of CLOCK_MONOTONIC in a time namespace"),
    Option("boottime", "", "SECONDS", meaning="offset of CLOCK_BOOTTIME in a time namespace"),
    Option("clear-env", meaning="start the program with an empty environment"),
    Option("whitelist-env", "", "NAMES", meaning="keep only these variables: NAME,NAME... (implies --clear-env)"),
    Option("owner", "", "UID:GID", meaning="not supported: run nsbox as that user, with setpriv(1)"),
    Option("mount-binfmt", "", "DIR", optional=True, meaning="not supported: nsbox does not register binary formats"),
    Option("load-interp", "l", "FORMAT", meaning="not supported: nsbox does not register binary formats"),
    Option("help", "h", meaning="display this help"),
    Option("version", "V", meaning="display the version"),
)
"""The options of unshare(1), util-linux 2.38, and of later ones what nsbox has."""


@dataclass(slots=True)
class Request:
    """What is asked for. Numbers are what the command line said, not yet what the kernel takes.

    Attributes:
        kinds: The new namespaces, in nsbox's order.
        pins: Files that keep namespaces alive, by kind.
        fork: Whether the program is a child.
        map_user: What the caller's user is mapped to.
        map_group: What its group is mapped to.
        map_users: Ranges of users, or words for them, as for `Spec`.
        map_groups: Ranges of groups.
        setgroups: ``"allow"``, ``"deny"`` or empty.
        mount_proc: Where a proc is mounted; empty for nowhere.
        propagation: The propagation of all mounts.
        kill_child: The signal for the child when its parent dies; 0 for none.
        forward_signals: Whether the parent passes SIGINT and SIGTERM on to the child.
        keep_caps: Whether capabilities are kept.
        root: The root directory; empty for the caller's.
        wd: The working directory; empty for the caller's.
        uid: The user to become.
        gid: The group to become.
        monotonic: Seconds.
        boottime: Seconds.
        clear_env: Whether the environment is empty but for `keep_env`.
        keep_env: The names of variables that are left.
        show: ``"help"``, ``"version"`` or empty.
        program: The program and its arguments; empty for a shell.
    """

    kinds: tuple[str, ...] = ()
    pins: dict[str, str] = field(default_factory=dict)
    fork: bool = False
    map_user: int | None = None
    map_group: int | None = None
    map_users: list[IdRange | str] = field(default_factory=list)
    map_groups: list[IdRange | str] = field(default_factory=list)
    setgroups: str = ""
    mount_proc: str = ""
    propagation: str = "private"
    kill_child: int = 0
    forward_signals: bool = False
    keep_caps: bool = False
    root: str = ""
    wd: str = ""
    uid: int | None = None
    gid: int | None = None
    monotonic: int | None = None
    boottime: int | None = None
    clear_env: bool = False
    keep_env: frozenset[str] = frozenset()
    show: str = ""
    program: tuple[str, ...] = ()

    def add(self, kind: str) -> None:
        """Ask for a new namespace."""
        self.kinds = tuple(name for name in KINDS if name in (*self.kinds, kind))

    def spec_options(self) -> dict[str, Any]:
        """Return the same as options of `Spec`, as far as they differ from its defaults."""
        options: dict[str, Any] = {
            "unshare": "".join(KINDS[kind].letter for kind in self.kinds),
            "mount_proc": self.mount_proc == "/proc" or self.mount_proc or False,
            "propagation": self.propagation,
            "map_root_user": (self.map_user, self.map_group) == (0, 0),
            "setgroups": self.setgroups or None,
            "boottime": self.boottime,
            "monotonic": self.monotonic,
            "keep_caps": self.keep_caps,
        }
        if not options["map_root_user"]:
            options |= {"map_user": self.map_user, "map_group": self.map_group}
        for option in ("map_users", "map_groups"):
            wanted = getattr(self, option)
            # A single word is left to `Spec`; it takes no words among ranges.
            single = len(wanted) == 1 and isinstance(wanted[0], str)
            options[option] = wanted[0] if single else resolved_ranges(option, wanted)
        if options["propagation"] == "private":
            del options["propagation"]
        return {name: value for name, value in options.items() if value not in (None, ()) and value is not False}


def request_of(words: Sequence[str]) -> Request:
    """Read a command line, without the name of the command.

    Raises:
        UsageError: for what cannot be understood, in the words of unshare(1).
    """
    return request_from(*parse(OPTIONS, words))


def request_from(found: Sequence[tuple[Option, str | None]], program: Sequence[str]) -> Request:
    """Return what options and a program ask for.

    Raises:
        UsageError: for values and combinations that make no sense, in the words of unshare(1).
    """
    request = Request(program=tuple(program))
    for option, value in found:
        if option.name in ("help", "version"):
            request.show = option.name
            return request
        _READ.get(option.name, _namespace)(request, option, value or "")
    if (request.monotonic, request.boottime) != (None, None) and "time" not in request.kinds:
        raise UsageError("options --monotonic and --boottime require unsharing of a time namespace (-T)")
    if request.setgroups == "allow" and request.map_group is not None and not request.map_groups:
        raise UsageError("options --setgroups=allow and --map-group are mutually exclusive")
    return request


def _namespace(request: Request, option: Option, value: str) -> None:
    request.add(option.name)
    if value:
        request.pins[option.name] = value


def _fork(request: Request, _: Option, __: str) -> None:
    request.fork = True


def _mount_proc(request: Request, _: Option, value: str) -> None:
    request.add("mount")
    request.mount_proc = value or "/proc"


def _map(request: Request, user: int | None, group: int | None) -> None:
    request.add("user")
    request.map_user = request.map_user if user is None else user
    request.map_group = request.map_group if group is None else group


def _setgroups(request: Request, _: Option, value: str) -> None:
    if value not in ("allow", "deny"):
        raise UsageError(f"unsupported --setgroups argument '{value}'")
    request.setgroups = value


def _propagation(request: Request, _: Option, value: str) -> None:
    if value not in ("private", "shared", "slave", "unchanged"):
        raise UsageError(f"unsupported propagation mode: {value}")
    request.propagation = value


def _kill_child(request: Request, _: Option, value: str) -> None:
    request.fork = True
    request.kill_child = _signal(value) if value else signal.SIGKILL


def _signal(text: str) -> int:
    name = text.upper().removeprefix("SIG")
    first, plus, offset = name.partition("+")
    if first == "RTMIN" and plus and offset.isdecimal() and signal.SIGRTMIN + int(offset) <= signal.SIGRTMAX:
        return signal.SIGRTMIN + int(offset)
    try:
        return signal.Signals[f"SIG{name}"]
    except KeyError:
        raise UsageError(f"unknown signal: {text}") from None


def _ranges(*options: str, word: str = "") -> Callable[[Request, Option, str], None]:
    def read(request: Request, _: Option, value: str) -> None:
        request.add("user")
        for option in options:
            getattr(request, option).append(_range(word or value))

    return read


def _range(text: str) -> IdRange | str:
    try:
        return parse_id_range(text)
    except ValueError:
        raise UsageError(f"invalid mapping '{text}'") from None


def _forward_signals(request: Request, _: Option, __: str) -> None:
    request.fork = request.forward_signals = True


def _clear_env(request: Request, option: Option, value: str) -> None:
    request.clear_env = True
    if option.name == "whitelist-env":
        request.keep_env |= frozenset(value.split(","))


def _refuse(reason: str) -> Callable[[Request, Option, str], None]:
    def read(_: Request, option: Option, __: str) -> None:
        raise UsageError(f"--{option.name} is not supported: {reason}")

    return read


def _keep_caps(request: Request, _: Option, __: str) -> None:
    request.keep_caps = True


def _text(attribute: str) -> Callable[[Request, Option, str], None]:
    return lambda request, _, value: setattr(request, attribute, value)


def _number(attribute: str, what: str, allowed: range | None = None) -> Callable[[Request, Option, str], None]:
    def read(request: Request, _: Option, value: str) -> None:
        setattr(request, attribute, whole(value, what, allowed))

    return read


def _user(name: str) -> int:
    import pwd  # noqa: PLC0415 - only names need it

    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return whole(name, "uid", IDS)


def _group(name: str) -> int:
    import grp  # noqa: PLC0415 - only names need it

    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return whole(name, "gid", IDS)


_READ: Mapping[str, Callable[[Request, Option, str], None]] = {
    "fork": _fork,
    "map-user": lambda request, _, value: _map(request, _user(value), None),
    "map-group": lambda request, _, value: _map(request, None, _group(value)),
    "map-root-user": lambda request, _, __: _map(request, 0, 0),
    "map-current-user": lambda request, _, __: _map(request, os.geteuid(), os.getegid()),
    "map-users": _ranges("map_users"),
    "map-groups": _ranges("map_groups"),
    "map-auto": _ranges("map_users", "map_groups", word="auto"),
    "map-subids": _ranges("map_users", "map_groups", word="subids"),
    "forward-signals": _forward_signals,
    "clear-env": _clear_env,
    "whitelist-env": _clear_env,
    "owner": _refuse(
        "be that user before: setpriv --reuid=UID --regid=GID --clear-groups nsbox unshare ... makes a namespace that "
        "belongs to UID"
    ),
    "mount-binfmt": _refuse("nsbox registers no formats of programs; mount -t binfmt_misc does, from inside"),
    "load-interp": _refuse("nsbox registers no formats of programs; mount -t binfmt_misc does, from inside"),
    "kill-child": _kill_child,
    "mount-proc": _mount_proc,
    "propagation": _propagation,
    "setgroups": _setgroups,
    "keep-caps": _keep_caps,
    "root": _text("root"),
    "wd": _text("wd"),
    "setuid": _number("uid", "uid", IDS),
    "setgid": _number("gid", "gid", IDS),
    "monotonic": _number("monotonic", "monotonic offset"),
    "boottime": _number("boottime", "boottime offset"),
}


RUN_OPTIONS = (
    *(option for option in OPTIONS if option.name not in ("fork", "kill-child", "forward-signals")),
    Option("timeout", "t", "SECONDS", meaning="kill everything after that time, and exit with 124"),
)


def popen_options(request: Request) -> dict[str, Any]:
    """Return the arguments of `Popen` for a request.

    Raises:
        UsageError: for what it cannot be asked for.
    """
    if request.pins:
        raise UsageError("a namespace cannot be kept alive at a file here, since nothing is left behind")
    options = request.spec_options()
    if not request.kinds:
        options |= {"unshare": "mip", "mount_proc": True}
    if request.root:
        options["root"] = request.root
    if request.wd:
        options["cwd"] = request.wd
    if request.clear_env:
        options["env"] = {name: value for name, value in os.environ.items() if name in request.keep_env}
    if request.gid is not None:
        options |= {"group": request.gid, "extra_groups": ()}
    if request.uid is not None:
        options["user"] = request.uid
    return options
