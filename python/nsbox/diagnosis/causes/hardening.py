"""Why a part of `harden` cannot be carried out: what a kernel lacks, or what a filter refuses."""

from __future__ import annotations

from errno import E2BIG, EACCES, EDQUOT, EINVAL, ENOENT, ENOSYS, ENOTDIR, EOPNOTSUPP, EPERM

from nsbox.diagnosis.causes.cause import Cause, FailedStep, Found
from nsbox.diagnosis.evidence import Evidence

__all__ = ["HARDENING"]

_PARTS = {
    "session keyring": "keyring", "lock capabilities": "drop_capabilities", "lock mounts": "lock_mounts",
    "no_new_privs": "no_new_privs", "landlock": "landlock", "seccomp": "seccomp",
}  # fmt: skip
"""The steps of the payload's process, each with the option that asks for it."""
_EITHER = 'nsbox doctor shows which parts work here; leave this one out by {part}=False, or use harden="best"'


def _part(failed: FailedStep, _: Evidence) -> Found | None:
    return {"part": _PARTS[failed.step]}


def _path(failed: FailedStep, _: Evidence) -> Found | None:
    return {"path": str(failed.argument("path") or "the source")}


HARDENING = (
    Cause(
        name="part-missing",
        title="The kernel lacks a part of harden, or a filter refuses it",
        steps=frozenset(_PARTS),
        errnos=frozenset({ENOSYS, EOPNOTSUPP, EINVAL, EPERM, EACCES}),
        find=_part,
        why="the kernel was built or started without what {part} needs, is too old for it (Landlock: Linux 5.19), or "
        "a filter for system calls (seccomp) refuses it",
        remedy=_EITHER,
        places={
            "docker": "the filter of Docker refuses keyrings; start the container anew with the option added: "
            'docker run --security-opt seccomp=unconfined, or leave the part out by {part}=False or harden="best"',
        },
        meaning="Parts of hardening are options of the kernel (CONFIG_SECCOMP_FILTER, CONFIG_SECURITY_LANDLOCK with "
        "lsm=landlock, CONFIG_KEYS), and containers refuse some of the calls.",
        manual="seccomp(2), landlock(7), keyctl(2)",
        example={"part": "landlock"},
    ),
    Cause(
        name="landlock-layers",
        title="The caller is in as many Landlock domains as the kernel allows",
        steps=frozenset({"landlock"}),
        errnos=frozenset({E2BIG}),
        find=_part,
        why="the caller is in 16 Landlock domains already, and the kernel stacks no more",
        remedy="start this outside of the nested sandboxes, or leave it out by {part}=False",
        meaning="Each sandbox inside of another adds a domain. None can be left.",
        manual="landlock_restrict_self(2)",
        example={"part": "landlock"},
    ),
    Cause(
        name="key-quota",
        title="The user has as many keys as the kernel allows",
        steps=frozenset({"session keyring"}),
        errnos=frozenset({EDQUOT}),
        find=_part,
        why="a session keyring is a key, and the user has reached the limit of keys (kernel.keys.maxkeys)",
        remedy="end programs of this user, or as root: sysctl -w kernel.keys.maxkeys=2000; or {part}=False",
        meaning="Each user may have 200 keys by default. Every program with a session keyring of its own needs one.",
        manual="keyrings(7)",
        example={"part": "keyring"},
    ),
    Cause(
        name="no-idmap",
        title="The file system cannot show its files with other owners",
        steps=frozenset({"idmap"}),
        errnos=frozenset({EINVAL, EPERM}),
        find=_path,
        why="the file system of {path}, or of a mount below it, does not support it, or is not the caller's; network "
        "file systems and some others do not",
        remedy="use a directory on another file system (ext4, xfs, btrfs, tmpfs): findmnt -T {path} shows which it is; "
        "or give the bind without idmap, and make the files writable for everybody",
        meaning="As root the ids inside a hardened box are others than root's. For files that a program there may "
        "change, the kernel can translate the owners in one mount (Linux 5.12).",
        manual="mount_setattr(2)",
        example={"path": "DIRECTORY"},
    ),
    Cause(
        name="no-idmap-source",
        title="The directory that is to have other owners does not exist",
        steps=frozenset({"idmap"}),
        errnos=frozenset({ENOENT, ENOTDIR}),
        find=_path,
        why="{path} does not exist",
        remedy="make it, or correct the path: mkdir -p {path}",
        meaning="What is writable in a hardened box must exist outside before.",
        manual="open_tree(2)",
        example={"path": "DIRECTORY"},
    ),
)
