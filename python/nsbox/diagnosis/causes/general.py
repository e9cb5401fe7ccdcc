"""Why any step can fail: limits of the process, lack of memory, a path, an old kernel, or a rule without a trace."""

from __future__ import annotations

from errno import ELOOP, EMFILE, ENAMETOOLONG, ENFILE, ENOBUFS, ENOMEM, ENOSYS

from nsbox.diagnosis.causes.cause import ALL_STEPS, DENIED, Cause, always, never

__all__ = ["GENERAL"]

# Not those whose failures are reported in another way (`nsbox.diagnosis.step_errors.WITHOUT_CAUSE`).
_STEPS = ALL_STEPS - {"exec", "unmount proc", "cwd"}

GENERAL = (
    Cause(
        name="unknown-call",
        title="The kernel does not know the system call",
        steps=_STEPS,
        errnos=frozenset({ENOSYS}),
        find=always,
        why="the kernel does not know this system call, or a filter for system calls (seccomp) returns that error",
        remedy="use Linux 5.12 or newer (uname -r prints which it is), outside of any container or sandbox",
        meaning="nsbox uses system calls that came with Linux up to 5.12. Filters of older containers refuse those "
        "they do not know.",
        manual="syscalls(2), seccomp(2)",
    ),
    Cause(
        name="descriptor-limit",
        title="The limit of open files is reached",
        steps=_STEPS,
        errnos=frozenset({EMFILE, ENFILE}),
        find=always,
        why="the limit of open files is reached, of the caller (RLIMIT_NOFILE) or of nsbox-init, which keeps the limit "
        "that the caller had when it made the box",
        remedy="close some files, or raise the limit before you start: ulimit -n $(ulimit -Hn)",
        meaning="Every open file, pipe and socket of a process has a number. Their count is limited.",
        manual="getrlimit(2)",
    ),
    Cause(
        name="too-many-links",
        title="The path leads through too many symbolic links",
        steps=_STEPS,
        errnos=frozenset({ELOOP}),
        find=always,
        why="the path leads through more than 40 symbolic links, such as a link that leads to itself",
        remedy="find the link: namei -l PATH shows each part of the path; then correct it: ln -sfn TARGET LINK",
        meaning="The kernel follows at most 40 symbolic links in a path.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="name-too-long",
        title="The path is too long",
        steps=_STEPS,
        errnos=frozenset({ENAMETOOLONG}),
        find=always,
        why="the path has more than 4095 bytes, or a name in it has more than 255",
        remedy="use a shorter path: a bind mount (mount --bind LONG SHORT) or a symbolic link gives a second one",
        meaning="The kernel and the file systems limit the length of names.",
        manual="path_resolution(7)",
    ),
    Cause(
        name="out-of-memory",
        title="Memory is short",
        steps=_STEPS | {"exec"},
        errnos=frozenset({ENOMEM, ENOBUFS}),
        find=never,
        why="memory is short",
        remedy="end programs that take much memory (top shows them), or raise the limit of the cgroup (docker run "
        "--memory); `sudo dmesg` may show more",
        meaning="The kernel got no memory, or a limit of the cgroup or of the process (RLIMIT_DATA) is reached.",
        manual="cgroups(7), getrlimit(2)",
        traceless=lambda _, evidence: evidence.children_born_into != "dead",
        last=True,
    ),
    Cause(
        name="no-trace",
        title="Something that leaves no trace forbids it, such as a security module",
        steps=_STEPS,
        errnos=DENIED,
        find=never,
        why="it is forbidden",
        remedy="run nsbox doctor, which tries each step by itself; then try the same outside of any container and "
        "sandbox",
        meaning="A filter for system calls can refuse single arguments, and security modules need not report what they "
        "forbid. Then the evidence does not show what refused.",
        manual="seccomp(2), credentials(7)",
        traceless=lambda _, __: True,
        last=True,
    ),
)
