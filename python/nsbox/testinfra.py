"""pytest-testinfra (https://testinfra.readthedocs.io) for a box: `host_of`.

>>> @pytest.fixture
... def host(box):
...     return nsbox.testinfra.host_of(box)
>>> def test_proc(host):
...     assert host.mount_point("/proc").filesystem == "proc"
...     assert host.process.get(pid=1).comm == "nsbox-init"
"""

from __future__ import annotations

from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from nsbox import Box

__all__ = ["BoxBackend", "host_of"]


class BoxBackend(BaseBackend):  # type: ignore[misc] # that project has no types
    """A backend that runs commands in a box."""

    NAME = "nsbox"

    def __init__(self, box: Box, **keywords: Any) -> None:
        """Make a backend for a box."""
        super().__init__(f"nsbox-{box.pid}", **keywords)
        self._box = box

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """Run a command by /bin/sh in the box."""
        del kwargs
        line = self.get_command(command, *args)
        done = self._box.run(["/bin/sh", "-c", line], capture_output=True)
        return self.result(done.returncode, self.encode(line), done.stdout, done.stderr)


def host_of(box: Box) -> Host:
    """Return a testinfra ``host`` for a box."""
    return Host(BoxBackend(box))
