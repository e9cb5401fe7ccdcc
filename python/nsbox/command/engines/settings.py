"""What each option of a container engine means for a container: functions by the names of options."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import TypeAlias

from nsbox.command.engines import values
from nsbox.command.engines.container import Container
from nsbox.command.options import UsageError
from nsbox.spec.nearest import did_you_mean

__all__ = ["CAPABILITIES", "SETTINGS", "of_process"]

_Setting: TypeAlias = Callable[[Container, str, str], None]

CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""All capabilities, without their prefix (capabilities(7))."""


def of_process(container: Container, name: str) -> str:
    """Return the PID of another container's first process, as text for a shell."""
    return f'"$({container.engine} inspect --format {{{{.State.Pid}}}} {shlex.quote(name)})"'


# -- namespaces ----------------------------------------------------------------------------------------------------


def _namespace(kind: str, own: tuple[str, ...], others: tuple[str, ...] = ()) -> _Setting:
    """Return what reads the mode of a namespace.

    Args:
        kind: Its kind.
        own: Words for a new one; `host` stands for the caller's.
        others: Words with a name, such as ``container:NAME``.
    """

    def read(container: Container, option: str, value: str) -> None:
        words = (*own, "", "host")
        prefixes = (*others, "ns", "container") if container.engine == "podman" else others
        word, name = values.mode_of(option, value, words, dict.fromkeys(prefixes))
        container.options.setdefault(kind, []).append(f"--{option}={value}")
        container.joined.pop(kind, None)
        container.new.add(kind)
        if word == "host":
            container.new.discard(kind)
        elif word in ("container", "ns"):
            container.new.discard(kind)
            container.joined[kind] = name if word == "ns" else f"container:{name}"

    return read


def _network(container: Container, option: str, value: str) -> None:
    word, _, name = value.partition(":")
    container.options.setdefault("net", []).append(f"--{option}={value}")
    container.joined.pop("net", None)
    container.new.add("net")
    if word == "host":
        container.new.discard("net")
    elif (word == "container" and name) or (word == "ns" and container.engine == "podman" and name):
        container.new.discard("net")
        container.joined["net"] = name if word == "ns" else f"container:{name}"
    container.python.pop("_network", None)
    container.python["_network"] = value


def _user_namespace(container: Container, option: str, value: str) -> None:
    words = ("host", "") if container.engine == "docker" else ("host", "", "private", "keep-id", "auto", "nomap")
    word, _, name = value.partition(":")
    container.options.setdefault("user", []).append(f"--{option}={value}")
    if container.engine == "podman" and word in ("ns", "container") and name:
        container.joined["user"] = name if word == "ns" else f"container:{name}"
        container.new.discard("user")
        return
    if word not in words:
        raise UsageError(
            f"--{option}: expected {', '.join(filter(None, words))}, got '{value}'{did_you_mean(word, words)}"
        )
    if word == "host":
        if not container.rootless:
            container.new.discard("user")
    elif word:
        container.new.add("user")
        container.python["_userns"] = word


def _id_map(which: str) -> _Setting:
    def read(container: Container, option: str, value: str) -> None:
        container.new.add("user")
        container.options.setdefault("user", []).append(f"--{option}={value}")
        if which:
            parts = value.split(":")
            if len(parts) not in (2, 3) or not all(part.lstrip("+@ug").isdecimal() for part in parts):
                raise UsageError(f"--{option}: expected INSIDE:OUTSIDE:COUNT, got '{value}'")
            container.unshare.append(f"--map-{which}={':'.join([*parts, '1'][:3])}")

    return read


# -- names, network ------------------------------------------------------------------------------------------------


def _hostname(container: Container, option: str, value: str) -> None:
    container.python["hostname"] = value
    container.step(
        "names",
        "hostname",
        f'sethostname("{value}")',
        f"hostname {shlex.quote(value)}",
        "sethostname(2)",
        f"--{option}={value}: of the new UTS namespace",
    )


def _domainname(container: Container, option: str, value: str) -> None:
    container.python["domainname"] = value
    container.step(
        "names",
        "domainname",
        f'setdomainname("{value}")',
        f"domainname {shlex.quote(value)}",
        "setdomainname(2)",
        f"--{option}={value}: of the new UTS namespace",
    )


