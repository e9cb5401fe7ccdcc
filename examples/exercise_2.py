"""The workshop exercise on PID and IPC namespaces in Python: each command of the handout, and its result.

Run it as root or as an ordinary user: ``python examples/exercise_2.py``. For explanations and checks: ``nsbox demo``.
"""

from __future__ import annotations

import errno

import nsbox
from nsbox import lessons


def main() -> None:
    """Do the exercise."""
    print(nsbox.pstree())  # pstree -S

    with nsbox.Shell("") as shell:  # a shell in the namespaces of the caller
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

    with nsbox.Box("mip", pid_max=400) as box:
        pids = lessons.exhaust_pids(box)
        print(f"{pids.started} processes, then no free PID: {errno.errorcode[pids.errno]}")
        print(f"PID {pids.freed} was freed; the next process has PID {pids.next}")


if __name__ == "__main__":
    main()
