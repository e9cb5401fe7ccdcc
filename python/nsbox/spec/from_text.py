"""Options of `Spec` from text and JSON: of a kernel.json, and of ``--option NAME=VALUE``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from nsbox.errors import SpecError
from nsbox.spec.mounts import Bind, NewMount, Overlay, Proc, Tmpfs
from nsbox.spec.nearest import did_you_mean
from nsbox.spec.spec import Spec

__all__ = ["options_from", "pair_from"]

_MOUNTS = {"bind": Bind, "overlay": Overlay, "proc": Proc, "tmpfs": Tmpfs}
_DERIVED = ("unshare", "maps", "hardened")


def pair_from(text: str) -> tuple[str, Any]:
    """Return the name and the value of ``NAME=VALUE``, whose value is JSON or plain text.

    Raises:
        SpecError: for text without a name.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SpecError(f"--option: expected NAME=VALUE, got {text!r}")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


def options_from(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `Spec` that these values of JSON stand for.

    Args:
        values: Names with values. A mount is an object with ``type`` (``"bind"``, ``"overlay"``, ``"proc"`` or
            ``"tmpfs"``) and the arguments of that class; `root` can be one, too.

    Raises:
        SpecError: for a name that is no option, and for a mount that makes no sense.
    """
    for name in values:
        if name not in Spec.__dataclass_fields__ or name in _DERIVED:
            known = [field for field in Spec.__dataclass_fields__ if field not in _DERIVED]
            raise SpecError(f"{name}: is no option of nsbox.Spec{did_you_mean(name, known)}")
    options = dict(values)
    if "mounts" in options:
        if not isinstance(options["mounts"], list):
            raise SpecError(f"mounts: expected a list of objects, got {options['mounts']!r}")
        options["mounts"] = tuple(_mount("mounts", entry) for entry in options["mounts"])
    if isinstance(options.get("root"), dict):
        options["root"] = _mount("root", {"target": "/", **options["root"]})
    return options


def _mount(option: str, entry: object) -> NewMount:
    if not isinstance(entry, dict) or entry.get("type") not in _MOUNTS:
        raise SpecError(f"{option}: expected an object whose type is one of {', '.join(_MOUNTS)}, got {entry!r}")
    arguments = {name: value for name, value in entry.items() if name != "type"}
    try:
        return cast("NewMount", _MOUNTS[entry["type"]](**arguments))
    except TypeError as error:
        raise SpecError(f"{option}: {entry['type']}: {error}") from None
