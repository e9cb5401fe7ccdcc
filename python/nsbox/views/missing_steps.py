"""What differs from a model, in words: a sentence for each step that is missing or that is one too many."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from nsbox.records.names import safe
from nsbox.records.state import Mounted, State
from nsbox.spec.kinds import KINDS

__all__ = ["differences"]


def differences(seen: State, model: State, *, exact: bool = False) -> list[str]:
    """Return what differs from a model: a sentence for each step that is missing or wrong, in the order of the steps.

    What does not matter to the model is left out, and so is what only follows from another step that is missing.

    Args:
        seen: The state that was read.
        model: The state with which it is compared.
        exact: Whether a new namespace that the model does not have is a difference as well. Then what is unknown is
            left out; else it is a difference, since a model says what it requires.
    """
    # What a model requires is looked at in all new namespaces, also in those that it does not require.
    parts = model if exact else replace(model, namespaces=None)
    return [
        *(() if exact else _unknown(seen, model)),
        *_namespaces(seen, model),
        *_process(seen, parts),
        *_inside(seen, parts),
        *_root(seen, parts),
        *_mounts(seen, parts),
        *_rights(seen, parts),
        *(_too_many(seen, model) if exact else ()),
    ]


def _differ(seen: object, wanted: object) -> bool:
    return seen is not None and wanted is not None and seen != wanted


def _both_have(kind: str, seen: State, model: State) -> bool:
    """Return whether both have a new namespace of a kind; a model that names none leaves that open."""
    return kind in (seen.namespaces or ()) and (model.namespaces is None or kind in model.namespaces)


_PARTS = {
    "comm": "", "new_root": "", "outside": "mount", "mounts": "mount", "shared": "mount", "id_map": "user",
    "loopback": "net", "interfaces": "net", "clocks": "time", "no_new_privs": "", "seccomp": "", "capabilities": "",
}  # fmt: skip
"""The kind of namespace to which a part of a state belongs; empty if it belongs to the process."""


def _unknown(seen: State, model: State) -> Iterator[str]:
    for name, kind in _PARTS.items():
        is_told = kind in (model.namespaces or ()) and kind not in (seen.namespaces or ())
        if getattr(model, name) is not None and getattr(seen, name) is None and not is_told:
            without = f": there is no new {kind} namespace" if kind and kind not in (seen.namespaces or ()) else ""
            yield f"{name} is required, and is not known{without}"


def _namespaces(seen: State, model: State) -> Iterator[str]:
    if seen.namespaces is None or model.namespaces is None:
        return
    for kind in KINDS:
        option = f"--{kind} (-{KINDS[kind].letter})"
        if kind in model.namespaces and kind not in seen.namespaces:
            if kind == "pid" and seen.pid_for_children:
                yield (
                    "the PID namespace is for the children only, as the program was not forked after the unshare: "
                    "unshare without --fork (-f)"
                )
            else:
                yield f"there is no new {kind} namespace: unshare without {option}"


def _process(seen: State, model: State) -> Iterator[str]:
    if _differ(seen.pid, model.pid) and _both_have("pid", seen, model):
        yield (
            f"the program has PID {seen.pid} in its PID namespace and not {model.pid}: "
            + ("another process was started there before" if (model.pid or 0) < (seen.pid or 0) else
               "fewer processes were started there before")
        )  # fmt: skip
    if _differ(seen.comm, model.comm):
        yield f"the program is {safe(seen.comm or '')} and not {safe(model.comm or '')}"


def _inside(seen: State, model: State) -> Iterator[str]:
    """Yield what was not done in the new namespaces: user, UTS, network, time."""
    if _differ(seen.id_map, model.id_map) and _both_have("user", seen, model):
        if not seen.id_map:
            yield "no user id is mapped in the user namespace: unshare without --map-root-user (-r)"
        else:
            yield f"the user ids {_ids(seen)} are mapped in the user namespace, and not {_ids(model)}: uid_map"
    if _differ(seen.hostname, model.hostname) and _both_have("uts", seen, model):
        yield f"the host name is {seen.hostname!r} and not {model.hostname!r}: sethostname(2)"
    if _both_have("net", seen, model):
        if _differ(seen.loopback, model.loopback):
            yield (
                "the loopback interface is down: ip link set lo up"
                if model.loopback
                else "the loopback interface is up, and that of the model is down: ip link set lo down"
            )
        for name in _lacking(seen.interfaces, model.interfaces):
            yield f"there is no network interface {safe(name)}: ip link add, or ip link set {safe(name)} netns"
        for name in _lacking(model.interfaces, seen.interfaces):
            yield f"there is a network interface {safe(name)}, which the model does not have"
    if _both_have("time", seen, model) and seen.clocks is not None and model.clocks is not None:
        for name in sorted(model.clocks.keys() & seen.clocks.keys()):
            if seen.clocks[name] != model.clocks[name]:
                yield (
                    f"the offset of the {name} clock is {seen.clocks[name]} s and not {model.clocks[name]} s: "
                    f"unshare --{name}"
                )


def _ids(state: State) -> str:
    ranges = state.id_map or ()
    return (
        ", ".join(str(first) if count == 1 else f"{first} to {first + count - 1}" for first, count in ranges) or "none"
    )


def _lacking(seen: Collection[str] | None, wanted: Collection[str] | None) -> list[str]:
    return [] if seen is None or wanted is None else sorted(set(wanted) - set(seen))


def _root(seen: State, model: State) -> Iterator[str]:
    if _differ(seen.new_root, model.new_root):
        yield (
            "the root of the mount namespace is that of the machine, below chroot, too: pivot_root(2)"
            if model.new_root
            else "the root of the mount namespace is a new one, and that of the model is the old one"
        )
    # In the mount namespace of the machine the root of the machine is mounted.
    follows = model.namespaces is not None and ("mount" in model.namespaces) != ("mount" in (seen.namespaces or ()))
    if _differ(seen.outside, model.outside) and not follows:
        yield (
            "the old root is still mounted: umount2(2), with MNT_DETACH"
            if seen.outside
            else "the old root is not mounted any more, and in the model it is"
        )
    if _differ(seen.proc, model.proc) and _both_have("pid", seen, model):
        on_proc = (seen.mounts or {}).get("/proc")
        if not model.proc:
            yield "a new proc is mounted on /proc, and in the model it is not: umount /proc"
        elif on_proc is not None and "proc" in on_proc.covered and on_proc.fstype != "proc":
            yield f"the proc on /proc is hidden by a mount of {safe(on_proc.fstype)}: umount /proc"
        else:
            yield "no proc was mounted after the PID namespace was made: mount -t proc proc /proc"


def _mounts(seen: State, model: State) -> Iterator[str]:
    # With another root the mount points are others, which is one step and not many. So are those of another namespace.
    is_new = "mount" in (seen.namespaces or ())
    if (model.namespaces is not None and is_new != ("mount" in model.namespaces)) or _differ(
        seen.new_root, model.new_root
    ):
        return
    if _differ(seen.shared, model.shared):
        yield (
            "mounts are shared with other mount namespaces: mount --make-rprivate /"
            if seen.shared
            else "mounts are not shared with other mount namespaces, and in the model they are: mount --make-rshared /"
        )
    if seen.mounts is None or model.mounts is None:
        return
    for point in sorted({*seen.mounts, *model.mounts} - {"/proc"}):
        has, wanted = seen.mounts.get(point), model.mounts.get(point)
        if not _is_below_another(point, seen, model):
            yield from _on(safe(point), has, wanted)


def _is_below_another(point: str, seen: State, model: State) -> bool:
    """Return whether a directory above is a mount point of only one of them, or with another file system.

    Then it is that mount which is missing, or which hides those below.
    """
    assert seen.mounts is not None
    assert model.mounts is not None
    names = point.split("/")
    for above in ("/".join(names[:depth]) for depth in range(2, len(names))):
        has, wanted = seen.mounts.get(above), model.mounts.get(above)
        if (has and has.fstype) != (wanted and wanted.fstype):
            return True
    return False


def _on(point: str, has: Mounted | None, wanted: Mounted | None) -> Iterator[str]:
    if has is None and wanted is not None:
        yield f"nothing is mounted on {point}: mount a {safe(wanted.fstype)} there, as the model has it"
    elif has is not None and wanted is None:
        yield f"a {safe(has.fstype)} is mounted on {point}, where the model has no mount: umount {point}"
    elif has is not None and wanted is not None:
        if has.fstype != wanted.fstype:
            hidden = "the mount of the model is there, and hidden" if wanted.fstype in has.covered else "mount(2)"
            yield f"a {safe(has.fstype)} is mounted on {point} and not a {safe(wanted.fstype)}: {hidden}"
        if wanted.read_only and not has.read_only:
            yield f"the mount on {point} can be written to: mount -o remount,bind,ro {point}"
        if has.read_only and not wanted.read_only:
            yield f"the mount on {point} is read-only, and that of the model is not: mount -o remount,bind,rw {point}"


def _too_many(seen: State, model: State) -> Iterator[str]:
    for kind in KINDS:
        if model.namespaces is not None and kind in (seen.namespaces or ()) and kind not in model.namespaces:
            option = f"--{kind} (-{KINDS[kind].letter})"
            yield f"there is a new {kind} namespace, which the model does not have: unshare with {option}"
    if seen.pid_for_children and model.pid_for_children is False and "pid" not in (model.namespaces or ()):
        yield "there is a new PID namespace for the children, which the model does not have: unshare with --pid (-p)"


def _rights(seen: State, model: State) -> Iterator[str]:
    if _differ(seen.no_new_privs, model.no_new_privs):
        yield (
            "no_new_privs is not set: prctl(PR_SET_NO_NEW_PRIVS, 1), or setpriv --no-new-privs"
            if model.no_new_privs
            else "no_new_privs is set, and in the model it is not"
        )
    if _differ(seen.seccomp, model.seccomp):
        yield (
            "there is no seccomp filter: seccomp(2)"
            if model.seccomp
            else "there is a seccomp filter, which the model does not have"
        )
    # Capabilities belong to a user namespace: a new one has all of them.
    if model.namespaces is not None and ("user" in model.namespaces) != ("user" in (seen.namespaces or ())):
        return
    if more := _lacking(model.capabilities, seen.capabilities):
        yield f"the program has {_few(more)}, which the model does not have: setpriv --bounding-set, capset(2)"
    if fewer := _lacking(seen.capabilities, model.capabilities):
        yield f"the program does not have {_few(fewer)}, which the model has"


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more capabilities" if len(names) > 3 else "")
