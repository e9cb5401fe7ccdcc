"""Completion of shells, and the man pages: every command and option is in them."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import nsbox
import pytest
from nsbox.cli import COMMANDS, main
from nsbox.cli._arguments import parser_of
from nsbox.cli.completion import SHELLS
from nsbox.cli.explain import OPTIONS as EXPLAIN
from nsbox.command.nsenter.request import OPTIONS as NSENTER
from nsbox.command.unshare.request import OPTIONS as UNSHARE
from nsbox.command.unshare.request import RUN_OPTIONS as RUN

PAGES = Path(__file__).parents[2] / "wheel/data/share/man/man1"
TABLES = {"unshare": UNSHARE, "nsenter": NSENTER, "run": RUN, "explain": EXPLAIN}


def options_of(command: str) -> list[str]:
    """Return the long options of a command."""
    if command in TABLES:
        return [f"--{option.name}" for option in TABLES[command] if option.name != "help"]
    parser = parser_of(command, "", import_module(f"nsbox.cli.{command}"))
    return [option for option in re.findall(r"--[a-z-]+", parser.format_help()) if option != "--help"]


@pytest.mark.pure
def test_the_man_pages_have_every_option() -> None:
    overview = (PAGES / "nsbox.1").read_text()
    for command, meaning in COMMANDS.items():
        assert meaning in overview
        page = (PAGES / f"nsbox-{command}.1").read_text().replace("\\-", "-")
        for option in options_of(command):
            assert option in page, (command, option, "make stubs")


@pytest.mark.pure
@pytest.mark.parametrize("shell", SHELLS)
def test_the_completions_have_every_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", text)
        for option in options_of(command):
            name = option.removeprefix("--") if shell == "fish" else option
            assert name in text, (command, option, "make stubs")


def test_completion_in_bash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = (
        capsys.readouterr().out
        + """
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _shtab_nsbox; echo "${COMPREPLY[*]}"; }
try nsbox pst
try nsbox lsns --no
try nsbox lsns -t n
try nsbox run -m --mount-proc base64
"""
    )
    # The script of shtab leaves processes to init: those of its process substitutions.
    result = nsbox.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    found = [line.split() for line in result.stdout.splitlines()]
    assert found[0] == ["pstree"]
    assert found[1] == ["--no-pager", "--noheadings", "--notruncate", "--nowrap"]
    assert found[2] == ["net"]
    assert "base64" in found[3]
