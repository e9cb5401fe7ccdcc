"""The workshop exercise on PID and IPC namespaces in Python: each line of the handout, and what Python sees of it.

Run it with ``python examples/exercise_2.py``, as root or not. ``nsbox demo`` is the same with explanations and checks.
"""

from __future__ import annotations

import sys

import nsbox


def main() -> None:
    """Walk through the exercise."""
    print(nsbox.pstree())  # pstree -S

    with nsbox.Shell("") as shell:  # the shell one has anyway
        print("outside, $$ is", shell.run("echo $$"))

    with nsbox.Shell("mip") as shell:  # unshare -mipf
        print("inside, $$ is", shell.run("echo $$"))
        print("ps, before:", *list(nsbox.ps(of=shell.pid, view="proc"))[:3], sep="\n  ")
        shell.run("mount -t proc none /proc", check=True)
        print("ps, after:", *nsbox.ps(of=shell.pid, view="proc"), sep="\n  ")
        print(f"one process, two PIDs: {shell.pid} outside, {shell.pid_inside} inside")
        print("System V segments:", shell.run("tail -n +2 /proc/sysvipc/shm | wc -l"))

    with nsbox.Shell("mip", fork=False) as broken:  # unshare -mip
        broken.run("uname")
        second = broken.run("uname")
        print("without -f:", second, second.explanation)

    forks = [sys.executable, "-m", "nsbox.exercise.pids"]
    story = nsbox.run(forks, unshare="mip", mount_proc=True, pid_max=400, capture_output=True, text=True)
    print("PIDs run out and are reused:", story.stdout)


if __name__ == "__main__":
    main()
