"""Files with terminal sessions, read into steps: `read`.

| form | where commands are | where their output is |
| --- | --- | --- |
| Markdown | fenced blocks ``console``: lines with prompts; fenced blocks ``sh`` and ``bash``: every line | below the command; a block without a language, ``text`` or ``output`` right behind |
| AsciiDoc | ``[source,console]``, and ``[source,bash]``, likewise | the same; a ``....`` block right behind |
| plain text | lines with the prompts ``$`` and ``#`` | below the command, up to an empty line |
| plain text without prompts | paragraphs that begin with a command | the other lines of the paragraph |
| cram's .t | indented lines with ``$``, continued with ``>`` | the indented lines below |

Lines for nsbox, which no reader sees in the rendered page (``<!-- nsbox: ... -->``, ``// nsbox: ...`` and, in plain
text and .t, ``# nsbox: ...``), hold from there on, or for the next step:

    mask pid time       compare without these; replaces earlier ones; ``mask none`` ends it
    timeout 30          seconds that a step may take
    status 1            the next command ends with this status (a last line ``[1]`` of its output says the same)
    unchecked           the output of the next command is not compared
    skip                the next command is not typed
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
    """A command to type, and what is written about what comes out.

    Attributes:
        command: The command, of several lines perhaps.
        line: The line of the file in which it begins, from 1.
        expected: The lines of its output; None where nothing is written about it.
        status: The status with which it ends.
        place: The lines of the file (from 0, the last one excluded) that hold the output, None where there is no room.
        indent: What stands before each line of the output.
        masks: The names of the masks; see `MASKS`.
        timeout: Seconds it may take; None for what the caller of `check` says.
        skip: Whether it is not typed.
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
        form: The form, where the name of the file and its prompts do not tell it.

    Raises:
        SpecError: for an unknown form, and a line for nsbox that says nothing known.
        OSError: when it cannot be read.
    """
    place = Path(path)
    text = place.read_text(encoding="utf-8")
    lines = text.splitlines()
    form = form or _form(place, lines)
    if form not in _READERS:
        raise SpecError(f"form: {form!r} is none of {', '.join(_READERS)}")
    try:
        return Transcript(place, text, form, tuple(_READERS[form](lines)))
    except SpecError as error:
        raise SpecError(f"{place}: {error}") from None


def _form(path: Path, lines: list[str]) -> str:
    match path.suffix.lower():
        case ".md" | ".markdown":
            return "markdown"
        case ".adoc" | ".asciidoc" | ".asc":
            return "asciidoc"
        case ".t":
            return "cram"
    return "prompts" if any(_PROMPT.match(line) for line in lines) else "bare"


class _Notes:
    """What the lines for nsbox have said so far."""

    def __init__(self) -> None:
        self.lasting = Step("", 0)
        self.next = self.lasting
        self.unchecked = False

    def take(self, line: str, number: int) -> bool:
        """Tell whether a line is for nsbox, and remember what it says."""
        found = _DIRECTIVE.match(line)
        if not found:
            return False
        try:
            self._note(*(found[1].split(maxsplit=1) or [""]))
        except ValueError as error:
            raise SpecError(f"line {number + 1}: nsbox: {found[1]}: {error}") from None
        return True

    def _note(self, word: str, rest: str = "") -> None:
        match word:
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
                raise ValueError("the words are mask, timeout, status, unchecked, skip")

    def step(self, command: str, line: int, output: tuple[int, int] | None, lines: list[str], indent: str = "") -> Step:
        """Make the step of a command whose output is these lines of the file."""
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


def _session(lines: list[str], begin: int, end: int, notes: _Notes, indent: str = "") -> Iterator[Step]:
    """Read lines with prompts, and what is below them."""
    number = begin
    while number < end:
        line = lines[number].removeprefix(indent)
        start = number
        number += 1
        if notes.take(line, start) or not (found := _PROMPT.match(line)):
            continue
        command = [found[1] or ""]
        while number < end and re.match(r"> |>$", lines[number].removeprefix(indent)):
            command.append(lines[number].removeprefix(indent)[2:])
            number += 1
        first = number
        while number < end and lines[number].startswith(indent) and not _ends(lines[number].removeprefix(indent)):
            number += 1
        last = number
        while last > first and not indent and not lines[last - 1]:
            last -= 1
        yield notes.step("\n".join(command), start, (first, last), lines, indent)


def _ends(line: str) -> bool:
    return bool(_PROMPT.match(line) or _DIRECTIVE.match(line))


def _cram(lines: list[str]) -> Iterator[Step]:
    notes = _Notes()
    number = 0
    while number < len(lines):
        if notes.take(lines[number], number) or not lines[number].startswith("  $ "):
            number += 1
            continue
        end = number + 1
        while end < len(lines) and lines[end].startswith("  ") and not lines[end].startswith("  $ "):
            end += 1
        yield from _session(lines, number, end, notes, "  ")
        number = end


def _prompts(lines: list[str]) -> Iterator[Step]:
    notes = _Notes()
    number = 0
    while number < len(lines):
        if notes.take(lines[number], number) or not _PROMPT.match(lines[number]):
            number += 1
            continue
        end = number
        while end < len(lines) and lines[end]:
            end += 1
        yield from _session(lines, number, end, notes)
        number = end


def _bare(lines: list[str]) -> Iterator[Step]:
    notes = _Notes()
    number = 0
    while number < len(lines):
        end = number
        while end < len(lines) and lines[end].strip():
            end += 1
        if end > number and not notes.take(lines[number], number) and _is_command(lines[number]):
            output = (number + 1, end) if end > number + 1 else None
            yield notes.step(lines[number], number, output, lines)
        number = max(end, number) + 1


def _is_command(line: str) -> bool:
    """Tell a command from a sentence: it begins with something that can be executed, and does not end like one."""
    word = (line.split() or [""])[0]
    return not line.endswith((".", ":", "!", "?")) and (word in _BUILTINS or shutil.which(word) is not None)


@dataclass(frozen=True, slots=True)
class _Block:
    """A block of a page: its language, and the lines within its fences."""

    language: str | None
    begin: int
    end: int


def _page(lines: list[str], blocks: list[_Block]) -> Iterator[Step]:
    """Read the blocks of a page, and the lines for nsbox between them."""
    notes = _Notes()
    at = 0
    for index, block in enumerate(blocks):
        for number in range(at, block.begin):
            notes.take(lines[number], number)
        at = block.end
        if block.language in _SESSIONS:
            yield from _session(lines, block.begin, block.end, notes)
        elif block.language in _COMMANDS:
            after = blocks[index + 1] if index + 1 < len(blocks) else None
            output = after if after is not None and _follows(lines, block, after) else None
            yield from _commands(lines, block, output, notes)
    for number in range(at, len(lines)):
        notes.take(lines[number], number)


def _follows(lines: list[str], block: _Block, after: _Block) -> bool:
    """Tell whether a block shows the output of the one before: nothing but fences and empty lines is between."""
    between = lines[block.end + 1 : after.begin - 1]
    return after.language in _OUTPUTS and not any(line.strip() not in ("", "+") for line in between)


def _commands(lines: list[str], block: _Block, output: _Block | None, notes: _Notes) -> Iterator[Step]:
    """Every line is a command of its own, but for continued ones; the output is that of the last."""
    commands: list[tuple[int, list[str]]] = []
    continued = False
    for number in range(block.begin, block.end):
        line = lines[number]
        if notes.take(line, number):
            continue
        if continued:
            commands[-1][1].append(line)
        elif line.strip() and not line.startswith("#"):
            commands.append((number, [line]))
        continued = bool(commands) and line.endswith("\\")
    for number, command in commands:
        place = (output.begin, output.end) if output and number == commands[-1][0] else None
        yield notes.step("\n".join(command), number, place, lines)


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
            # A literal block shows what is on a screen; a listing may be of anything.
            blocks.append(_Block("" if line[0] == "." else language, number, end))
            number, language = end + 1, None
        elif not line.startswith("."):
            language = None
    return _page(lines, blocks)


_READERS = {"markdown": _markdown, "asciidoc": _asciidoc, "prompts": _prompts, "bare": _bare, "cram": _cram}
FORMS = tuple(_READERS)
"""The names of the forms."""
