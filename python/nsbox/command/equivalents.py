"""The shell command that does the same as a step, made from the system calls of the step."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from nsbox.records.steps import SystemCall
from nsbox.spec.harden import PARTS
from nsbox.spec.kinds import KINDS, namespace_names
from nsbox.spec.mounts import Bind
from nsbox.spec.spec import Spec

__all__ = ["command_for", "unshare_line"]

_Calls: TypeAlias = Sequence[SystemCall]


def command_for(name: str, calls: _Calls) -> str:
    """Return a line for the shell; empty where no command does the same.

    Args:
        name: The name of the step.
        calls: Its system calls.
    """
    build = _COMMANDS.get(name)
    return build(calls) if build and calls else ""


def _argument(calls: _Calls, argument: str, of: str = "") -> Any:
    """Return the first argument with this name, of any call or of the call named `of`; None if there is none."""
    found = (call["arguments"] for call in calls if of in ("", call["name"]))
    return next((arguments[argument] for arguments in found if argument in arguments), None)


def _file(descriptor: object) -> str:
    """Return the path of the file behind a descriptor; empty where it has none."""
    path = descriptor.get("file", "") if isinstance(descriptor, dict) else ""
    return shlex.quote(path) if os.path.isabs(path) else ""


def _namespaces(calls: _Calls) -> str:
    flags = _argument(calls, "flags")
    kinds = [f"--{name}" for name, kind in KINDS.items() if kind.flag_name in flags]
    fork = [] if calls[0]["name"] == "unshare" else ["--fork"]
    return " ".join(["unshare", *kinds, *fork, "--propagation=unchanged"]) if kinds else ""


def _rows_of(data: object) -> list[str]:
    """Return the lines that are written to a file."""
    return [" ".join(map(str, row)) for row in data] if isinstance(data, tuple) else str(data).splitlines()


def _write(calls: _Calls) -> str:
    arguments = calls[0]["arguments"]
    if calls[0]["is_program"]:
        numbers = (str(number) for row in arguments["rows"] for number in row)
        return " ".join([calls[0]["name"], "PID", *numbers])
    return f"printf '%s\\n' {shlex.join(_rows_of(arguments['buf']))} > {shlex.quote(arguments['path'])}"


def _propagation(calls: _Calls) -> str:
    names = [flag.removeprefix("MS_").lower() for flag in _argument(calls, "mountflags")]
    mode = next((name for name in names if name in ("private", "slave", "shared")), "")
    return f"mount --make-r{mode} {shlex.quote(_argument(calls, 'target'))}" if mode else ""


def _pins(calls: _Calls) -> str:
    mounts = (call["arguments"] for call in calls)
    return "; ".join(f"mount --bind {mount['source']} {shlex.quote(mount['target'])}" for mount in mounts)


def _options(flags: Iterable[str], prefix: str) -> list[str]:
    """Return the options of mount(8) for flags of the kernel."""
    words = (flag.removeprefix(prefix).lower() for flag in flags)
    return ["ro" if word == "rdonly" else word for word in words]


def _target(calls: _Calls) -> str:
    """Return the path that is mounted on. Until the roots are exchanged, the working directory is the new root."""
    path = str(_argument(calls, "to_path"))
    return f".{path}" if isinstance(_argument(calls, "to_dirfd"), dict) else path


def _bind(calls: _Calls) -> str:
    how = "--rbind" if "AT_RECURSIVE" in _argument(calls, "flags", "mount_setattr") else "--bind"
    options = ",".join(_options(_argument(calls, "attr_set"), "MOUNT_ATTR_"))
    source = _argument(calls, "from_dirfd", "move_mount")["file"]
    return f"mount {how} -o {options} {shlex.join([source, _target(calls)])}"


def _new_mount(calls: _Calls) -> str:
    return f"{_file_system(calls)} {shlex.quote(_target(calls))}"


def _file_system(calls: _Calls) -> str:
    """Return the command for a file system, without the place where it is mounted."""
    fstype = _argument(calls, "fsname")
    settings = [(call["arguments"]["key"], call["arguments"]["value"]) for call in calls if call["name"] == "fsconfig"]
    options = _options(_argument(calls, "attr_flags"), "MOUNT_ATTR_")
    options += [f"{key}={value}" if value else key for key, value in settings if key not in ("source", "lowerdir+")]
    if layers := [value for key, value in settings if key == "lowerdir+"]:
        options.append(f"lowerdir={':'.join(layers)}")
    return f"mount -t {fstype} -o {shlex.quote(','.join(options))} {fstype}"


def _layers(calls: _Calls) -> str:
    """Return the commands for an overlay, on a directory of any name; its upper layer can be in memory."""
    starts = [index for index, call in enumerate(calls) if call["name"] == "fsopen"]
    overlay = f"{_file_system(calls[starts[-1] :])} OVERLAY"
    if len(starts) == 1:
        return overlay
    names = " ".join(call["arguments"]["pathname"] for call in calls if call["name"] == "mkdirat")
    return f"{_file_system(calls[: starts[-1]])} MEMORY; cd MEMORY; mkdir {names}; {overlay}"


def _attach(calls: _Calls) -> str:
    return f"mount --move OVERLAY {shlex.quote(_target(calls))}"


def _mount(calls: _Calls) -> str:
    if calls[0]["name"] != "mount":
        return _new_mount(calls)
    mount = calls[0]["arguments"]
    options = _options(mount["mountflags"], "MS_")
    propagation = next((word for word in options if word in ("private", "slave", "shared", "unbindable")), "")
    if propagation:
        return f"mount --make-{'r' * ('rec' in options)}{propagation} {shlex.quote(mount['target'])}"
    words = ["mount"]
    for word, option in (("move", "--move"), ("bind", "--rbind" if "rec" in options else "--bind")):
        if word in options and "remount" not in options:
            words.append(option)
            options = [one for one in options if one not in (word, "rec")]
    words += ["-t", mount["filesystemtype"]] if mount["filesystemtype"] else []
    words += ["-o", ",".join(options)] if options else []
    words += [mount["source"]] if mount["source"] and "remount" not in options else []
    return shlex.join([*words, mount["target"]])


def _mask(calls: _Calls) -> str:
    lines = []
    for call in calls:
        path = shlex.quote(call["arguments"].get("to_path") or call["arguments"]["path"])
        if call["name"] == "move_mount":
            lines.append(f"[ -d {path} ] && mount -t tmpfs -o ro none {path} || mount --bind /dev/null {path}")
        else:
            lines.append(f"mount --rbind {path} {path}; mount -o remount,bind,ro {path}")
    return "; ".join(lines)


def _unmount(calls: _Calls) -> str:
    lazy = ["--lazy"] if "MNT_DETACH" in _argument(calls, "flags") else []
    return shlex.join(["umount", *lazy, _argument(calls, "target")])


def _root(calls: _Calls) -> str:
    if calls[0]["name"] == "move_mount":
        return "cd OVERLAY"
    path = shlex.quote(_argument(calls, "path"))
    attributes = _argument(calls, "attr_set")
    how = f"--rbind -o {','.join(_options(attributes, 'MOUNT_ATTR_'))}" if attributes else "--rbind"
    return f"mount {how} {path} {path}; cd {path}"


def _join(calls: _Calls) -> str:
    descriptor, (flag,) = _argument(calls, "fd"), _argument(calls, "nstype")
    if isinstance(descriptor, dict) and not _file(descriptor):
        return ""
    kind = next(name for name, kind in KINDS.items() if kind.flag_name == flag)
    others = {"pid": "--no-fork ", "user": "--preserve-credentials "}.get(kind, "")
    return f"nsenter {others}--{kind}={_file(descriptor) or 'NAMESPACE'} PROGRAM"


def _join_cgroup(calls: _Calls) -> str:
    # To join a cgroup namespace and to enter a cgroup are steps of the same name.
    return _join(calls) if calls[0]["name"] == "setns" else "echo $$ > CGROUP/cgroup.procs"


def _exec(calls: _Calls) -> str:
    path, arguments, environment = (_argument(calls, name) for name in ("pathname", "argv", "envp"))
    path = path[0] if isinstance(path, list) else path
    if not isinstance(path, str) or isinstance(environment, dict):
        # The path or the environment is known only when the program is executed.
        return ""
    if isinstance(environment, list):
        kept = (f'{name}="${name}"' for (name,) in environment)
        return " ".join(["exec env -i", *kept, shlex.join([path, *arguments[1:]])])
    if arguments and os.path.basename(path) != os.path.basename(arguments[0]):
        return f"exec -a {shlex.quote(arguments[0])} {shlex.join([path, *arguments[1:]])}"
    return f"exec {shlex.join(arguments or [path])}"


def _rlimit(calls: _Calls) -> str:
    (resource,), limits = _argument(calls, "resource"), _argument(calls, "new_limit").values()
    values = ":".join("unlimited" if isinstance(limit, tuple) else str(limit) for limit in limits)
    return f"prlimit --{resource.removeprefix('RLIMIT_').lower()}={values} PROGRAM"


def _cgroup(calls: _Calls) -> str:
    path = shlex.quote(_argument(calls, "pathname"))
    writes = (call["arguments"] for call in calls if call["name"] == "write")
    return "; ".join([f"mkdir {path}", *(f"echo {shlex.quote(one['buf'])} > {path}/{one['path']}" for one in writes)])


def _id(option: str) -> Callable[[_Calls], str]:
    def command(calls: _Calls) -> str:
        number = next(iter(calls[0]["arguments"].values()))
        return f"setpriv --{option} {number} PROGRAM" if isinstance(number, int) else ""

    return command


def _groups(calls: _Calls) -> str:
    groups = ",".join(map(str, _argument(calls, "list")))
    return f"setpriv {f'--groups {groups}' if groups else '--clear-groups'} PROGRAM"


def _drop_capabilities(calls: _Calls) -> str:
    sets = _argument(calls, "data")
    return "setpriv --inh-caps -all --ambient-caps -all PROGRAM" if sets["inheritable"] == ("none",) else ""


def _death_signal(calls: _Calls) -> str:
    (name,) = _argument(calls, "arg2")
    return f"setpriv --pdeathsig {name.removeprefix('SIG')} PROGRAM"


def _always(command: str) -> Callable[[_Calls], str]:
    return lambda _: command


def _with(command: str, argument: str) -> Callable[[_Calls], str]:
    return lambda calls: shlex.join([command, _argument(calls, argument)])


_COMMANDS: dict[str, Callable[[_Calls], str]] = {
    **dict.fromkeys(("clone", "new user", "fork", "unshare", "unshare time"), _namespaces),
    **dict.fromkeys(("uid_map", "gid_map", "setgroups", "clock offsets", "pid_max", "sysctl"), _write),
    **dict.fromkeys(("propagation", "private proc"), _propagation),
    **dict.fromkeys(("mount proc", "mount shm", "mount"), _mount),
    **dict.fromkeys(("tmpfs", "proc", "private tmp", "private pts"), _new_mount),
    **dict.fromkeys(("mask proc", "read-only sys"), _mask),
    "layers": _layers,
    "overlay": _attach,
    **dict.fromkeys((f"join {kind}" for kind in KINDS), _join),
    "hostname": _with("hostname", "name"),
    "domainname": _with("domainname", "name"),
    "loopback": _always("ip link set lo up"),
    "unmount": _unmount,
    "bind": _bind,
    "root": _root,
    "pivot root": _always("pivot_root . .; umount --lazy .; cd /"),
    "chroot": _with("chroot", "path"),
    "pin": _pins,
    "join cgroup": _join_cgroup,
    "become root": _always("setpriv --reuid 0 --regid 0 --clear-groups PROGRAM"),
    "target root": lambda calls: f"chroot {_file(_argument(calls, 'fd')) or 'DIRECTORY'} PROGRAM",
    "target wd": lambda calls: f"cd {_file(_argument(calls, 'fd')) or 'DIRECTORY'}",
    "cgroup": _cgroup,
    "own cgroup": _always("rmdir CGROUP"),
    "rlimit": _rlimit,
    **dict.fromkeys(("chdir", "directory"), _with("cd", "path")),
    "umask": lambda calls: f"umask {_argument(calls, 'mask'):o}",
    "setsid": _always("setsid PROGRAM"),
    "drop groups": _always("setpriv --clear-groups PROGRAM"),
    "set groups": _groups,
    "setgid": _id("regid"),
    "setuid": _id("reuid"),
    "keep capabilities": _always("setpriv --inh-caps +all --ambient-caps +all PROGRAM"),
    "drop capabilities": _drop_capabilities,
    "session keyring": _always("keyctl session - PROGRAM"),
    "lock capabilities": _always(
        "setpriv --bounding-set -all --inh-caps -all --securebits "
        "+noroot,+noroot_locked,+no_setuid_fixup,+no_setuid_fixup_locked,+keep_caps_locked PROGRAM"
    ),
    "lock mounts": _always("setpriv --bounding-set -sys_admin --inh-caps -sys_admin PROGRAM"),
    "no_new_privs": _always("setpriv --no-new-privs PROGRAM"),
    "parent death signal": _death_signal,
    "exec": _exec,
}


def unshare_line(spec: Spec, program: list[str]) -> tuple[str, list[str]]:
    """Return the most similar command line of unshare(1), and the options of `Spec` that unshare(1) does not have."""
    words = [f"--{name}" for name in namespace_names(spec.unshare)]
    words += ["--fork", "--kill-child"] if spec.fork else []
    if isinstance(spec.mount_proc, bytes):
        path = spec.mount_proc.decode(errors="surrogateescape")
        words.append("--mount-proc" if path == "/proc" else f"--mount-proc={path}")
    if spec.propagation != "private":
        words.append(f"--propagation={spec.propagation}")
    if spec.map_root_user is True:
        words.append("--map-root-user")
    if spec.map_current_user:
        words.append("--map-current-user")
    for option in ("map_users", "map_groups"):
        value = getattr(spec, option)
        ranges = [value] if isinstance(value, str) else [":".join(map(str, item)) for item in value]
        words += [f"--{option.replace('_', '-')}={item}" for item in ranges]
    if isinstance(spec.root, bytes):
        words.append(f"--root={os.fsdecode(spec.root)}")
    elif isinstance(spec.root, Bind):
        words.append(f"--root={os.fsdecode(spec.root.source)}")
    for option in ("map_user", "map_group", "setgroups"):
        if getattr(spec, option) is not None:
            words.append(f"--{option.replace('_', '-')}={getattr(spec, option)}")
    for clock in ("monotonic", "boottime"):
        if isinstance(offset := getattr(spec, clock), tuple):
            words.append(f"--{clock}={offset[0]}")
    words += ["--keep-caps"] if spec.keep_caps else []
    missing = ["hostname", "domainname", "pid_max", "mounts", "writable", "readable", "hidden", "rlimits", "limits"]
    missing += ["sysctl", "join", "harden", *PARTS]
    return shlex.join(["unshare", *words, *program]), [
        name for name in missing if getattr(spec, name) not in (None, (), False)
    ]
