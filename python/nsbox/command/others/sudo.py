"""``sudo PROGRAM`` and ``doas PROGRAM``: the program with the rights of another user."""

from __future__ import annotations

from collections.abc import Sequence

from nsbox.command.options import Option, UsageError, parse

__all__ = ["note", "program_of"]

_VALUES = {
    "user": "u", "group": "g", "host": "h", "prompt": "p", "close-from": "C", "chdir": "D", "chroot": "R", "role": "r",
    "type": "t", "command-timeout": "T", "other-user": "U",
}  # fmt: skip
_FLAGS = {
    "askpass": "A", "background": "b", "bell": "B", "preserve-groups": "P", "set-home": "H", "login": "i",
    "reset-timestamp": "k", "non-interactive": "n", "no-update": "N", "stdin": "S", "shell": "s",
}  # fmt: skip
_SUDO = (
    *(Option(name, letter, "VALUE") for name, letter in _VALUES.items()),
    *(Option(name, letter) for name, letter in _FLAGS.items()),
    Option("preserve-env", "E", "LIST", optional=True),
)
_DOAS = (Option("user", "u", "USER"), Option("config", "C", "FILE"), *(Option(letter, letter) for letter in "Lns"))


def program_of(name: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the user, and the program with its arguments, without options and variables.

    Raises:
        UsageError: for an unknown option, and without a program.
    """
    found, program = parse(_SUDO if name == "sudo" else _DOAS, words)
    user = next((value for option, value in reversed(found) if option.name == "user"), None) or "root"
    while program and "=" in program[0].partition("/")[0]:
        program = program[1:]
    if not program:
        raise UsageError(f"{name}: no program is given. Example: nsbox explain {name} unshare --mount sh")
    return "root" if user == "#0" else user, program


def note(name: str, user: str, program: str) -> str:
    """Return what the command changes for the steps of the program."""
    if program == "docker":
        return f"{name}: the client may then connect to the daemon; the steps are those of the daemon in any case"
    if user != "root":
        return f"{name}: the steps are carried out as {user}; a user who is not root needs a new user namespace (-r)"
    return (
        f"{name}: the steps are carried out as root, so no new user namespace is needed, and root inside is root "
        "outside; as an ordinary user, without it: unshare -r, or nsbox run"
    )
