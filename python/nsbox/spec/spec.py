"""What the caller asks for, checked before anything is started.

`Spec` is plain frozen data. The Rust core reads its attributes and makes a plan of it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypedDict, cast

from nsbox import _core
from nsbox.errors import SpecError
from nsbox.spec.harden import Hardened, Sysctls, hardened_of, sysctls_of
from nsbox.spec.id_maps import IDS, IdRanges, Maps, id_ranges_of, is_id
from nsbox.spec.joins import joins_of
from nsbox.spec.kinds import Namespaces, namespace_names
from nsbox.spec.limits import Limits, Rlimits, limits_of, rlimits_of
from nsbox.spec.mounts import Bind, NewMount, Overlay, Proc, Tmpfs
from nsbox.spec.paths import path_of
from nsbox.spec.world import Paths, has_world, paths_of

__all__ = ["Options", "Spec", "box_spec", "spec_of"]

_PROPAGATIONS = ("private", "shared", "slave", "unchanged")
_PID_MAX = range(301, 2**22 + 1)
_MAX_NAME_BYTES = 64


class Options(TypedDict, total=False):
    """The keyword arguments of `Spec` except `unshare`, for functions that pass them on."""

    fork: bool
    init: bool | None
    mount_proc: bool | str | bytes | os.PathLike[str] | None
    root: str | bytes | os.PathLike[str] | Bind | Overlay | None
    mounts: Sequence[NewMount]
    writable: Paths | None
    readable: Paths | None
    hidden: Paths | None
    propagation: Literal["private", "shared", "slave", "unchanged"]
    map_root_user: bool | Literal["auto"]
    map_current_user: bool
    map_user: int | None
    map_group: int | None
    map_users: IdRanges
    map_groups: IdRanges
    setgroups: Literal["allow", "deny"] | None
    hostname: str | bytes | None
    domainname: str | bytes | None
    pid_max: int | None
    loopback: bool | None
    boottime: float | tuple[int, int] | None
    monotonic: float | tuple[int, int] | None
    keep_caps: bool
    rlimits: Rlimits
    limits: Limits | Mapping[str, float | None] | None
    sysctl: Sysctls
    join: Any
    harden: bool | Literal["best"]
    private_ids: bool | None
    drop_capabilities: bool | None
    no_new_privs: bool | None
    seccomp: bool | None
    landlock: bool | None
    keyring: bool | None
    lock_mounts: bool | None
    mask_proc: bool | None
    private_tmp: bool | None
    private_sys: bool | None
    new_session: bool | None
    drop_groups: bool | None
    network: bool | None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Which namespaces are created, and how they are set up. Frozen, comparable and picklable.

    The options are spelled as the long options of unshare(1).

    Args:
        unshare: The new namespaces; see `Namespaces` for the forms. By default mount, ipc and pid.
        fork: False starts the payload in the process that called unshare(2), as unshare(1) does without ``--fork``:
            then only its children are in a new PID namespace.
        init: Whether nsbox-init is the payload's parent inside: it reaps orphans, forwards signals, and is PID 1 of
            a new PID namespace. With False the payload itself is PID 1. By default the same as ``fork``.
        mount_proc: Mount a new proc, on ``/proc`` or the directory given; adds a mount namespace (proc(5)).
        root: The directory that becomes the root (pivot_root(2)); adds a mount namespace. Programs, ``cwd`` and targets
            are looked up in it, and the working directory is its root unless ``cwd`` says otherwise. As a `Bind` it can
            be read-only, as an `Overlay` written to without a change of the directory.
        mounts: What is mounted, in this order and before ``mount_proc``: `Bind`, `Tmpfs`, `Overlay` and `Proc`; adds a
            mount namespace. After them the working directory is looked up anew, by its path.
        writable: Directories and files of this machine that the program can write to; all others are read-only, and
            what belongs to users and services is hidden (`HIDDEN_PLACES`). /tmp, /var/tmp and /dev/shm are new. A path
            can be relative to the working directory. ``"/"`` leaves the machine as it is, also with `harden`.
        readable: What stays visible of what is hidden, read-only. This Python, with its packages, and the working
            directory always do, unless that is a home.
        hidden: The directories that are empty, in memory, in place of `HIDDEN_PLACES` and the home of the caller. The
            deeper of two paths decides.
        propagation: The propagation that all mounts get first: ``"private"``, ``"slave"``, ``"shared"`` or
            ``"unchanged"`` (mount_namespaces(7)).
        map_root_user: True maps the caller to root in a new user namespace; ``"auto"`` does so if there is a user
            namespace and no other map is given, and adds a user namespace when the caller has no CAP_SYS_ADMIN.
        map_current_user: Map the caller's user and group to themselves.
        map_user: Map the caller's user to this id.
        map_group: Map the caller's group to this id.
        map_users: Ranges ``(inside, outside, count)`` for uid_map, or a word for them; see `IdRanges`. An id that
            another option maps is taken out of them. Where the caller may not write them, newuidmap(1) does.
        map_groups: The same for gid_map and newgidmap(1). If ranges are given for users alone, they are used for groups
            as well, and the other way round: a program whose group is not mapped would keep the caller's. A program
            whose user or group is not mapped becomes 0 inside, or the first id that is mapped, unless ``user`` and
            ``group`` say otherwise.
        setgroups: ``"allow"`` or ``"deny"``; see user_namespaces(7).
        hostname: The host name in a new UTS namespace.
        domainname: The NIS domain name in a new UTS namespace.
        pid_max: One more than the highest PID of a new PID namespace, at least 301 (proc_sys_kernel(5), Linux 6.14).
        loopback: Whether the loopback interface of a new network namespace is brought up; by default True.
        boottime: Seconds added to CLOCK_BOOTTIME in a new time namespace (time_namespaces(7)).
        monotonic: Seconds added to CLOCK_MONOTONIC in a new time namespace.
        keep_caps: Whether the payload keeps the capabilities it has in a new user namespace, whatever its uid.
        rlimits: Limits of getrlimit(2) for the program and each of its children: ``{"nofile": 64, "cpu": (1, 2)}``; see
            `Rlimits`. To raise a hard limit of the caller takes CAP_SYS_RESOURCE.
        limits: Limits for the program and everything it starts together, by a cgroup: `Limits`, or a mapping of its
            arguments. They take a cgroup of version 2 that the caller may change.
        sysctl: Settings of the new namespaces: ``{"kernel.shmall": 1000}``. Only those that a new IPC, network or user
            namespace has of its own (namespaces(7)).
        join: Existing namespaces that are joined first, so that the new ones are made inside of them: a `Join`, a
            target as in `Join`, a pair ``(target, kinds)``, or a list of these.
        harden: Whether a program that tries to get out is held: new user, mount, PID, IPC, cgroup and network
            namespaces, and all of the options below; see docs/harden.md. With True a part that this machine lacks is an
            error; with ``"best"`` it is left out, and `Plan.left_out` names it. Each option below can be set by itself;
            None means as `harden` says.
        private_ids: As root: whether the ids inside stand for 65,536 free ones outside, not for root's. The ids of an
            ordinary user stay the caller's own.
        drop_capabilities: Whether the program has no capabilities, and can get none: the bounding set is empty, and the
            securebits are locked (capabilities(7)).
        no_new_privs: Whether no later exec can grant privileges (prctl(2), PR_SET_NO_NEW_PRIVS).
        seccomp: Whether a filter refuses system calls for mounts, namespaces, keyrings, tracing and the like
            (seccomp(2)).
        landlock: Whether the program is in a Landlock domain: a second line for files (landlock(7)).
        keyring: Whether it gets a session keyring of its own (keyctl(2)).
        lock_mounts: Whether it cannot change the mounts: it has no CAP_SYS_ADMIN, and can get none.
        mask_proc: Whether what concerns the whole machine is hidden or read-only in ``mount_proc``, which is on then.
        private_tmp: Whether /tmp, /var/tmp and /dev/shm are new and empty, with limits for bytes and files.
        private_sys: Whether /sys is read-only, with the cgroups in it.
        new_session: Whether it leads a session of its own, without the caller's terminal (setsid(2)); and whether a new
            mount namespace has terminals of its own in /dev/pts (pts(4)).
        drop_groups: Whether `user=` alone changes the group and drops the supplementary groups as well.
        network: False for a new network namespace, which has no connection; with `harden` True is the caller's network.

    Raises:
        SpecError: when a value or a combination makes no sense.
    """

    unshare: Namespaces = "mip"
    fork: bool = True
    init: bool | None = None
    mount_proc: bool | str | bytes | os.PathLike[str] | None = False
    root: str | bytes | os.PathLike[str] | Bind | Overlay | None = None
    mounts: Sequence[NewMount] = ()
    writable: Paths | None = None
    readable: Paths | None = None
    hidden: Paths | None = None
    propagation: Literal["private", "shared", "slave", "unchanged"] = "private"
    map_root_user: bool | Literal["auto"] = "auto"
    map_current_user: bool = False
    map_user: int | None = None
    map_group: int | None = None
    map_users: IdRanges = ()
    map_groups: IdRanges = ()
    setgroups: Literal["allow", "deny"] | None = None
    hostname: str | bytes | None = None
    domainname: str | bytes | None = None
    pid_max: int | None = None
    loopback: bool | None = None
    boottime: float | tuple[int, int] | None = None
    monotonic: float | tuple[int, int] | None = None
    keep_caps: bool = False
    rlimits: Rlimits = ()
    limits: Limits | Mapping[str, float | None] | None = None
    sysctl: Sysctls = ()
    join: Any = None
    harden: bool | Literal["best"] = False
    private_ids: bool | None = None
    drop_capabilities: bool | None = None
    no_new_privs: bool | None = None
    seccomp: bool | None = None
    landlock: bool | None = None
    keyring: bool | None = None
    lock_mounts: bool | None = None
    mask_proc: bool | None = None
    private_tmp: bool | None = None
    private_sys: bool | None = None
    new_session: bool | None = None
    drop_groups: bool | None = None
    network: bool | None = None
    maps: Maps = field(init=False, repr=False)
    hardened: Hardened = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Bring every value into one form, then check the combination."""
        put = object.__setattr__
        put(self, "unshare", namespace_names(self.unshare))
        put(self, "init", self.fork if self.init is None else self.init)
        put(self, "mount_proc", _directory("mount_proc", "/proc" if self.mount_proc is True else self.mount_proc))
        root, mounts = _root_and_mounts(self.root, self.mounts)
        put(self, "root", root)
        put(self, "mounts", mounts)
        for option in ("writable", "readable", "hidden"):
            put(self, option, paths_of(option, getattr(self, option)))
        put(self, "hostname", _name("hostname", self.hostname))
        put(self, "domainname", _name("domainname", self.domainname))
        put(self, "boottime", _offset("boottime", self.boottime))
        put(self, "monotonic", _offset("monotonic", self.monotonic))
        put(self, "map_users", id_ranges_of("map_users", self.map_users))
        put(self, "map_groups", id_ranges_of("map_groups", self.map_groups))
        put(self, "rlimits", rlimits_of(self.rlimits))
        put(self, "limits", limits_of(self.limits))
        put(self, "join", joins_of(self.join) or None)
        put(self, "maps", self._maps())
        put(self, "hardened", hardened_of(self))
        if self.hardened.mask_proc and self.mount_proc is None:
            put(self, "mount_proc", b"/proc")
        put(self, "sysctl", sysctls_of(self.sysctl, self.kinds))
        self._check()

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of namespaces that are asked for, and those that `harden` adds."""
        return frozenset((*namespace_names(self.unshare), *self.hardened.namespaces))

    @functools.cached_property
    def _core_spec(self) -> _core.SpecRead:
        """The core's copy, which the core takes from this attribute."""
        return _core.SpecRead(self)

    def leave_out(self, parts: Mapping[str, str]) -> Self:
        """Note the parts of `harden` that are off as this machine lacks them, with the reasons."""
        object.__setattr__(self, "hardened", self.hardened.without(parts))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the core's copy, which is made again when it is needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_core_spec"}

    def _maps(self) -> Maps:
        for name in ("map_user", "map_group"):
            value = getattr(self, name)
            if value is not None and not is_id(value):
                raise SpecError(f"{name}: expected an id from 0 to {IDS[-1]}, got {value!r}")
        if not isinstance(self.map_root_user, bool) and self.map_root_user != "auto":
            raise SpecError(f"map_root_user: expected True, False or 'auto', got {self.map_root_user!r}")
        same = [name for name in ("map_root_user", "map_current_user") if getattr(self, name) is True]
        same += [name for name in ("map_user", "map_group") if getattr(self, name) is not None]
        if len(same) > 1 and same != ["map_user", "map_group"]:
            raise SpecError(f"{same[0]}: cannot be combined with {' or '.join(same[1:])}, which maps the same id")
        own: dict[str, tuple[tuple[int | None, None, int], ...]] = {}
        for name in ("map_user", "map_group"):
            inside = 0 if self.map_root_user is True else getattr(self, name)
            own[name] = () if inside is None and not self.map_current_user else ((inside, None, 1),)
        users_first = bool(self.map_users) and not (own["map_group"] or self.map_groups)
        if users_first:
            object.__setattr__(self, "map_groups", self.map_users)
        elif self.map_groups and not (own["map_user"] or self.map_users):
            object.__setattr__(self, "map_users", self.map_groups)
        words = [(value,) if isinstance(value, str) else value for value in (self.map_users, self.map_groups)]
        return Maps(
            auto=self.map_root_user == "auto",
            users_first=users_first,
            users=(*own["map_user"], *words[0]),
            groups=(*own["map_group"], *words[1]),
        )

    def _check(self) -> None:
        for option in ("fork", "init", "map_current_user", "keep_caps", "loopback"):
            if not isinstance(value := getattr(self, option), bool | None):
                raise SpecError(f"{option}: expected True or False, got {value!r}")
        new = self.kinds
        if self.propagation not in _PROPAGATIONS:
            raise SpecError(f"propagation: expected one of {', '.join(_PROPAGATIONS)}, got {self.propagation!r}")
        if self.setgroups not in (None, "allow", "deny"):
            raise SpecError(f"setgroups: expected 'allow' or 'deny', got {self.setgroups!r}")
        if self.setgroups == "allow" and [line[1] for line in self.maps.groups] == [None]:
            raise SpecError("setgroups: a map to the caller's own group needs 'deny' (user_namespaces(7))")
        if self.pid_max is not None and (type(self.pid_max) is not int or self.pid_max not in _PID_MAX):
            raise SpecError(f"pid_max: expected {_PID_MAX.start} to {_PID_MAX.stop - 1}, got {self.pid_max!r}")
        needs = {
            "hostname": "uts", "domainname": "uts", "pid_max": "pid", "loopback": "net",
            "boottime": "time", "monotonic": "time",
        }  # fmt: skip
        for option, kind in needs.items():
            if getattr(self, option) is not None and kind not in new:
                raise SpecError(f"{option}: needs a new {kind} namespace; unshare has {', '.join(new) or 'none'}")
        parts = [part for part in ("private_tmp", "private_sys", "lock_mounts") if getattr(self.hardened, part)]
        for option in ("mount_proc", "root", "mounts", *parts):
            if (option in parts or getattr(self, option)) and self.propagation in ("shared", "unchanged"):
                raise SpecError(
                    f"{option}: with propagation={self.propagation!r} what is mounted could also appear outside, over "
                    "what the host has there; use 'private' or 'slave'"
                )
        if (self.root is not None or self.mounts) and any(join.wd is not False for join in self.join or ()):
            raise SpecError("wd: is opened before the mounts are made, which could hide it; name the directory by cwd")
        has_world(self)
        if not self.fork:
            self._check_unforked(new)

    def _check_unforked(self, new: frozenset[str]) -> None:
        if self.init:
            raise SpecError("init: with fork=False there is no new process that could be init")
        if "pid" in new and self.mount_proc is not None:
            raise SpecError("mount_proc: with fork=False the new PID namespace has no process yet to mount its proc")
        if "pid" in new and any(isinstance(mount, Proc) for mount in self.mounts):
            raise SpecError("mounts: with fork=False the new PID namespace has no process yet to mount its Proc")
        if self.pid_max is not None:
            raise SpecError("pid_max: with fork=False nothing runs in the new PID namespace yet")


