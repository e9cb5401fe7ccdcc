"""``systemd-run``: the properties that concern namespaces, mounts, rights and limits (systemd.exec(5))."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from nsbox.command.options import Option, UsageError, parse
from nsbox.command.translation import Translation
from nsbox.records.steps import ExplainedStep
from nsbox.spec.nearest import did_you_mean

__all__ = ["PROPERTIES", "execute"]

_VALUES = {
    "unit": "u",
    "property": "p",
    "description": "",
    "slice": "",
    "setenv": "E",
    "uid": "",
    "gid": "",
    "nice": "",
    "working-directory": "",
    "service-type": "",
    "machine": "M",
    "host": "H",
    "on-active": "",
    "on-boot": "",
    "on-startup": "",
    "on-unit-active": "",
    "on-unit-inactive": "",
    "on-calendar": "",
    "path-property": "",
    "socket-property": "",
    "timer-property": "",
    "background": "",
    "job-mode": "",
    "capsule": "C",
    "json": "",
}
_FLAGS = {
    "scope": "",
    "user": "",
    "system": "",
    "remain-after-exit": "r",
    "pty": "t",
    "pipe": "P",
    "quiet": "q",
    "collect": "G",
    "shell": "S",
    "wait": "",
    "no-block": "",
    "no-ask-password": "",
    "send-sighup": "",
    "same-dir": "d",
    "slice-inherit": "",
    "expand-environment": "",
    "on-clock-change": "",
    "on-timezone-change": "",
    "no-pager": "",
    "verbose": "v",
    "ignore-failure": "",
    "pty-late": "T",
}
_OPTIONS = (
    *(Option(name, letter, "VALUE") for name, letter in _VALUES.items()),
    *(Option(name, letter, "BOOL", optional=True) for name, letter in _FLAGS.items()),
)

# Each with the letters of new namespaces, what systemd does, the command that does the same, its manual page, and the
# option of nsbox, in which {} is the value.
PROPERTIES: dict[str, tuple[str, str, str, str, str]] = {
    "PrivateNetwork": ("n", "unshare(CLONE_NEWNET)", "unshare --net PROGRAM", "network_namespaces(7)", ""),
    "PrivateMounts": (
        "m",
        "unshare(CLONE_NEWNS)",
        "unshare --mount --propagation=slave PROGRAM",
        "mount_namespaces(7)",
        "",
    ),
    "PrivateIPC": ("i", "unshare(CLONE_NEWIPC)", "unshare --ipc PROGRAM", "ipc_namespaces(7)", ""),
    "PrivatePIDs": (
        "mp",
        "clone(CLONE_NEWPID)",
        "unshare --pid --fork --mount-proc PROGRAM",
        "pid_namespaces(7)",
        "mount_proc=True",
    ),
    "PrivateUsers": (
        "U",
        "unshare(CLONE_NEWUSER)",
        "unshare --user --map-current-user PROGRAM",
        "user_namespaces(7)",
        "map_current_user=True",
    ),
    "ProtectHostname": ("u", "unshare(CLONE_NEWUTS)", "unshare --uts PROGRAM", "uts_namespaces(7)", ""),
    "ProtectControlGroups": (
        "m",
        "mount /sys/fs/cgroup read-only",
        "unshare --mount; mount -o remount,bind,ro /sys/fs/cgroup",
        "cgroup_namespaces(7)",
        "",
    ),
    "PrivateTmp": (
        "m",
        "mount of a new directory on /tmp and /var/tmp",
        "unshare --mount; mount -t tmpfs tmpfs /tmp",
        "mount(2)",
        "private_tmp=True",
    ),
    "PrivateDevices": (
        "m",
        "mount of a tmpfs with few nodes on /dev",
        "unshare --mount; mount -t tmpfs tmpfs /dev",
        "mount(2)",
        "",
    ),
    "ProtectSystem": (
        "m",
        "mount_setattr(PATH, MOUNT_ATTR_RDONLY)",
        "unshare --mount; mount --rbind -o ro /usr /usr",
        "mount_setattr(2)",
        "writable=",
    ),
    "ProtectHome": (
        "m",
        "mount of an empty directory on /home, /root, /run/user",
        "unshare --mount; mount -t tmpfs -o ro tmpfs /home",
        "mount(2)",
        "hidden=",
    ),
    "ReadWritePaths": (
        "m",
        "mount_setattr(PATH, clear MOUNT_ATTR_RDONLY)",
        "mount -o remount,bind,rw {}",
        "mount_setattr(2)",
        "writable={!r}",
    ),
    "ReadOnlyPaths": (
        "m",
        "mount_setattr(PATH, MOUNT_ATTR_RDONLY)",
        "unshare --mount; mount --rbind -o ro {} {}",
        "mount_setattr(2)",
        "mounts=[nsbox.Bind({!r}, {!r}, read_only=True)]",
    ),
    "InaccessiblePaths": (
        "m",
        "mount of an empty node that may not be read",
        "unshare --mount; mount -t tmpfs -o ro,mode=0 tmpfs {}",
        "mount(2)",
        "hidden={!r}",
    ),
    "TemporaryFileSystem": (
        "m",
        "mount(tmpfs, PATH)",
        "unshare --mount; mount -t tmpfs tmpfs {}",
        "tmpfs(5)",
        "mounts=[nsbox.Tmpfs({!r})]",
    ),
    "BindPaths": (
        "m",
        "mount(SOURCE, TARGET, MS_BIND|MS_REC)",
        "unshare --mount; mount --rbind {}",
        "mount(2)",
        "mounts=[nsbox.Bind(...)]",
    ),
    "BindReadOnlyPaths": (
        "m",
        "mount(SOURCE, TARGET, MS_BIND|MS_REC|MS_RDONLY)",
        "unshare --mount; mount --rbind -o ro {}",
        "mount(2)",
        "mounts=[nsbox.Bind(..., read_only=True)]",
    ),
    "RootDirectory": ("m", "pivot_root(2)", "unshare --mount --root={} PROGRAM", "pivot_root(2)", "root={!r}"),
    "NetworkNamespacePath": ("", "setns(FILE, CLONE_NEWNET)", "nsenter --net={} PROGRAM", "setns(2)", "join={!r}"),
    "IPCNamespacePath": ("", "setns(FILE, CLONE_NEWIPC)", "nsenter --ipc={} PROGRAM", "setns(2)", "join={!r}"),
    "ProtectProc": (
        "m",
        "mount(proc, hidepid={})",
        "unshare --mount; mount -t proc -o hidepid={} proc /proc",
        "proc(5)",
        "mount_proc=True",
    ),
    "ProtectKernelTunables": (
        "m",
        "mount /proc/sys, /sys and others read-only",
        "unshare --mount; mount --bind -o ro /proc/sys /proc/sys",
        "mount(2)",
        "mask_proc=True",
    ),
    "NoNewPrivileges": (
        "",
        "prctl(PR_SET_NO_NEW_PRIVS, 1)",
        "setpriv --no-new-privs PROGRAM",
        "PR_SET_NO_NEW_PRIVS(2const)",
        "no_new_privs=True",
    ),
    "CapabilityBoundingSet": (
        "",
        "prctl(PR_CAPBSET_DROP)",
        "setpriv --bounding-set=-all,... PROGRAM",
        "capabilities(7)",
        "drop_capabilities=True",
    ),
    "AmbientCapabilities": (
        "",
        "prctl(PR_CAP_AMBIENT_RAISE)",
        "setpriv --ambient-caps=... --inh-caps=... PROGRAM",
        "capabilities(7)",
        "",
    ),
    "SystemCallFilter": ("", "seccomp(SECCOMP_SET_MODE_FILTER)", "", "seccomp(2)", "seccomp=True"),
    "RestrictNamespaces": ("", "seccomp: clone, unshare and setns fail with EPERM", "", "seccomp(2)", "seccomp=True"),
    "KeyringMode": ("", "keyctl(KEYCTL_JOIN_SESSION_KEYRING)", "keyctl session - PROGRAM", "keyctl(2)", "keyring=True"),
    "MemoryMax": (
        "",
        'write("CGROUP/memory.max", "{}")',
        "echo {} > CGROUP/memory.max",
        "cgroups(7)",
        "limits={{'memory': BYTES}}",
    ),
    "MemoryHigh": ("", 'write("CGROUP/memory.high", "{}")', "echo {} > CGROUP/memory.high", "cgroups(7)", ""),
    "TasksMax": (
        "",
        'write("CGROUP/pids.max", "{}")',
        "echo {} > CGROUP/pids.max",
        "cgroups(7)",
        "limits={{'pids': {}}}",
    ),
    "CPUQuota": (
        "",
        'write("CGROUP/cpu.max", QUOTA for {})',
        "echo QUOTA 100000 > CGROUP/cpu.max",
        "cgroups(7)",
        "limits={{'cpu': PROCESSORS}}",
    ),
    "CPUWeight": ("", 'write("CGROUP/cpu.weight", "{}")', "echo {} > CGROUP/cpu.weight", "cgroups(7)", ""),
    "AllowedCPUs": ("", 'write("CGROUP/cpuset.cpus", "{}")', "echo {} > CGROUP/cpuset.cpus", "cgroups(7)", ""),
    "LimitNOFILE": (
        "",
        "prlimit(RLIMIT_NOFILE, {})",
        "prlimit --nofile={} PROGRAM",
        "getrlimit(2)",
        "rlimits={{'nofile': {}}}",
    ),
    "LimitNPROC": (
        "",
        "prlimit(RLIMIT_NPROC, {})",
        "prlimit --nproc={} PROGRAM",
        "getrlimit(2)",
        "rlimits={{'nproc': {}}}",
    ),
    "User": ("", "setuid(UID of {})", "setpriv --reuid={} --init-groups PROGRAM", "setuid(2)", "user={!r}"),
    "Group": ("", "setgid(GID of {})", "setpriv --regid={} PROGRAM", "setgid(2)", "group={!r}"),
    "UMask": ("", "umask({})", "umask {}", "umask(2)", "umask=0o{}"),
    "WorkingDirectory": ("", "chdir({})", "cd {}", "chdir(2)", "cwd={!r}"),
}
_OFF = ("no", "false", "0", "off")


def execute(words: Sequence[str]) -> Translation:
    """Explain the words behind ``systemd-run``.

    Raises:
        UsageError: for an unknown option, and for a property without a value.
    """
    found, program = parse(_OPTIONS, words)
    steps = [
        (
            "cgroup",
            'mkdir("CGROUP"); clone3(CLONE_INTO_CGROUP)',
            "mkdir CGROUP; echo $$ > CGROUP/cgroup.procs",
            "cgroups(7)",
            "each unit has a cgroup, with or without limits; in nsbox: limits={}",
        )
    ]
    letters, python, notes = "", [], []
    for option, value in found:
        name, text = option.name, value or ""
        if name in ("uid", "gid", "working-directory"):
            names = {"uid": "User", "gid": "Group", "working-directory": "WorkingDirectory"}
            name, text = "property", f"{names[name]}={text}"
        if name != "property":
            notes.append(f"--{name}: no meaning for namespaces: it is about the unit of systemd")
            continue
        name, equals, text = text.partition("=")
        if not equals:
            raise UsageError(f"systemd-run --property: expected NAME=VALUE, got '{name}'")
        if name not in PROPERTIES:
            similar = did_you_mean(name, PROPERTIES)
            notes.append(f"{name}={text}: nsbox does not know what this means for namespaces{similar}")
            continue
        if text.lower() in _OFF:
            notes.append(f"{name}={text}: nothing is done")
            continue
        kinds, call, command, manual, option_of_run = PROPERTIES[name]
        letters += kinds
        in_nsbox = [f"unshare={kinds!r}"] if kinds else []
        in_nsbox += [option_of_run.format(text, text)] if option_of_run else []
        python += [in_nsbox[-1]] if option_of_run and "..." not in in_nsbox[-1] else []
        quoted = shlex.quote(text)
        why = f"; in nsbox: {', '.join(in_nsbox)}" if in_nsbox else "; nsbox has no such option"
        steps.append(
            (name, call.format(text), command.format(quoted, quoted), manual, f"--property={name}={text}{why}")
        )
    line = program or ["PROGRAM"]
    steps.append(
        (
            "exec",
            f'execve("{line[0]}", {json.dumps(line)}, ENVIRONMENT)',
            f"exec {shlex.join(line)}",
            "execve(2)",
            "systemd, not the caller, is the parent of the program",
        )
    )
    explained = tuple(ExplainedStep(index, "systemd", *step) for index, step in enumerate(steps))
    wanted = "".join(sorted(set(letters), key="Umpiun CT".find))
    arguments = [repr(list(line)), f"unshare={wanted!r}", *dict.fromkeys(python)]
    notes.append("systemd starts the program with its own environment; nsbox with the caller's")
    return Translation(explained, "", f"nsbox.run({', '.join(arguments)})", tuple(notes))
