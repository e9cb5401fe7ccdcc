"""What a spec accepts, what it means, and what is refused before anything is started."""

from __future__ import annotations

import dataclasses
import os
import pickle
import resource
from pathlib import Path
from typing import Any

import nsbox
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from nsbox import _core
from nsbox.records.processes import NamespaceIds
from nsbox.spec.id_maps import parse_id_map, parse_id_range
from nsbox.spec.kinds import KINDS, namespace_names
from nsbox.spec.spec import Options, spec_of
from nsbox.start.launch import Launch
from nsbox.views.palette import KIND_STYLES

pytestmark = pytest.mark.pure

NAMES = ("user", "mount", "pid", "ipc", "uts", "net", "cgroup", "time")
LARGEST_ID = 2**32 - 2


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("", ()),
        ("mip", ("mount", "pid", "ipc")),
        ("-mip", ("mount", "pid", "ipc")),
        ("pim", ("mount", "pid", "ipc")),
        ("mm", ("mount",)),
        ("pid mount", ("mount", "pid")),
        ("mnt,pid", ("mount", "pid")),
        (" pid , uts ", ("pid", "uts")),
        ("UmpiunCT", NAMES),
        ("user", ("user",)),
        ("time", ("time",)),
        # A set has no order, but workers of xdist must agree on the name of the test.
        pytest.param({"pid", "mount"}, ("mount", "pid"), id="a set"),
        (["m", "pid"], ("mount", "pid")),
        ((), ()),
        (0, ()),
        (0x20000000 | 0x20000, ("mount", "pid")),
        ([0x20000000, "m"], ("mount", "pid")),
    ],
    ids=repr,
)
def test_namespaces(wanted: Any, names: tuple[str, ...]) -> None:
    """All forms give the same kinds, in nsbox's own order."""
    assert namespace_names(wanted) == nsbox.Spec(unshare=wanted).unshare == names


@pytest.mark.parametrize("wanted", [None, True, 1.5, "x", "mipx", "pids", 1, -1, 1 << 60, object(), [None], ["m", 1]])
def test_no_namespaces(wanted: Any) -> None:
    """The error names the part that is no namespace."""
    with pytest.raises(nsbox.SpecError, match="unshare"):
        nsbox.Spec(unshare=wanted)


@pytest.mark.parametrize(("letter", "advice"), [("f", "fork=False"), ("r", "map_root_user=True")])
def test_letters_of_unshare_with_another_meaning(letter: str, advice: str) -> None:
    """The error for such a letter names nsbox's own option."""
    with pytest.raises(nsbox.SpecError, match=advice):
        nsbox.Spec(unshare=f"mp{letter}")


@given(st.sets(st.sampled_from(NAMES)), st.randoms())
def test_every_form_says_the_same(names: set[str], random: Any) -> None:
    """Letters, words, flags and sets of them, in any order, are equal."""
    shuffled = random.sample(sorted(names), len(names))
    kinds = [KINDS[name] for name in shuffled]
    expected = tuple(name for name in NAMES if name in names)
    forms = (
        "".join(kind.letter for kind in kinds), " ".join(kind.name for kind in kinds),
        ",".join(kind.link for kind in kinds), sum(kind.flag for kind in kinds), set(shuffled),
        [kind.flag for kind in kinds],
    )  # fmt: skip
    for form in forms:
        assert namespace_names(form) == expected


@given(st.text(max_size=12))
def test_any_text(text: str) -> None:
    """Any text is either namespaces or a SpecError, never another exception."""
    try:
        names = namespace_names(text)
    except nsbox.SpecError as error:
        assert str(error).startswith("unshare: ")  # noqa: PT017 - both results are allowed
    else:
        assert set(names) <= set(NAMES)


def test_kinds_are_those_of_the_core() -> None:
    """One table in each language, with the same contents in the same order; records have a field for each kind."""
    assert [(kind.name, kind.letter, kind.link, kind.flag) for kind in KINDS.values()] == [
        (kind.name, kind.letter, kind.link, kind.flag) for kind in _core.kinds()
    ]
    assert NamespaceIds._fields == tuple(KINDS)
    assert set(KIND_STYLES) == set(KINDS)


