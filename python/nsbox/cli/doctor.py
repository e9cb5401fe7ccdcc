"""``nsbox doctor``: what this machine, user and container allow, why the rest is refused, and what to do."""

from __future__ import annotations

import argparse
import json
import sys

from nsbox.cli import _output, _pager
from nsbox.diagnosis.doctor import doctor, require

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    form.add_argument(
        "--require", metavar="KINDS",
        help="for scripts: only test whether these namespaces can be made together; for example mip or pid,user",
    )  # fmt: skip
    _pager.add_option(parser)
    parser.epilog = "The exit status is 1 if no namespace can be made; with --require, if one of those cannot be made."


def execute(options: argparse.Namespace) -> int:
    """Print what is allowed; return the exit status."""
    if options.require is not None:
        trial = require(options.require)
        if not trial.works:
            print(f"nsbox doctor: {options.require}: step {trial.step!r} failed: {trial.why}", file=sys.stderr)
            if trial.remedy:
                print(f"next: {trial.remedy}", file=sys.stderr)
        return 0 if trial.works else 1
    found = doctor()
    if options.json:
        _output.write(json.dumps(found.data(), indent=2))
    else:
        _pager.show(found.text(colour=_output.takes_colours()), pager=not options.no_pager)
    return 0 if any(allowed.works for allowed in found.kinds.values()) else 1
