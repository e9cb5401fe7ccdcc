"""Options that limit what all processes of a container use together, by its cgroup (cgroups(7))."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from nsbox.command.engines import values
from nsbox.command.engines.container import Container, Setting
from nsbox.command.options import UsageError

__all__ = ["cgroup", "cpus", "device_rate", "not_in_version_2", "pids", "plain", "size_or_max", "swap"]


def cgroup(file: str, text: Callable[[str, str], str], python: str = "") -> Setting:
    """Return what writes a value to a file of the container's cgroup; `python` is the name of the limit in nsbox."""

    def read(container: Container, option: str, value: str) -> None:
        written = text(option, value)
        in_nsbox = ""
        if python and written != "max":
            number = values.number(option, value) if python == "cpu" else int(written)
            container.python.setdefault("limits", {})[python] = number
            in_nsbox = f"; in nsbox: limits={{{python!r}: {number}}}"
        container.step(
            "cgroup",
            file,
            f'write("CGROUP/{file}", "{written}")',
            f"echo {shlex.quote(written)} > CGROUP/{file}",
            "cgroups(7)",
            f"--{option}={value}: a limit for all processes together{in_nsbox}",
        )

    return read


def size_or_max(option: str, value: str) -> str:
    """Return the text of a limit in bytes; a negative one is no limit."""
    return "max" if value.startswith("-") else str(values.size(option, value))


def swap(option: str, value: str) -> str:
    """Return the text of the limit of swap: the engine's is that of memory and swap together."""
    return "max" if value.startswith("-") else f"{values.size(option, value)} less the value of --memory"


def pids(option: str, value: str) -> str:
    """Return the text of a limit of processes; zero and negative ones are no limit."""
    number = int(values.number(option, value))
    return "max" if number <= 0 else str(number)


def cpus(option: str, value: str) -> str:
    """Return the quota and the period for a number of processors, in microseconds."""
    return f"{int(values.number(option, value) * 100_000)} 100000"


def device_rate(what: str) -> Callable[[str, str], str]:
    """Return what makes a limit of a device, such as ``rbps``."""

    def text(option: str, value: str) -> str:
        _, colon, rate = value.rpartition(":")
        if not colon:
            raise UsageError(f"--{option}: expected DEVICE:RATE, got '{value}'")
        return f"MAJOR:MINOR {what}={values.size(option, rate)}"

    return text


def plain(template: str = "{}") -> Callable[[str, str], str]:
    """Return what puts a value into a text."""
    return lambda _, value: template.format(value)


def not_in_version_2(container: Container, option: str, value: str) -> None:
    """Note that cgroups of version 2 have no such setting."""
    container.notes.append(f"--{option}={value}: cgroups of version 2 have no such setting, and the engine ignores it")
