"""However a marked test ends its process, it does not pass, the run goes on, and what it has reported is kept."""

from __future__ import annotations

import os

import nsbox
import pytest

from tests.support.census import descendants, reaped_all, wait_until
from tests.support.inner_pytest import Inner

ENDS = """
    import atexit, ctypes, faulthandler, gc, os, resource, signal, subprocess, sys, threading, time
    import pytest

    pytestmark = pytest.mark.unshare("pid", timeout=100)

    ENDS = {}
    def end(function):
        ENDS[function.__name__] = function
        return function

    @end
    def exits(): os._exit(0)
    @end
    def exits_with_status(): os._exit(3)
    @end
    def kills_itself(): os.kill(os.getpid(), signal.SIGKILL)
    @end
    def terminates_itself(): os.kill(os.getpid(), signal.SIGTERM)
    @end
    def aborts(): os.abort()
    @end
    def crashes(): ctypes.string_at(0)
    @end
    def raises_sigsegv(): signal.raise_signal(signal.SIGSEGV)
    @end
    def alarm():
        signal.alarm(1)
        time.sleep(60)
    @end
    def overflows_the_stack():
        sys.setrecursionlimit(1 << 30)
        def deeper(_): return sorted([1], key=deeper)
        deeper(0)
    @end
    def recurses():
        def deeper(n): return deeper(n + 1)
        deeper(0)
    @end
    def needs_too_much_memory():
        resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
        bytearray(1 << 29)
    @end
    def needs_too_much_time():
        resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
        while True: pass
    @end
    def exits_in_a_thread():
        thread = threading.Thread(target=os._exit, args=(0,))
        thread.start()
        time.sleep(60)
    @end
    def raises_in_a_thread():
        threading.Thread(target=signal.raise_signal, args=(signal.SIGKILL,)).start()
        time.sleep(60)
    @end
    def closes_everything_and_exits():
        os.closerange(0, 1000)
        os._exit(0)
    @end
    def kills_its_group():
        os.setpgid(0, 0)
        os.killpg(0, signal.SIGKILL)
    @end
    def kills_the_group_of_pytest(): os.killpg(0, signal.SIGKILL)
    @end
    def kills_everything():
        os.kill(-1, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    @end
    def executes_another_program(): os.execvp("true", ["true"])
    @end
    def executes_a_shell(): os.execvp("sh", ["sh", "-c", "echo shell; exit 0"])
    @end
    def sys_exit(): sys.exit()
    @end
    def sys_exit_0(): sys.exit(0)
    @end
    def system_exit(): raise SystemExit("text")
    @end
    def generator_exit(): raise GeneratorExit
    @end
    def base_exception():
        class Own(BaseException): pass
        raise Own
    @end
    def cancelled():
        import asyncio
        raise asyncio.CancelledError
    @end
    def stop_iteration(): raise StopIteration
    @end
    def memory_error(): raise MemoryError
    @end
    def fails_in_a_finalizer(request): request.addfinalizer(lambda: 1 / 0)
    @end
    def exits_in_a_finalizer(request): request.addfinalizer(lambda: os._exit(0))
    @end
    def exits_with_status_in_a_finalizer(request): request.addfinalizer(lambda: os._exit(3))
    @end
    def is_killed_in_a_finalizer(request): request.addfinalizer(lambda: os.kill(os.getpid(), 9))
    @end
    def forks_and_fails():
        pid = os.fork()
        if pid == 0: return
        os.waitpid(pid, 0)
        raise AssertionError("the parent fails")
    @end
    def forks_and_is_killed():
        pid = os.fork()
        if pid == 0: return
        os.waitpid(pid, 0)
        os.kill(os.getpid(), signal.SIGKILL)
    @end
    def child_goes_on():
        if os.fork():
            os._exit(0)
    @end
    def stops_itself_and_is_killed():
        pid, test = os.fork(), os.getppid()
        if pid == 0:
            time.sleep(0.1)
            os.kill(test, signal.SIGKILL)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(60)
    @end
    def writes_nonsense():
        for name in os.listdir("/proc/self/fd"):
            try: link = os.readlink(f"/proc/self/fd/{name}")
            except OSError: continue
            if "nsbox-report" in link:
                os.pwrite(int(name), b"x" * 100, 0)
                return
    @end
    def gives_the_report_up():
        gc.disable()
        os.closerange(3, 1000)
        raise AssertionError("still reported")

    @pytest.mark.parametrize("name", ENDS)
    def test_end(name, request, record_property):
        record_property("points", 7)
        request.node.add_report_section("call", "note", "a section of its own")
        print("before the end")
        function = ENDS[name]
        function(*([request] if function.__code__.co_argcount else []))

    def test_next(): pass
"""