def test_options_has_the_fields_of_spec() -> None:
    """`Options` types the keyword arguments of functions that pass them on to `Spec`."""
    fields = {field.name: field.type for field in dataclasses.fields(nsbox.Spec) if field.init}
    options = {name: hint.__forward_arg__ for name, hint in Options.__annotations__.items()}
    assert {"unshare": "Namespaces"} | options == fields


@pytest.mark.skipif(not hasattr(os, "CLONE_NEWPID"), reason="os.CLONE_NEWPID is there since Python 3.12")
def test_flags_are_those_of_the_standard_library() -> None:
    """The table has the numbers of `os`."""
    for kind in KINDS.values():
        if hasattr(os, kind.flag_name):
            assert kind.flag == getattr(os, kind.flag_name)


def test_defaults() -> None:
    """The defaults are mount, ipc and pid, with an init, and nothing else."""
    spec = nsbox.Spec()
    assert (spec.unshare, spec.fork, spec.init, spec.mount_proc) == (("mount", "pid", "ipc"), True, True, None)
    assert nsbox.Spec(fork=False).init is False


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"hostname": "x"}, "hostname"),
        ({"domainname": "x"}, "domainname"),
        ({"boottime": 1}, "boottime"),
        ({"monotonic": 1}, "monotonic"),
        ({"loopback": True}, "loopback"),
        ({"unshare": "m", "pid_max": 400}, "pid_max"),
        ({"pid_max": 300}, "pid_max"),
        ({"pid_max": 2**22 + 1}, "pid_max"),
        ({"pid_max": True}, "pid_max"),
        ({"pid_max": "400"}, "pid_max"),
        ({"unshare": "u", "hostname": "x" * 65}, "hostname"),
        ({"unshare": "u", "hostname": "a\0b"}, "hostname"),
        ({"unshare": "u", "hostname": 5}, "hostname"),
        ({"unshare": "u", "domainname": "ä" * 33}, "domainname"),
        ({"unshare": "T", "boottime": "1"}, "boottime"),
        ({"unshare": "T", "boottime": float("nan")}, "boottime"),
        ({"unshare": "T", "boottime": float("inf")}, "boottime"),
        ({"unshare": "T", "boottime": True}, "boottime"),
        ({"unshare": "T", "boottime": (1, 10**9)}, "boottime"),
        ({"unshare": "T", "boottime": (1, -1)}, "boottime"),
        ({"unshare": "T", "boottime": (2**70, 0)}, "boottime"),
        ({"unshare": "T", "boottime": (1, 2, 3)}, "boottime"),
        ({"mount_proc": ""}, "mount_proc"),
        ({"mount_proc": "a\0b"}, "mount_proc"),
        ({"mount_proc": 1}, "mount_proc"),
        ({"mount_proc": True, "propagation": "shared"}, "mount_proc"),
        ({"mount_proc": True, "propagation": "unchanged"}, "mount_proc"),
        ({"mount_proc": True, "fork": False}, "mount_proc"),
        ({"root": ""}, "root"),
        ({"root": "a\0b"}, "root"),
        ({"root": 5}, "root"),
        ({"root": "/mnt", "propagation": "unchanged"}, "root"),
        ({"mounts": "/mnt"}, "mounts"),
        ({"mounts": 5}, "mounts"),
        ({"mounts": ["/mnt"]}, "mounts"),
        ({"mounts": nsbox.Tmpfs("/mnt")}, "mounts"),
        ({"mounts": [nsbox.Bind("/srv", "/")]}, "mounts"),
        ({"mounts": [nsbox.Tmpfs("/mnt"), nsbox.Bind("/", "/")]}, "mounts"),
        ({"mounts": [nsbox.Bind("/", "/")], "root": "/srv"}, "mounts"),
        ({"mounts": [nsbox.Overlay(["/srv"])]}, "mounts"),
        ({"root": nsbox.Bind("/srv", "/mnt")}, "root"),
        ({"root": nsbox.Overlay("/mnt", ["/a", "/b"])}, "root"),
        ({"mounts": [nsbox.Tmpfs("/mnt")], "propagation": "shared"}, "mounts"),
        ({"mounts": [nsbox.Proc("/mnt")], "fork": False}, "mounts"),
        ({"pid_max": 400, "fork": False}, "pid_max"),
        ({"fork": False, "init": True}, "init"),
        ({"propagation": "rprivate"}, "propagation"),
        ({"setgroups": "maybe"}, "setgroups"),
        ({"setgroups": "allow", "map_group": 0}, "setgroups"),
        ({"setgroups": "allow", "map_root_user": True}, "setgroups"),
        ({"map_root_user": "yes"}, "map_root_user"),
        ({"limits": 5}, "limits"),
        ({"limits": "memory"}, "limits"),
        ({"limits": {"disk": 5}}, "limits"),
        ({"limits": {"memory": 0}}, "memory"),
        ({"limits": {"memory": "1m"}}, "memory"),
        ({"limits": {"pids": True}}, "pids"),
        ({"limits": {"pids": 1.5}}, "pids"),
        ({"limits": {"cpu": 0}}, "cpu"),
        ({"limits": {"cpu": float("nan")}}, "cpu"),
        ({"limits": {"cpu": "1"}}, "cpu"),
        ({"rlimits": 5}, "rlimits"),
        ({"rlimits": "nofile"}, "rlimits"),
        ({"rlimits": ["nofile"]}, "rlimits"),
        ({"rlimits": {"files": 5}}, "rlimits"),
        ({"rlimits": {99: 5}}, "rlimits"),
        ({"rlimits": {True: 5}}, "rlimits"),
        ({"rlimits": {"nofile": "5"}}, "rlimits"),
        ({"rlimits": {"nofile": True}}, "rlimits"),
        ({"rlimits": {"nofile": 2**63}}, "rlimits"),
        ({"rlimits": {"nofile": -5}}, "rlimits"),
        ({"rlimits": {"nofile": (1, 2, 3)}}, "rlimits"),
        ({"rlimits": {"nofile": (3, 2)}}, "rlimits"),
        ({"rlimits": {"nofile": (None, 2)}}, "rlimits"),
        ({"rlimits": {"nofile": 1, "RLIMIT_NOFILE": 1}}, "rlimits"),
        ({"map_root_user": True, "map_user": 5}, "map_root_user"),
        ({"map_user": -1}, "map_user"),
        ({"map_user": LARGEST_ID + 1}, "map_user"),
        ({"map_group": "root"}, "map_group"),
        ({"map_root_user": True, "map_current_user": True}, "map_root_user"),
        ({"map_current_user": True, "map_group": 1}, "map_current_user"),
        ({"map_current_user": 1}, "map_current_user"),
        ({"setgroups": "allow", "map_current_user": True}, "setgroups"),
        ({"map_users": "0 0 1"}, "map_users"),
        ({"map_users": "everything"}, "map_users"),
        ({"map_users": [(0, 0, 5), (4, 9, 1)]}, "map_users"),
        ({"map_users": [(0, 5, 5), (9, 0, 6)]}, "map_users"),
        ({"map_users": [(1, 0, 2**32 - 1)]}, "map_users"),
        ({"map_groups": [(n, n, 1) for n in range(341)]}, "map_groups"),
        ({"map_users": 5}, "map_users"),
        ({"map_users": [(0, 0)]}, "map_users"),
        ({"map_users": [(0, 0, 0)]}, "map_users"),
        ({"map_groups": [(0, -1, 1)]}, "map_groups"),
        ({"map_groups": [(0, 0, 2**32)]}, "map_groups"),
    ],
    ids=str,
)
def test_refused(options: dict[str, Any], argument: str) -> None:
    """The message begins with the argument that is wrong."""
    with pytest.raises(nsbox.SpecError, match=f"^{argument}: ") as caught:
        nsbox.Spec(**options)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, nsbox.NsboxError)


