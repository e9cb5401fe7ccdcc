"""The table of differences between two snapshots: what came, went and changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from nsbox.records.names import safe
from nsbox.records.processes import command
from nsbox.views import grid
from nsbox.views import html as _html
from nsbox.views.palette import AMBER, GREEN, RED

if TYPE_CHECKING:
    from nsbox.records.changes import Changes
    from nsbox.records.ipc import IpcObject
    from nsbox.records.mountinfo import Mount
    from nsbox.records.namespaces import NamespaceRecord
    from nsbox.records.processes import NamespaceIds, Process

__all__ = ["Differences", "html", "ipc_object", "is_colored", "mount", "text"]

_COLUMNS = (grid.Column(" "), grid.Column("WHAT"), grid.Column("WHICH"), grid.Column("", cut=True))
# A column is at least as wide as its heading, even if headings are not shown.
_BARE = tuple(replace(column, name="") for column in _COLUMNS)
_COLOURS = {"+": GREEN, "-": RED, "~": AMBER}
_ESCAPES = {"+": "\033[32m", "-": "\033[31m", "~": "\033[33m"}
_LABELS = {"kept_by": "kept by", "pgid": "process group", "ppid": "parent", "sid": "session"}
_NOTHING = "nothing changed"


def is_colored() -> bool:
    """Return whether standard output is a terminal, and the user has not set NO_COLOR (no-color.org)."""
    return not os.environ.get("NO_COLOR") and sys.stdout.isatty()


class Differences(NamedTuple):
    """The attributes of `nsbox.Diff` that are shown; they are described there."""

    processes: Changes[Process]
    namespaces: Changes[NamespaceRecord]
    mounts: Changes[Mount]
    ipc: Changes[IpcObject]
    hostname: tuple[str, str] | None
    notes: Sequence[str]


def text(diff: Differences, *, width: int | None, color: bool) -> str:
    """Return a line for each difference."""
    lines = grid.human(_BARE, list(_rows(diff)), width=width, headings=False).split("\n")
    lines = [_colored(line.rstrip()) if color else line.rstrip() for line in lines if line] or [_NOTHING]
    return "\n".join([*lines, *_notes(diff)])


def html(diff: Differences) -> str:
    """Return the same as an HTML table."""
    rows = list(_rows(diff))
    notes = [*([] if rows else [_NOTHING]), *_notes(diff)]
    return _html.table(_COLUMNS, rows, colours={" ": _COLOURS}, notes=notes)


def _colored(line: str) -> str:
    escape = _ESCAPES.get(line[:1])
    return f"{escape}{line}\033[0m" if escape else line


def _notes(diff: Differences) -> list[str]:
    return [f"({note})" for note in diff.notes]


def _rows(diff: Differences) -> Iterator[grid.Row]:
    yield from _of("process", diff.processes, _process)
    yield from _of("namespace", diff.namespaces, _namespace)
    yield from _of("mount", diff.mounts, lambda one: (one.point, mount(one)))
    yield from _of("ipc", diff.ipc, ipc_object)
    if diff.hostname is not None:
        before, after = map(safe, diff.hostname)
        yield grid.Row(["~", "host name", after, f"was {before}"])


def _of(what: str, changes: Changes[Any], show: Callable[[Any], tuple[str, str]]) -> Iterator[grid.Row]:
    for sign, ones in (("-", changes.went), ("+", changes.came)):
        for one in ones:
            yield grid.Row([sign, what, *show(one)])
    for change in changes.changed:
        which, shown = show(change.after)
        details = ", ".join(_detail(name, change.before, change.after) for name in change.what)
        yield grid.Row(["~", what, which, f"{shown}: {details}"])


def _process(process: Process) -> tuple[str, str]:
    inner = getattr(process, "pids", ())[1:]
    return f"{process.pid}/{'/'.join(map(str, inner))}" if inner else str(process.pid), command(process)


def _namespace(namespace: NamespaceRecord) -> tuple[str, str]:
    if namespace.pid is None:
        return namespace.link, f"kept by {', '.join(namespace.kept_by)}"
    name = (namespace.command or b"").decode("utf-8", "surrogateescape")
    return namespace.link, f"of {namespace.pid} {name}"


def mount(mount: Mount) -> str:
    """Return what is mounted: its source, type and propagation."""
    root = "" if mount.root == "/" else f"{mount.root} of "
    return f"{root}{mount.source or 'none'} ({mount.fstype}; {','.join(mount.propagation) or 'private'})"


def ipc_object(one: IpcObject) -> tuple[str, str]:
    """Return which object it is, and its key and size."""
    which = f"{one.kind} /{one.name}" if one.name is not None else f"{one.kind} {one.id}"
    size = "" if one.size is None else f"{one.size} bytes"
    key = "" if one.key is None else f"key 0x{one.key:08x}"
    return which, ", ".join(filter(None, (key, size)))


def _detail(name: str, before: object, after: object) -> str:
    was, now = getattr(before, name), getattr(after, name)
    if name == "namespaces":
        return f"other {', '.join(_other(was, now))}"
    if name == "command":
        return f"was {was}"
    return f"{_LABELS.get(name, name)} {_value(was)} -> {_value(now)}"


def _other(before: NamespaceIds, after: NamespaceIds) -> list[str]:
    pairs = zip(before._fields, before, after, strict=True)
    return [kind for kind, was, now in pairs if was and now and was != now]


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)
