"""What the machine says about itself, read when something has failed. Nothing here raises, and nothing has effects."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

from nsbox import _core, _pidns
from nsbox.spec import KINDS

__all__ = [
    "apparmor_restriction",
    "dead_pid_namespace",
    "exhausted_kinds",
    "lacks_capability",
    "lsm_label",
    "masked_proc",
    "missing_kinds",
    "no_new_privs",
    "own_limit",
    "seccomp_filter",
    "task_limits",
]

_CAPABILITIES = {"CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SYS_ADMIN": 21, "CAP_SETFCAP": 31}
# Directories of proc that are always empty (proc(5)): a mount on one of them hides nothing.
_HARMLESS_MOUNTS = ("/proc/sys/fs/binfmt_misc", "/proc/fs/nfsd", "/proc/openprom")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def lacks_capability(name: str) -> bool:
    """Whether the caller lacks an effective capability (capabilities(7))."""
    return not _core.facts().effective >> _CAPABILITIES[name] & 1


def seccomp_filter() -> str:
    """Say that a seccomp filter answers instead of the kernel, and how that shows; else nothing."""
    answers = _core.probe()
    if errno.EPERM in (answers.unshare, answers.setns):
        return "a seccomp filter answers instead of the kernel: unshare(0), which asks for nothing, is refused"
    return ""


def missing_kinds() -> list[str]:
    """Return the kinds of namespaces this kernel was built without."""
    return [name for name, kind in KINDS.items() if not os.path.lexists(f"/proc/self/ns/{kind.link}")]


def exhausted_kinds(flags: str) -> list[str]:
    """Return the limits in /proc/sys/user that are 0 and concern one of the flags (namespaces(7))."""
    limits = [f"user.max_{kind.link}_namespaces" for kind in KINDS.values() if kind.flag_name in flags]
    return [limit for limit in limits if _read(f"/proc/sys/{limit.replace('.', '/')}") == "0"]


def apparmor_restriction() -> bool:
    """Whether Ubuntu's AppArmor rule takes the rights away from new user namespaces."""
    return _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"


def lsm_label() -> str:
    """Return the security label of this process, unless it is unconfined or there is none."""
    label = _read("/proc/self/attr/current").strip("\0")
    return "" if label in ("", "unconfined", "kernel") else label


def no_new_privs() -> bool:
    """Whether no exec grants privileges to this thread (prctl(2), PR_SET_NO_NEW_PRIVS)."""
    return "\nNoNewPrivs:\t1" in _read("/proc/thread-self/status")


def masked_proc() -> list[str]:
    """Return what is mounted over parts of /proc, as containers do to hide them."""
    mounts = [line.split()[4] for line in _read("/proc/self/mountinfo").splitlines()]
    return [mount for mount in mounts if mount.startswith("/proc/") and mount not in _HARMLESS_MOUNTS]


def task_limits() -> str:
    """Name what limits the number of processes: the user's limit, the PID namespace's, the cgroup's."""
    found = [f"pid_max {_read('/proc/sys/kernel/pid_max')}"]
    for line in _read("/proc/self/limits").splitlines():
        if line.startswith("Max processes"):
            found.insert(0, f"RLIMIT_NPROC {line.split()[2]}")
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        root = "/sys/fs/cgroup" if not controllers else f"/sys/fs/cgroup/{controllers}"
        if (limit := _read(f"{root}{path}/pids.max")) not in ("", "max"):
            found.append(f"pids.max {limit}")
    return ", ".join(found)


def own_limit(name: str) -> str:
    """Say what the caller's own hard limit is."""
    hard = resource.getrlimit(getattr(resource, name))[1]
    return f"the caller's own hard limit is {'unlimited' if hard == resource.RLIM_INFINITY else hard}"


def dead_pid_namespace() -> bool:
    """Whether this process has unshared its PID namespace, and the first process of the new one has ended."""
    return _pidns.for_children(os.getpid()) == "dead"
