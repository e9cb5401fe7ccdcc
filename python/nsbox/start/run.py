"""The functions of `subprocess` that wait for a process, in namespaces: `run`, `call`, `check_output` and the others.

The constants and exceptions of `subprocess` are here too, unchanged, so a program needs to change its import only.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from subprocess import (
    DEVNULL,
    PIPE,
    STDOUT,
    CalledProcessError,
    CompletedProcess,
    SubprocessError,
    TimeoutExpired,
)
from typing import Any, Unpack

from nsbox.errors import SpecError
from nsbox.spec.kinds import Namespaces
from nsbox.spec.mounts import Overlay
from nsbox.spec.spec import Options, spec_of
from nsbox.start.completed import Completed
from nsbox.start.launch import Launch, candidates, run_and_wait
from nsbox.start.popen import OPTIONS, Popen

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CalledProcessError",
    "CompletedProcess",
    "SubprocessError",
    "TimeoutExpired",
    "call",
    "check_call",
    "check_output",
    "complete",
    "getoutput",
    "getstatusoutput",
    "run",
]


def run(
    *args: Any,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **keywords: Any,
) -> Completed[Any]:
    """Run a program in new namespaces and return when all its processes have ended: `subprocess.run` with namespaces.

    Args:
        *args: As for `subprocess.run`.
        input: Bytes or text for its standard input.
        capture_output: Whether standard output and error are captured.
        timeout: Seconds after which all its processes are killed.
        check: Whether a return code other than 0 is an error.
        **keywords: As for `subprocess.run`, and the options of `Spec`. ``max_output``: how many bytes of each captured
            stream are read; more of them kill all its processes. ``OutputLimit(bytes, "truncate")`` drops the rest
            instead, and the result is `truncated`.

    Returns:
        The result. If the root is an `Overlay`, it has the method ``changes``, as `Popen` has it.

    Raises:
        subprocess.TimeoutExpired: with the output so far.
        OutputLimitError: for more output than `max_output`, with the output up to there.
        subprocess.CalledProcessError: with `check`, for a return code other than 0.
        SpecError: for arguments that make no sense.
        OSError: as `subprocess.run`.
        SpawnError: when setting up the namespaces failed.
    """
    plain = len(args) == 1 and input is None and not capture_output and timeout is None and keywords.keys() <= OPTIONS
    if plain and not isinstance(keywords.get("root"), Overlay):
        result = _run_unattended(args[0], **keywords)
        if check and result.returncode:
            raise CalledProcessError(result.returncode, args[0])
        return result
    return complete(Popen, *args, input=input, capture_output=capture_output, timeout=timeout, check=check, **keywords)


def complete(
    kind: type[Popen],
    *args: Any,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **keywords: Any,
) -> Completed[Any]:
    """Do what `run` does, by a `Popen` of this kind, which takes all other arguments."""
    if input is not None:
        if keywords.get("stdin") is not None:
            raise SpecError("input: cannot be combined with stdin")
        keywords["stdin"] = PIPE
    if capture_output:
        if keywords.get("stdout") is not None or keywords.get("stderr") is not None:
            raise SpecError("capture_output: cannot be combined with stdout or stderr")
        keywords["stdout"] = keywords["stderr"] = PIPE
    begin = time.monotonic()
    with ended(kind, *args, **keywords) as process:
        stdout, stderr = process.communicate(input, timeout=timeout)
    seconds = time.monotonic() - begin
    if check and process.returncode:
        raise CalledProcessError(process.returncode, process.args, output=stdout, stderr=stderr)
    subject = process.args, process.returncode, stdout, stderr
    if isinstance(process.spec.root, Overlay) and kind is Popen:
        # Imported only here, as few programs have such a root.
        from nsbox.start.layered import LayeredProcess  # noqa: PLC0415

        result: Completed[Any] = LayeredProcess(*subject, process._layer())
    else:
        result = Completed(*subject)
    return result._known(process.spec, process._used, seconds, process.truncated)


@contextlib.contextmanager
def ended(kind: type[Popen], *args: Any, **keywords: Any) -> Iterator[Popen]:
    """Start a process. Leaving the block waits until all has ended, and kills all first if an exception leaves it.

    The object exists before anything is started, so that the process is ended wherever a signal handler raises.
    """
    process = kind.__new__(kind)
    try:
        process.__init__(*args, **keywords)  # type: ignore[misc]
        with process:
            try:
                yield process
            except BaseException:
                # A wait for what was killed has a limit.
                process.kill()
                raise
    finally:
        process._end()


def call(*args: Any, timeout: float | None = None, **keywords: Any) -> int:
    """Run a program in new namespaces and return its return code: `subprocess.call` with namespaces.

    Args:
        *args: As for `Popen`.
        timeout: Seconds after which all its processes are killed.
        **keywords: As for `Popen`. Do not use pipes: they are not read.

    Raises:
        subprocess.TimeoutExpired: when `timeout` has passed.
        SpecError: for arguments that make no sense.
        OSError: as `subprocess.call`.
        SpawnError: when setting up the namespaces failed.
    """
    with ended(Popen, *args, **keywords) as process:
        return process.wait(timeout)


def check_call(*args: Any, timeout: float | None = None, **keywords: Any) -> int:
    """Run a program in new namespaces and return 0: `subprocess.check_call` with namespaces.

    Args:
        *args: As for `run`.
        timeout: Seconds after which all its processes are killed.
        **keywords: As for `call`.

    Raises:
        subprocess.CalledProcessError: for a return code other than 0.
        Otherwise as `call`.
    """
    returncode = call(*args, timeout=timeout, **keywords)
    if returncode:
        raise CalledProcessError(returncode, args[0] if args else keywords["args"])
    return 0


def check_output(*args: Any, timeout: float | None = None, **keywords: Any) -> Any:
    """Run a program in new namespaces and return its standard output: `subprocess.check_output` with namespaces.

    Args:
        *args: As for `run`.
        timeout: Seconds after which all its processes are killed.
        **keywords: As for `run`, except `stdout` and `check`. ``input=None`` is empty input.

    Raises:
        subprocess.CalledProcessError: for a return code other than 0, with the output.
        SpecError: for `stdout` or `check`.
        Otherwise as `run`.
    """
    for keyword in ("stdout", "check"):
        if keyword in keywords:
            raise SpecError(f"{keyword} argument not allowed, it will be overridden")
    if "input" in keywords and keywords["input"] is None:
        text = any(map(keywords.get, ("text", "universal_newlines", "encoding", "errors")))
        keywords["input"] = "" if text else b""
    return run(*args, stdout=PIPE, timeout=timeout, check=True, **keywords).stdout


def getstatusoutput(
    cmd: str | bytes, *, encoding: str | None = None, errors: str | None = None, **options: Any
) -> tuple[int, str]:
    """Run a command of the shell in new namespaces: `subprocess.getstatusoutput` with namespaces.

    Args:
        cmd: The command.
        encoding: The encoding of its output; by default that of the locale.
        errors: What to do with bytes that cannot be decoded, as for `bytes.decode`.
        **options: The options of `Spec`.

    Returns:
        The return code; standard output and error together, without a newline at the end.

    Raises:
        SpecError: for arguments that make no sense.
        SpawnError: when setting up the namespaces failed.
    """
    shell: Any = {"shell": True, "text": True, "encoding": encoding, "errors": errors}
    result = run(cmd, stdout=PIPE, stderr=STDOUT, **shell, **options)
    return result.returncode, result.stdout.removesuffix("\n")


def getoutput(cmd: str | bytes, *, encoding: str | None = None, errors: str | None = None, **options: Any) -> str:
    """Return the output alone, the second item of what `getstatusoutput` returns for the same arguments."""
    return getstatusoutput(cmd, encoding=encoding, errors=errors, **options)[1]


def _run_unattended(args: Any, unshare: Namespaces = "mip", **options: Unpack[Options]) -> Completed[Any]:
    """Run a program without pipes or a timeout. A `Popen` would take twice the time in Python."""
    argv = [args] if isinstance(args, str | bytes | os.PathLike) else list(args)
    program = argv[0]
    sys.audit("subprocess.Popen", program, argv, None, None)
    launch = Launch(paths=candidates(program, None), argv=tuple(map(os.fsencode, argv)))
    spec = spec_of(unshare, options)
    begin = time.monotonic()
    end = run_and_wait(spec, launch, program=program)
    seconds = time.monotonic() - begin
    return Completed[Any](args, end.returncode)._known(spec, end.rusage, seconds)
