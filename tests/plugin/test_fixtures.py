"""The plugin's fixtures, skips, and report of leaks; and that it does nothing where it is not used."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import nsbox
import pytest

from tests.support.census import descendants, reap_adopted, wait_until
from tests.support.inner_pytest import Inner


def reaped(pid: int) -> bool:
    """Reap adopted children, and return whether that process was one of them."""
    reap_adopted()
    return not Path(f"/proc/{pid}").exists()


def test_fixtures(inner: Inner) -> None:
    """Boxes and shells are made as the markers say, and ended after the test."""
    inner.write(
        test_it="""
        import nsbox, os, pytest

        made = []

        def test_box(box):
            made.append(box)
            assert box.run(["sh", "-c", "echo $PPID"], capture_output=True, text=True).stdout == "1\\n"
            seen = box.run(["sh", "-c", "echo /proc/[0-9]*"], capture_output=True, text=True).stdout
            assert seen.split()[0] == "/proc/1" and len(seen.split()) == 2

        @pytest.mark.box("pid uts", hostname="lab")
        def test_marked(box):
            made.append(box)
            assert (box.hostname, "mount" in box.namespaces) == ("lab", False)

        def test_factory(box_factory, box):
            made.extend([box, box_factory(), box_factory("uts", hostname="a"), box_factory("net", "pid")])
            assert len({box.pid for box in made[-4:]}) == 4

        def test_netns(netns):
            made.append(netns)
            assert netns.loopback
            assert netns.run(["grep", "-c", ":", "/proc/net/dev"], capture_output=True, text=True).stdout == "1\\n"

        def test_shell(shell):
            made.append(shell)
            assert shell.run("echo $$").stdout == "1\\n"

        @pytest.mark.shell("mip", fork=False)
        def test_broken_shell(shell):
            shell.run("uname")
            assert "lost its PID 1" in shell.run("uname").explanation

        def test_all_gone():
            assert len(made) == 8
            assert not [thing for thing in made if thing.alive]
    """
    )
    inner.run().assert_outcomes(passed=7)


LEAKS = """
    import os, pytest, subprocess, sys

    def daemon(seconds):
        return ["setsid", "sleep", str(seconds)]

    @pytest.mark.unshare("pid")
    def test_inside():
        subprocess.Popen(daemon(811))

    @pytest.mark.unshare("uts")
    def test_inside_without_pid():
        subprocess.run(["sh", "-c", "setsid sleep 812 &"], check=True)

    def test_box(box):
        box.run(["sh", "-c", "setsid sleep 813 & sleep 814 &"], check=True)

    def test_shell(shell):
        shell.run("sleep 815 &")

    @pytest.mark.unshare("pid")
    def test_clean():
        subprocess.run(["sleep", "0"], check=True)

    def test_outside():
        subprocess.run(["sh", "-c", "setsid sleep 816 &"], check=True)

    @pytest.fixture(scope="session")
    def server():
        with subprocess.Popen(["sleep", "817"]) as process:
            yield process
            process.kill()

    def test_with_server(server, box):
        with subprocess.Popen(["sleep", "818"]) as own:
            own.kill()
"""


def test_leaks_are_reported(inner: Inner) -> None:
    """The report names the tests, and what they have left; that is ended."""
    inner.write(test_it=LEAKS)
    result = inner.run("-k", "not outside")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines([
        "*processes left behind*",
        "test_it.py::test_inside", "    sleep 811 (process *, 3 inside, in a session of its own)",
        "test_it.py::test_inside_without_pid", "    sleep 812 (process *, in a session of its own)",
        "test_it.py::test_box", "    sleep 814 (process *", "test_it.py::test_shell", "    sleep 815 (process *",
    ])  # fmt: skip
    result.stdout.no_fnmatch_line("*test_clean*")
    result.stdout.no_fnmatch_line("*sleep 81[78]*")


@pytest.mark.parametrize("parallel", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_leaks_can_fail(as_root: Inner, parallel: tuple[str, ...]) -> None:
    """--fail-on-leak checks after every test, and fails those that leave something."""
    if parallel:
        pytest.importorskip("xdist")
    as_root.write(test_it=LEAKS)
    result = as_root.run("--fail-on-leak", *parallel)
    assert sum(line.startswith("    sleep 815 ") for line in result.outlines) == 2  # in the error, and in the summary
    # Processes that were started outside of all boxes are reported, but not ended: they may belong to others.
    (left,) = [process.pid for process in nsbox.ps(pids=descendants()) if process.command == "sleep 816"]
    os.kill(left, signal.SIGKILL)
    assert wait_until(lambda: reaped(left))
    # A leak of a fixture, or outside, is seen in the teardown, which is an error of its own.
    result.assert_outcomes(passed=5, failed=2, errors=3)
    result.stdout.fnmatch_lines_random([
        "*the test left 1 process behind*", "    sleep 811 (*", "    sleep 812 (*", "*    sleep 813 (*",
        "*    sleep 815 (*",
        "*    sleep 816 (*",
    ])  # fmt: skip
    result.stdout.no_fnmatch_line("*sleep 81[78]*")


NEEDS = """
    import pytest

    @pytest.mark.needs_namespaces("user", "pid")
    def test_named():
        pass

    @pytest.mark.needs_namespaces
    @pytest.mark.unshare("pid mount", mount_proc=True)
    def test_those_of_the_test():
        pass

    @pytest.mark.needs_namespaces
    @pytest.mark.box("net", hostname=None, loopback=True)
    def test_those_of_the_box(box):
        pass

    @pytest.mark.needs_namespaces
    @pytest.mark.parametrize("name", ["box", "netns", "shell", "box_factory"])
    def test_those_of_a_fixture_that_is_asked_for_later(request, name):
        thing = request.getfixturevalue(name)
        assert (thing() if name == "box_factory" else thing).pid

    @pytest.mark.needs_namespaces("uts")
    def test_those_that_are_made_as_well(box_factory):
        box_factory("time")

    pytestmark = pytest.mark.needs_namespaces

    def test_box(box):
        pass

    def test_netns(netns):
        pass

    def test_shell(shell):
        pass

    def test_factory(box_factory):
        pass

    @pytest.mark.unshare("pid")
    @pytest.mark.shell("mip", columns=70)
    def test_inside(box, netns, shell):
        assert box.pid and netns.pid and shell.pid
