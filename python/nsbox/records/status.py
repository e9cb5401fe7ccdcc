"""The parser of /proc/PID/status (proc_pid_status(5))."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["fields_of", "pids_of"]


def fields_of(text: bytes) -> dict[str, str]:
    """Return the fields by name. Only newlines end a line: a process may have any other byte in its name."""
    pairs = (line.partition(":") for line in text.decode(errors="replace").split("\n"))
    return {name: value.strip() for name, _, value in pairs}


def pids_of(fields: Mapping[str, str]) -> list[int]:
    """Return the PIDs of a process, or the ids of a thread, from the PID namespace of the proc inwards (NSpid)."""
    return [int(pid) for pid in fields.get("NSpid", "").split()]