@pytest.mark.parametrize(
    ("value", "offset"),
    [
        (0, (0, 0)), (5, (5, 0)), (1.5, (1, 500_000_000)), (-0.25, (-1, 750_000_000)), (-3, (-3, 0)),
        ((7, 8), (7, 8)), ((-7, 999_999_999), (-7, 999_999_999)), (1e-9, (0, 1)),
    ],
)  # fmt: skip
def test_offsets(value: Any, offset: tuple[int, int]) -> None:
    """Seconds of any number type become the kernel's seconds and nanoseconds, the latter never negative."""
    spec = nsbox.Spec(unshare="T", boottime=value, monotonic=value)
    assert spec.boottime == spec.monotonic == offset


@given(st.floats(-1e9, 1e9))
def test_offsets_of_any_float(seconds: float) -> None:
    """Only fractions of a nanosecond are lost."""
    offset = nsbox.Spec(unshare="T", boottime=seconds).boottime
    assert isinstance(offset, tuple)
    assert 0 <= offset[1] < 10**9
    assert abs(offset[0] + offset[1] / 1e9 - seconds) < 1e-6


def test_rlimits() -> None:
    """All forms of a limit are equal."""
    expected = (("cpu", (1, 2)), ("core", (0, -1)), ("nofile", (64, 64)))
    for rlimits in (
        {"nofile": 64, "cpu": (1, 2), "core": (0, None)},
        {"RLIMIT_NOFILE": 64, "CPU": (1, 2), "Rlimit_Core": (0, resource.RLIM_INFINITY)},
        {resource.RLIMIT_NOFILE: 64, resource.RLIMIT_CPU: (1, 2), resource.RLIMIT_CORE: (0, None)},
        [("nofile", (64, 64)), ("cpu", (1, 2)), ("core", (0, None))],
        expected,
    ):
        assert nsbox.Spec(rlimits=rlimits).rlimits == expected  # type: ignore[arg-type]


