"""Tests that run in new namespaces, by the marker ``unshare``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import nsbox
import pytest

from tests.support.census import descendants, reaped_all, wait_until
from tests.support.inner_pytest import Inner

EVERY_END = """
    import os, subprocess, unittest, warnings
    import pytest

    pytestmark = pytest.mark.unshare("pid mount net", mount_proc=True)

    @pytest.fixture
    def value():
        print("set up by", os.getpid())
        yield os.getpid()
        print("torn down by", os.getpid())

    def test_passes(value, tmp_path):
        assert os.getpid() == 2 and os.getppid() == 0 and value != 2
        assert [name for name in os.listdir("/proc") if name.isdigit()] == ["1", "2"]
        assert os.listdir("/sys/class/net") != [] and open("/proc/net/dev").read().count(":") == 1
        (tmp_path / "file").write_text("written inside")

    @pytest.mark.parametrize("number", [1, 2])
    def test_fails(value, number):
        print("printed", number)
        os.write(1, b"written\\n")
        subprocess.run(["echo", "by a program"], check=True)
        seen = {"number": number}
        assert seen == {"number": 2}

    def test_skips():
        pytest.skip("for this reason")

    @pytest.mark.skipif(True, reason="never runs")
    def test_skipped():
        raise AssertionError

    def test_xfails_by_call():
        pytest.xfail("known")

    @pytest.mark.xfail(raises=ZeroDivisionError, reason="divides")
    def test_xfails():
        1 / 0

    @pytest.mark.xfail(raises=ZeroDivisionError)
    def test_fails_otherwise():
        raise KeyError("otherwise")

    @pytest.mark.xfail
    def test_xpasses():
        pass

    @pytest.mark.xfail(strict=True)
    def test_xpasses_strictly():
        pass

    @pytest.mark.xfail(run=False)
    def test_is_not_run():
        raise AssertionError

    def test_errors_in_fixture(request):
        request.getfixturevalue("broken")

    @pytest.fixture
    def broken():
        raise OSError("broken fixture")

    class TestCase(unittest.TestCase):
        def test_unittest_passes(self):
            self.assertEqual(os.getpid(), 2)

        def test_unittest_fails(self):
            self.assertEqual(os.getpid(), 3)

        def test_unittest_skips(self):
            self.skipTest("in unittest")
"""


def test_every_end(inner: Inner) -> None:
    """However a test ends, its report is the same as outside."""
    inner.write(test_it=EVERY_END)
    result = inner.run("-rA", "-v")
    result.assert_outcomes(passed=3, failed=5, skipped=3, xfailed=3, xpassed=1)
    output = result.stdout.str()
    for expected in (
        "nsbox: ",
        "E       AssertionError: assert {'number': 1} == {'number': 2}", ": for this reason",
        "[XPASS(strict)]", "broken fixture", "KeyError: 'otherwise'", "AssertionError: 2 != 3", "in unittest",
    ):  # fmt: skip
        assert expected in output
    captured = re.search(
        r"Captured stdout setup -+\nset up by (\d+)\n-+ Captured stdout call -+\n(.*?)"
        r"-+ Captured stdout teardown -+\ntorn down by (\d+)\n",
        output.partition("test_fails[1] ___")[2],
        re.DOTALL,
    )
    assert captured
    assert captured[2] == "printed 1\nwritten\nby a program\n"
    assert captured[1] == captured[3] != "2"


@pytest.mark.parametrize("mode", ["fd", "sys", "tee-sys", "no"])
def test_output(as_root: Inner, mode: str) -> None:
    """The output is shown as for any other test, in each capture mode."""
    text = """
        import logging, pytest, sys

        @pytest.mark.unshare
        def test_it(capsys, caplog):
            print("seen by the test")
            assert capsys.readouterr().out == "seen by the test\\n"
            logging.getLogger("inside").warning("logged")
            assert caplog.messages == ["logged"]
            with capsys.disabled():
                print("past capsys")
            sys.stderr.write("to standard error\\n")
            assert False
    """
    seen = []
    for content in (text, text.replace("@pytest.mark.unshare", "#")):
        as_root.write(test_it=content)
        lines = [line for line in as_root.run(f"--capture={mode}").outlines if line != "nsbox"]
        seen.append(
            [
                sum(found.endswith(line) for found in lines)
                for line in ("past capsys", "to standard error", "seen by the test")
            ]
        )
        assert sum("WARNING  inside:test_it.py:8 logged" in line for line in lines) == 1
    assert seen[0] == seen[1]
    assert seen[0][:2] in ([1, 1], [1, 2])


def test_properties_warnings_and_fixtures(as_root: Inner) -> None:
    """Properties and warnings are reported, and a test can request fixtures itself."""
    as_root.write(
        test_it="""
        import os, pytest, warnings

        @pytest.fixture
        def outer():
            yield "outer"
            print("outer torn down inside", os.getpid() == 2)

        @pytest.fixture
        def late(outer):
            yield outer
            print("late torn down inside", os.getpid() == 2)

        @pytest.mark.unshare("pid")
        def test_it(request, record_property):
            record_property("points", 3)
            warnings.warn("from inside", FutureWarning)
            assert request.getfixturevalue("late") == "outer"
    """
    )
    result = as_root.run("-rP", "--junitxml=junit.xml", "-o", "junit_family=xunit1")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["late torn down inside True", "outer torn down inside True"])
    result.stdout.fnmatch_lines(["*test_it.py:17: FutureWarning: from inside"])
    assert '<property name="points" value="3" />' in (as_root.path / "junit.xml").read_text()
    as_root.run("-W", "error::FutureWarning").assert_outcomes(failed=1)


def test_kinds(inner: Inner) -> None:
    """Any kinds of namespaces are new; others are pytest's own, but for a user namespace if it is needed."""
    inner.write(
        test_it="""
        import os, pytest

        KINDS = ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup", "time")
        OWN = {name: os.readlink(f"/proc/self/ns/{name}") for name in KINDS}
        HERE = os.getcwd()

        @pytest.fixture
        def wanted(request):
            wanted = request.param
            request.applymarker(pytest.mark.unshare(wanted))
            return set(wanted.replace("mount", "mnt").split())

        @pytest.mark.parametrize(
            "wanted", ["", "net", "uts ipc", "user", "time", "user mount pid ipc uts net cgroup time"], indirect=True)
        def test_it(wanted):
            new = {name for name in KINDS if os.readlink(f"/proc/self/ns/{name}") != OWN[name]}
            assert wanted <= new <= wanted | {"user"}
            assert os.getcwd() == HERE
    """
    )
    inner.run().assert_outcomes(passed=6)


