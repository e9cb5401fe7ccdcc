"""Recorded evidence of other machines, as `nsbox.diagnosis.evidence` would describe them."""

from __future__ import annotations

from dataclasses import replace

from nsbox.diagnosis.evidence import Evidence, IdMapProgram, ProcMount
from nsbox.spec.kinds import KINDS

__all__ = ["DOCKER", "GITHUB", "GVISOR", "KUBERNETES", "RHEL_CONTAINER", "ROOT", "UBUNTU", "USER", "WSL1"]

_ALL = 2**41 - 1
_EVERYBODY = ((0, 0, 2**32 - 1),)

ROOT = Evidence(
    system="Linux version 6.1.0",
    places=("debian",),
    kinds=tuple(KINDS),
    effective=_ALL,
    bounding=_ALL,
    initial_user_namespace=True,
    uid_map=_EVERYBODY,
    gid_map=_EVERYBODY,
    setgroups="allow",
    pid_depth=1,
    seccomp=("0", "0"),
    limits=dict.fromkeys(KINDS, 15000),
    threads=("python",),
    root_is_mount=True,
    propagation="shared:1",
    procs=(ProcMount("/proc"),),
    children_born_into="own",
    task_limits=(("kernel.pid_max", 32768, 100),),
    newuidmap=IdMapProgram("/usr/bin/newuidmap", True),
    newgidmap=IdMapProgram("/usr/bin/newgidmap", True),
)
"""Root on an ordinary machine."""

USER = replace(
    ROOT, uid=1000, gid=1000, effective=0, subuid="user:100000:65536", subgid="user:100000:65536",
    task_limits=(("RLIMIT_NPROC", 5000, 30), ("kernel.pid_max", 32768, 100)),
)  # fmt: skip
"""An ordinary user on the same machine."""

UBUNTU = replace(USER, places=("ubuntu",), apparmor_restrict="1")
GITHUB = replace(UBUNTU, places=("github", "ubuntu"))

_MASKS = ("/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/sys")
DOCKER = replace(
    ROOT, places=("docker", "debian"), effective=0xA80425FB, bounding=0xA80425FB, seccomp=("2", "1"), unshare=1,
    setns=1, clone3=38, clone_refused=tuple(kind for kind in KINDS if kind != "time"), mount=1,
    label="docker-default (enforce)", procs=(ProcMount("/proc", _MASKS),), propagation="",
)  # fmt: skip
"""Root in a container as Docker starts it on a host with AppArmor."""

KUBERNETES = replace(DOCKER, places=("kubernetes", "debian"), uid=1000, effective=0, no_new_privs=True)
RHEL_CONTAINER = replace(
    ROOT, places=("podman", "rhel"), effective=0x800405FB, label="system_u:system_r:container_t:s0:c1,c2",
    procs=(ProcMount("/proc", _MASKS),),
)  # fmt: skip
GVISOR = replace(ROOT, places=("gvisor",), system="Linux version 4.19.0-gvisor", limits={})
WSL1 = replace(
    USER, places=("wsl1", "ubuntu"), system="Linux version 4.4.0-19041-Microsoft", kinds=("mount",), limits={}
)
