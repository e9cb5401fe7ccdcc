"""The colours of pictures, and for each kind of namespace its colour and a short explanation.

A picture is drawn in the light colours. `DARK` has the colour for a dark page in the place of each.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AMBER", "DARK", "EDGE", "GREEN", "GREY", "INK", "KIND_STYLES", "LINE", "PAPER", "RED", "SLATE", "KindStyle"]


class KindStyle(NamedTuple):
    """How a kind of namespace is shown.

    Attributes:
        colour: Dark enough for white text on it, and for itself on white (WCAG 2.1, 1.4.3); light enough for a square
            on black (1.4.11), as the squares in tables have one colour. It differs from the others also for people who
            cannot distinguish red and green.
        gives: What the processes in a new one get.
    """

    colour: str
    gives: str


KIND_STYLES = {
    "user": KindStyle("#8648bb", "user and group ids of its own, with a root"),
    "cgroup": KindStyle("#8a5426", "a root of the control groups of its own"),
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
LINE = "#8893a3"
EDGE = "#d5dae1"
GREEN = "#1a7f37"
RED = "#b3261e"
AMBER = "#8a5a00"

DARK = {
    PAPER: "#171c23",
    INK: "#e6edf3",
    SLATE: "#aebac8",
    GREY: "#98a4b3",
    LINE: "#6b7787",
    EDGE: "#333b45",
    GREEN: "#57d267",
    RED: "#ff8178",
    AMBER: "#e0ad4a",
    KIND_STYLES["user"].colour: "#cf9df2",
    KIND_STYLES["cgroup"].colour: "#d6a577",
    KIND_STYLES["time"].colour: "#a3b1c2",
    KIND_STYLES["net"].colour: "#e5b53c",
    KIND_STYLES["uts"].colour: "#ff8fc7",
    KIND_STYLES["ipc"].colour: "#ff9c66",
    KIND_STYLES["mount"].colour: "#4fd0a4",
    KIND_STYLES["pid"].colour: "#71b7ff",
}
"""For each colour the one that has its place on a dark page, with the same contrasts."""
