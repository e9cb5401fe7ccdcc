"""Make one system call of one process fail, once: a seccomp filter reports each call, and this process answers.

The function under test runs in a forked child with a filter (seccomp_unotify(2)). For each call that the filter knows,
the kernel suspends the calling process and asks this one, which lets the call go on, or makes it fail.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import os
import pickle
import select
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.support import libc
from tests.support.callers import survivors
from tests.support.census import descendants
from tests.support.forked import become_user, fork
from tests.support.reachable import become_reachable

__all__ = ["Fault", "Report", "Victim", "attempt", "disturb"]

Role = Literal["caller", "birth", "init"]
Victim = Literal["caller", "init", "worker", "signal"]
"""Who is killed; or `signal`: the caller gets one whose handler raises."""

# fmt: off
_X86_64 = {
    "read": 0, "write": 1, "lseek": 8, "mmap": 9, "rt_sigaction": 13, "rt_sigprocmask": 14, "ioctl": 16, "pread64": 17,
    "socket": 41, "sendmsg": 46, "recvmsg": 47, "recvfrom": 45, "sendto": 44, "socketpair": 53, "clone": 56,
    "execve": 59, "wait4": 61, "kill": 62, "fcntl": 72, "chdir": 80, "fchdir": 81, "umask": 95, "setpgid": 109,
    "setsid": 112, "setgroups": 116, "setresuid": 117, "setresgid": 119, "capget": 125, "capset": 126,
    "pivot_root": 155, "prctl": 157, "chroot": 161, "mount": 165, "umount2": 166, "sethostname": 170,
    "setdomainname": 171, "waitid": 247, "openat": 257, "ppoll": 271, "unshare": 272, "signalfd4": 289, "dup3": 292,
    "prlimit64": 302, "setns": 308, "memfd_create": 319, "execveat": 322, "pidfd_send_signal": 424, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "pidfd_open": 434, "clone3": 435,
    "close_range": 436, "openat2": 437, "mount_setattr": 442, "landlock_create_ruleset": 444, "seccomp": 317,
    "keyctl": 250, "fstatfs": 138, "unlinkat": 263,
}
_AARCH64 = {
    "read": 63, "write": 64, "lseek": 62, "mmap": 222, "rt_sigaction": 134, "rt_sigprocmask": 135, "ioctl": 29,
    "pread64": 67, "socket": 198, "sendmsg": 211, "recvmsg": 212, "recvfrom": 207, "sendto": 206, "socketpair": 199,
    "clone": 220, "execve": 221, "wait4": 260, "kill": 129, "fcntl": 25, "chdir": 49, "fchdir": 50, "umask": 166,
    "setpgid": 154, "setsid": 157, "setgroups": 159, "setresuid": 147, "setresgid": 149, "capget": 90, "capset": 91,
    "pivot_root": 41, "prctl": 167, "chroot": 51, "mount": 40, "umount2": 39, "sethostname": 161,
    "setdomainname": 162, "waitid": 95, "openat": 56, "ppoll": 73, "unshare": 97, "signalfd4": 74, "dup3": 24,
    "prlimit64": 261, "setns": 268, "memfd_create": 279, "execveat": 281, "pidfd_send_signal": 424, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "pidfd_open": 434, "clone3": 435,
    "close_range": 436, "openat2": 437, "mount_setattr": 442, "landlock_create_ruleset": 444, "seccomp": 277,
    "keyctl": 219, "fstatfs": 44, "unlinkat": 35,
}
# fmt: on
_NUMBERS = {"x86_64": _X86_64, "aarch64": _AARCH64}[os.uname().machine]
_NAMES = {number: name for name, number in _NUMBERS.items()}

_OF_THE_CALLER = frozenset({
    "clone", "clone3", "execveat", "memfd_create", "mount", "pidfd_open", "pidfd_send_signal", "ppoll", "recvmsg",
    "sendmsg", "setns", "socketpair", "unshare", "waitid",
})  # fmt: skip
"""Of a Python process only what nsbox itself calls: any other call can be an import's."""

_SECCOMP = _NUMBERS["seccomp"]
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_LIMIT_SECONDS = 12.0
"""After this a case counts as one that hangs."""


@dataclass(frozen=True)
class Fault:
    """The n-th call of this name fails, of all processes with this role.

    Attributes:
        role: `caller`, `birth` (the process between its clone and the exec of nsbox-init) or `init` (nsbox-init, and
            each process of a program until its exec).
        call: The system call.
        number: Which of them, counted from 1.
        errno: The error number.
    """

    role: Role
    call: str
    number: int
    errno: int

    def __str__(self) -> str:
        return f"{self.role}: {self.call} no. {self.number}: {os.strerror(self.errno)}"


