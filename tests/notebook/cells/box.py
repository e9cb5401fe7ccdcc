"""A box: processes before and after the mount of proc; settings; its end."""

# %%
import signal

import nsbox

box = nsbox.Box("mipun", hostname="lab", pid_max=400)
before = len(box.ps(view="proc"))
box.mount_proc()
assert len(box.ps(view="proc")) < before
assert [process.comm for process in box.ps()] == [b"nsbox-init"]
assert (box.hostname, box.pid_max, box.loopback) == ("lab", 400, True)

# %%
box.hostname = "other"
assert box.run(["hostname"], capture_output=True, text=True, check=True).stdout == "other\n"
box.mount("tmpfs", "/mnt", "tmpfs", "nosuid")
assert any(mount.point == "/mnt" and mount.fstype == "tmpfs" for mount in box.mounts())
with box.Popen(["sh", "-c", "setsid sleep 1000 & sleep 1000"]) as program:
    while sum(process.comm == b"sleep" for process in box.ps()) < 2:
        pass
    program.send_signal(signal.SIGTERM)
assert program.returncode == -signal.SIGTERM
assert "sleep" in str(box.pstree())
assert {"exited", "started"} <= {event.kind for event in box.events}
assert "mount proc" in str(box.steps)
assert {record.kind for record in box.lsns()} >= {"mount", "pid", "ipc"}

# %%
with box.shell() as shell:
    assert shell.run("echo $PPID").stdout == "1\n"
box.kill()
box.wait(20)
try:
    box.run(["true"])
except nsbox.ClosedError:
    box.close()
else:
    raise AssertionError("it was not closed")
