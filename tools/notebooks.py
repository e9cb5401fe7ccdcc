"""Execute the lessons in `notebooks/` and store their outputs, or check that the stored outputs are up to date.

A lesson is executed in new namespaces, so that its process table is small. It is executed as root, or as the user that
its metadata name (`nsbox.user`). That user must be able to execute this Python.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import nsbox
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
# The bare name of Python is shown in the tables of processes; jupyter_client would use its path.
COMMAND = ["sh", "-c", 'exec python -m ipykernel_launcher -f "$0"', "{connection_file}"]


def executed(notebook: Any) -> Any:
    """Execute a notebook in the namespaces of this process; return it with its outputs and fixed metadata."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        spec = place / "kernels" / "python3"
        spec.mkdir(parents=True)
        (spec / "kernel.json").write_text(json.dumps({"argv": COMMAND, **KERNEL}))
        manager = AsyncKernelManager(
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(spec.parent)], ensure_native_kernel=False),
            connection_file=str(place / "kernel.json"),
            transport="ipc",
            ip=str(place / "socket"),
        )
        client = NotebookClient(
            notebook, km=manager, timeout=60, record_timing=False, coalesce_streams=True,
            resources={"metadata": {"path": scratch}},
        )  # fmt: skip
        client.execute(env={**os.environ, "HOME": scratch, "IPYTHONDIR": scratch, "JUPYTER_RUNTIME_DIR": scratch})
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        # Pages show the SVG, and PNG is large.
        output.get("data", {}).pop("image/png", None)
    notebook.metadata["kernelspec"], notebook.metadata["language_info"] = KERNEL, {"name": "python"}
    return notebook


def sources(notebook: Any) -> str:
    """Return a digest of all code cells."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def problems(notebook: Any) -> list[str]:
    """Return the reasons why the outputs of a notebook are not up to date."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = []
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("its cells were not executed in their order")
    if any(output.output_type == "error" for cell in code for output in cell.outputs):
        found.append("one of its cells failed")
    if notebook.metadata.get("nsbox", {}).get("sources") != sources(notebook):
        found.append("it was changed after its execution")
    return found


def without_answers(notebook: Any) -> Any:
    """Return a notebook for students: without outputs, and with dots instead of answers."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = re.sub(r"^(\s*answer = ).*$", r"\1...", cell.source, flags=re.MULTILINE)
    return notebook


@contextlib.contextmanager
def group() -> Iterator[str]:
    """Make a cgroup of version 2 for the lesson on cgroup namespaces; yield its path, empty if none can be made."""
    own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().split("\n") if line.startswith("0::"))
    points = [mount.point for mount in nsbox.mounts() if mount.fstype == "cgroup2"]
    place = Path(points[0] + own) / f"course-{os.getpid()}" if points else Path()
    try:
        place.mkdir()
    except OSError:
        yield ""
        return
    try:
        yield str(place)
    finally:
        place.rmdir()


def execute(path: Path) -> None:
    """Execute a notebook in new namespaces, and write it."""
    notebook = nbformat.read(path, as_version=4)
    user = notebook.metadata.get("nsbox", {}).get("user", 0)
    rights = {"user": user, "group": user, "extra_groups": []} if user else {}
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    with group() as place:
        result = nsbox.run(
            ["python", "tools/notebooks.py", "--here", *([place] if place and not user else []),
             path.resolve().relative_to(ROOT)],
            executable=sys.executable, unshare="mipuC", mount_proc=True, hostname="workshop", capture_output=True,
            text=True, env=environment, cwd=ROOT, **rights,
        )  # fmt: skip
    if result.returncode:
        raise SystemExit(f"{path.name}:\n{result.stderr}")
    notebook = nbformat.reads(result.stdout, as_version=4)
    notebook.metadata["nsbox"] = {**({"user": user} if user else {}), "sources": sources(notebook)}
    nbformat.write(notebook, path)


def main() -> None:
    """Execute, check or copy the notebooks."""
    parser = argparse.ArgumentParser(description=__doc__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--check", action="store_true", help="execute nothing; exit with status 1 if outputs are out of date"
    )
    how.add_argument(
        "--students",
        type=Path,
        metavar="DIRECTORY",
        help="write copies for students to this directory, without answers and outputs",
    )
    how.add_argument("--here", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("notebook", nargs="*", type=Path, help="a notebook; default: all")
    options = parser.parse_args()
    if options.here:
        *groups, path = options.here
        for place in groups:
            (Path(place) / "cgroup.procs").write_text("0")
        print(nbformat.writes(executed(nbformat.read(path, as_version=4))))
        return
    failed = False
    for path in options.notebook or sorted(PLACE.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if options.students:
            options.students.mkdir(parents=True, exist_ok=True)
            nbformat.write(without_answers(notebook), options.students / path.name)
        elif options.check:
            for problem in problems(notebook):
                failed = True
                print(f"{path.name}: {problem}. Run `make notebooks`")
        else:
            execute(path)
    sys.exit(failed)


if __name__ == "__main__":
    main()
