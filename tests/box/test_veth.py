"""Boxes whose network namespaces are connected, and sockets that are made in a box for the caller."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import nsbox
import pyroute2.netlink.rtnl.ifaddrmsg
import pyroute2.netlink.rtnl.ifinfmsg  # noqa: F401 - imported before a child becomes a user who could not import it
import pytest
from nsbox import Box, SpecError, connect
from nsbox.box import netlink, veth

from tests.support.forked import Who
from tests.support.interrupt import interrupted_at

FIRST, SECOND = "10.0.0.1", "10.0.0.2"
OURS = {veth.__file__, netlink.__file__}
HAS_IPV6 = os.path.exists("/proc/sys/net/ipv6")


def interfaces(box: Box) -> list[str]:
    """Return the names of the interfaces in a box."""
    with box.open("/proc/self/net/dev") as file:
        return sorted(line.split(b":")[0].strip().decode() for line in file.read().splitlines() if b":" in line)


def listening(box: Box, address: str, family: int = socket.AF_INET) -> socket.socket:
    """Return a server in a box."""
    server = box.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, 80))
    server.listen()
    server.settimeout(20)
    return server


def exchange(server: socket.socket, client: socket.socket) -> str:
    """Return the client's address as the server sees it, after data has been sent."""
    with server, client:
        client.settimeout(20)
        client.connect(server.getsockname()[:2])
        connection, peer = server.accept()
        with connection:
            connection.sendall(b"hello")
            connection.shutdown(socket.SHUT_WR)
            assert client.makefile("rb").read() == b"hello"
    return str(peer[0])


def checksum(data: bytes) -> int:
    """Return the checksum of ICMP (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_sockets(who: Who) -> None:
    """TCP and UDP, IPv4 and IPv6, work from the first datagram on."""

    def check() -> None:
        with Box("n") as a, Box("n") as b, connect(a, b) as pair:
            assert (pair.a.address, pair.b.address) == (FIRST, SECOND)
            with b.socket(type=socket.SOCK_DGRAM) as inside, a.socket(type=socket.SOCK_DGRAM) as sender:
                inside.bind((SECOND, 53))
                inside.settimeout(20)
                sender.sendto(b"first", (SECOND, 53))
                assert inside.recvfrom(100)[0] == b"first"
            assert exchange(listening(b, SECOND), a.socket()) == FIRST
            assert exchange(listening(a, FIRST), b.socket()) == SECOND
            if HAS_IPV6:
                assert [str(one) for one in pair.b.addresses] == ["10.0.0.2/24", "fd00::2/64"]
                assert exchange(listening(b, "fd00::2", socket.AF_INET6), a.socket(socket.AF_INET6)) == "fd00::1"

    who(check)


def test_programs(who: Who) -> None:
    """A program in one box reaches a server in the other."""

    def check() -> None:
        with Box("mipn") as a, Box("mipn") as b, connect(a, b), listening(b, SECOND) as server:
            command = ["bash", "-c", f"exec 3<>/dev/tcp/{SECOND}/80; cat <&3"]
            with a.Popen(command, stdout=subprocess.PIPE) as program:
                connection, peer = server.accept()
                with connection:
                    connection.sendall(b"hello from b")
                assert program.communicate(timeout=20)[0] == b"hello from b"
            assert peer[0] == FIRST

    who(check)


def test_ping(who: Who) -> None:
    """The other box's kernel replies, by a raw socket, and with ping(8) where that is installed."""

    def check() -> None:
        with Box("n") as a, Box("n") as b, connect(a, b):
            with a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
                raw.settimeout(20)
                request = struct.pack("!BBHHH", 8, 0, 0, 77, 1)
                raw.sendto(request[:2] + struct.pack("!H", checksum(request)) + request[4:], (SECOND, 0))
                answer, (sender, _) = raw.recvfrom(100)
            assert (sender, answer[20], answer[24:28]) == (SECOND, 0, request[4:8])
            if shutil.which("ping"):
                a.run(["ping", "-c", "1", "-W", "10", SECOND], check=True, stdout=subprocess.DEVNULL)

    who(check)


def test_a_row_of_three(who: Who) -> None:
    """By default names and networks are new in both boxes, so that the one in the middle reaches both others."""

    def check() -> None:
        with Box("n") as a, Box("n") as b, Box("n") as c, connect(a, b) as left, connect(b, c) as right:
            assert (left.b.name, right.a.name, right.b.name) == ("eth0", "eth1", "eth0")
            assert (right.a.address, right.b.address) == ("10.0.1.1", "10.0.1.2")
            assert interfaces(b) == ["eth0", "eth1", "lo"]
            assert exchange(listening(c, "10.0.1.2"), b.socket()) == "10.0.1.1"
            assert exchange(listening(a, FIRST), b.socket()) == SECOND

    who(check)


