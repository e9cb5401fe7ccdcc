"""Why nsbox-init cannot carry out a request to a box: unmount, open, read, write, make a socket."""

from __future__ import annotations

from errno import (
    EACCES,
    EAFNOSUPPORT,
    EAGAIN,
    EBADF,
    EBUSY,
    ECANCELED,
    EFBIG,
    EINVAL,
    EISDIR,
    ENODEV,
    ENOENT,
    ENOTDIR,
    ENXIO,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
    ETIMEDOUT,
    EXDEV,
)

from nsbox.diagnosis.causes.cause import DENIED, Cause, FailedStep, Found, always
from nsbox.diagnosis.evidence import Evidence

__all__ = ["BOX_REQUESTS"]

_OWN_PROC = frozenset({"open", "read", "write"})
_PATHS = frozenset({"open", "read", "unmount"})
_LOOKUPS = frozenset({"open", "mount", "mount proc", "mount shm", "unmount"})
"""The steps that a child of nsbox-init carries out (init/src/helper.rs)."""


def _path(failed: FailedStep, _: Evidence) -> Found | None:
    return {"path": str(failed.argument("path") or failed.argument("target") or "the file")}


def _no_proc(failed: FailedStep, evidence: Evidence) -> Found | None:
    return _path(failed, evidence) if failed.argument("path") == "/proc" else None


def _socket(failed: FailedStep, _: Evidence) -> Found | None:
    family, kind = (_constant(failed.argument(name)) for name in ("domain", "type"))
    return {"family": family, "kind": kind}


def _constant(value: object) -> str:
    return "|".join(value) if isinstance(value, tuple) else f"number {value}"


