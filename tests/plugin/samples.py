"""Tests and a conftest.py for the comparison of marked with unmarked tests: what they report is recorded."""

from __future__ import annotations

__all__ = ["CONFTEST", "SAMPLES"]

CONFTEST = '''
import json, os, re
import pytest

def note(*event):
    """Append an event to the record: also from the process of a marked test."""
    text = json.dumps(event, default=repr)
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"SubTests\\(.*?<SubRequest", "SubTests(<SubRequest", text)
    text = re.sub(r"pytest-of-\\\\w+/pytest-\\\\d+", "TMP", text)
    with open(os.environ["NSBOX_RECORD"], "a") as file:
        file.write(text + "\\n")

def pytest_collection_modifyitems(items):
    kinds = os.environ.get("NSBOX_MARK")
    for item in items:
        if kinds:
            item.add_marker(pytest.mark.unshare(kinds))

def described(error, depth=0):
    if error is None or depth > 5:
        return None
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = last and (os.path.basename(last.tb_frame.f_code.co_filename), last.tb_frame.f_code.co_name, last.tb_lineno)
    inner = [described(one, depth + 1) for one in getattr(error, "exceptions", ())]
    attributes = {name: value for name, value in vars(error).items() if isinstance(value, (int, str, list, dict))}
    return (type(error).__module__, type(error).__qualname__, str(error), repr(error.args), attributes, inner, place,
            described(error.__cause__, depth + 1), error.__suppress_context__,
            described(error.__context__, depth + 1))

def excinfo_of(call):
    return call.excinfo and described(call.excinfo.value)

KNOWN = {"_id", "nodeid", "location", "keywords", "outcome", "longrepr", "when", "user_properties", "sections",
         "duration", "start", "stop", "context", "testrun_uid", "worker_id", "node", "item_index"}

def pytest_runtest_logreport(report):
    extra = {name: value for name, value in vars(report).items() if name not in KNOWN}
    context = getattr(report, "context", None)
    note("logreport", type(report).__name__, report.nodeid, report.when, report.outcome, report.longreprtext,
         report.head_line, sorted(set(report.keywords) - {"unshare"}), report.user_properties, report.sections, extra,
         context and (context.msg, context.kwargs), report.location)

def pytest_warning_recorded(warning_message, when, nodeid, location):
    note("warning", str(warning_message.message), warning_message.category.__name__, repr(warning_message.message.args),
         os.path.basename(warning_message.filename), warning_message.lineno, when, nodeid)

def pytest_exception_interact(node, call, report):
    note("interact", node.nodeid, report.when, excinfo_of(call), str(node.repr_failure(call.excinfo)).splitlines()[-1:])

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    note("makereport", item.nodeid, call.when, excinfo_of(call))
    report = yield
    points = getattr(call.excinfo and call.excinfo.value, "points", None)
    if points is not None:
        report.points = points
        report.user_properties.append(("points", points))
    return report

def hook(name):
    @pytest.hookimpl(wrapper=True)
    def wrapper(item):
        note(name, "begins", item.nodeid)
        try:
            result = yield
        except BaseException as error:
            note(name, "raises", item.nodeid, described(error))
            raise
        note(name, "ends", item.nodeid)
        return result
    return wrapper

pytest_runtest_setup = hook("setup")
pytest_runtest_call = hook("call")
pytest_runtest_teardown = hook("teardown")

def pytest_fixture_post_finalizer(fixturedef, request):
    if fixturedef.cached_result is not None:
        note("post_finalizer", fixturedef.argname, request.node.nodeid)

@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    note("fixture_setup", fixturedef.argname, request.node.nodeid)

def pytest_sessionfinish(session, exitstatus):
    note("finish", int(exitstatus), session.testsfailed, session.testscollected)

@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter):
    yield
    stats = terminalreporter.stats
    note("stats", {key: len(value) for key, value in stats.items() if key})

@pytest.fixture(scope="session")
def of_session():
    yield "session"
    print("torn down: session")

@pytest.fixture(scope="module")
def of_module(of_session):
    yield "module"
    print("torn down: module")

@pytest.fixture(scope="class")
def of_class():
    yield "class"
    print("torn down: class")

@pytest.fixture
def of_function():
    yield "function"
    print("torn down: function")

@pytest.fixture
def broken_teardown():
    yield
    raise OSError(5, "in the teardown")
'''

