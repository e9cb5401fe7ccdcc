"""Options that choose namespaces: a new one, that of the machine, or that of another container."""

from __future__ import annotations

from nsbox.command.engines import values
from nsbox.command.engines.container import Container, Setting
from nsbox.command.options import UsageError
from nsbox.spec.nearest import did_you_mean

__all__ = ["id_map", "namespace", "network", "user_namespace"]


def namespace(kind: str, own: tuple[str, ...], others: tuple[str, ...] = ()) -> Setting:
    """Return what reads the mode of a namespace.

    Args:
        kind: Its kind.
        own: Words for a new one; `host` stands for the caller's.
        others: Words with a name, such as ``container:NAME``.
    """

    def read(container: Container, option: str, value: str) -> None:
        words = (*own, "", "host")
        prefixes = (*others, "ns", "container") if container.engine == "podman" else others
        word, name = values.mode_of(option, value, words, dict.fromkeys(prefixes))
        container.options.setdefault(kind, []).append(f"--{option}={value}")
        container.joined.pop(kind, None)
        container.new.add(kind)
        if word == "host":
            container.new.discard(kind)
        elif word in ("container", "ns"):
            container.new.discard(kind)
            container.joined[kind] = name if word == "ns" else f"container:{name}"

    return read


def network(container: Container, option: str, value: str) -> None:
    """Choose the network namespace, and the network of the engine."""
    word, _, name = value.partition(":")
    container.options.setdefault("net", []).append(f"--{option}={value}")
    container.joined.pop("net", None)
    container.new.add("net")
    if word == "host":
        container.new.discard("net")
    elif (word == "container" and name) or (word == "ns" and container.engine == "podman" and name):
        container.new.discard("net")
        container.joined["net"] = name if word == "ns" else f"container:{name}"
    container.python.pop("_network", None)
    container.python["_network"] = value


def user_namespace(container: Container, option: str, value: str) -> None:
    """Choose the user namespace."""
    words = ("host", "") if container.engine == "docker" else ("host", "", "private", "keep-id", "auto", "nomap")
    word, _, name = value.partition(":")
    container.options.setdefault("user", []).append(f"--{option}={value}")
    if container.engine == "podman" and word in ("ns", "container") and name:
        container.joined["user"] = name if word == "ns" else f"container:{name}"
        container.new.discard("user")
        return
    if word not in words:
        raise UsageError(
            f"--{option}: expected {', '.join(filter(None, words))}, got '{value}'{did_you_mean(word, words)}"
        )
    if word == "host":
        if not container.rootless:
            container.new.discard("user")
    elif word:
        container.new.add("user")
        container.python["_userns"] = word


def id_map(which: str) -> Setting:
    """Return what maps ids in a new user namespace; an empty text: names whose ranges are mapped."""

    def read(container: Container, option: str, value: str) -> None:
        container.new.add("user")
        container.options.setdefault("user", []).append(f"--{option}={value}")
        if which:
            parts = value.split(":")
            if len(parts) not in (2, 3) or not all(part.lstrip("+@ug").isdecimal() for part in parts):
                raise UsageError(f"--{option}: expected INSIDE:OUTSIDE:COUNT, got '{value}'")
            container.unshare.append(f"--map-{which}={':'.join([*parts, '1'][:3])}")

    return read
