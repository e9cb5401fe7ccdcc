"""The request of a command line of unshare(1): which namespaces, maps and program."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nsbox.command.options import Option, UsageError, parse, whole
from nsbox.errors import SpecError
from nsbox.spec.from_text import options_from, pair_from
from nsbox.spec.id_maps import IDS, IdRange, parse_id_range
from nsbox.spec.kinds import KINDS
from nsbox.start.id_ranges import resolved_ranges
from nsbox.start.output import OutputLimit

__all__ = [
    "HOLDING",
    "OPTIONS",
    "RUN_OPTIONS",
    "Request",
    "max_output_of",
    "popen_options",
    "request_from",
    "request_of",
]

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
    """A request, in the terms of the command line: words for ids, such as "auto", are not replaced yet.

    Attributes:
        kinds: The new namespaces, in nsbox's order.
        pins: Files that keep namespaces alive, by kind.
        fork: Whether the program is started in a child.
        map_user: The user id inside for the caller's own.
        map_group: The group id inside for the caller's own.
        map_users: Ranges of users, or words for them, as for `Spec`.
        map_groups: Ranges of groups.
        setgroups: ``"allow"``, ``"deny"`` or empty.
        mount_proc: Where a proc is mounted; empty for none.
        propagation: The propagation of all mounts.
        kill_child: The signal for the child when its parent dies; 0 for none.
        forward_signals: Whether the parent forwards SIGINT and SIGTERM to the child.
        keep_caps: Whether the program keeps the capabilities in the new user namespace.
        root: The root directory; empty for the caller's.
        wd: The working directory; empty for the caller's.
        uid: The user id of the program; None for that of this process.
        gid: The group id of the program; None for that of this process.
        monotonic: The offset of CLOCK_MONOTONIC in seconds.
        boottime: The offset of CLOCK_BOOTTIME in seconds.
        clear_env: Whether the environment is empty, except for `keep_env`.
        keep_env: The names of variables that are kept.
        harden: As for `Spec`.
        places: Paths of this machine, by the options of `Spec` for which they are: writable, readable and hidden.
        others: Further options of `Spec`, as values of JSON.
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
    harden: bool | Literal["best"] = False
    places: dict[str, tuple[str, ...]] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    show: str = ""
    program: tuple[str, ...] = ()

    def add(self, kind: str) -> None:
        """Add a new namespace to the request."""
        self.kinds = tuple(name for name in KINDS if name in (*self.kinds, kind))

    def spec_options(self) -> dict[str, Any]:
        """Return the options of `Spec` for this request that differ from its defaults."""
        options: dict[str, Any] = {
            "unshare": "".join(KINDS[kind].letter for kind in self.kinds),
            "mount_proc": self.mount_proc == "/proc" or self.mount_proc or False,
            "propagation": self.propagation,
            "map_root_user": (self.map_user, self.map_group) == (0, 0),
            "setgroups": self.setgroups or None,
            "boottime": self.boottime,
            "monotonic": self.monotonic,
            "keep_caps": self.keep_caps,
            "harden": self.harden,
        }
        if not options["map_root_user"]:
            options |= {"map_user": self.map_user, "map_group": self.map_group}
        for option in ("map_users", "map_groups"):
            wanted = getattr(self, option)
            # `Spec` takes a single word such as "auto", and no words among ranges.
            single = len(wanted) == 1 and isinstance(wanted[0], str)
            options[option] = wanted[0] if single else resolved_ranges(option, wanted)
        if options["propagation"] == "private":
            del options["propagation"]
        return {name: value for name, value in options.items() if value not in (None, ()) and value is not False}

    def program_options(self) -> dict[str, Any]:
        """Return the options of `nsbox.Popen` for the process of the program: its directory and its ids."""
        options: dict[str, Any] = {"cwd": self.wd} if self.wd else {}
        if self.gid is not None:
            options |= {"group": self.gid}
        if self.uid is not None:
            options |= {"user": self.uid}
        return options | ({} if self.gid is None else {"extra_groups": []})

    @property
    def environment(self) -> dict[str, str] | None:
        """The environment of the program; None for that of this process."""
        if not self.clear_env:
            return None
        return {name: value for name, value in os.environ.items() if name in self.keep_env}


def request_of(words: Sequence[str]) -> Request:
    """Read a command line, without the name of the command.

    Raises:
        UsageError: for invalid options, with the message of unshare(1).
    """
    return request_from(*parse(OPTIONS, words))