OUTCOMES = """
import pytest

def test_passes(): pass
def test_fails(): assert [1, 2] == [1, 3]
def test_fails_by_call(): pytest.fail("by call")
def test_fails_without_trace(): pytest.fail("by call", pytrace=False)
def test_skips(): pytest.skip("for this reason")
def test_importorskip(): pytest.importorskip("no_such_module_4711")
def test_xfails_by_call(): pytest.xfail("known")
@pytest.mark.skipif("True", reason="never runs")
def test_skipped(): pass
@pytest.mark.xfail(reason="any")
def test_xfails(): assert 0
@pytest.mark.xfail(raises=ZeroDivisionError)
def test_xfails_with(): 1 / 0
@pytest.mark.xfail(raises=(KeyError, OSError))
def test_xfails_otherwise(): 1 / 0
@pytest.mark.xfail
def test_xpasses(): pass
@pytest.mark.xfail(strict=True, reason="strict")
def test_xpasses_strictly(): pass
@pytest.mark.xfail(False, reason="no")
def test_xfail_does_not_count(): assert 0
@pytest.mark.xfail(run=False)
def test_not_run(): assert 0
def test_xfail_is_added(request):
    request.applymarker(pytest.mark.xfail(reason="added"))
    assert 0
def test_xfail_is_added_and_passes(request):
    request.node.add_marker(pytest.mark.xfail(strict=True, reason="added"))
def test_xfail_is_added_for_another(request):
    request.node.add_marker(pytest.mark.xfail(raises=KeyError, reason="added"))
    assert 0
def test_xfail_is_added_on_condition(request):
    request.node.add_marker(pytest.mark.xfail("1 > 2", reason="added"))
    assert 0
@pytest.mark.parametrize("value", [1, 2], ids=["one", "two"])
def test_parametrized(value): assert value == 1
@pytest.mark.parametrize("a", [1, 2])
@pytest.mark.parametrize("b", ["x"])
def test_twice_parametrized(a, b): assert a == 1
def test_raises():
    with pytest.raises(ValueError, match="bad"):
        raise ValueError("bad")
def test_raises_nothing():
    with pytest.raises(ValueError):
        pass
def test_raises_another():
    with pytest.raises(ValueError, match="good"):
        raise ValueError("bad")
def test_approx(): assert 0.1 + 0.2 == pytest.approx(0.4)
def test_long_text(): assert "a" * 500 == "a" * 499 + "b"
@pytest.mark.usefixtures("of_function", "of_module")
def test_uses_fixtures(): pass
def test_broken_fixture(broken): pass
@pytest.fixture
def broken(): raise KeyError("in the setup")
def test_broken_teardown(broken_teardown): pass
def test_fails_with_broken_teardown(broken_teardown): assert 0
def test_returns():
    assert True
class TestMethods:
    @classmethod
    def setup_class(cls): print("setup_class")
    @classmethod
    def teardown_class(cls): print("teardown_class")
    def setup_method(self, method): print("setup_method")
    def teardown_method(self, method): print("teardown_method")
    def test_passes(self): print("called")
    def test_fails(self): assert self is None
class TestBrokenMethods:
    def teardown_method(self): raise RuntimeError("teardown_method")
    def test_passes(self): pass
"""

