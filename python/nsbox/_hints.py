"""Why a step fails, from evidence read at that moment, and what to do about it.

An error number alone cannot teach: EPERM alone has a dozen causes here. So each step has a function that looks for
evidence and says what it found. Where the evidence does not decide, it says so instead of guessing.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import (
    E2BIG,
    EACCES,
    EAGAIN,
    EBADF,
    EBUSY,
    EINVAL,
    EMFILE,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOSYS,
    ENOTDIR,
    ENOTTY,
    EPERM,
    ERANGE,
    ESRCH,
)
from typing import NamedTuple

from nsbox import _evidence as evidence
from nsbox._mount_hints import explain_part, proc_refused

__all__ = ["explain"]


class Failure(NamedTuple):
    """A step that failed, as the core reports it."""

    errno: int
    step: str
    call: str
    detail: str


Explanation = tuple[str, str]
_DENIED = (EPERM, EACCES)
_GRANT = "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"


def explain(failure: Failure) -> Explanation:
    """Return the evidence and the hint for a failed step; either may be empty."""
    why, hint = _STEPS.get(failure.step, _unknown)(failure)
    return "; ".join(filter(None, (failure.detail, why))), hint


def _unknown(_: Failure) -> Explanation:
    return "", ""


def _policy(failure: Failure) -> Explanation | None:
    """What forbids namespaces from outside the kernel's own rules, if it can be seen."""
    if failure.errno not in _DENIED:
        return None
    if found := evidence.seccomp_filter():
        return found, (
            "containers start like that by default; start yours with --security-opt seccomp=unconfined (or --cap-add "
            "SYS_ADMIN). No setting inside the container can help"
        )
    if evidence.apparmor_restriction() and evidence.lacks_capability("CAP_SYS_ADMIN"):
        return "kernel.apparmor_restrict_unprivileged_userns is 1: a new user namespace has no rights", (
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root"
        )
    if failure.errno == EACCES and (label := evidence.lsm_label()):
        return f"a security module confines this process as {label!r}", "run it unconfined, or extend that policy"
    return None


def _clone(failure: Failure) -> Explanation:
    if failure.errno in _DENIED:
        if found := _policy(failure):
            return found
        if "CLONE_NEWUSER" not in failure.call and evidence.lacks_capability("CAP_SYS_ADMIN"):
            return "every namespace but a user namespace needs CAP_SYS_ADMIN, which the caller lacks", (
                "add a user namespace: leave map_root_user at its default, or run as root"
            )
        if "CLONE_NEWUSER" in failure.call:
            return "the kernel refuses user namespaces inside a chroot and to processes with unmapped ids", (
                "see whether this process is in a chroot, and whether /proc/self/uid_map and gid_map are written"
            )
    if failure.errno == ENOSPC:
        if limits := evidence.exhausted_kinds(failure.call):
            settings = " ".join(f"{limit}=15000" for limit in limits)
            return f"{' and '.join(limits)} {'is' if len(limits) == 1 else 'are'} 0", f"sudo sysctl -w {settings}"
        return "no limit of this user namespace is 0, so it is one of an outer namespace, or the nesting depth of 32", (
            "this is about namespaces, not the disk: nest less deeply, or look for namespaces that were left behind"
        )
    if failure.errno == EAGAIN:
        return f"no further process may be started: {evidence.task_limits()}", "raise the limit that is reached"
    if failure.errno == ENOMEM and evidence.dead_pid_namespace():
        return "this process has unshared its PID namespace, whose PID 1 has ended: not memory is short", (
            "start nsbox from a process that did not unshare; os.setns on /proc/self/ns/pid cures this one"
        )
    if failure.errno == EINVAL and (kinds := evidence.missing_kinds()):
        return f"this kernel has no {', '.join(kinds)} namespaces", "leave them out"
    return "", ""


def _exec_init(failure: Failure) -> Explanation:
    if failure.errno in (*_DENIED, ENOSYS):
        return "executing nsbox-init from memory is forbidden", (
            "look for vm.memfd_noexec, a security module, or a seccomp filter on execveat"
        )
    if failure.errno == E2BIG:
        return "", "the arguments and the environment are too large (execve(2))"
    return "", ""


def _map_by_helper(failure: Failure) -> Explanation:
    """newuidmap(1) and newgidmap(1), which the caller needs for more than its own id."""
    program = failure.call.split()[0]
    file = "/etc/subuid" if program == "newuidmap" else "/etc/subgid"
    myself = "map only yourself (map_root_user, map_current_user, map_user, map_group)"
    if failure.errno == ENOENT:
        return f"without {program}, an unprivileged caller may map one id, its own", (
            f"install the package uidmap (elsewhere: shadow-utils), or {myself}"
        )
    if evidence.no_new_privs():
        return f"no_new_privs is set for this process, so {program}, which is setuid, has no power", (
            f"start from a process without it (containers: allowPrivilegeEscalation: true), or {myself}"
        )
    if "not allowed" in failure.detail:
        return f"{file} does not grant these ids", f"map what it grants (map_users='auto'), or add a line: {_GRANT}"
    return "", f"see that {program} is setuid root, and that {file} has a line for you: {_GRANT}"


