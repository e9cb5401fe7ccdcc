"""What a program sees of its own process: by programs that do not fork, so that any process can run them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from typing import Any

import nsbox

__all__ = ["LINKS", "by_unshare", "cat", "links", "mounts", "own_links", "status"]

LINKS = {kind: kind for kind in ("user", "pid", "ipc", "uts", "net", "cgroup", "time")} | {"mount": "mnt"}
"""The file in /proc/PID/ns for each kind of namespace."""


def cat(*paths: str, **options: Any) -> str:
    """Return the contents of files as a process in new namespaces reads them."""
    return str(nsbox.run(["cat", *paths], capture_output=True, text=True, check=True, **options).stdout)


def links(kinds: Iterable[str] = LINKS, **options: Any) -> dict[str, str]:
    """Return the namespaces of a process in new namespaces."""
    paths = [f"/proc/self/ns/{LINKS[kind]}" for kind in kinds]
    result = nsbox.run(["readlink", *paths], capture_output=True, text=True, check=True, **options)
    return dict(zip(kinds, result.stdout.split(), strict=True))


def own_links(kinds: Iterable[str] = LINKS) -> dict[str, str]:
    """Return the namespaces of this process."""
    return {kind: os.readlink(f"/proc/self/ns/{LINKS[kind]}") for kind in kinds}


def status(text: str) -> dict[str, str]:
    """Return the fields of a /proc/PID/status."""
    pairs = (line.split(":", 1) for line in text.splitlines())
    return {name: " ".join(value.split()) for name, value in pairs}


def mounts(text: str) -> list[str]:
    """Return the lines of a mountinfo without the numbers that differ every time."""
    lines = (re.sub(r"^\d+ \d+ \S+ ", "", line) for line in text.splitlines())
    return [re.sub(r"(shared|master|propagate_from):\d+", r"\1", line) for line in lines]


def by_unshare(*arguments: str) -> str:
    """Return the output of the real unshare(1), the oracle for everything it can do."""
    result = subprocess.run(["unshare", *arguments], capture_output=True, text=True, check=True)
    return result.stdout
