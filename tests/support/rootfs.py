"""A small root file system: the machine's programs, bound, and directories of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nsbox

__all__ = ["Rootfs"]

_PROGRAMS = ("bin", "lib", "lib32", "lib64", "sbin", "usr")
_OWN = ("data", "etc", "proc", "tmp")


@dataclass(frozen=True)
class Rootfs:
    """A directory, and the mounts that it needs so that programs run."""

    path: Path
    mounts: tuple[nsbox.Bind, ...]

    @classmethod
    def make(cls, place: Path) -> Rootfs:
        """Create it in `place`, readable by every user."""
        root = place / "root"
        root.mkdir()
        mounts = []
        for name in _PROGRAMS:
            host = Path("/", name)
            if host.is_symlink():
                (root / name).symlink_to(host.readlink())
            elif host.is_dir():
                (root / name).mkdir()
                mounts.append(nsbox.Bind(host, f"/{name}", read_only=True))
        for name in _OWN:
            (root / name).mkdir()
            (root / name).chmod(0o777)
        (root / "etc" / "marker").write_text("in the box\n")
        return cls(root, tuple(mounts))

    def names(self) -> list[str]:
        """Return the names in the root directory."""
        return sorted(path.name for path in self.path.iterdir())

    def options(self, *mounts: Any, **more: Any) -> dict[str, Any]:
        """Return the options of `Spec` for it, with further mounts."""
        return {"root": self.path, "mounts": (*self.mounts, *mounts), **more}
