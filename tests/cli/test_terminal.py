"""The output on a terminal: colours, and the pager."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest
from nsbox.cli import _output, main

LONG = ["explain", "unshare", "-mipf", "--mount-proc", "bash"]
MARKED = "sed s/^/page:/"
"""A pager whose output can be recognized."""
_VARIABLES = ("PAGER", "NSBOX_PAGER", "LESS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the output be taken for a terminal of 3 lines."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("PAGER", MARKED)
    monkeypatch.setattr(_output, "is_terminal", lambda: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda fd=1: os.terminal_size((80, 3)))
    return monkeypatch


def paged(words: list[str], capfd: pytest.CaptureFixture[str]) -> bool:
    """Run a command; return whether its output went through the pager."""
    assert main(words) == 0
    text = capfd.readouterr().out
    assert text.count("\n") > 2
    return "page:" in text


@pytest.mark.parametrize("words", [["ps"], ["pstree", "-p"], ["lsns"], ["doctor"], LONG])
def test_long_output_is_for_the_pager(
    words: list[str], terminal: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert paged(words, capfd)
    assert not paged([words[0], "--no-pager", *words[1:]], capfd)
    assert not paged(["--no-pager", *words], capfd)


def test_when_there_is_no_pager(terminal: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for name, value in (
        ("TERM", "dumb"), ("PAGER", ""), ("NSBOX_PAGER", "cat"), ("PAGER", "/nonexistent/pager 2>/dev/null"),
    ):  # fmt: skip
        with terminal.context() as changed:
            changed.setenv(name, value)
            assert not paged(LONG, capfd), (name, value)
    terminal.setattr(os, "get_terminal_size", lambda fd=1: os.terminal_size((80, 500)))
    assert not paged(LONG, capfd)


def test_colours(terminal: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    changes: tuple[tuple[dict[str, str], bool], ...] = (
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"CLICOLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "CLICOLOR_FORCE": "1"}, True),
    )
    for words in (LONG, ["doctor"]):
        for variables, coloured in changes if words is LONG else changes[:2]:
            with terminal.context() as changed:
                changed.setenv("PAGER", "cat")
                for name, value in variables.items():
                    changed.setenv(name, value)
                main(words)
            assert ("\x1b[" in capfd.readouterr().out) == coloured, variables


def test_colours_in_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    main(LONG)
    plain = capsys.readouterr().out
    assert "\x1b[" not in plain
    for name, value, coloured in (
        ("FORCE_COLOR", "0", False),
        ("FORCE_COLOR", "1", True),
        ("CLICOLOR_FORCE", "1", True),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            main(LONG)
        assert (capsys.readouterr().out != plain) == coloured


def on_terminal(words: list[str], pager: str) -> tuple[int, str]:
    """Run a command with a terminal of 24 lines of 40 columns; return its status and what it writes."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    environment |= {"TERM": "xterm", "PAGER": pager}
    process = subprocess.Popen(
        [sys.executable, "-m", "nsbox", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 1 << 16):
            text += piece
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    return process.wait(), text.decode().replace("\r\n", "\n")


def test_a_pager_on_a_real_terminal() -> None:
    status, text = on_terminal(LONG, MARKED)
    assert status == 0
    assert all(line.startswith("page:") for line in text.splitlines())
    # As after q in less(1): no message, and the status of the command.
    assert on_terminal(LONG, "head -n 1 >/dev/null") == (0, "")
    # Ctrl-C belongs to the pager.
    assert on_terminal(LONG, "kill -INT $PPID; cat >/dev/null; echo end") == (0, "end\n")


def test_a_narrow_terminal() -> None:
    _, text = on_terminal(["lsns"], "cat")
    # A table is not narrower than its headings; commands are cut.
    heading, *lines = text.splitlines()
    assert max(map(len, lines)) <= max(40, len(heading))