EXCEPTIONS = '''
import json, os, subprocess, sys
import pytest

class Partial(AssertionError):
    """Has points, and a constructor of its own."""
    def __init__(self, text, points):
        super().__init__(text)
        self.points = points
        self.hints = ["a", {"b": 1}]
    def __str__(self):
        return f"{self.args[0]} ({self.points} points)"

class Base(BaseException): pass
class TwoBases(KeyError, OSError): pass

def test_partial(): raise Partial("almost", 3)
def test_base(): raise Base("base")
def test_two_bases(): raise TwoBases("two")
def test_local():
    class Local(Partial): pass
    raise Local("local", 1)
def test_cause():
    try:
        json.loads("{")
    except ValueError as error:
        raise Partial("because", 2) from error
def test_context():
    try:
        {}["missing"]
    except KeyError:
        raise OSError(2, "No such file", "name", None, "other")
def test_suppressed():
    try:
        1 / 0
    except ZeroDivisionError:
        raise ValueError("suppressed") from None
def test_notes():
    error = ValueError("noted")
    error.add_note("a note")
    raise error
def test_group(): raise ExceptionGroup("several", [ValueError(1), ExceptionGroup("inner", [Partial("in", 4)])])
def test_base_group(): raise BaseExceptionGroup("several", [Base(1), KeyError("x")])
def test_group_of_skips(): raise ExceptionGroup("skips", [pytest.skip.Exception("one"), pytest.skip.Exception("two")])
def test_unicode(): b"\\xff".decode()
def test_syntax(): compile("1 +", "file", "exec")
def test_import(): import no_such_module_4711
def test_attribute(): os.no_such_name
def test_stop(): raise StopIteration(3)
def test_stop_async(): raise StopAsyncIteration
def test_generator_exit(): raise GeneratorExit
def test_system_exit(): sys.exit(3)
def test_system_exit_text(): raise SystemExit("text")
def test_system_exit_0(): sys.exit(0)
def test_process(): subprocess.run(["false"], check=True)
def test_recursion(): raise RecursionError("too deep")
def test_memory(): raise MemoryError
def test_no_str():
    class Silent(Exception):
        def __str__(self): raise ValueError("silent")
    with pytest.raises(Silent):
        raise Silent
def test_surrogates(): raise ValueError("\\udcff")
def test_empty(): raise ValueError
def test_numbers(): raise ValueError(1, 2.5, None, True, (1, "x"), [2])
def test_helper(): helper(3)
def helper(n):
    if n: helper(n - 1)
    raise Partial("deep", n)
'''

FIXTURES = """
import pytest

def test_finalizer(request): request.addfinalizer(lambda: print("finalized"))
def test_failing_finalizer(request):
    def fails(): raise OSError(7, "finalizer")
    request.addfinalizer(fails)
def test_two_failing_finalizers(request):
    def fails(): raise ValueError("finalizer")
    request.addfinalizer(fails)
    request.addfinalizer(fails)
def test_fails_with_failing_finalizer(request):
    def fails(): raise ValueError("finalizer")
    request.addfinalizer(fails)
    assert 0
def test_node_finalizer(request): request.node.addfinalizer(lambda: 1 / 0)
def test_finalizer_that_skips(request): request.addfinalizer(lambda: pytest.skip("in the teardown"))
def test_finalizer_that_asserts(request):
    def fails():
        value = 3
        assert value == 4
    request.addfinalizer(fails)
def test_requests_function(request): assert request.getfixturevalue("of_function") == "function"
def test_requests_broken(request): request.getfixturevalue("broken")
def test_requests_broken_teardown(request): request.getfixturevalue("broken_teardown")
def test_requests_present(request, of_function): assert request.getfixturevalue("of_function") == "function"
def test_requests_unknown(request): request.getfixturevalue("no_such_fixture")
@pytest.fixture
def broken(): raise KeyError("broken")
@pytest.fixture
def chain(request, of_function):
    request.addfinalizer(lambda: print("first"))
    yield of_function
    print("second")
def test_requests_chain(request): assert request.getfixturevalue("chain") == "function"
@pytest.fixture
def kept(): return request
@pytest.fixture(params=[1, 2])
def param(request): return request.param
def test_params(param): assert param == 1
@pytest.fixture
def factory(request):
    def make(n):
        request.addfinalizer(lambda: print("factory finalized", n))
        return n
    return make
def test_factory(factory): assert factory(1) + factory(2) == 3
def test_tmp_path(tmp_path, tmp_path_factory):
    (tmp_path / "file").write_text("x")
    assert tmp_path_factory.mktemp("more").is_dir()
def test_after(of_session): pass
def test_monkeypatch(monkeypatch):
    monkeypatch.setenv("NSBOX_NAME", "value")
    monkeypatch.setattr("os.sep", "|")
def test_config(request, pytestconfig, cache):
    assert request.config is pytestconfig
    cache.set("nsbox/value", 3)
    assert cache.get("nsbox/value", None) == 3
def test_stash(request):
    key = pytest.StashKey()
    request.node.stash[key] = 1
    assert request.node.stash[key] == 1
"""

