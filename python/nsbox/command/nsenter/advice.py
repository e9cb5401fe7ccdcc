"""The most similar call of nsbox for a command line of nsenter(1), and notes about it."""

from __future__ import annotations

from collections.abc import Iterator

from nsbox import _core
from nsbox.command.nsenter.request import FOLLOW, Entry
from nsbox.command.nsenter.steps import in_own_user_namespace, joined
from nsbox.spec.capabilities import has_capability

__all__ = ["notes_of", "python_of"]


def python_of(entry: Entry) -> str:
    """Return the most similar call of nsbox; empty where there is none."""
    files = [path for path in entry.kinds.values() if path is not None]
    kinds = " ".join(kind for kind, path in entry.kinds.items() if path is None)
    follows = FOLLOW in (entry.uid, entry.gid)
    special = entry.env or entry.join_cgroup or entry.user_parent or entry.net_socket is not None or follows
    if special or (entry.everything and files):
        return ""
    targets = [f"{entry.target}, {None if entry.everything else kinds!r}"] if entry.everything or kinds else []
    targets += [f"{path!r}, None" for path in files]
    if not entry.program:
        return ""
    places = {"root": entry.root, "wd": entry.wd}
    options = [f"{name}={value or True!r}" for name, value in places.items() if value is not None]
    options += ["preserve_credentials=True"] if entry.preserve_credentials else []
    others = ["keep_caps=True"] if entry.keep_caps else []
    others += ["fork=False"] if entry.fork is False and "pid" in joined(entry) else []
    others += [] if entry.wdns is None else [f"cwd={entry.wdns!r}"]
    others += [] if entry.uid is None else [f"user={entry.uid}"]
    others += [] if entry.gid is None else [f"group={entry.gid}"]
    # Where a user namespace is joined, nsbox drops the groups if it may, without this option.
    others += [] if entry.gid is None or "user" in joined(entry) else ["extra_groups=[]"]
    program = repr(list(entry.program))
    if len(targets) == 1:
        return f"nsbox.enter({', '.join([*targets, program, *options, *others])})"
    first, *more = targets
    joins = [f"nsbox.Join({', '.join([first, *options])})", *(f"nsbox.Join({target})" for target in more)]
    arguments = [program, "unshare=''", f"join=[{', '.join(joins)}]", *others]
    return f"nsbox.run({', '.join(arguments)})"


def notes_of(entry: Entry) -> Iterator[str]:
    """Yield notes on effects of these options that readers may not expect."""
    kinds = joined(entry)
    if entry.everything and "user" not in entry.kinds and in_own_user_namespace(entry.target) is None:
        yield (
            f"the caller cannot see whether process {entry.target} is in its own user namespace; if it is, that one is "
            "not joined, and the ids stay the same"
        )
    if "pid" in kinds and "mount" not in kinds:
        yield "ps and /proc show the same as before: proc is a mount; --mount joins the mounts of the target"
    if "pid" in kinds and kinds["pid"] is None:
        yield "--pid joins the PID namespace of the target itself, not one that the target has made for its children"
    if "pid" in kinds and entry.fork is False:
        yield "with --no-fork the program stays outside of the PID namespace; only its children are in it"
    if "mount" in kinds and (entry.root, entry.wd, entry.wdns) == (None, None, None):
        yield "the working directory is the root of the joined mount namespace, unless --wd or --wdns sets it"
    if ("user" in kinds or entry.user_parent) and not entry.preserve_credentials:
        yield (
            "in the user namespace the program is root, unless --setuid or --setgid sets its ids; where the id is not "
            "mapped, that fails"
        )
        if not has_capability(_core.facts().effective, "CAP_SETGID"):
            yield (
                'an ordinary user cannot drop its groups outside, nor inside where setgroups is "deny", as after '
                "unshare -r; --preserve-credentials keeps them"
            )
