"""Answers of students: every usual form of a right one, and what is said of a wrong one."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy
import pytest
from nsbox import quiz
from nsbox.views.answers import what_is_wrong

KINDS = {"mount", "pid", "ipc"}


@pytest.mark.parametrize(
    ("right", "answers"),
    [
        (7, [7, "7", " 7\n", 7.0, numpy.int64(7), "+7"]),
        (True, [True, "yes", "True", " TRUE ", numpy.bool_(True)]),
        (False, [False, "no", "false"]),
        ("lab", ["lab", "lab\n", b"lab", pathlib.PurePath("lab")]),
        ((4321, 1), [(4321, 1), [4321, 1], "4321 1", "4321, 1", "(4321, 1)", "4321 -> 1", "4321\t1", ["4321", "1"],
                     numpy.array([4321, 1])]),
        ((1,), [(1,), [1], 1, "1"]),
        ((), [(), [], "", "()"]),
        (KINDS, [KINDS, ["mnt", "pid", "ipc"], ("mount", "ipc", "pid"), "mip", "-mip", "mnt pid, ipc", "mnt,pid,ipc",
                 "m i p", "MNT PID IPC", ["CLONE_NEWNS", "CLONE_NEWPID", "clone_newipc"], "{'mount', 'pid', 'ipc'}",
                 b"mip", frozenset(KINDS), dict.fromkeys(KINDS)]),
        ({"user"}, ["U", "user", {"user"}, ["User"]]),
        ({"uts"}, ["u", "uts", "UTS"]),
        ({"net"}, ["n", "net", "network"]),
        ({"lo", "veth0"}, [{"lo", "veth0"}, ["veth0", "lo"], "lo veth0", "lo, veth0", "['lo', 'veth0']"]),
        (set(), [set(), [], ""]),
    ],
)  # fmt: skip
def test_right_in_every_form(right: Any, answers: list[Any]) -> None:
    """Each form says the same."""
    wrong = {repr(answer): said for answer in answers if (said := what_is_wrong(answer, right)) is not None}
    assert not wrong


@pytest.mark.parametrize(
    ("right", "answer", "said"),
    [
        (7, 8, ""), (7, "8", ""), (7, True, "a number is asked for"), (1, True, "a number is asked for"),
        (7, "seven", "a number is asked for"), (7, 7.5, "a number is asked for"), (7, None, "a number is asked for"),
        (7, [7], "a number is asked for"),
        (True, False, ""), (True, "no", ""), (True, 1, "True or False is asked for"),
        (False, None, "True or False is asked for"),
        ("lab", "other", ""), ("lab", "Lab", "it differs only in capital letters"),
        ("lab", 3, "a text is asked for, in quotes"),
        ("3", 3, "a text is asked for, in quotes"), ("", "tmpfs", ""),
        ((4321, 1), (1, 4321), "right numbers, other order"), ((4321, 1), (4321, 2), "1 of 2 are right"),
        ((4321, 1), 4321, "2 numbers are asked for, and 1 given"), ((1,), "1 2", "1 number is asked for, and 2 given"),
        ((4321, 1), ("a", 1), "numbers are asked for, in their order: (1, 2) or '1 2'"),
        (KINDS, "mi", "2 of 3 are right"), (KINDS, "min", "2 of 3 are right, and 1 name is not among them"),
        (KINDS, "mipnu", "2 names are not among them"), (KINDS, "", "0 of 3 are right"),
        (KINDS, "nonsense", "0 of 3 are right, and 1 name is not among them"),
        (KINDS, 3, "names are asked for: {'one', 'another'} or 'one another'"),
        ({"user"}, "u", "0 of 1 are right, and 1 name is not among them"),
        ({"lo"}, "lo eth0", "1 name is not among them"), (set(), "lo", "1 name is not among them"),
    ],
)  # fmt: skip
def test_what_is_wrong(right: Any, answer: Any, said: str) -> None:
    """The right answer is not told, but how far the given one is right."""
    assert what_is_wrong(answer, right) == said


def test_the_message() -> None:
    """It has the answer, what is wrong with it, and where to look."""
    fact = quiz.measured((4321, 1), "NSpid")
    with pytest.raises(quiz.WrongAnswerError) as caught:
        quiz.check([1, 4321], fact)
    assert str(caught.value) == "wrong answer: [1, 4321]: right numbers, other order\nnext: look at NSpid"
    with pytest.raises(quiz.WrongAnswerError, match=r"^wrong answer: 8\nnext: look at NSpid$"):
        quiz.check(8, quiz.measured(7, "NSpid"))
    assert "right: '4321 1'" in str(quiz.check("4321 1", fact))