WIDE_FIXTURES = """
import pytest

def test_requests_module(request): assert request.getfixturevalue("of_module") == "module"
class TestClass:
    def test_requests_class(self, request): assert request.getfixturevalue("of_class") == "class"
    def test_again(self, of_class): pass
def test_session(of_session): pass
"""

WARNINGS = """
import warnings
import pytest

class OwnWarning(UserWarning):
    def __init__(self, one, two):
        super().__init__(one, two)
        self.both = f"{one} {two}"
    def __str__(self): return self.both

def test_warns(): warnings.warn("plain")
def test_warns_of_category(): warnings.warn("new", FutureWarning)
def test_warns_own(): warnings.warn(OwnWarning("a", "b"))
def test_warns_deprecated(): warnings.warn("old", DeprecationWarning, stacklevel=1)
def test_warns_twice():
    for _ in range(2): warnings.warn("twice")
def test_warns_pytest(): warnings.warn(pytest.PytestWarning("of pytest"))
def test_recwarn(recwarn):
    warnings.warn("recorded")
    assert len(recwarn) == 1 and recwarn.pop(UserWarning)
@pytest.fixture
def checked(recwarn):
    yield
    assert [str(one.message) for one in recwarn] == ["recorded"]
    print("seen", [one.category.__name__ for one in recwarn])
def test_recwarn_in_teardown(checked): warnings.warn("recorded", FutureWarning)
def test_recwarn_in_teardown_fails(checked): warnings.warn("another")
def test_expects():
    with pytest.warns(UserWarning, match="expected"): warnings.warn("expected")
def test_expects_in_vain():
    with pytest.warns(UserWarning): pass
def test_expects_another():
    with pytest.warns(FutureWarning): warnings.warn("another")
def test_reemits():
    with pytest.warns(FutureWarning):
        warnings.warn("kept")
        warnings.warn("new", FutureWarning)
def test_deprecated():
    with pytest.deprecated_call(): warnings.warn("old", DeprecationWarning)
def test_catches():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("caught")
    assert len(caught) == 1
@pytest.mark.filterwarnings("error")
def test_error(): warnings.warn("as an error")
@pytest.mark.filterwarnings("ignore:ignored")
def test_ignored():
    warnings.warn("ignored")
    warnings.warn("not")
def test_warns_and_fails():
    warnings.warn("before")
    assert 0
def test_warns_in_finalizer(request): request.addfinalizer(lambda: warnings.warn("late"))
def test_shows():
    warnings.simplefilter("always")
    warnings.showwarning = lambda *args, **named: print("shown", args[0])
    warnings.warn("own function")
def test_returns_value(): return 3
"""

OUTPUT = """
import logging, os, subprocess, sys
import pytest

def test_prints():
    print("to stdout")
    print("to stderr", file=sys.stderr)
    assert 0
def test_prints_and_passes(): print("quiet")
def test_writes():
    os.write(1, b"written\\n")
    subprocess.run(["echo", "by a program"], check=True)
def test_capsys(capsys):
    print("seen")
    assert capsys.readouterr().out == "seen\\n"
    print("left")
    assert 0
def test_capsys_disabled(capsys):
    with capsys.disabled(): pass
    print("after")
def test_capfd(capfd):
    os.system("echo seen")
    assert capfd.readouterr().out == "seen\\n"
    os.system("echo left")
def test_capfdbinary(capfdbinary):
    os.write(1, b"\\xff")
    assert capfdbinary.readouterr().out == b"\\xff"
@pytest.fixture
def reads(capsys):
    print("of the setup")
    yield
    print("read", repr(capsys.readouterr().out))
def test_capsys_in_teardown(reads): print("of the call")
def test_logs():
    logging.getLogger("a.b").warning("number %d", 3)
    logging.info("not seen")
    assert 0
def test_logs_exception():
    try:
        1 / 0
    except ZeroDivisionError:
        logging.exception("failed")
def test_caplog(caplog):
    with caplog.at_level(logging.DEBUG): logging.debug("detail")
    assert caplog.messages == ["detail"]
    assert caplog.record_tuples == [("root", 10, "detail")]
def test_caplog_level(caplog):
    caplog.set_level(logging.INFO, "x")
    logging.getLogger("x").info("info")
    assert 0
def test_caplog_cleared(caplog):
    logging.warning("gone")
    caplog.clear()
    logging.warning("kept")
    assert 0
@pytest.fixture
def logged(caplog):
    logging.warning("of the setup")
    yield
    for one in caplog.get_records("call"):
        print(one.getMessage(), one.levelname, one.lineno, getattr(one, "extra", None))
def test_caplog_in_teardown(logged): logging.error("of the call %s", "x", extra={"extra": 7})
def test_section(request):
    request.node.add_report_section("call", "own", "text of a section")
    request.node.add_report_section("call", "own", "another")
def test_section_and_fails(request):
    request.node.add_report_section("call", "own", "text")
    assert 0
def test_surrogates(): print("\\udcff".encode("utf-8", "surrogateescape"))
def test_long(): print("x" * 100_000)
def test_logs_late(request): request.addfinalizer(lambda: (print("printed late"), logging.warning("late")))
"""