def test_limits() -> None:
    """A mapping is equal to the class."""
    limits = nsbox.Limits(memory=1 << 20, cpu=0.5)
    assert nsbox.Spec(limits={"memory": 1 << 20, "cpu": 0.5}).limits == limits == nsbox.Spec(limits=limits).limits
    assert nsbox.Spec(limits={}).limits == nsbox.Limits()
    assert pickle.loads(pickle.dumps(limits)) == limits
    assert spec_of("m", {"limits": {"pids": 5}}) is spec_of("m", {"limits": {"pids": 5}})


def test_ranges_as_text() -> None:
    """The forms of unshare(1), including the older one with the outer id first, and that of uid_map."""
    assert parse_id_range("0:100000:65536") == parse_id_range("100000,0,65536") == (0, 100000, 65536)
    assert parse_id_range("auto") == "auto"
    for wrong in ("", "0:1", "0:1:2:3", "-1:0:1", "0,1:2", f"0:{2**32 - 1}:1", "everything"):
        with pytest.raises(ValueError, match=f"^{wrong}$"):
            parse_id_range(wrong)
    assert parse_id_map("         0     100000      65536\n 65536 5 1\n") == ((0, 100000, 65536), (65536, 5, 1))
    assert parse_id_map("") == ()


def test_the_core_refuses_words_for_ranges() -> None:
    """Words such as "auto" stand for ranges that are looked up at the start; a plan made before would lack them."""
    spec = nsbox.Spec(unshare="U", map_users="auto", map_root_user=True)
    assert pickle.loads(pickle.dumps(spec)) == spec
    facts = _core.Facts(euid=0, egid=0)
    with pytest.raises(TypeError):
        _core.compile(spec, Launch(paths=(b"/bin/true",), argv=(b"true",)), facts)


