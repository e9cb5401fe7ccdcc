"""``nsbox check``: run the commands of a handout again and compare their output."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from nsbox.cli import _output
from nsbox.transcript import MASKS, Checked, Transcript, check, read, updated
from nsbox.transcript.forms import FORMS

__all__ = ["configure", "execute"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a handout: Markdown, AsciiDoc, plain text or a .t file of cram"
    )
    parser.add_argument("--update", action="store_true", help="write the new output into the files")
    parser.add_argument("--commands", action="store_true", help="do not compare output, only exit statuses")
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="SECONDS", help="the timeout of each command; default: 10"
    )
    parser.add_argument(
        "--mask",
        action="append",
        default=[],
        choices=sorted(MASKS),
        help="do not compare these parts of lines; can be repeated",
    )
    parser.add_argument("--form", choices=FORMS, help="the form of the files, if their names do not show it")
    parser.add_argument(
        "--unshare", default="mount", metavar="NAMESPACES", help="new namespaces for all commands; default: mount"
    )
    parser.add_argument("--list", action="store_true", help="list the commands without running them")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, one line for each file")


def execute(options: argparse.Namespace) -> int:
    """Check the files; return 1 if an output or exit status differs from the file, 2 for a file without commands."""
    transcripts = [read(file, options.form) for file in options.files]
    if options.list:
        for transcript in transcripts:
            for step in transcript.steps:
                _output.write(f"{transcript.path}:{step.line}: {step.command}")
        return 0
    if empty := [transcript for transcript in transcripts if not transcript.steps]:
        print(
            f"nsbox check: {empty[0].path}: no commands found. "
            "Commands begin with a prompt ($ or #), or are in a block ```sh; to set the form: --form",
            file=sys.stderr,
        )
        return 2
    return max(_check(transcript, options) for transcript in transcripts)


def _check(transcript: Transcript, options: argparse.Namespace) -> int:
    checked = check(
        transcript,
        options.unshare,
        timeout=options.timeout,
        masks=options.mask,
        commands_only=options.commands,
    )
    _output.write(_as_json(checked) if options.json else str(checked))
    if options.update and (text := updated(checked)) != transcript.text:
        _replace(transcript.path, text)
        print(f"nsbox check: {transcript.path} updated", file=sys.stderr)
    return 0 if checked.passed else 1


def _as_json(checked: Checked) -> str:
    steps = [
        {
            "line": result.step.line,
            "command": result.step.command,
            "outcome": result.outcome,
            "status": result.status,
            "output": result.output,
            "why": result.why,
            "seconds": round(result.seconds, 3),
        }
        for result in checked.results
    ]
    return json.dumps({"file": str(checked.transcript.path), "passed": checked.passed, "steps": steps})


def _replace(path: Path, text: str) -> None:
    """Replace a file in one step: a reader never sees a part of the new text."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as new:
        try:
            new.write(text)
            new.flush()
            os.fchmod(new.fileno(), path.stat().st_mode & 0o7777)
            os.replace(new.name, path)
        except BaseException:
            os.unlink(new.name)
            raise