def test_sudden_ends(inner: Inner) -> None:
    """A test that kills itself fails; the next one runs."""
    inner.write(
        test_it="""
        import os, pytest, signal
        pytestmark = pytest.mark.unshare("pid")

        @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
        def test_signal(number):
            print("before the end")
            os.kill(os.getpid(), number)

        def test_exit():
            os._exit(3)

        def test_kills_init():
            os.kill(1, signal.SIGKILL)
            # A SIGKILL from inside is ignored by PID 1 (pid_namespaces(7)).

        def test_lives():
            pass
    """
    )
    result = inner.run()
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines([
        "the process of the test ended with signal 9, and without a report", "before the end",
        "the process of the test ended with signal 11, and without a report",
        "the process of the test ended with exit status 3, and without a report",
    ])  # fmt: skip


def test_exit_and_interrupt(as_root: Inner) -> None:
    """Both end the whole run, as in any test."""
    as_root.write(
        test_it="""
        import pytest

        @pytest.mark.unshare
        def test_exit():
            pytest.exit("enough", returncode=7)

        @pytest.mark.unshare
        def test_interrupt():
            raise KeyboardInterrupt

        def test_never():
            raise AssertionError
    """
    )
    result = as_root.run("-k", "exit or never")
    result.stdout.fnmatch_lines(["*Exit: enough*"])
    assert result.ret == 7
    assert as_root.run("-k", "interrupt or never").ret == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeout(inner: Inner, method: str) -> None:
    """A test that hangs is ended, with all it has started, and the report shows where it hung."""
    pytest.importorskip("pytest_timeout")
    inner.write(
        test_it="""
        import pytest, subprocess, time

        KINDS = [pytest.param(kinds, marks=pytest.mark.unshare(kinds)) for kinds in ("uts", "pid")]

        @pytest.mark.parametrize("kinds", KINDS)
        def test_hangs(kinds):
            subprocess.Popen(["sleep", "4711"], start_new_session=True)
            print("it hangs")
            time.sleep(4711)
    """
    )
    # On a busy machine a test may need longer than the first timeouts.
    for seconds in (1, 10, 60):
        result = inner.run(f"--timeout={seconds}", f"--timeout-method={method}")
        if method == "thread" or result.stdout.str().count("\nit hangs\n") == 2:
            break
    if method == "signal":
        result.assert_outcomes(failed=2)
        result.stdout.fnmatch_lines([
            "*Captured stack of the test call*", '  File "*/test_it.py", line 10 in test_hangs', "it hangs",
        ] * 2)  # fmt: skip
        assert "_within.py" not in result.stdout.str()
    assert wait_until(lambda: not _running("sleep 4711"))
    assert wait_until(reaped_all)


def test_pytest_is_killed(inner: Inner) -> None:
    """If pytest is killed, nothing of the test survives."""
    for kinds in ("pid", "uts"):
        inner.write(
            test_it=f"""
            import pytest, subprocess, time

            @pytest.mark.unshare({kinds!r})
            def test_hangs():
                subprocess.Popen(["sleep", "4712"], start_new_session=True)
                time.sleep(4712)
        """
        )
        command = [*inner.command, "-p", "no:cacheprovider", "test_it.py"]
        if not inner.who.is_root:
            command = [*inner.privileges(), *command]
        with subprocess.Popen(command, cwd=inner.path, stdout=subprocess.DEVNULL, env=inner.environment) as running:
            assert wait_until(lambda: _running("sleep 4712"))
            running.kill()
        assert wait_until(lambda: not _running("sleep 4712"))
        assert wait_until(reaped_all)


