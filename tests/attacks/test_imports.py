"""A thread in the mount namespace of a payload: what the payload has put in place of modules is not executed."""

from __future__ import annotations

import pickle
import pwd
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import nsbox
import pytest

from tests.support.needs import needs_root

PACKAGE = Path(nsbox.__file__).parent
DIRECTORIES = {*map(str, (PACKAGE.parent, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))), "/mnt"}

HOSTILE = r"""
set -e
mount -t tmpfs tmpfs /mnt
cat > /mnt/evil.py <<'END'
import os, sys
os.write(2, b"the payload's code, as user %d\n" % os.getuid())
sys.exit("the payload's code")
END
for name in NAMES; do cp /mnt/evil.py "/mnt/$name.py"; done
mkdir -p /mnt/wave /mnt/colorsys /mnt/nsbox
cp /mnt/evil.py /mnt/wave/__init__.py
for directory in DIRECTORIES; do mount --bind /mnt "$directory"; done
"""
"""Covers the directories of `sys.path` with one in which modules run the payload's code."""

NAMES = ("mountinfo", "colorsys", "cmd", "this", "antigravity", "nowhere", "encodings", "nsbox", "_strptime", "chunk")

SCENE = """
import importlib, sys, threading, traceback
import nsbox
sys.path.append("/mnt")
with nsbox.Box("mp") as box:
    box.run(["sh", "-c", {hostile!r}], check=True)
    def scene():
{scene}
    scene()
print("done")
"""


def outcome(scene: str) -> str:
    """Return what a new Python prints that plays a scene beside a box whose payload has covered `sys.path`."""
    hostile = HOSTILE.replace("NAMES", " ".join(NAMES)).replace("DIRECTORIES", " ".join(sorted(DIRECTORIES)))
    lines = "\n".join("        " + line for line in scene.strip().splitlines())
    code = SCENE.format(hostile=hostile, scene=lines)
    result = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False, cwd="/", timeout=300
    )
    assert "the payload's code" not in result.stderr + result.stdout, result.stderr
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("done\n"), result.stderr
    return result.stdout.removesuffix("done\n")


REFUSED = {
    "statement": "import colorsys",
    "a package without a file": "import colorsys.inner",
    "import_module": "importlib.import_module('cmd')",
    "reload": "importlib.reload(threading)",
    "a module that is nowhere else": "import nowhere",
    "below a loaded package": "import json.tool",
    "__import__": "__import__('xml.dom.minidom')",
    "an extension module": "import _elementtree",
    "a zip file": "sys.path.insert(0, '/mnt/some.zip'); import this",
    "pickle": "import pickle; pickle.loads(b'ccolorsys\\nrgb_to_yiq\\n.')",
}


@needs_root
def test_refused() -> None:
    """In whatever way a module is imported: the error says so, and after the block the import works."""
    scene = ["import _io, json, pickle, zipimport"]
    for statement in REFUSED.values():
        scene += [
            "with nsbox.setns(box, 'mount'):",
            "    try:",
            f"        {statement}",
            "        print('imported')",
            "    except nsbox.ForeignImportError as error:",
            "        print('refused', error.name)",
        ]
    scene += ["import colorsys", "print(colorsys.__file__)"]
    lines = outcome("\n".join(scene)).splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["refused"] * len(REFUSED), lines
    assert lines[-1].endswith("colorsys.py")


@needs_root
def test_what_is_loaded_or_built_in_can_be_imported() -> None:
    """Modules in `sys.modules`, built-in ones and frozen ones are not read from files there."""
    builtin = next(name for name in ("_symtable", "xxsubtype", "_abc") if name in sys.builtin_module_names)
    scene = f"""
with nsbox.setns(box, "mount"):
    import json, os.path, {builtin}
    import __hello__
    print({builtin}.__name__)
"""
    assert builtin in outcome(scene)


