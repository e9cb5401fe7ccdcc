"""The output on a terminal: colours, and the pager."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios

import pytest
from nsbox.cli import main


def on_terminal(words: list[str], lines: int = 24, columns: int = 80, **variables: str) -> tuple[int, str]:
    """Run a command with a terminal as its output; return its status and what it writes."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    known = ("PAGER", "NSBOX_PAGER", "LESS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS")
    environment = {name: value for name, value in os.environ.items() if name not in known}
    environment |= {"TERM": "xterm", **variables}
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


LONG = ["explain", "unshare", "-mipf", "--mount-proc", "bash"]
MARKED = "sed s/^/page:/"
"""A pager whose output can be recognized."""


def test_long_output_is_for_the_pager() -> None:
    status, text = on_terminal(LONG, PAGER=MARKED)
    assert status == 0
    assert all(line.startswith("page:") for line in text.splitlines())
    # Not where it fits, nor where it is turned off, nor on a dumb terminal.
    for words, variables in (
        (LONG, {"PAGER": MARKED, "TERM": "dumb"}),
        (LONG, {"PAGER": ""}),
        (LONG, {"PAGER": MARKED, "NSBOX_PAGER": "cat"}),
        (["--no-pager", *LONG], {"PAGER": MARKED}),
        (["explain", "--no-pager", *LONG[1:]], {"PAGER": MARKED}),
        (LONG, {"PAGER": "/nonexistent/pager 2>/dev/null"}),
    ):
        status, text = on_terminal(words, **variables)
        assert (status, "page:" in text, "CLONE_NEWPID" in text) == (0, False, True), (words, variables)
    assert "page:" not in on_terminal(LONG, lines=200, PAGER=MARKED)[1]


@pytest.mark.parametrize("words", [["ps"], ["pstree", "-p"], ["lsns"], ["doctor"]])
def test_commands_with_a_pager(words: list[str]) -> None:
    assert "page:" in on_terminal(words, lines=3, PAGER=MARKED)[1]
    assert "page:" not in on_terminal([*words, "--no-pager"], lines=3, PAGER=MARKED)[1]


def test_a_pager_that_does_not_read_everything() -> None:
    """As after q in less(1): no message, and the status of the command."""
    assert on_terminal(["ps"], lines=3, PAGER="head -n 1 >/dev/null") == (0, "")


def test_colours() -> None:
    for variables, coloured in (
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"CLICOLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "CLICOLOR_FORCE": "1"}, True),
    ):
        _, text = on_terminal(LONG, PAGER="cat", **variables)
        assert ("\x1b[" in text) == coloured, variables


def test_colours_in_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    main(LONG)
    plain = capsys.readouterr().out
    assert "\x1b[" not in plain
    monkeypatch.setenv("FORCE_COLOR", "0")
    main(LONG)
    assert capsys.readouterr().out == plain
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.setenv(name, "1")
        main(LONG)
        assert "\x1b[1m" in capsys.readouterr().out
        monkeypatch.delenv(name)


def test_a_narrow_terminal() -> None:
    for words in (["ps"], ["lsns"], ["pstree", "-p"]):
        _, text = on_terminal(words, columns=40, PAGER="cat")
        # A table is not narrower than its headings; commands are cut.
        assert all(len(line) <= 60 for line in text.splitlines()), words


def test_ctrl_c_belongs_to_the_pager() -> None:
    handler = signal.getsignal(signal.SIGINT)
    assert on_terminal(["ps"], lines=3, PAGER="kill -INT $PPID; cat >/dev/null; echo end") == (0, "end\n")
    assert signal.getsignal(signal.SIGINT) is handler
