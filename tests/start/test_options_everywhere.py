"""Every option of what holds a program, at every entry point: it takes effect there, or is refused with the reason.

The table in docs/harden.md says the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nsbox
import pytest
from nsbox import Overlay
from nsbox.tasks.within import Within

from tests.attacks.test_harden_everywhere import reachable
from tests.support.forked import USER, Who
from tests.support.needs import needs, needs_root
from tests.support.rootfs import Rootfs

PROBE = """
cd /; cat /proc/self/status /proc/self/mountinfo /proc/net/dev /proc/self/cgroup
echo "shmall=$(cat /proc/sys/kernel/shmall) files=$(ulimit -n) session=$(cut -d' ' -f6 /proc/self/stat)"
echo "map=$(tr -s ' ' < /proc/self/uid_map | head -1)"
ls -d /proc/keys > /dev/null; cat /proc/keys | wc -l | sed s/^/keys=/
"""
SHELL = ["/bin/sh", "-c", PROBE]


def _probe() -> str:
    return subprocess.run(SHELL, capture_output=True, text=True, check=False).stdout


# Entry points


def _run(**options: Any) -> str:
    return str(nsbox.run(SHELL, capture_output=True, text=True, **options).stdout)


def _popen(**options: Any) -> str:
    with nsbox.Popen(SHELL, stdout=nsbox.PIPE, text=True, **options) as process:
        return str(process.communicate()[0])


def _asyncio(**options: Any) -> str:
    async def work() -> str:
        process = await nsbox.create_subprocess_exec(*SHELL, stdout=subprocess.PIPE, **options)
        return (await process.communicate())[0].decode()

    return asyncio.run(work())


def _fork_exec(**options: Any) -> str:
    reader, writer = os.pipe()
    child = nsbox.fork_exec(SHELL, stdout=writer, **options)
    os.close(writer)
    with open(reader) as stream:
        text = stream.read()
    child.wait()
    return text


def _box(**options: Any) -> str:
    with nsbox.Box(**options) as box:
        return str(box.run(SHELL, capture_output=True, text=True).stdout)


def _box_popen(**options: Any) -> str:
    with nsbox.Box(**options) as box, box.Popen(SHELL, stdout=nsbox.PIPE, text=True) as process:
        return str(process.communicate()[0])


def _box_in_a_box(**options: Any) -> str:
    with nsbox.Box("mip") as box, box.Box(**options) as inner:
        return str(inner.run(SHELL, capture_output=True, text=True).stdout)


def _in_a_box(**options: Any) -> str:
    with nsbox.Box("mip") as box:
        return str(box.run(SHELL, capture_output=True, text=True, **options).stdout)


def _shell(**options: Any) -> str:
    with nsbox.Shell(shell="/bin/sh", **options) as shell:
        return shell.run(PROBE).stdout


def _box_shell(**options: Any) -> str:
    with nsbox.Box(**options) as box, box.shell("/bin/sh") as shell:
        return shell.run(PROBE).stdout


def _enter(**options: Any) -> str:
    with nsbox.Box("mip", mount_proc=True) as box:
        return str(nsbox.enter(box, None, SHELL, capture_output=True, text=True, **options).stdout)


def _executor(**options: Any) -> str:
    with nsbox.Executor(1, **options) as executor:
        return executor.submit(_probe).result()


def _boxed(**options: Any) -> str:
    return nsbox.boxed(**options)(_probe)()


def _marker(**options: Any) -> str:
    reader, writer = os.pipe()

    def work() -> None:
        os.close(reader)
        os.write(writer, _probe().encode())

    with nsbox.Box(**options) as box, Within(box, work) as within:
        os.close(writer)
        with open(reader) as stream:
            text = stream.read()
        within.wait()
    return text


def _command(**options: Any) -> str:
    kinds = options.pop("unshare", "")
    arguments = [f"-{letter}" for letter in kinds]
    for name, value in options.items():
        arguments += ["--option", f"{name}={json.dumps(value, default=str)}"]
    command = [sys.executable, "-m", "nsbox", "run", *arguments, "--", *SHELL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise nsbox.SpecError(done.stderr.removeprefix("nsbox run: "))
    return done.stdout


ENTRIES: dict[str, Callable[..., str]] = {
    "run": _run,
    "Popen": _popen,
    "asyncio": _asyncio,
    "fork_exec": _fork_exec,
    "Box": _box,
    "Box.Popen": _box_popen,
    "Box.Box": _box_in_a_box,
    "Box.run": _in_a_box,
    "Shell": _shell,
    "Box.shell": _box_shell,
    "enter": _enter,
    "Executor": _executor,
    "boxed": _boxed,
    "marker": _marker,
    "nsbox run": _command,
}

# Options: what is given, and what the probe must then show.

OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "harden": ({"harden": True}, r"(?s)CapBnd:\t0+\n.*NoNewPrivs:\t1\n.*Seccomp:\t2"),
    "harden=best": ({"harden": "best"}, r"(?s)CapBnd:\t0+\n.*NoNewPrivs:\t1\n.*Seccomp:\t2"),
    "private_ids": ({"private_ids": True}, r"map= ?0 [1-9]"),
    "drop_capabilities": ({"drop_capabilities": True, "no_new_privs": True}, r"CapBnd:\t0+\n"),
    "no_new_privs": ({"no_new_privs": True}, r"NoNewPrivs:\t1"),
    "seccomp": ({"seccomp": True}, r"Seccomp:\t2"),
    "landlock": ({"landlock": True}, r"NoNewPrivs:\t1"),
    "keyring": ({"keyring": True}, r"keys="),
    "lock_mounts": ({"lock_mounts": True}, r"CapBnd:\t[0-9a-f]*[0189cd][0-9a-f]{5}\n"),
    "mask_proc": ({"mask_proc": True}, r" /proc/sys ro,"),
    "private_tmp": ({"private_tmp": True}, r" /var/tmp rw,.* tmpfs "),
    "private_sys": ({"private_sys": True}, r" /sys ro,"),
    "new_session": ({"new_session": True}, r"session=[1-9]"),
    "drop_groups": ({"drop_groups": True}, r"Groups:"),
    "network=False": ({"network": False}, r"(?s)Inter-\|(?!.*eth)(?!.*ens).*lo:"),
    "network=True": ({"harden": True, "network": True}, r"Seccomp:\t2"),
    "writable": ({"writable": ["/srv"]}, r"(?s)(?=.* / / ro,).* /srv rw,"),
    "readable": ({"readable": ["/srv"]}, r"(?s)(?=.* / / ro,).* /srv ro,"),
    "hidden": ({"hidden": ["/srv"]}, r" /srv rw,.* tmpfs "),
    "rlimits": ({"rlimits": {"nofile": 99}}, r"files=99"),
    "sysctl": ({"sysctl": {"kernel.shmall": 999}}, r"shmall=999"),
}

_OF_THE_BOX = r"belongs to the box; programs in it share"
_JOINED = r"the namespaces that are joined exist already|needs a new ipc namespace|: the namespaces that are joined"

REFUSED: dict[str, dict[str, str]] = {
    "Box.run": dict.fromkeys(OPTIONS, _OF_THE_BOX),
    "enter": {
        **dict.fromkeys(("harden", "harden=best", "network=True"), "the namespaces that are joined exist already"),
        "sysctl": "needs a new ipc namespace",
    },
}


def tried(entry: str, place: Path) -> list[str]:
    """Try all options at an entry point, and return what was not as in the tables."""
    os.chdir("/")
    wrong = []
    for name, (options, shown) in OPTIONS.items():
        given = dict(options) if entry in ("enter", "Box.run") else {"mount_proc": True, **options}
        expected = REFUSED.get(entry, {}).get(name)
        # An ordinary user's ids are the caller's own outside.
        pattern = r"map= ?\d" if os.geteuid() != 0 and name == "private_ids" else shown
        try:
            found = ENTRIES[entry](**given)
        except (nsbox.NsboxError, OSError, TypeError) as error:
            if expected is None or not re.search(expected, str(error)) or not isinstance(error, nsbox.SpecError):
                wrong.append(f"{name}: {error!r}")
            continue
        if expected is not None:
            wrong.append(f"{name}: was not refused")
        elif not re.search(pattern, found):
            wrong.append(f"{name}: without effect: {found!r}")
    return wrong


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_option(who: Who, place: Path, entry: str) -> None:
    """It takes effect, or is refused by a SpecError that names it."""
    needs(who, "mipUnC")
    assert reachable(who, place, lambda: tried(entry, place)) == []


# Options that are not of the namespaces

ELSEWHERE: dict[str, Callable[[], object]] = {
    "max_output: belongs to what reads": lambda: nsbox.fork_exec(["true"], max_output=5),  # type: ignore[call-arg]
    "max_output: belongs to what": lambda: nsbox.Shell(max_output=5),  # type: ignore[call-arg]
    "max_output: belongs": lambda: nsbox.Box(max_output=5),  # type: ignore[call-arg]
    "max_output: neither": lambda: nsbox.run(["true"], max_output=5),
    "max_output: output is not captured": lambda: nsbox.Executor(1, max_output=5),
    "max_output: the caller reads the streams of asyncio": lambda: asyncio.run(
        nsbox.create_subprocess_exec("true", max_output=5)
    ),
    "user: belongs to the start of a program": lambda: nsbox.Box(user=5),  # type: ignore[call-arg]
    "user: belongs to the start": lambda: nsbox.Shell(user=5),  # type: ignore[call-arg]
    "user: belongs to": lambda: nsbox.fork_exec(["true"], user=5),  # type: ignore[call-arg]
    "user: belongs": lambda: nsbox.Executor(1, user=5),  # type: ignore[call-arg]
    "timeout: belongs to what waits": lambda: nsbox.fork_exec(["true"], timeout=5),  # type: ignore[call-arg]
    "timeout: belongs": lambda: nsbox.Box(timeout=5),  # type: ignore[call-arg]
    "trust: belongs to what receives": lambda: nsbox.fork_exec(["true"], trust=True),  # type: ignore[call-arg]
    "limits: is for programs": lambda: nsbox.Executor(1, limits={}),
    "root: is for programs": lambda: nsbox.Executor(1, root="/srv"),
}


@pytest.mark.parametrize("message", ELSEWHERE)
def test_refused_with_the_reason(message: str) -> None:
    """An option that belongs elsewhere is refused, and the message says where it belongs."""
    with pytest.raises(nsbox.SpecError, match=f"^{message}"):
        ELSEWHERE[message]()


# What was written to a root


SCRIPT = "echo new > /data/new; rm /etc/marker; test $(stat -c %u /etc) = 0"
CHANGES = [("created", "/data/new"), ("deleted", "/etc/marker")]


@pytest.mark.parametrize("harden", [False, True], ids=["plain", "harden"])
@pytest.mark.parametrize("entry", ["run", "Popen", "Box", "Shell", "fork_exec"])
def test_changes(who: Who, place: Path, entry: str, harden: bool) -> None:
    """Each of them has `changes`, whose files can be kept when all has ended. Files of root belong to root inside."""
    needs(who, "mipUnC" if harden else "mip")

    def work() -> tuple[list[tuple[str, str]], str]:
        argv = ["/bin/sh", "-c", SCRIPT]
        rootfs = Rootfs.make(place)
        layered: Any = {"root": Overlay([rootfs.path]), "mounts": rootfs.mounts, "harden": harden}
        found: Any
        if entry == "run":
            found = nsbox.run(argv, cwd="/", **layered)
        elif entry == "Popen":
            with nsbox.Popen(argv, cwd="/", **layered) as found:
                found.wait()
        elif entry == "fork_exec":
            found = nsbox.fork_exec(argv, cwd="/", **layered)
            assert found.wait().returncode == 0
        elif entry == "Box":
            with nsbox.Box(cwd="/", **layered) as found:
                found.run(argv, check=True)
        else:
            with nsbox.Shell(shell="/bin/sh", cwd="/", **layered) as found:
                found.run(SCRIPT, check=True)
        changes = found.changes()
        kept = place / f"kept-{entry}"
        changes.keep(kept)
        return [(change.state, change.path) for change in changes], (kept / "data" / "new").read_text()

    assert who(work) == (CHANGES, "new\n")


def test_no_changes(who: Who) -> None:
    """Without such a root they are refused, and for what runs in a box, whose root it shares."""

    def work() -> list[str]:
        messages = []
        with nsbox.Box("mip") as box, nsbox.Shell("mip") as shell, box.shell() as inside:
            child = nsbox.fork_exec(["true"])
            for one in (shell, inside, child, box.fork_exec(["true"])):
                with pytest.raises(nsbox.SpecError) as caught:
                    one.changes()
                messages.append(str(caught.value))
            child.wait()
        return messages

    assert all(message.startswith("changes: the root is no overlay") for message in who(work))


@needs_root
@pytest.mark.parametrize("options", [{}, {"harden": True}], ids=["plain", "harden"])
def test_user(options: dict[str, Any]) -> None:
    """``user=`` with `drop_groups` leaves no group of root's, wherever a program is given a user."""
    command = ["/bin/sh", "-c", "id -u; id -g; id -G"]
    keywords: Any = {"user": USER % 60000, "capture_output": True, "text": True, "cwd": "/"}
    drop: Any = options or {"drop_groups": True}
    expected = f"{USER % 60000}\n" * 3

    async def work() -> str:
        process = await nsbox.create_subprocess_exec(
            *command, user=keywords["user"], cwd="/", stdout=subprocess.PIPE, **drop
        )
        return (await process.communicate())[0].decode()

    with nsbox.Box("mip", cwd="/", **drop) as box:
        outputs = [
            nsbox.run(command, **keywords, **drop).stdout,
            box.run(command, **keywords).stdout,
            nsbox.enter(box, None, command, **keywords).stdout,
            asyncio.run(work()),
        ]
    assert outputs == [expected] * 4
