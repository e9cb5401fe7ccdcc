"""`import nsbox` imports little, and offers every name."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import nsbox
import pytest

pytestmark = pytest.mark.pure

HEAVY = {"argparse", "dataclasses", "inspect", "nsbox._core", "re", "subprocess", "typing"}


def modules_after(program: str) -> set[str]:
    """Return the modules that a new interpreter has imported after a program, besides those of any interpreter."""
    show = "import sys; print(*sys.modules, file=sys.__stderr__)"
    command = [sys.executable, "-c", f"{program}\n{show}"]
    found, bare = (
        set(
            subprocess.run(
                line, check=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
            ).stderr.split()
        )
        for line in (command, [sys.executable, "-c", show])
    )
    return found - bare


def test_nothing_is_imported_before_it_is_used() -> None:
    """Importing the package imports only the package."""
    assert modules_after("import nsbox; dir(nsbox)") == {"nsbox"}


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        (["--help"], HEAVY),
        (["nonsense"], HEAVY - {"re"}),  # similar names are looked for
        (["--version"], HEAVY - {"nsbox._core"}),
        (["ps", "-p", "1"], {"subprocess", "nsbox.start.popen", "nsbox.start.shell"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_imports_what_it_uses(arguments: list[str], unused: set[str]) -> None:
    """A command imports only what it uses, to start fast."""
    found = modules_after(f"import sys; from nsbox.cli import main; main({arguments!r})")
    assert "nsbox.cli" in found
    assert not found & unused


def test_every_name_is_there() -> None:
    """`__all__`, the names for type checkers and `dir` agree, and no module hides a name."""
    source = ast.parse(Path(nsbox.__file__).read_text())
    imports = [node for node in ast.walk(source) if isinstance(node, ast.ImportFrom)]
    seen = {(name.name, node.module) for node in imports for name in node.names if node.module != "importlib"}
    seen -= {(module, "nsbox") for module in nsbox._MODULES}
    assert seen == {(name, f"nsbox.{module}") for name, module in nsbox._HOMES.items()}
    assert set(nsbox.__all__) == set(nsbox._HOMES)
    assert set(nsbox.__all__) <= set(dir(nsbox))
    assert all(getattr(nsbox, module) is sys.modules[f"nsbox.{module}"] for module in nsbox._MODULES)
    for name, module in seen:
        assert getattr(nsbox, name) is getattr(sys.modules[module or ""], name)
    assert not {module.name for module in pkgutil.iter_modules(nsbox.__path__)} & set(nsbox.__all__)


def test_unknown_names() -> None:
    """An unknown name raises AttributeError."""
    with pytest.raises(AttributeError, match="module 'nsbox' has no attribute 'runn'"):
        nsbox.runn  # type: ignore[attr-defined] # noqa: B018
    assert not hasattr(nsbox, "__path_hook__")
