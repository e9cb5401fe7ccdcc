"""`ip netns exec`, `systemd-run` and `sudo`, explained."""

from __future__ import annotations

import nsbox
import pytest
from nsbox.command.options import UsageError
from nsbox.command.others import systemd_run

pytestmark = pytest.mark.pure


def test_ip_netns() -> None:
    found = nsbox.explain("ip netns exec blue ping 10.0.0.1")
    assert [step.name for step in found.steps] == ["join net", "unshare", "propagation", "sys", "/etc", "exec"]
    assert found.steps[0].command == "nsenter --net=/run/netns/blue PROGRAM"
    assert found.python == "nsbox.enter('/run/netns/blue', None, ['ping', '10.0.0.1'])"
    assert "nsenter --net=/run/netns/blue unshare --mount" in found.command
    with pytest.raises(UsageError, match="expected NAME PROGRAM"):
        nsbox.explain("ip netns exec blue")


def test_sudo() -> None:
    plain, as_root = nsbox.explain("unshare -mp bash"), nsbox.explain("sudo -E A=b unshare -mp bash")
    assert as_root.steps == plain.steps
    assert as_root.title == "sudo -E A=b unshare -mp bash"
    assert "as root" in as_root.notes[0]
    assert "as bob" in nsbox.explain("sudo -u bob unshare -m").notes[0]
    assert "as bob" in nsbox.explain("doas -u bob unshare -m").notes[0]
    assert nsbox.explain("sudo nsenter -t 1 -n ip link").steps


def test_systemd_run() -> None:
    found = nsbox.explain(
        "systemd-run -t -p PrivateNetwork=yes --property=TasksMax=20 -p PrivateTmp=no -p MemoryMx=1 --uid=7 bash -l"
    )
    assert [step.name for step in found.steps] == ["cgroup", "PrivateNetwork", "TasksMax", "User", "exec"]
    assert found.python == "nsbox.run(['bash', '-l'], unshare='n', limits={'pids': 20}, user='7')"
    notes = "\n".join(found.notes)
    assert "--pty: no meaning for namespaces" in notes
    assert "PrivateTmp=no: nothing is done" in notes
    assert "MemoryMx=1: nsbox does not know what this means for namespaces; did you mean 'MemoryMax'?" in notes
    with pytest.raises(UsageError, match="Did you mean '--property'"):
        nsbox.explain("systemd-run --proprety x=y true")


def test_every_property_of_systemd() -> None:
    for name in systemd_run.PROPERTIES:
        found = nsbox.explain(["systemd-run", f"--property={name}=/x", "true"])
        assert name in str(found.steps[1].why), name
        assert found.steps[1].call
        assert found.steps[1].manual