_ELSEWHERE = {
    "max_output": "belongs to what reads the output: run, Popen.communicate, Shell.run, and Executor with "
    "capture_output=True",
    "timeout": "belongs to what waits for the end: run, Popen.communicate, Shell, Executor and boxed",
    "trust": "belongs to what receives results of functions: Box, Executor and boxed",
    **dict.fromkeys(
        ("user", "group", "extra_groups", "umask"),
        "belongs to the start of a program: run, Popen, and run and Popen of a Box; map_user= and map_users= say who "
        "is who inside",
    ),
}
"""Options of some functions that look like those of `Spec`, and where they belong."""


@functools.lru_cache(maxsize=64, typed=True)
def _cached(**options: Any) -> Spec:
    return Spec(**options)


def spec_of(unshare: Namespaces, options: Options) -> Spec:
    """Return the `Spec` with these options. Checked ones are cached, as most callers use few different ones."""
    if options.get("join") is not None:
        # A cached one would keep alive what is joined.
        return Spec(unshare=unshare, **options)
    hashable = {
        name: tuple(value.items()) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
    }
    try:
        return _cached(**cast("dict[str, Hashable]", {"unshare": unshare, **hashable}))
    except TypeError:
        for name, why in _ELSEWHERE.items():
            if name in options:
                raise SpecError(f"{name}: {why}") from None
        # An unhashable value, such as a set of namespaces; or an unknown option, for which this raises TypeError again.
        return Spec(unshare=unshare, **options)


