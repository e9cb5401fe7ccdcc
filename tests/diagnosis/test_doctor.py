"""The answers of `doctor`, from recorded evidence of other machines."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from nsbox.diagnosis.doctor import Diagnosis
from nsbox.diagnosis.evidence import Evidence, IdMapProgram, ProcMount
from nsbox.diagnosis.questions import answers
from nsbox.records.diagnosis import Allowed, Trial
from nsbox.spec.kinds import KINDS

from tests.support.machines import DOCKER, GITHUB, GVISOR, KUBERNETES, RHEL_CONTAINER, ROOT, UBUNTU, USER, WSL1

pytestmark = pytest.mark.pure

WORKS = Trial(True)
FAILS = Trial(False, "uid_map", "ubuntu-apparmor", "Operation not permitted", "set the switch")
PARTS = {"seccomp": WORKS, "landlock": WORKS}

CASES: list[tuple[str, Evidence, int, str, str]] = [
    # machine, evidence, question, verdict, text of the answer or the remedy
    ("a free machine", ROOT, 1, "fine", "Linux version 6.1.0"),
    ("gVisor", GVISOR, 1, "problem", "gVisor"),
    ("WSL 1", WSL1, 1, "problem", "wsl --set-version"),
    ("Colab", replace(ROOT, places=("colab",)), 1, "note", "Colab"),
    ("an old kernel", replace(ROOT, kinds=tuple(KINDS)[:-1]), 2, "problem", "time"),
    ("WSL 2", replace(ROOT, places=("wsl2",), kinds=tuple(KINDS)[:-1]), 2, "problem", "wsl --update"),
    ("no proc", replace(ROOT, kinds=None), 2, "note", "no /proc"),
    ("root", ROOT, 3, "fine", "yes"),
    ("user", USER, 3, "note", "1000"),
    ("root in a container", DOCKER, 3, "note", "although this is root"),
    ("Docker", DOCKER, 4, "problem", "docker run --security-opt seccomp=unconfined"),
    ("Kubernetes", KUBERNETES, 4, "problem", "seccompProfile"),
    ("JupyterHub", replace(KUBERNETES, places=("jupyterhub",)), 4, "problem", "ask the administrator of the hub"),
    ("a harmless filter", replace(ROOT, seccomp=("2", "3")), 4, "fine", "3"),
    ("no clone3", replace(ROOT, clone3=38), 4, "note", "clone(2) does the same"),
    ("no mount", replace(ROOT, mount=1), 4, "problem", "mount"),
    ("RHEL 7", replace(ROOT, places=("rhel",), limits={"user": 0, "pid": 9}), 5, "problem", "/etc/sysctl.d"),
    ("nested", replace(ROOT, initial_user_namespace=False), 5, "fine", "outer"),
    ("no limits", replace(ROOT, limits={}), 5, "note", "cannot be seen"),
    ("Ubuntu", UBUNTU, 6, "problem", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    ("GitHub", GITHUB, 6, "problem", "add a step"),
    ("Ubuntu, root", replace(ROOT, apparmor_restrict="1"), 6, "note", "does not concern root"),
    ("old Debian", replace(USER, unprivileged_userns_clone="0"), 6, "problem", "unprivileged_userns_clone=1"),
    ("Docker", DOCKER, 7, "note", "apparmor=unconfined"),
    ("RHEL", RHEL_CONTAINER, 7, "note", "container_t"),
    ("Landlock", replace(ROOT, landlock=2), 7, "problem", "outside that sandbox"),
    ("notebook", replace(ROOT, threads=("python", "ZMQbg/0")), 8, "note", "ZMQbg/0"),
    ("chroot", replace(ROOT, root_is_mount=False), 9, "problem", "pivot_root"),
    ("Docker, root", DOCKER, 10, "problem", "systempaths=unconfined"),
    ("Podman", RHEL_CONTAINER, 10, "problem", "unmask=ALL"),
    ("masked, privileged", replace(ROOT, procs=(ProcMount("/proc", ("/proc/sys",)),)), 10, "note", "/proc/sys"),
    ("one whole proc", replace(DOCKER, procs=(*DOCKER.procs, ProcMount("/mnt"))), 10, "fine", "whole"),
    ("proc of an outer PID namespace", replace(ROOT, pid_depth=2), 10, "note", "outer PID namespace"),
    ("proc of another PID namespace", replace(ROOT, pid_depth=0), 10, "problem", "another PID namespace"),
    ("systemd", ROOT, 11, "fine", "shared"),
    ("poisoned", replace(ROOT, children_born_into="dead"), 12, "problem", "cures"),
    ("moved", replace(ROOT, children_born_into="unborn"), 12, "problem", "cures"),
    ("user with ranges", USER, 13, "fine", "/usr/bin/newuidmap"),
    ("no helper", replace(USER, newuidmap=IdMapProgram()), 13, "note", "newuidmap is not installed"),
    ("no setuid", replace(USER, newgidmap=IdMapProgram("/bin/newgidmap")), 13, "note", "not setuid"),
    ("no new privileges", replace(USER, no_new_privs=True), 13, "note", "no_new_privs"),
    ("no line", replace(USER, subuid=""), 13, "note", "/etc/subuid"),
]


@pytest.mark.parametrize(("machine", "evidence", "number", "verdict", "words"), CASES, ids=[case[0] for case in CASES])
def test_answer(machine: str, evidence: Evidence, number: int, verdict: str, words: str) -> None:
    """The question about the fault has the right verdict, and names what was read and the remedy."""
    answer = answers(evidence, PARTS, WORKS)[number - 1]
    assert (answer.number, answer.verdict) == (number, verdict), machine
    assert words in f"{answer.answer} {answer.remedy}"


def test_all_questions_are_answered() -> None:
    """There are fifteen; on a machine without faults none is a problem."""
    assert [answer.number for answer in answers(ROOT, PARTS, WORKS)] == list(range(1, 16))
    assert all(answer.verdict == "fine" for answer in answers(ROOT, PARTS, WORKS))
    assert {number for _, _, number, _, _ in CASES} == set(range(1, 14))
    last = answers(UBUNTU, PARTS, FAILS)[-1]
    assert (last.verdict, last.remedy) == ("problem", "set the switch")


def test_parts_of_harden() -> None:
    """The last question but one names the parts that do not work, with the remedy of the first."""
    parts = answers(ROOT, PARTS, WORKS)[-2]
    assert (parts.verdict, parts.remedy) == ("fine", "")
    assert "landlock" in parts.answer
    parts = answers(ROOT, PARTS | {"landlock": FAILS}, WORKS)[-2]
    assert (parts.verdict, parts.remedy) == ("problem", "set the switch")
    assert parts.answer.startswith("landlock does not: ")


def diagnosis(root: Trial, rootless: Trial) -> Diagnosis:
    """Return a diagnosis in which all trials have the same result."""
    allowed = Allowed(root, rootless)
    kinds = {**dict.fromkeys(KINDS, allowed), "proc": allowed}
    return Diagnosis(("github",), answers(UBUNTU, PARTS, rootless), kinds, PARTS, allowed, UBUNTU)


@pytest.mark.parametrize(
    ("root", "rootless", "words"),
    [
        (WORKS, WORKS, "Everything works here"),
        (FAILS, WORKS, "Everything works here"),
        (WORKS, FAILS, "In a user namespace the step 'uid_map' fails"),
        (FAILS, FAILS, "No new namespaces"),
    ],
)
def test_page(root: Trial, rootless: Trial, words: str) -> None:
    """The page has all answers, all kinds and a verdict, and fits a terminal."""
    found = diagnosis(root, rootless)
    page = str(found)
    assert words in " ".join(page.split())
    assert all(f"\n{kind} " in page for kind in [*KINDS, "proc", "all"])
    assert all(f"\n{number:2}  " in page for number in range(1, 15))
    assert max(map(len, page.splitlines())) <= 80
    assert words in repr(found)


def test_json() -> None:
    """The JSON has all of it."""
    data = json.loads(json.dumps(diagnosis(WORKS, FAILS).data()))
    assert data["kinds"]["pid"]["rootless"]["cause"] == "ubuntu-apparmor"
    assert data["answers"][5]["verdict"] == "problem"
    assert data["evidence"]["apparmor_restrict"] == "1"
