"""A program: run CPython's own tests of subprocess, with nsbox in the place of what they test.

``python cpython_subprocess.py WHAT [TEST ...]`` prints the names of the tests that failed, one in a line, and at the
end how many were run. WHAT is:

plain, plain-asyncio
    Nothing is replaced, in the tests of `subprocess` and of `asyncio.subprocess`.
popen
    `subprocess.Popen` is `nsbox.Popen`.
functions
    So are `subprocess.run`, `call`, `check_output` and the others those of nsbox.
asyncio
    `create_subprocess_exec` and `create_subprocess_shell` of asyncio are those of nsbox, and the transports of the
    loop as well.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import io
import subprocess
import sys
import unittest
from asyncio import unix_events
from collections.abc import Container
from typing import Any

import nsbox
from nsbox.start import aio

OPTIONS = {"unshare": "mip", "mount_proc": True}
FUNCTIONS = ("run", "call", "check_call", "check_output", "getoutput", "getstatusoutput")

FORK_EXEC = "replaces the private _fork_exec, which nsbox does not call"
MOCK = "replaces subprocess.Popen by a mock, which only the module subprocess itself would find"
PREEXEC = "passes preexec_fn, which needs Python between the clone and the exec; nsbox refuses it"
REAPS = "reaps the program itself with waitpid, but that is nsbox-init's child, not the caller's"
WATCHER = "checks that asyncio's child watcher is asked first; nsbox needs none"

POPEN = {
    "test__use_vfork": FORK_EXEC,
    "test_close_fds_after_preexec": PREEXEC,
    "test_exception_errpipe_bad_data": FORK_EXEC,
    "test_exception_errpipe_normal": FORK_EXEC,
    "test_preexec": PREEXEC,
    "test_preexec_errpipe_does_not_double_close_pipes": PREEXEC,
    "test_preexec_exception": PREEXEC,
    "test_preexec_fork_failure": PREEXEC,
    "test_preexec_gc_module_failure": PREEXEC,
    "test_send_signal_race": REAPS,
    "test_stopped": REAPS,
    "test_surrogates_error_message": PREEXEC,
}
EXCLUDED = {
    "popen": POPEN,
    "functions": POPEN | {"test_call_keyboardinterrupt_no_kill": MOCK, "test_run_keyboardinterrupt_no_kill": MOCK},
    "asyncio": {
        "test_create_subprocess_fails_with_inactive_watcher": WATCHER,
        "test_popen_error": MOCK,
        "test_popen_error_with_stdin_pipe": MOCK,
    },
}
"""The tests that cannot pass, and why."""


class Popen(nsbox.Popen):
    """In new PID, mount and IPC namespaces with a new proc."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        """Start a program."""
        super().__init__(*args, **{**OPTIONS, **keywords})


def tests_in(suite: unittest.TestSuite, excluded: Container[str]) -> list[unittest.TestCase]:
    """Return the tests of a suite, without those excluded."""
    found: list[unittest.TestCase] = []
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            found += tests_in(part, excluded)
        elif part.id().rpartition(".")[2] not in excluded:
            found.append(part)
    return found


async def make_transport(loop: asyncio.AbstractEventLoop, *args: Any, **keywords: Any) -> aio.Transport:
    """Do what a loop does for its subprocess_exec and subprocess_shell."""
    return await aio.Transport.start(loop, *args, **{**OPTIONS, **keywords})


def replace(what: str) -> str:
    """Put nsbox in the place of what is tested, and return the module with the tests."""
    if what in ("popen", "functions"):
        subprocess.Popen = Popen  # type: ignore[misc]
    if what == "functions":
        for name in FUNCTIONS:
            setattr(subprocess, name, functools.partial(getattr(nsbox, name), **OPTIONS))
    if what == "asyncio":
        for module in (asyncio, asyncio.subprocess):
            for name in ("create_subprocess_exec", "create_subprocess_shell"):
                setattr(module, name, functools.partial(getattr(aio, name), **OPTIONS))
        unix_events._UnixSelectorEventLoop._make_subprocess_transport = make_transport  # type: ignore[attr-defined]
    return "test.test_asyncio.test_subprocess" if what.endswith("asyncio") else "test.test_subprocess"


def main() -> None:
    """Run the tests."""
    what, *names = sys.argv[1:]
    # Imported only then, when it finds the replacement.
    module = importlib.import_module(replace(what))
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(names) if names else loader.loadTestsFromModule(module)
    chosen = unittest.TestSuite(tests_in(suite, EXCLUDED.get(what, ())))
    report = io.StringIO()
    result = unittest.TextTestRunner(stream=report, verbosity=0).run(chosen)
    print(report.getvalue(), file=sys.stderr)
    for test, _ in (*result.failures, *result.errors):
        print(getattr(test, "test_case", test).id())  # a part of a test has its parameters in its own id
    print(result.testsRun - len(result.skipped))


if __name__ == "__main__":
    main()