@dataclass
class Report:
    """What became of a case.

    Attributes:
        calls: How often each role made each call.
        reached: Whether the call was made that was to fail.
        result: What the function returned, or the names of the exception's classes and its text.
        problems: What must not be: a hang, an error without a type, something that is left.
    """

    calls: Counter[tuple[Role, str]] = field(default_factory=Counter)
    reached: bool = False
    result: object = None
    problems: list[str] = field(default_factory=list)


def attempt(function: Callable[[], object], fault: Fault | None, workplace: Path | None = None) -> Report:
    """Run `function` in a child with one fault, or none.

    Args:
        function: What is done.
        fault: The call that fails.
        workplace: A directory, to run it as an ordinary user, who then can reach Python and the project.
    """
    return _watched(function, workplace, True, lambda child, reader, report: _answer(child, reader, fault, report))


def disturb(function: Callable[[], object], victim: Victim, seconds: float, workplace: Path | None = None) -> Report:
    """Run `function` in a child, and after that many seconds kill a process, or send a signal."""
    if victim == "signal":
        return _watched(_alarmed(function, seconds), workplace, False, _result)

    def kill(child: int, reader: int, report: Report) -> None:
        time.sleep(seconds)
        names = {"init": "nsbox-init", "worker": "python"}
        for pid in [child] if victim == "caller" else descendants(child):
            if victim == "caller" or dict(_status(pid)).get("Name", "").startswith(names[victim]):
                report.reached = True
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                break
        if not (victim == "caller" and report.reached):
            _result(child, reader, report)

    return _watched(function, workplace, False, kill)


class _AlarmError(OSError):
    """What the handler of the signal raises."""


def _alarmed(function: Callable[[], object], seconds: float) -> Callable[[], object]:
    def ring(*_: object) -> None:
        raise _AlarmError("a signal")

    def use() -> object:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
        try:
            return function()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    return use


_GONE_SECONDS = 30
"""How long what was killed may take to be gone, on a busy machine."""


def _watched(
    function: Callable[[], object],
    workplace: Path | None,
    filtered: bool,
    watch: Callable[[int, int, Report], None],
) -> Report:
    report = Report()
    reader, writer = os.pipe()
    child = fork()
    if child == 0:
        _child(function, writer, workplace, filtered)
    os.close(writer)
    try:
        watch(child, reader, report)
    finally:
        os.close(reader)
        # The child alone: its nsbox-init ends everything else, which is what is tested.
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if left := survivors(_GONE_SECONDS):
        report.problems.append(f"{len(left)} processes are left")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        survivors()
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return report


def _result(child: int, reader: int, report: Report) -> None:
    """Take the result of a child without a filter."""
    data = b""
    deadline = time.monotonic() + _LIMIT_SECONDS
    while True:
        if not select.select([reader], [], [], max(0, deadline - time.monotonic()))[0]:
            report.problems.append(f"hangs: {_waiting(child)}")
            return
        more = os.read(reader, 1 << 16)
        data += more
        if not more:
            break
    report.result, problems = pickle.loads(data) if data else ("", ["the process has ended without a result"])
    report.problems += problems


def _child(function: Callable[[], object], writer: int, workplace: Path | None, filtered: bool) -> None:
    try:
        gc.freeze()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        if workplace:
            become_reachable(workplace)
            become_user()
        if filtered:
            _install(writer)
        answer = _outcome(function)
        os.write(writer, pickle.dumps(answer))
    finally:
        os._exit(0)


def _outcome(function: Callable[[], object]) -> tuple[object, list[str]]:
    """Return the result, and what is wrong."""
    from nsbox import NsboxError

    problems = []
    before = _state()
    result: object
    try:
        result = function()
    except BaseException as error:
        names = [kind.__name__ for kind in type(error).__mro__]
        result = f"{names[0]}: {str(error).splitlines()[0] if str(error) else ''}"
        if not isinstance(error, (OSError, NsboxError)) and "SubprocessError" not in names:
            import traceback

            problems.append(f"an error without a type: {''.join(traceback.format_exception(error))[-1500:]}")
        error.__traceback__ = None
        del error
    gc.collect()
    deadline = time.monotonic() + 5
    while (extra := _state() - before) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    return result, problems + [f"left: {line}" for line in sorted(extra)]


def _state() -> set[str]:
    """Return the descriptors, the mounts and the children of this process."""
    state = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{name}")
            # The file of nsbox-init is opened once, and stays; without memfd_create(2) it has no name.
            if "nsbox-init" not in target and not target.startswith("/proc/") and "/#" not in target:
                state.add(f"descriptor {name} {target}")
    with open("/proc/self/mountinfo") as mounts:
        state.update(mounts)
    with open("/proc/thread-self/children") as children:
        state.update(f"process {pid}" for pid in children.read().split())
    return state


