"""Why a user namespace's maps cannot be written."""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOENT, EPERM, EROFS, ESRCH
from itertools import pairwise

from nsbox.diagnosis.causes.cause import DENIED, MAPPING, Cause, FailedStep, Found, never
from nsbox.diagnosis.evidence import Evidence
from nsbox.spec.id_maps import MAX_RANGES

__all__ = ["MAPS"]

_ROWS = frozenset({"gid_map", "uid_map"})


def _which(failed: FailedStep) -> tuple[str, str]:
    return ("CAP_SETUID", "user") if failed.step == "uid_map" else ("CAP_SETGID", "group")


def _other_ids(failed: FailedStep, evidence: Evidence) -> Found | None:
    capability, noun = _which(failed)
    own = evidence.uid if failed.step == "uid_map" else evidence.gid
    rows = failed.rows
    if evidence.has(capability) or (len(rows) == 1 and rows[0][1:] == (own, 1)):
        return None
    return {"capability": capability, "noun": noun, "own": str(own)}


def _not_mapped_here(failed: FailedStep, evidence: Evidence) -> Found | None:
    ranges = evidence.uid_map if failed.step == "uid_map" else evidence.gid_map
    if ranges is None:
        return None
    for _, first, count in failed.rows:
        if not any(start <= first and first + count <= start + length for start, _, length in ranges):
            has = ", ".join(f"{start} to {start + length - 1}" for start, _, length in ranges) or "none"
            return {"ids": f"{first} to {first + count - 1}" if count > 1 else str(first), "has": has}
    return None


def _no_setfcap(failed: FailedStep, evidence: Evidence) -> Found | None:
    # To map id 0 of the outer namespace needs the right to set file capabilities (Linux 5.12).
    maps_zero = failed.step == "uid_map" and any(outside == 0 for _, outside, _ in failed.rows)
    return {} if maps_zero and not evidence.has("CAP_SETFCAP") and evidence.effective else None


def _denied_outside(failed: FailedStep, evidence: Evidence) -> Found | None:
    return {} if failed.argument("buf") == "allow" and evidence.setgroups == "deny" else None


def _shape(failed: FailedStep, _evidence: Evidence) -> Found | None:
    rows = failed.rows
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


def _no_proc(_: FailedStep, evidence: Evidence) -> Found | None:
    return None if evidence.procs else {}


def _other_proc(_: FailedStep, evidence: Evidence) -> Found | None:
    return {} if evidence.procs else None


def _read_only(_: FailedStep, evidence: Evidence) -> Found | None:
    return {} if any(proc.target == "/proc" and proc.read_only for proc in evidence.procs) else None


MAPS = (
    Cause(
        name="map-of-other-ids",
        title="An ordinary user may map only its own id",
        steps=_ROWS,
        errnos=frozenset({EPERM}),
        find=_other_ids,
        why="the caller does not have {capability}, a right of root, so it may map only one id, its own {noun} {own}",
        remedy="map only your own id (map_root_user=True in Python, unshare -r on the command line), or run as root",
        meaning="A map lists, for each id inside, the id outside that it stands for. A user who could choose any id "
        "outside could act as any other user. So without a capability a user may map only its own id.",
        manual="user_namespaces(7)",
        example={"capability": "CAP_SETUID", "noun": "user", "own": "1000"},
    ),
    Cause(
        name="map-of-missing-ids",
        title="Ids are mapped that do not exist here",
        steps=_ROWS,
        errnos=frozenset({EPERM}),
        find=_not_mapped_here,
        why="the ids {ids} do not exist in the caller's own user namespace, which has {has}",
        remedy="correct the ranges (inside, outside, count): all ids outside must be among those that exist here",
        meaning="User namespaces are nested. The ids outside of the new one must exist in the caller's own. `cat "
        "/proc/self/uid_map` shows these: the first id and, in the third column, how many.",
        manual="user_namespaces(7)",
        example={"ids": "100000 to 165535", "has": "0 to 0"},
    ),
    Cause(
        name="map-of-root",
        title="The caller does not have CAP_SETFCAP, which a map of root needs",
        steps=frozenset({"uid_map"}),
        errnos=frozenset({EPERM}),
        find=_no_setfcap,
        why="a map to user 0 outside needs CAP_SETFCAP, a right of root, and the caller does not have it",
        remedy="do not map user 0 outside (no range with 0 as its second number), or run where root has this right",
        places={
            "docker": "start the container anew with the option added: docker run --cap-add SETFCAP; or do not map "
            "user 0 outside"
        },
        meaning="A process inside that is root outside could give capabilities to files. So since Linux 5.12 the "
        "kernel requires the right to do that.",
        manual="user_namespaces(7), capabilities(7)",
    ),
    Cause(
        name="setgroups-given-up",
        title='setgroups is "deny" in an outer user namespace',
        steps=frozenset({"setgroups"}),
        errnos=frozenset({EPERM}),
        find=_denied_outside,
        why='this process is in a user namespace in which groups may not be changed (setgroups is "deny"), which also '
        "holds for all user namespaces inside",
        remedy='leave setgroups="allow" (--setgroups allow) out, or use "deny"',
        meaning="A process that drops a group can gain rights, where a file forbids something to that group. Once "
        'setgroups is "deny" in a user namespace, it stays so there and in all user namespaces inside.',
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
        meaning="Each id may be in one range only, inside and outside: otherwise the map would be ambiguous.",
        manual="user_namespaces(7)",
        example={"fault": "id 5 inside is in two ranges"},
    ),
    Cause(
        name="no-proc",
        title="There is no /proc here",
        steps=MAPPING | {"open own"},
        errnos=frozenset({ENOENT, ESRCH, *DENIED}),
        find=_no_proc,
        why="no proc is mounted here, and this step opens a file of it",
        remedy="first, as root: mount -t proc proc /proc",
        meaning="Maps of ids are written to files of /proc, and namespaces are files there. In a chroot or in a "
        "minimal container, /proc may be missing.",
        manual="proc(5)",
    ),
    Cause(
        name="other-proc",
        title="/proc belongs to another PID namespace",
        steps=MAPPING,
        errnos=frozenset({ENOENT, ESRCH}),
        find=_other_proc,
        why="the new process is not in /proc, so /proc belongs to another PID namespace",
        remedy="start the outer PID namespace again, with a proc of its own (unshare --pid --fork --mount-proc; in "
        "Python mount_proc=True); or inside, in a mount namespace of its own, as root: mount -t proc proc /proc",
        meaning="A proc shows the PID namespace of the process that mounted it. In a new PID namespace the old proc is "
        "still mounted, and has other numbers.",
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
        meaning="Maps of ids are written to files of /proc.",
        manual="proc(5)",
    ),
    Cause(
        name="hidden-process",
        title="/proc hides the new process from the caller",
        steps=MAPPING,
        errnos=frozenset({EACCES}),
        find=never,
        why="the caller may not open the files of the new process",
        remedy="run as root, or show all processes in /proc: sudo mount -o remount,hidepid=0 /proc",
        meaning="With the option hidepid, a proc shows a user only its own processes. A process that has changed its "
        "rights may not be among them.",
        manual="proc(5)",
        traceless=lambda _, __: True,
    ),
)
