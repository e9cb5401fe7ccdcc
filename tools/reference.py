"""Generate `docs/reference.md` from the docstrings of the public names, or check that it is what would be generated."""

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

Everything public, with its types, units and errors. A *pid* argument can also be anything that has one: a `Popen`, a
`Box`, a `Process`. Times are in seconds, sizes in bytes. `SpecError` is a `ValueError`: nothing has been started then.

This page is generated from the docstrings by `tools/reference.py`; in Python, `help(nsbox.run)` says the same.
"""

THEMES = {
    "Running programs": ("start.run", "start.popen", "start.aio", "start.fork_exec", "start.shell", "spec.spec"),
    "More than namespaces": ("spec.mounts", "spec.limits"),
    "Boxes": ("box.box",),
    "Networks": ("box.veth",),
    "Joining what exists": ("start.enter", "spec.joins", "namespaces.handle", "namespaces.pid_numbers"),
    "The calling thread": ("namespaces.scope",),
    "Python functions": ("tasks.boxed", "tasks.executor", "tasks.outcome"),
    "Seeing": (
        "records.processes",
        "seeing.processes",
        "seeing.tree",
        "records.namespaces",
        "seeing.namespaces",
        "records.mounts",
        "seeing.mounts",
        "records.ipc",
        "seeing.ipc",
        "seeing.observe",
        "seeing.snapshot",
        "records.changes",
        "seeing.diff",
        "seeing.compare",
    ),
    "Explaining": ("command.explain", "diagnosis.doctor"),
    "Errors": ("errors",),
}
"""The parts of the page: the modules whose names each has."""

MODULES = {
    "nsbox.lessons": "Lessons about PIDs and IPC",
    "nsbox.assertions": "Assertions for tests",
    "nsbox.testinfra": "pytest-testinfra",
    "nsbox.raw": "The bare system calls",
}
"""Modules that are public themselves."""

PARTS = {"Args": "Arguments", "Attributes": "Attributes", "Raises": "Raises", "Returns": "Returns", "Yields": "Yields"}
ENTRY = re.compile(r"(\*{0,2}[\w.]+): ")


def page() -> str:
    """Return the page."""
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
    """Return the names in the order of their modules; what comes from elsewhere is described there."""
    defined = {f"nsbox.{module}": place for place, module in enumerate(modules)}
    found = [name for name in nsbox.__all__ if getattr(getattr(nsbox, name), "__module__", None) in defined]
    return sorted(found, key=lambda name: defined[getattr(nsbox, name).__module__])


def _described(name: str, thing: object) -> Iterator[str]:
    """Return a class with its members, or a function; constants are named in the text of their module."""
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
    """Return the public methods and properties that nsbox itself gives the class, and describes."""
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
    """Whether a constructor has a docstring of its own."""
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
    """Return a docstring as Markdown: its parts as lists."""
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
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it is not up to date")
    text = page()
    if parser.parse_args().check:
        if text == PAGE.read_text():
            return 0
        print(f"{PAGE.name} is not up to date: make stubs", file=sys.stderr)
        return 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
