"""What a marked test changes in its own fixtures is there in their teardown: no failure collected there is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from nsbox.plugin.channel import ReportError
from nsbox.plugin.state import State

from tests.support.inner_pytest import Inner

SAMPLE = '''
    import collections, dataclasses, functools, io, os, queue, threading, types, unittest
    from unittest import mock

    import pytest

    if os.environ.get("NSBOX_MARK"):
        pytestmark = pytest.mark.unshare(os.environ["NSBOX_MARK"])

    class Soft:
        def __init__(self):
            self.errors, self.count = [], 0
        def check(self, condition):
            self.count += 1
            if not condition:
                self.errors.append(AssertionError("soft"))

    @dataclasses.dataclass
    class Score:
        lost: int = 0

    @dataclasses.dataclass(slots=True)
    class Slots:
        lost: int = 0
        more: list = dataclasses.field(default_factory=list)

    class Refuses(dict):
        def keys(self): raise ValueError("no keys")
        def __iter__(self): raise ValueError("no keys")

    def graph():
        """Return a list whose text would have 2 ** 60 parts."""
        parts = []
        for _ in range(60):
            parts = [parts, parts]
        return parts

    @pytest.fixture(params=["object", "dataclass", "list", "set", "deque", "counter", "deep", "closure", "nonlocal",
                            "method", "partial", "mock", "replaced", "present", "tuple", "slots", "slots list", "queue",
                            "event", "namespace", "text", "bytes", "bytearray", "keys", "set of tuples", "graph"])
    def change(request):
        """Return a function that records a failure; the teardown looks for it."""
        errors, objects, number = [], [ValueError()], 0
        soft, score, some, double_ended = Soft(), Score(), set(), collections.deque()
        slots, tasks, event, namespace = Slots(), queue.Queue(), threading.Event(), types.SimpleNamespace(bad=0)
        text, data, array, refuses = io.StringIO(), io.BytesIO(), bytearray(), Refuses()
        counter, deep, double = collections.Counter(), {"a": [{"b": {}}]}, mock.Mock()
        def add(text="closure"):
            errors.append(text)
        def count():
            nonlocal number
            number += 1
        yield {
            "object": lambda: soft.check(False),
            "dataclass": lambda: setattr(score, "lost", 1),
            "list": lambda: errors.extend([1, {"two": 2}]),
            "set": lambda: some.add("x"),
            "deque": lambda: double_ended.append(b"x"),
            "counter": lambda: counter.update(["x"]),
            "deep": lambda: deep["a"][0]["b"].update(c=1),
            "closure": add,
            "nonlocal": count,
            "method": functools.partial(list.append, errors, KeyError("x")),
            "partial": functools.partial(add, "partial"),
            "mock": double,
            "replaced": lambda: setattr(soft, "errors", ["other"]),
            "present": lambda: objects.append(ValueError("x")),
            "tuple": lambda: errors.append(("a", 1)),
            "slots": lambda: setattr(slots, "lost", 1),
            "slots list": lambda: slots.more.append(1),
            "queue": lambda: tasks.put(ValueError("x")),
            "event": event.set,
            "namespace": lambda: setattr(namespace, "bad", 1),
            "text": lambda: text.write("x"),
            "bytes": lambda: data.write(b"\\xff"),
            "bytearray": lambda: array.extend(b"\\xff"),
            "keys": lambda: counter.update([("x", 1)]),
            "set of tuples": lambda: some.add(("x", 1)),
            "graph": lambda: errors.append(graph()),
        }[request.param]
        assert not soft.errors and not score.lost and not errors and not some and not double_ended and not counter
        assert slots == Slots() and tasks.empty() and not event.is_set() and not namespace.bad
        assert not text.getvalue() and not data.getvalue() and not array
        assert not deep["a"][0]["b"] and number == 0 and not double.called and len(objects) == 1

    def test_fixture(change):
        change()

    def test_nothing(change):
        pass

    @pytest.fixture
    def finalized(request):
        errors = {}
        request.addfinalizer(lambda: pytest.fail("finalizer") if errors else None)
        request.node.addfinalizer(lambda: pytest.fail("of the node") if errors else None)
        return errors
    def test_finalizer(finalized):
        finalized["a"] = 1

    class TestMethods:
        def setup_method(self):
            self.errors = []
        def teardown_method(self):
            assert not self.errors
        def test_it(self):
            self.errors.append("x")

    class TestFixture:
        @pytest.fixture(autouse=True)
        def checked(self):
            self.bad = 0
            yield
            assert not self.bad
        def test_it(self):
            self.bad = 1

    class TestCase(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def checked(self):
            self.bad = 0
            yield
            assert not self.bad
        def test_it(self):
            self.bad = 1

    def test_late(change, request):
        request.addfinalizer(change)
'''


def test_teardown_sees_it(inner: Inner) -> None:
    """A failure that a test leaves for the teardown of its fixtures fails it there, marked and unmarked."""
    inner.write(test_it=SAMPLE)
    lines = []
    for kinds in ("", "pid mount"):
        inner.environment["NSBOX_MARK"] = kinds
        result = inner.run("-rA", "--tb=no")
        result.assert_outcomes(passed=82, errors=56)
        lines.append(sorted(line.partition(" - ")[0] for line in result.outlines if line.startswith(("ERROR", "PASS"))))
    assert lines[0] == lines[1]


WIDE = """
    import pytest

    @pytest.fixture(scope="module")
    def shared():
        content = []
        yield content
        assert content == ["own"]
    @pytest.fixture
    def through(shared):
        return {"list": shared}
    @pytest.mark.unshare
    def test_changes(through, request):
        through["list"].append("a mark of another test")
        request.node.parent.points = 3
    def test_sees(shared, request):
        assert shared == [] and not hasattr(request.node.parent, "points")
        shared.append("own")
