"""Boxes that are connected by a switch or a router, and what `networks` says of them."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import nsbox
import pyroute2.netlink.rtnl.ifaddrmsg
import pyroute2.netlink.rtnl.ifinfmsg
import pyroute2.netlink.rtnl.rtmsg  # noqa: F401 - imported before a child becomes a user who could not import it
import pytest
from nsbox import Box, Networks, SpecError, Switch, connect, networks
from nsbox.box import netlink, veth

from tests.support.forked import Who
from tests.support.interrupt import interrupted_at
from tests.support.needs import needs
from tests.support.pages import image, texts

HAS_IPV6 = os.path.exists("/proc/sys/net/ipv6")
NUMBER_OF_VERSIONS = 2 if HAS_IPV6 else 1


def reaches(a: Box, b: Box, address: str) -> str:
    """Send a datagram, and return the address of the sender as the receiver sees it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with b.socket(family, socket.SOCK_DGRAM) as receiver, a.socket(family, socket.SOCK_DGRAM) as sender:
        receiver.bind((address, 4000))
        receiver.settimeout(20)
        sender.sendto(b"hello", (address, 4000))
        data, (source, *_) = receiver.recvfrom(9)
        assert data == b"hello"
        return str(source)


def names_in(box: Box) -> list[str]:
    """Return the names of the interfaces of a box."""
    return [one.name for one in networks(box)[0].interfaces]


def test_switch(who: Who) -> None:
    """Each box reaches each other one, by IPv4 and IPv6, and nothing is left after that."""
    needs(who, "n")

    def check() -> None:
        before = len(os.listdir("/proc/self/fd"))
        with Box("n") as a, Box("n") as b, Box("n") as c:
            with connect(a, b, c) as switch:
                assert isinstance(switch, Switch)
                assert [len(end.addresses) for end in switch.ends] == [NUMBER_OF_VERSIONS] * 3
                for first in switch.ends:
                    for second in switch.ends:
                        for own, address in zip(first.addresses, second.addresses, strict=True):
                            if first is not second:
                                assert reaches(first.box, second.box, str(address.ip)) == str(own.ip)
            assert not switch.alive
            assert [names_in(box) for box in (a, b, c)] == [["lo"]] * 3
            switch.close()
        assert len(os.listdir("/proc/self/fd")) == before

    who(check)


def test_switch_stays_as_long_as_its_boxes(who: Who) -> None:
    """Without a name it stays, with two descriptors; with the last box it ends, and they are closed."""
    needs(who, "n")

    def check() -> None:
        before = len(os.listdir("/proc/self/fd"))
        a, b, c = (Box("n") for _ in range(3))
        connect(a, b, c, addresses=[("192.0.2.1/24", "192.0.2.2/24", "192.0.2.3/24")], names=("x", "y", "z"))
        a.close()
        assert reaches(b, c, "192.0.2.3") == "192.0.2.2"
        (switch,) = b._switches
        b.close()
        assert switch.alive
        c.close()
        assert not switch.alive
        assert len(os.listdir("/proc/self/fd")) == before

    who(check)


def test_router(who: Who) -> None:
    """Three hosts and a router, by IPv4 and IPv6."""
    needs(who, "n")

    def check() -> None:
        with Box("n") as a, Box("n") as b, Box("n") as c, Box("n") as router:
            pairs = [connect(host, router, router=router) for host in (a, b, c)]
            for address in pairs[2].a.addresses:
                assert reaches(a, c, str(address.ip)) == str(pairs[0].a.addresses[address.version == 6].ip)
            shown = networks(a, router=router)
            assert [record.forwards for record in shown] == [(), (4, 6)[:NUMBER_OF_VERSIONS]]
            default = [route for route in shown[0].routes if route.destination == "default"]
            assert [route.via for route in default] == [str(one.ip) for one in pairs[0].b.addresses]

    who(check)


def test_router_in_several_networks() -> None:
    """A box has one default route, also if the router has several addresses at the other end."""
    pairs = [("192.0.2.1/24", "192.0.2.2/24"), ("198.51.100.1/24", "198.51.100.2/24")]
    with Box("n") as a, Box("n") as router, connect(a, router, addresses=pairs, router=router):
        routes = networks(a)[0].routes
        assert [route.via for route in routes if route.destination == "default"] == ["192.0.2.2"]


