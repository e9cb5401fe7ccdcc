"""``nsbox completion``: print what a shell needs to complete the commands and options of nsbox."""

from __future__ import annotations

import argparse
from importlib.resources import files

from nsbox.cli import _output

__all__ = ["SHELLS", "configure", "execute"]

SHELLS = {"bash": "nsbox.bash", "zsh": "_nsbox", "fish": "nsbox.fish"}
"""The file of each shell, made by tools/commandline.py."""

_HELP = """\
To turn it on, add a line to the file that the shell reads at its start:
  bash  ~/.bashrc                   eval "$(nsbox completion bash)"
  zsh   ~/.zshrc, behind compinit   eval "$(nsbox completion zsh)"
  fish  ~/.config/fish/config.fish  nsbox completion fish | source
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("shell", choices=sorted(SHELLS), help="the shell")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _HELP


def execute(options: argparse.Namespace) -> int:
    """Print the text for the shell; return the exit status."""
    _output.write((files("nsbox.cli") / "completions" / SHELLS[options.shell]).read_text(encoding="utf-8").rstrip("\n"))
    return 0