PROPERTIES = """
import pytest

def test_property(record_property):
    record_property("points", 3)
    record_property("list", [1, {"a": None}])
def test_property_and_fails(record_property):
    record_property("points", 1.5)
    assert 0
def test_user_properties(request):
    request.node.user_properties.append(("name", "value"))
    request.node.user_properties += [("second", 2)]
def test_user_properties_changed(request, record_property):
    record_property("a", 1)
    request.node.user_properties[:] = [("b", 2)]
@pytest.fixture
def of_setup(record_property):
    record_property("setup", 1)
    yield
    record_property("teardown", 2)
def test_around(of_setup, record_property): record_property("call", 3)
def test_xml(record_xml_attribute):
    record_xml_attribute("assertions", "REQ-1")
    record_xml_attribute("classname", "own & <class>")
def test_suite(record_testsuite_property):
    record_testsuite_property("ARCH", "PPC & <more>")
def test_late(request, record_property): request.addfinalizer(lambda: record_property("late", 1))
"""

SUBTESTS = """
import unittest
import pytest

def test_all_pass(subtests):
    for n in range(2):
        with subtests.test(msg="number", n=n): pass
def test_one_fails(subtests):
    for n in range(3):
        with subtests.test(n=n):
            print("in", n)
            assert n != 1
def test_skips(subtests):
    with subtests.test("one"): pytest.skip("in a subtest")
    with subtests.test("two"): pytest.xfail("known")
    with subtests.test("three"): pass
def test_fails_after(subtests):
    with subtests.test(): raise KeyError("first")
    assert 0, "second"
def test_skips_after(subtests):
    with subtests.test(): assert 0
    pytest.skip("after")
def test_partial(subtests):
    class Partial(AssertionError): points = 3
    with subtests.test("a"):
        error = AssertionError("with points")
        error.points = 2
        raise error
def test_nested(subtests):
    with subtests.test("outer"):
        with subtests.test("inner"): assert 0
@pytest.mark.xfail
def test_xfails(subtests):
    with subtests.test(): assert 0
def test_with_capsys(subtests, capsys):
    with subtests.test(): print("seen")
    assert capsys.readouterr().out == "seen\\n"
def test_requested(request):
    subtests = request.getfixturevalue("subtests")
    with subtests.test("late"): assert 0
class TestCase(unittest.TestCase):
    def test_fails(self):
        for n in range(3):
            with self.subTest("message", n=n): self.assertNotEqual(n, 1)
    def test_skips(self):
        for n in range(2):
            with self.subTest(n=n):
                if n: self.skipTest("one")
    def test_fails_at_the_end(self):
        with self.subTest("one"): self.fail("subtest")
        self.fail("test")
    def test_passes(self):
        with self.subTest(): pass
"""

