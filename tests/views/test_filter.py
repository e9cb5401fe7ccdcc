"""Expressions that select rows: the grammar and the comparisons of scols-filter(5)."""

from __future__ import annotations

import nsbox
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.views.filter import Filter

pytestmark = pytest.mark.pure

CELLS = {
    "NS": "4026531836",
    "NPROCS": "3",
    "PID": "1",
    "TYPE": "pid",
    "COMMAND": "/sbin/init -z",
    "NETNSID": None,
    "ZERO": "0",
}
NUMBERS = {"NS", "NPROCS", "PID", "ZERO"}


def matches(expression: str) -> bool:
    """Whether the expression is true for the row."""
    return Filter(expression, CELLS, NUMBERS).matches(CELLS)


@pytest.mark.parametrize(
    "expression",
    [
        "NPROCS == 3", "nprocs eq 3", "NPROCS != 2", "NPROCS ne 4", "NPROCS < 4", "NPROCS le 3", "NPROCS >= 3",
        "NPROCS gt 2", "3 == NPROCS", "NPROCS<1K", "1KiB > NPROCS", "NPROCS > 2.5", "TYPE == 'pid'", 'TYPE eq "pid"',
        "TYPE != 'net'", "TYPE > 'net'", "COMMAND =~ '^/sbin/'", "COMMAND !~ 'bash'", "NPROCS =~ '^3$'", "NS > PID",
        "TYPE", "NPROCS", "!NETNSID", "not NETNSID", "NETNSID != 'x'", "NETNSID < 'a'", "true", "!false", "!ZERO", "1",
        "NPROCS == 3 && PID == 1", "NPROCS == 9 || PID == 1", "(NPROCS == 9 or PID == 1) AND TYPE == 'pid'",
        "true || true && false", "!(PID == 2)", "! PID == 2 || PID == 1", "NOT false and true", "NS == '4026531836'",
        "TYPE =~ 'p.d'", " ( ( PID ) ) ", "TYPE == ' pid '", "3 == 3.0", "NETNSID !~ '.'", "NETNSID =~ '^$'",
    ],
)  # fmt: skip
def test_true(expression: str) -> None:
    """These expressions are true."""
    assert matches(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "NPROCS == 2", "NPROCS > 3", "TYPE == 'net'", "NETNSID", "ZERO", "false", "0", "''", "NETNSID == 3",
        "NETNSID != 3", "NETNSID < 3", "TYPE == 3", "TYPE != 3", "false && true", "PID == 2 or false", "!true",
        "!!false",
    ],
)  # fmt: skip
def test_false(expression: str) -> None:
    """These are false; a comparison with a missing number is false."""
    assert not matches(expression)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "too early"), ("NPROCS ==", "too early"), ("(NPROCS", "too early"),
        ("NPROCS)", "the end was expected, at ')'"),
        ("BOGUS == 1", "unknown column: BOGUS"), ("NPROCS = 1", "'= 1'"), ("TYPE == 'pid", "''pid"),
        ("== 3", "a value"),
        ("TYPE =~ 3", "in quotes"), ("TYPE =~ '('", "no regular expression"), ("3KB", "'3KB'"), ("1 2", "the end"),
        ("TYPE =~ COMMAND", "in quotes"), ("NPROCS == 1 &&", "too early"), ("PID == and", "a value"), ("12x", "'12x'"),
    ],
)  # fmt: skip
def test_wrong(expression: str, words: str) -> None:
    """The error says what is wrong, and where."""
    with pytest.raises(nsbox.SpecError) as caught:
        matches(expression)
    assert words in str(caught.value).replace('"', "'")


@given(st.text("NPROCS &|=!<>~()'\"1.K\n", max_size=20))
def test_anything(expression: str) -> None:
    """Any text is parsed or refused."""
    try:
        found = Filter(expression, CELLS, NUMBERS)
    except nsbox.SpecError:
        return
    assert found.matches(CELLS) in (True, False)
    assert found.columns <= set(CELLS)