@pytest.mark.parametrize("path", ["/proc", b"/proc", Path("/proc"), True])
def test_paths(path: Any) -> None:
    """Paths may be of any type."""
    assert nsbox.Spec(mount_proc=path).mount_proc == b"/proc"


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "unshare": st.sets(st.sampled_from(NAMES)),
        "fork": st.booleans(),
        "init": st.none() | st.booleans(),
        "mount_proc": st.booleans() | st.sampled_from(["/proc", "/mnt"]),
        "root": st.none() | st.sampled_from(["/srv", b"/\xff"]),
        "mounts": st.lists(
            st.sampled_from(
                [nsbox.Bind("/a", "/b"), nsbox.Tmpfs("/c"), nsbox.Overlay("/d", ["/l", "/m"]), nsbox.Proc("/e")]
            ),
            max_size=3,
        ),
        "propagation": st.sampled_from(["private", "shared", "slave", "unchanged"]),
        "map_root_user": st.sampled_from([True, False, "auto"]),
        "map_current_user": st.booleans(),
        "map_user": st.none() | st.integers(0, LARGEST_ID),
        "map_group": st.none() | st.integers(0, LARGEST_ID),
        "map_users": st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9)), max_size=2),
        "map_groups": st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9)), max_size=2),
        "setgroups": st.sampled_from([None, "allow", "deny"]),
        "hostname": st.none() | st.text(max_size=10),
        "domainname": st.none() | st.binary(max_size=10),
        "pid_max": st.none() | st.integers(301, 2**22),
        "loopback": st.none() | st.booleans(),
        "boottime": st.none() | st.integers(-1000, 1000),
        "monotonic": st.none() | st.floats(-10, 10),
        "keep_caps": st.booleans(),
        "limits": st.none() | st.builds(nsbox.Limits, pids=st.none() | st.integers(1, 99)),
        "rlimits": st.dictionaries(st.sampled_from(["cpu", "nofile", "as"]), st.none() | st.integers(0, 2**63 - 1)),
        "no_new_privs": st.booleans(),
    },
)


@given(OPTIONS, st.sampled_from([0, 1000]))
def test_any_options(options: dict[str, Any], uid: int) -> None:
    """Any accepted options are picklable and comparable, and have a plan: first the clone, last the exec."""
    try:
        spec = nsbox.Spec(**options)
    except nsbox.SpecError as error:
        assert str(error).split(":")[0] in options  # noqa: PT017 - both results are allowed
        return
    except UnicodeEncodeError:
        assume(False)  # a lone surrogate that is no byte
        raise
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(spec) == hash(pickle.loads(pickle.dumps(spec)))
    everything = 2**41 - 1 if uid == 0 else 0
    facts = _core.Facts(euid=uid, egid=uid, effective=everything, permitted=everything)
    try:
        plan = _core.compile(spec, Launch(paths=(b"/bin/true",), argv=(b"true",), env=()), facts)
    except nsbox.SpecError as refused:
        # Whether there will be a user namespace depends on the caller's rights.
        assert str(refused).startswith("keep_caps: ")  # noqa: PT017 - either outcome is right
        assert spec.keep_caps
        return
    steps = [step.name for step in plan.steps]
    assert (steps[0], steps[1], steps[-1]) == ("clone", "exec init", "exec")
    assert steps.count("fork") == 1
    added = {name for name, _ in plan.added}
    assert set(plan.namespaces) == set(namespace_names(spec.unshare)) | added
    # Nothing asked for is dropped, and each added namespace has a reason.
    assert added <= {"user", "mount"}
    assert all(reason for _, reason in plan.added)


@pytest.mark.parametrize("unshare", ["m", "mip", "n", "UmpiunCT", ""])
def test_replace(unshare: str) -> None:
    """A spec can be changed by `dataclasses.replace`."""
    spec = nsbox.Spec(unshare=unshare)
    assert dataclasses.replace(spec) == spec
    assert dataclasses.replace(spec, no_new_privs=True) == nsbox.Spec(unshare=unshare, no_new_privs=True)


def test_cached() -> None:
    """The same options are checked once, also with lists and dictionaries."""
    options: Any = {"mounts": [nsbox.Tmpfs("/tmp")], "map_users": [(0, 0, 1)]}
    again: Any = {name: list(value) for name, value in options.items()}
    assert spec_of("m", options) is spec_of("m", again)
    assert spec_of("m", {"rlimits": {"cpu": 1}}) is spec_of("m", {"rlimits": {"cpu": 1}})
    assert spec_of("m", options) == nsbox.Spec(unshare="m", **options)
    assert spec_of({"mount"}, options) == nsbox.Spec(unshare="m", **options)


def test_frozen() -> None:
    """A spec cannot be changed."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        nsbox.Spec().fork = False  # type: ignore[misc]
