"""Let an ordinary user reach Python and this project, wherever in root's own directories they are."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

from tests.support import libc

__all__ = ["become_reachable"]

ROOT = Path(__file__).parent.parent.parent
CLONE_NEWNS = 0x20000


def become_reachable(workplace: Path) -> None:
    """Move this process into a mount namespace where every user can enter Python's directories and the project's.

    Their paths stay: each closed directory above them is covered by an empty one, into which they are bound.
    Only for a child, as it needs privileges and cannot be undone. What it creates in `workplace` stays there.
    """
    workplace = Path(tempfile.mkdtemp(prefix="bound-", dir=workplace))
    libc.unshare(CLONE_NEWNS)
    libc.mount(None, "/", flags=libc.MS_REC | libc.MS_PRIVATE)
    closed: dict[Path, Path] = {}
    for path in {Path(sys.base_prefix), Path(sys.prefix), ROOT}:
        if (parent := _closed_parent(path)) is not None:
            closed[path] = parent
    for number, path in enumerate(closed):
        (workplace / str(number)).mkdir()
        libc.mount(str(path), str(workplace / str(number)), flags=libc.MS_BIND | libc.MS_REC)
    for parent in set(closed.values()):
        libc.mount("tmpfs", str(parent), "tmpfs")
    for number, path in enumerate(closed):
        path.mkdir(parents=True, exist_ok=True)
        libc.mount(str(workplace / str(number)), str(path), flags=libc.MS_BIND | libc.MS_REC)


def _closed_parent(path: Path) -> Path | None:
    return next((one for one in reversed(path.parents) if not os.stat(one).st_mode & stat.S_IXOTH), None)
