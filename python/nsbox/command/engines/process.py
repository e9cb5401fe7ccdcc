"""Options about the process of the program: ids, directory, environment, limits for each process."""

from __future__ import annotations

import shlex

from nsbox.command.engines import values
from nsbox.command.engines.container import Container, Setting
from nsbox.command.options import UsageError
from nsbox.spec.nearest import did_you_mean

__all__ = ["environment", "groups", "init", "kernel", "rlimit", "sysctl", "terminal", "user", "workdir"]


def user(container: Container, option: str, value: str) -> None:
    """Set the ids of the program."""
    user, _, group = value.partition(":")
    container.python["user"] = int(user) if user.isdecimal() else user
    words = [f"setpriv --reuid {shlex.quote(user)}"]
    if group:
        container.python["group"] = int(group) if group.isdecimal() else group
        words.append(f"--regid {shlex.quote(group)} --clear-groups")
    else:
        words.append("--init-groups")
    container.step(
        "process",
        "user",
        "setgroups([]); setgid(GID); setuid(UID)",
        f"{' '.join(words)} PROGRAM",
        "setuid(2)",
        f"--{option}={value}: names are those of /etc/passwd in the image; in nsbox: user=, group=",
    )


def groups(container: Container, option: str, value: str) -> None:
    """Add a group."""
    groups = container.python.setdefault("extra_groups", [])
    groups.append(int(value) if value.isdecimal() else value)
    container.step(
        "process",
        "groups",
        f"setgroups([{value}])",
        f"setpriv --groups {shlex.quote(value)} PROGRAM",
        "setgroups(2)",
        f"--{option}={value}: another group; in nsbox: extra_groups=",
    )


def workdir(container: Container, option: str, value: str) -> None:
    """Set the working directory."""
    container.python["cwd"] = value
    container.unshare.append(f"--wd={value}")
    container.step(
        "process",
        "directory",
        f'chdir("{value}")',
        f"cd {shlex.quote(value)}",
        "chdir(2)",
        f"--{option}={value}: made if the image has none; in nsbox: cwd={value!r}",
    )


def environment(container: Container, option: str, value: str) -> None:
    """Set variables of the environment."""
    container.step(
        "process",
        "environment",
        f"execve(..., envp with {value})",
        f"env {shlex.quote(value)} PROGRAM",
        "environ(7)",
        f"--{option}={value}: a variable of the program; in nsbox: env=",
    )


def terminal(container: Container, option: str, value: str) -> None:
    """Give the program a terminal."""
    if values.flag(option, value):
        container.step(
            "process",
            "terminal",
            "ioctl(TIOCSCTTY) on /dev/pts/0 of the container",
            "script -q -c PROGRAM",
            "pty(7)",
            f"--{option}: the program gets a pseudoterminal of its own; in nsbox: nsbox.Shell",
        )


def init(container: Container, option: str, value: str) -> None:
    """Start an init as PID 1."""
    container.init = values.flag(option, value)


def rlimit(container: Container, option: str, value: str) -> None:
    """Set a limit for each process."""
    name, equals, limits = value.partition("=")
    soft, _, hard = limits.partition(":")
    known = (
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    )
    if not equals or name not in known:
        raise UsageError(f"--{option}: expected NAME=SOFT:HARD, got '{value}'{did_you_mean(name, known)}")
    pair = [int(values.number(option, limit)) for limit in (soft, hard or soft)]
    container.python.setdefault("rlimits", {})[name] = tuple(pair)
    resource = f"RLIMIT_{name.upper()}"
    container.step(
        "process",
        "rlimit",
        f"prlimit(0, {resource}, {{{pair[0]}, {pair[1]}}})",
        f"prlimit --{name}={pair[0]}:{pair[1]} PROGRAM",
        "getrlimit(2)",
        f"--{option}={value}: a limit for each process; in nsbox: rlimits={{{name!r}: {tuple(pair)}}}",
    )


def sysctl(container: Container, option: str, value: str) -> None:
    """Set a parameter of the kernel."""
    name, equals, text = value.partition("=")
    if not equals:
        raise UsageError(f"--{option}: expected NAME=VALUE, got '{value}'")
    container.python.setdefault("sysctl", {})[name] = text
    container.step(
        "names",
        "sysctl",
        f'write("/proc/sys/{name.replace(".", "/")}", "{text}")',
        f"sysctl -w {shlex.quote(value)}",
        "sysctl(8)",
        f"--{option}={value}: of the new namespaces; in nsbox: sysctl={{{name!r}: {text!r}}}",
    )


def kernel(name: str, call: str, command: str, manual: str, why: str) -> Setting:
    """Return what sets something of the process by one system call."""

    def read(container: Container, option: str, value: str) -> None:
        container.step(
            "process",
            name,
            call.format(value),
            command.format(shlex.quote(value)),
            manual,
            f"--{option}{f'={value}' if value else ''}: {why}",
        )

    return read