def _etc(file: str, line: str) -> _Setting:
    def read(container: Container, option: str, value: str) -> None:
        text = line.format(value.replace(":", " ") if file == "hosts" else value)
        container.step(
            "mounts",
            f"/etc/{file}",
            f'mount("FILE", "/etc/{file}", NULL, MS_BIND, NULL)',
            f"echo {shlex.quote(text)} >> FILE; mount --bind FILE /etc/{file}",
            "mount(2)",
            f"--{option}={value}: a file that the engine writes is mounted over the image's",
        )

    return read


def _address(what: str, command: str) -> _Setting:
    def read(container: Container, option: str, value: str) -> None:
        container.step(
            "network",
            what,
            "rtnetlink(7)",
            command.format(value),
            "ip-address(8)",
            f"--{option}={value}: on the end of the veth pair that is in the network namespace; "
            "in nsbox: VethEnd, connect",
        )

    return read


def _publish(container: Container, option: str, value: str) -> None:
    container.step(
        "network",
        "port",
        "nftables, or a proxy in the engine's network namespace",
        "nft add rule ip nat PREROUTING tcp dport HOST-PORT dnat to ADDRESS:PORT",
        "nft(8)",
        f"--{option}{f'={value}' if value else ''}: outside, packets are forwarded to the container; "
        "nsbox has no such option: with connect, the address of the box is reached directly",
    )


def _link(container: Container, option: str, value: str) -> None:
    container.step(
        "network",
        "names",
        "write to /etc/hosts, or the engine's DNS server",
        "",
        "hosts(5)",
        f"--{option}={value}: by this name other containers are found in a network of the engine",
    )


# -- cgroup --------------------------------------------------------------------------------------------------------


def _cgroup(file: str, text: Callable[[str, str], str], python: str = "") -> _Setting:
    """Return what writes a value to a file of the container's cgroup; `python` is the name of the limit in nsbox."""

    def read(container: Container, option: str, value: str) -> None:
        written = text(option, value)
        in_nsbox = ""
        if python and written != "max":
            number = values.number(option, value) if python == "cpu" else int(written)
            container.python.setdefault("limits", {})[python] = number
            in_nsbox = f"; in nsbox: limits={{{python!r}: {number}}}"
        container.step(
            "cgroup",
            file,
            f'write("CGROUP/{file}", "{written}")',
            f"echo {shlex.quote(written)} > CGROUP/{file}",
            "cgroups(7)",
            f"--{option}={value}: a limit for all processes together{in_nsbox}",
        )

    return read


def _bytes(option: str, value: str) -> str:
    return "max" if value.startswith("-") else str(values.size(option, value))


def _pids(option: str, value: str) -> str:
    number = int(values.number(option, value))
    return "max" if number <= 0 else str(number)


def _cpus(option: str, value: str) -> str:
    return f"{int(values.number(option, value) * 100_000)} 100000"


def _device_rate(what: str) -> Callable[[str, str], str]:
    def text(option: str, value: str) -> str:
        _, colon, rate = value.rpartition(":")
        if not colon:
            raise UsageError(f"--{option}: expected DEVICE:RATE, got '{value}'")
        return f"MAJOR:MINOR {what}={values.size(option, rate)}"

    return text


def _plain(template: str = "{}") -> Callable[[str, str], str]:
    return lambda _, value: template.format(value)


def _not_in_version_2(container: Container, option: str, value: str) -> None:
    container.notes.append(f"--{option}={value}: cgroups of version 2 have no such setting, and the engine ignores it")


# -- mounts --------------------------------------------------------------------------------------------------------


def _volume(container: Container, option: str, value: str) -> None:
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


def _tmpfs(container: Container, option: str, value: str) -> None:
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


def _mount(container: Container, option: str, value: str) -> None:
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


def _device(container: Container, option: str, value: str) -> None:
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


def _device_rule(container: Container, option: str, value: str) -> None:
    container.step(
        "cgroup",
        "devices",
        "bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE)",
        "",
        "bpf(2)",
        f"--{option}={value}: the filter of devices of the cgroup allows these; nsbox mounts without dev instead",
    )


def _shm_size(container: Container, option: str, value: str) -> None:
    size = values.size(option, value)
    container.options.setdefault("shm", []).append(f"--{option}={value}")
    container.python["_shm"] = size


def _read_only(container: Container, option: str, value: str) -> None:
    container.read_only = values.flag(option, value)


# -- rights --------------------------------------------------------------------------------------------------------