def test_routes_by_hand() -> None:
    """A route over two routers; a wrong one names its step and cause."""
    with Box("n") as a, Box("n") as first, Box("n") as second, Box("n") as b:
        left = connect(a, first, router=first)
        middle = connect(first, second, router=second)
        right = connect(second, b, router=second, addresses=[("192.0.2.1/24", "192.0.2.2/24")])
        step = middle.b.add_route(str(left.a.addresses[0].network), middle.a.address)
        assert step.name == "route"
        assert reaches(a, b, right.b.address) == left.a.address
        with pytest.raises(nsbox.SpawnError) as caught:
            middle.b.add_route(str(left.a.addresses[0].network), middle.a.address)
        assert (caught.value.step, caught.value.cause) == ("route", "route-exists")
        with pytest.raises(nsbox.SpawnError) as caught:
            left.a.add_route("198.51.100.0/24", "203.0.113.1")
        assert (caught.value.step, caught.value.cause) == ("route", "router-not-reachable")
        for wrong in (("10.0.0.0/24", "nowhere"), ("10.0.0.1/24", "10.0.0.2"), ("10.0.0.0/24", "fd00::1")):
            with pytest.raises(SpecError, match=r"destination|via"):
                left.a.add_route(*wrong)


def test_wrong_switches() -> None:
    """Refused before anything is made."""
    with Box("n") as a, Box("n") as b, Box("n") as c, Box("p") as plain:
        three = ("192.0.2.1/24", "192.0.2.2/24", "192.0.2.3/24")
        refused: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
            ((a,), {}, "boxes: at least two"),
            ((), {}, "boxes: at least two"),
            ((a, b, a), {}, "boxes: one is there twice"),
            ((a, b, plain), {}, "boxes: the box has no net"),
            ((a, b, 3), {}, "boxes: expected boxes"),
            ((a, b, c), {"names": ("x", "y")}, "names: expected 3"),
            ((a, b, c), {"addresses": [three[:2]]}, "addresses: expected groups"),
            ((a, b, c), {"addresses": [(*three[:2], three[0])]}, "192.0.2.1/24 would be at several ends"),
            ((a, b), {"router": c}, "router: is none of the boxes"),
            ((a, b), {"router": 1}, "router: is none of the boxes"),
        ]  # fmt: skip
        for boxes, options, said in refused:
            with pytest.raises(SpecError, match=said):
                connect(*boxes, **options)
        assert [names_in(box) for box in (a, b, c)] == [["lo"]] * 3


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted() -> None:
    """Wherever a signal handler raises, the connection is complete, or nothing of it is left."""
    ours = {veth.__file__, netlink.__file__}

    def connected() -> None:
        connect(a, b, c, addresses=[("10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24")], router=c)

    with Box("n") as a, Box("n") as b, Box("n") as c:
        before = len(os.listdir("/proc/self/fd"))
        number = 0
        # Each 13th line, as there are many.
        while interrupted_at(number, ours, connected):
            assert [names_in(box) for box in (a, b, c)] == [["lo"]] * 3, number
            assert not any(box._switches for box in (a, b, c)), number
            gc.collect()
            assert len(os.listdir("/proc/self/fd")) == before, number
            number += 13
        assert number > 500
        assert names_in(a) == ["lo", "eth0"]


@pytest.fixture(name="scene")
def _scene() -> Iterator[Networks]:
    boxes = Box("un", hostname="alpha"), Box("n"), Box("n"), Box("n")
    with boxes[0] as a, boxes[1] as b, boxes[2] as c, boxes[3] as elsewhere:
        connect(a, b, c)
        pair = connect(b, c)
        connect(c, elsewhere)
        c.run(["ip", "link", "set", pair.b.name, "down"], check=True)
        c.run(["ip", "link", "add", "br7", "type", "bridge"], check=True)
        c.run(["ip", "route", "add", "blackhole", "198.51.100.0/24"], check=True)
        yield networks(a, middle=b, right=c)


