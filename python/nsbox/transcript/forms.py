"""Read a file with terminal sessions into steps: `read`.

| form | commands | their output |
| --- | --- | --- |
| Markdown | fenced blocks ``console``: lines with prompts; fenced blocks ``sh`` and ``bash``: every line | below the command; in the next block, if it is ``text``, ``output`` or without a language |
| AsciiDoc | ``[source,console]`` and ``[source,bash]``, in the same way | the same; in the next block ``....`` |
| plain text | lines with the prompts ``$`` and ``#`` | below the command, up to an empty line |
| plain text without prompts | paragraphs that begin with a command | the other lines of the paragraph |
| cram's .t | indented lines with ``$``, continued with ``>`` | the indented lines below |

Directives for nsbox are comments, which the rendered page does not show: ``<!-- nsbox: ... -->``, ``// nsbox: ...``
and, in plain text and .t, ``# nsbox: ...``. They apply to all later steps, or to the next one only:

    mask pid time       for later steps: do not compare these; replaces earlier masks; ``mask none`` removes them
    timeout 30          for later steps: the timeout, in seconds
    status 1            the exit status of the next command; a last line ``[1]`` of its output has the same meaning
    unchecked           do not compare the output of the next command
    skip                do not run the next command
"""  # noqa: E501 - a table

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from nsbox.errors import SpecError
from nsbox.transcript.match import check_masks

__all__ = ["FORMS", "Step", "Transcript", "read"]

