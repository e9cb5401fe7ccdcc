"""Options about names and networks: host name, files in /etc, addresses, ports."""

from __future__ import annotations

import shlex

from nsbox.command.engines.container import Container, Setting

__all__ = ["address", "domainname", "etc", "hostname", "link", "publish"]


def hostname(container: Container, option: str, value: str) -> None:
    """Set the host name."""
    container.python["hostname"] = value
    container.step(
        "names",
        "hostname",
        f'sethostname("{value}")',
        f"hostname {shlex.quote(value)}",
        "sethostname(2)",
        f"--{option}={value}: of the new UTS namespace",
    )


def domainname(container: Container, option: str, value: str) -> None:
    """Set the domain name."""
    container.python["domainname"] = value
    container.step(
        "names",
        "domainname",
        f'setdomainname("{value}")',
        f"domainname {shlex.quote(value)}",
        "setdomainname(2)",
        f"--{option}={value}: of the new UTS namespace",
    )


def etc(file: str, line: str) -> Setting:
    """Return what adds a line to a file in /etc that the engine writes."""

    def read(container: Container, option: str, value: str) -> None:
        text = line.format(value.replace(":", " ") if file == "hosts" else value)
        container.step(
            "mounts",
            f"/etc/{file}",
            f'mount("FILE", "/etc/{file}", NULL, MS_BIND, NULL)',
            f"echo {shlex.quote(text)} >> FILE; mount --bind FILE /etc/{file}",
            "mount(2)",
            f"--{option}={value}: a file that the engine writes is mounted over the image's",
        )

    return read


def address(what: str, command: str) -> Setting:
    """Return what sets an address of the interface."""

    def read(container: Container, option: str, value: str) -> None:
        container.step(
            "network",
            what,
            "rtnetlink(7)",
            command.format(value),
            "ip-address(8)",
            f"--{option}={value}: on the end of the veth pair that is in the network namespace; "
            "in nsbox: VethEnd, connect",
        )

    return read


def publish(container: Container, option: str, value: str) -> None:
    """Forward a port of the machine."""
    container.step(
        "network",
        "port",
        "nftables, or a proxy in the engine's network namespace",
        "nft add rule ip nat PREROUTING tcp dport HOST-PORT dnat to ADDRESS:PORT",
        "nft(8)",
        f"--{option}{f'={value}' if value else ''}: outside, packets are forwarded to the container; "
        "nsbox has no such option: with connect, the address of the box is reached directly",
    )


def link(container: Container, option: str, value: str) -> None:
    """Make a container known by a name."""
    container.step(
        "network",
        "names",
        "write to /etc/hosts, or the engine's DNS server",
        "",
        "hosts(5)",
        f"--{option}={value}: by this name other containers are found in a network of the engine",
    )
