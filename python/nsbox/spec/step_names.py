"""The names of steps: one list for plans, for requests to a box, for scopes of a thread, and for commands.

The core has the same list (`nsbox._core.step_names`); a test compares them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

__all__ = ["JOIN_STEPS", "STEP_NAMES", "StepName"]

# fmt: off
StepName: TypeAlias = Literal[
    # Before nsbox-init runs.
    "prepare", "cgroup", "clone", "exec init", "copy init", "plan", "init",
    # User namespaces.
    "await maps", "setgroups", "gid_map", "uid_map", "new user",
    # Namespaces that exist.
    "open target", "open own", "join user", "join mount", "join pid", "join ipc", "join uts", "join net",
    "join cgroup", "join time", "become root", "drop groups", "target root", "target wd", "remember wd", "descend",
    "clone init",
    # New namespaces, made usable.
    "bystander", "unshare", "unshare time", "clock offsets", "pin", "unpin", "propagation", "private proc",
    "hostname", "domainname", "loopback", "pid_max",
    # A root and mounts.
    "source", "idmap", "layers", "root", "bind", "tmpfs", "overlay", "proc", "mount proc", "private tmp", "private pts",
    "mask proc",
    "read-only sys", "sysctl", "unmount proc", "pivot root", "chroot",
    # The payload's process.
    "fork", "start", "own cgroup", "parent death signal", "descriptors", "setsid", "setpgid",
    "controlling terminal", "chdir", "directory", "cwd", "umask", "rlimit", "set groups", "setgid", "setuid",
    "keep capabilities", "drop capabilities", "session keyring", "lock capabilities", "lock mounts", "no_new_privs",
    "landlock", "seccomp", "signals", "exec",
    # A box.
    "serve", "request", "mount", "mount shm", "unmount", "detached mount", "open", "read", "write", "socket",
    "reap", "abort", "abort fuse",
    # Boxes connected.
    "veth", "bridge", "bridge port", "link up", "address", "carrier", "route", "remove veth",
]
"""The name of a step, as in plans, errors and explanations. Names never change."""
# fmt: on

STEP_NAMES: tuple[str, ...] = get_args(StepName)

JOIN_STEPS: dict[str, StepName] = {
    "user": "join user", "mount": "join mount", "pid": "join pid", "ipc": "join ipc", "uts": "join uts",
    "net": "join net", "cgroup": "join cgroup", "time": "join time",
}  # fmt: skip
"""The step by which a namespace of each kind is joined."""