"""


def test_needs_that_are_met(inner: Inner) -> None:
    """A test whose namespaces can be created is not skipped."""
    inner.write(test_it=NEEDS)
    inner.run("--nsbox=require").assert_outcomes(passed=13)


CONTAINER = f"""
    import errno, sys
    sys.path.insert(0, {str(Path(__file__).parents[2])!r})
    from tests.support.seccomp import Deny, install

    # As a container's filter: clone with flags for namespaces is refused, and clone3 is hidden, as its flags are.
    install(Deny("clone3", errno.ENOSYS), Deny("clone", errno.EPERM, argument=0, bits=0x7E020000),
            Deny("unshare", errno.EPERM))
"""


LIMITED = f"""
    import sys
    sys.path.insert(0, {str(Path(__file__).parents[2])!r})
    from tests.plan.test_failures import enter_user_namespace
    from nsbox.spec.kinds import KINDS

    # As an administrator can disable them. No such limit is written before this process has a user namespace.
    enter_user_namespace()
    for kind in KINDS.values():
        with open(f"/proc/sys/user/max_{{kind.link}}_namespaces", "w") as file:
            file.write("0")
"""


FAILS = """
    import nsbox, pytest

    @pytest.mark.unshare("pid")
    def test_marked(): pass
    def test_box(box): pass
    def test_shell(shell): pass
    def test_own():
        with nsbox.Box("pid"): pass
"""


@pytest.mark.parametrize(("machine", "why"), [(CONTAINER, "seccomp"), (LIMITED, "user.max_user_namespaces")])
def test_refused(inner: Inner, machine: str, why: str) -> None:
    """Where the kernel refuses, tests are skipped with the doctor's reason, or fail with it."""
    inner.write(test_it=NEEDS, conftest=machine)
    result = inner.run("-rs", "-W", "error")
    result.assert_outcomes(skipped=13)
    result.stdout.fnmatch_lines(["nsbox: No new namespaces can be made here.*"])
    skips = [line for line in result.outlines if line.startswith("SKIPPED")]
    assert any("new user, pid namespaces cannot be made here: step" in line and why in line for line in skips)
    assert all("cannot be made here: step" in line and "; next: " in line for line in skips)
    result = inner.run("--nsbox=require")
    # Most fail in the set-up, which pytest reports as errors.
    result.assert_outcomes(errors=9, failed=4)
    result.stdout.fnmatch_lines(["nsbox: No new*", "*new user, pid namespaces cannot be made here: *",
                                 "*(a failure because of --nsbox=require)"])  # fmt: skip
    # Without the marker needs_namespaces they fail, with the reason, and without nsbox's own code.
    inner.write(test_it=FAILS)
    result = inner.run()
    result.assert_outcomes(errors=2, failed=2)
    text = result.stdout.str()
    assert text.count("next: ") == 4
    assert "self = " not in text
    assert "/nsbox/" not in text


def test_unused_plugin(as_root: Inner) -> None:
    """A run that does not use the plugin imports nothing of it, prints nothing, and starts nothing."""
    as_root.write(
        test_it="""
        import sys

        def test_it():
            assert {name for name in sys.modules if name.startswith("nsbox")} == {"nsbox", "nsbox.pytest_plugin"}
    """
    )
    result = as_root.run("-v", "--strict-markers")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("nsbox: *")
    assert {"unshare", "box", "shell", "needs_namespaces"} <= {
        line.removeprefix("@pytest.mark.").partition("(")[0] for line in as_root.run("--markers").outlines
    }
