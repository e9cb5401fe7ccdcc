"""``docker run`` and ``podman run``, in terms of namespaces, mounts, cgroups and rights (namespaces(7))."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from nsbox.command.engines import options as table
from nsbox.command.engines import values
from nsbox.command.engines.container import Container, of_process
from nsbox.command.engines.rights import CAPABILITIES
from nsbox.command.engines.settings import SETTINGS
from nsbox.command.options import UsageError, parse
from nsbox.command.translation import Translation
from nsbox.spec.kinds import KINDS

__all__ = ["run"]

_USUAL: dict[str, tuple[str, ...]] = {
    "podman": ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
               "SETUID", "SYS_CHROOT"),
}  # fmt: skip
_USUAL["docker"] = (*_USUAL["podman"], "AUDIT_WRITE", "MKNOD", "NET_RAW")
"""The capabilities of a container, if no option changes them."""

_WHY = {
    "mount": "the mounts that follow are seen inside only",
    "uts": "the host name is the container's",
    "ipc": "message queues, semaphores and shared memory are the container's",
    "net": "interfaces, addresses and ports are the container's",
    "pid": "the program is PID 1, and sees only the processes inside",
    "cgroup": "/proc/self/cgroup shows the cgroup of the container as /",
    "user": "ids inside are other ids outside",
}
_MASKED = ("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
           "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/sys/firmware")  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_SHM_BYTES = 64 << 20


def run(engine: str, words: Sequence[str], *, is_root: bool) -> Translation:
    """Explain a command line.

    Args:
        engine: ``"docker"`` or ``"podman"``.
        words: The options, the image, and its arguments.
        is_root: Whether root starts the engine.

    Raises:
        UsageError: for an unknown option or value, and where no image is given.
    """
    known = table.PODMAN if engine == "podman" else table.DOCKER
    found, rest = parse(known, words, exact=True)
    rootless = engine == "podman" and not is_root
    container = Container(engine, rootless=rootless)
    if rootless:
        container.new.add("user")
    meaningless = []
    for option, value in found:
        if option.optional:
            values.flag(option.name, value)
        if option.name in table.MEANINGLESS:
            meaningless.append(f"--{option.name}: no meaning for namespaces: {table.MEANINGLESS[option.name]}")
        elif option.name == "help":
            raise UsageError(f"for its help: {engine} run --help")
        else:
            SETTINGS[option.name](container, option.name, _given(option.optional, value))
    if not rest:
        raise UsageError(f"{engine} run: no image is given. Example: nsbox explain {engine} run --pid=host debian bash")
    image, *program = rest
    _steps(container, image, program)
    notes = [*container.notes, *meaningless, *_general(container, image)]
    return Translation(container.steps(), _command(container, program), _python(container, program), tuple(notes))


def _given(optional: bool, value: str | None) -> str:
    """Return the value; that of ``-v=VALUE`` may begin with the sign."""
    return ("true" if value is None else value) if optional else (value or "").removeprefix("=")


def _steps(container: Container, image: str, program: Sequence[str]) -> None:
    _namespace_steps(container)
    _network_steps(container)
    container.step(
        "cgroup",
        "cgroup",
        'mkdir("CGROUP"); clone3(CLONE_INTO_CGROUP)',
        "mkdir CGROUP; echo $$ > CGROUP/cgroup.procs",
        "cgroups(7)",
        "the container has a cgroup, with or without limits; in nsbox: limits={}",
    )
    container.step(
        "masks",
        "pivot root",
        'pivot_root(".", "."); umount2(".", MNT_DETACH)',
        "cd ROOT; pivot_root . .; umount --lazy .; cd /",
        "pivot_root(2)",
        "the old root cannot be reached any more; unshare --root only calls chroot(2); in nsbox: root=",
    )
    _mount_steps(container, image)
    _mask_steps(container)
    _right_steps(container)
    if container.init:
        container.step(
            "process",
            "init",
            'execve("/sbin/docker-init", ...); fork()',
            "tini PROGRAM",
            "pid_namespaces(7)",
            "--init: PID 1 reaps orphans and forwards signals; nsbox always has nsbox-init as PID 1",
        )
        if container.engine == "podman":
            container.notes.append("podman's init is catatonit")
    words = list(program) or ["PROGRAM"]
    container.step(
        "process",
        "exec",
        f'execve("{words[0]}", {json.dumps(words)}, ENVIRONMENT)',
        f"exec {shlex.join(words)}",
        "execve(2)",
        "the program of the command line, or of the image",
    )


def _namespace_steps(container: Container) -> None:
    for kind, where in container.joined.items():
        name, command = where.removeprefix("container:"), _entering(container, kind, where)
        container.step(
            "namespaces",
            f"join {kind}",
            f"setns(NAMESPACE, {KINDS[kind].flag_name})",
            f"{command} PROGRAM",
            "setns(2)",
            f"{container.given(kind)}no new one, but that of {name}; in nsbox: join=nsbox.Join(PID, {kind!r})",
        )
    long = " ".join(f"--{name}" for name in KINDS if name in container.new)
    container.step(
        "namespaces",
        "unshare",
        f"unshare({container.flags()})",
        f"unshare {long} --fork PROGRAM",
        "namespaces(7)",
        f"new namespaces, all at once; in nsbox: unshare={container.letters()!r}",
    )
    for kind in ("pid", "net", "ipc", "uts", "cgroup"):
        if kind not in container.new and kind not in container.joined:
            container.notes.append(
                f"{container.given(kind)}no new {kind} namespace, so it is not true that {_WHY[kind]}"
            )
    for kind in ("mount", "uts", "ipc", "net", "pid", "cgroup", "user"):
        if kind in container.new:
            container.notes.append(f"{container.given(kind)}a new {kind} namespace: {_WHY[kind]}")
    if "user" in container.new:
        ids = container.python.pop("_userns", "")
        maps = [option for option in container.unshare if option.startswith("--map-")]
        if not maps:
            container.unshare += ["--map-current-user"] if ids == "keep-id" else ["--map-root-user", "--map-auto"]
            container.python["_ids"] = "map_current_user=True" if ids == "keep-id" else "map_root_user='auto'"
        container.step(
            "namespaces",
            "uid_map",
            'write("/proc/PID/uid_map", MAP); write("/proc/PID/gid_map", MAP)',
            "newuidmap PID 0 UID 1 1 SUBUID 65536; newgidmap PID 0 GID 1 1 SUBGID 65536",
            "user_namespaces(7)",
            f"{container.given('user')}the ids inside and outside; in nsbox: map_users=, map_groups=, or "
            "map_root_user='auto'",
        )
    elif "user" in container.options and "user" not in container.joined:
        container.notes.append(f"{container.given('user')}no new user namespace: root inside is root outside")


def _network_steps(container: Container) -> None:
    network = container.python.pop("_network", "default")
    if "net" not in container.new:
        return
    container.step(
        "network",
        "loopback",
        "ioctl(SIOCSIFFLAGS, lo: IFF_UP)",
        "ip link set lo up",
        "netdevice(7)",
        "in a new network namespace even lo is down; nsbox does so, too (loopback=)",
    )
    if network.partition(":")[0] == "none":
        return
    if container.rootless and network in ("default", "pasta", "slirp4netns", "private"):
        container.step(
            "network",
            "tap",
            'open("/dev/net/tun"); ioctl(TUNSETIFF)',
            "pasta --netns /proc/PID/ns/net",
            "pasta(1)",
            f"{container.given('net')}a program outside passes packets on, since the caller may make no "
            "interface there",
        )
        return
    container.step(
        "network",
        "veth",
        "rtnetlink(7): a pair of interfaces, one end in the namespace",
        "ip link add HOST type veth peer eth0 netns PID; ip link set HOST master BRIDGE up",
        "veth(4)",
        f"{container.given('net')}a cable to a bridge of the engine; in nsbox: nsbox.connect(a, b)",
    )


def _mount_steps(container: Container, image: str) -> None:
    container.step(
        "root",
        "private",
        'mount(NULL, "/", NULL, MS_REC|MS_PRIVATE, NULL)',
        "mount --make-rprivate /",
        "mount_namespaces(7)",
        "mounts outside and inside do not appear on the other side: unshare -m does so",
    )
    container.step(
        "root",
        "layers",
        'mount("overlay", "ROOT", "overlay", 0, "lowerdir=LAYERS,upperdir=NEW,workdir=WORK")',
        "mount -t overlay -o lowerdir=LAYERS,upperdir=NEW,workdir=WORK overlay ROOT",
        "mount(2)",
        f"the files of the image {image}, below a new directory for what is written; in nsbox: root=nsbox.Overlay(...)",
    )
    proc = "a new /proc, which shows the processes of the PID namespace; in nsbox: mount_proc=True"
    if "pid" not in container.new:
        proc = "a new /proc; it shows the processes of the PID namespace that is not new"
    container.step(
        "root",
        "proc",
        'mount("proc", "ROOT/proc", "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)',
        "mount -t proc -o nosuid,nodev,noexec proc ROOT/proc",
        "proc(5)",
        proc,
    )
    container.step(
        "root",
        "dev",
        'mount("tmpfs", "ROOT/dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k"); mount("devpts", ...)',
        "mount -t tmpfs -o nosuid,mode=755 tmpfs ROOT/dev; mount -t devpts -o newinstance devpts ROOT/dev/pts",
        "tmpfs(5)",
        "/dev with null, zero, full, random, urandom, tty, and terminals of its own",
    )
    size = container.python.pop("_shm", _SHM_BYTES)
    if "ipc" in container.new:
        container.step(
            "root",
            "shm",
            f'mount("shm", "ROOT/dev/shm", "tmpfs", MS_NOSUID|MS_NODEV|MS_NOEXEC, "size={size}")',
            f"mount -t tmpfs -o nosuid,nodev,noexec,size={size} shm ROOT/dev/shm",
            "shm_overview(7)",
            f"{container.given('shm')}POSIX shared memory is files, so a new IPC namespace is not enough",
        )
    writable = "" if container.privileged else "MS_RDONLY|"
    container.step(
        "root",
        "sys",
        f'mount("sysfs", "ROOT/sys", "sysfs", {writable}MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)',
        f"mount -t sysfs -o {'' if container.privileged else 'ro,'}nosuid,nodev,noexec sysfs ROOT/sys",
        "sysfs(5)",
        "/sys shows the interfaces of the network namespace; in nsbox: private_sys=True",
    )
    if container.read_only:
        container.step(
            "masks",
            "read-only root",
            'mount_setattr("/", 0, MOUNT_ATTR_RDONLY)',
            "mount -o remount,bind,ro /",
            "mount_setattr(2)",
            "--read-only: the files of the image cannot be written; what is mounted below "
            "can; in nsbox: root=nsbox.Bind(ROOT, '/', read_only=True)",
        )


def _mask_steps(container: Container) -> None:
    if container.privileged:
        container.notes.append("--privileged: nothing of /proc and /sys is hidden, and all devices are in /dev")
    elif not container.masked:
        container.notes.append(f"{container.given('masks')}nothing of /proc and /sys is hidden")
    else:
        container.step(
            "masks",
            "mask proc",
            'mount("/dev/null", PATH, NULL, MS_BIND, NULL); mount("tmpfs", PATH, "tmpfs", MS_RDONLY, NULL)',
            f"for p in {' '.join(_MASKED)}; do mount --bind /dev/null $p; done",
            "mount(2)",
            f"{container.given('masks')}these paths are empty inside; in nsbox: mask_proc=True",
        )
        container.step(
            "masks",
            "read-only proc",
            "mount(PATH, PATH, NULL, MS_BIND|MS_REMOUNT|MS_RDONLY, NULL)",
            f"for p in {' '.join(_READ_ONLY)}; do mount --bind $p $p; mount -o remount,bind,ro $p; done",
            "mount(2)",
            "root inside cannot write settings of the kernel; in nsbox: mask_proc=True",
        )
        container.python["mask_proc"] = True


def _right_steps(container: Container) -> None:
    kept = set(CAPABILITIES if container.privileged or "ALL" in container.added else _USUAL[container.engine])
    kept = (set() if "ALL" in container.dropped else kept) | (container.added - {"ALL"})
    kept -= container.dropped
    if "ALL" in container.added and "ALL" in container.dropped:
        kept = container.added - {"ALL"}
    if container.privileged:
        container.options.setdefault("capabilities", []).insert(0, "--privileged")
    if kept != set(CAPABILITIES):
        names = ",".join(f"+{name.lower()}" for name in CAPABILITIES if name in kept)
        bits = "|".join(f"CAP_{name}" for name in CAPABILITIES if name in kept) or "0"
        in_nsbox = "nsbox has no option for single ones: drop_capabilities=True takes all away"
        if not kept:
            container.python["drop_capabilities"], in_nsbox = True, "in nsbox: drop_capabilities=True"
        container.step(
            "rights",
            "capabilities",
            f"prctl(PR_CAPBSET_DROP, each other one); capset({bits})",
            f"setpriv --bounding-set {','.join(['-all', names] if names else ['-all'])} --inh-caps -all PROGRAM",
            "capabilities(7)",
            f"{container.given('capabilities')}what root inside may do; {in_nsbox}",
        )
    else:
        container.notes.append(f"{container.given('capabilities')}the program keeps all capabilities")
    if container.privileged:
        container.notes.append("--privileged: no filter of seccomp(2)")
    elif container.seccomp == "unconfined":
        container.notes.append(f"{container.given('seccomp')}no filter of seccomp(2)")
    else:
        container.python["seccomp"] = True
        container.step(
            "rights",
            "seccomp",
            "seccomp(SECCOMP_SET_MODE_FILTER, 0, FILTER)",
            "",
            "seccomp(2)",
            f"{container.given('seccomp')}system calls that a container does not need fail with EPERM; in nsbox: "
            "seccomp=True, a filter of its own",
        )


def _general(container: Container, image: str) -> list[str]:
    engine = container.engine
    who = (
        "The daemon dockerd, as root, starts the container"
        if engine == "docker"
        else "podman itself starts the container"
    )
    if container.rootless:
        who = "podman is started without rights, so the container is in a user namespace"
    as_root = (
        []
        if "user" in container.new | container.joined.keys() or container.options.get("user")
        else [
            "no new user namespace: root inside is root outside, with fewer rights; "
            "nsbox makes one where the caller is not root"
        ]
    )
    return [
        *as_root,
        f"{who}; the steps are those of runc(8) or crun(1)",
        f"ROOT is a directory with the files of the image: "
        f"{engine} create --name NAME {image}; {engine} export NAME | tar -x -C ROOT",
        "CGROUP is the directory of the container's cgroup below /sys/fs/cgroup",
    ]


def _command(container: Container, program: Sequence[str]) -> str:
    words = [f"--{name}" for name in KINDS if name in container.new]
    words += ["--fork", "--kill-child", "--root=ROOT", "--mount-proc", *container.unshare]
    entered = [_entering(container, kind, where) for kind, where in container.joined.items()]
    return " ".join([*entered, shlex.join(["unshare", *words, *(program or ["PROGRAM"])])])


def _entering(container: Container, kind: str, where: str) -> str:
    name = where.removeprefix("container:")
    if name == where:
        return f"nsenter --{kind}={shlex.quote(name)}"
    return f"nsenter --target {of_process(container, name)} --{kind}"


def _python(container: Container, program: Sequence[str]) -> str:
    options = dict(container.python)
    ids = options.pop("_ids", "")
    mounts = options.pop("mounts", [])
    root = "nsbox.Bind('ROOT', '/', read_only=True)" if container.read_only else "'ROOT'"
    arguments = [
        repr(list(program or ["PROGRAM"])),
        f"unshare={container.letters()!r}",
        f"root={root}",
        "mount_proc=True",
    ]
    arguments += (
        [f"join=[{', '.join(f'nsbox.Join(PID, {kind!r})' for kind in container.joined)}]"] if container.joined else []
    )
    arguments += [ids] if ids else []
    for option in container.unshare:
        name, _, value = option.removeprefix("--").partition("=")
        if name in ("map-users", "map-groups") and value.replace(":", "").isdecimal():
            arguments.append(f"{name.replace('-', '_')}=[{tuple(map(int, value.split(':')))}]")
    arguments += [f"mounts=[{', '.join(mounts)}]"] if mounts else []
    arguments += [f"{name}={value!r}" for name, value in options.items()]
    return f"nsbox.run({', '.join(arguments)})"