def test_inside_another_box(who: Who) -> None:
    """Boxes in a box can be connected, with and without a user namespace of their own, also to the outer one."""

    def check() -> None:
        with Box("mipn") as outer, outer.Box("n") as a, outer.Box("nU") as b:
            with connect(a, b):
                assert exchange(listening(b, SECOND), a.socket()) == FIRST
            with connect(outer, b):
                assert exchange(listening(b, SECOND), outer.socket()) == FIRST

    who(check)


def test_options(who: Who) -> None:
    """Addresses and names are as asked for; without addresses the interfaces are only up."""

    def check() -> None:
        with Box("n") as a, Box("n") as b:
            with connect(a, b, addresses=[("192.0.2.6/30", "192.0.2.5/30")], names=("left", "right")) as pair:
                assert (interfaces(a), interfaces(b)) == (["left", "lo"], ["lo", "right"])
                assert pair.a.address == "192.0.2.6"
                assert exchange(listening(b, "192.0.2.5"), a.socket()) == "192.0.2.6"
                assert "left (192.0.2.6/30)" in repr(pair)
            with connect(a, b, addresses=()) as pair:
                assert pair.ends[1].addresses == ()
                with pytest.raises(SpecError, match="addresses: eth0 has none"):
                    print(pair.a.address)

    who(check)


def test_end(who: Who) -> None:
    """The connection ends when it is closed, and with either box; then no interface is left."""

    def check() -> None:
        with Box("n") as a, Box("n") as b:
            pair = connect(a, b)
            assert (interfaces(a), interfaces(b)) == (["eth0", "lo"], ["eth0", "lo"])
            pair.close()
            assert (interfaces(a), interfaces(b)) == (["lo"], ["lo"])
            pair.close()
            assert repr(pair).endswith(", closed>")
            pair = connect(a, b)
            assert (pair.a.name, pair.a.address) == ("eth0", FIRST)
            a.close()
            pair.close()
            assert interfaces(b) == ["lo"]
            c = Box("n")
            pair = connect(b, c)
            c.close()
            pair.close()
            assert interfaces(b) == ["lo"]

    who(check)


def test_steps() -> None:
    """The requests are among the steps of the box."""
    with Box("n") as a, Box("n") as b, connect(a, b, addresses=[("10.9.0.1/24", "10.9.0.2/24")]):
        names = [step.name for step in a.steps if step.actor == "caller"][-4:]
        assert names == ["veth", "link up", "address", "carrier"]
        assert any(step.call == 'sendto(RTM_NEWADDR, "eth0", "10.9.0.2/24")' for step in b.steps)


def test_refused_by_the_kernel(who: Who) -> None:
    """If a later step fails, no interface is left; the error has the kernel's own message, if there is one."""

    def check() -> None:
        with Box("n") as a, Box("n") as b:
            with pytest.raises(nsbox.SpawnError) as caught:
                connect(a, b, addresses=[("10.0.0.1/24", "10.0.0.2/24"), ("ff02::1/64", "ff02::2/64")])
            assert caught.value.step == "address"
            assert caught.value.call.startswith('sendto(RTM_NEWADDR, "eth0", ')
            assert caught.value.errno in (errno.EADDRNOTAVAIL, errno.EINVAL, errno.EOPNOTSUPP)
            assert (interfaces(a), interfaces(b)) == (["lo"], ["lo"])

    who(check)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_interrupted_at_any_line() -> None:
    """At whichever line a signal handler raises, the connection is complete, or nothing of it is left."""

    def connected() -> None:
        connect(a, b, addresses=[("10.0.0.1/24", "10.0.0.2/24")])

    with Box("n") as a, Box("n") as b:
        number = 0
        while interrupted_at(number, OURS, connected):
            assert (interfaces(a), interfaces(b)) == (["lo"], ["lo"]), number
            number += 1
        assert number > 100