_DIRECTIVE = re.compile(r"^\s*(?:<!--|//|#)\s*nsbox:\s*(.*?)\s*(?:-->)?\s*$")
_PROMPT = re.compile(r"^(?:\[[^\]]*\]\s?|[\w.-]+@[\w.-]+(?::[^\s$#]*)?\s?)?[$#](?: (.*))?$")
_STATUS = re.compile(r"^\[(\d{1,3})\]$")
_SESSIONS = ("console", "sh-session", "shell-session", "shellsession", "terminal")
_COMMANDS = ("sh", "bash", "shell")
_OUTPUTS = ("", "text", "output", "txt")
_BUILTINS = ("cd", "echo", "exit", "exec", "export", "kill", "read", "set", "test", "trap", "ulimit", "umask", "wait")


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a handout, and its expected output and exit status.

    Attributes:
        command: The command; it can have several lines.
        line: The line of the file in which it begins, from 1.
        expected: The expected lines of its output; None if the output is not compared.
        status: The expected exit status.
        place: The lines of the file (from 0, the last one excluded) with the output; None if the file has none.
        indent: The text before each line of the output.
        masks: The names of the masks; see `MASKS`.
        timeout: The timeout in seconds; None for the timeout that is passed to `check`.
        skip: Whether it is not run.
    """

    command: str
    line: int
    expected: tuple[str, ...] | None = None
    status: int = 0
    place: tuple[int, int] | None = None
    indent: str = ""
    masks: tuple[str, ...] = ()
    timeout: float | None = None
    skip: bool = False


@dataclass(frozen=True, slots=True)
class Transcript:
    """A file with a terminal session.

    Attributes:
        path: The file.
        text: Its content.
        form: ``"markdown"``, ``"asciidoc"``, ``"prompts"``, ``"bare"`` or ``"cram"``.
        steps: The steps.
    """

    path: Path
    text: str
    form: str
    steps: tuple[Step, ...] = field(repr=False)


def read(path: str | os.PathLike[str], form: str | None = None) -> Transcript:
    """Read a file.

    Args:
        path: The file.
        form: The form; by default it is found from the name of the file and its prompts.

    Raises:
        SpecError: for an unknown form, and for an unknown directive.
        OSError: when it cannot be read.
    """
    file = Path(path)
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    form = form or _form(file, lines)
    if form not in _READERS:
        raise SpecError(f"form: {form!r} is unknown; the forms are {', '.join(_READERS)}")
    try:
        return Transcript(file, text, form, tuple(_READERS[form](lines)))
    except SpecError as error:
        raise SpecError(f"{file}: {error}") from None


def _form(path: Path, lines: list[str]) -> str:
    match path.suffix.lower():
        case ".md" | ".markdown":
            return "markdown"
        case ".adoc" | ".asciidoc" | ".asc":
            return "asciidoc"
        case ".t":
            return "cram"
    return "prompts" if any(_PROMPT.match(line) for line in lines) else "bare"


class _Directives:
    """The directives that have been read so far."""

    def __init__(self) -> None:
        self.lasting = Step("", 0)
        self.next = self.lasting
        self.unchecked = False

    def take(self, line: str, number: int) -> bool:
        """Return whether a line is a directive; if so, apply it to later steps or to the next one."""
        found = _DIRECTIVE.match(line)
        if not found:
            return False
        try:
            self._apply(*(found[1].split(maxsplit=1) or [""]))
        except ValueError as error:
            raise SpecError(f"line {number + 1}: nsbox: {found[1]}: {error}") from None
        return True

    def _apply(self, name: str, rest: str = "") -> None:
        match name:
            case "mask":
                masks = () if rest == "none" else check_masks(rest.replace(",", " ").split())
                self.lasting, self.next = replace(self.lasting, masks=masks), replace(self.next, masks=masks)
            case "timeout":
                seconds = float(rest)
                self.lasting, self.next = replace(self.lasting, timeout=seconds), replace(self.next, timeout=seconds)
            case "status":
                self.next = replace(self.next, status=int(rest))
            case "skip":
                self.next = replace(self.next, skip=True)
            case "unchecked":
                self.unchecked = True
            case _:
                raise ValueError("the directives are mask, timeout, status, unchecked and skip")

    def step(self, command: str, line: int, output: tuple[int, int] | None, lines: list[str], indent: str = "") -> Step:
        """Return the step of a command; `output` are the lines of the file that have its output."""
        step = replace(self.next, command=command, line=line + 1, indent=indent)
        if output is not None:
            expected = [line.removeprefix(indent) for line in lines[slice(*output)]]
            if expected and (found := _STATUS.match(expected[-1])):
                step = replace(step, status=int(found[1]))
                output = output[0], output[1] - 1
                expected.pop()
            step = replace(step, place=output, expected=None if self.unchecked else tuple(expected))
        self.next, self.unchecked = self.lasting, False
        return step


def _session(lines: list[str], begin: int, end: int, directives: _Directives, indent: str = "") -> Iterator[Step]:
    """Read lines with prompts, and the output below them."""
    number = begin
    while number < end:
        line = lines[number].removeprefix(indent)
        start = number
        number += 1
        if directives.take(line, start) or not (found := _PROMPT.match(line)):
            continue
        command = [found[1] or ""]
        while number < end and re.match(r"> |>$", lines[number].removeprefix(indent)):
            command.append(lines[number].removeprefix(indent)[2:])
            number += 1
        first = number
        while (
            number < end and lines[number].startswith(indent) and not _ends_output(lines[number].removeprefix(indent))
        ):
            number += 1
        last = number
        while last > first and not indent and not lines[last - 1]:
            last -= 1
        yield directives.step("\n".join(command), start, (first, last), lines, indent)


def _ends_output(line: str) -> bool:
    return bool(_PROMPT.match(line) or _DIRECTIVE.match(line))


def _cram(lines: list[str]) -> Iterator[Step]:
    directives = _Directives()
    number = 0
    while number < len(lines):
        if directives.take(lines[number], number) or not lines[number].startswith("  $ "):
            number += 1
            continue
        end = number + 1
        while end < len(lines) and lines[end].startswith("  ") and not lines[end].startswith("  $ "):
            end += 1
        yield from _session(lines, number, end, directives, "  ")
        number = end


def _prompts(lines: list[str]) -> Iterator[Step]:
    directives = _Directives()
    number = 0
    while number < len(lines):
        if directives.take(lines[number], number) or not _PROMPT.match(lines[number]):
            number += 1
            continue
        end = number
        while end < len(lines) and lines[end]:
            end += 1
        yield from _session(lines, number, end, directives)
        number = end


def _bare(lines: list[str]) -> Iterator[Step]:
    directives = _Directives()
    number = 0
    while number < len(lines):
        end = number
        while end < len(lines) and lines[end].strip():
            end += 1
        if end > number and not directives.take(lines[number], number) and _is_command(lines[number]):
            output = (number + 1, end) if end > number + 1 else None
            yield directives.step(lines[number], number, output, lines)
        number = max(end, number) + 1


def _is_command(line: str) -> bool:
    """Return whether a line is a command: it begins with a program or builtin and does not end like a sentence."""
    name = (line.split() or [""])[0]
    return not line.endswith((".", ":", "!", "?")) and (name in _BUILTINS or shutil.which(name) is not None)


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of a page: its language, and the lines between its fences."""

    language: str | None
    begin: int
    end: int


