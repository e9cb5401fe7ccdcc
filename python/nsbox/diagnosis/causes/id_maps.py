"""Why a user namespace's maps cannot be written."""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOENT, EPERM, EROFS, ESRCH
from itertools import pairwise

from nsbox.diagnosis.causes.cause import DENIED, MAPPING, Cause, Failure, Found
from nsbox.diagnosis.evidence import Evidence
from nsbox.spec.id_maps import MAX_RANGES

__all__ = ["MAPS"]

_ROWS = frozenset({"gid_map", "uid_map"})


def _which(failure: Failure) -> tuple[str, str]:
    return ("CAP_SETUID", "user") if failure.step == "uid_map" else ("CAP_SETGID", "group")


def _somebody_else(failure: Failure, evidence: Evidence) -> Found | None:
    capability, noun = _which(failure)
    own = evidence.uid if failure.step == "uid_map" else evidence.gid
    rows = failure.rows
    if evidence.has(capability) or (len(rows) == 1 and rows[0][1:] == (own, 1)):
        return None
    return {"capability": capability, "noun": noun, "own": str(own)}


def _not_mapped_here(failure: Failure, evidence: Evidence) -> Found | None:
    ranges = evidence.uid_map if failure.step == "uid_map" else evidence.gid_map
    if ranges is None:
        return None
    for _, first, count in failure.rows:
        if not any(start <= first and first + count <= start + length for start, _, length in ranges):
            has = ", ".join(f"{start} to {start + length - 1}" for start, _, length in ranges) or "none"
            return {"ids": f"{first} to {first + count - 1}" if count > 1 else str(first), "has": has}
    return None


def _no_setfcap(failure: Failure, evidence: Evidence) -> Found | None:
    # The right to map id 0 of the outer namespace goes with file capabilities (Linux 5.12).
    maps_zero = failure.step == "uid_map" and any(outside == 0 for _, outside, _ in failure.rows)
    return {} if maps_zero and not evidence.has("CAP_SETFCAP") and evidence.effective else None


def _denied_before(failure: Failure, evidence: Evidence) -> Found | None:
    return {} if failure.argument("buf") == "allow" and evidence.setgroups == "deny" else None


def _shape(failure: Failure, _evidence: Evidence) -> Found | None:
    rows = failure.rows
    if len(rows) > MAX_RANGES:
        return {"fault": f"there are {len(rows)} ranges, and the kernel takes at most {MAX_RANGES}"}
    for column, side in ((0, "inside"), (1, "outside")):
        ranges = sorted((row[column], row[2]) for row in rows)
        for (first, count), (second, _length) in pairwise(ranges):
            if first + count > second:
                return {"fault": f"id {second} {side} is in two ranges"}
        if ranges and sum(ranges[-1]) > 2**32 - 1:
            return {"fault": f"the range from {ranges[-1][0]} {side} goes beyond the largest id, {2**32 - 2}"}
    return None


def _gone(_: Failure, evidence: Evidence) -> Found | None:
    return None if evidence.procs else {}


def _other_proc(_: Failure, evidence: Evidence) -> Found | None:
    return {} if evidence.procs else None


def _read_only(_: Failure, evidence: Evidence) -> Found | None:
    return {} if any(proc.target == "/proc" and proc.read_only for proc in evidence.procs) else None


