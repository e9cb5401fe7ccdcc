"""Grade a firewall between two networks: which connections are made, and which are not.

    inside 10.1.0.2 --- 10.1.0.1 eth0 [router] eth1 10.2.0.1 --- 10.2.0.2 outside

A connection that must be refused counts only if one that must be allowed was made, by the same hosts.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import nsbox
import pytest
from nsbox.grading import Submission

ALLOWED_SECONDS = 10
"""How long an allowed connection may take, on a busy machine."""
REFUSED_SECONDS = 2
"""After this time a connection attempt counts as refused: a firewall may drop packets without an answer."""
WEB, TELNET, SSH = 80, 23, 22
ROUTER_INSIDE, INSIDE = "10.1.0.1", "10.1.0.2"
ROUTER_OUTSIDE, OUTSIDE = "10.2.0.1", "10.2.0.2"


@dataclass(frozen=True)
class Network:
    """The three hosts, after the script has run on the router."""

    submission: Submission
    inside: nsbox.Box
    outside: nsbox.Box

    @property
    def router(self) -> nsbox.Box:
        """The host between the networks."""
        return self.submission.box

    def connects(self, client: nsbox.Box, server: nsbox.Box, address: str, port: int, seconds: float) -> bool:
        """Return whether a connection is made, and the server sees it."""
        with server.socket() as listener, client.socket() as sender:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("0.0.0.0", port))
            listener.listen()
            sender.settimeout(seconds)
            try:
                sender.connect((address, port))
            except OSError:
                return False
            listener.settimeout(seconds)
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"hello")
                with contextlib.suppress(OSError):
                    return sender.recv(100) == b"hello"
            return False

    def allows(self, client: nsbox.Box, server: nsbox.Box, address: str, port: int) -> None:
        """Assert that a connection is made."""
        __tracebackhide__ = True
        if not self.connects(client, server, address, port, ALLOWED_SECONDS):
            pytest.fail(f"no connection to port {port} of {address} was made; it has to be allowed")

    def refuses(self, client: nsbox.Box, server: nsbox.Box, address: str, port: int) -> None:
        """Assert that no connection is made."""
        __tracebackhide__ = True
        if self.connects(client, server, address, port, REFUSED_SECONDS):
            pytest.fail(f"a connection to port {port} of {address} was made; it has to be refused")


@pytest.fixture(scope="module")
def network(open_submission: Callable[..., AbstractContextManager[Submission]]) -> Iterator[Network]:
    """Connect three hosts, and run the script of the submission on the router."""
    pytest.importorskip("pyroute2", reason="to connect hosts, nsbox needs pyroute2: pip install 'nsbox[net]'")
    with open_submission(namespaces=True, seconds=20) as submission:
        router = submission.box
        with host(submission, "inside") as inside, host(submission, "outside") as outside:
            nsbox.connect(inside, router, addresses=[(f"{INSIDE}/24", f"{ROUTER_INSIDE}/24")])
            nsbox.connect(router, outside, addresses=[(f"{ROUTER_OUTSIDE}/24", f"{OUTSIDE}/24")])
            inside.run(["ip", "route", "add", "default", "via", ROUTER_INSIDE], check=True)
            outside.run(["ip", "route", "add", "default", "via", ROUTER_OUTSIDE], check=True)
            submission.run(["bash", "firewall.sh"])
            yield Network(submission, inside, outside)


def host(submission: Submission, name: str) -> nsbox.Box:
    """Make a host, in which no program of the submission runs."""
    return submission.outer.Box("user mount pid net uts", map_root_user=True, hostname=name, cwd="/")


@pytest.mark.points(3)
def test_web_is_forwarded(network: Network) -> None:
    """From inside, web servers outside can be reached."""
    network.allows(network.inside, network.outside, OUTSIDE, WEB)


@pytest.mark.points(2)
@pytest.mark.requires("test_web_is_forwarded")
def test_telnet_is_refused(network: Network) -> None:
    """From inside, no other port outside can be reached."""
    network.refuses(network.inside, network.outside, OUTSIDE, TELNET)


@pytest.mark.points(2)
@pytest.mark.requires("test_web_is_forwarded")
def test_inside_is_closed(network: Network) -> None:
    """From outside, nothing inside can be reached."""
    network.refuses(network.outside, network.inside, INSIDE, WEB)
    network.refuses(network.outside, network.inside, INSIDE, SSH)


@pytest.mark.points(2)
@pytest.mark.requires("test_web_is_forwarded")
def test_router_is_closed(network: Network) -> None:
    """From outside, the router itself cannot be reached, by neither of its addresses."""
    network.refuses(network.outside, network.router, ROUTER_OUTSIDE, SSH)
    network.refuses(network.outside, network.router, ROUTER_INSIDE, SSH)


@pytest.mark.points(1)
@pytest.mark.requires("test_router_is_closed")
def test_router_is_open_from_inside(network: Network) -> None:
    """From inside, the router can be reached by ssh."""
    network.allows(network.inside, network.router, ROUTER_INSIDE, SSH)
