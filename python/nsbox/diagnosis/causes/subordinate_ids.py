"""Why newuidmap(1) and newgidmap(1) do not map more than the caller's own id."""

from __future__ import annotations

from errno import ENOENT, EPERM

from nsbox.diagnosis.causes.cause import Cause, FailedStep, Found
from nsbox.diagnosis.evidence import Evidence

__all__ = ["SUBIDS"]

_FILES = {"newuidmap": "/etc/subuid", "newgidmap": "/etc/subgid"}
_STEPS = frozenset({"gid_map", "uid_map"})
_OWN = "map only your own id (map_root_user=True in Python, unshare -r on the command line)"


def _helper(failed: FailedStep) -> dict[str, str] | None:
    """Return the program that writes the map, and the file that grants ids; None if the caller writes it itself."""
    programs = (call.name for call in failed.calls if call.is_program)
    return next(({"program": name, "file": _FILES[name]} for name in programs if name in _FILES), None)


def _missing(failed: FailedStep, _: Evidence) -> Found | None:
    return _helper(failed) if failed.errno == ENOENT else None


def _no_new_privs(failed: FailedStep, evidence: Evidence) -> Found | None:
    return _helper(failed) if evidence.no_new_privs else None


def _not_granted(failed: FailedStep, _: Evidence) -> Found | None:
    return _helper(failed) if "not allowed" in failed.detail else None


def _refused(failed: FailedStep, _: Evidence) -> Found | None:
    return _helper(failed)


_EXAMPLE = {"program": "newuidmap", "file": "/etc/subuid"}
SUBIDS = (
    Cause(
        name="no-helper",
        title="newuidmap or newgidmap is not installed",
        steps=_STEPS,
        errnos=frozenset({ENOENT}),
        find=_missing,
        why="{program} is not installed, and without it an ordinary user may map only one id, its own",
        remedy=f"sudo apt install uidmap (elsewhere the package is shadow-utils), or {_OWN}",
        meaning="/etc/subuid and /etc/subgid list the ids that an ordinary user may map besides its own. The kernel "
        "does not read these files: two privileged programs read them, and write the maps.",
        manual="newuidmap(1), newgidmap(1)",
        example=_EXAMPLE,
    ),
    Cause(
        name="powerless-helper",
        title="newuidmap or newgidmap gets no rights, because no_new_privs is set",
        steps=_STEPS,
        errnos=frozenset({EPERM}),
        find=_no_new_privs,
        why="no_new_privs is set, so {program}, which needs rights of root, gets none when it is started",
        remedy=f"{_OWN}, or start where no_new_privs is not set, such as in a plain terminal",
        places={"kubernetes": f"the pod needs allowPrivilegeEscalation: true in its YAML; or {_OWN}"},
        meaning="With no_new_privs, a process and its children get no rights from setuid programs any more. Containers "
        "and services are often started like that.",
        manual="PR_SET_NO_NEW_PRIVS(2const)",
        example=_EXAMPLE,
    ),
    Cause(
        name="ids-not-granted",
        title="These ids are not granted to this user",
        steps=_STEPS,
        errnos=frozenset({EPERM}),
        find=_not_granted,
        why="{file} does not grant these ids to this user",
        remedy='map what it grants (map_users="auto", map_groups="auto"; --map-auto), or grant more: sudo usermod '
        "--add-subuids 100000-165535 --add-subgids 100000-165535 USER",
        meaning="Each line of /etc/subuid and /etc/subgid grants a range of ids to one user.",
        manual="subuid(5), subgid(5)",
        example=_EXAMPLE,
    ),
    Cause(
        name="helper-refuses",
        title="newuidmap or newgidmap refuses, and prints why",
        steps=_STEPS,
        errnos=frozenset({EPERM}),
        find=_refused,
        why="{program} has refused, for the reason that it printed",
        remedy="check that {file} has a line for this user, that `id -un` prints its name, and that {program} has its "
        "rights: `ls -l $(which {program})` shows -rws (setuid root), or getcap(8) a capability",
        meaning="The programs look up the name of the user, and require that the process belongs to that user.",
        manual="newuidmap(1), newgidmap(1)",
        example=_EXAMPLE,
    ),
)
