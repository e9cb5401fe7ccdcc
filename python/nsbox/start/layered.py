"""The result of a program whose root is an overlay: a `Completed` with `changes`."""

from __future__ import annotations

from typing import Any

from nsbox.seeing.layer import MAX_FILES, Layer, WrittenFiles
from nsbox.start.completed import Completed

__all__ = ["LayeredProcess"]


class LayeredProcess(Completed[Any]):
    """A program that has ended, and what it has written to its root."""

    def __init__(self, args: Any, returncode: int, stdout: Any, stderr: Any, layer: Layer) -> None:
        """Keep the result and the layer."""
        super().__init__(args, returncode, stdout, stderr)
        self._layer = layer

    def changes(self, max_files: int = MAX_FILES) -> WrittenFiles:
        """Return the files that the program has created, changed and deleted in its root.

        Args:
            max_files: The number of files to read at most.

        Raises:
            NsboxError: when there are more.
        """
        return self._layer.files(max_files)
