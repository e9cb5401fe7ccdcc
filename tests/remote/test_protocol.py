"""The protocol between a caller and a Python inside: frames and output in pieces of any size, any exception."""

from __future__ import annotations

import copy
import os
import pickle
import socket
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import nsbox
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.remote import protocol as remote
from nsbox.remote.exchange import Ends, Exchange, decoded

from tests.support.callees import OddError

pytestmark = pytest.mark.pure

TOKEN = b"t" * remote.TOKEN_BYTES
PIECES = st.lists(st.binary(max_size=300), max_size=8)


def result_from(pieces: list[bytes], output: list[bytes] | None = None) -> tuple[Any, str]:
    """Return the result of an exchange whose reply arrives in pieces, with output before each of them."""
    ends = Ends()
    exchange = Exchange(ends.mine)
    printed: list[str] = []

    def other_end() -> None:
        for at, piece in enumerate(pieces):
            if output:
                os.write(ends.theirs[2].fileno(), output[at % len(output)])
            os.write(ends.theirs[1].fileno(), piece)
        ends.close_theirs()

    thread = threading.Thread(target=other_end)
    thread.start()
    try:
        return exchange.ask((), TOKEN, None, decoded(printed.append)), "".join(printed)
    except EOFError:
        return None, "".join(printed)
    finally:
        thread.join()
        exchange.close()


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2010), max_size=5))
def test_frames_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    """Frames are reassembled; without the last byte they are incomplete."""
    whole = remote.frame(remote.RETURNED, TOKEN, data)
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    assert result_from(pieces)[0] == (remote.RETURNED, data)
    pieces[-1] = pieces[-1][:-1]
    if b"".join(pieces) != whole:
        assert result_from(pieces)[0] is None


@given(st.text(max_size=200), st.integers(1, 7))
def test_output_in_any_pieces(text: str, size: int) -> None:
    """Characters that are cut in two are reassembled."""
    data = text.encode(errors="surrogatepass")
    text = data.decode(errors="replace")
    output = [data[at : at + size] for at in range(0, len(data), size)]
    whole = remote.frame(remote.RETURNED, TOKEN, b"x" * max(len(output), 1))
    pieces = [whole[at : at + 1] for at in range(len(whole))]
    _, printed = result_from([*pieces[: len(output)], b"".join(pieces[len(output) :])], output or None)
    assert printed.startswith(text)


def test_receive_and_send() -> None:
    """The Python inside sends and receives over blocking sockets, with more than a buffer holds."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        data = os.urandom(1 << 20) * 3
        thread = threading.Thread(target=remote.send, args=(theirs.fileno(), TOKEN, remote.REQUEST, data))
        thread.start()
        token, received = remote.receive(ours.fileno())
        assert (token, bytes(received)) == (TOKEN, data)
        thread.join()
        theirs.close()
        with pytest.raises(EOFError):
            remote.receive(ours.fileno())


class TextlessError(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def raised_by(function: Callable[[], object], trust: bool) -> BaseException:
    """Return the exception of a function after its transport."""
    try:
        function()
    except BaseException as error:
        reply = remote.unpack_reply(function, remote.pack_failure(error, trust), trust)
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - any exception is possible
            reply.result()
        return caught.value
    raise AssertionError("it raises nothing")


def throw(error: BaseException) -> Callable[[], object]:
    """Return a function that raises."""

    def thrower() -> object:
        raise error

    return thrower


@pytest.mark.parametrize(
    "error",
    [KeyError("a"), OSError(2, "b", "c"), SystemExit(1), KeyboardInterrupt(), UnicodeDecodeError("d", b"e", 0, 1, "f")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("trust", [False, True])
def test_exceptions_are_transported(error: BaseException, trust: bool) -> None:
    """An exception keeps its type, arguments and notes, and has the traceback as cause."""
    error = copy.copy(error)
    error.add_note("noted")
    arrived = raised_by(throw(error), trust)
    assert type(arrived) is type(error)
    assert (str(arrived), arrived.args, arrived.__notes__) == (str(error), error.args, ["noted"])
    assert "in thrower" in str(arrived.__cause__)


@pytest.mark.parametrize("trust", [False, True])
def test_exceptions_that_cannot_be_pickled(trust: bool) -> None:
    """Another exception replaces them, with the text that is known."""
    odd = raised_by(throw(OddError(1, threading.Lock())), trust)  # type: ignore[arg-type]
    assert isinstance(odd, OddError)
    assert str(odd).startswith("1 and <unlocked")
    holding = ValueError("holds", threading.Lock())
    assert isinstance(raised_by(throw(holding), trust), nsbox.RemoteError)
    silent = raised_by(throw(TextlessError()), trust)
    assert isinstance(silent, TextlessError if trust else nsbox.RemoteError)


@pytest.mark.parametrize(
    "error",
    [
        nsbox.WorkerDiedError("f", -9, True),
        nsbox.WorkerDiedError("f", 3),
        nsbox.CallTimeoutError("late"),
        nsbox.TransferError("no"),
        nsbox.RemoteError("x"),
        nsbox.Outcome(nsbox.Verdict.KILLED, error=nsbox.WorkerDiedError("f", -9)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_pickle(error: object) -> None:
    """An error keeps all attributes."""
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other)) == (type(error), str(error))


def test_message_of_a_death() -> None:
    """The message has the signal or the status, and the reason if it is known."""
    assert str(nsbox.WorkerDiedError("f", -11)) == "the process that ran f was ended by signal 11 (SIGSEGV)"
    assert str(nsbox.WorkerDiedError("f", -99)).endswith("signal 99")
    assert str(nsbox.WorkerDiedError("f", -9, True)).endswith("the kernel has killed processes for lack of memory")
