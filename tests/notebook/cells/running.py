"""Programs: subprocess and asyncio in namespaces, from the kernel's own loop."""

# %%
import subprocess

import nsbox

look = ["sh", "-c", "echo $$ $PPID; ps -e | wc -l"]
result = nsbox.run(look, mount_proc=True, capture_output=True, text=True, timeout=30)
assert result.stdout.split()[:2] == ["2", "1"], result
assert int(result.stdout.split()[2]) <= 6, result

# %%
output = None
try:
    nsbox.run("sleep 1000 & echo early; setsid sleep 1000 & wait", shell=True, timeout=0.5, stdout=subprocess.PIPE)
except nsbox.TimeoutExpired as error:
    output = error.output
assert output == b"early\n"

# %%
process = await nsbox.create_subprocess_exec(*look, stdout=subprocess.PIPE)  # type: ignore[top-level-await]  # noqa: F704, PLE1142
output, _ = await process.communicate()  # type: ignore[top-level-await]  # noqa: F704, PLE1142
assert output.split()[:2] == [b"2", b"1"]

# %%
with nsbox.Shell("mip") as shell:
    assert shell.run("echo $$").stdout == "1\n"
    shell.run("mount -t proc none /proc", check=True)
    assert {process.comm for process in nsbox.ps(of=shell.pid, view="proc")} <= {b"sh", b"bash", b"dash", b"zsh"}
with nsbox.Shell("mip", fork=False) as broken:
    broken.run("uname")
    assert broken.run("uname").returncode