BOX_REQUESTS = (
    Cause(
        name="init-stopped",
        title="nsbox-init is stopped",
        steps=frozenset({"request"}),
        errnos=frozenset({ETIMEDOUT}),
        find=always,
        why="another process sent SIGSTOP to nsbox-init, which carries out no request until it gets SIGCONT",
        remedy="os.kill(box.pid, signal.SIGCONT) in Python, or kill -CONT PID, with the PID that repr(box) shows",
        meaning="A process inside cannot stop nsbox-init where that is PID 1. A process outside, of the same user, "
        "can.",
        manual="signal(7)",
    ),
    Cause(
        name="covered-proc",
        title="What is mounted on /proc in the box is no proc",
        steps=frozenset({"open"}),
        errnos=frozenset({ENOENT}),
        find=_no_proc,
        why="a process in the box has mounted something else on {path}",
        remedy="unmount it: box.unmount({path!r}, detach=True); or look without it: view='namespace'",
        meaning="A process in the box can mount another file system on /proc. nsbox reads only the kernel's own files.",
        manual="proc(5)",
        example={"path": "/proc"},
    ),
    Cause(
        name="no-such-file",
        title="The path does not exist in the box",
        steps=_PATHS,
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_path,
        why="{path} does not exist in the box, or a part of it is no directory",
        remedy="correct the path: a program in the box sees what box.run(['ls', '-l', DIRECTORY]) prints",
        meaning="nsbox-init looks the path up in the root and the mounts of the box.",
        manual="path_resolution(7)",
        example={"path": "PATH"},
    ),
    Cause(
        name="closed-path",
        title="nsbox-init may not open the path",
        steps=_PATHS,
        errnos=frozenset({EACCES}),
        find=_path,
        why="nsbox-init has the rights of the user who made the box, which are not enough for {path}",
        remedy="as its owner: chmod o+r FILE, and chmod o+x for each directory on the way; or make the box as root",
        meaning="Root of a user namespace has no more rights over files of other users than the user to which it is "
        "mapped.",
        manual="path_resolution(7), user_namespaces(7)",
        example={"path": "PATH"},
    ),
    Cause(
        name="no-reply-in-time",
        title="The file system of the path does not reply",
        steps=_LOOKUPS | {"chdir", "init"},
        errnos=frozenset({ETIMEDOUT}),
        find=_path,
        why="the lookup of {path} took more than 15 seconds: a file system on its way does not reply, such as one that "
        "a program in the box serves (FUSE)",
        remedy="box.mounts() lists the file systems; end the program that serves it, or use another path. "
        "box.close() ends everything, also what still waits",
        meaning="A process that waits for such a file system cannot be killed before that replies, or ends. So a child "
        "of nsbox-init waits, and is given up.",
        manual="fuse(4)",
        example={"path": "PATH"},
    ),
    Cause(
        name="helper-killed",
        title="A process in the box has killed the child of nsbox-init that looked the path up",
        steps=_LOOKUPS,
        errnos=frozenset({ECANCELED}),
        find=_path,
        why="a process in the box has killed the child of nsbox-init that looked {path} up",
        remedy="try it again, or end the programs in the box first",
        meaning="In its PID namespace, root of the box may kill all processes but nsbox-init itself.",
        manual="kill(2), pid_namespaces(7)",
        example={"path": "PATH"},
    ),
    Cause(
        name="no-lookup-now",
        title="There are too many processes in the box, or one has a lease on the file",
        steps=_LOOKUPS,
        errnos=frozenset({EAGAIN}),
        find=_path,
        why="there are too many processes for the child of nsbox-init that looks {path} up, or a process holds a lease "
        "on the file",
        remedy="end programs in the box: box.ps() lists them; a lease ends with the process that holds it "
        "(/proc/locks lists leases)",
        meaning="pid_max limits the processes of a PID namespace. A lease makes every open(2) wait, or fail.",
        manual="clone(2), fcntl(2)",
        example={"path": "PATH"},
    ),
    Cause(
        name="file-too-large",
        title="The file is larger than it may be",
        steps=frozenset({"open"}),
        errnos=frozenset({EFBIG}),
        find=_path,
        why="{path} is larger than max_bytes, or has no end",
        remedy="box.open({path!r}, max_bytes=NUMBER) for a file that may be so large; ls -l PATH shows its size",
        meaning="The caller gets a copy of the file in memory, so its size is limited.",
        manual="memfd_create(2)",
        example={"path": "PATH"},
    ),
    Cause(
        name="a-directory",
        title="The path is a directory",
        steps=frozenset({"open"}),
        errnos=frozenset({EISDIR}),
        find=_path,
        why="{path} is a directory, and only a file can be read",
        remedy="box.run(['ls', '-A', {path!r}], capture_output=True) lists it",
        meaning="Names in a directory are read by getdents(2), not by read(2).",
        manual="read(2)",
        example={"path": "PATH"},
    ),
    Cause(
        name="special-file",
        title="The file is no regular file",
        steps=frozenset({"open"}),
        errnos=frozenset({ENXIO, ENODEV}),
        find=_path,
        why="{path} is a FIFO, a socket or a device, and no regular file",
        remedy="box.open({path!r}, any_type=True) reads what a FIFO or a device has at that moment; connect to a "
        "socket by a program in the box, such as box.run(['socat', '-', 'UNIX-CONNECT:PATH'])",
        meaning="A FIFO can make its reader wait, and a device can be without end. A socket has a name in a directory, "
        "but only connect(2) reaches the program behind it.",
        manual="open(2), fifo(7), unix(7)",
        example={"path": "PATH"},
    ),
    Cause(
        name="covered-file",
        title="A process in the box has mounted something over a file of /proc",
        steps=_OWN_PROC,
        errnos=frozenset({EXDEV}),
        find=_path,
        why="nsbox does not read what is mounted on {path}, and may not mount a new proc to read instead",
        remedy="unmount it: box.run(['umount', {path!r}]); or make the box with a PID and a mount namespace: "
        "nsbox.Box('mp')",
        meaning="A file that is mounted over one of the kernel's could contain anything, or never end.",
        manual="openat2(2)",
        example={"path": "/proc/sys/kernel/hostname"},
    ),
    Cause(
        name="no-proc-in-box",
        title="nsbox-init found no proc when the box was made",
        steps=_OWN_PROC,
        errnos=frozenset({EBADF}),
        find=always,
        why="no proc was mounted on /proc when the box was made, and nsbox-init may not mount one",
        remedy="make the box where a proc is mounted (as root: mount -t proc proc /proc)",
        meaning="Settings and lists of the kernel are files in /proc.",
        manual="proc(5)",
    ),
    Cause(
        name="not-mounted",
        title="Nothing is mounted there that may be unmounted",
        steps=frozenset({"unmount"}),
        errnos=frozenset({EINVAL}),
        find=_path,
        why="{path} is no mount point in the box, or a mount that is locked to those around it",
        remedy="see what is mounted: box.mounts() lists it; mounts that were there before the box was made stay in a "
        "user namespace",
        meaning="What a mount hides must stay hidden from users with fewer rights. So in a new user namespace the "
        "mounts that were copied stay together.",
        manual="umount(2), mount_namespaces(7)",
        example={"path": "PATH"},
    ),
    Cause(
        name="mount-in-use",
        title="The mount is in use",
        steps=frozenset({"unmount"}),
        errnos=frozenset({EBUSY}),
        find=_path,
        why="a process has a file or its working directory below {path}, or something is mounted below it",
        remedy="box.unmount({path!r}, detach=True) removes it from the box at once; the files stay open until they "
        "are closed",
        meaning="Without the flag MNT_DETACH, umount2(2) removes only a mount that is not in use.",
        manual="umount(2)",
        example={"path": "PATH"},
    ),
    Cause(
        name="no-address-family",
        title="The kernel has no such address family",
        steps=frozenset({"socket"}),
        errnos=frozenset({EAFNOSUPPORT}),
        find=_socket,
        why="this kernel makes no sockets of the address family {family}",
        remedy="use a family that it has, such as box.socket(socket.AF_INET)",
        meaning="Address families can be left out of a kernel, or be in modules that are not loaded.",
        manual="socket(2), address_families(7)",
        example={"family": "AF_INET6", "kind": "SOCK_STREAM"},
    ),
    Cause(
        name="no-such-socket",
        title="The address family has no socket of that type or protocol",
        steps=frozenset({"socket"}),
        errnos=frozenset({EINVAL, EPROTONOSUPPORT, ESOCKTNOSUPPORT}),
        find=_socket,
        why="the address family {family} has no socket of type {kind} with this protocol",
        remedy="use a type that it has, with protocol 0: box.socket(socket.AF_INET, socket.SOCK_STREAM)",
        meaning="The protocol must belong to the type: TCP to SOCK_STREAM, UDP to SOCK_DGRAM.",
        manual="socket(2)",
        example={"family": "AF_INET", "kind": "SOCK_SEQPACKET"},
    ),
    Cause(
        name="no-right-to-socket",
        title="The box may not make such a socket",
        steps=frozenset({"socket"}),
        errnos=DENIED,
        find=lambda failed, evidence: None if evidence.has("CAP_SYS_ADMIN") else _socket(failed, evidence),
        why="for a socket of type {kind} nsbox-init needs CAP_NET_RAW in the user namespace to which the network "
        "namespace belongs",
        remedy="make the box with a network namespace of its own, the letter n: nsbox.Box('n').socket(...)",
        meaning="A raw socket sends and receives packets of all programs in the network namespace.",
        manual="raw(7), packet(7)",
        example={"family": "AF_INET", "kind": "SOCK_RAW"},
    ),
)
