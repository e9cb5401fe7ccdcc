"""Why a setting of new namespaces cannot be made: host name, clocks, highest PID, loopback interface."""

from __future__ import annotations

from errno import EACCES, EAFNOSUPPORT, EINVAL, ENOENT, ERANGE, EROFS

from nsbox.diagnosis.causes.cause import Cause, FailedStep, Found, always
from nsbox.diagnosis.evidence import Evidence

__all__ = ["SETTINGS"]

_LONGEST_NAME = 64
"""Bytes of a host name (sethostname(2), __NEW_UTS_LEN)."""


def _name(failed: FailedStep, _: Evidence) -> Found | None:
    length = failed.argument("len")
    return {"length": str(length or "more than 64")}


SETTINGS = (
    Cause(
        name="long-host-name",
        title="The host name or domain name is too long",
        steps=frozenset({"hostname", "domainname"}),
        errnos=frozenset({EINVAL}),
        find=_name,
        why=f"the name has {{length}} bytes, and the kernel takes at most {_LONGEST_NAME}",
        remedy=f"choose a name of at most {_LONGEST_NAME} bytes",
        meaning="A UTS namespace has room for names of 64 bytes. A letter outside of ASCII takes several bytes.",
        manual="sethostname(2), setdomainname(2)",
        example={"length": "70"},
    ),
    Cause(
        name="pid-max-value",
        title="The kernel does not take this value for pid_max",
        steps=frozenset({"pid_max", "write"}),
        errnos=frozenset({EINVAL}),
        find=always,
        why="pid_max must be from 301 to 4194304, and not above that of the outer PID namespaces",
        remedy="choose a number in that range: cat /proc/sys/kernel/pid_max prints that of the caller",
        meaning="The first 300 PIDs are not used again after the numbers wrap.",
        manual="proc_sys_kernel(5)",
    ),
    Cause(
        name="sysctl-missing",
        title="This kernel does not have the setting",
        steps=frozenset({"sysctl"}),
        errnos=frozenset({ENOENT}),
        find=always,
        why="there is no such setting: the name is wrong, or this kernel or namespace does not have it",
        remedy="list what there is: ls /proc/sys/kernel /proc/sys/net, in a box with the same namespaces",
        meaning="Settings are files in /proc/sys; dots in their names are slashes in the path.",
        manual="proc_sys(5), sysctl(8)",
    ),
    Cause(
        name="sysctl-value",
        title="The kernel does not take this value",
        steps=frozenset({"sysctl"}),
        errnos=frozenset({EINVAL}),
        find=always,
        why="the setting takes other values",
        remedy="read it first: sysctl NAME prints the value, and `man proc_sys_kernel` the range",
        meaning="Each setting has a form and a range of its own.",
        manual="proc_sys_kernel(5), sysctl(8)",
    ),
    Cause(
        name="read-only-sysctl",
        title="/proc/sys is read-only or missing",
        steps=frozenset({"pid_max", "sysctl", "write"}),
        errnos=frozenset({EROFS, ENOENT, EACCES}),
        find=always,
        why="/proc/sys is read-only, or not there, as in most containers",
        remedy="add mount_proc=True, which gives the namespace a /proc of its own",
        places={
            "docker": "add mount_proc=True, which gives the namespace a /proc of its own; or start the container anew "
            "with the option added: docker run --security-opt systempaths=unconfined",
        },
        meaning="Settings of the kernel are files in /proc/sys. Containers often mount that part read-only.",
        manual="proc_sys_kernel(5)",
    ),
    Cause(
        name="init-hides",
        title="nsbox-init does not own its file of the clocks where a user namespace is joined",
        steps=frozenset({"clock offsets"}),
        errnos=frozenset({EACCES}),
        find=always,
        why="where a user namespace is joined, nsbox-init cannot be traced from inside, and so does not own its file "
        "of the clocks",
        remedy="leave the clocks alone (no boottime, no monotonic), or make the time namespace from a program inside",
        meaning="Root of a user namespace may trace all processes in it, and could take the descriptors of nsbox-init. "
        "A process that cannot be traced does not own its files in /proc.",
        manual="ptrace(2)",
    ),
    Cause(
        name="clock-range",
        title="A clock would become negative, or too large",
        steps=frozenset({"clock offsets"}),
        errnos=frozenset({ERANGE}),
        find=always,
        why="with this offset a clock would become negative, or exceed the kernel's range of 146 years",
        remedy="choose a smaller offset",
        meaning="The offset is added to the time since the machine was started, and that sum may not be below zero.",
        manual="time_namespaces(7)",
    ),
    Cause(
        name="no-clock-file",
        title="The file of the clocks cannot be opened",
        steps=frozenset({"clock offsets"}),
        errnos=frozenset({ENOENT, EROFS}),
        find=always,
        why="/proc/self/timens_offsets cannot be opened: proc is not mounted or read-only, or the kernel has no time "
        "namespaces",
        remedy="leave the clocks alone (no boottime, no monotonic), or as root: mount -t proc proc /proc",
        meaning="The clocks of a new time namespace are set through a file of /proc, before the first process enters "
        "it.",
        manual="time_namespaces(7)",
    ),
    Cause(
        name="no-ipv4",
        title="This kernel has no IPv4",
        steps=frozenset({"loopback"}),
        errnos=frozenset({EAFNOSUPPORT}),
        find=always,
        why="an interface is brought up through a socket of IPv4, and this kernel makes none",
        remedy="leave the loopback interface down: loopback=False",
        meaning="Internet protocols can be left out of a kernel, or be forbidden by a filter for system calls.",
        manual="netdevice(7), ip(7)",
    ),
)
