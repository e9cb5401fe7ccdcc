"""User namespaces: the maps of ids, and the payload's capabilities."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support import libc
from tests.support.forked import USER, Who, in_child
from tests.support.inside import by_unshare, cat, status
from tests.support.needs import needs_root

FILES = "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups"
ARRANGEMENTS: dict[str, dict[str, Any]] = {
    "init": {},
    "no init": {"init": False},
    "no fork": {"fork": False},
}
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def _maps(**options: Any) -> list[list[str]]:
    """Return the lines of uid_map, gid_map and setgroups."""
    return [line.split() for line in cat(*FILES, **options).splitlines()]


def _ids(who: Who) -> str:
    return "0" if who.is_root else str(USER)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_root_map(who: Who, arrangement: str) -> None:
    """By default the caller is mapped to root, in all arrangements, and setgroups(2) is denied."""
    found = who(lambda: _maps(unshare="U", **ARRANGEMENTS[arrangement]))
    assert found == [["0", _ids(who), "1"], ["0", _ids(who), "1"], ["deny"]]


def test_user_namespace_is_added_where_rights_are_missing(who: Who) -> None:
    """An ordinary user gets one by default, root does not."""
    found = who(lambda: _maps(unshare="m"))
    assert (found[0][2] == "1") is not who.is_root


def test_own_ids(who: Who) -> None:
    """`map_user` and `map_group` set the ids to which the caller's are mapped."""
    found = who(lambda: _maps(unshare="U", map_user=1234, map_group=99))
    assert found == [["1234", _ids(who), "1"], ["99", _ids(who), "1"], ["deny"]]


def test_only_the_user(who: Who) -> None:
    """A map for the user alone leaves the groups unmapped, and setgroups(2) allowed."""
    found = who(lambda: _maps(unshare="U", map_user=7))
    assert found == [["7", _ids(who), "1"], ["allow"]]


def test_no_map(who: Who) -> None:
    """Without a map all ids are the overflow id, and the payload has no capabilities."""
    found = who(lambda: _maps(unshare="U", map_root_user=False))
    assert found == [["allow"]]
    seen = who(lambda: status(cat("/proc/self/status", unshare="U", map_root_user=False)))
    assert seen["Uid"].split() == ["65534"] * 4
    assert int(seen["CapEff"], 16) == 0


@needs_root
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_ranges(arrangement: str) -> None:
    """Root maps ranges, and setgroups(2) stays allowed."""
    ranges: dict[str, Any] = {"map_users": [(0, 100000, 1000), (1000, 0, 1)], "map_groups": [(0, 200000, 65536)]}
    found = _maps(unshare="U", **ranges, **ARRANGEMENTS[arrangement])
    assert found == [["0", "100000", "1000"], ["1000", "0", "1"], ["0", "200000", "65536"], ["allow"]]


def test_setgroups_denied(who: Who) -> None:
    """`setgroups="deny"` is written, whatever the maps are."""
    assert who(lambda: _maps(unshare="U", setgroups="deny", map_root_user=False)) == [["deny"]]


@needs_root
def test_becoming_a_user_in_a_range() -> None:
    """The payload can become any user that is mapped."""
    ranges: dict[str, Any] = {"map_users": [(0, 0, 1), (1000, 100000, 10)], "map_groups": [(0, 0, 1), (50, 50, 5)]}
    text = cat("/proc/self/status", unshare="U", **ranges, user=1003, group=52, extra_groups=[51, 53])
    seen = status(text)
    assert (seen["Uid"], seen["Gid"], seen["Groups"]) == (
        " ".join(["1003"] * 4),
        " ".join(["52"] * 4),
        "51 53",
    )
    assert int(seen["CapEff"], 16) == 0


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({"unshare": "U"}, ["-Ur"]),
        ({"unshare": "Um"}, ["-Urm"]),
        ({"unshare": "U", "map_user": 5, "map_group": 6}, ["-U", "--map-user=5", "--map-group=6"]),
        ({"unshare": "U", "map_user": 5, "map_group": 6, "keep_caps": True},
         ["-U", "--map-user=5", "--map-group=6", "--keep-caps"]),
        ({"unshare": "U", "map_root_user": False}, ["-U"]),
    ],
    ids=["root", "root and mounts", "ids", "keep caps", "no map"],
)  # fmt: skip
def test_credentials_as_unshare(who: Who, options: dict[str, Any], arguments: list[str], arrangement: str) -> None:
    """Ids, capabilities and maps are those of the real unshare(1)."""
    files = "/proc/self/status", *FILES
    theirs = who(lambda: by_unshare(*arguments, "cat", *files))
    ours = who(lambda: cat(*files, **options, **ARRANGEMENTS[arrangement]))
    wanted = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", *CAPABILITIES)
    assert _credentials(ours, wanted) == _credentials(theirs, wanted)


def _credentials(text: str, wanted: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    lines = text.splitlines()
    fields = status("\n".join(line for line in lines if ":" in line))
    return {name: fields[name] for name in wanted}, [" ".join(line.split()) for line in lines if ":" not in line]


@needs_root
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_capabilities_untouched(arrangement: str) -> None:
    """Without a user namespace root's capabilities are exactly the caller's, with nothing inheritable."""
    seen = status(cat("/proc/self/status", unshare="mip", **ARRANGEMENTS[arrangement]))
    own = status(Path("/proc/self/status").read_text())
    assert {name: seen[name] for name in CAPABILITIES} == {name: own[name] for name in CAPABILITIES}


def test_keep_caps_for_an_ordinary_id(who: Who) -> None:
    """With `keep_caps` a payload that is not root has the capabilities of the user namespace."""
    options: dict[str, Any] = {"unshare": "Um", "map_user": 1000, "map_group": 1000}
    kept = who(lambda: status(cat("/proc/self/status", keep_caps=True, **options)))
    dropped = who(lambda: status(cat("/proc/self/status", **options)))
    assert int(kept["CapEff"], 16) & 1 << 21
    assert int(dropped["CapEff"], 16) == 0
    assert int(dropped["CapAmb"], 16) == 0


def test_no_new_privs(who: Who) -> None:
    """The flag is set only if it is asked for."""
    assert who(lambda: status(cat("/proc/self/status", unshare="m", no_new_privs=True)))["NoNewPrivs"] == "1"
    assert who(lambda: status(cat("/proc/self/status", unshare="m")))["NoNewPrivs"] == "0"


@needs_root
def test_caller_with_capabilities_that_is_not_root() -> None:
    """A caller with CAP_SYS_ADMIN and another uid needs no user namespace, and the payload inherits no capability."""

    def start() -> tuple[dict[str, str], list[str]]:
        _become_user_with_capabilities()
        text = cat("/proc/self/status", unshare="mip", mount_proc=True)
        with nsbox.Popen(["true"], unshare="mip") as process:
            return status(text), list(process.namespaces)

    seen, namespaces = in_child(start)
    assert namespaces == ["mount", "pid", "ipc"]
    assert seen["Uid"].split()[0] == str(USER)
    assert [int(seen[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]


def _become_user_with_capabilities() -> None:
    """Change the uid and keep the permitted capabilities (prctl(2), PR_SET_KEEPCAPS), effective again."""
    libc.prctl(libc.PR_SET_KEEPCAPS, 1)
    os.setresuid(USER, USER, USER)
    libc.raise_permitted_capabilities()
