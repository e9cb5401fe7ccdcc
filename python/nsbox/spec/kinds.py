"""The eight kinds of namespaces: their names, letters and flags, and the forms in which a caller can name them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from nsbox.errors import SpecError
from nsbox.spec.nearest import nearest

__all__ = ["KINDS", "KINDS_BY_WORD", "Kind", "Namespaces", "namespace_names"]


class Kind(NamedTuple):
    """One kind of namespace.

    Attributes:
        name: The name used throughout nsbox.
        letter: The letter of unshare(1)'s short option.
        link: The link in /proc/PID/ns; also accepted as a name.
        flag: The CLONE_NEW* flag (clone(2)).
        flag_name: The name of that flag.
    """

    name: str
    letter: str
    link: str
    flag: int
    flag_name: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("user", "U", "user", 0x1000_0000, "CLONE_NEWUSER"),
        Kind("mount", "m", "mnt", 0x0002_0000, "CLONE_NEWNS"),
        Kind("pid", "p", "pid", 0x2000_0000, "CLONE_NEWPID"),
        Kind("ipc", "i", "ipc", 0x0800_0000, "CLONE_NEWIPC"),
        Kind("uts", "u", "uts", 0x0400_0000, "CLONE_NEWUTS"),
        Kind("net", "n", "net", 0x4000_0000, "CLONE_NEWNET"),
        Kind("cgroup", "C", "cgroup", 0x0200_0000, "CLONE_NEWCGROUP"),
        Kind("time", "T", "time", 0x0000_0080, "CLONE_NEWTIME"),
    )
}
"""The kinds of namespaces by name, in the order in which nsbox names them (namespaces(7))."""

Namespaces: TypeAlias = "str | int | Iterable[str | int]"
"""Letters as in unshare(1) (``"mip"``), words (``"pid mount"``), ``os.CLONE_NEW*`` flags, or several of these."""

KINDS_BY_WORD = KINDS | {kind.link: kind for kind in KINDS.values()}
"""The kinds of namespaces by name, and by link."""

_LETTERS = {kind.letter: kind for kind in KINDS.values()}
_ALL_FLAGS = sum(kind.flag for kind in KINDS.values())


def namespace_names(wanted: Namespaces) -> tuple[str, ...]:
    """Return the names of the wanted namespaces, each once, in nsbox's order.

    The forms are: ``"mip"``, ``"-mip"``, ``"pid mount"``, ``"mnt,pid"``, ``{"pid", "mount"}``,
    ``os.CLONE_NEWPID | os.CLONE_NEWNS``. A word is never taken for letters: no word consists of letters of kinds only.

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
        if word in KINDS_BY_WORD:
            names.append(KINDS_BY_WORD[word].name)
            continue
        for letter in word.removeprefix("-"):
            if letter not in _LETTERS:
                raise SpecError(_unknown(word, letter))
            names.append(_LETTERS[letter].name)
    return names


def _unknown(word: str, letter: str) -> str:
    if similar := nearest(word, KINDS_BY_WORD) if len(word) > 2 and not word.startswith("-") else "":
        return f"unshare: {word!r} is no namespace; did you mean {similar!r}?"
    problem = f"unshare: {letter!r} in {word!r} is no namespace"
    if letter == "f":
        return problem + "; forking is the default, and fork=False turns it off"
    if letter == "r":
        return problem + "; map_root_user=True is what unshare -r does"
    letters = ", ".join(f"{kind.letter} {name}" for name, kind in KINDS.items())
    return f"{problem}: the letters and words are {letters}"
