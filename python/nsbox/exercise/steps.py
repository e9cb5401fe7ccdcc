"""The steps of the exercise. Each explains something, does it, shows the output, and checks the kernel's state."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from nsbox.diagnosis import pid_namespace
from nsbox.errors import NsboxError
from nsbox.exercise import ipc
from nsbox.exercise.pids import PID_MAX, exhaust_twice
from nsbox.exercise.stage import Stage
from nsbox.lessons import FIRST_REUSED_PID
from nsbox.records.status import fields_of, pids_of
from nsbox.seeing.processes import ps
from nsbox.seeing.tree import pstree
from nsbox.spec.kinds import KINDS
from nsbox.start.shell import Shell, ShellResult

__all__ = ["Exercise"]

_MAX_LINES = 14


class StepSkippedError(Exception):
    """A step cannot be shown here; the text says why."""


class Exercise:
    """Exercise 2, on this kernel, as root or as an ordinary user.

    A step that this kernel or container does not allow is skipped, with the reason.
    """

    def __init__(self, out: TextIO = sys.stdout) -> None:
        """Write to `out`."""
        self.stage = Stage(out)
        self.shell: Shell | None = None
        self.own_pid = 0

    def run(self) -> int:
        """Run all steps; return 0 if every check passed, else 1."""
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("The process tree", self.tree),
            ("The PID of a shell", self.pid_outside),
            ("A shell in new namespaces: unshare -mipf", self.pid_inside),
            ("ps shows the wrong processes", self.ps_before),
            ("A new /proc for the new PID namespace", self.mount_proc),
            ("One process, two PIDs", self.two_pids),
            ("IPC objects: System V, POSIX queues, /dev/shm", self.ipc),
            ("The broken shell: unshare -mip without -f", self.broken_shell),
            ("The PID limit, and the reuse of PIDs", self.use_up_pids),
            ("The exit of PID 1", self.leave),
        )
        before = _own_state()
        try:
            for number, (title, step) in enumerate(steps, 1):
                self.stage.title(f"{number}. {title}")
                try:
                    step()
                except (NsboxError, OSError, StepSkippedError) as error:
                    self.stage.unavailable(str(error))
            self.stage.check(_own_state() == before, "this process has the same namespaces and mounts as at the start")
        finally:
            if self.shell is not None and self.shell.alive:
                self.shell.exit()
        return self.stage.summary()

    def tree(self) -> None:
        """The process tree with its namespace marks."""
        stage = self.stage
        stage.say(
            """Every process has a number, its PID, and a parent. The parent made it with fork(2), as a copy of itself.
            PID 1 has none: the kernel starts it. On most machines it is systemd, in a container whatever was started
            first. Kernel threads descend from kthreadd, whose parent is 0 as well. A PID is a 32-bit integer, and
            below pid_max, which is at most 4194304. A mark such as (mnt) shows that a process is in another namespace
            than its parent: here, in another mount namespace."""
        )
        stage.command(">>> print(nsbox.pstree())     # like pstree -S")
        stage.output(pstree().text(width=stage.width - 3), _MAX_LINES)
        parents = {process.pid: process.ppid for process in ps()}
        stage.check(parents.get(1) == 0, "PID 1 has no parent: its PPID is 0")
        stage.check(parents.get(os.getpid()) == os.getppid(), "this Python is in the tree, below its parent")

    def pid_outside(self) -> None:
        """A shell in the caller's own namespaces."""
        stage = self.stage
        stage.say("A shell knows its own PID as $$. This one runs in the namespaces of the host.")
        with Shell("") as shell:
            result = self.type(shell, "echo $$")
            self.own_pid = int(result.stdout)
            stage.check(self.own_pid == shell.pid, f"the host has the same PID for the shell: {shell.pid}")

    def pid_inside(self) -> None:
        """The shell that is PID 1."""
        stage = self.stage
        stage.say(
            """unshare -mipf makes a new mount (-m), IPC (-i) and PID (-p) namespace, and forks (-f) before it starts
            the shell. The fork is needed: a process never changes its own PID namespace. Only its children are in the
            new one, and the first child is PID 1."""
        )
        stage.command('>>> shell = nsbox.Shell("mip")     # unshare -mipf')
        self.shell = shell = Shell("mip", columns=stage.width - 3)
        python = shlex.quote(sys.executable)
        shell.run(f'python() {{ {python} "$@"; }}; nsbox() {{ python -m nsbox "$@"; }}', check=True)
        for namespace, reason in shell.plan.added:
            stage.say(f"(A new {namespace} namespace was added, because {reason}: inside, you are root.)")
        result = self.type(shell, "echo $$")
        stage.check(result.stdout == "1\n", "the shell is PID 1")
        new = [name for name in ("mount", "ipc", "pid") if _namespace(shell.pid, name) != _namespace(os.getpid(), name)]
        stage.check(new == ["mount", "ipc", "pid"], "its mount, ipc and pid namespaces are not those of this Python")

    def ps_before(self) -> None:
        """Show that /proc still belongs to the old PID namespace."""
        stage, shell = self.stage, self._shell()
        stage.say(
            """PID 1 in this list is not our shell. ps reads /proc, and /proc was mounted for the PID namespace of the
            host. It shows the processes of that namespace to every process that reads it."""
        )
        self.type(shell, "nsbox ps | head -n5")
        seen = {process.pid: process for process in ps(of=shell.pid, view="proc")}
        stage.check(shell.pid in seen, f"/proc lists the shell under its PID outside, {shell.pid}")
        link = shell.run("test -e /proc/self && readlink /proc/self").stdout.strip()
        stage.check(link not in ("", "1"), "/proc/self, too, is a PID outside")

    def mount_proc(self) -> None:
        """Mount a proc for the new PID namespace."""
        stage, shell = self.stage, self._shell()
        stage.say(
            """Mount a new proc on /proc, for the new PID namespace. This is why the mount namespace is new as well:
            no process outside sees this mount."""
        )
        self.type(shell, "mount -t proc none /proc", check=True)
        self.type(shell, "nsbox ps | head -n5")
        inside, outside = ([process.pid for process in table] for table in (ps(of=shell.pid, view="proc"), ps()))
        stage.check(
            inside[:1] == [1] and len(inside) < len(outside),
            "PID 1 in /proc is the shell; the other processes of the host are hidden",
        )
        stage.check(len(outside) > 1 and shell.pid in outside, "outside, /proc still shows the processes of the host")

    def two_pids(self) -> None:
        """Show the PIDs of one process, inside and outside."""
        stage, shell = self.stage, self._shell()
        stage.say(
            """A PID namespace is nested in the namespace in which it was made. A process in it has one PID there, and
            one PID in each namespace around it."""
        )
        stage.command(f">>> print(nsbox.pstree({shell.init_pid}).text(show_pids=True))")
        stage.output(pstree(shell.init_pid).text(show_pids=True))
        stage.command(f"grep NSpid /proc/{shell.pid}/status")
        pids = pids_of(fields_of(Path(f"/proc/{shell.pid}/status").read_bytes()))
        stage.output("\t".join(map(str, ["NSpid:", *pids])))
        stage.check(pids[-2:] == [shell.pid, 1], f"the same process has PID {shell.pid} outside and PID 1 inside")

    def ipc(self) -> None:
        """Show that an IPC namespace hides System V objects and POSIX queues, but not files in /dev/shm."""
        stage, shell = self.stage, self._shell()
        stage.say(
            """Outside, make a System V shared memory segment, a POSIX message queue and a file in /dev/shm. Inside,
            look for them. The segment and the queue belong to an IPC namespace. POSIX shared memory is a file in
            /dev/shm, and so depends on the mounts. A new mount namespace starts as a copy of the old one."""
        )
        with ipc.objects() as names:
            outside = ipc.look(names)
            stage.check(all(outside), "outside, all three are found")
            result = self.type(
                shell, f"python -m nsbox.exercise.ipc {names.key} {names.queue} {names.file}", check=True
            )
            found = [line.split(maxsplit=1)[1] == "found" for line in result.stdout.splitlines()]
            stage.check(found[:2] == [False, False], "inside, neither the segment nor the queue exists")
            stage.check(found[2:] == [True], "inside, the file in /dev/shm is still there")
            shell.run("mount -t tmpfs tmpfs /dev/shm", check=True)
            stage.command("mount -t tmpfs tmpfs /dev/shm")
            hidden = shell.run(f"test -e {names.file}").returncode != 0
            stage.check(hidden and Path(names.file).exists(), "a new mount on /dev/shm hides the file as well")

    def broken_shell(self) -> None:
        """Show a shell that was started by unshare -mip, without -f."""
        stage = self.stage
        stage.say(
            """Without the fork, the shell stays in the old PID namespace. Its children are in the new one. The first
            command is PID 1 there. When it exits, the kernel closes the namespace, and no second command can be
            started."""
        )
        stage.command('>>> broken = nsbox.Shell("mip", fork=False)     # unshare -mip')
        with Shell("mip", fork=False, columns=stage.width - 3) as shell:
            result = self.type(shell, "echo $$")
            stage.check(result.stdout.strip() == str(shell.pid), f"$$ is {shell.pid}, a PID of the host")
            self.type(shell, "uname")
            result = self.type(shell, "uname")
            if result.explanation:
                stage.say(result.explanation)
            stage.check(
                pid_namespace.for_children(shell.pid) == "dead",
                "the PID 1 of the namespace for its children has exited",
            )
            stage.check(result.returncode != 0, "the second command could not be started")
            stage.command("exit")
            shell.exit()

    def use_up_pids(self) -> None:
        """Use up all PIDs of a namespace with a small pid_max."""
        stage = self.stage
        stage.say(
            f"""The kernel counts PIDs up to pid_max, then starts again at {FIRST_REUSED_PID}, with the PIDs that are
            free: those below do not come back. When none is free, no process can be started. Each PID namespace has
            its own limit, so this cannot harm the host. Here the limit is {PID_MAX}."""
        )
        limit = Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii")
        stage.command(
            f'>>> box = nsbox.Box("mip", pid_max={PID_MAX})\n'
            ">>> first = nsbox.lessons.exhaust_pids(box)\n"
            ">>> second = nsbox.lessons.exhaust_pids(box)"
        )
        first, second = exhaust_twice()
        if first.limit != "pid_max":
            stage.output(str(first))
            raise StepSkippedError(f"here another limit is reached before pid_max: {first.limit}")
        error = errno.errorcode.get(first.errno, str(first.errno))
        stage.output(
            f"first:  {first.started} processes, the last with PID {first.highest}; then {error}\n"
            f"        PID {first.freed} was killed; the next process has PID {first.next}\n"
            f"second: {second.started} processes; then {errno.errorcode.get(second.errno, second.errno)}"
        )
        stage.check(error == "EAGAIN" and first.highest < PID_MAX, "no PID was free: EAGAIN")
        stage.check(first.next == first.freed, "a free PID is used again: a PID names a process only while it exists")
        stage.check(
            (second.started, second.errno) == (PID_MAX - FIRST_REUSED_PID, first.errno),
            f"PIDs below {FIRST_REUSED_PID} are used only once",
        )
        same = Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii") == limit
        stage.check(same, f"pid_max of the host is {limit.strip()}, as before")

    def leave(self) -> None:
        """Exit from the shell."""
        stage, shell = self.stage, self._shell()
        stage.say(
            """The shell is PID 1. When it exits, the kernel kills every process in the PID namespace. When the last
            process has exited, the namespaces and their mounts are gone."""
        )
        shell.run("sleep 600 & disown 2>/dev/null")
        left = {process.pid for process in ps() if _namespace(process.pid, "pid") == _namespace(shell.pid, "pid")}
        stage.command("exit")
        shell.exit()
        with Shell("") as native:
            result = self.type(native, "echo $$")
            stage.check(result.stdout != "1\n", "a new shell outside has an ordinary PID")
        stage.check(
            len(left) > 1 and not left & {process.pid for process in ps()}, "no process of the namespace is left"
        )

    def type(self, shell: Shell, command: str, *, check: bool = False) -> ShellResult:
        """Type a command into a shell and show it with its output."""
        self.stage.command(command)
        result = shell.run(command, check=check)
        if result.stdout:
            self.stage.output(result.stdout, _MAX_LINES)
        return result

    def _shell(self) -> Shell:
        if self.shell is None or not self.shell.alive:
            raise StepSkippedError("this step needs the shell of step 3")
        return self.shell


def _namespace(pid: int, kind: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{KINDS[kind].link}")
    except OSError:
        return ""


def _own_state() -> tuple[list[str], str]:
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    return [_namespace(os.getpid(), kind) for kind in KINDS], mounts
