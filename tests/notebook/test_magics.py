"""The magics of a notebook, in a real kernel, as root and as an ordinary user."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.callers import alive
from tests.support.census import descendants, reaped_all, wait_until
from tests.support.far import apart, open_place
from tests.support.forked import Who
from tests.support.needs import needs
from tests.support.notebook_kernel import Kernel, Shown, kernel
from tests.support.pages import drawing, page, texts

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.limit(600)]

WITHOUT = "import nsbox; nsbox.run(['true'], unshare='m', root='/nonexistent')"
BAD_CELLS = {
    WITHOUT: ("SpawnError", "step 'root' failed", ["call", "who", "why", "next", "cause"]),
    "nsbox.run(['true'], unshare='zz')": ("SpecError", "'z' in 'zz' is no namespace", []),
    "%%unshare -mipx\ntrue": ("UsageError", "invalid option -- 'x'", []),
    "%%unshare --name nobody\ntrue": ("UsageError", "no shell is named 'nobody'", []),
    "%%unshare\ntrue": ("UsageError", "no namespaces are given", []),
    "%%unshare -mip --name class\ntrue": ("UsageError", "cannot be the name of a variable", []),
    "%%unshare -mipf --name taken\ntrue": ("UsageError", "'taken' is a variable", []),
    "%%unshare -mip --name lab\ntrue": ("UsageError", "was started with other options", []),
    "%%unshare -mipf python3\ntrue": ("UsageError", "a cell is typed into a shell", []),
    "%%unshare -mipf --kill-child=TERM\ntrue": ("UsageError", "--kill-child", []),
    "%%unshare -mipf --timeout soon\ntrue": ("UsageError", "failed to parse timeout", []),
    "%%unshare -mipf 'quote\ntrue": ("UsageError", "No closing quotation", []),
    "%%unshare --name lab\nfor i in 1 2; do": ("SpecError", "not run: syntax error", [""]),
    "%%unshare --name lab\n: " + "x" * 5000: ("SpecError", "a terminal takes", []),
    "%%nsenter nobody\ntrue": ("UsageError", "neither a PID nor a variable", []),
    "%%nsenter\ntrue": ("UsageError", "no target is given", []),
    "%%nsenter -mip lab\ntrue": ("UsageError", "'ip' would be a file", []),
    "%%nsenter lab ls\ntrue": ("UsageError", "unexpected argument 'ls'", []),
    "%%nsenter taken\ntrue": ("SpecError", "neither a process nor", []),
    "%%box -mip ls\ntrue": ("UsageError", "unexpected argument 'ls'", []),
    "%%box --name lab\ntrue": ("UsageError", "'lab' is a variable", []),
    "%%box -p --pid-max few\ntrue": ("UsageError", "failed to parse pid-max", []),
    "%pstree --no-such-option": ("UsageError", "unrecognized arguments", []),
    "%pstree nobody": ("UsageError", "neither a PID nor the name", []),
    "%pstree 4194305": ("UsageError", "no process 4194305", []),
    "%lsns --type=nothing": ("SpecError", "'nothing'", []),
    "%explain ls": ("UsageError", "what can be: unshare, nsenter, nsbox run", []),
    "%%unshare -mip --harden\ntrue": ("SpecError", "harden: with fork=False", []),
    "%%unshare -mipf --option nonsense=1\ntrue": ("SpecError", "nonsense: is no option", []),
    "%%unshare -mipf --option nonsense\ntrue": ("UsageError", "expected NAME=VALUE", []),
    "%%box --max-output many\ntrue": ("UsageError", "failed to parse max-output", []),
    "%%unshare -mipf --max-output 10\nyes": ("CellOutputError", "more than 10 bytes of output", []),
    "%%unshare -mipf --timeout 0.3\nsleep 1000": ("CellTimeoutError", "timeout after 0.3 seconds", []),
}
CELLS = {
    "load": "%load_ext nsbox\nimport nsbox, os\ntaken = {}",
    "start": "%%unshare -mipf --name lab\necho $$; cd /usr; false",
    "same words": "%%unshare -mipf --name lab\npwd; echo $?",
    "no words": "%%unshare --name lab\nmount -t proc none /proc; echo /proc/[0-9]*",
    "variable": "lab.pid_inside, lab.alive",
    "nsenter": "%%nsenter lab\necho $$; ls -d /proc/[0-9]*; pwd",
    "nsenter some": "%%nsenter -p -t lab\nreadlink /proc/self/ns/ipc",
    "own ipc": "os.readlink('/proc/self/ns/ipc')",
    "nsenter kept": "%%nsenter lab --name second\ncd /tmp",
    "nsenter goes on": "%%nsenter --name second\npwd",
    "unnamed": "%%unshare -mipf\necho $$; sleep 1000 &",
    "broken": "%%unshare -mip\ntest $$ -gt 1 && echo outer\nuname\nuname",
    "box": "%%box --name box -mipu --mount-proc --hostname tested\nhostname; echo $$; (setsid sleep 1000 &)",
    "box goes on": "%%box --name box\nps -e -o comm= | sort; exit 3",
    "box lives": "%%box --name box\necho $$ ; echo $?",
    "tree": "%pstree -S lab",
    "tree of all": "%pstree -S -p",
    "tree of a box": "%pstree box",
    "namespaces": "%lsns lab",
    "namespaces of a box": "%lsns box",
    "namespaces of a kind": "%lsns -t pid",
    "namespaces as text": "%lsns -J -t pid",
    "processes": "%ps lab",
    "processes of a box": "%ps box",
    "processes of PIDs": "%ps -p 1",
    "doctor": "%nsdoctor",
    "explain": "%explain unshare -mipf --mount-proc bash",
    "explain a box": "%explain box",
    "plan": "box.plan",
    "help": "%unshare --help",
    "options": "%%unshare -mipf --mount-proc --propagation=slave --wd /usr sh\nls -d /proc/[0-9]*; pwd",
    "held": "%%unshare --harden --wd /\ngrep -E '^(CapBnd|Seccomp):' /proc/self/status; touch /usr/x",
    "held box": "%%box --harden=best --wd / --option seccomp=false\ngrep -E '^(CapBnd|NoNewPrivs):' /proc/self/status",
    "writable": "%%unshare -mipf --writable /tmp --hidden /usr/share --wd /\ntouch /usr/x; touch /tmp && echo $$",
    "too much": "%%unshare -mipf --max-output 4,truncate\necho 123456",
    "options of Spec": "%%unshare -mipf --option 'rlimits={\"nofile\": 77}' --option no_new_privs=true\nulimit -n",
    "new": "%%unshare -mipf --name lab --new\npwd",
    "end": "%%unshare --name lab\nexit 7",
    "again": "%%unshare -mipf --name lab\necho $$",
    "unload": "%unload_ext nsbox\nlab.alive, box.alive, second.alive",
    "unknown": "%pstree",
}


@pytest.fixture(
    scope="module",
    # Both users are tested in one process of xdist, so that the cells run once.
    params=[pytest.param(who, marks=pytest.mark.xdist_group(f"magics as {who}")) for who in ("root", "user")],
)
def shown(request: pytest.FixtureRequest) -> dict[str, Shown]:
    """Execute all cells, and the wrong ones in their places."""
    who = Who(request.param)
    needs(who, "mip")

    def execute(place: Path) -> dict[str, Shown]:
        with kernel(place) as running:
            found = {WITHOUT + " unloaded": running.run(WITHOUT)}
            for name, cell in CELLS.items():
                if name == "box":
                    found |= {bad: running.run(bad) for bad in BAD_CELLS}
                found[name] = running.run(cell)
            return found

    with open_place() as place:
        return apart(who, place, functools.partial(execute, place))


def test_a_shell_continues_over_cells(shown: dict[str, Shown]) -> None:
    """Later cells use the same shell, with the options repeated or omitted; it is a variable."""
    assert shown["start"].stdout == "1\n"
    assert shown["start"].text.endswith("exit status 1")
    assert shown["same words"].stdout == "/usr\n0\n"
    assert shown["no words"].stdout == "/proc/1\n"
    assert shown["variable"].text == "(1, True)"
    assert shown["new"].stdout != "/usr\n"
    assert shown["end"].text == "the shell lab exited with status 7"
    assert shown["again"].stdout == "1\n"


def test_entering(shown: dict[str, Shown]) -> None:
    """%%nsenter starts a second shell in the same namespaces, in all or some of them."""
    pid, *processes, directory = shown["nsenter"].stdout.split()
    assert int(pid) > 1
    assert {"/proc/1", f"/proc/{pid}"} <= set(processes)
    assert directory == "/"
    assert repr(shown["nsenter some"].stdout.strip()) == shown["own ipc"].text
    assert shown["nsenter goes on"].stdout == "/tmp\n"


def test_a_shell_without_a_name_ends_with_its_cell(shown: dict[str, Shown]) -> None:
    """The output of a shell without --fork has an explanation."""
    assert shown["unnamed"].stdout.startswith("1\n")
    assert shown["broken"].stdout.startswith("outer\nLinux\n")
    assert "lost its PID 1" in shown["broken"].text
    assert shown["options"].stdout.split()[-1] == "/usr"
    assert shown["options"].stdout.split()[0] == "/proc/1"


def test_a_held_shell(shown: dict[str, Shown]) -> None:
    """The options that hold what runs inside are those of `nsbox run`."""
    assert shown["held"].stdout.startswith("CapBnd:\t0000000000000000\nSeccomp:\t2\n")
    assert "Read-only file system" in shown["held"].stdout
    assert shown["held box"].stdout == "CapBnd:\t0000000000000000\nNoNewPrivs:\t1\n"
    assert "Read-only file system" in shown["writable"].stdout
    assert shown["writable"].stdout.endswith("\n1\n")
    assert shown["too much"].stdout == "1234"
    assert shown["too much"].text.endswith("more than 4 bytes of output: the rest was dropped")
    assert shown["options of Spec"].stdout == "77\n"


def test_a_box_continues_over_cells(shown: dict[str, Shown]) -> None:
    """Its init is PID 1; a program that a shell leaves in it lives on, also when the shell has ended."""
    assert shown["box"].stdout == "tested\n2\n"
    assert {"nsbox-init", "sleep"} <= set(shown["box goes on"].stdout.split())
    assert shown["box goes on"].text == "the shell box exited with status 3"
    assert shown["box lives"].stdout.endswith("\n0\n")


def test_pictures_and_tables(shown: dict[str, Shown]) -> None:
    """Pictures and tables have the texts of the commands."""
    assert shown["tree"].text.split("───")[1:] in (
        ["nsbox-init", "bash(ipc,mnt,pid)"],
        ["nsbox-init", "bash(ipc,mnt,pid,user)"],  # of an ordinary user
    )
    chips = [text.split()[0] for text in texts(drawing(shown["tree"].data[0]["image/svg+xml"]))]
    assert {"mount", "ipc", "pid"} <= set(chips), chips
    assert shown["tree of a box"].text.split("───")[1].split() == ["nsbox-init─┬─bash", "└─sleep"]
    for name in ("tree", "tree of all", "tree of a box"):
        drawing(shown[name].data[0]["image/svg+xml"])
    tables = ["namespaces", "namespaces of a box", "namespaces of a kind", "processes", "processes of a box"]
    for name in (*tables, "processes of PIDs", "doctor", "explain", "explain a box", "plan"):
        page(shown[name].data[0]["text/html"])
        assert len(shown[name].text.split("\n")) > 1
    assert shown["processes"].text.split("\n")[1].split()[1] == "1"
    assert "clone3(" in shown["plan"].text
    assert "mount proc" in shown["explain"].text
    assert '"namespaces"' in shown["namespaces as text"].stdout
    assert "--mount-proc" in shown["help"].stdout


def test_errors_are_panels(shown: dict[str, Shown]) -> None:
    """An error is a table with the reason, one or two lines as the traceback, and the remedy."""
    for cell, (name, words, labels) in BAD_CELLS.items():
        assert shown[cell].error == name, (cell, shown[cell])
        traceback = "\n".join(shown[cell].lines)
        assert words in traceback, (cell, traceback)
        assert traceback.count("\n") <= 1, (cell, traceback)
        (panel,) = shown[cell].data[-1:]
        assert words in panel["text/plain"].replace("\n  ", " "), cell
        rows = [["".join(column.itertext()) for column in row] for row in page(panel["text/html"]).iter("tr")]
        assert [row[0] for row in rows[1:]] == labels, cell


def test_errors_without_the_extension(shown: dict[str, Shown]) -> None:
    """An error is short, too: the step, the reason, the remedy, and the line of the notebook."""
    found = shown[WITHOUT + " unloaded"]
    text = "\n".join(found.lines)
    assert found.data == []
    assert all(word in text for word in ("step 'root' failed", "why", "next", "in line 1: import nsbox"))
    assert len(text.split("\n")) < 12


def test_unloading_ends_everything(shown: dict[str, Shown]) -> None:
    """Unloading the extension also removes the magics."""
    assert shown["unload"].text == "(False, False, False)"
    assert "pstree" in shown["unknown"].stderr + "".join(shown["unknown"].lines)
    assert shown["unknown"].data == []


class Ends(NamedTuple):
    """The results of interrupts and ends: outputs, and processes that were still alive."""

    interrupted: list[Shown]
    after: list[Shown]
    left: dict[str, list[int]]


def start(running: Kernel) -> list[int]:
    """Let the kernel start shells and a box, with daemons; return all processes that are not its own."""
    running.run("%load_ext nsbox")
    running.run("%%unshare -mipf --name lab\ncd /usr; (setsid sleep 1000 &) ; sleep 1000 &")
    running.run("%%box --name box\n(setsid sleep 1000 &)")
    running.run("%%nsenter lab --name second\nsleep 1000 &")
    found = [pid for pid in descendants(running.pid) if alive(pid)]
    assert len(found) >= 9, found
    return found


def end_in_all_ways(place: Path) -> Ends:
    """Interrupt cells, then restart, kill and shut down the kernel."""
    left: dict[str, list[int]] = {}

    def note(way: str, pids: list[int]) -> None:
        wait_until(lambda: not any(map(alive, pids)))
        left[way] = list(filter(alive, pids))

    with kernel(place) as running:
        found = start(running)

        def interrupt(shown: Shown) -> None:
            if shown.stdout.endswith("running\n"):
                shown.stdout += "|\n"
                running.manager.interrupt_kernel()

        cells = [
            "%%unshare --name lab\necho running\nsleep 1000; echo not this",
            "%%unshare --name lab\necho running\nsh -c 'trap \"\" INT; sleep 1000'",
            "%%unshare --name lab\necho running\ncat",
            "%%box --name box\necho running\nsleep 1000",
            "%%nsenter --name second\necho running\nsleep 1000",
        ]
        interrupted = [running.run(cell, interrupt) for cell in cells]
        after = [
            running.run(f"%%unshare --name lab\n{one}")
            for one in ("echo $$; pwd", "jobs -r | grep -c Running; jobs -s")
        ]
        note("interrupt", [pid for pid in found if not alive(pid)])
        for way, end in _WAYS.items():
            end(running)
            note(way, found)
            if not running.manager.is_alive():
                running.restart()
            found = start(running)
    note("shutdown", found)
    return Ends(interrupted, after, left)


_WAYS: dict[str, Callable[[Kernel], object]] = {
    "restart": Kernel.restart,
    "death": lambda running: os.kill(running.pid, signal.SIGKILL),
}


def test_interrupts_and_ends(who: Who, place: Path) -> None:
    """An interrupt ends only what runs in the foreground; the end of a kernel ends everything."""
    ends = apart(who, place, lambda: end_in_all_ways(place))
    # Orphans of kernels that were killed.
    assert wait_until(reaped_all)
    for name, shown in zip(["lab", "lab", "lab", "box", "second"], ends.interrupted, strict=True):
        assert shown.stdout.replace("Killed", "").split() == ["running", "|"], (name, shown)
        assert shown.error == "CellInterrupt"
        assert shown.lines == [f"interrupted: the foreground job has ended; the shell {name} is still there"]
    assert [shown.stdout for shown in ends.after] == ["1\n/usr\n", "1\n"]
    assert ends.left == {"interrupt": [], "restart": [], "death": [], "shutdown": []}