def box_spec(unshare: Namespaces, spec: Spec | None, options: Options) -> Spec:
    """Return the `Spec` of a box, given as such or by options.

    Raises:
        SpecError: when a box cannot be made of it.
    """
    if spec is None:
        spec = spec_of(unshare, options)
    elif options:
        raise SpecError(f"spec: cannot be combined with {', '.join(sorted(options))}")
    if not (spec.fork and spec.init):
        raise SpecError("init: nsbox-init is what makes a box; Popen and Shell start a program as PID 1")
    if spec.join is not None:
        raise SpecError("join: a box is made of new namespaces; the method Box of a box makes one inside of it")
    return spec


def _directory(argument: str, value: object) -> bytes | None:
    return None if value is None or value is False else path_of(argument, value, "a path, True or False")


def _root_and_mounts(root: object, value: object) -> tuple[bytes | Bind | Overlay | None, tuple[NewMount, ...]]:
    """Return what becomes the root, which can be the first of the mounts, and the other mounts."""
    mounts = _mounts(value)
    if mounts and isinstance(first := mounts[0], Bind) and (first.source, first.target) == ("/", "/"):
        if root is not None:
            raise SpecError("mounts: Bind('/', '/') and root exclude each other; for a read-only root: "
                            "root=Bind(DIRECTORY, '/', read_only=True)")  # fmt: skip
        root, mounts = first, mounts[1:]
    for mount in mounts:
        if mount.target == "/":
            raise SpecError("mounts: the target is the root itself. Bind('/', '/') comes first, as it covers what is "
                            "before it; for another root use the option root")  # fmt: skip
    if isinstance(root, Bind | Overlay):
        if root.target != "/":
            raise SpecError(f"root: expected the target '/', got {root.target!r}")
        return root, mounts
    return _directory("root", root), mounts


