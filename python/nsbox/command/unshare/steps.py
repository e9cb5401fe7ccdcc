"""The steps of unshare(1) for a request, in its order: `explain` prints them, and `nsbox unshare` carries them out.

The process that was started changes its own namespaces and becomes the program, as with unshare(1); nothing supervises
it. Everything else in nsbox starts children by a plan (`nsbox._core.compile`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from nsbox import _core
from nsbox._core import Call
from nsbox.command.program import KEEP_CAPABILITIES, exec_step
from nsbox.command.step import CommandStep
from nsbox.command.unshare.fork import fork_steps
from nsbox.command.unshare.helper import Helper
from nsbox.command.unshare.id_maps import own_map_steps, range_steps, write_step
from nsbox.command.unshare.pins import pin_step
from nsbox.command.unshare.request import Request
from nsbox.spec.kinds import KINDS
from nsbox.spec.step_names import StepName

__all__ = ["steps_of"]

_MOUNT_FLAGS = {flag.name: flag.number for flag in _core.mount_flags()}
_PROC_FLAGS = ("MS_NOSUID", "MS_NODEV", "MS_NOEXEC")


def steps_of(request: Request) -> list[CommandStep]:
    """Return the steps for a request. What depends on the caller, such as its ids, is read now.

    Raises:
        UnsupportedError: when the request has "auto" or "subids", and the caller has no subordinate ids.
    """
    helper = Helper()
    maps, pin = list(range_steps(request, helper)), pin_step(request, helper)
    steps = [*_namespaces(request, helper), *maps, *_clocks(request)]
    if request.fork:
        steps += fork_steps(request, pin)
    elif pin:
        steps.append(pin)
    steps += [*own_map_steps(request), *_mounts(request), *_identity(request)]
    if not request.clear_env:
        return [*steps, exec_step(request.program, "unshare")]
    variables = [(name,) for name in sorted(request.keep_env)]
    return [*steps, exec_step(request.program, "unshare", lambda: request.environment or {}, variables)]


def _namespaces(request: Request, helper: Helper) -> Iterator[CommandStep]:
    if helper:
        yield CommandStep(
            "bystander", (Call("clone", flags=("SIGCHLD",)),), "fork(2)",
            "a child that stays in the old namespaces, and keeps the rights over them that this process loses",
            helper.start,
        )  # fmt: skip
    if request.kinds:
        flags = [KINDS[kind] for kind in request.kinds]
        why = "this process leaves the namespaces it shares with others"
        if later := " or ".join(name for kind, name in (("pid", "PID"), ("time", "time")) if kind in request.kinds):
            why += f"; a new {later} namespace is for its children"
        yield CommandStep(
            "unshare", (Call("unshare", flags=tuple(kind.flag_name for kind in flags)),), "unshare(2)", why,
            lambda: _core.unshare(sum(kind.flag for kind in flags)),
        )  # fmt: skip


def _clocks(request: Request) -> Iterator[CommandStep]:
    for clock, seconds in {"monotonic": request.monotonic, "boottime": request.boottime}.items():
        if seconds is not None:
            yield write_step(
                "clock offsets", "timens_offsets", f"{clock} {seconds} 0", "time_namespaces(7)",
                "before the first process enters the time namespace",
            )  # fmt: skip


def _mounts(request: Request) -> Iterator[CommandStep]:
    if "mount" in request.kinds and request.propagation != "unchanged":
        yield _mount_step(
            "propagation", ("none", "/", None, ("MS_REC", f"MS_{request.propagation.upper()}")),
            "mount_namespaces(7)",
            "a new mount namespace is a copy; with this, a new mount in one does or does not appear in the other",
        )  # fmt: skip
    if request.root:
        yield CommandStep("chroot", (Call("chroot", path=request.root),), "chroot(2)", "as asked",
                          lambda: os.chroot(request.root))  # fmt: skip
    if request.root or request.wd:
        directory = request.wd or "/"
        yield CommandStep("chdir", (Call("chdir", path=directory),), "chdir(2)", "as asked, or the new root",
                          lambda: os.chdir(directory))  # fmt: skip
    if target := request.mount_proc:
        if not request.root and request.propagation != "private":
            yield _mount_step(
                "private proc", ("none", target, None, ("MS_REC", "MS_PRIVATE")), "mount_namespaces(7)",
                "the new proc must not cover the old one outside", may_be_none=True,
            )  # fmt: skip
        yield _mount_step(
            "mount proc", ("proc", target, "proc", _PROC_FLAGS), "proc(5)",
            "a proc shows the PID namespace of the process that mounts it",
        )  # fmt: skip


def _mount_step(
    name: StepName,
    arguments: tuple[str, str, str | None, tuple[str, ...]],
    manual: str,
    why: str,
    *,
    may_be_none: bool = False,
) -> CommandStep:
    """Return the step of one mount(2).

    Args:
        name: Its name.
        arguments: Source, target, type and the names of the flags.
        manual: Where it is described.
        why: Why it is done.
        may_be_none: Whether it also succeeds where the target is no mount point, so that there is nothing to change.
    """
    source, target, fstype, flags = arguments
    call = Call("mount", source=source, target=target, filesystemtype=fstype, mountflags=flags, data=None)
    number = sum(map(_MOUNT_FLAGS.__getitem__, flags))

    def do() -> None:
        try:
            _core.mount(source.encode(), os.fsencode(target), None if fstype is None else fstype.encode(), number)
        except OSError as error:
            if not (may_be_none and error.errno == errno.EINVAL):
                raise

    return CommandStep(name, (call,), manual, why, do)


def _identity(request: Request) -> Iterator[CommandStep]:
    uid, gid = request.uid, request.gid
    if gid is not None:
        yield CommandStep("set groups", (Call("setgroups", list=[]),), "setgroups(2)", "no supplementary group is left",
                          lambda: os.setgroups([]))  # fmt: skip
        yield CommandStep("setgid", (Call("setgid", gid=gid),), "setgid(2)", "as asked", lambda: os.setgid(gid))
    if uid is not None:
        yield CommandStep("setuid", (Call("setuid", uid=uid),), "setuid(2)", "as asked", lambda: os.setuid(uid))
    if request.keep_caps and "user" in request.kinds:
        yield CommandStep(
            "keep capabilities", KEEP_CAPABILITIES, "capabilities(7)",
            "otherwise an exec by an ordinary user drops them", _core.keep_capabilities,
        )  # fmt: skip