def request_from(found: Sequence[tuple[Option, str | None]], program: Sequence[str]) -> Request:
    """Return the request of options and a program.

    Raises:
        UsageError: for invalid values and contradicting options, with the message of unshare(1).
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


def _place(request: Request, option: Option, value: str) -> None:
    request.places[option.name] = (*request.places.get(option.name, ()), value)


def _other(request: Request, _: Option, value: str) -> None:
    try:
        name, found = pair_from(value)
    except SpecError as error:
        raise UsageError(str(error)) from None
    request.others[name] = found


def _number(attribute: str, what: str, allowed: range | None = None) -> Callable[[Request, Option, str], None]:
    def read(request: Request, _: Option, value: str) -> None:
        setattr(request, attribute, whole(value, what, allowed))

    return read


def _user(name: str) -> int:
    import pwd  # noqa: PLC0415 - loads the name services

    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return whole(name, "uid", IDS)


def _group(name: str) -> int:
    import grp  # noqa: PLC0415 - loads the name services

    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return whole(name, "gid", IDS)


def _harden(request: Request, _: Option, value: str) -> None:
    if value not in ("", "best"):
        raise UsageError(f"--harden: expected no value, or best, got '{value}'")
    request.harden = "best" if value else True


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
        "run nsbox as that user: setpriv --reuid=UID --regid=GID --clear-groups nsbox unshare ... makes a namespace "
        "that belongs to UID"
    ),
    "mount-binfmt": _refuse("nsbox does not register binary formats; inside, use mount -t binfmt_misc"),
    "load-interp": _refuse("nsbox does not register binary formats; inside, use mount -t binfmt_misc"),
    "kill-child": _kill_child,
    "mount-proc": _mount_proc,
    "propagation": _propagation,
    "setgroups": _setgroups,
    "keep-caps": _keep_caps,
    "harden": _harden,
    "option": _other,
    "root": _text("root"),
    "wd": _text("wd"),
    **dict.fromkeys(("writable", "readable", "hidden"), _place),
    "setuid": _number("uid", "uid", IDS),
    "setgid": _number("gid", "gid", IDS),
    "monotonic": _number("monotonic", "monotonic offset"),
    "boottime": _number("boottime", "boottime offset"),
}


HOLDING = (
    Option(
        "harden",
        "",
        "best",
        optional=True,
        meaning="hold the program: see docs/harden.md; best: as far as possible here",
    ),
    Option("writable", "", "PATH", meaning="make this machine read-only except PATH, and hide homes and the like"),
    Option("readable", "", "PATH", meaning="show PATH, read-only, of what is hidden"),
    Option("hidden", "", "DIR", meaning="hide DIR, in place of homes and the like"),
    Option(
        "max-output",
        "",
        "BYTES",
        meaning="kill everything that writes more; BYTES,truncate drops the rest instead",
    ),
    Option("option", "", "NAME=VALUE", meaning="an option of nsbox.Spec, its value in JSON or plain: seccomp=false"),
)
"""Only for what starts a child by a plan: nsbox unshare replaces unshare(1), which has no such options."""

_NOT_FOR_RUN = ("fork", "kill-child", "forward-signals", "owner", "mount-binfmt", "load-interp")

RUN_OPTIONS = (
    *(
        # Its namespaces end with the program, so no file can keep them.
        replace(option, value="", optional=False, meaning=f"new {option.name} namespace")
        if option.name in _NAMESPACES
        else option
        for option in OPTIONS
        if option.name not in _NOT_FOR_RUN
    ),
    *HOLDING,
    Option("timeout", "t", "SECONDS", meaning="kill everything after that time, and exit with 124"),
)


def popen_options(request: Request) -> dict[str, Any]:
    """Return the arguments of `nsbox.Popen` for a request.

    Raises:
        UsageError: for files that keep namespaces.
        SpecError: for an option of `Spec` that does not exist.
    """
    if request.pins:
        raise UsageError("a file cannot keep a namespace here: all namespaces are removed when the program exits")
    options = request.spec_options()
    if not request.kinds:
        options |= {"unshare": "mip", "mount_proc": True}
    if request.root:
        options["root"] = request.root
    if (environment := request.environment) is not None:
        options["env"] = environment
    return options | request.places | options_from(request.others) | request.program_options()


def max_output_of(text: str) -> OutputLimit:
    """Return the limit of ``--max-output``.

    Raises:
        UsageError: for what is no number of bytes, with ``,truncate`` or without.
    """
    number, comma, word = text.partition(",")
    if comma and word != "truncate":
        raise UsageError(f"--max-output: expected BYTES or BYTES,truncate, got '{text}'")
    return OutputLimit(whole(number, "max-output", range(2**63)), "truncate" if comma else "kill")
