"""Joining: programs by enter and join, threads by setns; what a process with threads is refused."""

# %%
import os
import subprocess
import threading

import nsbox

box = nsbox.Box("mipuU", hostname="lab", mount_proc=True)
host = os.uname().nodename
assert nsbox.enter(box, "user uts", ["hostname"], capture_output=True, text=True).stdout == "lab\n"
assert nsbox.run(["sh", "-c", "ps -e | wc -l"], unshare="", join=box, stdout=subprocess.PIPE).stdout.strip().isdigit()
assert os.uname().nodename == host

# %%
# These cannot be left again, and the other threads would stay outside; the error names them.
threading.Thread(target=threading.Event().wait, name="the one that waits", daemon=True).start()
for kind in ("user", "time"):
    try:
        with nsbox.unshare(kind):
            refusal = "none"
    except nsbox.SpecError as error:
        refusal = str(error)
    assert "the one that waits" in refusal, refusal

# %%
root = os.geteuid() == 0
plain = nsbox.Box("u", hostname="plain")
for scope in (nsbox.unshare("uts"), nsbox.setns(plain, "uts")):
    try:
        with scope:
            assert root, "an ordinary user may not"
            assert os.uname().nodename in (host, "plain")
    except (nsbox.SpawnError, nsbox.SpecError):
        assert not root
    assert os.uname().nodename == host

# %%
# A scope of a PID namespace: the first child is PID 1, and after it no other can be created. Undone at the end.
if root:
    with nsbox.unshare("pid"):
        assert subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout == "1\n"
    assert subprocess.run(["true"], check=False).returncode == 0
    worker = threading.Thread(target=print, args=("a thread can be started",))
    worker.start()
    worker.join()

# %%
with box.namespace("uts") as namespace:
    assert namespace.kind == "uts"
box.close()
plain.close()
