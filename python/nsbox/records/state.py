"""What the setup of a process has brought about, as data: `State`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

__all__ = ["Mounted", "State"]


@dataclass(frozen=True, slots=True)
class Mounted:
    """What a process finds on a mount point.

    Attributes:
        fstype: The type of the file system.
        read_only: Whether the mount is read-only.
        covered: The types of the mounts that it covers, from the lowest.
    """

    fstype: str
    read_only: bool = False
    covered: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class State:
    """What a program has brought about, as the kernel shows it. A lab writes down the state of its model answer.

    A part that is None is not compared: in a model it does not matter, and in a state that was read it is unknown.

    Attributes:
        namespaces: The kinds of namespaces that are others than before.
        pid: The PID of the program in its own PID namespace.
        comm: The name of the program.
        proc: Whether its /proc shows its own PID namespace, and that is a new one.
        new_root: Whether the root of its mount namespace is another one, as after pivot_root(2). chroot(2) leaves it.
        outside: Whether its mount namespace still has a root directory from before, such as the old root.
        hostname: The host name that it sees.
        pid_for_children: Whether its children are in another PID namespace than the program itself.
        id_map: The user ids inside that are mapped, and how many (user_namespaces(7)): ``((0, 1),)`` for root alone.
        loopback: Whether the loopback interface is up.
        interfaces: The names of its network interfaces.
        mounts: What it finds on each mount point.
        shared: Whether the mount of its root directory propagates mounts to others (mount_namespaces(7)).
        no_new_privs: Whether it can gain no privileges by an exec (PR_SET_NO_NEW_PRIVS(2const)).
        seccomp: Whether it has a seccomp filter.
        capabilities: Its effective capabilities.
        clocks: The offsets of its clocks in seconds, by their names (time_namespaces(7)).
    """

    namespaces: Collection[str] | None = None
    pid: int | None = None
    comm: str | None = None
    proc: bool | None = None
    new_root: bool | None = None
    outside: bool | None = None
    hostname: str | None = None
    pid_for_children: bool | None = None
    id_map: tuple[tuple[int, int], ...] | None = None
    loopback: bool | None = None
    interfaces: Collection[str] | None = None
    mounts: Mapping[str, Mounted] | None = None
    shared: bool | None = None
    no_new_privs: bool | None = None
    seccomp: bool | None = None
    capabilities: Collection[str] | None = None
    clocks: Mapping[str, int] | None = None
