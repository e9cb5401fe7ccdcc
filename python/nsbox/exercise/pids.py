"""Use up all PIDs of a PID namespace: ``python -m nsbox.exercise.pids``."""

from __future__ import annotations

from nsbox.box.box import Box
from nsbox.lessons import Exhaustion, exhaust_pids

__all__ = ["PID_MAX", "exhaust_twice", "main"]

PID_MAX = 350
"""The limit of the namespace. It is below 400, so that this also works inside a namespace with a pid_max of 400."""


def exhaust_twice() -> tuple[Exhaustion, Exhaustion]:
    """Use up all PIDs of a new PID namespace twice; the second time the low PIDs are not handed out again."""
    with Box("mip", pid_max=PID_MAX) as box:
        return exhaust_pids(box), exhaust_pids(box)


def main() -> None:
    """Print what happened."""
    first, second = exhaust_twice()
    print(first, f"All of them were ended. The second time, {second.started} processes were started.", sep="\n")


if __name__ == "__main__":
    main()
