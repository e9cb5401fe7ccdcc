"""The options ``--svg FILE`` and ``--html FILE`` of commands that show something."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from nsbox.cli import _output

__all__ = ["configure", "write"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    for name, what in (("--svg", "a picture (SVG)"), ("--html", "a page (HTML)")):
        parser.add_argument(
            name, metavar="FILE", help=f"write {what} into FILE, and print nothing; - is standard output"
        )


def write(options: argparse.Namespace, title: str, svg: Callable[[], str], html: Callable[[], str]) -> bool:
    """Write the files that the options name; return whether there are any.

    Args:
        options: The options.
        title: What is shown.
        svg: Returns it as an SVG document.
        html: Returns it as an HTML fragment.
    """
    if options.svg is not None:
        _write(options.svg, svg())
    if options.html is not None:
        from nsbox.views.pages import page  # noqa: PLC0415 - only for files

        _write(options.html, page(title, html()))
    return options.svg is not None or options.html is not None


def _write(path: str, text: str) -> None:
    # A name can have bytes that are not UTF-8.
    if path == "-":
        _output.write(text.encode("utf-8", "replace").decode().rstrip("\n"))
    else:
        Path(path).write_text(text, encoding="utf-8", errors="replace")
