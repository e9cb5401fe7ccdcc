"""The lessons, and objects in IPC namespaces."""

# %%
import errno

import nsbox
from nsbox import lessons

with nsbox.Box("mip", pid_max=330) as box:
    result = lessons.exhaust_pids(box)
    assert (result.errno, result.freed) == (errno.EAGAIN, result.next)
    assert lessons.reuse_a_pid(box).by_pidfd == "ESRCH"
    assert lessons.signal_init(box).survived
    assert lessons.adopt(box).after == 1
    assert lessons.share_memory(box) == lessons.SharedMemory(new_ipc=True, before=True, after=False)

# %%
mine = len(nsbox.ipcs())
with nsbox.Box("mip") as box:
    for option in ("-M4096", "-Q", "-S2"):
        box.run(["ipcmk", option], check=True, capture_output=True)
    assert sorted(one.kind for one in box.ipcs()) == ["msg", "sem", "shm"]
    assert len(nsbox.ipcs()) == mine

# %%
with nsbox.Box("mip", reap=False) as box:
    box.run(["sh", "-c", "sleep 0 & exec true"], check=True)
    while not any(process.state == "Z" for process in box.ps()):
        pass
    box.reap()
    assert not any(process.state == "Z" for process in box.ps())