def test_no_end_is_a_pass(inner: Inner) -> None:
    """Each of more than 24 ways fails the test, or its teardown; its points, section and output are in the report."""
    text = (
        ENDS
        + """
    def test_there_are_many(): assert len(ENDS) > 24
    """
    )
    inner.write(
        test_it=text,
        conftest="""
        def pytest_runtest_logreport(report):
            if "test_end" in report.nodeid and report.when == "teardown" and "nonsense" not in report.nodeid:
                names = [title for title, _ in report.sections]
                assert dict(report.user_properties)["points"] == 7, report
                assert "Captured note call" in names, report
        """,
    )
    result = inner.run("-rA", limit=500)
    passed = {line.split("::")[1] for line in result.outlines if line.startswith("PASSED")}
    errors = {line.split("::")[1].split(" - ")[0] for line in result.outlines if line.startswith("ERROR test_it")}
    assert passed - errors == {"test_next", "test_there_are_many"}
    in_teardown = {name for name in passed if "finalizer" in name}
    assert errors == in_teardown
    assert len(in_teardown) == 4
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "INTERNALERROR" not in result.stdout.str()
    assert result.stdout.str().count("before the end") >= 24
    assert wait_until(reaped_all)


def test_endless_output(as_root: Inner) -> None:
    """A test that does not stop printing is ended by its timeout, and what it has reported is kept."""
    as_root.write(
        test_it="""
        import pytest

        @pytest.mark.unshare("pid", timeout=0.5)
        def test_prints(record_property):
            record_property("points", 7)
            while True:
                print("x" * 1000)

        @pytest.mark.unshare("uts", timeout=0.5)
        def test_logs(record_property):
            import logging
            record_property("points", 7)
            while True:
                logging.warning("x" * 100)

        def test_next(): pass
    """
    )
    result = as_root.run("--show-capture=no", f"--junitxml={as_root.path / 'junit.xml'}", "-o", "junit_logging=no")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["the test took longer than its timeout of 0.5 seconds"] * 2)
    assert (as_root.path / "junit.xml").read_text().count('<property name="points" value="7"') == 2


def test_a_forked_child_that_returns(as_root: Inner) -> None:
    """It has no part in the report, and its status is the one that its end has."""
    as_root.write(
        test_it="""
        import os, pytest, sys

        pytestmark = pytest.mark.unshare("pid")

        def status(pid): return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        def test_child_returns(record_property):
            pid = os.fork()
            if pid == 0:
                record_property("of the child", 1)
                return
            assert status(pid) == 0
            raise KeyError("of the parent")

        def test_child_fails():
            pid = os.fork()
            if pid == 0:
                raise KeyError("of the child")
            assert status(pid) == 1

        def test_child_exits():
            pid = os.fork()
            if pid == 0:
                sys.exit(5)
            assert status(pid) == 5
    """
    )
    result = as_root.run("-rA")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E       KeyError: 'of the parent'"])
    assert "of the child'" in result.stdout.str()


OPTIONS = """
    import os, resource, socket, time
    import pytest

    @pytest.mark.unshare("pid", rlimits={"nofile": 100, "cpu": (1, 2)})
    def test_rlimits():
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (100, 100)
        while True: pass

    @pytest.mark.unshare("pid", rlimits={"fsize": 0})
    def test_reports_without_file_size(record_property):
        record_property("points", 1)
        assert 1 == 2

    @pytest.mark.unshare("pid", rlimits={"nofile": 3})
    def test_reports_without_descriptors(): assert 1 == 3

    @pytest.mark.unshare("pid", timeout=0.2)
    def test_timeout(record_property):
        record_property("points", 2)
        time.sleep(100)

    @pytest.mark.unshare("pid", timeout=0.2)
    def test_timeout_in_the_teardown(request):
        request.addfinalizer(lambda: time.sleep(100))

    @pytest.mark.unshare("pid uts", hostname="lab", timeout=100)
    def test_hostname(): assert socket.gethostname() == "lab"

    @pytest.mark.unshare("pid", cwd="/usr")
    def test_cwd(): assert os.getcwd() == "/usr"

    @pytest.mark.unshare("pid", reap=False)
    def test_reap(): pass

    @pytest.mark.unshare("pid", monut_proc=True)
    def test_misspelt(): pass

    @pytest.mark.unshare("pid", timeout="soon")
    def test_wrong_timeout(): pass

    @pytest.mark.unshare("pid", user="no such user")
    def test_wrong_user(): pass
"""


