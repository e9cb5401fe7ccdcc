"""The plugin's fixtures in a marked test, which runs in another process than they are set up in."""

from __future__ import annotations

from tests.support.inner_pytest import Inner

WORKING = """
    import os, pytest
    from nsbox.seeing.leftovers import leftovers

    def ns(kind="pid"):
        return os.readlink(f"/proc/self/ns/{kind}")

    def of(thing, kind="pid"):
        return thing.run(["readlink", f"/proc/self/ns/{kind}"], capture_output=True, text=True).stdout.strip()

    OUTSIDE = ns(), ns("net")

    pytestmark = [pytest.mark.unshare("pid mount net", mount_proc=True)]

    def test_box(box):
        assert len({OUTSIDE[0], ns(), of(box)}) == 3
        assert of(box, "net") == ns("net") != OUTSIDE[1]
        assert box.run(["sh", "-c", "echo $PPID"], capture_output=True, text=True).stdout == "1\\n"

    @pytest.mark.box("pid uts", hostname="lab")
    def test_marked(box):
        assert (box.hostname, "mount" in box.namespaces) == ("lab", False)

    def test_netns(netns):
        assert netns.loopback
        assert len({OUTSIDE[1], ns("net"), of(netns, "net")}) == 3

    def test_factory(box_factory, box):
        made = [box, box_factory(), box_factory("uts", hostname="a")]
        assert len({one.pid for one in made}) == 3

    def test_shell(shell):
        assert shell.run("echo $$").stdout == "1\\n"

    def test_shell_with_a_timeout(shell):
        shell.timeout = 31
        shell.run("true")
        assert shell.timeout == 31

    @pytest.mark.shell("mip", fork=False)
    def test_broken_shell(shell):
        shell.run("uname")
        assert "lost its PID 1" in shell.run("uname").explanation

    def test_nothing_is_made_for_a_test_that_uses_nothing(box, netns, shell):
        assert repr(box) == repr(netns) == "<nsbox.Box, not made>"
        assert repr(shell) == "<nsbox.Shell, not made>"
        assert not leftovers([os.getpid()], timeout=0)

    @pytest.fixture
    def version(box):
        return box.run(["uname", "-r"], capture_output=True, text=True).stdout.strip()

    def test_another_fixture_uses_it(version):
        assert version == os.uname().release
"""


def test_they_work(inner: Inner) -> None:
    """They are made in the namespaces of the test when it uses them, and in pytest's process if a fixture does."""
    inner.write(test_it=WORKING)
    result = inner.run("--fail-on-leak", "-W", "error")
    result.assert_outcomes(passed=9)


ELSEWHERE = """
    import nsbox, pytest

    pytestmark = [pytest.mark.unshare("pid")]

    @pytest.fixture
    def used_before(box, box_factory, shell):
        box.run(["true"], check=True)
        shell.run("true")
        made = box_factory("uts")
        assert made.hostname
        return made

    def test_box(used_before, box):
        box.run(["true"])

    def test_factory(used_before):
        used_before.hostname = "a"

    def test_shell(used_before, shell):
        shell.run("true")
"""


def test_made_elsewhere(inner: Inner) -> None:
    """If a fixture has used one before the test, the error says that the marker is the reason."""
    inner.write(test_it=ELSEWHERE)
    result = inner.run()
    result.assert_outcomes(failed=3)
    reason = "*ClosedError: <nsbox.{}> cannot be used in a child of os.fork: the marker unshare runs this test in one*"
    result.stdout.fnmatch_lines([
        *[reason.format("Box with*, of another process")] * 2,
        reason.format("Shell: *of another process*"),
    ])  # fmt: skip


LEAVING = """
    import os, pytest

    pytestmark = [pytest.mark.unshare("pid")]

    def test_box(box):
        box.run(["sh", "-c", "sleep 4751 &"], check=True)

    def test_shell(shell):
        shell.run("sleep 4752 &")

    def test_factory(box_factory):
        box_factory().call(os.getpid)

    def test_fails_anyway(box):
        box.run(["sh", "-c", "sleep 4753 &"], check=True)
        raise KeyError("its own failure")
"""


def test_leaks(inner: Inner) -> None:
    """What a test leaves in such a box is reported, and fails the test, as outside."""
    inner.write(test_it=LEAVING)
    result = inner.run()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines_random([f"    sleep {number} (process *" for number in (4751, 4752, 4753)])
    result = inner.run("--fail-on-leak")
    assert result.ret == 1
    failing = [line for line in result.outlines if line.startswith(("FAILED", "ERROR"))]
    assert len({name for line in failing for name in ("test_box", "test_shell", "test_fails") if name in line}) == 3
    assert result.stdout.str().count("\nE       KeyError: 'its own failure'") == 1
    result.stdout.no_fnmatch_line("*test_factory*")
