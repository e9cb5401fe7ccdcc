"""Why newuidmap(1) and newgidmap(1) do not map more than the caller's own id."""

from __future__ import annotations

from errno import ENOENT, EPERM

from nsbox.diagnosis.causes.cause import Cause, Failure, Found
from nsbox.diagnosis.evidence import Evidence

__all__ = ["SUBIDS"]

_FILES = {"newuidmap": "/etc/subuid", "newgidmap": "/etc/subgid"}
_STEPS = frozenset({"gid_map", "uid_map"})
_OWN = "map only yourself (map_root_user=True in Python, unshare -r on the command line)"


def _helper(failure: Failure) -> dict[str, str] | None:
    """Return the program that should have written the map, and the file that grants; None if none should have."""
    programs = (call.name for call in failure.calls if call.is_program)
    return next(({"program": name, "file": _FILES[name]} for name in programs if name in _FILES), None)


def _missing(failure: Failure, _: Evidence) -> Found | None:
    return _helper(failure) if failure.errno == ENOENT else None


def _powerless(failure: Failure, evidence: Evidence) -> Found | None:
    return _helper(failure) if evidence.no_new_privs else None


def _not_granted(failure: Failure, _: Evidence) -> Found | None:
    return _helper(failure) if "not allowed" in failure.detail else None


def _no_owner(failure: Failure, _: Evidence) -> Found | None:
    return _helper(failure)


_EXAMPLE = {"program": "newuidmap", "file": "/etc/subuid"}
SUBIDS = (
    Cause(
        name="no-helper",
        title="newuidmap or newgidmap is not installed",
        steps=_STEPS,
        errnos=frozenset({ENOENT}),
        find=_missing,
        why="{program} is not installed, and without it an ordinary user may map one id, its own",
        remedy=f"sudo apt install uidmap (elsewhere the package is shadow-utils), or {_OWN}",
        meaning="The ids that an ordinary user may map besides its own are written down in /etc/subuid and /etc/subgid."
        " The kernel does not know these files; two privileged programs read them, and write the maps.",
        manual="newuidmap(1), newgidmap(1)",
        example=_EXAMPLE,
    ),
    Cause(
        name="powerless-helper",
        title="newuidmap or newgidmap has no power, because no_new_privs is set",
        steps=_STEPS,
        errnos=frozenset({EPERM}),
        find=_powerless,
        why="no_new_privs is set: this process can gain no rights, so {program}, which needs those of root, gets none",
        remedy=f"{_OWN}, or start where no_new_privs is not set, such as in a plain terminal",
        places={"kubernetes": f"the pod needs allowPrivilegeEscalation: true in its YAML; or {_OWN}"},
        meaning="A process that has given up new privileges gets none from setuid programs, for ever, and neither do "
        "its children. Containers and services often start like that.",
        manual="PR_SET_NO_NEW_PRIVS(2const)",
        example=_EXAMPLE,
    ),
    Cause(
        name="ids-not-granted",
        title="The ids are not granted to this user",
        steps=_STEPS,
        errnos=frozenset({EPERM}),
        find=_not_granted,
        why="{file} does not grant these ids to this user",
        remedy='map what it grants (map_users="auto", map_groups="auto"; --map-auto), or grant more: sudo usermod '
        "--add-subuids 100000-165535 --add-subgids 100000-165535 USER",
        meaning="Each line of /etc/subuid and /etc/subgid grants a user a range of ids, which nobody else should have.",
        manual="subuid(5), subgid(5)",
        example=_EXAMPLE,
    ),
    Cause(
        name="helper-refuses",
        title="newuidmap or newgidmap refuses, and says why",
        steps=_STEPS,
        errnos=frozenset({EPERM}),
        find=_no_owner,
        why="{program} has refused",
        remedy="see that {file} has a line for this user, that `id -un` prints its name, and that {program} "
        "has its rights: `ls -l $(which {program})` shows -rws (setuid root), or getcap(8) a capability",
        meaning="The programs look the user up by name, and want the process to belong to it.",
        manual="newuidmap(1), newgidmap(1)",
        example=_EXAMPLE,
    ),
)