def test_options(inner: Inner) -> None:
    """Each option of the marker works, or is refused by its name."""
    inner.write(test_it=OPTIONS)
    result = inner.run("-rA")
    result.assert_outcomes(passed=4, failed=8 - 1, errors=1)
    output = result.stdout.str()
    for line in (
        "the process of the test ended with signal 24, and without a report",
        "the test took longer than its timeout of 0.2 seconds",
        "test_it.py::test_misspelt: the marker unshare has no option 'monut_proc'; did you mean 'mount_proc'?",
        "nsbox.errors.SpecError: timeout: expected seconds, got 'soon'",
        "nsbox.errors.SpecError: user: expected the name or the number of a user, got 'no such user'",
        "assert 1 == 2",
        "assert 1 == 3",
    ):
        assert line in output, line


def test_user(as_root: Inner) -> None:
    """With `user` the test has the rights of that user, and nothing else of root."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    as_root.write(
        test_it="""
        import os, pytest

        @pytest.mark.unshare("pid mount", mount_proc=True, user="nobody")
        def test_name():
            assert os.getresuid() == (65534,) * 3
            assert os.getgroups() == []
            with pytest.raises(PermissionError):
                open("/etc/shadow")
            assert "CapEff:\\t0000000000000000" in open("/proc/self/status").read()
            with pytest.raises(PermissionError):
                os.setuid(0)

        @pytest.mark.unshare("pid", user=65531)
        def test_number():
            assert os.getuid() == os.getgid() == 65531
            assert 1 == 2
    """
    )
    result = as_root.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E       assert 1 == 2"])


def test_capabilities(inner: Inner) -> None:
    """A test whose user is not root inside has no capabilities, unless it keeps them."""
    inner.write(
        test_it="""
        import os, pytest

        def capabilities():
            with open("/proc/self/status") as file:
                return next(int(line.split()[1], 16) for line in file if line.startswith("CapEff"))

        @pytest.mark.unshare("user pid", map_user=1234, map_group=1234)
        def test_none():
            assert os.getuid() == 1234 and capabilities() == 0
            with pytest.raises(PermissionError):
                os.setgroups([])

        @pytest.mark.unshare("user pid", map_user=1234, map_group=1234, keep_caps=True)
        def test_kept(): assert capabilities()

        @pytest.mark.unshare("user pid")
        def test_root(): assert os.getuid() == 0 and capabilities()
    """
    )
    inner.run().assert_outcomes(passed=3)


def test_limits(as_root: Inner) -> None:
    """With `limits` the test is in the cgroup of its box, in which the limits hold."""
    try:
        nsbox.run(["true"], limits={}).check_returncode()
    except nsbox.NsboxError as error:
        pytest.skip(str(error))
    as_root.write(
        test_it="""
        import pytest

        OWN = open("/proc/self/cgroup").read()

        @pytest.mark.unshare("pid", limits={})
        def test_inside():
            own = open("/proc/self/cgroup").read()
            assert own != OWN and "/nsbox-" in own

        @pytest.mark.unshare("uts", limits={})
        def test_inside_without_pid(): test_inside()
    """
    )
    as_root.run().assert_outcomes(passed=2)


def test_names_of_processes_are_escaped(as_root: Inner) -> None:
    """A process that is left behind cannot move the cursor by its name."""
    as_root.write(
        test_it="""
        import pytest, subprocess

        @pytest.mark.unshare("pid")
        def test_leaves():
            subprocess.Popen(["\\x1b[31mred", "4719"], executable="/bin/sleep")
    """
    )
    result = as_root.run("--fail-on-leak")
    result.assert_outcomes(failed=1)
    assert "\x1b" not in result.stdout.str()
    assert "?[31mred 4719" in result.stdout.str()
    assert not any("4719" in process.command for process in nsbox.ps(pids=descendants()))