def _install(writer: int) -> None:
    """Install the filter. Its descriptor gets the number that is free now, which this first sends to the parent."""
    load, jump, leave = 0x20, 0x15, 0x06
    numbers = sorted(_NAMES)
    lines = [(load, 0, 0, 0)]
    lines += [(jump, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    lines += [(leave, 0, 0, 0x7FFF0000), (leave, 0, 0, 0x7FC00000)]
    code = b"".join(struct.pack("HBBI", *line) for line in lines)
    program = struct.pack("H6xP", len(lines), ctypes.addressof(buffer := ctypes.create_string_buffer(code)))
    pointer = ctypes.addressof(kept := ctypes.create_string_buffer(program))
    free = os.open("/dev/null", os.O_RDONLY)
    os.close(free)
    os.write(writer, struct.pack("i", free))
    if os.geteuid() != 0:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    listener = libc.syscall(_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, pointer)
    del buffer, kept
    assert listener == free
    # This call returns when the parent answers, which then has a descriptor of its own.
    os.umask(os.umask(0))
    os.close(listener)


def _answer(child: int, reader: int, fault: Fault | None, report: Report) -> None:
    (number,) = struct.unpack("i", os.read(reader, 4))
    listener = _listener(child, number)
    if listener is None:
        report.problems.append("the filter could not be installed")
        return
    data = b""
    deadline = time.monotonic() + _LIMIT_SECONDS
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(reader, select.POLLIN)
    try:
        while True:
            events = dict(poll.poll(200))
            if listener in events and events[listener] & select.POLLIN:
                _handle(listener, child, fault, report)
            if reader in events:
                more = os.read(reader, 1 << 16)
                data += more
                if not more:
                    break
            if time.monotonic() > deadline:
                report.problems.append(f"hangs: {_waiting(child)}")
                return
        report.result, problems = pickle.loads(data) if data else ("", ["the process has ended without a result"])
        report.problems += problems
        # What is still ending must go on.
        while descendants(child) and time.monotonic() < deadline:
            if poll.poll(20):
                _handle(listener, child, fault, report)
    finally:
        os.close(listener)


def _listener(child: int, number: int) -> int | None:
    """Return the parent's own descriptor of the filter."""
    pidfd = os.pidfd_open(child)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if "seccomp notify" in os.readlink(f"/proc/{child}/fd/{number}"):
                    return libc.syscall(438, pidfd, number, 0)
            time.sleep(0.001)
    finally:
        os.close(pidfd)
    return None


def _handle(listener: int, child: int, fault: Fault | None, report: Report) -> None:
    request = bytearray(80)
    try:
        fcntl.ioctl(listener, _RECEIVE, request)
    except OSError:
        return  # it has been killed meanwhile
    identity, pid, _, number = struct.unpack_from("QIIi", request)
    name, role = _NAMES[number], _role(pid, child)
    failing = 0
    if name == "clone3" and role == "caller" and _makes_thread(pid, request):
        # Python's own, for which it raises RuntimeError.
        role = None
    if role and (role == "init" or name in _OF_THE_CALLER):
        report.calls[role, name] += 1
        if fault and (role, name, report.calls[role, name]) == (fault.role, fault.call, fault.number):
            report.reached = True
            failing = -fault.errno
    answer = bytearray(struct.pack("QqiI", identity, 0, failing, 0 if failing else _CONTINUE))
    with contextlib.suppress(OSError):
        fcntl.ioctl(listener, _SEND, answer)


def _makes_thread(pid: int, request: bytearray) -> bool:
    """Whether a clone3(2) is for a thread. The first number of its structure has the flags."""
    clone_thread = 0x10000
    (pointer,) = struct.unpack_from("Q", request, 32)
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(pointer)
            return bool(int.from_bytes(memory.read(8), sys.byteorder) & clone_thread)
    except OSError:
        return False


def _role(pid: int, child: int) -> Role | None:
    fields = dict(_status(pid))
    if fields.get("Name") == "nsbox-init":
        return "init"
    if fields.get("Tgid") == str(child):
        return "caller"
    with contextlib.suppress(OSError), open(f"/proc/{child}/comm") as comm:
        # It has the caller's memory, and becomes nsbox-init.
        if fields.get("PPid") == str(child) and fields.get("Name") == comm.read().strip():
            return "birth"
    return None


def _status(pid: int) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            yield name, value.strip()


def _waiting(child: int) -> str:
    return "; ".join(
        f"{dict(_status(pid)).get('Name')} {dict(_status(pid)).get('State')}" for pid in [child, *descendants(child)]
    )
