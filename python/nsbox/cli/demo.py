"""``nsbox demo``: the workshop exercise, step by step, on this kernel."""

from __future__ import annotations

import argparse

from nsbox.exercise.steps import Exercise

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: there is one exercise."""
    parser.epilog = (
        "The exit status is 1 if a check fails. A step that this machine does not allow is skipped, with the reason."
    )


def execute(options: argparse.Namespace) -> int:
    """Run all steps of the exercise; return the exit status."""
    del options
    return Exercise().run()
