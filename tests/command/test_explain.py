"""`nsbox.explain`: descriptions of command lines, plans and specs."""

from __future__ import annotations

import json
import os
import re
import shlex
from html.parser import HTMLParser
from typing import Any

import nsbox
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox._core import Call
from nsbox.cli import main
from nsbox.command.equivalents import command_for
from nsbox.command.options import Option, UsageError, parse
from nsbox.command.unshare.request import OPTIONS, request_of
from nsbox.records.steps import data_of

from tests.support.start import plan_for

pytestmark = pytest.mark.pure


def names(explanation: nsbox.Explanation) -> list[str]:
    """Return the names of the steps."""
    return [step.name for step in explanation.steps]


def test_the_command_of_the_workshop() -> None:
    """The steps of `unshare -mipf --mount-proc bash`, in order."""
    found = nsbox.explain("unshare -mipf --mount-proc bash")
    assert [(step.name, step.call) for step in found.steps] == [
        ("unshare", "unshare(CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWIPC)"),
        ("fork", "clone(SIGCHLD)"),
        ("propagation", 'mount("none", "/", NULL, MS_REC|MS_PRIVATE, NULL)'),
        ("mount proc", 'mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)'),
        ("exec", 'execve("bash", ["bash"], environ)'),
    ]
    assert found.steps[2].command == "mount --make-rprivate /"
    assert found.steps[3].command == "mount -t proc -o nosuid,nodev,noexec proc /proc"
    assert found.python == "nsbox.run(['bash'], unshare='mpi', mount_proc=True, init=False)"
    again = nsbox.explain(shlex.split("nsbox unshare -mipf --mount-proc bash"))
    assert [step.call for step in again.steps] == [step.call for step in found.steps]


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        ("unshare", ["exec"]),
        ("unshare -p", ["unshare", "exec"]),
        ("unshare -r id", ["unshare", "uid_map", "setgroups", "gid_map", "exec"]),
        ("unshare -c --keep-caps", ["unshare", "uid_map", "setgroups", "gid_map", "keep capabilities", "exec"]),
        ("unshare -T --boottime 5 --monotonic=1 -f", ["unshare", "clock offsets", "clock offsets", "fork", "exec"]),
        ("unshare --kill-child -m --propagation unchanged", ["unshare", "fork", "parent death signal", "exec"]),
        (
            "unshare -m --propagation slave --mount-proc",
            ["unshare", "propagation", "private proc", "mount proc", "exec"],
        ),
        ("unshare -R /srv -w tmp -S 1 -G 2", ["chroot", "chdir", "set groups", "setgid", "setuid", "exec"]),
        ("unshare --uts=/run/a", ["unshare", "pin", "exec"]),
        ("unshare --fork --mount=/run/a", ["bystander", "unshare", "fork", "pin", "propagation", "exec"]),
        ("unshare --map-users=0:0:5 -r", ["bystander", "unshare", "uid_map", "setgroups", "gid_map", "exec"]),
        ("unshare --map-users=0:0:5 --map-groups=0,0,5", ["bystander", "unshare", "uid_map", "gid_map", "exec"]),
        ("unshare --clear-env -f --forward-signals", ["fork", "exec"]),
        ("unshare --mount=/run/a", ["bystander", "unshare", "pin", "propagation", "exec"]),
    ],
)
def test_steps(line: str, steps: list[str]) -> None:
    """Each option adds its step at its place."""
    found = nsbox.explain(line)
    assert names(found) == steps
    for step in found.steps:
        assert step.call
        assert step.manual
        assert step.why
        assert step.name in str(found)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("unshare -p bash", "Cannot allocate memory"),
        ("unshare -fp bash", "old PID namespace"),
        ("unshare -m --mount-proc bash", "the same processes"),
        ("unshare -n bash", "ip link set lo up"),
        ("unshare -U bash", "nobody"),
        ("unshare -i bash", "/dev/shm"),
    ],
)
def test_notes_about_surprises(line: str, words: str) -> None:
    """The explanation has notes about common mistakes."""
    assert any(words in note for note in nsbox.explain(line).notes)


def test_plans() -> None:
    """A plan, a spec, options, a program with options: all show the plan that nsbox would run."""
    plan = plan_for(unshare="mip", mount_proc=True)
    expected = [step.name for step in plan.steps]
    spec = nsbox.Spec(unshare="mip", mount_proc=True)
    options: dict[str, Any] = {"unshare": "mip", "mount_proc": True}
    for found in (
        nsbox.explain(plan), nsbox.explain(spec), nsbox.explain(**options), nsbox.explain(["make", "check"], **options),
        nsbox.explain("make", **options),
    ):  # fmt: skip
        assert names(found) == expected
    found = nsbox.explain(["make", "check"], unshare="mip", mount_proc=True)
    assert found.command == "unshare --mount --pid --ipc --fork --kill-child --mount-proc make check"
    assert found.steps[-1].command == "exec make check"
    assert names(nsbox.explain("nsbox run make check")) == expected


