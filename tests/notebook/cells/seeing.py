"""Both views of a box, as a notebook shows them."""

# %%
import os

import nsbox

box = nsbox.Box("mip", mount_proc=True)
program = box.Popen(["sleep", "1000"])
before = nsbox.snapshot()

# %%
nsbox.compare(box)

# %%
nsbox.pstree(of=box.pid)

# %%
assert nsbox.lsns(kinds="pid")
assert nsbox.namespaces_of(program.pid).pid != nsbox.namespaces_of(os.getpid()).pid
assert nsbox.doctor().kinds["pid"].works
program.kill()
program.wait()
box.close()
assert str(nsbox.diff(before, nsbox.snapshot()))
