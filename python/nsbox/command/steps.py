"""What unshare(1) does for a request, step by step, in its order: data that `explain` prints and `nsbox unshare` does.

Here the process that was started moves itself and becomes the program, as unshare(1) does; nothing supervises it, so
this is for standing in for that command. Everything else in nsbox starts children by a plan (`nsbox._core.compile`).
"""

from __future__ import annotations

import errno
import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from nsbox import _core
from nsbox.command.program import end_by, exec_step
from nsbox.command.request import Request
from nsbox.command.step import CommandStep, quoted
from nsbox.spec import KINDS

__all__ = ["steps_of"]

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND = 0x2, 0x4, 0x8, 0x1000
_MS_REC, _MS_PRIVATE, _MS_SLAVE, _MS_SHARED = 0x4000, 0x40000, 0x80000, 0x100000
_PROPAGATION = {"private": _MS_PRIVATE, "slave": _MS_SLAVE, "shared": _MS_SHARED}


def steps_of(request: Request) -> list[CommandStep]:
    """Return the steps for a request. Whatever depends on the caller, such as its ids, is read now."""
    pins = _Pins(request)
    steps = [*_namespaces(request, pins)]
    if request.fork:
        why = "a child, which a new PID namespace is for; the parent waits, deaf to SIGINT and SIGTERM"
        steps.append(CommandStep("fork", "clone(SIGCHLD)", "fork(2)", why, lambda: _fork(pins)))
    if number := request.kill_child:
        name = signal.Signals(number).name if number in list(signal.Signals) else str(number)
        call = f"prctl(PR_SET_PDEATHSIG, {name})"
        why = "the child does not outlive its parent"
        do = functools.partial(_core.die_with_parent, number)
        steps.append(CommandStep("parent death signal", call, "PR_SET_PDEATHSIG(2const)", why, do))
    steps += [*_maps(request), *_mounts(request), *_identity(request), exec_step(request.program, "unshare")]
    return steps


def _namespaces(request: Request, pins: _Pins) -> Iterator[CommandStep]:
    if pins.by_helper:
        yield CommandStep(
            "pin helper", "clone(SIGCHLD)", "fork(2)",
            "a child that stays in the old namespaces, from where the new ones can be mounted", pins.start_helper,
        )  # fmt: skip
    if request.kinds:
        flags = [KINDS[kind] for kind in request.kinds]
        yield CommandStep(
            "unshare", f"unshare({'|'.join(kind.flag_name for kind in flags)})", "unshare(2)",
            "this process leaves the namespaces it shares with others; a new PID or time namespace is for its children",
            lambda: _core.unshare(sum(kind.flag for kind in flags)),
        )  # fmt: skip
    offsets = {"monotonic": request.monotonic, "boottime": request.boottime}
    for clock, seconds in offsets.items():
        if seconds is not None:
            yield _write(
                "clock offsets", "timens_offsets", f"{clock} {seconds} 0", "time_namespaces(7)",
                "before the first process enters the time namespace",
            )  # fmt: skip
    if request.pins and not request.fork:
        yield CommandStep(
            "pin", pins.call(), "mount(2)", "a mount keeps a namespace alive without a process", pins.bind
        )


def _maps(request: Request) -> Iterator[CommandStep]:
    uid, gid, manual = os.geteuid(), os.getegid(), "user_namespaces(7)"
    if request.map_user is not None:
        why = "which user inside stands for the caller"
        yield _write("uid_map", "uid_map", f"{request.map_user} {uid} 1", manual, why)
    if request.map_group is not None:
        yield _write(
            "setgroups", "setgroups", "deny", manual, "without this an ordinary user may not write the group map"
        )
        why = "which group inside stands for the caller's"
        yield _write("gid_map", "gid_map", f"{request.map_group} {gid} 1", manual, why)
    if request.setgroups:
        yield _write("setgroups", "setgroups", request.setgroups, manual, "as asked")


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


def _write(name: str, file: str, text: str, manual: str, why: str) -> CommandStep:
    path = Path("/proc/self", file)
    return CommandStep(name, f'write("{path}", "{text}")', manual, why, lambda: _put(path, text))


def _put(path: Path, text: str) -> None:
    # One write: the kernel takes a map only as a whole.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _fork(pins: _Pins) -> None:
    """Return in the child; the parent waits, and ends as the child does."""
    deaf = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, deaf)
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    if pins.files:
        try:
            pins.bind()
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        end_by(os.WTERMSIG(status))
    raise SystemExit(os.WEXITSTATUS(status))


class _Pins:
    """Mounts that keep namespaces alive.

    Seen from a new mount namespace, a mount would end with it; and a new user namespace has no rights over the old
    mounts. So a child that was left behind makes them, once it is told to.
    """

    def __init__(self, request: Request) -> None:
        self.files = request.pins
        self.by_helper = bool(self.files) and bool({"mount", "user"} & set(request.kinds))
        self._helper = self._go = -1
        self._owner = os.getpid()

    def call(self) -> str:
        return "; ".join(
            f'mount("/proc/PID/ns/{_link(kind)}", {quoted(file)}, NULL, MS_BIND, NULL)'
            for kind, file in self.files.items()
        )

    def start_helper(self) -> None:
        reader, self._go = os.pipe()
        self._owner = os.getpid()
        self._helper = os.fork()
        if self._helper:
            os.close(reader)
            return
        os.close(self._go)
        # The end of the pipe without a word means that there is nothing to mount.
        if not os.read(reader, 1):
            os._exit(0)
        try:
            self._mount()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)

    def bind(self) -> None:
        if not self.by_helper:
            self._mount()
            return
        os.write(self._go, b"!")
        os.close(self._go)
        if number := os.waitstatus_to_exitcode(os.waitpid(self._helper, 0)[1]):
            raise OSError(number, os.strerror(number))

    def _mount(self) -> None:
        for kind, file in self.files.items():
            _core.mount(f"/proc/{self._owner}/ns/{_link(kind)}".encode(), os.fsencode(file), None, _MS_BIND)


def _link(kind: str) -> str:
    link = KINDS[kind].link
    return f"{link}_for_children" if kind in ("pid", "time") else link
