"""``ip netns exec NAME PROGRAM``: a network namespace by its name, and a mount namespace for /sys (ip-netns(8))."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from nsbox.command.options import UsageError
from nsbox.command.translation import Translation
from nsbox.records.steps import ExplainedStep

__all__ = ["execute"]


def execute(words: Sequence[str]) -> Translation:
    """Explain the words behind ``ip netns exec``.

    Raises:
        UsageError: where the name or the program is missing.
    """
    if len(words) < 2 or words[0].startswith("-"):
        raise UsageError(
            "ip netns exec: expected NAME PROGRAM. Example: nsbox explain ip netns exec blue ping 10.0.0.1"
        )
    name, *program = words
    path, line = f"/run/netns/{name}", shlex.join(program)
    steps = [
        (
            "join net", f'open("{path}"); setns(FILE, CLONE_NEWNET)', f"nsenter --net={shlex.quote(path)} PROGRAM",
            "setns(2)", "ip netns add has mounted the namespace at this file, so it lives without a process",
        ),
        ("unshare", "unshare(CLONE_NEWNS)", "unshare --mount --propagation=unchanged PROGRAM", "unshare(2)",
         "what is mounted next is seen by the program only"),
        ("propagation", 'mount("", "/", "none", MS_SLAVE|MS_REC, NULL)', "mount --make-rslave /",
         "mount_namespaces(7)", "mounts outside still appear inside, but not the other way round"),
        ("sys", f'umount2("/sys", MNT_DETACH); mount("{name}", "/sys", "sysfs", 0, NULL)',
         "umount --lazy /sys; mount -t sysfs sysfs /sys", "sysfs(5)",
         "a sysfs shows the interfaces of the network namespace in which it was mounted"),
        ("/etc", f'mount("/etc/netns/{name}/FILE", "/etc/FILE", "none", MS_BIND, NULL)',
         f"for f in /etc/netns/{shlex.quote(name)}/*; do mount --bind $f /etc/${{f##*/}}; done", "ip-netns(8)",
         "files such as resolv.conf can be of this namespace only; without that directory nothing is mounted"),
        ("exec", f'execve("{program[0]}", {json.dumps(program)}, environ)', f"exec {line}", "execve(2)",
         "the ip process itself becomes the program: there is no fork"),
    ]  # fmt: skip
    explained = tuple(
        ExplainedStep(index, "ip", step, call, command, manual, why)
        for index, (step, call, command, manual, why) in enumerate(steps)
    )
    inner = f"mount --make-rslave /; umount -l /sys; mount -t sysfs sysfs /sys; exec {line}"
    command = f"nsenter --net={shlex.quote(path)} unshare --mount --propagation=unchanged sh -c {shlex.quote(inner)}"
    notes = (
        "only the network is another one: processes, users and files are those of the caller",
        "a user who is not root needs CAP_SYS_ADMIN; without it: nsbox run --net, or unshare -rn",
        "nsbox makes network namespaces without names, which end with their box: Box('n'), connect",
    )
    return Translation(explained, command, f"nsbox.enter({path!r}, None, {program!r})", notes)
