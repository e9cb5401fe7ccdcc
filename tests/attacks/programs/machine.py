"""Open what concerns the whole machine: settings and memory in /proc, cgroups in /sys. Nothing is written."""

import os

PROC_TO_WRITE = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/kernel/shmall",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
)
PROC_TO_READ = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats")
for path in PROC_TO_WRITE:
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError:
        continue
    print("OUT proc: opens", path)
for path in PROC_TO_READ:
    try:
        with open(path, "rb") as file:
            read = file.read(100)
    except OSError:
        continue
    if read:
        print("OUT proc: reads", path)
for directory, _, names in os.walk("/sys/fs/cgroup"):
    if "cgroup.procs" in names:
        try:
            os.close(os.open(f"{directory}/cgroup.procs", os.O_WRONLY))
        except OSError:
            continue
        print("OUT sys: can leave its cgroup", directory)
        break
if os.path.isdir("/sys/kernel") and not os.statvfs("/sys").f_flag & os.ST_RDONLY:
    print("OUT sys: is not read-only")
if os.path.isdir("/sys/firmware") and os.listdir("/sys/firmware"):
    print("OUT sys: shows the firmware")
