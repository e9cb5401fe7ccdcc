"""Tries to write where it must not, and to read what is hidden.

Arguments: a directory that is read-only, a file that is hidden, and a directory that it may write to.
"""

import os
import sys
from collections.abc import Callable

protected, secret, allowed = sys.argv[1:]


def attempt(what: str, function: Callable[..., object], *arguments: object) -> None:
    """Print what succeeds."""
    try:
        found = function(*arguments)
    except (OSError, ValueError) as error:
        print(what, "failed:", error)
    else:
        print("OUT", what, found)


def write(path: str) -> str:
    with open(path, "a") as file:
        file.write("out\n")
    return path


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


name = "planted"
links = os.path.join(allowed, "links")
os.mkdir(links)
os.symlink(protected, os.path.join(links, "protected"))
os.symlink(secret, os.path.join(links, "secret"))

# By every path that leads to the read-only directory.
attempt("write", write, os.path.join(protected, name))
attempt("write by the working directory", write, name)
attempt("write by a link", write, os.path.join(links, "protected", name))
attempt("write by ..", write, os.path.join(allowed, "..", name))
attempt("write to /usr", write, f"/usr/{name}")
attempt("write to /etc", write, f"/etc/{name}")
attempt("chmod", os.chmod, protected, 0o700)
attempt("rename", os.rename, protected, protected + "-moved")
# By links of /proc, which are references and no paths.
for process in ("self", "1", str(os.getppid()), "thread-self"):
    for link in ("cwd", "root"):
        below = name if link == "cwd" else protected.lstrip("/") + "/" + name
        attempt(f"write by {process}/{link}", write, f"/proc/{process}/{link}/{below}")
        attempt(f"read by {process}/{link}", read, f"/proc/{process}/{link}/{secret.lstrip('/')}")
for number in range(3, 256):
    for target in (f"/proc/self/fd/{number}/{name}", f"/proc/self/fd/{number}/{protected.lstrip('/')}/{name}"):
        if os.path.exists(os.path.dirname(target)):
            attempt(f"write by descriptor {number}", write, target)
# What is hidden.
attempt("read", read, secret)
attempt("read by a link", read, os.path.join(links, "secret"))
attempt("read relative", read, os.path.relpath(secret))
attempt("list", os.listdir, os.path.dirname(secret))
# What it may do.
write(os.path.join(allowed, name))
