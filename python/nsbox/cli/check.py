"""``nsbox check``: the terminal sessions of handouts, run again and compared."""

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
    parser.add_argument("files", nargs="+", metavar="FILE", help="Markdown, AsciiDoc, text with prompts, or cram's .t")
    parser.add_argument("--update", action="store_true", help="write what comes out now into the files")
    parser.add_argument("--commands", action="store_true", help="compare no output; commands must end with status 0")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="for each step, by default 10")
    parser.add_argument("--mask", action="append", default=[], choices=sorted(MASKS), help="compare without these")
    parser.add_argument("--form", choices=FORMS, help="how the files are written, where their names do not tell")
    parser.add_argument(
        "--unshare", default="mount", metavar="NAMESPACES", help="new around everything, by default mount"
    )
    parser.add_argument("--list", action="store_true", help="only list the commands that would be typed")
    parser.add_argument("--json", action="store_true", help="print results as JSON, a line for each file")


def execute(options: argparse.Namespace) -> int:
    """Check the files; the status is 1 if a step was not as written."""
    transcripts = [read(file, options.form) for file in options.files]
    if options.list:
        for transcript in transcripts:
            for step in transcript.steps:
                _output.write(f"{transcript.path}:{step.line}: {step.command}")
        return 0
    if empty := [transcript for transcript in transcripts if not transcript.steps]:
        print(f"nsbox check: {empty[0].path}: no commands found in it", file=sys.stderr)
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
    """Write a file so that there is never half of it."""
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