def _capability(attribute: str) -> _Setting:
    def read(container: Container, option: str, value: str) -> None:
        for word in value.split(","):
            name = word.upper().removeprefix("CAP_")
            if name not in (*CAPABILITIES, "ALL"):
                raise UsageError(f"--{option}: unknown capability '{word}'{did_you_mean(name, CAPABILITIES)}")
            getattr(container, attribute).add(name)
            container.options.setdefault("capabilities", []).append(f"--{option}={word}")

    return read


def _security(container: Container, option: str, value: str) -> None:
    name, sign, argument = value.partition("=")
    if not sign:
        name, sign, argument = value.partition(":")
    given = f"--{option}={value}"
    known = ["apparmor", "label", "no-new-privileges", "seccomp", "systempaths", "writable-cgroups"]
    known += ["mask", "unmask", "proc-opts"] if container.engine == "podman" else []
    if name not in known:
        raise UsageError(f"--{option}: unknown option '{name}'{did_you_mean(name, known)}")
    if name == "no-new-privileges" and argument in ("", "true"):
        container.python["no_new_privs"] = True
        container.step(
            "rights",
            "no_new_privs",
            "prctl(PR_SET_NO_NEW_PRIVS, 1)",
            "setpriv --no-new-privs PROGRAM",
            "PR_SET_NO_NEW_PRIVS(2const)",
            f"{given}: no exec grants rights; in nsbox: no_new_privs=True",
        )
    elif name == "seccomp":
        container.seccomp = argument
        container.options.setdefault("seccomp", []).append(given)
    elif (name, argument) in (("systempaths", "unconfined"), ("unmask", "ALL")):
        container.masked = False
        container.options.setdefault("masks", []).append(given)
    elif name in ("mask", "unmask", "proc-opts", "writable-cgroups"):
        container.options.setdefault("masks", []).append(given)
    elif name == "apparmor":
        command = "" if argument == "unconfined" else f"aa-exec -p {shlex.quote(argument)} -- PROGRAM"
        container.step(
            "rights",
            "AppArmor",
            f'write("/proc/self/attr/apparmor/exec", "exec {argument}")',
            command,
            "apparmor(7)",
            f"{given}: the profile of the program; nsbox changes none",
        )
    elif name == "label":
        container.step(
            "rights",
            "SELinux",
            'write("/proc/self/attr/exec", LABEL)',
            "runcon LABEL PROGRAM",
            "runcon(1)",
            f"{given}: the label of the program; nsbox changes none",
        )


def _privileged(container: Container, option: str, value: str) -> None:
    container.privileged = values.flag(option, value)


# -- process -------------------------------------------------------------------------------------------------------


def _user(container: Container, option: str, value: str) -> None:
    user, _, group = value.partition(":")
    container.python["user"] = int(user) if user.isdecimal() else user
    words = [f"setpriv --reuid {shlex.quote(user)}"]
    if group:
        container.python["group"] = int(group) if group.isdecimal() else group
        words.append(f"--regid {shlex.quote(group)} --clear-groups")
    else:
        words.append("--init-groups")
    container.step(
        "process",
        "user",
        "setgroups([]); setgid(GID); setuid(UID)",
        f"{' '.join(words)} PROGRAM",
        "setuid(2)",
        f"--{option}={value}: names are those of /etc/passwd in the image; in nsbox: user=, group=",
    )


def _groups(container: Container, option: str, value: str) -> None:
    groups = container.python.setdefault("extra_groups", [])
    groups.append(int(value) if value.isdecimal() else value)
    container.step(
        "process",
        "groups",
        f"setgroups([{value}])",
        f"setpriv --groups {shlex.quote(value)} PROGRAM",
        "setgroups(2)",
        f"--{option}={value}: another group; in nsbox: extra_groups=",
    )


def _workdir(container: Container, option: str, value: str) -> None:
    container.python["cwd"] = value
    container.unshare.append(f"--wd={value}")
    container.step(
        "process",
        "directory",
        f'chdir("{value}")',
        f"cd {shlex.quote(value)}",
        "chdir(2)",
        f"--{option}={value}: made if the image has none; in nsbox: cwd={value!r}",
    )


def _environment(container: Container, option: str, value: str) -> None:
    container.step(
        "process",
        "environment",
        f"execve(..., envp with {value})",
        f"env {shlex.quote(value)} PROGRAM",
        "environ(7)",
        f"--{option}={value}: a variable of the program; in nsbox: env=",
    )