def test_what_is_read(scene: Networks) -> None:
    """Names, states, addresses, kinds, peers and routes are those of the kernel."""
    alpha, middle, right, switch = scene
    assert [record.name for record in scene] == ["alpha", "middle", "right", "switch"]
    assert [record.is_switch for record in scene] == [False, False, False, True]
    assert (alpha.interfaces[0].name, alpha.interfaces[0].kind, alpha.interfaces[0].up) == ("lo", "loopback", True)
    end = alpha.interfaces[1]
    assert (end.name, end.kind, end.peer, end.peer_in, end.up, end.carrier) == (
        "eth0",
        "veth",
        "port1",
        "switch",
        True,
        True,
    )
    assert "10.0.0.1/24" in end.addresses
    by_name = {one.name: one for one in right.interfaces}
    assert (by_name["eth1"].peer, by_name["eth1"].peer_in, by_name["eth1"].up) == ("eth1", "middle", False)
    assert (by_name["eth2"].kind, by_name["eth2"].peer, by_name["eth2"].peer_in) == ("veth", "", "")
    assert by_name["br7"].kind == "bridge"
    assert [(one.peer, one.peer_in, one.bridge) for one in switch.interfaces if one.kind == "veth"] == [
        ("eth0", "alpha", "br0"), ("eth0", "middle", "br0"), ("eth0", "right", "br0"),
    ]  # fmt: skip
    assert next(one for one in middle.interfaces if one.name == "eth1").carrier is False
    assert ("198.51.100.0/24", "blackhole") in [(route.destination, route.kind) for route in right.routes]
    assert len({record.id for record in scene}) == 4
    assert list(Networks.from_dict(scene.to_dict())) == list(scene)


def test_as_ip_shows_it() -> None:
    """Interfaces, addresses and routes are those that ip(8) shows in the box."""
    with Box("n") as a, Box("n") as b, connect(a, b, router=b):
        record = networks(a)[0]
        run = {"capture_output": True, "text": True, "check": True}
        shown = a.run(["ip", "-brief", "address"], **run).stdout.split("\n")[:-1]
        assert {line.split()[0].partition("@")[0]: set(line.split()[2:]) for line in shown} == {
            one.name: set(one.addresses) for one in record.interfaces
        }
        routes = []
        for version in ("-4", "-6")[:NUMBER_OF_VERSIONS]:
            for line in a.run(["ip", version, "route"], **run).stdout.splitlines():
                words = line.split()
                routes.append((words[0], words[2] if words[1] == "via" else ""))
        routes = [route for route in routes if route[0] != "fe80::/64"]
        assert sorted(routes) == sorted((route.destination, route.via) for route in record.routes)


def test_text_and_picture(scene: Networks) -> None:
    """Both say the same, and the picture is well-formed, with everything inside of its edges."""
    text = str(scene)
    assert "alpha (the box of process " in text
    assert "port1 of switch" in text
    assert "an interface in another network, which is not shown" in text
    assert "route blackhole 198.51.100.0/24" in text
    assert "eth1    down" in text
    picture = ElementTree.fromstring(scene.svg())
    width, height = float(picture.attrib["width"]), float(picture.attrib["height"])
    svg = "{http://www.w3.org/2000/svg}"
    words = [element.text for element in picture.iter(f"{svg}text")]
    for word in ("alpha", "middle", "right", "switch", "10.0.0.1/24", "down", "?", "blackhole 198.51.100.0/24"):
        assert word in words
    for rect in picture.iter(f"{svg}rect"):
        assert float(rect.attrib["x"]) + float(rect.attrib["width"]) <= width
        assert float(rect.attrib["y"]) + float(rect.attrib["height"]) <= height
    for element in picture.iter(f"{svg}text"):
        assert 0 < float(element.attrib["y"]) < height
    bundle = scene._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/svg+xml", "image/png"}
    assert len(texts(image(bundle["text/html"]))) == len(words)


def test_names() -> None:
    """A host name, a keyword or a number; PIDs where names are the same; control characters are escaped."""
    with Box("un", hostname="same") as a, Box("un", hostname="same") as b, Box("n") as c:
        assert [one.name for one in networks(a, b, c)] == [
            f"same (process {a.pid})",
            f"same (process {b.pid})",
            "box 3",
        ]
        shown = networks(**{"\x1b[31m": c})
        assert "\x1b" not in str(shown) + shown.svg()
        assert str(networks()) == ""
        assert networks().svg().startswith("<svg")
        with pytest.raises(SpecError, match="boxes: expected a box, got 3"):
            networks(3)  # type: ignore[arg-type]
        with pytest.raises(SpecError, match="web: the box has no net namespace"), Box("p") as plain:
            networks(web=plain)