READERS = (
    "nsbox.ps()", "nsbox.pstree()", "nsbox.lsns()", "nsbox.mounts()", "nsbox.ipcs()", "nsbox.snapshot()",
    "nsbox.compare(box)", "nsbox.doctor()", "nsbox.explain('unshare -mip true')",
    "nsbox.namespaces_of(threading.get_native_id())",
    "nsbox.diff(nsbox.snapshot(), nsbox.snapshot())", "nsbox.Namespace.of(box, 'net')", "box", "box.steps",
    "box.events", "box.ps()", "box.mounts()", "box.plan",
)  # fmt: skip
"""What an object shows, as text and in a notebook."""


@needs_root
def test_nsbox_works_inside() -> None:
    """Everything that nsbox shows, as text, HTML and pictures, and its errors with their causes."""
    scene = ["views = '__str__', '__repr__', '_repr_html_', '_repr_mimebundle_', 'to_dict'"]
    scene += ["with nsbox.setns(box, 'mount'):"]
    for reader in READERS:
        scene += [
            f"    found = {reader}",
            "    for view in views:",
            "        getattr(found, view, str)()",
            "    if hasattr(found, 'close') and found is not box: found.close()",
        ]
    scene += [
        "    try:",
        "        nsbox.run(['true'], unshare='m', root='/nonexistent')",
        "    except nsbox.SpawnError as error:",
        "        print(error.cause, ''.join(traceback.format_exception(error))[:9])",
        "    try:",
        "        1 / 0",
        "    except ZeroDivisionError:",
        "        traceback.print_exc()",
        "    print('ä'.encode('utf-16').decode('utf-16'), 'x'.encode('idna'), b'x'.decode('cp437'))",
        "    print(__import__('time').strptime('1', '%S').tm_sec)",
    ]
    lines = outcome("\n".join(scene)).splitlines()
    assert lines[0] == "no-root Traceback"
    assert lines[1:] == ["ä b'x' x", "1"]


@needs_root
def test_other_threads() -> None:
    """Other threads import as before; a thread that was started in the block does not, even after its end."""
    scene = """
import queue
results, go = queue.Queue(), threading.Event()
def try_import(name, wait):
    if wait:
        go.wait()
    try:
        importlib.import_module(name)
        results.put((name, "imported"))
    except nsbox.ForeignImportError:
        results.put((name, "refused"))
outer = threading.Thread(target=try_import, args=("colorsys", True))
outer.start()
with nsbox.setns(box, "mount"):
    inner = threading.Thread(target=try_import, args=("cmd", True))
    inner.start()
    go.set()
    outer.join()
inner.join()
print(sorted([results.get(), results.get()]))
"""
    assert outcome(scene) == "[('cmd', 'refused'), ('colorsys', 'imported')]\n"


@needs_root
def test_copies_of_foreign_mounts() -> None:
    """A copy of the payload's mounts is refused as well; a copy of the caller's own is not, nor is the way back."""
    scene = """
with nsbox.setns(box, "mount"), nsbox.unshare("mount"):
    try:
        import cmd
        print("imported")
    except nsbox.ForeignImportError:
        print("refused")
home = open("/proc/self/ns/mnt")
with nsbox.setns(box, "mount"), nsbox.setns(home, "mount"):
    import cmd
with nsbox.unshare("mount"):
    import colorsys
home.close()
print(cmd.__name__, colorsys.__name__)
"""
    assert outcome(scene) == "refused\ncmd colorsys\n"


@needs_root
def test_no_names_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """nsbox shows numbers there: name services are libraries that the place itself chooses."""
    asked: list[int] = []
    monkeypatch.setattr(pwd, "getpwuid", asked.append)
    with nsbox.Box("mp") as box, nsbox.setns(box, "mount"):
        assert str(nsbox.ps())
    assert asked == []


def test_the_error_can_be_pickled() -> None:
    """It names the module, and what to do."""
    error: Any = nsbox.ForeignImportError("a.b")
    again = pickle.loads(pickle.dumps(error))
    assert (again.name, str(again)) == ("a.b", str(error))
    assert "import a" in str(error)
    assert isinstance(again, ImportError)
