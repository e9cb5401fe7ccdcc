"""A program: run CPython's own tests of subprocess, with nsbox.Popen in the place of subprocess.Popen.

``python cpython_subprocess.py [--plain] [TEST ...]`` prints the names of the tests that failed, one in a line, and at
the end how many were run. With ``--plain`` nothing is replaced.
"""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
import unittest
from typing import Any

import nsbox

PREEXEC = "it passes preexec_fn, which needs Python between the clone and the exec; nsbox refuses it"
EXCLUDED = {
    "test__use_vfork": "looks for calls of the private _fork_exec",
    "test_close_fds_after_preexec": PREEXEC,
    "test_exception_errpipe_bad_data": "replaces the private _fork_exec, to write into its error pipe",
    "test_exception_errpipe_normal": "replaces the private _fork_exec, to write into its error pipe",
    "test_preexec": PREEXEC,
    "test_preexec_errpipe_does_not_double_close_pipes": PREEXEC,
    "test_preexec_exception": PREEXEC,
    "test_preexec_fork_failure": PREEXEC,
    "test_preexec_gc_module_failure": PREEXEC,
    "test_repr": "the repr of nsbox.Popen is a sentence of its own",
    "test_send_signal_race": "reaps the program itself with waitpid, but that is nsbox-init's child, not the caller's",
    "test_stopped": "reaps the program itself with waitpid, but that is nsbox-init's child, not the caller's",
    "test_surrogates_error_message": PREEXEC,
}
"""The tests that cannot pass, and why."""


class Popen(nsbox.Popen):
    """In new PID, mount and IPC namespaces with a new proc."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        """Start a program."""
        super().__init__(*args, **{"unshare": "mip", "mount_proc": True, **keywords})


def tests_in(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    """Return the tests of a suite, without those excluded."""
    found: list[unittest.TestCase] = []
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            found += tests_in(part)
        elif part.id().rpartition(".")[2] not in EXCLUDED:
            found.append(part)
    return found


def main() -> None:
    """Run the tests."""
    arguments = sys.argv[1:]
    if "--plain" in arguments:
        arguments.remove("--plain")
    else:
        subprocess.Popen = Popen  # type: ignore[misc]
    # Only now, when it finds the replacement.
    test_subprocess = importlib.import_module("test.test_subprocess")

    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(arguments) if arguments else loader.loadTestsFromModule(test_subprocess)
    chosen = unittest.TestSuite(tests_in(suite))
    report = io.StringIO()
    result = unittest.TextTestRunner(stream=report, verbosity=0).run(chosen)
    print(report.getvalue(), file=sys.stderr)
    for test, _ in (*result.failures, *result.errors):
        print(test.id())
    print(result.testsRun - len(result.skipped))


if __name__ == "__main__":
    main()
