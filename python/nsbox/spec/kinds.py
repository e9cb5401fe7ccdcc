"""The eight kinds of namespaces by name, letter and flag, and the forms in which callers name them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from nsbox import _core
from nsbox.errors import SpecError
from nsbox.records.processes import NamespaceIds

if TYPE_CHECKING:
    from nsbox import _core
    from nsbox.spec.kinds import Namespaces

__all__ = ["KINDS", "Namespaces", "namespace_names"]


KINDS = {kind.name: kind for kind in _core.kinds()}
"""The kinds of namespaces by name, in the order in which nsbox names them (namespaces(7))."""


Namespaces: TypeAlias = "str | int | Iterable[str | int]"
"""Letters as in unshare(1) (``"mip"``), words (``"pid mount"``), ``os.CLONE_NEW*`` flags, or several of these."""


_WORDS = KINDS | {kind.link: kind for kind in KINDS.values()}


_LETTERS = {kind.letter: kind for kind in KINDS.values()}


_ALL_FLAGS = sum(kind.flag for kind in KINDS.values())


def namespace_names(wanted: Namespaces) -> tuple[str, ...]:
    """Return the names of the wanted namespaces, each once, in nsbox's order.

    No word can be read as letters, so the forms do not clash: ``"mip"``, ``"-mip"``, ``"pid mount"``, ``"mnt,pid"``,
    ``{"pid", "mount"}``, ``os.CLONE_NEWPID | os.CLONE_NEWNS``.

    Raises:
        SpecError: for anything that is not a namespace.
    """
    found = set(_named(wanted))
    return tuple(name for name in KINDS if name in found)


def _named(wanted: Namespaces) -> Iterable[str]:
    if isinstance(wanted, bool) or not isinstance(wanted, str | int | Iterable):
        raise SpecError(f"unshare: expected letters, words or flags, got {wanted!r}")
    if isinstance(wanted, int):
        if wanted & ~_ALL_FLAGS or wanted < 0:
            raise SpecError(f"unshare: {wanted:#x} has bits that are no CLONE_NEW* flag")
        return [kind.name for kind in KINDS.values() if wanted & kind.flag]
    if not isinstance(wanted, str):
        return [name for part in wanted for name in _named(part)]
    names: list[str] = []
    for word in wanted.replace(",", " ").split():
        if word in _WORDS:
            names.append(_WORDS[word].name)
            continue
        for letter in word.removeprefix("-"):
            if letter not in _LETTERS:
                raise SpecError(_unknown(word, letter))
            names.append(_LETTERS[letter].name)
    return names


def _unknown(word: str, letter: str) -> str:
    problem = f"unshare: {letter!r} in {word!r} is no namespace"
    if letter == "f":
        return problem + "; forking is the default, and fork=False turns it off"
    if letter == "r":
        return problem + "; map_root_user=True is what unshare -r does"
    letters = ", ".join(f"{kind.letter} {name}" for name, kind in KINDS.items())
    return f"{problem}: the letters and words are {letters}"


_LINKS = {kind: "mnt" if kind == "mount" else kind for kind in NamespaceIds._fields}
