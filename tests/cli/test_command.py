"""The command line as a whole: what an unknown word gets, and an output that is closed or full."""

from __future__ import annotations

import subprocess
import sys

import pytest
from nsbox.cli import COMMANDS, _output, main

NSBOX = f"{sys.executable} -m nsbox"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pstre"], "unknown command 'pstre'; did you mean 'pstree'?"),
        (["UNSHARE"], "unknown command 'UNSHARE'; did you mean 'unshare'?"),
        (["--verison"], "unknown option '--verison'; did you mean '--version'?"),
        (["pstree", "--show-pid"], "--show-pid; did you mean '--show-pids'?"),
        (["lsns", "--out-put=ns"], "--out-put=ns; did you mean '--output'?"),
        (["jupyter", "install", "--sysprefix"], "--sysprefix; did you mean '--sys-prefix'?"),
        (["lsns", "-t", "nte"], "did you mean 'net'?"),
        (["lsns", "-o", "nproc"], "unknown column: NPROC; did you mean 'NPROCS'"),
        (["lsns", "--tree=parents"], "did you mean 'parent'?"),
        (["ps", "-o", "comand"], "did you mean 'command'?"),
        (["unshare", "--map-rootuser"], "unrecognized option '--map-rootuser'\nDid you mean '--map-root-user'?"),
        (["run", "--mount_proc", "true"], "Did you mean '--mount-proc'?"),
        (["run", "--option", "hostnam=x", "true"], "hostnam: is no option of nsbox.Spec; did you mean 'hostname'?"),
        (["doctor", "--require", "pdi,user"], "'pdi' is no namespace; did you mean 'pid'?"),
        (["doctor", "--require", "networ"], "'networ' is no namespace; did you mean 'net'?"),
    ],
)
def test_did_you_mean(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) in (1, 2)
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("words", [["zzzzzz"], ["ps", "--zzzzzz"], ["unshare", "--zzzzzz"]])
def test_nothing_is_similar(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) in (1, 2)
    assert "id you mean" not in capsys.readouterr().err


def test_help_of_a_command_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "ps"]) == 0
    with_help = capsys.readouterr().out
    assert main(["ps", "--help"]) == 0
    assert with_help == capsys.readouterr().out


def test_the_overview_fits_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_the_locale_c(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Python writes UTF-8 there; less(1) and pstree(1) take the locale literally."""
    monkeypatch.setattr(_output, "is_terminal", lambda: True)
    for name, value, box in (("LC_ALL", "C", False), ("LANG", "POSIX", False), ("LANG", "C.UTF-8", True)):
        with monkeypatch.context() as changed:
            changed.delenv("LC_ALL", raising=False)
            changed.setenv(name, value)
            assert main(["pstree", "--no-pager", "1"]) == 0
            assert ("─" in capsys.readouterr().out) == box, (name, value)


PRINTING = ["--help", "", "ps --help", "unshare --help", "lsns"]


def shell(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)


def test_an_output_whose_reader_is_gone() -> None:
    """The pipe's reading end is closed before the command starts, as after `| true`."""
    for words in PRINTING:
        result = shell(f"{{ sleep 0.05; {NSBOX} {words}; echo $? >&2; }} | exec true")
        assert result.stderr == "141\n", words


def test_an_output_that_takes_nothing() -> None:
    """Closed, and full: as from other programs, a message without a traceback, and status 1."""
    for words in PRINTING:
        for output, why in ((">&-", "write error: Bad file descriptor"), (">/dev/full", "No space left on device")):
            result = shell(f"{NSBOX} {words} {output}")
            title = f"nsbox {words.split()[0]}" if words.split(" ")[0] in COMMANDS else "nsbox"
            assert (result.returncode, result.stderr) == (1, f"{title}: {why}\n"), (words, output)
