"""Generate `python/nsbox/_core.pyi` from the Rust sources, or check that it is up to date."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

STUB = Path(__file__).parent.parent / "python" / "nsbox" / "_core.pyi"


def generate() -> str:
    """Return the formatted stub of maturin, from a build with the dev profile: the release profile strips its input."""
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as directory:
        maturin = [str(tools / "maturin"), "generate-stubs", "--quiet", "--features", "stubs", "--out", directory]
        subprocess.run(maturin, check=True, capture_output=True)
        made = Path(directory, "nsbox", "_core.pyi")
        subprocess.run([str(tools / "ruff"), "format", "--quiet", "--line-length", "120", str(made)], check=True)
        return made.read_text()


def main() -> int:
    """Write the stub, or with --check compare it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with status 1 if the stub is out of date"
    )
    check = parser.parse_args().check
    stub = generate()
    if not check:
        STUB.write_text(stub)
    elif STUB.read_text() != stub:
        print("python/nsbox/_core.pyi is out of date: run `make stubs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