def test_everything_has_its_command() -> None:
    """Each step that a command can do by hand has the command."""
    launch: dict[str, Any] = {
        "cwd": b"/srv",
        "umask": 0o27,
        "start_new_session": True,
        "groups": (1, 2),
        "gid": 3,
        "uid": 4,
    }
    plan = plan_for(
        launch, unshare="UmpiunCT", mount_proc=True, hostname="box", domainname="d", pid_max=400, boottime=1,
        no_new_privs=True,
    )  # fmt: skip
    commands = {step.name: command_for(step.name, data_of(step.calls)) for step in plan.steps}
    assert commands["hostname"] == "hostname box"
    assert commands["pid_max"] == "printf '%s\\n' 400 > /proc/sys/kernel/pid_max"
    assert commands["loopback"] == "ip link set lo up"
    assert commands["chdir"] == "cd /srv"
    assert commands["umask"] == "umask 27"
    assert commands["set groups"] == "setpriv --groups 1,2 PROGRAM"
    assert commands["setgid"] == "setpriv --regid 3 PROGRAM"
    assert commands["setuid"] == "setpriv --reuid 4 PROGRAM"
    assert commands["unshare time"] == "unshare --time --propagation=unchanged"
    nothing = {"exec init", "await maps", "descriptors", "signals", "fork"}
    assert {name for name, command in commands.items() if not command} <= nothing


class _Table(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.depth, self.rows, self.text = 0, 0, ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.depth += 1
        self.rows += tag == "tr"

    def handle_endtag(self, tag: str) -> None:
        self.depth -= 1

    def handle_data(self, data: str) -> None:
        self.text += data


def test_forms() -> None:
    """Text, an escaped HTML table for notebooks, and data."""
    found = nsbox.explain(["unshare", "-u", "<b>", "a&b"])
    bundle = found._repr_mimebundle_()
    assert bundle["text/plain"] == str(found)
    table = _Table()
    table.feed(bundle["text/html"])
    assert (table.depth, table.rows) == (0, len(found.steps) + 1)
    assert '"<b>"' in table.text
    assert "a&b" in table.text
    assert json.loads(json.dumps(found.data()))["steps"][0]["call"] == "unshare(CLONE_NEWUTS)"
    assert repr(found) == "<explanation of \"unshare -u '<b>' 'a&b'\": 2 steps>"


@pytest.mark.parametrize(
    "what",
    ["mount -t proc proc /proc", "", "unshare --bogus", "nsenter -m", "nsenter -Z", "unshare 'open", [], 5, "nsbox ps"],
)
def test_wrong_arguments(what: object) -> None:
    """Anything that cannot be explained raises SpecError."""
    with pytest.raises(nsbox.SpecError):
        nsbox.explain(what)


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`nsbox explain -- unshare ...` prints the same."""
    assert main(["explain", "--", "unshare", "-mipf"]) == 0
    assert "CLONE_NEWPID" in capsys.readouterr().out
    assert main(["explain", "--json", "unshare", "-mipf"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "unshare -mipf"
    assert main(["explain", "--help"]) == 0
    assert main(["explain", "ls"]) == 1
    assert main(["explain"]) == 1
    assert "what can be: unshare, nsenter, nsbox run, docker run" in capsys.readouterr().err
    assert main(["explain", "nsenter", "-t", "1", "-u"]) == 0
    assert "setns(</proc/1/ns/uts>, CLONE_NEWUTS)" in capsys.readouterr().out


# The grammar and the literals.


LETTERED = [option for option in OPTIONS if option.letter and (not option.value or option.optional)]


@given(st.lists(st.sampled_from(LETTERED), min_size=1, max_size=8))
def test_clusters_and_long_names_are_the_same(chosen: list[Option]) -> None:
    """`-mip` is `-m -i -p` is `--mount --ipc --pid`."""
    expected = [(option, None) for option in chosen]
    cluster = "-" + "".join(option.letter for option in chosen)
    assert parse(OPTIONS, [cluster, "x", "-y"]) == (expected, ["x", "-y"])
    assert parse(OPTIONS, [f"-{option.letter}" for option in chosen]) == (expected, [])
    assert parse(OPTIONS, [f"--{option.name}" for option in chosen] + ["--", "-x"]) == (expected, ["-x"])


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0")), max_size=6))
def test_any_words(words: list[str]) -> None:
    """Any words are parsed or refused, without a crash."""
    try:
        request = request_of(words)
    except UsageError:
        return
    assert set(request.program) <= set(words)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_literals(text: str) -> None:
    """A literal is printable ASCII, and evaluates to the text."""
    literal = str(Call("chdir", path=text))[len("chdir(") : -1]
    assert re.fullmatch(r'"[ -~]*"', literal)
    plain = literal[1:-1]
    assert plain.encode().decode("unicode_escape").encode("latin-1") == os.fsencode(text)


def test_environment_of_run() -> None:
    """`nsbox run --clear-env` keeps the variables that are named."""
    last = nsbox.explain("nsbox run -m --whitelist-env=PATH,NO_SUCH_VARIABLE true").steps[-1]
    assert last.name == "exec"
    assert last.call.endswith(", 1 variable)")
    assert nsbox.explain("nsbox run -m --clear-env true").steps[-1].call.endswith(", 0 variables)")
