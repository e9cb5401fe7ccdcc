"""The table of mounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nsbox.views import grid
from nsbox.views import html as _html

if TYPE_CHECKING:
    from nsbox.records.mountinfo import Mount

__all__ = ["html", "table"]

_COLUMNS = (
    grid.Column("ID", right=True), grid.Column("PARENT", right=True), grid.Column("TARGET"), grid.Column("SOURCE"),
    grid.Column("FSTYPE"), grid.Column("ROOT"), grid.Column("PROPAGATION"), grid.Column("PIDNS", right=True),
    grid.Column("OPTIONS"),
)  # fmt: skip


def table(mounts: Sequence[Mount]) -> str:
    """Return a table of mounts, in this order. The options are those of the mount, not of its file system."""
    return grid.human(_COLUMNS, _rows(mounts))


def html(mounts: Sequence[Mount]) -> str:
    """Return the same as an HTML table."""
    return _html.table(_COLUMNS, _rows(mounts))


def _rows(mounts: Sequence[Mount]) -> list[grid.Row]:
    rows = []
    for mount in mounts:
        pid_namespace = "" if mount.pid_namespace is None else str(mount.pid_namespace)
        if mount.fstype == "proc" and mount.pid_namespace is None:
            pid_namespace = "?"
        propagation = ",".join(mount.propagation) or "private"
        cells = [
            str(mount.id), str(mount.parent), mount.point, mount.source, mount.fstype, mount.root, propagation,
            pid_namespace, ",".join(mount.options),
        ]  # fmt: skip
        rows.append(grid.Row(cells))
    return rows