@pytest.mark.parametrize("kinds", ["pid", "uts"])
def test_ctrl_c(as_root: Inner, kinds: str) -> None:
    """SIGINT reaches all processes on the terminal; the run ends, and so does the test with all it has started."""
    as_root.write(
        test_it=f"""
        import pytest, subprocess, time

        @pytest.mark.unshare({kinds!r})
        def test_hangs():
            subprocess.Popen(["sleep", "4715"], start_new_session=True)
            subprocess.Popen(["sleep", "4716"], start_new_session=True)
            time.sleep(4715)
    """
    )
    command = [*as_root.command, "-p", "no:cacheprovider", "test_it.py"]
    log = as_root.path / "output"
    with log.open("w") as file, subprocess.Popen(
        command, cwd=as_root.path, stdout=file, stderr=file, env=as_root.environment, start_new_session=True
    ) as running:  # fmt: skip
        assert wait_until(lambda: _running("sleep 4716"))
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(100) == pytest.ExitCode.INTERRUPTED
    assert log.read_text().count("KeyboardInterrupt") >= 1
    assert log.read_text().count("test session starts") == 1
    assert wait_until(lambda: not _running("sleep 4715") and not _running("sleep 4716"))
    assert wait_until(reaped_all)


def test_debugger(as_root: Inner) -> None:
    """--pdb and breakpoint() work on a test inside, on a terminal, and show its position."""
    as_root.write(
        test_it="""
        import os, pytest

        @pytest.mark.unshare("pid")
        def test_it():
            number = 4711
            breakpoint()
            assert number == 0
    """
    )
    for arguments, lines in (
        (["--pdb"], ["p number", "c", "p number * 2, os.getpid()", "q"]),
        ([], ["p number", "c"]),
    ):
        output = _on_a_terminal([*as_root.command, "-p", "no:cacheprovider", *arguments], as_root.path, lines)
        assert "nsbox: this is process 2 inside the test's namespaces" in output
        assert "4711" in output
        assert ("(9422, 2)" in output) == bool(arguments)
        assert ("Exit: Quitting debugger" in output) == bool(arguments)


def _on_a_terminal(command: list[str], directory: Path, lines: list[str]) -> str:
    """Run a program on a terminal of its own; type a line at each prompt of the debugger."""
    ours, theirs = os.openpty()
    output = b""
    environment = {**os.environ, "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(command, cwd=directory, stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
                          start_new_session=True) as running:  # fmt: skip
        os.close(theirs)
        seen = 0
        while True:
            try:
                output += os.read(ours, 65536)
            except OSError:
                break  # EIO: the other end is closed
            if output.count(b"(Pdb) ") > seen and lines:
                seen = output.count(b"(Pdb) ")
                os.write(ours, lines.pop(0).encode() + b"\n")
        os.close(ours)
        running.wait(100)
    return output.decode()


def test_parallel(inner: Inner) -> None:
    """With pytest-xdist, whose workers have threads, tests run inside as well."""
    pytest.importorskip("xdist")
    inner.write(
        test_it="""
        import os, pytest, socket

        @pytest.mark.unshare("pid net mount", mount_proc=True)
        @pytest.mark.parametrize("number", range(24))
        def test_same_port(number):
            with socket.create_server(("127.0.0.1", 80)):
                assert os.getpid() == 2
            assert number != 5
    """
    )
    result = inner.run(*(("-n", "4") if inner.starts_pythons() else ()))
    result.assert_outcomes(passed=23, failed=1)
    result.stdout.fnmatch_lines(["*assert 5 != 5*"])


def test_refused_options(as_root: Inner) -> None:
    """Wrong options are errors of the test, each with its name."""
    as_root.write(
        test_it="""
        import pytest

        @pytest.mark.unshare("pid", no_new_privs=True)
        def test_for_programs():
            pass

        @pytest.mark.unshare("nonsense")
        def test_kinds():
            pass

        @pytest.mark.unshare("pid", trust=True)
        def test_has_nothing_to_trust():
            pass

        @pytest.mark.needs_namespaces
        @pytest.mark.box("pid", trust=True)
        def test_trusts_its_box(box):
            assert type(box.call(object)) is object
    """
    )
    result = as_root.run()
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*SpecError: no_new_privs: is for programs*",
            "*SpecError: unshare: 'o' in 'nonsense'*",
            "*SpecError: trust: *never unpickled*",
        ]
    )


def _running(command: str) -> bool:
    return any(process.command == command for process in nsbox.ps(pids=descendants()))
