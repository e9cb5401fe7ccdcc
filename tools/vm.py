"""Run tests on a Debian kernel with every controller of cgroup version 2, in QEMU: ``make vm-tests``.

Needs root, and the Debian packages qemu-system-x86, mmdebstrap and e2fsprogs. Everything is made in ``.cache/vm``: once
a root directory from Debian's packages (some minutes, 250 MB to download), and each time a disk with a wheel of this
tree, its tests, and what they import. The machine has no network, and neither disk is written to. Its PID 1 is
``tests/vm/init.sh``, which starts ``tests/vm/tests.sh``.

    python tools/vm.py [ARGUMENTS of pytest]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "vm"
SUITE = "trixie"
MIRROR = f"deb http://deb.debian.org/debian {SUITE} main"
PACKAGES = (
    "linux-image-cloud-amd64,initramfs-tools,systemd,python3,iproute2,procps,util-linux,gcc,libc6-dev,git,kmod,passwd,"
    "uidmap"
)
PYTHON_VERSION = "3.13"
"""That of the suite."""
IMPORTED = ("pytest", "hypothesis", "cloudpickle")
TESTS = ("tests/attacks/test_cgroup.py", "tests/start/test_cgroup.py")
SECONDS = 3600


def main() -> int:
    """Make what is missing, boot, and return the status of the tests."""
    missing = [tool for tool in ("qemu-system-x86_64", "mmdebstrap", "mke2fs") if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        print("vm: needs root, and as Debian packages: qemu-system-x86 mmdebstrap e2fsprogs", file=sys.stderr)
        return 1
    CACHE.mkdir(parents=True, exist_ok=True)
    if not (CACHE / "root.img").exists():
        _make_root()
    _make_data(sys.argv[1:] or list(TESTS))
    return _boot()


def _run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True)


def _make_root() -> None:
    """Make the disk with Debian. The mounts that this takes are in a mount namespace of their own."""
    root = CACHE / "root"
    if not (root / "vm-init").exists():
        shutil.rmtree(root, ignore_errors=True)
        _run("unshare", "--mount", "--pid", "--fork", "--mount-proc", "mmdebstrap", "--variant=minbase",
             f"--include={PACKAGES}", SUITE, root, MIRROR)  # fmt: skip
    for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        shutil.copy(next((root / "boot").glob(pattern)), CACHE / name)
    shutil.copy(ROOT / "tests" / "vm" / "init.sh", root / "vm-init")
    (root / "vm-init").chmod(0o755)
    _make_disk(CACHE / "root.img", root, "3G")


def _make_data(arguments: list[str]) -> None:
    """Make the disk with the tests."""
    data = CACHE / "data"
    for old in (data, CACHE / "dist"):
        shutil.rmtree(old, ignore_errors=True)
    data.mkdir()
    _run(Path(sys.executable).parent / "maturin", "build", "--release", "--out", CACHE / "dist")
    wheel = next((CACHE / "dist").glob("*.whl"))
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--target", data / "site", "--only-binary=:all:",
               "--python-version", PYTHON_VERSION)  # fmt: skip
    _run(*install, wheel, *IMPORTED)
    shutil.copytree(ROOT / "tests", data / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", data)
    (data / "arguments").write_text("\n".join(arguments) + "\n")
    _make_disk(CACHE / "data.img", data, "512M")


def _make_disk(image: Path, directory: Path, size: str) -> None:
    image.unlink(missing_ok=True)
    made = image.with_suffix(".part")
    made.unlink(missing_ok=True)
    _run("mke2fs", "-q", "-t", "ext4", "-d", directory, made, size)
    made.rename(image)


def _boot() -> int:
    """Boot, print what the machine prints, and return the status that it reports."""
    disks = [f"file={CACHE / name},format=raw,if=virtio,snapshot=on" for name in ("root.img", "data.img")]
    # On a busy machine the emulated timer is late, which a kernel takes for a broken one (no_timer_check).
    # Not by KVM: where a machine is itself a virtual one, /dev/kvm may open and the guest hang.
    command = [
        "timeout", str(SECONDS), "qemu-system-x86_64", "-M", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "2048",
        "-nographic", "-no-reboot", "-net", "none", "-kernel", str(CACHE / "vmlinuz"), "-initrd", str(CACHE / "initrd"),
        "-append", "console=ttyS0 root=/dev/vda rw init=/vm-init quiet panic=-1 no_timer_check",
        *(word for disk in disks for word in ("-drive", disk)),
    ]  # fmt: skip
    status = 1
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, errors="replace") as machine:
        assert machine.stdout is not None
        try:
            for line in machine.stdout:
                print(line, end="", flush=True)
                if found := re.match(r"vm: status (\d+)", line):
                    status = int(found[1])
        finally:
            # timeout(1) passes it on.
            machine.terminate()
    return status


if __name__ == "__main__":
    sys.exit(main())
