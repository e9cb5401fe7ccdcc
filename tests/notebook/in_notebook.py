"""A program: run the cells of `cells/` in kernels, one kernel per file and all at once. Argument: PLACE.

In a file, cells begin with a line ``# %%``. Each kernel is inspected before and after: threads in other namespaces,
children, mounts and descriptors must be the same. Prints the result as JSON on its last line. Not a test by itself;
test_in_notebook is.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from pathlib import Path

CELLS = Path(__file__).with_name("cells")
BEFORE = """
def _everything():
    import gc, time
    gc.collect()
    tasks = os.listdir("/proc/self/task")
    kinds = os.listdir("/proc/self/ns")
    spaces = {kind: {os.readlink(f"/proc/self/task/{task}/ns/{kind}") for task in tasks} for kind in kinds}
    children = [child for task in tasks for child in open(f"/proc/self/task/{task}/children").read().split()]
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    ours = ("anon_inode:[pidfd]", "mnt:", "net:", "pid:", "user:", "uts:", "ipc:", "pipe:")
    kept = sorted(link for link in links if link.startswith(ours))
    return spaces, children, open("/proc/self/mountinfo").read(), kept

import os
import nsbox
nsbox.run(["true"], unshare="")  # brings the descriptor of nsbox-init, which stays
assert len(os.listdir("/proc/self/task")) > 8
_names = set(globals())
_before = _everything()
assert all(len(found) == 1 for found in _before[0].values()), _before[0]
"""
AFTER = """
# What a notebook still has a name for is not left behind.
for _name in set(globals()) - _names - {"_names", "_before"}:
    del globals()[_name]
Out.clear()
for _ in range(100):
    _after = _everything()
    if _after == _before:
        break
    __import__("time").sleep(0.02)
for _was, _is in zip(_before, _after):
    assert _is == _was, (_was, _is)
"""


def sources(theme: str) -> list[str]:
    """Return the cells of a theme, with cells before and after that inspect the kernel."""
    _, *cells = (CELLS / f"{theme}.py").read_text().split("# %%\n")
    return [BEFORE, *cells, AFTER]


async def run(theme: str, place: Path) -> tuple[str, dict[str, str]]:
    """Return the error of a theme, if there is one, and the output of its cells."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError
    from traitlets.config import Config

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources(theme)])
    # Unix sockets: TCP ports may be taken by another process before the kernel has bound them.
    config = Config(KernelManager={"transport": "ipc", "ip": str(place / theme)})
    resources = {"metadata": {"path": str(place)}}
    client = NotebookClient(notebook, timeout=200, kernel_name="python3", config=config, resources=resources)
    error = ""
    try:
        await client.async_execute()
    except (CellExecutionError, CellTimeoutError) as failed:
        error = str(failed)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    kinds = sorted({kind for output in outputs for kind in output.get("data", ())})
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    return theme, {"error": error, "printed": printed, "kinds": " ".join(kinds)}


async def main(place: Path) -> dict[str, dict[str, str]]:
    """Run all themes."""
    themes = sorted(path.stem for path in CELLS.glob("*.py"))
    return dict(await asyncio.gather(*(run(theme, place) for theme in themes)))


if __name__ == "__main__":
    workplace = Path(sys.argv[1])
    for name in ("data", "config", "runtime"):
        os.environ[f"JUPYTER_{name.upper()}_DIR"] = str(workplace / name)
    os.environ |= {"HOME": str(workplace), "IPYTHONDIR": str(workplace / "ipython")}
    warnings.simplefilter("ignore")
    print("\n" + json.dumps(asyncio.run(main(workplace))))
