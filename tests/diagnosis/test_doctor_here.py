"""`nsbox.doctor` on this kernel, also where parts of it are disabled."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nsbox
import nsbox.diagnosis.doctor
import pytest
from nsbox.cli import main
from nsbox.spec.kinds import KINDS

from tests.diagnosis.test_causes_here import DOCKERS_FILTER, landlock, masked
from tests.plan.test_failures import CLONE_NEWPID, enter_user_namespace
from tests.support import libc, seccomp
from tests.support.census import Census
from tests.support.forked import Who, as_user, in_child
from tests.support.needs import needs_root

NSBOX = [sys.executable, "-m", "nsbox"]


ROOT = Who("root")


def diagnosed(*preparations: Callable[[], Any], who: Callable[[Callable[[], Any]], Any] = ROOT) -> dict[str, Any]:
    """Return the result of doctor in a child after some preparations."""

    def check() -> dict[str, Any]:
        for prepare in preparations:
            prepare()
        found: dict[str, Any] = json.loads(json.dumps(who(lambda: nsbox.doctor().data())))
        return found

    return in_child(check)


def problems(found: dict[str, Any]) -> list[int]:
    """Return the numbers of the answers that are problems."""
    return [answer["number"] for answer in found["answers"] if answer["verdict"] == "problem"]


def test_here(who: Who, census: Census) -> None:
    """Each kind is created for real; the caller is unchanged."""
    before = {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    found = who(nsbox.doctor)
    assert {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")} == before
    assert found.everything.rootless.works
    assert found.everything.root.works is who.is_root
    assert set(found.kinds) == {*KINDS, "proc"}
    for name, allowed in found.kinds.items():
        assert allowed.rootless.works
        assert allowed.root.works is (who.is_root or name == "user")
        assert who.is_root or name == "user" or allowed.root.cause == "no-capability"
    assert not found.problems
    assert not census.left_behind()


def test_dockers_filter(who: Who) -> None:
    """Nothing works, and the answer to question 4 gives the reason."""
    found = diagnosed(lambda: seccomp.install(*DOCKERS_FILTER), who=who)
    assert problems(found) == [4, 14, 15]
    assert not any(trial["works"] for allowed in found["kinds"].values() for trial in allowed.values())
    assert found["kinds"]["pid"]["rootless"]["cause"] == "seccomp-filter"
    assert "docker" in found["answers"][3]["remedy"] or "container" in found["answers"][3]["remedy"]


def test_limit() -> None:
    """One kind is disabled; the others work."""

    def no_uts() -> None:
        enter_user_namespace()
        Path("/proc/sys/user/max_uts_namespaces").write_text("0")

    found = diagnosed(no_uts)
    assert problems(found) == [5, 15]
    assert not found["kinds"]["uts"]["root"]["works"]
    assert not found["kinds"]["uts"]["rootless"]["works"]
    assert found["kinds"]["ipc"]["rootless"]["works"]
    assert "user.max_uts_namespaces" in found["answers"][4]["remedy"]


@needs_root
def test_masked_proc() -> None:
    """All kinds work, but no new proc."""
    found = diagnosed(masked("/proc/version"), who=as_user)
    assert problems(found) == [10, 14, 15]
    assert [name for name, allowed in found["kinds"].items() if not allowed["rootless"]["works"]] == ["proc"]
    assert found["kinds"]["proc"]["rootless"]["cause"] == "masked-proc"


def test_landlock(who: Who) -> None:
    """Everything that needs a mount fails."""
    found = diagnosed(landlock, who=who)
    assert problems(found) == [7, 14, 15]
    assert [name for name, allowed in found["kinds"].items() if not allowed["rootless"]["works"]] == ["mount", "proc"]


@needs_root
def test_chroot(place: Path) -> None:
    """With a proc of its own it is recognised."""

    def inside() -> None:
        libc.unshare(0x20000)
        libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        (place / "proc").mkdir()
        libc.mount("proc", str(place / "proc"), "proc")
        os.chroot(place)
        os.chdir("/")

    found = diagnosed(inside)
    assert problems(found) == [9, 14, 15]
    assert not found["kinds"]["user"]["rootless"]["works"]
    assert found["kinds"]["pid"]["root"]["works"]


@needs_root
def test_dead_pid_namespace() -> None:
    """The caller's children could not be created."""

    def dead() -> None:
        libc.unshare(CLONE_NEWPID)
        nsbox.run(["true"], unshare="")

    found = diagnosed(dead)
    assert problems(found) == [12, 14, 15]
    assert not any(allowed["root"]["works"] for allowed in found["kinds"].values())


def test_no_new_privs() -> None:
    """Only ranges of ids are affected."""
    found = diagnosed(lambda: libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1), who=as_user)
    assert problems(found) == []
    assert "no_new_privs" in found["answers"][12]["answer"]


@needs_root
def test_threads(busy_threads: None) -> None:
    """The caller's threads are listed, and change nothing."""
    found = nsbox.doctor()
    assert found.answers[7].verdict == "note"
    assert found.everything.root.works


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The command has a text, JSON, and an exit status for scripts."""
    assert main(["doctor"]) == 0
    assert "Does all of it work together?" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kinds"]["pid"]["rootless"]["works"]
    assert main(["doctor", "--require", "pid,user"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["doctor", "--require", "nonsense"]) == 1
    assert "is no namespace" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", ["pid", "mip", "pid,user"])
def test_require_with_missing_features(wanted: str) -> None:
    """The status is 1, and standard error names the step and the remedy."""

    def check() -> tuple[int, str, str]:
        seccomp.install(*(rule for rule in DOCKERS_FILTER if rule.errno == errno.EPERM and rule.name != "mount"),
                        seccomp.Deny("clone3", errno.ENOSYS))  # fmt: skip
        done = subprocess.run([*NSBOX, "doctor", "--require", wanted], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    status, out, err = in_child(check)
    assert (status, out) == (1, "")
    assert "step 'clone' failed" in err
    assert "\nnext: " in err
