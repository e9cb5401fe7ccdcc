"""Options about what the program may do: capabilities, seccomp, labels (capabilities(7))."""

from __future__ import annotations

import shlex

from nsbox.command.engines import values
from nsbox.command.engines.container import Container, Setting
from nsbox.command.options import UsageError
from nsbox.spec.nearest import did_you_mean

__all__ = ["CAPABILITIES", "capability", "privileged", "security"]

CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""All capabilities, without their prefix (capabilities(7))."""


def capability(attribute: str) -> Setting:
    """Return what adds or drops capabilities."""

    def read(container: Container, option: str, value: str) -> None:
        for word in value.split(","):
            name = word.upper().removeprefix("CAP_")
            if name not in (*CAPABILITIES, "ALL"):
                raise UsageError(f"--{option}: unknown capability '{word}'{did_you_mean(name, CAPABILITIES)}")
            getattr(container, attribute).add(name)
            container.options.setdefault("capabilities", []).append(f"--{option}={word}")

    return read


def security(container: Container, option: str, value: str) -> None:
    """Set what ``--security-opt`` names: seccomp, labels, masks, no_new_privs."""
    name, sign, argument = value.partition("=")
    if not sign:
        name, sign, argument = value.partition(":")
    given = f"--{option}={value}"
    known = ["apparmor", "label", "no-new-privileges", "seccomp", "systempaths", "writable-cgroups"]
    known += ["mask", "unmask", "proc-opts"] if container.engine == "podman" else []
    if name not in known:
        raise UsageError(f"--{option}: unknown option '{name}'{did_you_mean(name, known)}")
    if name == "no-new-privileges" and argument in ("", "true"):
        container.python["no_new_privs"] = True
        container.step(
            "rights",
            "no_new_privs",
            "prctl(PR_SET_NO_NEW_PRIVS, 1)",
            "setpriv --no-new-privs PROGRAM",
            "PR_SET_NO_NEW_PRIVS(2const)",
            f"{given}: no exec grants rights; in nsbox: no_new_privs=True",
        )
    elif name == "seccomp":
        container.seccomp = argument
        container.options.setdefault("seccomp", []).append(given)
    elif (name, argument) in (("systempaths", "unconfined"), ("unmask", "ALL")):
        container.masked = False
        container.options.setdefault("masks", []).append(given)
    elif name in ("mask", "unmask", "proc-opts", "writable-cgroups"):
        container.options.setdefault("masks", []).append(given)
    elif name == "apparmor":
        command = "" if argument == "unconfined" else f"aa-exec -p {shlex.quote(argument)} -- PROGRAM"
        container.step(
            "rights",
            "AppArmor",
            f'write("/proc/self/attr/apparmor/exec", "exec {argument}")',
            command,
            "apparmor(7)",
            f"{given}: the profile of the program; nsbox changes none",
        )
    elif name == "label":
        container.step(
            "rights",
            "SELinux",
            'write("/proc/self/attr/exec", LABEL)',
            "runcon LABEL PROGRAM",
            "runcon(1)",
            f"{given}: the label of the program; nsbox changes none",
        )


def privileged(container: Container, option: str, value: str) -> None:
    """Give the container all rights."""
    container.privileged = values.flag(option, value)
