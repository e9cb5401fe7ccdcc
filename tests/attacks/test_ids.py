"""Ids outside of a map: a program that kept one would be root, or the caller, under the name of nobody."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Box
from nsbox.tasks.within import Within

from tests.support.forked import USER, as_user
from tests.support.inside import status
from tests.support.needs import needs_root
from tests.support.subids import granted

RANGE = (0, 2_000_000_000, 65536)
MAPPED: dict[str, Any] = {"map_users": [RANGE], "map_groups": [RANGE]}
STATUS = ["cat", "/proc/self/status"]
QUIET: Any = {"capture_output": True, "text": True, "check": True, "timeout": 60}


def ids(text: str) -> tuple[str, str, str]:
    """Return the users, the groups and the supplementary groups of a status."""
    fields = status(text)
    return fields["Uid"], fields["Gid"], fields["Groups"]


def started(way: str, options: dict[str, Any]) -> tuple[str, str]:
    """Return the status of a program in a user namespace: as it sees it itself, and as this process sees it."""
    both = ["sh", "-c", "cat /proc/self/status; echo; exec sleep 1000"]
    process: nsbox.Popen
    with contextlib.ExitStack() as stack:
        if way == "box":
            box = stack.enter_context(Box("Up", **options))
            process = stack.enter_context(box.Popen(both, stdout=-1, text=True))
        elif way.startswith("nested"):
            outer = stack.enter_context(Box("Ump", **options))
            inner = stack.enter_context(outer.Box("Ump" if way == "nested" else "p"))
            process = stack.enter_context(inner.Popen(both, stdout=-1, text=True))
        else:
            arrangement: dict[str, Any] = {"run": {}, "no init": {"init": False}, "no fork": {"fork": False}}[way]
            keywords: dict[str, Any] = {"unshare": "U", "stdout": -1, "text": True, **options, **arrangement}
            process = stack.enter_context(nsbox.Popen(both, **keywords))
        assert process.stdout is not None
        inside = "".join(iter(process.stdout.readline, "\n"))
        outside = Path(f"/proc/{process.pid}/status").read_text()
        process.kill()
    return inside, outside


@needs_root
@pytest.mark.parametrize("way", ["run", "no init", "no fork", "box", "nested", "nested without"])
@pytest.mark.parametrize(
    "given", [MAPPED, {"map_users": [RANGE]}, {"map_groups": [RANGE]}], ids=["both", "users", "groups"]
)
def test_root_of_the_map(way: str, given: dict[str, Any]) -> None:
    """The program is root inside, and outside the user to which 0 is mapped; it has no group of the caller."""
    inside, outside = started(way, given)
    zero, first = " ".join(["0"] * 4), " ".join([str(RANGE[1])] * 4)
    assert ids(inside) == (zero, zero, "")
    assert ids(outside) == (first, first, "")


@needs_root
def test_host_files_stay_closed(tmp_path: Path) -> None:
    """A file of root that only root may read, and one that only its group may write."""
    secret, shared = tmp_path / "secret", tmp_path / "shared"
    secret.write_text("secret")
    secret.chmod(0o600)
    shared.write_text("shared")
    shared.chmod(0o660)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o111)
    command = ["sh", "-c", f"cat {secret}; echo written > {shared}; cat /etc/shadow"]
    result = nsbox.run(command, unshare="mipunU", map_users=[RANGE], capture_output=True, text=True)
    assert result.stdout == ""
    assert shared.read_text() == "shared"


@needs_root
def test_first_id_without_a_root() -> None:
    """A map without 0: the program is the first user and the first group that are mapped."""
    inside, outside = started("run", {"map_users": [(7, 2_000_000_000, 5)], "map_groups": [(9, 2_000_000_000, 5)]})
    assert ids(inside) == ("7 7 7 7", "9 9 9 9", "")
    assert ids(outside)[0].split()[0] == "2000000000"


@needs_root
def test_what_is_asked_for_stays() -> None:
    """user, group and extra_groups are as given; ids of the caller that are mapped stay."""
    given = nsbox.run(STATUS, unshare="U", **MAPPED, user=5, group=6, extra_groups=[7], **QUIET).stdout
    assert ids(given) == ("5 5 5 5", "6 6 6 6", "7")
    only_user = nsbox.run(STATUS, unshare="U", **MAPPED, user=5, **QUIET).stdout
    assert ids(only_user) == ("5 5 5 5", "0 0 0 0", "")
    mapped = nsbox.run(STATUS, unshare="U", map_users=[(3, 0, 1)], map_groups=[(4, 0, 1)], **QUIET).stdout
    assert ids(mapped)[:2] == ("3 3 3 3", "4 4 4 4")
    with pytest.raises(nsbox.SpawnError) as caught:
        nsbox.run(STATUS, unshare="U", **MAPPED, user=70000)
    assert (caught.value.step, caught.value.cause) == ("setuid", "id-not-mapped")


def test_granted_range() -> None:
    """An ordinary user whose own ids are not mapped is root of the granted range."""

    def check() -> str:
        words: dict[str, Any] = {"map_users": "auto", "map_groups": "auto"}
        return str(nsbox.run(STATUS, unshare="U", **words, **QUIET).stdout)

    assert ids(granted(lambda: as_user(check))) == ("0 0 0 0", "0 0 0 0", "")


@needs_root
def test_functions() -> None:
    """Functions in a box, in an executor and in a child of a marked test have these ids, too."""
    functions: list[Any] = [os.getresuid, os.getresgid, os.getgroups]
    expected = [(0, 0, 0), (0, 0, 0), []]
    with Box("Ump", **MAPPED, mount_proc=True) as box:
        reader, writer = os.pipe()
        report = lambda: os.write(writer, repr([function() for function in functions]).encode())  # noqa: E731
        with Within(box, report) as child:
            assert child.wait() == 0
        os.close(writer)
        with open(reader) as stream:
            assert stream.read() == repr(expected)
    with nsbox.Executor(1, unshare="Ump", **MAPPED) as executor:
        assert [executor.submit(function).result(60) for function in functions] == expected


@needs_root
def test_said_plainly() -> None:
    """The plan, the repr and the doctor say when root inside is root outside, and which groups a user keeps."""
    with Box("mp") as box:
        assert "root inside is root outside: no new user namespace is between them" in repr(box)
        assert "root inside is root outside" in str(box.plan)
    with Box("Ump") as box:
        assert "root inside is root outside: 0 is mapped to 0" in repr(box)
        with box.Popen(["true"]) as process:
            assert "root inside is root outside: 0 is mapped to 0" in repr(process)
        with box.Box("U") as inner:
            assert "root inside is root outside: 0 is mapped to 0" in repr(inner)
    with Box("Ump", **MAPPED) as box:
        assert "root outside" not in repr(box)
        with box.Box("U") as inner:
            assert "root outside" not in repr(inner)
    with nsbox.Popen(["true"], user=USER) as process:
        assert f"user {USER} keeps group {os.getegid()} and the supplementary groups of the caller" in repr(process)
        assert "keeps" in str(process.plan)
    with nsbox.Popen(["true"], user=USER, group=USER, extra_groups=[]) as process:
        assert "keeps" not in repr(process)
    with nsbox.Popen(["true"], unshare="U", map_root_user=False) as process:
        assert "nobody inside is root outside" in repr(process)
    assert any("root outside" in answer.answer for answer in nsbox.doctor().answers)


def test_nothing_to_say_to_an_ordinary_user() -> None:
    """Root inside is the caller outside, who has no rights of root."""

    def check() -> list[str]:
        with Box("mp") as box, nsbox.Popen(["true"]) as process:
            return [*box.plan.notes, *process.plan.notes]

    assert as_user(check) == []