MAPS = (
    Cause(
        name="map-of-somebody-else",
        title="An ordinary user may map only itself",
        steps=_ROWS,
        errnos=frozenset({EPERM}),
        find=_somebody_else,
        why="without {capability} (a right of root) outside, a map may hold one id, the caller's own {noun} {own}",
        remedy="map only yourself (map_root_user=True in Python, unshare -r on the command line), or run as root",
        meaning="A map says which id outside each id inside stands for. If everybody could choose that, everybody "
        "could act as everybody else. So without a capability only one's own id may be mapped.",
        manual="user_namespaces(7)",
        example={"capability": "CAP_SETUID", "noun": "user", "own": "1000"},
    ),
    Cause(
        name="map-of-nobody",
        title="Ids are mapped that do not exist here",
        steps=_ROWS,
        errnos=frozenset({EPERM}),
        find=_not_mapped_here,
        why="the ids {ids} have no meaning in the caller's own user namespace, which has {has}",
        remedy="correct the ranges (inside, outside, count): all ids outside must be among those that exist here",
        meaning="User namespaces nest: what is outside the new one is itself inside another, and only the ids of that "
        "one can be passed on. `cat /proc/self/uid_map` shows them in the first and third column.",
        manual="user_namespaces(7)",
        example={"ids": "100000 to 165535", "has": "0 to 0"},
    ),
    Cause(
        name="map-of-root",
        title="CAP_SETFCAP is missing, which mapping root needs",
        steps=frozenset({"uid_map"}),
        errnos=frozenset({EPERM}),
        find=_no_setfcap,
        why="a map to user 0 outside needs a right of root, CAP_SETFCAP, which the caller lacks",
        remedy="do not map user 0 outside (no range with 0 as its second number), or run where root has this right",
        places={
            "docker": "start the container anew with the option added: docker run --cap-add SETFCAP; or do not map "
            "user 0 outside"
        },
        meaning="Whoever is root outside could put capabilities on files from inside. So since Linux 5.12 the right to "
        "do that is needed.",
        manual="user_namespaces(7), capabilities(7)",
    ),
    Cause(
        name="setgroups-given-up",
        title="setgroups was given up in an outer user namespace",
        steps=frozenset({"setgroups"}),
        errnos=frozenset({EPERM}),
        find=_denied_before,
        why='this process is in a user namespace in which groups may not be changed (setgroups is "deny"), and that '
        "holds for all further in",
        remedy='leave setgroups="allow" (--setgroups allow) out, or use "deny"',
        meaning="Dropping a group can give rights, where a file forbids something to that group. Once a user namespace "
        "has given up setgroups(2), neither it nor any inside it gets it back.",
        manual="user_namespaces(7)",
    ),
    Cause(
        name="map-shape",
        title="The ranges of a map do not fit together",
        steps=_ROWS,
        errnos=frozenset({EINVAL}),
        find=_shape,
        why="{fault}",
        remedy="correct the ranges: (inside, outside, count) each, without overlaps",
        meaning="Each id may be in one range only, on both sides, or the map would be ambiguous.",
        manual="user_namespaces(7)",
        example={"fault": "id 5 inside is in two ranges"},
    ),
    Cause(
        name="no-proc",
        title="There is no /proc here",
        steps=MAPPING,
        errnos=frozenset({ENOENT, ESRCH, *DENIED}),
        find=_gone,
        why="no proc is mounted, and the maps are files in it",
        remedy="first, as root: mount -t proc proc /proc",
        meaning="The kernel takes the maps through files of /proc. In a chroot, or in a sparse container, /proc may be "
        "missing.",
        manual="proc(5)",
    ),
    Cause(
        name="other-proc",
        title="/proc belongs to another PID namespace",
        steps=MAPPING,
        errnos=frozenset({ENOENT, ESRCH}),
        find=_other_proc,
        why="/proc does not show the process that was just made, so it belongs to another PID namespace",
        remedy="enter the PID namespace anew with a proc of its own (unshare --pid --fork --mount-proc; in Python "
        "mount_proc=True); or in it, in a mount namespace of its own, as root: mount -t proc proc /proc",
        meaning="A proc shows the PID namespace of whoever mounted it. After entering another PID namespace the old "
        "one is still there, with other numbers.",
        manual="pid_namespaces(7)",
    ),
    Cause(
        name="read-only-proc",
        title="/proc is mounted read-only",
        steps=MAPPING,
        errnos=frozenset({EROFS}),
        find=_read_only,
        why="/proc is mounted read-only, so the maps cannot be written",
        remedy="as root: mount -o remount,rw /proc; or mount another proc",
        places={
            "docker": "start the container anew with the option added: docker run --security-opt "
            "systempaths=unconfined",
            "podman": "start the container anew with the option added: podman run --security-opt unmask=ALL",
        },
        meaning="The kernel takes the maps through files of /proc, which must be writable.",
        manual="proc(5)",
    ),
    Cause(
        name="hidden-process",
        title="/proc hides the new process from the caller",
        steps=MAPPING,
        errnos=frozenset({EACCES}),
        find=lambda _, __: None,
        why="the files of the new process may not be opened",
        remedy="run as root, or show all processes in /proc: sudo mount -o remount,hidepid=0 /proc",
        meaning="With the option hidepid a proc shows everybody only their own processes, and a process that changed "
        "its rights may not count as one's own.",
        manual="proc(5)",
        traceless=lambda _, __: True,
    ),
)
