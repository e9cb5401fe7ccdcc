"""What unshare(1) does for a request, step by step, in its order: data that `explain` prints and `nsbox unshare` does.

Here the process that was started moves itself and becomes the program, as unshare(1) does; nothing supervises it, so
this is for standing in for that command. Everything else in nsbox starts children by a plan (`nsbox._core.compile`).
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator

from nsbox import _core
from nsbox.command.program import exec_step
from nsbox.command.step import CommandStep, quoted
from nsbox.command.unshare.fork import fork_steps
from nsbox.command.unshare.helper import Bystander
from nsbox.command.unshare.id_maps import own_map_steps, range_steps, write_step
from nsbox.command.unshare.pins import pin_step
from nsbox.command.unshare.request import Request
from nsbox.spec.kinds import KINDS

__all__ = ["steps_of"]

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x2, 0x4, 0x8
_MS_REC, _MS_PRIVATE, _MS_SLAVE, _MS_SHARED = 0x4000, 0x40000, 0x80000, 0x100000
_PROPAGATION = {"private": _MS_PRIVATE, "slave": _MS_SLAVE, "shared": _MS_SHARED}


def steps_of(request: Request) -> list[CommandStep]:
    """Return the steps for a request. Whatever depends on the caller, such as its ids, is read now.

    Raises:
        UnsupportedError: when ids are asked for by a word, and none are granted to the caller.
    """
    bystander = Bystander()
    maps, pin = list(range_steps(request, bystander)), pin_step(request, bystander)
    steps = [*_namespaces(request, bystander), *maps, *_clocks(request)]
    if request.fork:
        steps += fork_steps(request, pin)
    elif pin:
        steps.append(pin)
    steps += [*own_map_steps(request), *_mounts(request), *_identity(request)]
    if not request.clear_env:
        return [*steps, exec_step(request.program, "unshare")]
    variables = f"[{', '.join(sorted(request.keep_env))}]"
    return [*steps, exec_step(request.program, "unshare", functools.partial(_chosen, request.keep_env), variables)]


def _namespaces(request: Request, bystander: Bystander) -> Iterator[CommandStep]:
    if bystander:
        yield CommandStep(
            "bystander", "clone(SIGCHLD)", "fork(2)",
            "a child that stays in the old namespaces, with rights over them that this process will not have",
            bystander.start,
        )  # fmt: skip
    if request.kinds:
        flags = [KINDS[kind] for kind in request.kinds]
        why = "this process leaves the namespaces it shares with others"
        if later := " or ".join(word for kind, word in (("pid", "PID"), ("time", "time")) if kind in request.kinds):
            why += f"; a new {later} namespace is for its children"
        yield CommandStep(
            "unshare", f"unshare({'|'.join(kind.flag_name for kind in flags)})", "unshare(2)", why,
            lambda: _core.unshare(sum(kind.flag for kind in flags)),
        )  # fmt: skip


def _clocks(request: Request) -> Iterator[CommandStep]:
    for clock, seconds in {"monotonic": request.monotonic, "boottime": request.boottime}.items():
        if seconds is not None:
            yield write_step(
                "clock offsets", "timens_offsets", f"{clock} {seconds} 0", "time_namespaces(7)",
                "before the first process enters the time namespace",
            )  # fmt: skip


def _chosen(names: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in names}


def _mounts(request: Request) -> Iterator[CommandStep]:
    if "mount" in request.kinds and request.propagation != "unchanged":
        kind = f"MS_{request.propagation.upper()}"
        yield CommandStep(
            "propagation", f'mount("none", "/", NULL, MS_REC|{kind}, NULL)', "mount_namespaces(7)",
            "a new mount namespace starts as a copy; this decides whether mounts still spread between the two",
            lambda: _core.mount(b"none", b"/", None, _MS_REC | _PROPAGATION[request.propagation]),
        )  # fmt: skip
    if request.root:
        yield CommandStep("chroot", f"chroot({quoted(request.root)})", "chroot(2)", "as asked",
                          lambda: os.chroot(request.root))  # fmt: skip
    if request.root or request.wd:
        directory = request.wd or "/"
        yield CommandStep("chdir", f"chdir({quoted(directory)})", "chdir(2)", "as asked, or the new root",
                          lambda: os.chdir(directory))  # fmt: skip
    if request.mount_proc:
        target = os.fsencode(request.mount_proc)
        if not request.root and request.propagation != "private":
            yield CommandStep(
                "private proc", f'mount("none", {quoted(request.mount_proc)}, NULL, MS_REC|MS_PRIVATE, NULL)',
                "mount_namespaces(7)", "the new proc must not appear outside, over the old one",
                lambda: _private(target),
            )  # fmt: skip
        yield CommandStep(
            "mount proc",
            f'mount("proc", {quoted(request.mount_proc)}, "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)', "proc(5)",
            "a proc that shows the PID namespace of whoever mounts it",
            lambda: _core.mount(b"proc", target, b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC),
        )  # fmt: skip


def _private(target: bytes) -> None:
    try:
        _core.mount(b"none", target, None, _MS_REC | _MS_PRIVATE)
    except OSError as error:
        # Nothing is mounted there yet, so there is nothing to change.
        if error.errno != errno.EINVAL:
            raise


def _identity(request: Request) -> Iterator[CommandStep]:
    uid, gid = request.uid, request.gid
    if gid is not None:
        yield CommandStep("set groups", "setgroups(0, NULL)", "setgroups(2)", "no supplementary group is left",
                          lambda: os.setgroups([]))  # fmt: skip
        yield CommandStep("setgid", f"setgid({gid})", "setgid(2)", "as asked", lambda: os.setgid(gid))
    if uid is not None:
        yield CommandStep("setuid", f"setuid({uid})", "setuid(2)", "as asked", lambda: os.setuid(uid))
    if request.keep_caps and "user" in request.kinds:
        yield CommandStep(
            "keep capabilities", "capset(inheritable all); prctl(PR_CAP_AMBIENT, all)", "capabilities(7)",
            "an exec as an ordinary user would drop them", _core.keep_capabilities,
        )  # fmt: skip
