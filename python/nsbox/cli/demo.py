"""``nsbox demo``: the workshop exercise, live, step by step."""

from __future__ import annotations

import argparse

from nsbox.exercise.steps import Exercise

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: there is one exercise."""
    parser.epilog = "The exit status is 1 if a check does not hold. Steps that this machine forbids say so."


def execute(options: argparse.Namespace) -> int:
    """Walk through the exercise."""
    del options
    return Exercise().run()
