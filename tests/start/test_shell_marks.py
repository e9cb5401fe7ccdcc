"""The marks between the outputs of commands, and the output that is passed on as it arrives."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.start.shell_marks import Marks

pytestmark = pytest.mark.pure

PIECES = st.lists(
    st.one_of(st.binary(max_size=20), st.sampled_from([b"\r\n", b"\r", "ä€".encode(), b"mark", b"echo "]))
)


def echoed(marks: Marks, status: int = 0, pid: int = 7) -> bytes:
    """Return the output of a shell that echoes the next mark, on a terminal that ends lines in this way."""
    command = marks.next().decode()
    word = re.fullmatch(r'echo "(\w+):\$\?:\$\$:"\n', command)
    assert word is not None
    return f"{word[1]}:{status}:{pid}:\r\n".encode()


@given(PIECES, PIECES, st.lists(st.integers(0, 200), max_size=8))
def test_all_but_the_marks_is_passed_on(before: list[bytes], after: list[bytes], cuts: list[int]) -> None:
    """However the output is split, all but the marks is passed on, as the text of the whole."""
    marks = Marks()
    late = echoed(marks)
    whole = b"".join(before) + late + b"".join(after) + echoed(marks)
    pieces: list[str] = []
    follower = marks.follow(pieces.append)
    places = sorted({min(cut, len(whole)) for cut in (0, *cuts, len(whole))})
    for start, end in itertools.pairwise(places):
        follower.feed(whole[start:end])
    follower.feed(b"")
    assert "".join(pieces) == marks.text(whole)
    assert all(pieces)


def test_the_newest_mark_counts() -> None:
    """A late mark of an earlier command does not end the next one, and is not part of its output."""
    marks = Marks()
    late = echoed(marks, 1, 2)
    newest = echoed(marks, 130, 9)
    assert marks.seen(late) is None
    found = marks.seen(late + b"out" + newest)
    assert found is not None
    assert (found[1], found[2]) == (b"130", b"9")
    assert marks.text((late + b"out" + newest)[: found.start()]) == "out"


def test_a_possible_mark_is_held_back() -> None:
    """Bytes that may become a mark are held back until they are one, or are not."""
    marks = Marks()
    mark = echoed(marks)
    pieces: list[str] = []
    follower = marks.follow(pieces.append)
    follower.feed(b"out" + mark[:10])
    assert pieces == ["out"]
    follower.feed(b"!")
    assert "".join(pieces) == "out" + mark[:10].decode() + "!"
    follower.feed(mark[:10])
    follower.feed(mark[10:])
    follower.feed(b"")
    assert "".join(pieces) == "out" + mark[:10].decode() + "!"


def test_a_program_that_shows_the_line_for_the_shell() -> None:
    """cat, which reads the terminal in the shell's place, shows the line for the shell."""
    marks = Marks()
    assert marks.text(b"a\r\n" + marks.next().replace(b"\n", b"\r\n")) == "a\n"
