"""The parts of `harden`: which are on, and which kinds of namespaces they add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from nsbox.errors import SpecError
from nsbox.spec.kinds import namespace_names

if TYPE_CHECKING:
    from nsbox.spec.spec import Spec

__all__ = [
    "INHERITED",
    "NEED_NO_NEW_PRIVS",
    "PARTS",
    "RIGHTS",
    "SYSCTLS",
    "Hardened",
    "Sysctls",
    "hardened_of",
    "sysctls_of",
]

PARTS = (
    "private_ids", "drop_capabilities", "no_new_privs", "seccomp", "landlock", "keyring", "lock_mounts", "mask_proc",
    "private_tmp", "private_sys", "new_session", "drop_groups",
)  # fmt: skip
"""The options that are on with `harden`. Each is True, False, or None: as `harden` says."""

_NAMESPACES = ("user", "mount", "pid", "ipc", "cgroup")
"""The kinds of namespaces that `harden` adds; a network namespace as well, unless ``network=True``."""

RIGHTS = ("keyring", "drop_capabilities", "lock_mounts", "no_new_privs", "landlock", "seccomp")
"""The parts that a process gives up by itself; all others are of the namespaces or of the start of a program."""

INHERITED = (*RIGHTS, "new_session", "drop_groups")
"""The parts that hold in a box inside another box as well."""

NEED_NO_NEW_PRIVS = ("seccomp", "landlock", "lock_mounts")
"""These hold only if no exec grants privileges; the first two take no_new_privs or CAP_SYS_ADMIN (seccomp(2))."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardened:
    """What `harden` and the options of its parts amount to.

    Attributes:
        namespaces: The kinds of namespaces that are added.
        left_out: The parts that this machine lacks, each with the reason, after ``harden="best"`` was decided.

    The others are the parts; see `nsbox.Spec`.
    """

    namespaces: tuple[str, ...] = ()
    private_ids: bool = False
    drop_capabilities: bool = False
    no_new_privs: bool = False
    seccomp: bool = False
    landlock: bool = False
    keyring: bool = False
    lock_mounts: bool = False
    mask_proc: bool = False
    private_tmp: bool = False
    private_sys: bool = False
    new_session: bool = False
    drop_groups: bool = False
    left_out: tuple[tuple[str, str], ...] = ()

    def rights(self) -> dict[str, bool]:
        """Return what a process gives up, by the names of the parts: the arguments of the core's `give_up_rights`."""
        return {name: getattr(self, name) for name in RIGHTS}

    def without(self, left_out: Mapping[str, str]) -> Hardened:
        """Return the same without some parts, with the reasons."""
        changes: Any = dict.fromkeys(left_out, False)
        return replace(self, left_out=(*self.left_out, *left_out.items()), **changes)


def hardened_of(spec: Spec) -> Hardened:
    """Return which parts are on.

    Raises:
        SpecError: for a value or a combination that makes no sense.
    """
    harden = spec.harden
    if not isinstance(harden, bool) and harden != "best":
        raise SpecError(f"harden: expected True, False or 'best', got {harden!r}")
    for option in (*PARTS, "network"):
        if not isinstance(value := getattr(spec, option), bool | None):
            raise SpecError(f"{option}: expected True, False or None, got {value!r}")
    on: dict[str, Any] = {part: bool(harden) if (given := getattr(spec, part)) is None else given for part in PARTS}
    if needed_by := [part for part in NEED_NO_NEW_PRIVS if on[part]]:
        if spec.no_new_privs is False:
            raise SpecError(f"no_new_privs: {needed_by[0]} does not hold without it")
        on["no_new_privs"] = True
    if on["drop_capabilities"] and spec.keep_caps:
        raise SpecError("keep_caps: drop_capabilities leaves none to keep")
    if harden and not spec.fork:
        raise SpecError("harden: with fork=False the program stays in the caller's PID namespace")
    if harden and spec.join is not None:
        raise SpecError(
            "harden: the namespaces that are joined exist already; give the parts that apply, such as seccomp"
        )
    if spec.map_root_user is False and not spec.maps.users and (harden or on["private_ids"] or on["lock_mounts"]):
        raise SpecError("map_root_user: harden needs a user namespace with an id map")
    kinds = [*_NAMESPACES] if harden else []
    if harden and not spec.network:
        kinds.append("net")
    if spec.network is False and not harden:
        kinds.append("net")
    if spec.network and "net" in namespace_names(spec.unshare):
        raise SpecError("network: True means the caller's network; unshare has net")
    return Hardened(namespaces=tuple(kinds), **on)


# Sysctls

SYSCTLS: dict[str, tuple[str, ...]] = {
    "ipc": (
        "kernel.auto_msgmni", "kernel.msg_next_id", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
        "kernel.sem_next_id", "kernel.shm_next_id", "kernel.shm_rmid_forced", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "fs.mqueue.",
    ),
    "net": ("net.",),
    "user": ("user.",),
}  # fmt: skip
"""The settings that each kind of namespace has of its own (namespaces(7)); a dot at the end means all below it."""

Sysctls: TypeAlias = "Mapping[str, int | str] | Iterable[tuple[str, int | str]]"
"""Names as for sysctl(8), with values."""

_OPTIONS = {"kernel.hostname": "hostname", "kernel.domainname": "domainname", "kernel.pid_max": "pid_max"}


def sysctls_of(wanted: object, kinds: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the names, with dots, and the values as text.

    Args:
        wanted: What the caller gives.
        kinds: The kinds of namespaces that are new.

    Raises:
        SpecError: for a setting that the new namespaces do not have of their own.
    """
    pairs = list(wanted.items()) if isinstance(wanted, Mapping) else wanted
    if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
        raise SpecError(f"sysctl: expected names with values, got {wanted!r}")
    found = []
    for pair in pairs:
        match pair:
            case (str(name), (int() | str()) as value) if not isinstance(value, bool):
                found.append((_sysctl(name, frozenset(kinds)), str(value)))
            case _:
                raise SpecError(f"sysctl: expected a name with a number or a text, got {pair!r}")
    return tuple(found)


def _sysctl(name: str, kinds: frozenset[str]) -> str:
    dotted = name.replace("/", ".")
    if option := _OPTIONS.get(dotted):
        raise SpecError(f"sysctl: {name} is set by the option {option}")
    if not all(part and part.isprintable() for part in dotted.split(".")):
        # An empty part could lead out of the directory, as `..` does.
        raise SpecError(f"sysctl: {name!r} is no name of a setting")
    for kind, names in SYSCTLS.items():
        if any(dotted == known or (known.endswith(".") and dotted.startswith(known)) for known in names):
            if kind not in kinds:
                raise SpecError(f"sysctl: {name} needs a new {kind} namespace; else it is the setting of the machine")
            return dotted
    raise SpecError(f"sysctl: {name} belongs to no namespace, so it would change the whole machine")
