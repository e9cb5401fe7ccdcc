"""Options that mount something in a container, or bring devices into it (mount(2))."""

from __future__ import annotations

import shlex

from nsbox.command.engines import values
from nsbox.command.engines.container import Container
from nsbox.command.options import UsageError
from nsbox.spec.nearest import did_you_mean

__all__ = ["device", "device_rule", "mount", "read_only", "shm_size", "tmpfs", "volume"]


def volume(container: Container, option: str, value: str) -> None:
    """Mount a directory of this machine, or a volume of the engine."""
    source, target, options = values.volume(value)
    known = (
        "ro",
        "rw",
        "z",
        "Z",
        "U",
        "copy",
        "nocopy",
        "cached",
        "delegated",
        "consistent",
        "idmap",
        "O",
        "exec",
        "noexec",
        "dev",
        "nodev",
        "suid",
        "nosuid",
        *(f"{r}{p}" for r in ("", "r") for p in ("private", "shared", "slave")),
        "bind",
        "rbind",
    )
    for one in options:
        if one.partition("=")[0] not in (*known, "upperdir", "workdir"):
            raise UsageError(f"--{option}: unknown mode {one!r} in '{value}'{did_you_mean(one, known)}")
    _bind(container, f"--{option}={value}", source, target, "ro" in options, "bind" in options)


def _bind(container: Container, given: str, source: str, target: str, read_only: bool, alone: bool = False) -> None:
    why = "a directory of this machine"
    if not source.startswith(("/", ".", "~")):
        name = source or "ANY-NAME"
        source, why = f"VOLUMES/{name}/_data", f"the volume {name!r}, a directory of the engine"
    how = "bind" if alone else "rbind"
    command = f"mount --{how}{' -o ro=recursive' if read_only else ''} {shlex.quote(source)} ROOT{shlex.quote(target)}"
    call = f'mount("{source}", "ROOT{target}", NULL, MS_BIND{"" if alone else "|MS_REC"}, NULL)'
    if read_only:
        call += f'; mount_setattr("ROOT{target}", AT_RECURSIVE, MOUNT_ATTR_RDONLY)'
    python = f"nsbox.Bind({source!r}, {target!r}{', read_only=True' if read_only else ''})"
    container.python.setdefault("mounts", []).append(python)
    container.step(
        "mounts", "bind", call, command, "mount(2)", f"{given}: {why} appears at {target}; in nsbox: {python}"
    )


def tmpfs(container: Container, option: str, value: str) -> None:
    """Mount an empty file system in memory."""
    target, _, options = value.partition(":")
    _new_tmpfs(container, f"--{option}={value}", target, options)


def _new_tmpfs(container: Container, given: str, target: str, options: str) -> None:
    if not target.startswith("/"):
        raise UsageError(f"{given}: expected an absolute path")
    found = values.fields("tmpfs", options) if options else {}
    arguments = [repr(target)]
    if "size" in found and not found["size"].endswith("%"):
        arguments.append(f"size={values.size('tmpfs', found['size'])}")
    if found.get("mode", "").isdecimal() and set(found["mode"]) <= set("01234567"):
        arguments.append(f"mode=0o{found['mode'].lstrip('0') or '0'}")
    python = f"nsbox.Tmpfs({', '.join(arguments)})"
    container.python.setdefault("mounts", []).append(python)
    data = ",".join(["nosuid", "nodev", *([options] if options else [])])
    container.step(
        "mounts",
        "tmpfs",
        f'mount("tmpfs", "ROOT{target}", "tmpfs", MS_NOSUID|MS_NODEV, "{options}")',
        f"mount -t tmpfs -o {shlex.quote(data)} tmpfs ROOT{shlex.quote(target)}",
        "tmpfs(5)",
        f"{given}: an empty file system in memory; in nsbox: {python}",
    )


def mount(container: Container, option: str, value: str) -> None:
    """Mount what the fields describe: ``type=bind,src=...``."""
    found = values.fields(option, value)
    kind = found.get("type", "volume")
    source = found.get("source", found.get("src", ""))
    target = found.get("target", found.get("dst", found.get("destination", "")))
    known = ("bind", "volume", "tmpfs", "image", "npipe", "cluster", "devpts", "glob", "ramfs", "artifact")
    if kind not in known:
        raise UsageError(f"--{option}: unknown type {kind!r} in '{value}'{did_you_mean(kind, known)}")
    if not target.startswith("/"):
        raise UsageError(f"--{option}: expected an absolute path in target=, got '{value}'")
    read_only = any(found.get(name, "false") in ("", "true", "1") for name in ("readonly", "ro"))
    if kind == "tmpfs":
        options = [f"{name}={found[f'tmpfs-{name}']}" for name in ("size", "mode") if f"tmpfs-{name}" in found]
        _new_tmpfs(container, f"--{option}={value}", target, ",".join(options))
    elif kind in ("bind", "volume"):
        alone = found.get("bind-recursive", "") == "disabled" or "bind-nonrecursive" in found
        _bind(container, f"--{option}={value}", source, target, read_only, alone)
    else:
        container.step(
            "mounts",
            kind,
            f"a mount of the engine's at {target}",
            "",
            "mount(2)",
            f"--{option}={value}: in nsbox: Overlay, if the files of an image are layers",
        )


def device(container: Container, option: str, value: str) -> None:
    """Bring a device into the container."""
    source, _, rest = value.partition(":")
    target = rest.partition(":")[0] if rest.startswith("/") else source
    if not source.startswith("/"):
        container.step(
            "mounts",
            "device",
            "the files of a device driver",
            "",
            "",
            f"--{option}={value}: device nodes that a plugin of the engine chooses are bound into /dev",
        )
        return
    python = f"nsbox.Bind({source!r}, {target!r}, dev=True)"
    container.python.setdefault("mounts", []).append(python)
    container.step(
        "mounts",
        "device",
        f'mknod("ROOT{target}", S_IFCHR|0666, DEVICE); bpf(BPF_PROG_ATTACH)',
        f"mount --bind {shlex.quote(source)} ROOT{shlex.quote(target)}",
        "mknod(2)",
        f"--{option}={value}: a node in /dev, and the filter of devices of the cgroup allows it; in nsbox: {python}",
    )


def device_rule(container: Container, option: str, value: str) -> None:
    """Allow devices by a rule of the cgroup."""
    container.step(
        "cgroup",
        "devices",
        "bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE)",
        "",
        "bpf(2)",
        f"--{option}={value}: the filter of devices of the cgroup allows these; nsbox mounts without dev instead",
    )


def shm_size(container: Container, option: str, value: str) -> None:
    """Set the size of /dev/shm."""
    size = values.size(option, value)
    container.options.setdefault("shm", []).append(f"--{option}={value}")
    container.python["_shm"] = size


def read_only(container: Container, option: str, value: str) -> None:
    """Make the files of the image read-only."""
    container.read_only = values.flag(option, value)
