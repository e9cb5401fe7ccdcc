"""Transcripts, run in real shells."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import nsbox
import pytest
from nsbox.cli import main
from nsbox.transcript import Checked, check, read, updated

from tests.support.census import reaped_all, wait_until
from tests.support.forked import Who

ROOT = Path(__file__).parents[2]
HANDOUT = ROOT / "examples" / "handout.md"
EXERCISE = Path(os.environ.get("NSBOX_EXERCISE", ROOT.parent / "shared" / "exercise-2.txt"))

NESTED = """
    <!-- nsbox: mask pid -->

    ```console
    $ echo $$
    7128
    $ unshare -mipf
    $ echo $$
    1
    $ mount -t proc none /proc
    $ echo /proc/[0-9]*
    /proc/1
    $ unshare -mipf
    $ mount -t proc none /proc; echo /proc/[0-9]*
    /proc/1
    $ exit
    $ exit
    $ echo $$
    7128
    ```
"""


@pytest.fixture
def written(place: Path) -> Callable[..., Path]:
    """Write a text as a file that every user can read."""

    def write(text: str, name: str = "page.md") -> Path:
        path = place / name
        path.write_text(textwrap.dedent(text))
        path.chmod(0o666)
        return path

    return write


def checked(who: Who, path: Path, unshare: str = "mount", **options: object) -> Checked:
    """Check a file as this user."""
    transcript = read(path)
    return who(lambda: check(transcript, unshare, **options))  # type: ignore[arg-type]


def outcomes(result: Checked) -> list[str]:
    """Return the verdict of each step."""
    return [step.outcome for step in result.results]


@pytest.mark.parametrize("unshare", ["mount", "pid", "user mount pid ipc net uts"])
def test_nested_shells(who: Who, written: Callable[..., Path], unshare: str) -> None:
    """Commands that start and end nested shells are followed."""
    result = checked(who, written(NESTED), unshare, mount_proc="pid" in unshare)
    # In a PID namespace the outermost shell has a small PID, which masks do not replace.
    wrong = [step for step in result.results if step.outcome != "passed" and step.step.expected != ("7128",)]
    assert not wrong, str(result)
    pids = [step.pid for step in result.results]
    assert pids[0] == pids[-1] != 1
    assert pids[1:-2] == [1] * 7


def test_the_handout(who: Who) -> None:
    """The outputs in the handout are those of this machine."""
    result = checked(who, HANDOUT)
    assert result.passed, str(result)
    assert len(result.results) == 19


@pytest.mark.skipif(not EXERCISE.exists(), reason="the workshop's own text is not part of this project")
def test_the_exercise(who: Who) -> None:
    """Every command of the workshop works, and the PIDs of shells are those in the text."""
    if not who.is_root and not os.access(EXERCISE, os.R_OK):
        pytest.skip("the workshop's text cannot be read by everybody")
    transcript = read(EXERCISE)
    result = who(lambda: check(transcript, commands_only=True))
    assert result.passed, str(result)
    assert [step.command for step in transcript.steps] == [
        "pstree -S", "echo $$", "unshare -mipf", "echo $$", "ps aux | head -n5", "mount -t proc none /proc",
        "ps aux | head -n5",
    ]  # fmt: skip
    outer, inner = (step.output for step in result.results if step.step.command == "echo $$")
    assert inner == ("1",) != outer
    assert len(result.results[-1].output) == 4


def test_differences(who: Who, written: Callable[..., Path]) -> None:
    """Each step passes or fails by itself, with the difference."""
    result = checked(who, written("""
        ```console
        $ printf 'a\\nb\\n'
        a
        c
        $ true
        unexpected
        $ false
        $ ls /nonexistent
        ...No such file or directory
        [2]
        $ echo fine
        fine
        $ printf 'no newline'
        no newline
        ```
    """))  # fmt: skip
    assert outcomes(result) == ["failed", "failed", "failed", "passed", "passed", "passed"]
    assert [step.why for step in result.results[:3]] == [
        "--- expected\n+++ actual\n a\n-c\n+b",
        "--- expected\n+++ actual\n-unexpected",
        "exit status 1, expected 0",
    ]
    assert not result.passed


def test_a_step_that_hangs(who: Who, written: Callable[..., Path]) -> None:
    """A step that hangs fails with its output so far, and the next one is run; an unusable shell is reported."""
    result = checked(who, written("""
        <!-- nsbox: timeout 0.5 -->
        ```console
        $ echo so far; sleep 4721
        $ echo next
        next
        $ trap '' INT; while :; do :; done
        $ echo never
        never
        ```
    """))  # fmt: skip
    assert outcomes(result) == ["failed", "passed", "failed", "not run"]
    assert result.results[0].why == "timeout after 0.5 seconds; output so far:\nso far"
    assert "had exited before" in result.results[3].why


@pytest.mark.parametrize("unshare", ["mount", "pid"])
def test_nothing_is_left(who: Who, written: Callable[..., Path], unshare: str) -> None:
    """No daemon, mount or file is left: the census of every test checks the first two."""
    # A name of this test's own: tests run at the same time, as different users.
    note = Path(f"/dev/shm/nsbox-test-pwd-{os.getpid()}-{who.name}")
    path = written(f"""
        ```console
        $ (setsid sleep 4722 &)
        $ unshare -mipf
        $ (setsid sleep 4723 &)
        $ mkdir mounted; mount -t tmpfs none mounted; touch mounted/file file
        $ pwd > {note}
        ```
    """)
    result = checked(who, path, unshare)
    assert result.passed, str(result)
    assert not Path(note.read_text().strip()).exists()
    note.unlink()
    assert wait_until(lambda: not {"sleep 4722", "sleep 4723"} & {process.command for process in nsbox.ps()})
    assert wait_until(reaped_all)


def test_mounts_stay_inside(who: Who, written: Callable[..., Path]) -> None:
    """A mount typed before any unshare does not reach the machine."""
    before = Path("/proc/self/mountinfo").read_text()
    result = checked(who, written("```console\n$ mount -t tmpfs none /mnt\n$ touch /mnt/here\n```\n"))
    assert result.passed, str(result)
    assert Path("/proc/self/mountinfo").read_text() == before
    assert not Path("/mnt/here").exists()


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        (
            "page.md",
            "```console\n$ printf 'a\\nb\\nc\\n'\n...\nb\nx\n$ true\nwrong\n$ false\n$ echo new\n```\n\nEnd.\n",
            "```console\n$ printf 'a\\nb\\nc\\n'\na\nb\nc\n$ true\n$ false\n[1]\n$ echo new\nnew\n```\n\nEnd.\n",
        ),
        (
            "page.md",
            "<!-- nsbox: mask pid -->\n```sh\necho $$ x\n```\n\n```\n7128 y\n```\n",
            None,
        ),
        ("page.t", "Prose\n  $ echo '$ a'; echo; echo '['\n  $ (exit 3)\n  [4]\nEnd\n",
         "Prose\n  $ echo '$ a'; echo; echo '['\n  \\$\\ a (re)\n  \n  [\n  $ (exit 3)\n  [3]\nEnd\n"),
        ("page.adoc", "[source,bash]\n----\necho new\n----\n....\nold\n....\n",
         "[source,bash]\n----\necho new\n----\n....\nnew\n....\n"),
        ("page.txt", "echo new\nold\n\nProse.\n", "echo new\nnew\n\nProse.\n"),
        ("page.txt", "$ echo '```'; echo '$ no'; echo ...\n\nProse.\n",
         "$ echo '```'; echo '$ no'; echo ...\n``` (re)\n\\$\\ no (re)\n\\.\\.\\. (re)\n\nProse.\n"),
    ],
)  # fmt: skip
def test_update(written: Callable[..., Path], name: str, before: str, after: str | None) -> None:
    """Only outputs that differed are rewritten; afterwards the transcript passes."""
    path = written("", name)
    path.write_text(before)
    result = check(path)
    text = updated(result)
    assert text == after or (after is None and text != before)
    path.write_text(text)
    again = check(path)
    assert again.passed, str(again)
    assert updated(again) == text


def test_command(written: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """``nsbox check`` prints a line for each step, and its status is the result."""
    good, bad = written("$ true\n", "good.txt"), written("$ echo a\nb\n", "bad.txt")
    assert main(["check", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: 1 of 1 steps passed\nok      1  true\n"
    assert main(["check", str(good), str(bad)]) == 1
    assert (
        "FAIL    1  echo a\n           --- expected\n           +++ actual\n           -b\n           +a\n"
        in capsys.readouterr().out
    )
    assert main(["check", "--list", str(bad)]) == 0
    assert capsys.readouterr().out == f"{bad}:1: echo a\n"
    assert main(["check", "--update", str(bad)]) == 1
    assert bad.read_text() == "$ echo a\na\n"
    assert main(["check", "--json", str(bad)]) == 0
    assert '"command": "echo a", "outcome": "passed"' in capsys.readouterr().out
    assert main(["check", str(written("prose\n", "empty.md"))]) == 2
    assert main(["check", "/nonexistent.md"]) == 1
    assert main(["check", "--mask", "pids", str(good)]) == 2


def test_killed(written: Callable[..., Path]) -> None:
    """If the command is killed by SIGKILL, it leaves an empty directory, which it cannot remove, and nothing else."""
    path = written("```console\n$ touch file; (setsid sleep 4724 &) ; sleep 4725\n```\n")
    command = [sys.executable, "-m", "nsbox", "check", str(path)]
    environment = {**os.environ, "TMPDIR": str(path.parent)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as running:
        assert wait_until(lambda: "sleep 4725" in {process.command for process in nsbox.ps()}, 20)
        running.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not {"sleep 4724", "sleep 4725"} & {process.command for process in nsbox.ps()}, 10)
    assert wait_until(reaped_all)
    (directory,) = path.parent.glob("nsbox-check-*")
    assert not list(directory.iterdir())