def _terminal(container: Container, option: str, value: str) -> None:
    if values.flag(option, value):
        container.step(
            "process",
            "terminal",
            "ioctl(TIOCSCTTY) on /dev/pts/0 of the container",
            "script -q -c PROGRAM",
            "pty(7)",
            f"--{option}: the program gets a pseudoterminal of its own; in nsbox: nsbox.Shell",
        )


def _init(container: Container, option: str, value: str) -> None:
    container.init = values.flag(option, value)


def _rlimit(container: Container, option: str, value: str) -> None:
    name, equals, limits = value.partition("=")
    soft, _, hard = limits.partition(":")
    known = (
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    )
    if not equals or name not in known:
        raise UsageError(f"--{option}: expected NAME=SOFT:HARD, got '{value}'{did_you_mean(name, known)}")
    pair = [int(values.number(option, limit)) for limit in (soft, hard or soft)]
    container.python.setdefault("rlimits", {})[name] = tuple(pair)
    resource = f"RLIMIT_{name.upper()}"
    container.step(
        "process",
        "rlimit",
        f"prlimit(0, {resource}, {{{pair[0]}, {pair[1]}}})",
        f"prlimit --{name}={pair[0]}:{pair[1]} PROGRAM",
        "getrlimit(2)",
        f"--{option}={value}: a limit for each process; in nsbox: rlimits={{{name!r}: {tuple(pair)}}}",
    )


def _sysctl(container: Container, option: str, value: str) -> None:
    name, equals, text = value.partition("=")
    if not equals:
        raise UsageError(f"--{option}: expected NAME=VALUE, got '{value}'")
    container.python.setdefault("sysctl", {})[name] = text
    container.step(
        "names",
        "sysctl",
        f'write("/proc/sys/{name.replace(".", "/")}", "{text}")',
        f"sysctl -w {shlex.quote(value)}",
        "sysctl(8)",
        f"--{option}={value}: of the new namespaces; in nsbox: sysctl={{{name!r}: {text!r}}}",
    )


def _kernel(name: str, call: str, command: str, manual: str, why: str) -> _Setting:
    def read(container: Container, option: str, value: str) -> None:
        container.step(
            "process",
            name,
            call.format(value),
            command.format(shlex.quote(value)),
            manual,
            f"--{option}{f'={value}' if value else ''}: {why}",
        )

    return read


def _remark(about: str) -> _Setting:
    def read(container: Container, option: str, value: str) -> None:
        container.notes.append(f"--{option}{f'={value}' if value else ''}: {about}")

    return read


