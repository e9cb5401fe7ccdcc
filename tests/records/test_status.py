"""The parser of /proc/PID/status."""

from __future__ import annotations

import ctypes
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox.namespaces.pid_numbers import _pids
from nsbox.records.status import fields_of, pids_of

pytestmark = pytest.mark.pure

PR_SET_NAME = 15


def test_fields() -> None:
    fields = fields_of(b"Name:\ta:b\nUid:\t0\t1\t2\t3\nGroups:\t \nNSpid:\t42\t7\t1\n")
    assert (fields["Name"], fields["Uid"], fields["Groups"]) == ("a:b", "0\t1\t2\t3", "")
    assert pids_of(fields) == [42, 7, 1]
    assert pids_of(fields_of(b"Name:\ta\n")) == []


@given(st.binary())
def test_anything_is_survived(text: bytes) -> None:
    fields_of(text)


def test_a_name_cannot_forge_a_field() -> None:
    """The kernel escapes newlines in a name, and no other byte ends a line."""
    found, own = [], []

    def forge() -> None:
        own.extend(_pids(threading.get_native_id()))
        ctypes.CDLL(None).prctl(PR_SET_NAME, b"x\x0bNSpid:\t9", 0, 0, 0)
        found.append(_pids(threading.get_native_id()))

    thread = threading.Thread(target=forge)
    thread.start()
    thread.join()
    assert found == [own]
