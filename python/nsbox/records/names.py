"""Names of processes, users and terminals as text, and any text from a box as one that a terminal can be given."""

from __future__ import annotations

import sys

__all__ = ["Users", "escaped", "printable", "safe", "safe_lines", "terminal", "user"]

_ESCAPES = {byte: f"\\{byte:03o}" for byte in range(256) if not 0x20 <= byte < 0x7F} | {0x5C: "\\\\"}


def printable(name: bytes) -> str:
    """Return a name as text: a byte that is not printable ASCII as three octal digits, a backslash as two."""
    text = name.decode("latin-1")
    return text if text.isascii() and text.isprintable() and "\\" not in text else text.translate(_ESCAPES)


def safe(text: str) -> str:
    """Return a text for a terminal: each character that is not printable is escaped, byte by byte.

    Every name that a program can have chosen (of a process, host, file, file system or interface) is shown so: a
    control character would make the terminal do something, and a line break or a change of the writing direction would
    make a text say something else.
    """
    return text if text.isprintable() else "".join(char if char.isprintable() else escaped(char) for char in text)


def safe_lines(text: str) -> str:
    """Return the same for a text of several lines: line breaks and tabs stay."""
    return "\n".join("\t".join(map(safe, line.split("\t"))) for line in text.split("\n"))


def escaped(char: str) -> str:
    """Return the bytes of a character as hexadecimal numbers."""
    # A byte that is no UTF-8 is a low surrogate in Python (surrogateescape). Other surrogates have no bytes.
    errors = "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", errors))


def user(uid: int) -> str:
    """Return the name of a user, or the number if the user has no name.

    In the mount namespace of other processes no name is looked up, as their nsswitch.conf(5) says which libraries are
    loaded for that.
    """
    # Records can be shown where there is no core.
    core = sys.modules.get("nsbox._core")
    if core is not None and core.in_foreign_mounts():
        return str(uid)
    try:
        import pwd  # noqa: PLC0415 - only needed for text with user names

        return pwd.getpwuid(uid).pw_name
    except (KeyError, ModuleNotFoundError):  # records from Linux can be shown on any system
        return str(uid)


class Users(dict[int, str]):
    """Names of users. Each is looked up once, as a lookup may go over a network (nsswitch.conf(5))."""

    def __missing__(self, uid: int) -> str:
        """Look up a name."""
        name = self[uid] = user(uid)
        return name


def terminal(device: int) -> str | None:
    """Return the name of a terminal, by its device number (admin-guide/devices.txt of the kernel)."""
    if device == 0:
        return None
    # The number has 32 bits, and may be read as a negative one. os.major is not used: this may run on another system.
    major, minor = device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00
    if major in range(136, 144):
        return f"pts/{(major - 136) * 256 + minor}"
    names = {4: f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}", 5: "console" if minor == 1 else "tty"}
    return names.get(major, f"{major}:{minor}")
