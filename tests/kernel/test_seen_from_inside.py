"""Reading the process table as a process in a box sees it, also one that does not want to be seen."""

from __future__ import annotations

import nsbox
import pytest

from tests.support.forked import Who


def test_what_a_process_there_sees(who: Who) -> None:
    """The host before proc is mounted, the namespace after."""

    def act() -> tuple[int, list[int], bool]:
        with nsbox.Shell("mip") as shell:
            before = len(nsbox.ps(of=shell.pid, view="proc"))
            shell.run("mount -t proc none /proc", check=True)
            return (
                before,
                [process.pid for process in nsbox.ps(of=shell.pid, view="proc")],
                shell.pid in [process.pid for process in nsbox.ps()],
            )

    before, after, outside = who(act)
    assert before > 1
    assert after == [1]
    assert outside


@pytest.mark.parametrize("trick", ["mount -t tmpfs none /proc", "umount -l /proc; mount --bind /etc /proc"])
def test_no_proc_there(trick: str) -> None:
    """Something else than a proc is not read: its files could be anything, pipes that never end included."""
    with nsbox.Shell("mip") as shell:
        shell.run(trick)
        with pytest.raises(FileNotFoundError):
            nsbox.ps(of=shell.pid, view="proc")


def test_link_stays_inside() -> None:
    """A /proc that is an absolute link leads where it leads for the process, not to the caller's own files."""
    script = (
        "set -e; mount -t tmpfs none /mnt; mkdir /mnt/real; mount --bind /mnt /mnt; "
        "mount -t proc none /mnt/real; ln -s /real /mnt/proc; "
        "mkdir /mnt/bin /mnt/usr /mnt/lib /mnt/lib64; "
        "for place in bin usr lib lib64; do mount --rbind /$place /mnt/$place; done; "
        "exec chroot /mnt /bin/sh -c 'echo ready; exec sleep 60'"
    )
    with nsbox.Popen(["sh", "-c", script], unshare="mip", stdout=-1, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            assert sorted(seen.pid for seen in nsbox.ps(of=process, view="proc")) == [1, 2]
        finally:
            process.kill()
