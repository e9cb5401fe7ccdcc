"""The core's table of mount flags, and the flags in the text of a step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nsbox import _core, raw
from nsbox.box.inside import _MOUNT_FLAGS
from nsbox.spec.capabilities import CAPABILITIES

pytestmark = pytest.mark.pure


def printed(number: int) -> str:
    """Return the flags argument in the text of mount(2)."""
    (step,) = _core.Request.mount(b"/a", b"/b", None, number).steps
    return step.call.removeprefix('mount("/a", "/b", NULL, ').removesuffix(", NULL)")


@pytest.mark.parametrize("word", _MOUNT_FLAGS)
def test_every_word_of_box_mount_has_a_name(word: str) -> None:
    """Each flag of Box.mount appears by name in a step."""
    assert all(name.startswith("MS_") for name in printed(_MOUNT_FLAGS[word]).split("|"))


def test_several_flags() -> None:
    """They are in the order of their numbers, as strace(1) prints them."""
    found = _MOUNT_FLAGS
    assert printed(found["bind"] | found["ro"] | found["remount"]) == "MS_RDONLY|MS_REMOUNT|MS_BIND"
    assert printed(found["rbind"]) == "MS_BIND|MS_REC"


def test_none_and_unknown() -> None:
    """No flag is printed as 0, and a bit without a name as a number."""
    assert printed(0) == "0"
    assert printed(1 << 50 | 2) == "MS_NOSUID|0x4000000000000"


def test_unmount_by_name() -> None:
    """The flags of umount2(2) have names, too."""
    (step,) = _core.Request.unmount(b"/a", 2 | 8).steps
    assert step.call == 'umount2("/a", MNT_DETACH|UMOUNT_NOFOLLOW)'


def test_numbers_are_those_of_raw() -> None:
    """The constants of `nsbox.raw` have the same numbers."""
    table = {flag.name: flag.number for flag in _core.mount_flags()}
    same = [name for name in dir(raw) if name.startswith(("MS_", "MNT_", "UMOUNT_"))]
    assert same
    assert {name: getattr(raw, name) for name in same} == {name: table[name] for name in same}


def test_capabilities() -> None:
    """The capabilities have the kernel's numbers, without gaps (linux/capability.h), in the core and in Python."""
    source = Path(__file__).parents[2].joinpath("src/capabilities.rs").read_text()
    names = re.findall(r'^    "(CAP_\w+)",$', source, re.MULTILINE)
    table = {name: number for number, name in enumerate(names)}
    assert [table[name] for name in ("CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE")] == [0, 21, 40]
    assert sorted(table.values()) == list(range(41))
    assert CAPABILITIES.items() <= table.items()
