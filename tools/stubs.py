"""Generate `python/nsbox/_core.pyi` from the Rust sources, or check that it is what would be generated."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

STUB = Path(__file__).parent.parent / "python" / "nsbox" / "_core.pyi"


def generate() -> str:
    """Return the stub as maturin makes it, formatted. The dev profile keeps what it is made from; release strips it."""
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as directory:
        maturin = [str(tools / "maturin"), "generate-stubs", "--quiet", "--features", "stubs", "--out", directory]
        subprocess.run(maturin, check=True, capture_output=True)
        made = Path(directory, "nsbox", "_core.pyi")
        subprocess.run([str(tools / "ruff"), "format", "--quiet", "--line-length", "120", str(made)], check=True)
        return made.read_text()


def main() -> int:
    """Write the stub, or with --check compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
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
