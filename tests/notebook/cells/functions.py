"""Functions of the notebook, called in boxes; an executor of tasks."""

# %%
import os
import subprocess
import time
from typing import Any

import nsbox


def look(name: str) -> tuple[int, int]:
    """Print, also from a program, and return the PIDs of this process and its parent."""
    print("hello", name)
    subprocess.run(["echo", "from a program"], check=True)
    return os.getpid(), os.getppid()


def raised(error: type[BaseException], function: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether a call raises this error."""
    try:
        function(*args, **kwargs)
    except error:
        return True
    return False


box = nsbox.Box("mipn", mount_proc=True)
assert box.call(look, "one") == box.call(look, "two") == (2, 1)
assert box.call(look, "three", fresh=True)[1] == 1

# %%
assert raised(ZeroDivisionError, box.call, lambda: 1 // 0)
assert raised(nsbox.CallTimeoutError, box.call, time.sleep, 1000, timeout=0.2)
assert raised(nsbox.WorkerDiedError, box.call, os._exit, 3)
assert box.call(len, "again") == 5

# %%
assert nsbox.boxed(unshare="mipu", hostname="lab", timeout=60)(lambda: os.uname().nodename)() == "lab"

# %%
with nsbox.Executor(2, "mip", mount_proc=True, timeout=20) as executor:
    assert list(executor.map(pow, [2, 3], [3, 2])) == [8, 9]
    running = executor.submit(time.sleep, 1000)
    assert raised(TimeoutError, running.result, 0.2)
    assert running.cancel()
    verdicts = [str(outcome.verdict) for outcome in executor.outcomes(os._exit, [0, 1])]
    assert verdicts == ["ERROR", "ERROR"], verdicts
box.close()
