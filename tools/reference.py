"""Generate `docs/reference.md` from the docstrings of the public names, or check that it is up to date."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nsbox

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"

HEAD = """\
# Reference

All public names, with their types, units and errors. Where a PID is expected, an object with a PID is accepted as well:
a `Popen`, a `Box`, a `Process`. Times are in seconds, sizes in bytes. `SpecError` is a `ValueError`, raised before
anything is started.

This page is generated from the docstrings by `tools/reference.py`. In Python, `help(nsbox.run)` shows the same text.
"""

THEMES = {
    "Running programs": (
        "start.run",
        "start.completed",
        "start.verdict",
        "start.output",
        "start.popen",
        "start.aio",
        "start.fork_exec",
        "start.shell",
        "spec.spec",
    ),
    "Mounts and limits": ("spec.mounts", "spec.limits"),
    "Boxes": ("box.box",),
    "Networks": ("box.veth", "box.networks", "records.networks"),
    "Joining existing namespaces": ("start.enter", "spec.joins", "namespaces.handle", "namespaces.pid_numbers"),
    "The calling thread": ("namespaces.scope",),
    "Python functions": ("tasks.boxed", "tasks.executor", "tasks.outcome"),
    "Seeing": (
        "records.processes",
        "seeing.processes",
        "seeing.tree",
        "records.namespaces",
        "seeing.namespaces",
        "records.mountinfo",
        "seeing.mounts",
        "records.ipc",
        "seeing.ipc",
        "seeing.observe",
        "seeing.snapshot",
        "records.changes",
        "seeing.diff",
        "seeing.compare",
        "seeing.missing",
        "records.written",
        "seeing.layer",
    ),
    "Explaining": ("command.explain", "diagnosis.doctor"),
    "Errors": ("errors",),
}
"""The sections of the page, and the modules whose names each of them lists."""

MODULES = {
    "nsbox.lessons": "Lessons about PIDs and IPC",
    "nsbox.assertions": "Assertions for tests",
    "nsbox.grading": "Grading",
    "nsbox.testinfra": "pytest-testinfra",
    "nsbox.raw": "The bare system calls",
}
"""Public modules."""

PARTS = {"Args": "Arguments", "Attributes": "Attributes", "Raises": "Raises", "Returns": "Returns", "Yields": "Yields"}
ENTRY = re.compile(r"(\*{0,2}[\w.]+): ")


def page() -> str:
    """Return the page."""
    listed = {name for modules in THEMES.values() for name in _names(modules)}
    own = {name for name in nsbox.__all__ if getattr(getattr(nsbox, name), "__module__", "").startswith("nsbox.")}
    assert listed == own, f"THEMES has no module for {sorted(own - listed)}"
    sections = [HEAD, "\n".join(_contents())]
    for title, modules in THEMES.items():
        sections.append(f"## {title}\n")
        for name in _names(modules):
            sections.extend(_described(name, getattr(nsbox, name)))
    for name, title in MODULES.items():
        module = importlib.import_module(name)
        sections.append(f"## {title}: `{name}`\n\n{_text(module)}")
        for public in module.__all__:
            sections.extend(_described(public, getattr(module, public)))
    return "\n".join(sections)


def _contents() -> Iterator[str]:
    for title, modules in THEMES.items():
        yield f"- [{title}](#{_anchor(title)}): " + ", ".join(f"`{name}`" for name in _names(modules))
    for name, title in MODULES.items():
        yield f"- [{title}](#{_anchor(f'{title}: {name}')}): `{name}`"
    yield ""


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _names(modules: tuple[str, ...]) -> list[str]:
    """Return the public names that these modules define, in the order of the modules."""
    defined = {f"nsbox.{module}": place for place, module in enumerate(modules)}
    found = [name for name in nsbox.__all__ if getattr(getattr(nsbox, name), "__module__", None) in defined]
    return sorted(found, key=lambda name: defined[getattr(nsbox, name).__module__])


def _described(name: str, thing: object) -> Iterator[str]:
    """Return the sections of a class and its members, or of a function. Constants are in the text of their module."""
    if inspect.isclass(thing):
        bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
        yield f"### `{name}`\n"
        if bases:
            yield f"A {bases}.\n"
        if "__init__" in vars(thing) and not hasattr(thing, "__dataclass_fields__") and not _is_error(thing):
            yield f"```text\n{name}{_signature(thing)}\n```\n"
        yield _text(thing)
        if hasattr(thing, "__init__") and _own_text(thing.__init__):
            yield _text(thing.__init__)
        for member in _members(thing):
            static = inspect.getattr_static(thing, member)
            if isinstance(static, property):
                yield f"#### `{name}.{member}`\n\n{_text(static)}"
            else:
                function = getattr(thing, member)
                yield f"#### `{name}.{member}`\n\n```text\n{member}{_signature(function)}\n```\n\n{_text(function)}"
    elif callable(thing):
        yield f"### `{name}`\n\n```text\n{name}{_signature(thing)}\n```\n\n{_text(thing)}"


def _members(cls: type) -> list[str]:
    """Return the public methods and properties of a class that nsbox defines and that have a docstring."""
    found = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("nsbox"):
            for name, value in vars(base).items():
                described = isinstance(value, property | classmethod | staticmethod) or inspect.isroutine(value)
                if not name.startswith("_") and described and inspect.getdoc(value):
                    found[name] = value
    return list(found)


def _is_error(cls: type) -> bool:
    return issubclass(cls, BaseException)


def _own_text(function: object) -> bool:
    """Return whether a constructor has its own docstring."""
    return inspect.isfunction(function) and bool(function.__doc__) and function.__module__.startswith("nsbox")


def _signature(thing: object) -> str:
    try:
        signature = inspect.signature(thing)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(...)"
    parameters = [one for place, one in enumerate(signature.parameters.values()) if place or one.name != "self"]
    text = str(signature.replace(parameters=parameters)).replace("nsbox.", "").replace("'", "")
    if len(text) < 100 or not parameters:
        return text
    returns = text.rpartition(" -> ")[2]
    lines = [f"    {line},\n" for line in _listed(parameters)]
    return f"(\n{''.join(lines)}) -> {returns}"


def _listed(parameters: list[inspect.Parameter]) -> Iterator[str]:
    keyword_only = False
    for one in parameters:
        if one.kind is one.VAR_POSITIONAL:
            keyword_only = True
        elif one.kind is one.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            yield "*"
        yield str(one).replace("'", "").replace("nsbox.", "")


def _text(thing: object) -> str:
    """Return a docstring as Markdown, its parts as lists."""
    lines: list[str] = []
    part = ""
    for line in (inspect.getdoc(thing) or "").splitlines():
        if line.removesuffix(":") in PARTS and line.endswith(":"):
            part = line.removesuffix(":")
            lines += [f"*{PARTS[part]}*", ""]
        elif part and line.startswith("    ") and not line.startswith("     "):
            text = line.strip()
            lines.append("- " + (ENTRY.sub(r"`\1`: ", text, count=1) if ENTRY.match(text) else text))
        elif part and line.startswith("     "):
            lines.append("  " + line.strip())
        else:
            part = "" if line else part
            lines.append(line)
    text = "\n".join(lines).replace("``", "`")
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def main() -> int:
    """Write the page, or with --check compare it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with status 1 if the page is out of date"
    )
    text = page()
    if parser.parse_args().check:
        if text == PAGE.read_text():
            return 0
        print("docs/reference.md is out of date: run `make stubs`", file=sys.stderr)
        return 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