def _page(lines: list[str], blocks: list[_Block]) -> Iterator[Step]:
    """Read the blocks of a page, and the directives between them."""
    directives = _Directives()
    at = 0
    for index, block in enumerate(blocks):
        for number in range(at, block.begin):
            directives.take(lines[number], number)
        at = block.end
        if block.language in _SESSIONS:
            yield from _session(lines, block.begin, block.end, directives)
        elif block.language in _COMMANDS:
            after = blocks[index + 1] if index + 1 < len(blocks) else None
            output = after if after is not None and _follows(lines, block, after) else None
            yield from _commands(lines, block, output, directives)
    for number in range(at, len(lines)):
        directives.take(lines[number], number)


def _follows(lines: list[str], block: _Block, after: _Block) -> bool:
    """Return whether a block has the output of the one before: only fences and empty lines are between them."""
    between = lines[block.end + 1 : after.begin - 1]
    return after.language in _OUTPUTS and not any(line.strip() not in ("", "+") for line in between)


def _commands(lines: list[str], block: _Block, output: _Block | None, directives: _Directives) -> Iterator[Step]:
    """Read a block in which every line is a command, except for continued lines; the output is that of the last one."""
    commands: list[tuple[int, list[str]]] = []
    continued = False
    for number in range(block.begin, block.end):
        line = lines[number]
        if directives.take(line, number):
            continue
        if continued:
            commands[-1][1].append(line)
        elif line.strip() and not line.startswith("#"):
            commands.append((number, [line]))
        continued = bool(commands) and line.endswith("\\")
    for number, command in commands:
        place = (output.begin, output.end) if output and number == commands[-1][0] else None
        yield directives.step("\n".join(command), number, place, lines)


def _markdown(lines: list[str]) -> Iterator[Step]:
    blocks: list[_Block] = []
    fence, language, begin = "", "", 0
    for number, line in enumerate(lines):
        found = re.match(r"^ {0,3}(`{3,}|~{3,})\s*\{?\.?([\w-]*)", line)
        if not fence and found:
            fence, language, begin = found[1], found[2].lower(), number + 1
        elif fence and found and found[1].startswith(fence) and line.strip() == found[1]:
            blocks.append(_Block(language, begin, number))
            fence = ""
    return _page(lines, blocks)


def _asciidoc(lines: list[str]) -> Iterator[Step]:
    blocks: list[_Block] = []
    language: str | None = None
    number = 0
    while number < len(lines):
        line = lines[number].rstrip()
        number += 1
        if line.startswith("[") and line.endswith("]"):
            words = [word.strip().lower() for word in line[1:-1].split(",")]
            language = words[1] if words[0].partition("%")[0] in ("source", "") and len(words) > 1 else None
        elif re.fullmatch(r"-{4,}|\.{4,}", line):
            end = next((at for at in range(number, len(lines)) if lines[at].rstrip() == line), len(lines))
            # A literal block shows a screen; a listing has a language, or can be anything.
            blocks.append(_Block("" if line[0] == "." else language, number, end))
            number, language = end + 1, None
        elif not line.startswith("."):
            language = None
    return _page(lines, blocks)


_READERS = {"markdown": _markdown, "asciidoc": _asciidoc, "prompts": _prompts, "bare": _bare, "cram": _cram}
FORMS = tuple(_READERS)
"""The names of the forms."""
