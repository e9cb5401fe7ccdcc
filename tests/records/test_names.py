"""Names that a program has chosen, as text for a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nsbox
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox import Process
from nsbox.assertions import assert_init, assert_isolated, assert_mounted, assert_no_leftovers
from nsbox.records.names import safe, safe_lines
from nsbox.records.written import WrittenFile
from nsbox.seeing.leftovers import describe
from nsbox.tasks.within import Within
from nsbox.transcript import read
from nsbox.transcript.session import check
from nsbox.views import written_table

HOSTILE = "\x1b]0;owned\x07\r\x9b2J\u202ex\n"
"""Sets the title of a terminal, goes back to the begin of the line, clears the screen (C1), and reverses the text."""


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bash", "bash"), ("größe 文", "größe 文"), ("\x1b[2J", r"\x1b[2J"), ("a\nb\tc\r", r"a\x0ab\x09c\x0d"),
        ("\x9b", r"\xc2\x9b"), ("\u202e", r"\xe2\x80\xae"), ("\udcff", r"\xff"), ("\ud800", r"\xed\xa0\x80"),
        ("\x7f\0", r"\x7f\x00"),
    ],
)  # fmt: skip
def test_escapes(text: str, shown: str) -> None:
    """What is not printable is escaped byte by byte; in lines, breaks and tabs stay."""
    assert safe(text) == shown
    assert safe_lines(f"1\t{text}\n2") == f"1\t{shown}\n2" or {"\n", "\t"} & set(text)


@pytest.mark.pure
@given(st.text(st.characters()))
def test_any_text(text: str) -> None:
    """Nothing remains that is not printable, and nothing raises an exception."""
    assert safe(text).isprintable()
    assert all(part.isprintable() for line in safe_lines(text).split("\n") for part in line.split("\t"))


def is_clean(text: str) -> bool:
    """Return whether a text has only printable characters, line breaks and tabs."""
    return safe_lines(text) == text


@pytest.mark.pure
def test_records() -> None:
    """The texts of records."""
    name = HOSTILE.encode()
    process = Process(
        pid=5, ppid=1, pgid=5, sid=5, state="S", comm=name, kernel_thread=False, start_ticks=1, pids=(5, 2),
        cmdline=(name, name),
    )  # fmt: skip
    for text in (repr(process), process.name, process.command, describe(process)):
        assert is_clean(text)
    file = WrittenFile(f"/{HOSTILE}", "created", "file", 1, 0o644)
    assert is_clean(written_table.table([file], [f"/{HOSTILE}: not read"]))
    assert not (set("\x1b\x07\r\x9b\u202e") & set(written_table.html([file], [HOSTILE])))


def test_assertions(tmp_path: Path) -> None:
    """The messages of failed assertions name the process."""
    # The kernel takes 15 bytes of the name of the file.
    program = tmp_path / "\x1b[2J\x9bsleep"
    program.symlink_to("/bin/sleep")
    with nsbox.Box("pid mount") as box, box.Popen([program, "4733"]) as process:
        messages = [
            failure(assert_isolated, process.pid, "net"),
            failure(assert_init, process.pid),
            failure(assert_mounted, process.pid, "/proc/sys"),
            failure(assert_no_leftovers, box),
        ]
        process.kill()
    assert all(messages)
    assert all(map(is_clean, messages))
    assert r"(\x1b[2J\xc2\x9bsleep)" in messages[0]


def failure(assertion: object, *args: object) -> str:
    """Return the message of an assertion that fails."""
    assert callable(assertion)
    with pytest.raises(AssertionError) as caught:
        assertion(*args)
    return str(caught.value)


def test_file_systems() -> None:
    """The type of a file system has a part that the program has chosen that serves it (fuse(4))."""
    # The name of a tmpfs is its source, which is shown as well.
    with nsbox.Box("pid mount") as box:
        box.mount("\x1b[2Jsource", "/mnt", "tmpfs")
        message = failure(assert_mounted, box, "/mnt", "proc")
        assert "tmpfs is mounted there" in message
        assert is_clean(str(nsbox.mounts(box)))


def test_transcripts(tmp_path: Path) -> None:
    """The output of a handout's commands, in the difference; the result itself has it as it is."""
    handout = tmp_path / "page.t"
    handout.write_text("  $ printf '\\033[2Jx\\r\\n'\n  right\n")
    checked = check(read(handout))
    assert not checked.passed
    assert "\x1b" in checked.results[0].why
    assert is_clean(str(checked))
    shown = subprocess.run(
        [sys.executable, "-m", "nsbox", "check", handout], capture_output=True, text=True, check=False
    )
    assert r"+\x1b[2Jx" in shown.stdout
    assert is_clean(shown.stdout)


def test_stacks() -> None:
    """The stacks of a test that was ended are in a file that the test can write."""

    def hangs() -> None:
        for name in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{name}")
                if "nsbox-stack" in target:
                    os.write(int(name), b"\x1b[2Jforged\n")
            except OSError:
                continue
        os.write(ready, b"x")
        os.read(never, 1)

    reader, ready = os.pipe()
    never, _keeps = os.pipe()
    try:
        with nsbox.Box("uts") as box, Within(box, hangs) as within:
            os.read(reader, 1)
    finally:
        for fd in (reader, ready, never, _keeps):
            os.close(fd)
    assert within.stack.startswith(r"\x1b[2Jforged")