SETTINGS: Mapping[str, _Setting] = {
    "pid": _namespace("pid", (), ("container",)),
    "ipc": _namespace("ipc", ("none", "private", "shareable"), ("container",)),
    "uts": _namespace("uts", ()),
    "cgroupns": _namespace("cgroup", ("private",)),
    "network": _network,
    "net": _network,
    "userns": _user_namespace,
    "uidmap": _id_map("users"),
    "gidmap": _id_map("groups"),
    "subuidname": _id_map(""),
    "subgidname": _id_map(""),
    "hostname": _hostname,
    "domainname": _domainname,
    "add-host": _etc("hosts", "{}"),
    "dns": _etc("resolv.conf", "nameserver {}"),
    "dns-option": _etc("resolv.conf", "options {}"),
    "dns-opt": _etc("resolv.conf", "options {}"),
    "dns-search": _etc("resolv.conf", "search {}"),
    "tz": _etc("localtime", "{}"),
    "timezone": _etc("localtime", "{}"),
    "passwd-entry": _etc("passwd", "{}"),
    "group-entry": _etc("group", "{}"),
    "hostuser": _etc("passwd", "{}"),
    "ip": _address("address", "ip address add {}/PREFIX dev eth0"),
    "ip6": _address("address", "ip address add {}/PREFIX dev eth0"),
    "mac-address": _address("hardware address", "ip link set eth0 address {}"),
    "publish": _publish,
    "publish-all": _publish,
    "link": _link,
    "network-alias": _link,
    "net-alias": _link,
    "memory": _cgroup("memory.max", _bytes, "memory"),
    "memory-reservation": _cgroup("memory.low", _bytes),
    "memory-swap": _cgroup("memory.swap.max", lambda option, value: "max" if value.startswith("-") else
                           f"{values.size(option, value)} less the value of --memory"),
    "pids-limit": _cgroup("pids.max", _pids, "pids"),
    "cpus": _cgroup("cpu.max", _cpus, "cpu"),
    "cpu-quota": _cgroup("cpu.max", _plain("{} PERIOD")),
    "cpu-period": _cgroup("cpu.max", _plain("QUOTA {}")),
    "cpu-shares": _cgroup("cpu.weight", _plain("the weight for {} shares")),
    "cpuset-cpus": _cgroup("cpuset.cpus", _plain()),
    "cpuset-mems": _cgroup("cpuset.mems", _plain()),
    "blkio-weight": _cgroup("io.bfq.weight", _plain()),
    "blkio-weight-device": _cgroup("io.bfq.weight", _plain()),
    "device-read-bps": _cgroup("io.max", _device_rate("rbps")),
    "device-write-bps": _cgroup("io.max", _device_rate("wbps")),
    "device-read-iops": _cgroup("io.max", _device_rate("riops")),
    "device-write-iops": _cgroup("io.max", _device_rate("wiops")),
    "cgroup-conf": _cgroup("FILE", _plain()),
    "memory-swappiness": _not_in_version_2,
    "oom-kill-disable": _not_in_version_2,
    "cpu-rt-period": _not_in_version_2,
    "cpu-rt-runtime": _not_in_version_2,
    "cgroup-parent": _remark("the cgroup above that of the container; in nsbox a new one is below the caller's"),
    "cgroups": _remark("whether the engine makes a cgroup; in nsbox limits= makes one"),
    "rdt-class": _remark("a class of resctrl, for the cache of the processor; nsbox has no such option"),
    "volume": _volume,
    "mount": _mount,
    "tmpfs": _tmpfs,
    "volumes-from": _remark("the mounts of another container, made here again"),
    "secret": _remark("a file of the engine is mounted below /run/secrets; in nsbox: a Bind, read-only"),
    "image-volume": _remark("whether directories that the image names become volumes"),
    "device": _device,
    "gpus": _device,
    "device-cgroup-rule": _device_rule,
    "shm-size": _shm_size,
    "shm-size-systemd": _remark("the size of tmpfs mounts for systemd inside"),
    "read-only": _read_only,
    "cap-add": _capability("added"),
    "cap-drop": _capability("dropped"),
    "security-opt": _security,
    "seccomp-policy": _remark("where the filter of seccomp(2) comes from"),
    "privileged": _privileged,
    "user": _user,
    "group-add": _groups,
    "workdir": _workdir,
    "env": _environment,
    "env-file": _environment,
    "tty": _terminal,
    "init": _init,
    "ulimit": _rlimit,
    "sysctl": _sysctl,
    "oom-score-adj": _kernel("oom score", 'write("/proc/self/oom_score_adj", "{}")', "choom -n {} PROGRAM",
                             "proc_pid_oom_score_adj(5)", "which process the kernel kills first"),
    "umask": _kernel("umask", "umask(0{})", "umask {}", "umask(2)", "which permissions new files lack"),
    "personality": _kernel("personality", "personality({})", "setarch --uname-2.6 PROGRAM", "personality(2)",
                           "how the kernel shows itself"),
    "preserve-fd": _remark("descriptors that the program inherits; in nsbox: pass_fds="),
    "preserve-fds": _remark("descriptors that the program inherits; in nsbox: pass_fds="),
    "timeout": _remark("the engine kills the container after this time; in nsbox: timeout="),
    "pod": _remark("namespaces of a pod are joined: network, IPC and UTS; in nsbox: a Box in a Box, or join="),
    "rootfs": _remark("the image is a directory: ROOT is that one, and what is written there stays"),
    "systemd": _remark("mounts that systemd needs as PID 1: tmpfs on /run and /tmp, its own cgroup writable"),
    "attach": _remark("which streams the client shows"),
    "entrypoint": _remark("the program of the image is replaced by this one"),
    "env-host": _remark("the program gets the caller's environment, as with nsbox"),
    "env-merge": _remark("a variable of the image is changed"),
    "unsetenv": _remark("a variable of the image is left out"),
    "unsetenv-all": _remark("the variables of the image are left out"),
    "http-proxy": _remark("the caller's variables for proxies are passed on"),
    "chrootdirs": _remark("files that the engine manages are mounted below these directories, too"),
    "hosts-file": _remark("the file from which /etc/hosts is made"),
    "no-hosts": _remark("/etc/hosts is the image's"),
    "no-hostname": _remark("/etc/hostname is the image's"),
    "passwd": _remark("whether the engine adds the user to /etc/passwd"),
    "init-path": _remark("the program that --init uses"),
}  # fmt: skip
"""For each option with a meaning, what it does to a container. The value of an option without one is ``""``."""