UNITTEST = """
import unittest
import pytest

class TestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls): print("setUpClass")
    @classmethod
    def tearDownClass(cls): print("tearDownClass")
    def setUp(self): print("setUp")
    def tearDown(self): print("tearDown")
    def test_passes(self): self.assertEqual(1, 1)
    def test_fails(self): self.assertEqual([1, 2], [1, 3])
    def test_errors(self): {}["missing"]
    def test_skips(self): self.skipTest("reason")
    def test_raises_skip(self): raise unittest.SkipTest("raised")
    @unittest.skip("never")
    def test_skipped(self): pass
    @unittest.expectedFailure
    def test_expected(self): assert 0
    @unittest.expectedFailure
    def test_unexpected(self): pass
    def test_cleanup(self): self.addCleanup(print, "cleaned up")
    def test_broken_cleanup(self): self.addCleanup(lambda: 1 / 0)
    def test_fails_and_broken_cleanup(self):
        self.addCleanup(lambda: 1 / 0)
        self.fail("first")
    def test_logs(self):
        with self.assertLogs() as logs:
            import logging
            logging.warning("x")
        self.assertEqual(len(logs.records), 1)
    def test_warns(self):
        with self.assertWarns(FutureWarning):
            import warnings
            warnings.warn("x", FutureWarning)
    def test_exit(self): raise SystemExit(3)
class TestBroken(unittest.TestCase):
    def setUp(self): raise OSError("setUp")
    def test_never(self): pass
class TestBrokenEnd(unittest.TestCase):
    def tearDown(self): raise OSError("tearDown")
    def test_passes(self): pass
    def test_fails(self): self.fail("test")
class TestAsync(unittest.IsolatedAsyncioTestCase):
    async def test_passes(self): pass
    async def test_fails(self): self.fail("async")
def test_function_raises_skip(): raise unittest.SkipTest("function")
"""

THREADS = """
import asyncio, atexit, gc, os, threading, time
import pytest

class Broken:
    def __del__(self): raise ValueError("in __del__")
def test_unraisable(): Broken()
def test_unraisable_cycle():
    broken = Broken()
    broken.self = broken
    del broken
    gc.collect()
@pytest.mark.filterwarnings("error")
def test_unraisable_error(): Broken()
def test_thread():
    thread = threading.Thread(target=lambda: 1 / 0, name="worker")
    thread.start()
    thread.join()
@pytest.mark.filterwarnings("error")
def test_thread_error():
    thread = threading.Thread(target=lambda: 1 / 0, name="worker")
    thread.start()
    thread.join()
def test_threads_print():
    threads = [threading.Thread(target=print, args=("in a thread",)) for _ in range(3)]
    for one in threads:
        one.start()
        one.join()
def test_asyncio():
    async def main():
        await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
            raise KeyError("in a task group")
    asyncio.run(main())
def test_never_awaited():
    async def main(): pass
    main()
def test_forks():
    pid = os.fork()
    if pid == 0: os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
def test_forks_and_fails():
    pid = os.fork()
    if pid == 0: os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 8
def test_process(tmp_path):
    import subprocess
    assert subprocess.run(["echo", "1"], capture_output=True, cwd=tmp_path).stdout == b"1\\n"
def test_signal():
    import signal
    def handler(*_): raise InterruptedError("by a signal")
    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(60)
    finally:
        signal.signal(signal.SIGALRM, old)
"""

MEMORY = """
import atexit, os, sys, threading, time
import pytest

seen = []

@pytest.fixture(scope="module")
def shared():
    content = []
    yield content
    print("at the end", content)
def test_changes(shared):
    shared.append(1)
    seen.append(1)
    os.environ["NSBOX_CHANGED"] = "yes"
    sys.path.append("/changed")
def test_sees(shared):
    assert shared == seen == [1] and os.environ["NSBOX_CHANGED"] and "/changed" in sys.path
def test_at_exit(): atexit.register(os.write, 2, b"at exit\\n")
def test_thread_goes_on():
    threading.Thread(target=time.sleep, args=(0.1,)).start()
def test_thread_is_there(): assert threading.active_count() == 1
"""

DOCTESTS = '''
def passes():
    """
    >>> 1 + 1
    2
    """
def fails():
    """
    >>> 1 + 1
    3
    >>> 2
    2
    """
def raises():
    """
    >>> {}["missing"]
    """
def skips():
    """
    >>> import pytest
    >>> pytest.skip("in a doctest")
    """
'''

SAMPLES = {
    "outcomes": OUTCOMES,
    "exceptions": EXCEPTIONS,
    "fixtures": FIXTURES,
    "wide_fixtures": WIDE_FIXTURES,
    "warnings": WARNINGS,
    "output": OUTPUT,
    "properties": PROPERTIES,
    "subtests": SUBTESTS,
    "unittest": UNITTEST,
    "threads": THREADS,
    "doctests": DOCTESTS,
    "memory": MEMORY,
}
