"""Programs started by a thread after the main thread of the process has ended: then there is no /proc/self/fd."""

from __future__ import annotations

import os
import platform
import threading
import traceback
from typing import Any

import nsbox
import pytest

from tests.support.census import wait_until
from tests.support.forked import Who, fork
from tests.support.libc import syscall

SYS_EXIT = {"x86_64": 60, "aarch64": 93}[platform.machine()]

OPTIONS: dict[str, dict[str, Any]] = {
    "id maps": {"unshare": "Up", "map_root_user": True},
    "mounts": {"unshare": "mp", "mount_proc": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_main_thread_has_ended(who: Who, options: dict[str, Any]) -> None:
    """`run`, a box, and joining it work as before."""

    def use() -> None:
        if not wait_until(lambda: not os.path.exists("/proc/self/fd/0")):
            raise TimeoutError("the main thread is there")
        assert nsbox.run(["true"], **options).returncode == 0
        with nsbox.Box(**options) as box:
            assert box.run(["true"]).returncode == 0
            assert [process.pid for process in box.ps()] == [1]
            assert nsbox.enter(box, None, ["true"]).returncode == 0

    def thread() -> None:
        status = 1
        try:
            use()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def program() -> int:
        pid = fork()
        if pid == 0:
            threading.Thread(target=thread).start()
            # exit(2), unlike exit(3), ends only the calling thread.
            syscall(SYS_EXIT, 0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert who(program) == 0