def _maps(failure: Failure) -> Explanation:
    if failure.call.startswith("new"):
        return _map_by_helper(failure)
    if found := _policy(failure):
        return found
    if failure.errno == EPERM:
        if evidence.lacks_capability("CAP_SETUID" if failure.step == "uid_map" else "CAP_SETGID"):
            return "without that capability outside, a map may hold one id, the caller's own", (
                "map only yourself (map_root_user, map_user, map_group), or run as root"
            )
        if evidence.lacks_capability("CAP_SETFCAP"):
            return "mapping id 0 needs CAP_SETFCAP (user_namespaces(7))", "run with that capability"
    if failure.errno == EINVAL:
        return "the kernel takes at most 340 ranges, which may not overlap", "look at the ranges"
    if failure.errno in (ENOENT, ESRCH):
        return "/proc is not mounted here, or belongs to another PID namespace", "mount a proc for this namespace"
    return "", ""


def _mount(failure: Failure) -> Explanation:
    if failure.detail and (part := explain_part(failure.step, failure.detail, failure.errno)) != ("", ""):
        return _policy(failure) or part
    if failure.errno in (ENOENT, ENOTDIR):
        return "the target is no directory", "mount on a directory that exists"
    if found := _policy(failure):
        return found
    if failure.errno in _DENIED and failure.step == "mount proc" and (refused := proc_refused()) != ("", ""):
        return refused
    if failure.errno in _DENIED:
        return "the evidence does not decide: a Landlock domain or another security module may forbid all mounts", (
            "try the same outside of any sandbox"
        )
    if failure.errno == EINVAL and failure.step == "propagation":
        return (
            "/ is no mount point here, as in a chroot",
            "use propagation='unchanged', or pivot_root, not chroot",
        )
    if failure.errno == EBUSY:
        return "the target is in use", "mount elsewhere"
    return "", ""


def _pid_max(failure: Failure) -> Explanation:
    if failure.errno == EINVAL:
        return "the kernel takes 301 to 4194304", "choose another limit"
    if failure.errno in (ENOENT, EACCES):
        return "/proc/sys is not there, or read-only", "mount_proc=True gives the namespace its own"
    return "", ""


def _clock(failure: Failure) -> Explanation:
    if failure.errno == ERANGE:
        return "a clock would become negative, or too large", "choose a smaller offset (time_namespaces(7))"
    if failure.errno == ENOENT:
        return "this kernel has no time namespaces, or /proc is not mounted", "leave the offsets out"
    return "", ""


def _descriptors(failure: Failure) -> Explanation:
    if failure.errno == EBADF:
        return "it is not open in the caller", "pass a descriptor that is open"
    if failure.errno == EMFILE:
        return "the limit of open descriptors is reached", "raise RLIMIT_NOFILE"
    return "", ""


def _terminal(failure: Failure) -> Explanation:
    if failure.errno == ENOTTY:
        return "standard input is no terminal", "give it a terminal, as os.openpty makes it"
    return "", "start a new session, and use a terminal that no other session controls"


def _ids(failure: Failure) -> Explanation:
    if failure.errno == EINVAL:
        return "the id has no meaning in the new user namespace", "map it: map_users, map_groups"
    if failure.errno == EPERM:
        return "the caller lacks the capability, or setgroups is denied in the new user namespace", (
            "run as root, or map the ids; setgroups='allow' needs CAP_SETGID outside"
        )
    return "", ""


def _rlimit(failure: Failure) -> Explanation:
    if failure.errno == EPERM:
        return evidence.own_limit(failure.call.split()[1].strip(",")), (
            "stay below it; above it takes CAP_SYS_RESOURCE outside of any user namespace, and RLIMIT_NOFILE also a "
            "higher fs.nr_open"
        )
    return "", ""


def _cgroup(failure: Failure) -> Explanation:
    if failure.errno == EAGAIN:
        return "the cgroup above has reached a limit of cgroups (cgroup.max.descendants, cgroup.max.depth)", (
            "look for cgroups that were left behind"
        )
    if failure.errno in _DENIED:
        return "the cgroup has been handed to somebody else, or is read-only", (
            "systemd-run --user --scope -p Delegate=yes starts a program in one of its own"
        )
    return "", ""


def _prepare(failure: Failure) -> Explanation:
    if failure.errno == EMFILE:
        return "the limit of open descriptors is reached", "raise RLIMIT_NOFILE, or close some"
    return "nothing has been started yet", ""


def _plan(_: Failure) -> Explanation:
    return "", "this is a bug in nsbox: the two halves of it do not fit together; please report it"


_STEPS: dict[str, Callable[[Failure], Explanation]] = {
    "prepare": _prepare,
    "clone": _clone,
    "fork": _clone,
    "unshare": _clone,
    "unshare time": _clone,
    "exec init": _exec_init,
    "setgroups": _maps,
    "gid_map": _maps,
    "uid_map": _maps,
    "propagation": _mount,
    "mount proc": _mount,
    "root": _mount,
    "bind": _mount,
    "tmpfs": _mount,
    "overlay": _mount,
    "proc": _mount,
    "pivot root": _mount,
    "pid_max": _pid_max,
    "clock offsets": _clock,
    "descriptors": _descriptors,
    "controlling terminal": _terminal,
    "set groups": _ids,
    "setgid": _ids,
    "setuid": _ids,
    "rlimit": _rlimit,
    "cgroup": _cgroup,
    "join cgroup": _cgroup,
    "plan": _plan,
}