"""


def test_wide_fixtures(as_root: Inner) -> None:
    """What other tests see is not changed by a report, also not through a fixture of the test."""
    as_root.write(test_it=WIDE)
    as_root.run().assert_outcomes(passed=2)


class Thing:
    """Has attributes."""

    def __init__(self) -> None:
        self.number = 1


@pytest.fixture
def places(request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """Containers and an object in the order of their places."""
    yield (found := [[1, 2], {"a": 1}, {1}, Thing()])
    assert found


@pytest.mark.parametrize(
    ("kind", "key", "content"),
    [
        ("place", -1, [0, []]),
        ("place", 10**6, [0, []]),
        ("place", True, [0, []]),
        ("place", "0", [0, []]),
        ("place", 1, [3, []]),
        ("place", 1, [-1, []]),
        ("place", 1, [0]),
        ("place", 1, [0, "text"]),
        ("place", 2, [[], [("a", 1, 2)]]),
        ("place", 2, [[], [([], 1)]]),
        ("place", 2, [[[]], []]),
        ("place", 3, [[], [[]]]),
        ("attribute", "name", "another"),
        ("attribute", "nodeid", "another"),
        ("attribute", "_nodeid", "another"),
        ("attribute", "runtest", "another"),
        ("attribute", "funcargs", {}),
        ("attribute", "keywords", {}),
        ("attribute", "own_markers", []),
        ("attribute", "callspec", 1),
        ("attribute", "__class__", "another"),
        ("attribute", "a b", 1),
        ("attribute", 1, 1),
        ("stash", "no_such_module:KEY", 1),
        ("stash", "_pytest.logging:caplog_records_key", {}),
        ("stash", None, {}),
        ("stash", [], {}),
    ],
    ids=repr,
)
@pytest.mark.pure
def test_forged(request: pytest.FixtureRequest, places: list[Any], kind: str, key: Any, content: Any) -> None:
    """A change of what is no place of the test, or of another form, is refused, and changes nothing."""
    state = State(request.node)
    before = repr(places[:3]), dict(vars(places[3])), dict(vars(request.node))
    with pytest.raises(ReportError):
        state.change(kind, key, content)
    assert before == (repr(places[:3]), dict(vars(places[3])), dict(vars(request.node)))
