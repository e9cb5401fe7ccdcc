"""What can be read about the machine and this process at one moment: plain data for causes and `doctor`.

Nothing here raises, and nothing changes the machine. A value that cannot be read is empty, or None where empty is a
value of its own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from nsbox import _core
from nsbox.diagnosis import pid_namespace
from nsbox.diagnosis.places import place_names
from nsbox.records.mountinfo import Mount, parse
from nsbox.records.names import user
from nsbox.records.status import fields_of, pids_of
from nsbox.spec.capabilities import has_capability
from nsbox.spec.id_maps import parse_id_map
from nsbox.spec.kinds import KINDS

__all__ = ["Evidence", "IdMapProgram", "ProcMount", "gather", "inherit"]

# Directories of proc that are always empty, so that a mount on one of them hides nothing (proc(5), fs/proc/root.c).
_ALWAYS_EMPTY = ("/sys/fs/binfmt_misc", "/fs/nfsd", "/openprom")
_INITIAL_USER_NAMESPACE = 0xEFFFFFFD
"""The first user namespace has this inode number on every Linux (linux/proc_ns.h, PROC_USER_INIT_INO)."""


@dataclass(frozen=True, slots=True)
class ProcMount:
    """A mounted proc.

    Attributes:
        target: Where it is mounted.
        hidden: What is mounted over parts of it, other than on directories that are always empty.
        read_only: Whether it is read-only.
    """

    target: str
    hidden: tuple[str, ...] = ()
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class IdMapProgram:
    """newuidmap or newgidmap (newuidmap(1)).

    Attributes:
        path: Where it was found; empty if it is not installed.
        privileged: Whether it is setuid, or has file capabilities.
    """

    path: str = ""
    privileged: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """A machine and a process on it.

    Attributes:
        system: The line of /proc/version.
        places: Where the process runs, the closest place first; see `nsbox.diagnosis.places`.
        kinds: The kinds of namespaces this kernel has; None where /proc does not show them.
        uid: The effective user id.
        gid: The effective group id.
        effective: Effective capabilities, as bits (capabilities(7)).
        bounding: The bounding set.
        initial_user_namespace: Whether the process is in the first user namespace; None if that cannot be seen.
        uid_map: The lines of its uid_map (user_namespaces(7)); None if they cannot be read.
        gid_map: The lines of its gid_map.
        setgroups: ``"allow"``, ``"deny"`` or empty.
        pid_depth: The number of nested PID namespaces it is in, counted from that of /proc; 0 if it cannot be seen.
        seccomp: Mode and number of filters, from its status.
        unshare: The error number of ``unshare(0)``; without a filter it is 0.
        setns: The error number of ``setns(-1, 0)``; without a filter it is EBADF.
        clone3: The error number of clone3 with a structure that is too small; without a filter it is EINVAL.
        clone_refused: The kinds that a filter refuses in clone(2).
        mount: The error number of mount without a path; without a filter it is EFAULT.
        execveat: The error number of execveat without a path; without a filter it is EFAULT.
        killed: The names of those of these calls for which a filter kills the process; they count as failed with EPERM.
        limits: The limits in /proc/sys/user by kind (namespaces(7)).
        unprivileged_userns_clone: Debian's old switch: ``"0"``, ``"1"`` or empty.
        apparmor_restrict: Ubuntu's switch: ``"0"``, ``"1"`` or empty.
        memfd_noexec: vm.memfd_noexec, or empty.
        label: The label that a security module has for this process; empty if none has.
        landlock: The number of Landlock domains it is in.
        threads: The names of its threads.
        root_is_mount: Whether / is a mount point; None if that cannot be seen.
        propagation: The propagation tags of /, such as ``"shared:1"``.
        procs: Every mounted proc.
        children_born_into: The state of the PID namespace for its children; see `nsbox.diagnosis.pid_namespace`.
        no_new_privs: Whether an exec can no longer grant privileges.
        task_limits: The limits on the number of processes: ``(name, limit, used)``; used is -1 if it is not known.
        newuidmap: The program that writes uid_map.
        newgidmap: The program that writes gid_map.
        subuid: The user's line in /etc/subuid.
        subgid: The user's line in /etc/subgid.
    """

    system: str = ""
    places: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None
    uid: int = 0
    gid: int = 0
    effective: int = 0
    bounding: int = 0
    initial_user_namespace: bool | None = None
    uid_map: tuple[tuple[int, int, int], ...] | None = None
    gid_map: tuple[tuple[int, int, int], ...] | None = None
    setgroups: str = ""
    pid_depth: int = 0
    seccomp: tuple[str, str] = ("", "")
    unshare: int = 0
    setns: int = 9
    clone3: int = 22
    clone_refused: tuple[str, ...] = ()
    mount: int = 14
    execveat: int = 14
    killed: tuple[str, ...] = ()
    limits: dict[str, int] = field(default_factory=dict)
    unprivileged_userns_clone: str = ""
    apparmor_restrict: str = ""
    memfd_noexec: str = ""
    label: str = ""
    landlock: int = 0
    threads: tuple[str, ...] = ()
    root_is_mount: bool | None = None
    propagation: str = ""
    procs: tuple[ProcMount, ...] = ()
    children_born_into: str = "unknown"
    no_new_privs: bool = False
    task_limits: tuple[tuple[str, int, int], ...] = ()
    newuidmap: IdMapProgram = IdMapProgram()
    newgidmap: IdMapProgram = IdMapProgram()
    subuid: str = ""
    subgid: str = ""

    def has(self, capability: str) -> bool:
        """Whether a capability is effective."""
        return has_capability(self.effective, capability)


def gather(*, tasks: bool = True) -> Evidence:
    """Read everything. A child tries which system calls are refused.

    Args:
        tasks: Whether all processes are counted, which takes longer the more there are.
    """
    status = fields_of(_read_bytes("/proc/self/status"))
    facts, probed = _core.facts(), _core.probe()
    mounts = parse(_read_bytes("/proc/self/mountinfo"))
    return Evidence(
        system=_read("/proc/version") or " ".join(os.uname()),
        places=place_names(),
        kinds=_kinds(),
        uid=facts.euid,
        gid=facts.egid,
        effective=facts.effective,
        bounding=int(status.get("CapBnd") or "0", 16),
        initial_user_namespace=_initial_user_namespace(),
        uid_map=_id_map("uid_map"),
        gid_map=_id_map("gid_map"),
        setgroups=_read("/proc/self/setgroups"),
        pid_depth=len(pids_of(status)),
        seccomp=(status.get("Seccomp", ""), status.get("Seccomp_filters", "")),
        unshare=probed.unshare,
        setns=probed.setns,
        clone3=probed.clone3,
        clone_refused=tuple(probed.clone_refused),
        mount=probed.mount,
        execveat=probed.execveat,
        limits=_namespace_limits(),
        unprivileged_userns_clone=_read("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor_restrict=_read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        memfd_noexec=_read("/proc/sys/vm/memfd_noexec"),
        label=_label(),
        landlock=probed.landlock,
        killed=tuple(probed.killed),
        threads=tuple(_read(f"{path}/comm") for path in _listed("/proc/self/task")),
        root_is_mount=any(mount.point == "/" for mount in mounts) if mounts else None,
        propagation=" ".join(tag for mount in mounts if mount.point == "/" for tag in mount.propagation),
        procs=tuple(_procs(mounts)),
        children_born_into=pid_namespace.for_children("self"),
        no_new_privs=status.get("NoNewPrivs") == "1",
        task_limits=tuple(_task_limits(facts)) if tasks else (),
        newuidmap=_id_map_program("newuidmap"),
        newgidmap=_id_map_program("newgidmap"),
        subuid=_subordinate("/etc/subuid", facts.euid),
        subgid=_subordinate("/etc/subgid", facts.euid),
    )


def inherit(now: Evidence, before: Evidence) -> Evidence:
    """Return `now` with the rights of `before`: those of a process before it changed its own namespaces or ids."""
    names = (
        "uid", "gid", "effective", "bounding", "initial_user_namespace", "uid_map", "gid_map", "setgroups", "procs",
    )  # fmt: skip
    return replace(now, **{name: getattr(before, name) for name in names})


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip().strip("\0")
    except (OSError, ValueError):
        return ""


def _read_bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _listed(path: str) -> list[str]:
    try:
        return [f"{path}/{name}" for name in sorted(os.listdir(path))]
    except OSError:
        return []


def _kinds() -> tuple[str, ...] | None:
    links = _listed("/proc/self/ns")
    return tuple(name for name, kind in KINDS.items() if f"/proc/self/ns/{kind.link}" in links) if links else None


def _initial_user_namespace() -> bool | None:
    try:
        return os.stat("/proc/self/ns/user").st_ino == _INITIAL_USER_NAMESPACE
    except OSError:
        return None


def _id_map(name: str) -> tuple[tuple[int, int, int], ...] | None:
    try:
        return parse_id_map(Path(f"/proc/self/{name}").read_text())
    except (OSError, ValueError):
        return None


def _namespace_limits() -> dict[str, int]:
    texts = {name: _read(f"/proc/sys/user/max_{kind.link}_namespaces") for name, kind in KINDS.items()}
    return {name: int(text) for name, text in texts.items() if text.isdecimal()}


def _label() -> str:
    label = _read("/proc/self/attr/current")
    return "" if label in ("", "unconfined", "kernel") else label


def _procs(mounts: list[Mount]) -> Iterator[ProcMount]:
    """Yield every proc with the mounts that hide parts of it, as the kernel finds them (mnt_already_visible)."""
    for proc in mounts:
        if proc.fstype == "proc" and proc.root == "/":
            above = [mount.point for mount in mounts if mount.parent == proc.id and mount.point != proc.point]
            hidden = [point for point in above if point.removeprefix(proc.point) not in _ALWAYS_EMPTY]
            yield ProcMount(proc.point, tuple(hidden), "ro" in proc.options)


def _task_limits(facts: _core.Facts) -> Iterator[tuple[str, int, int]]:
    """Yield the limits on the number of processes: name, limit, and how many are in use."""
    used_by_all = used_by_user = 0
    for path in _listed("/proc"):
        if path.rpartition("/")[2].isdecimal():
            fields = fields_of(_read_bytes(f"{path}/status"))
            tasks = int(fields.get("Threads") or 1)
            used_by_all += tasks
            used_by_user += tasks if fields.get("Uid", "").split()[:1] == [str(os.getuid())] else 0
    exempt = any(has_capability(facts.effective, name) for name in ("CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"))
    for line in _read("/proc/self/limits").splitlines():
        if line.startswith("Max processes") and (limit := line.split()[2]).isdecimal() and not exempt and os.getuid():
            yield "RLIMIT_NPROC", int(limit), used_by_user
    if (limit := _read("/proc/sys/kernel/pid_max")).isdecimal():
        yield "kernel.pid_max", int(limit), used_by_all
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        directory = f"/sys/fs/cgroup{'/' + controllers if controllers else ''}{path}"
        if (limit := _read(f"{directory}/pids.max")).isdecimal():
            current = _read(f"{directory}/pids.current")
            yield "pids.max of the cgroup", int(limit), int(current) if current.isdecimal() else -1


def _id_map_program(name: str) -> IdMapProgram:
    for directory in os.get_exec_path():
        path = f"{directory}/{name}"
        try:
            mode = os.stat(path).st_mode
            privileged = bool(mode & stat.S_ISUID) or "security.capability" in os.listxattr(path)
        except OSError:
            continue
        return IdMapProgram(path, privileged)
    return IdMapProgram()


def _subordinate(path: str, uid: int) -> str:
    names = str(uid), user(uid)
    return next((line for line in _read(path).splitlines() if line.split(":")[0] in names), "")
