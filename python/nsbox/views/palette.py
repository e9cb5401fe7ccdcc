"""The colours of pictures, and for each kind of namespace its colour and a short explanation."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AMBER", "GREEN", "GREY", "INK", "KIND_STYLES", "LINE", "PAPER", "RED", "SLATE", "KindStyle"]


class KindStyle(NamedTuple):
    """How a kind of namespace is shown.

    Attributes:
        colour: Dark enough for white text on it, and for itself on white (WCAG 2.1, 1.4.3). It differs from the others
            also for people who cannot distinguish red and green.
        gives: What the processes in a new one get.
    """

    colour: str
    gives: str


KIND_STYLES = {
    "user": KindStyle("#7b3aa8", "user and group ids of its own, with a root"),
    "cgroup": KindStyle("#7a4a21", "a root of the control groups of its own"),
    "time": KindStyle("#5a6472", "a boot time and clock of its own"),
    "net": KindStyle("#8a6100", "network interfaces, addresses and ports of its own"),
    "uts": KindStyle("#b0307a", "a host name of its own"),
    "ipc": KindStyle("#bf4a00", "shared memory and message queues of its own"),
    "mount": KindStyle("#0a7a55", "a view of the file systems of its own"),
    "pid": KindStyle("#0b5fb0", "PIDs of its own, beginning with 1"),
}
"""In the order of their boxes, the outermost first, if several are new for a process; a user namespace owns the
others."""

PAPER = "#ffffff"
INK = "#1b2430"
SLATE = "#4a5667"
GREY = "#667080"
LINE = "#9aa5b3"
GREEN = "#1a7f37"
RED = "#b3261e"
AMBER = "#8a5a00"
