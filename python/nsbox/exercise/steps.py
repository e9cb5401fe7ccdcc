"""The exercise, step by step: for each an explanation, something done, what was seen, and a check."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from nsbox.diagnosis import pid_namespace
from nsbox.errors import NsboxError
from nsbox.exercise import ipc
from nsbox.exercise.pids import FIRST_REUSED, Story
from nsbox.exercise.stage import Stage
from nsbox.records.status import fields_of, pids_of
from nsbox.seeing.processes import ps
from nsbox.seeing.tree import pstree
from nsbox.spec.kinds import KINDS
from nsbox.start.run import run
from nsbox.start.shell import Shell, ShellResult

__all__ = ["Exercise"]

PID_MAX = 400
_TREE_LINES = 14


class StepUnavailableError(Exception):
    """A step needs something that an earlier one could not provide."""


class Exercise:
    """Exercise 2, on this kernel, as root or as an ordinary user.

    A step that this kernel or container forbids says what and why, and the exercise goes on with the rest.
    """

    def __init__(self, out: TextIO = sys.stdout) -> None:
        """Prepare to show it on `out`."""
        self.stage = Stage(out)
        self.shell: Shell | None = None
        self.own_pid = 0

    def run(self) -> int:
        """Walk through all steps; return 0 if every check held, else 1."""
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("The process tree", self.tree),
            ("The PID of a shell", self.pid_outside),
            ("A shell in new namespaces: unshare -mipf", self.pid_inside),
            ("ps still shows the host", self.ps_before),
            ("A proc for the new PID namespace", self.mount_proc),
            ("One process, two PIDs", self.two_pids),
            ("IPC: what a new IPC namespace hides, and what it does not", self.ipc),
            ("Without -f: the broken shell", self.broken_shell),
            ("Running out of PIDs, and their reuse", self.use_up_pids),
            ("exit: back to the native namespaces", self.leave),
        )
        before = _own_state()
        try:
            for number, (title, step) in enumerate(steps, 1):
                self.stage.title(f"{number}. {title}")
                try:
                    step()
                except (NsboxError, OSError, StepUnavailableError) as error:
                    self.stage.unavailable(str(error))
            self.stage.check(
                _own_state() == before, "namespaces and mounts of this process are what they were at first"
            )
        finally:
            if self.shell is not None and self.shell.alive:
                self.shell.exit()
        return self.stage.summary()

    def tree(self) -> None:
        """The process tree with its namespace marks."""
        stage = self.stage
        stage.say(
            """Every process has a number, its PID, and a parent, whose copy it once was: fork(2) splits a process in
            two. Only the first one, PID 1, has none. A mark such as (mnt) shows a process that is in another namespace
            than its parent."""
        )
        stage.command(">>> print(nsbox.pstree())     # as pstree -S draws it")
        stage.output(pstree().text(width=stage.width - 3), _TREE_LINES)
        parents = {process.pid: process.ppid for process in ps()}
        stage.check(parents.get(1) == 0, "PID 1 has no parent: its parent's number is 0")
        stage.check(parents.get(os.getpid()) == os.getppid(), "this Python is in the tree, below its parent")

    def pid_outside(self) -> None:
        """A shell in the caller's own namespaces."""
        stage = self.stage
        stage.say("A shell knows its own PID as $$. This one runs in the namespaces of the host.")
        with Shell("") as shell:
            result = self.type(shell, "echo $$")
            self.own_pid = int(result.stdout)
            stage.check(self.own_pid == shell.pid, f"it is the PID that the host uses for it, {shell.pid}")

    def pid_inside(self) -> None:
        """The shell that is PID 1."""
        stage = self.stage
        stage.say(
            """unshare -mipf makes a new mount (m), IPC (i) and PID (p) namespace, and forks (f) before it starts the
            shell. The fork matters: only a child can enter a new PID namespace, and the first one becomes its PID 1."""
        )
        stage.command('>>> shell = nsbox.Shell("mip")     # unshare -mipf')
        self.shell = shell = Shell("mip", columns=stage.width - 3)
        python, me = shlex.quote(sys.executable), "python -m nsbox"
        shell.run(f'python() {{ {python} "$@"; }}; nsbox() {{ {me} "$@"; }}', check=True)
        for namespace, reason in shell.plan.added:
            stage.say(f"(A new {namespace} namespace was added, because {reason}: inside, you are root.)")
        result = self.type(shell, "echo $$")
        stage.check(result.stdout == "1\n", "the shell is PID 1")
        new = [name for name in ("mount", "ipc", "pid") if _namespace(shell.pid, name) != _namespace(os.getpid(), name)]
        stage.check(
            new == ["mount", "ipc", "pid"], "its mount, ipc and pid namespaces differ from those of this Python"
        )

    def ps_before(self) -> None:
        """/proc still belongs to the old PID namespace."""
        stage, shell = self.stage, self._shell()
        stage.say(
            """Yet PID 1 in this list is not our shell. ps reads /proc, and /proc was mounted for the PID namespace of
            the host; it goes on showing that one, to whoever looks."""
        )
        self.type(shell, "nsbox ps | head -n5")
        seen = {process.pid: process for process in ps(of=shell.pid, view="proc")}
        stage.check(shell.pid in seen, f"/proc lists the shell under its outer PID, {shell.pid}")
        answer = shell.run("test -e /proc/self && readlink /proc/self").stdout.strip()
        stage.check(answer not in ("", "1"), "to /proc, the process that asks has its outer PID too")

    def mount_proc(self) -> None:
        """Mount a proc that fits."""
        stage, shell = self.stage, self._shell()
        stage.say(
            """So /proc needs a proc of the new PID namespace. That is why the mount namespace is new as well: this
            mount is seen by nobody outside."""
        )
        self.type(shell, "mount -t proc none /proc", check=True)
        self.type(shell, "nsbox ps | head -n5")
        inside, outside = ([process.pid for process in table] for table in (ps(of=shell.pid, view="proc"), ps()))
        stage.check(
            inside[:1] == [1] and len(inside) < len(outside), "PID 1 in /proc is the shell, and the host is gone"
        )
        stage.check(len(outside) > 1 and shell.pid in outside, "outside, /proc still shows the host")

    def two_pids(self) -> None:
        """The same process, seen from inside and from outside."""
        stage, shell = self.stage, self._shell()
        stage.say(
            """A PID namespace is a view, nested in the one it was made from. Each process in it also has a PID in every
            namespace around it."""
        )
        stage.command(f">>> print(nsbox.pstree({shell.init_pid}).text(show_pids=True))")
        stage.output(pstree(shell.init_pid).text(show_pids=True))
        stage.command(f"grep NSpid /proc/{shell.pid}/status")
        pids = pids_of(fields_of(Path(f"/proc/{shell.pid}/status").read_bytes()))
        stage.output("\t".join(map(str, ["NSpid:", *pids])))
        stage.check(pids[-2:] == [shell.pid, 1], f"one process is {shell.pid} outside and 1 inside")

    def ipc(self) -> None:
        """System V and POSIX queues are hidden; /dev/shm is not."""
        stage, shell = self.stage, self._shell()
        stage.say(
            """Now a System V shared memory segment, a POSIX message queue and a file in /dev/shm are made outside, and
            looked for inside. The first two belong to an IPC namespace. POSIX shared memory is files in /dev/shm, so
            that is a matter of mounts; a new mount namespace starts as a copy of the old one."""
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
            stage.check(hidden and Path(names.file).exists(), "a /dev/shm of its own hides that one too")

    def broken_shell(self) -> None:
        """What unshare -mip does, without -f."""
        stage = self.stage
        stage.say(
            """Without the fork, the shell stays in the old PID namespace, and the new one is for its children: the
            first command becomes PID 1 there, ends, and takes the namespace with it. No second one can be started."""
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
                pid_namespace.for_children(shell.pid) == "dead", "the namespace for its children has lost its PID 1"
            )
            stage.check(result.returncode != 0, "the second command could not be started")
            stage.command("exit")
            shell.exit()

    def use_up_pids(self) -> None:
        """A small pid_max."""
        stage = self.stage
        stage.say(
            f"""PIDs count upwards until pid_max, then start again at {FIRST_REUSED} with those that are free. When none
            is free, nothing can be started. Each PID namespace has a limit of its own, so this is harmless here: it is
            set to {PID_MAX}."""
        )
        limit = Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii")
        stage.command(f'>>> nsbox.run([..., "nsbox.exercise.pids"], unshare="mip", pid_max={PID_MAX})')
        result = run(
            [sys.executable, "-m", "nsbox.exercise.pids"],
            unshare="mip",
            mount_proc=True,
            pid_max=PID_MAX,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        story: Story = json.loads(result.stdout)
        stage.output(
            f"{story['started']} processes, the last with PID {story['highest']}; then {story['error']}\n"
            f"PID {story['freed']} ended; the next process gets {story['next']}\n"
            f"PID {story['freed_low']} ended; the next process: {story['error_low'] or 'started'}"
        )
        stage.check(story["error"] == "EAGAIN" and story["highest"] < PID_MAX, "the PIDs ran out, with EAGAIN")
        stage.check(story["next"] == story["freed"], "a free PID is used again: a PID alone is no lasting name")
        stage.check(story["error_low"] == "EAGAIN", f"but none below {FIRST_REUSED}: those are handed out only once")
        same = Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii") == limit
        stage.check(same, f"pid_max of the host is {limit.strip()} as before")

    def leave(self) -> None:
        """End the shell."""
        stage, shell = self.stage, self._shell()
        stage.say(
            """The shell is PID 1, so its end is the end of every process in the PID namespace; with the last process
            go the namespaces and their mounts."""
        )
        shell.run("sleep 600 & disown 2>/dev/null")
        left = {process.pid for process in ps() if _namespace(process.pid, "pid") == _namespace(shell.pid, "pid")}
        stage.command("exit")
        shell.exit()
        with Shell("") as native:
            result = self.type(native, "echo $$")
            stage.check(result.stdout != "1\n", "a shell out here has an ordinary PID again")
        stage.check(len(left) > 1 and not left & {process.pid for process in ps()}, "nothing that ran inside is left")

    def type(self, shell: Shell, command: str, *, check: bool = False) -> ShellResult:
        """Type a command into a shell and show it with its output."""
        self.stage.command(command)
        result = shell.run(command, check=check)
        if result.stdout:
            self.stage.output(result.stdout, _TREE_LINES)
        return result

    def _shell(self) -> Shell:
        if self.shell is None or not self.shell.alive:
            raise StepUnavailableError("this needs the shell of step 3")
        return self.shell


def _namespace(pid: int, kind: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{KINDS[kind].link}")
    except OSError:
        return ""


def _own_state() -> tuple[list[str], str]:
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    return [_namespace(os.getpid(), kind) for kind in KINDS], mounts
