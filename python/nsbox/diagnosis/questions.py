"""The questions of `doctor`, quick ones first. Each answer is concluded from the evidence; the last from a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from errno import ENOSYS, EPERM
from typing import Literal

from nsbox.diagnosis.causes import CAUSES, FailedStep
from nsbox.diagnosis.causes.policy import docker_profile, filtered, restricted, selinux
from nsbox.diagnosis.causes.proc import hidden_proc
from nsbox.diagnosis.evidence import Evidence, IdMapProgram
from nsbox.records.diagnosis import Answer, Trial
from nsbox.spec.kinds import KINDS

__all__ = ["answers"]


_Verdict = tuple[Literal["fine", "note", "problem"], str, str]


def answers(evidence: Evidence, parts: Mapping[str, Trial], chain: Trial) -> tuple[Answer, ...]:
    """Answer all of them.

    Args:
        evidence: What is known about the machine.
        parts: The results of trying each part of `harden`.
        chain: The result of trying everything at once.
    """
    found = [(question, ask(evidence)) for question, ask in _QUESTIONS]
    found.append(("Which parts of harden work here?", _parts(parts)))
    found.append(("Does all of it work together?", _together(chain)))
    return tuple(Answer(number, question, *verdict) for number, (question, verdict) in enumerate(found, 1))


def _fine(answer: str) -> _Verdict:
    return "fine", answer, ""


def _note(answer: str, remedy: str = "") -> _Verdict:
    return "note", answer, remedy


def _problem(name: str, evidence: Evidence, answer: str, **found: str) -> _Verdict:
    cause = CAUSES[name]
    return "problem", answer, cause.hint(evidence, {**cause.example, **found})


def _linux(evidence: Evidence) -> _Verdict:
    found = CAUSES["not-linux"].find(FailedStep(0, "clone"), evidence)
    if found is not None:
        return _problem("not-linux", evidence, f"no: this is {found['place']}")
    version = " ".join(evidence.system.split()[:3])
    if "colab" in evidence.places:
        return _note(f"{version}, in Google Colab, which allows little of it")
    return _fine(version)


def _kinds(evidence: Evidence) -> _Verdict:
    if evidence.kinds is None:
        return _note("cannot be seen: there is no /proc", "as root: mount -t proc proc /proc")
    missing = ", ".join(kind for kind in KINDS if kind not in evidence.kinds)
    if missing:
        return _problem("missing-kind", evidence, f"not all: {missing} is missing", kinds=missing)
    return _fine(f"all {len(KINDS)}: {', '.join(KINDS)}")


def _capability(evidence: Evidence) -> _Verdict:
    if evidence.has("CAP_SYS_ADMIN"):
        answer = "yes: namespaces can be made without a user namespace"
        if evidence.uid == 0:
            answer += (
                ". Root inside is then root outside, and also where a user namespace maps 0 to 0. A program with user= "
                "keeps group 0 and the supplementary groups, unless group= and extra_groups= are given"
            )
        return _fine(answer)
    if evidence.uid == 0:
        return _note(
            "no, although this is root: a container, for example, was started without it. "
            "All other namespaces need a new user namespace here"
        )
    return _note(f"no: user {evidence.uid} needs a new user namespace for all others, which nsbox adds by itself")


def _seccomp(evidence: Evidence) -> _Verdict:
    if sign := filtered(evidence):
        return _problem("seccomp-filter", evidence, f"yes: {sign}")
    refused = [name for name in ("mount", "execveat") if getattr(evidence, name) in (EPERM, ENOSYS)]
    if refused:
        return _problem("seccomp-filter", evidence, f"not namespaces, but {' and '.join(refused)}")
    if evidence.clone3 == ENOSYS:
        return _note("no; a filter refuses clone3 only, and clone(2) does the same")
    if evidence.seccomp[0] == "2":
        return _fine(f"no: there is a filter (number: {evidence.seccomp[1] or 'unknown'}), but it allows them")
    return _fine("no: there is no filter")


def _limits(evidence: Evidence) -> _Verdict:
    zero = [kind for kind, limit in evidence.limits.items() if limit == 0]
    if zero:
        names = [f"user.max_{KINDS[kind].link}_namespaces" for kind in zero]
        return _problem("limit-zero", evidence, f"yes: {', '.join(names)} is 0",
                        settings=" ".join(f"{name}=15000" for name in names))  # fmt: skip
    if not evidence.limits:
        return _note("cannot be seen: there is no /proc/sys/user")
    lowest = min(evidence.limits, key=lambda kind: evidence.limits[kind])
    outer = (
        "" if evidence.initial_user_namespace else "; outer user namespaces may have lower ones, which cannot be seen"
    )
    return _fine(f"no: the lowest limit is {evidence.limits[lowest]}, for {lowest} namespaces{outer}")


def _switches(evidence: Evidence) -> _Verdict:
    privileged = evidence.has("CAP_SYS_ADMIN")
    if evidence.apparmor_restrict == "1":
        answer = "Ubuntu's rule is on: an ordinary user has no rights in its new user namespaces"
        if restricted(evidence):
            return _problem("ubuntu-apparmor", evidence, answer)
        return _note(f"{answer}; it does not concern root")
    if evidence.unprivileged_userns_clone == "0":
        answer = "user namespaces are switched off for ordinary users"
        if not privileged:
            return _problem("userns-switched-off", evidence, answer)
        return _note(f"{answer}; it does not concern root")
    return _fine("no")


def _security_module(evidence: Evidence) -> _Verdict:
    if evidence.landlock:
        return _problem("landlock", evidence, f"yes: Landlock ({evidence.landlock}), which forbids all mounts")
    if docker_profile(evidence):
        return _note(f"AppArmor, by the profile {evidence.label!r}: it may refuse mounts, with EACCES",
                     CAUSES["apparmor-profile"].hint(evidence, {}))  # fmt: skip
    if selinux(evidence):
        return _note(f"SELinux, as {evidence.label!r}: it refuses with EACCES")
    if evidence.label:
        return _note(f"a security module, as {evidence.label!r}")
    return _fine("no")


def _threads(evidence: Evidence) -> _Verdict:
    if len(evidence.threads) <= 1:
        return _fine("no")
    names = ", ".join(sorted(set(evidence.threads)))
    return _note(
        f"yes, {len(evidence.threads)} ({names}): this process itself cannot join a user or time namespace. "
        "Programs that nsbox starts can"
    )


def _chroot(evidence: Evidence) -> _Verdict:
    if evidence.root_is_mount is False:
        return _problem("chroot", evidence, "yes: / is no mount point")
    if evidence.root_is_mount is None:
        return _note("cannot be seen: there is no /proc")
    return _fine("no: / is a mount point")


def _masked(evidence: Evidence) -> _Verdict:
    hidden = hidden_proc(evidence)
    if not evidence.procs:
        return _note("no proc is mounted at all", "as root: mount -t proc proc /proc")
    if evidence.pid_depth != 1 and any(proc.target == "/proc" for proc in evidence.procs):
        remedy = CAUSES["other-proc"].hint(evidence, {})
        if evidence.pid_depth == 0:
            return _problem("other-proc", evidence, "yes, this process: /proc belongs to another PID namespace")
        return _note("no, but /proc belongs to an outer PID namespace: its numbers are others than for kill(2)", remedy)
    if not hidden:
        return _fine("no: /proc is whole")
    answer = f"yes: {', '.join(hidden[:6])}{' ...' if len(hidden) > 6 else ''}"
    if evidence.has("CAP_SYS_ADMIN"):
        return _note(
            f"{answer}; in a user namespace no new proc can be mounted", CAUSES["masked-proc"].hint(evidence, {})
        )
    return _problem("masked-proc", evidence, answer)


def _propagation(evidence: Evidence) -> _Verdict:
    if "shared" in evidence.propagation:
        return _fine("yes, / is shared: nsbox makes all mounts private first; with nsbox.raw you must do that yourself")
    return _fine("no, / is not shared")


def _unshared_pid(evidence: Evidence) -> _Verdict:
    match evidence.children_born_into:
        case "own":
            return _fine("no")
        case "dead":
            return _problem("dead-pid-namespace", evidence, "yes, and its PID 1 has ended: no process can be started")
        case "unborn" | "alive":
            return _problem("moved-pid-namespace", evidence, "yes: its children are in another PID namespace")
    return _note("cannot be seen")


def _id_ranges(evidence: Evidence) -> _Verdict:
    if evidence.has("CAP_SETUID") and evidence.has("CAP_SETGID"):
        return _fine("yes: this process may write any map itself")
    problems = [_fault("newuidmap", evidence.newuidmap), _fault("newgidmap", evidence.newgidmap)]
    problems += [
        f"no line for this user in /etc/{name}"
        for name, line in (("subuid", evidence.subuid), ("subgid", evidence.subgid))
        if not line
    ]
    problems += ["no_new_privs is set, with which they get no rights"] if evidence.no_new_privs else []
    if found := "; ".join(filter(None, problems)):
        return _note(f"no: {found}. A map of the caller's own id works without",
                     "for ranges: install the package uidmap, and add the lines with usermod --add-subuids and "
                     "--add-subgids")  # fmt: skip
    return _fine(f"yes: {evidence.newuidmap.path}, with {evidence.subuid} and {evidence.subgid}")


def _fault(name: str, program: IdMapProgram) -> str:
    if not program.path:
        return f"{name} is not installed"
    return "" if program.privileged else f"{program.path} is not setuid"


def _parts(trials: Mapping[str, Trial]) -> _Verdict:
    failed = {part: trial for part, trial in trials.items() if not trial.works}
    if not failed:
        return _fine(f"all that a machine can lack: {', '.join(trials)}")
    answer = "; ".join(f"{part} does not: {trial.why}" for part, trial in failed.items())
    return "problem", answer, next(iter(failed.values())).remedy or 'use harden="best"'


def _together(trial: Trial) -> _Verdict:
    if trial.works:
        return _fine("yes: all namespaces, maps, private mounts, a new proc and the loopback interface")
    return "problem", f"no: {trial.step or 'plan'}: {trial.why}", trial.remedy


_QUESTIONS: tuple[tuple[str, Callable[[Evidence], _Verdict]], ...] = (
    ("Is this Linux itself?", _linux),
    ("Does the kernel have all kinds of namespaces?", _kinds),
    ("Does this process have CAP_SYS_ADMIN?", _capability),
    ("Does a seccomp filter refuse namespaces?", _seccomp),
    ("Are namespaces switched off by a limit?", _limits),
    ("Does the distribution restrict user namespaces?", _switches),
    ("Does a security module confine this process?", _security_module),
    ("Does this process have several threads?", _threads),
    ("Is it in a chroot?", _chroot),
    ("Are parts of /proc hidden?", _masked),
    ("Could mounts made here spread?", _propagation),
    ("Has this process unshared its PID namespace?", _unshared_pid),
    ("Can ranges of ids be mapped?", _id_ranges),
)
