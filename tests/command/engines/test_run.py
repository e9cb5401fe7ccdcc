"""`docker run` and `podman run`, explained."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from types import SimpleNamespace
from typing import Any

import nsbox
import pytest
from nsbox.cli import main
from nsbox.command.engines import options as table
from nsbox.command.engines.settings import SETTINGS
from nsbox.command.options import UsageError

pytestmark = pytest.mark.pure

SAMPLES = {
    "memory": "512m", "memory-reservation": "1g", "memory-swap": "-1", "pids-limit": "100", "cpus": "1.5",
    "device-read-bps": "/dev/sda:1mb", "device-write-bps": "/dev/sda:1mb", "device-read-iops": "/dev/sda:10",
    "device-write-iops": "/dev/sda:10", "shm-size": "1g", "pid": "host", "ipc": "host", "uts": "host",
    "cgroupns": "host", "userns": "host", "volume": "/srv:/data:ro", "mount": "type=bind,src=/srv,dst=/data,readonly",
    "tmpfs": "/run:size=64m,mode=755", "device": "/dev/fuse", "gpus": "all", "cap-add": "NET_ADMIN",
    "cap-drop": "CAP_CHOWN", "security-opt": "no-new-privileges", "user": "1000:1000", "group-add": "27",
    "workdir": "/srv", "ulimit": "nofile=1024:2048", "sysctl": "net.ipv4.ip_forward=1", "uidmap": "0:1000:10",
    "gidmap": "0:1000:10", "hostname": "web",
}  # fmt: skip
"""A valid value for options whose values are checked."""


def spec_of(line: str) -> nsbox.Explanation:
    """Return the plan of the call that a text of Python describes."""

    def run(program: list[str], **options: Any) -> nsbox.Explanation:
        for name in ("cwd", "user", "group", "extra_groups"):
            options.pop(name, None)
        return nsbox.explain(program, **options)

    names = {name: getattr(nsbox, name) for name in ("Bind", "Tmpfs")}
    found: nsbox.Explanation = eval(line, {"nsbox": SimpleNamespace(run=run, **names)})
    return found


@pytest.mark.skipif(shutil.which("docker") is None, reason="docker is not installed")
def test_every_option_of_docker() -> None:
    text = subprocess.run(["docker", "run", "--help"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^ +(?:-([a-zA-Z]), |    )--([a-z0-9-]+)( [a-z]+)?", text, re.MULTILINE)
    assert len(found) > 90
    known = {option.name: (option.letter, not option.optional) for option in table.DOCKER}
    for letter, name, value in found:
        assert known[name] == (letter, bool(value)), name


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_every_option_is_named(engine: str) -> None:
    """Each has its step or its note, and the call of nsbox is a valid one."""
    for option in table.PODMAN if engine == "podman" else table.DOCKER:
        if option.name == "help":
            continue
        given = f"--{option.name}" if option.optional else f"--{option.name}={SAMPLES.get(option.name, 'x')}"
        found = nsbox.explain([engine, "run", given, "debian", "true"])
        assert f"--{option.name}" in re.sub(r"\s+", " ", str(found).partition("\n")[2]), given
        meaningless = [note for note in found.notes if note.startswith(f"--{option.name}: no meaning for namespaces")]
        assert bool(meaningless) == (option.name not in SETTINGS), given
        for step in found.steps:
            assert step.call, (given, step.name)
            assert step.why, (given, step.name)
        assert spec_of(found.python).steps
        assert shlex.split(found.command)[0] == "unshare"
        json.dumps(found.data())


def names(line: str) -> list[str]:
    return [step.name for step in nsbox.explain(line).steps]


def test_namespaces() -> None:
    def call(line: str) -> str:
        return next(step.call for step in nsbox.explain(line).steps if step.name == "unshare")

    everything = "CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWIPC|CLONE_NEWUTS|CLONE_NEWNET|CLONE_NEWCGROUP"
    assert call("docker run debian") == f"unshare({everything})"
    assert call("docker container run debian") == f"unshare({everything})"
    hosts = "docker run --pid=host --net host --ipc=host --uts=host --cgroupns=host debian"
    assert call(hosts) == "unshare(CLONE_NEWNS)"
    # The last one of an option counts.
    assert call("docker run --pid=host --pid= debian") == f"unshare({everything})"
    joined = nsbox.explain("docker run --pid=container:web --network=container:web debian sh")
    assert [step.name for step in joined.steps[:2]] == ["join pid", "join net"]
    assert "{{.State.Pid}} web" in joined.command
    assert "CLONE_NEWUSER" in call("podman run --userns=keep-id debian")
    assert "map_current_user=True" in nsbox.explain("podman run --userns=keep-id debian").python
    assert "join user" in names("podman run --userns=ns:/proc/1/ns/user debian")


def test_podman_with_and_without_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "uid_map" in names("podman run debian")
    assert "tap" in names("podman run debian")
    assert "uid_map" not in names("sudo podman run debian")
    assert "uid_map" in names("sudo -u bob podman run debian")


def test_rights() -> None:
    def capabilities(line: str) -> str:
        return next((step.command for step in nsbox.explain(line).steps if step.name == "capabilities"), "all")

    assert "+net_raw" in capabilities("docker run debian")
    assert "+net_raw" not in capabilities("podman run debian")
    assert capabilities("docker run --cap-drop all debian") == "setpriv --bounding-set -all --inh-caps -all PROGRAM"
    assert "-all,+chown --inh" in capabilities("docker run --cap-drop ALL --cap-add CAP_chown debian")
    assert capabilities("docker run --cap-add ALL debian") == "all"
    assert capabilities("docker run --privileged debian") == "all"
    assert "seccomp" not in names("docker run --security-opt seccomp=unconfined debian")
    assert "mask proc" not in names("docker run --security-opt systempaths=unconfined debian")
    privileged = names("docker run --privileged debian")
    assert not {"mask proc", "read-only proc", "seccomp"} & {*privileged}
    assert "drop_capabilities=True" in nsbox.explain("docker run --cap-drop=ALL debian").python


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("docker run --memry 1g debian", "Did you mean '--memory'?"),
        ("docker run --priv debian", "unrecognized option '--priv'\nDid you mean '--privileged'?"),
        ("docker run --uidmap=0:1:1 debian", "unrecognized option '--uidmap'"),
        ("docker run --pid=hosts debian", "--pid: expected host, container:NAME, got 'hosts'; did you mean 'host'?"),
        ("docker run --pid=container: debian", "--pid: expected"),
        ("docker run --cap-add NET_ADMN debian", "unknown capability 'NET_ADMN'; did you mean 'NET_ADMIN'?"),
        ("docker run --security-opt secomp=x debian", "did you mean 'seccomp'?"),
        ("docker run --mount type=bnd,dst=/x debian", "did you mean 'bind'?"),
        ("docker run --ulimit nofiles=1 debian", "did you mean 'nofile'?"),
        ("docker run -v a:b debian", "--volume: expected"),
        ("docker run -v /a:/b:rprvate debian", "unknown mode 'rprvate' in '/a:/b:rprvate'; did you mean 'rprivate'?"),
        ("docker run --memory=much debian", "--memory: expected a size"),
        ("docker run --privileged=maybe debian", "--privileged: expected true or false"),
        ("docker run -it", "no image is given"),
        ("docker run --rm --name", "option '--name' requires an argument"),
        ("docker ruin debian", "did you mean 'docker run'?"),
        ("dokcer run debian", "did you mean 'docker run'?"),
        ("unshar -m", "did you mean 'unshare'?"),
        ("sudo", "sudo: no program is given"),
        ("sudo unshare --monut", "Did you mean '--mount'?"),
        ("ls -l", "what can be: unshare, nsenter"),
    ],
)
def test_refused(line: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        nsbox.explain(line)
    assert expected in str(caught.value)


def test_forms_of_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Letters can be joined, values attached, and what follows the image belongs to the program."""
    found = nsbox.explain("docker run -itv=/a:/b -m1g --rm=false --read-only debian ls --pid=host -v")
    assert found.python.startswith("nsbox.run(['ls', '--pid=host', '-v'], unshare='mpiunC'")
    assert "nsbox.Bind('/a', '/b')" in found.python
    assert "limits={'memory': 1073741824}" in found.python
    assert "read-only root" in [step.name for step in found.steps]
    assert main(["explain", "docker", "run", "--rm", "debian"]) == 0
    assert "pivot_root" in capsys.readouterr().out
