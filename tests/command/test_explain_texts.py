"""Explanations of command lines as text, compared with files.

After a wanted change: `pytest tests/command/test_explain_texts.py --update-goldens`, and review the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import nsbox
import pytest
from nsbox import _core
from nsbox.command.nsenter.advice import python_of
from nsbox.command.nsenter.request import entry_of

pytestmark = pytest.mark.pure

EXPLANATIONS = Path(__file__).parent / "explanations"
EVERYTHING = 2**41 - 1
ROOT = _core.Facts(euid=0, egid=0, effective=EVERYTHING, permitted=EVERYTHING, kernel=(6, 18))
OLD = _core.Facts(euid=0, egid=0, effective=EVERYTHING, permitted=EVERYTHING, kernel=(6, 1))
USER = _core.Facts(euid=1000, egid=100, kernel=(6, 18))

UNUSED_PID = 2**31 - 1
"""A PID that no process has, so that nothing depends on the machine."""

CASES = {
    "unshare": (ROOT, "unshare -mipf --mount-proc bash"),
    "unshare-rootless": (USER, "unshare -r -p -n bash"),
    "unshare-ranges": (ROOT, "unshare --map-users=0:100000:65536 --map-groups=0:100000:65536 -S 0 -G 0 id"),
    "unshare-ranges-rootless": (USER, "unshare -r --map-users=1:100000:65535 --clear-env id"),
    "unshare-pinned": (ROOT, "unshare -f --pid=/run/pid --mount=/run/mnt --kill-child --forward-signals sleep inf"),
    "unshare-other-root": (ROOT, "unshare -m -R /srv -w /tmp --propagation=slave --mount-proc --whitelist-env=A,B"),
    "nsenter": (ROOT, f"nsenter -t {UNUSED_PID} -p -m bash"),
    "nsenter-old-kernel": (OLD, f"nsenter -t {UNUSED_PID} -n ip address"),
    "nsenter-all": (ROOT, f"nsenter -t {UNUSED_PID} -a"),
    "nsenter-rootless": (USER, f"nsenter -t {UNUSED_PID} -U -n ip address"),
    "nsenter-keeping": (USER, f"nsenter -t {UNUSED_PID} -U --preserve-credentials --keep-caps -u id"),
    "nsenter-places": (ROOT, f"nsenter -t {UNUSED_PID} --net=/run/netns/a -u -r -w -S 5 -G 6 ls"),
    "nsenter-inside": (ROOT, f"nsenter -t {UNUSED_PID} -p -F -m -r -W /tmp ls"),
    "nsenter-follow": (ROOT, f"nsenter -t {UNUSED_PID} -U -S follow -G follow -e -c"),
    "nsenter-socket": (ROOT, f"nsenter -t {UNUSED_PID} -N 7 -u ip address"),
    "nsenter-parent": (USER, f"nsenter -t {UNUSED_PID}:4711 --user-parent -i ipcs"),
}


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The explanation is the one in the file."""
    facts, line = CASES[case]
    monkeypatch.setattr(_core, "facts", lambda: facts)
    monkeypatch.setattr(os, "geteuid", lambda: facts.euid)
    monkeypatch.setattr(os, "getegid", lambda: facts.egid)
    monkeypatch.setenv("SHELL", "/bin/bash")
    text, file = f"{nsbox.explain(line)}\n", EXPLANATIONS / f"{case}.txt"
    if request.config.getoption("--update-goldens"):
        file.write_text(text)
    assert text == file.read_text()


def test_no_golden_is_forgotten() -> None:
    """Every file belongs to a case."""
    assert {file.stem for file in EXPLANATIONS.iterdir()} == set(CASES)


@pytest.mark.parametrize(
    ("line", "python"),
    [
        ("-t 5 -a sh", "nsbox.enter(5, None, ['sh'])"),
        ("-t 5 -u -n sh -c x", "nsbox.enter(5, 'uts net', ['sh', '-c', 'x'])"),
        ("-n/run/a sh", "nsbox.enter('/run/a', None, ['sh'])"),
        ("-t 5 -m -r -W /y sh", "nsbox.enter(5, 'mount', ['sh'], root=True, cwd='/y')"),
        ("-t 5 -p -F -U --preserve-credentials sh",
         "nsbox.enter(5, 'pid user', ['sh'], preserve_credentials=True, fork=False)"),
        ("-t 5 -u -n/a -S 1 -G 2 sh", "nsbox.run(['sh'], unshare='', join=[nsbox.Join(5, 'uts'), "
         "nsbox.Join('/a', None)], user=1, group=2, extra_groups=[])"),
        ("-t 5 -a -n/a sh", ""), ("-t 5 -u -e sh", ""), ("-t 5 -u", ""), ("-t 5 -N 3 sh", ""), ("-t 5 -u -c sh", ""),
        ("-t 5 --user-parent sh", ""), ("-t 5 -U -S follow sh", ""),
    ],
)  # fmt: skip
def test_python(line: str, python: str) -> None:
    """The closest call in Python; none rather than one with another effect."""
    assert python_of(entry_of(line.split())) == python


def test_joins_are_opened_and_shown() -> None:
    """With ``join=`` the steps name what is joined, and there is no line for unshare(1)."""
    found = nsbox.explain(["true"], unshare="u", join=nsbox.Join(os.getpid(), "ipc"))
    assert "join ipc" in [step.name for step in found.steps]
    assert any("join" in note for note in found.notes)
    with pytest.raises(nsbox.SpawnError):
        nsbox.explain(["true"], unshare="u", join=nsbox.Join(UNUSED_PID, "ipc"))
