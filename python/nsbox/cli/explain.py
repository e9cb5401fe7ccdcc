"""``nsbox explain``: what a command line does, step by step, and why. Nothing is carried out."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nsbox.cli import _output, _pager
from nsbox.command.explain import explain
from nsbox.command.options import Option, UsageError, help_text, parse

__all__ = ["OPTIONS", "main"]

OPTIONS = (
    Option("json", meaning="print the steps as JSON"),
    Option("no-pager", meaning="do not show long output on a terminal by $PAGER"),
    Option("help", "h", meaning="display this help"),
)
_USAGE = """\
Usage: nsbox explain [--json] [--] unshare [options] [program [argument...]]
       nsbox explain [--json] [--] nsenter [options] [program [argument...]]
       nsbox explain [--json] [--] nsbox run [options] program [argument...]
       nsbox explain [--json] [--] docker run [options] image [argument...]

Show what a command line does: each system call, a command that does the same,
the manual page, and why. Nothing is carried out. The command line can also be
one of podman run, ip netns exec, systemd-run, and begin with sudo or doas.

Example: nsbox explain unshare -mipf
"""


def main(arguments: Sequence[str]) -> int:
    """Explain the command line that follows the options; return the exit status."""
    try:
        found, words = parse(OPTIONS, arguments)
        names = {option.name for option, _ in found}
        if "help" in names:
            _output.write(f"{_USAGE}\n{help_text(OPTIONS)}")
            return 0
        if not words:
            raise UsageError("no command line is given. Example: nsbox explain unshare -mipf")
        explanation = explain(words)
    except UsageError as error:
        return _output.usage_error("explain", error)
    if "json" in names:
        _output.write(json.dumps(explanation.data(), indent=2))
    else:
        _pager.show(explanation.text(colour=_output.takes_colours()), pager="no-pager" not in names)
    return 0
