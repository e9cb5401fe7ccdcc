"""The command that does by hand what a step does, from its call as it is printed."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable

from nsbox.spec.kinds import KINDS, namespace_names
from nsbox.spec.spec import Spec

__all__ = ["command_for", "unshare_line"]

_LONG = {kind.flag_name: f"--{name}" for name, kind in KINDS.items()}


def command_for(name: str, call: str) -> str:
    """Return a line for the shell; empty where no command does that.

    Args:
        name: The name of the step.
        call: Its system call.
    """
    build = _COMMANDS.get(name)
    return build(name, call, [_text(literal) for literal in re.findall(r'"((?:[^"\\]|\\.)*)"', call)]) if build else ""


def _text(literal: str) -> str:
    """What stands between the quotes of a literal, as a path or another text of Python."""
    return os.fsdecode(literal.encode("latin-1").decode("unicode_escape").encode("latin-1"))


def _inside(call: str, target: str) -> str:
    """Until the roots are exchanged, the working directory is the new root."""
    return f".{target}" if call.endswith(" in the new root)") else target


def _namespaces(name: str, call: str, _: list[str]) -> str:
    flags = [long for flag, long in _LONG.items() if re.search(rf"\b{flag}\b", call)]
    fork = [] if name.startswith("unshare") else ["--fork"]
    return " ".join(["unshare", *flags, *fork, "--propagation=unchanged"]) if flags else ""


def _file(_: str, call: str, texts: list[str]) -> str:
    if not texts:
        # newuidmap(1) and newgidmap(1) are commands themselves.
        return call
    path, data = texts
    return f"printf '%s\\n' {' '.join(map(shlex.quote, data.splitlines()))} > {shlex.quote(path)}"


def _propagation(_: str, call: str, texts: list[str]) -> str:
    mode = re.search(r"MS_(PRIVATE|SLAVE|SHARED)", call)
    return f"mount --make-r{mode[1].lower()} {shlex.quote(texts[-1])}" if mode else ""


def _pins(_: str, __: str, texts: list[str]) -> str:
    pairs = zip(texts[::2], texts[1::2], strict=False)
    return "; ".join(f"mount --bind {source} {shlex.quote(file)}" for source, file in pairs)


def _bind(_: str, call: str, texts: list[str]) -> str:
    how = "--rbind" if "AT_RECURSIVE" in call else "--bind"
    words = re.findall("MOUNT_ATTR_([A-Z]+)", call)
    options = ["ro" if word == "RDONLY" else word.lower() for word in words]
    source, target = texts[:2]
    return f"mount {how} -o {','.join(options)} {shlex.join([source, _inside(call, target)])}"


def _new_mount(_: str, call: str, texts: list[str]) -> str:
    (fstype,) = re.findall(r'fsopen\("(\w+)"', call)
    settings = [
        (name, _text(value)) for name, value in re.findall(r'fsconfig\("([^"]*)"(?:, "((?:[^"\\]|\\.)*)")?\)', call)
    ]
    options = [word.lower() for word in re.findall("MOUNT_ATTR_([A-Z]+)", call)]
    options += [f"{name}={value}" if value else name for name, value in settings if name not in ("source", "lowerdir+")]
    if layers := [value for name, value in settings if name == "lowerdir+"]:
        options.append(f"lowerdir={':'.join(layers)}")
    target = _inside(call, texts[-1])
    return f"mount -t {fstype} -o {shlex.quote(','.join(options))} {fstype} {shlex.quote(target)}"


def _root(_: str, __: str, texts: list[str]) -> str:
    path = shlex.quote(texts[0])
    return f"mount --rbind {path} {path}; cd {path}"


def _join(name: str, call: str, _: list[str]) -> str:
    if "<parent of" in call:
        return ""
    kind = name.removeprefix("join ")
    others = {"pid": "--no-fork ", "user": "--preserve-credentials "}.get(kind, "")
    return f"nsenter {others}--{kind}={_descriptor(call, 'NAMESPACE')} PROGRAM"


def _descriptor(call: str, otherwise: str) -> str:
    """The file behind a descriptor, if it is shown as ``<file>``."""
    found = re.search("<([^<>]*)>", call)
    return shlex.quote(found[1]) if found else otherwise


def _exec(_: str, call: str, texts: list[str]) -> str:
    path, *arguments = texts
    if path == "$SHELL" or "<the environment" in call:
        return ""
    words = [shlex.join(arguments or [path])]
    if arguments and os.path.basename(path) != os.path.basename(arguments[0]):
        words = [f"-a {shlex.quote(arguments[0])}", shlex.join([path, *arguments[1:]])]
    if kept := re.search(r"\], \[([^\]]*)\]\)$", call):
        words = [
            "env -i",
            *(f'{name}="${name}"' for name in kept[1].split(", ") if name),
            shlex.join([path, *arguments[1:]]),
        ]
    return " ".join(["exec", *words])


def _rlimit(_: str, call: str, __: list[str]) -> str:
    name, soft, hard = re.findall(r"RLIMIT_(\w+), \{(\w+), (\w+)\}", call)[0]
    limits = ":".join("unlimited" if limit == "RLIM_INFINITY" else limit for limit in (soft, hard))
    return f"prlimit --{name.lower()}={limits} PROGRAM"


def _cgroup(_: str, __: str, texts: list[str]) -> str:
    path = shlex.quote(texts[0])
    writes = [f"echo {shlex.quote(text)} > {path}/{file}" for file, text in zip(texts[1::2], texts[2::2], strict=True)]
    return "; ".join([f"mkdir {path}", *writes])


def _ids(name: str, call: str, _: list[str]) -> str:
    number = re.search(r"\((\d+)\b", call)
    return f"setpriv --re{name.removeprefix('set')} {number[1]} PROGRAM" if number else ""


_COMMANDS: dict[str, Callable[[str, str, list[str]], str]] = {
    **dict.fromkeys(("clone", "fork", "unshare", "unshare time"), _namespaces),
    **dict.fromkeys(("uid_map", "gid_map", "setgroups", "clock offsets", "pid_max"), _file),
    **dict.fromkeys(("propagation", "private proc"), _propagation),
    **dict.fromkeys(("hostname", "domainname", "chroot"), lambda name, _, texts: shlex.join([name, *texts])),
    **dict.fromkeys(("setgid", "setuid"), _ids),
    "mount proc": lambda name, call, texts: (
        _new_mount(name, call, texts)
        if call.startswith("fsopen")
        else f"mount -t proc -o nosuid,nodev,noexec proc {shlex.quote(texts[1])}"
    ),
    **dict.fromkeys(("tmpfs", "overlay", "proc"), _new_mount),
    "bind": _bind,
    "root": _root,
    "pivot root": lambda _, __, ___: "pivot_root . .; umount --lazy .; cd /",
    **dict.fromkeys((f"join {kind}" for kind in KINDS if kind != "cgroup"), _join),
    "become root": lambda _, __, ___: "setpriv --reuid 0 --regid 0 --clear-groups PROGRAM",
    "target root": lambda _, call, __: f"chroot {_descriptor(call, 'DIRECTORY')} PROGRAM",
    "target wd": lambda _, call, __: f"cd {_descriptor(call, 'DIRECTORY')}",
    "rlimit": _rlimit,
    "cgroup": _cgroup,
    # The namespace and the cgroup have the same name for that.
    "join cgroup": lambda name, call, texts: (
        _join(name, call, texts) if call.startswith("setns") else "echo $$ > CGROUP/cgroup.procs"
    ),
    "own cgroup": lambda _, __, ___: "rmdir CGROUP",
    "loopback": lambda _, __, ___: "ip link set lo up",
    "pin": _pins,
    "chdir": lambda _, __, texts: shlex.join(["cd", *texts]),
    "umask": lambda _, call, __: f"umask {call.removeprefix('umask(').rstrip(')').removeprefix('0o')}",
    "setsid": lambda _, __, ___: "setsid PROGRAM",
    "drop groups": lambda _, __, ___: "setpriv --clear-groups PROGRAM",
    "set groups": lambda _, call, __: f"setpriv {_groups(call)} PROGRAM",
    "keep capabilities": lambda _, __, ___: "setpriv --inh-caps +all --ambient-caps +all PROGRAM",
    "drop capabilities": lambda _, call, __: (
        "setpriv --inh-caps -all --ambient-caps -all PROGRAM" if "empty" in call else ""
    ),
    "no_new_privs": lambda _, __, ___: "setpriv --no-new-privs PROGRAM",
    "parent death signal": lambda _, call, __: f"setpriv --pdeathsig {call.rpartition(' ')[2].rstrip(')')[3:]} PROGRAM",
    "exec": _exec,
}


def _groups(call: str) -> str:
    numbers = re.findall(r"\d+", call.partition("[")[2])
    return f"--groups {','.join(numbers)}" if numbers else "--clear-groups"


def unshare_line(spec: Spec, program: list[str]) -> tuple[str, list[str]]:
    """Return the command line of unshare(1) that comes closest to a `Spec`, and the options it has nothing for."""
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
    for option in ("map_user", "map_group", "setgroups"):
        if getattr(spec, option) is not None:
            words.append(f"--{option.replace('_', '-')}={getattr(spec, option)}")
    for clock in ("monotonic", "boottime"):
        if isinstance(offset := getattr(spec, clock), tuple):
            words.append(f"--{clock}={offset[0]}")
    words += ["--keep-caps"] if spec.keep_caps else []
    missing = ["hostname", "domainname", "pid_max", "no_new_privs", "mounts", "rlimits", "limits", "join"]
    return shlex.join(["unshare", *words, *program]), [
        name for name in missing if getattr(spec, name) not in (None, (), False)
    ]
