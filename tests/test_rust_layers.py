"""The modules of `src/` and `init/` import downwards only, and never in a circle."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parent.parent

# The highest layer first. A module may import those below it, but none above it or on the same line.
# A folder stands for all of its modules; among themselves these must only be free of circles.
LAYERS = {
    "src": """
        lib
        boxes seeing
        start
        channel
        thread
        plan
        image cgroup probe seccomp idmap
        pidfd signals
        poll descriptors
        error
        kinds capabilities python owner call step_name
    """,
    "init/src": """
        main
        interpreter
        serve look
        launch
        helper
        supervise payload processes
        holder
        operation setup open fuse
        join cgroup
        layers
        proc mounts lineage
        descriptors group memory lifetime targets confine
        report
        sys
        lib mem
        wire vfork close_range capabilities hardening
    """,
}  # fmt: skip

Imports = dict[str, set[str]]
"""Each module with the modules that it imports."""


def layers(source: str) -> dict[str, int]:
    """Return the layer number of each module or folder in the list above, the lowest one 0."""
    lines = LAYERS[source].strip().splitlines()
    return {name: floor for floor, line in enumerate(reversed(lines)) for name in line.split()}


def code(text: str) -> str:
    """Return Rust without its comments and without the modules of its tests."""
    text = re.sub(r"//.*", "", text)
    return re.sub(r"#\[cfg\(test\)\]\s*mod \w+ (\{.*|;)", "", text, flags=re.DOTALL)


def leaves(tree: str) -> Iterator[str]:
    """Yield the paths of a `use` declaration: of ``a::{b, c::d}`` they are ``a::b`` and ``a::c::d``."""
    before, brace, rest = tree.partition("{")
    if not brace:
        yield tree.partition(" as ")[0].strip()
        return
    depth, start = 0, 0
    inner = rest.rpartition("}")[0] + ","
    for at, letter in enumerate(inner):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            if part := inner[start:at].strip():
                yield from (before.strip() + leaf for leaf in leaves(part))
            start = at + 1


def named(text: str) -> Iterator[str]:
    """Yield every path in some Rust that begins with `crate`, `super`, `self` or the name of the library of init."""
    begin = r"\b(?:crate|super|self|nsbox_init)::"
    uses = re.compile(rf"\buse\s+({begin}[^;]*);")
    for use in uses.findall(text):
        yield from leaves(re.sub(r"\s+", " ", use))
    yield from re.findall(rf"{begin}[\w:]+", uses.sub("", text))


def graph(files: dict[str, str], *, library: str = "") -> Imports:
    """Return which module imports which.

    Args:
        files: Modules, as ``plan::text``, with their text. A folder's own file is the module ``plan``.
        library: The name of the crate by which these modules refer to themselves from outside.
    """
    found: Imports = {}
    for module, text in files.items():
        targets = found.setdefault(module, set())
        folder = any(other.startswith(f"{module}::") for other in files)
        for path in named(code(text)):
            parts = path.split("::")
            # `self` is this module, `super` the one around it.
            around = module.split("::") if module not in ("lib", "main") else []
            while parts and parts[0] in ("crate", "self", "super", library):
                if parts[0] in ("crate", library):
                    around = []
                elif parts[0] == "super":
                    around = around[:-1]
                parts = parts[1:]
            whole = around + parts
            known = ("::".join(whole[:length]) for length in range(len(whole), 0, -1))
            target = next((name for name in known if name in files), "")
            # A folder's own file lists and re-exports what is in it.
            if target and target != module and not (folder and target.startswith(f"{module}::")):
                targets.add(target)
    return found


def upward(imports: Imports, floors: dict[str, int]) -> list[str]:
    """Return the imports of another folder, or another file beside the folders, that do not lead downwards."""
    wrong = []
    for module, targets in imports.items():
        for target in targets:
            ours, theirs = module.partition("::")[0], target.partition("::")[0]
            if ours != theirs and floors[ours] <= floors[theirs]:
                wrong.append(f"{module} imports {target}")
    return sorted(wrong)


def circle(imports: Imports) -> list[str]:
    """Return the modules of a circle in their order, or nothing if there is none."""
    done: set[str] = set()

    def follow(module: str, way: list[str]) -> list[str]:
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return []
        for target in sorted(imports.get(module, ())):
            if found := follow(target, [*way, module]):
                return found
        done.add(module)
        return []

    return next((found for module in imports if (found := follow(module, []))), [])


def modules(source: str) -> dict[str, str]:
    """Return all modules below a directory with their text, those of tests left out."""
    found = {}
    for file in sorted((ROOT / source).rglob("*.rs")):
        path = file.relative_to(ROOT / source).with_suffix("").parts
        if not path[-1].endswith("tests"):
            found["::".join(path[:-1] if path[-1] == "mod" else path)] = file.read_text()
    return found


def graph_of(source: str) -> Imports:
    """Return which module below a directory imports which."""
    return graph(modules(source), library="nsbox_init" if source == "init/src" else "")


@pytest.mark.parametrize("source", LAYERS)
def test_every_module_has_a_layer(source: str) -> None:
    """The list names each folder, and each file beside the folders, once, and nothing else."""
    names = LAYERS[source].split()
    assert sorted(names) == sorted({module.partition("::")[0] for module in modules(source)})


@pytest.mark.parametrize("source", LAYERS)
def test_imports_lead_downwards(source: str) -> None:
    """No module imports one of a higher or of the same layer."""
    assert upward(graph_of(source), layers(source)) == []


@pytest.mark.parametrize("source", LAYERS)
def test_no_circle(source: str) -> None:
    """No module imports itself by way of others, in a folder either."""
    assert circle(graph_of(source)) == []


def test_upward_import_is_found() -> None:
    """It is found in a `use` declaration with braces, with `super`, and in the middle of a line."""
    files = {
        "plan": "pub mod text;\npub mod step;",
        "plan::text": "use crate::{error::Error, start::{spawn, child::Child}};",
        "plan::step": "fn run() { crate::boxes::open() }\n// crate::lib\n#[cfg(test)]\nmod tests { use crate::start; }",
        "plan::flags": "use super::super::boxes::{self, handle::Box};",
        "error": "", "boxes": "", "boxes::handle": "", "start::spawn": "", "start::child": "",
    }  # fmt: skip
    floors = {"boxes": 3, "start": 2, "plan": 1, "error": 0}
    assert upward(graph(files), floors) == [
        "plan::flags imports boxes",
        "plan::flags imports boxes::handle",
        "plan::step imports boxes",
        "plan::text imports start::child",
        "plan::text imports start::spawn",
    ]


def test_circle_is_found() -> None:
    """It is found among the files of a folder, which may import each other."""
    files = {"plan::a": "use super::b::B;", "plan::b": "use crate::plan::c;", "plan::c": "use crate::plan::a::A;"}
    assert circle(graph(files)) == ["plan::a", "plan::b", "plan::c"]