def _mounts(value: object) -> tuple[NewMount, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise SpecError(f"mounts: expected Bind, Tmpfs, Overlay and Proc, got {value!r}")
    mounts = tuple(value)
    for mount in mounts:
        if not isinstance(mount, Bind | Tmpfs | Overlay | Proc):
            raise SpecError(f"mounts: expected Bind, Tmpfs, Overlay or Proc, got {mount!r}")
    return mounts


def _name(argument: str, value: object) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str | bytes):
        raise SpecError(f"{argument}: expected a name, got {value!r}")
    name = os.fsencode(value)
    if b"\0" in name or len(name) > _MAX_NAME_BYTES:
        raise SpecError(f"{argument}: expected at most {_MAX_NAME_BYTES} bytes without NUL, got {value!r}")
    return name


def _offset(argument: str, value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    match value:
        case (int(seconds), int(nanoseconds)) if abs(seconds) < 2**62 and 0 <= nanoseconds < 10**9:
            return seconds, nanoseconds
        case int() | float() if not isinstance(value, bool) and abs(value) < 2**62:
            seconds, nanoseconds = divmod(round(value * 10**9), 10**9)
            return seconds, nanoseconds
    raise SpecError(f"{argument}: expected seconds, or (seconds, nanoseconds), got {value!r}")