def test_several_threads(busy_threads: None) -> None:
    """Several connections to one box at once get different names and networks."""
    with Box("n") as hub:
        boxes = [Box("n") for _ in range(4)]
        pairs: list[nsbox.VethPair] = []
        threads = [
            threading.Thread(target=lambda box=box: pairs.append(connect(hub, box)), daemon=True) for box in boxes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
        try:
            assert sorted(pair.a.name for pair in pairs) == ["eth0", "eth1", "eth2", "eth3"]
            for pair in pairs:
                assert exchange(listening(pair.b.box, pair.b.address), hub.socket()) == pair.a.address
        finally:
            for box in boxes:
                box.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"addresses": ("10.0.0.1/24", "10.0.0.2/24")}, "expected pairs"),
        ({"addresses": "10.0.0.1/24"}, "expected pairs"),
        ({"addresses": [("10.0.0.1/24", "10.0.0.256/24")]}, "10.0.0.256/24"),
        ({"addresses": [("10.0.0.1/24", "10.0.1.2/24")]}, "different networks"),
        ({"addresses": [("10.0.0.1/24", "fd00::2/64")]}, "different networks"),
        ({"addresses": [("10.0.0.1/24", "10.0.0.1/24")]}, "at both ends"),
        (
            {"addresses": [("10.0.0.1/24", "10.0.0.2/24"), ("10.0.0.3/25", "10.0.0.4/25")]},
            "box number 1 is in 10.0.0.0/25",
        ),
        ({"addresses": [("127.0.0.5/24", "127.0.0.6/24")]}, "box number 1 is in 127.0.0.0/24 already"),
        ({"addresses": [("192.0.2.5/30", "192.0.2.7/30")]}, "192.0.2.7 is the broadcast address"),
        ({"addresses": [("192.0.2.4/30", "192.0.2.5/30")]}, "192.0.2.4 is the address of the network"),
        ({"names": "ab"}, "expected 2, one for each box"),
        ({"names": ("a" * 16, "eth0")}, "at most 15"),
        ({"names": ("eth%d", "eth0")}, "no name"),
        ({"names": ("eth0", "")}, "no name"),
        ({"names": ("eth0", "lo")}, "one of the boxes has an interface lo already"),
    ],
)
def test_wrong_options(options: dict[str, Any], said: str) -> None:
    """Refused before anything is made, naming the argument."""
    with Box("n") as a, Box("n") as b:
        with pytest.raises(SpecError, match=said) as caught:
            connect(a, b, **options)
        assert str(caught.value).startswith(next(iter(options)))
        assert (interfaces(a), interfaces(b)) == (["lo"], ["lo"])


def test_targets_that_cannot_be_connected() -> None:
    """The error says what cannot be connected, and why."""
    with Box("n") as a, Box("mip") as plain:
        with pytest.raises(SpecError, match="boxes: the box has no net namespace"):
            connect(a, plain)
        with pytest.raises(SpecError, match="boxes: one is there twice"):
            connect(a, a)
        with pytest.raises(SpecError, match="boxes: expected boxes"):
            connect(a, os.getpid())  # type: ignore[call-overload]
        ended = Box("n")
        ended.close()
        with pytest.raises(nsbox.ClosedError):
            connect(a, ended)
        assert interfaces(a) == ["lo"]


def test_without_pyroute2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what is missing, and how to install it."""
    monkeypatch.setitem(sys.modules, "pyroute2.netlink.rtnl.ifinfmsg", None)
    with Box("n") as a, Box("n") as b, pytest.raises(nsbox.UnsupportedError, match=r"pip install 'nsbox\[net\]'"):
        connect(a, b)


def test_example(who: Who) -> None:
    """The example, which has a router, works."""
    path = Path(__file__).parents[2] / "examples" / "two_hosts.py"

    def check() -> str:
        # In this process: the user may be unable to start a Python with everything that is installed for this one.
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, {"__name__": "__main__"})
        return out.getvalue()

    code = compile(path.read_text(), path, "exec")
    assert "10.0.1.2 received from 10.0.0.1: hello through the router" in who(check)


def test_socket_of_a_box(who: Who) -> None:
    """The socket is in the box's network namespace, made with the rights of its init, and outlives the box."""

    def check() -> None:
        with Box("n") as box, box.socket() as server:
            assert (server.family, server.type, server.proto) == (socket.AF_INET, socket.SOCK_STREAM, 0)
            assert not server.get_inheritable()
            # No process inside uses that port, and the box's root may bind it.
            server.bind(("127.0.0.1", 80))
            server.listen()
            assert exchange(listening(box, "127.0.0.2"), box.socket()) == "127.0.0.1"
            with socket.socket() as outside, pytest.raises(OSError, match=r".") as caught:
                outside.connect(("127.0.0.2", 80))
            assert caught.value.errno in (errno.ECONNREFUSED, errno.ENETUNREACH)
            with pytest.raises(nsbox.SpawnError) as refused:
                box.socket(family=99)
            assert (refused.value.errno, refused.value.step) == (errno.EAFNOSUPPORT, "socket")
            assert refused.value.call == "socket(99, SOCK_STREAM, 0)"
        with pytest.raises(nsbox.ClosedError):
            box.socket()

    who(check)
