"""Generate `docs/errors.md` from the causes in `nsbox.diagnosis.causes`, or check that it is up to date."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Iterator
from pathlib import Path

from nsbox.diagnosis.causes import CAUSES, SECTIONS, Cause
from nsbox.diagnosis.places import PLACES
from nsbox.spec.step_names import STEP_NAMES

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"

HEAD = f"""\
# Errors: causes and remedies

When a step fails, the error has three parts: which step failed, why, and what to do next.

```text
step 'mount proc' failed: mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL): Operation not permitted
why: parts of /proc are hidden by mounts (/proc/kcore), and a new proc would show them again
next: start the container anew with the option added: docker run --security-opt systempaths=unconfined
```

A *step* is one thing that nsbox carries out before your program starts, or in a box, most often one system call.
`nsbox explain` lists all steps. The *why* is not a guess: nsbox reads it from the machine when the step has failed. If
nothing there shows the cause, the error lists the possible causes. In Python the three parts are `error.step`,
`error.evidence` and `error.hint`. `error.cause` is the name of the cause on this page.

`nsbox doctor` looks for all causes before anything fails.

This page has all {len(CAUSES)} causes. It is generated from the code by `tools/errors.py`.
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD, "\n".join(_contents())]
    for title, causes in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts.extend("\n".join(_section(cause)) for cause in causes)
    return "\n".join(parts)


def _contents() -> Iterator[str]:
    yield "| cause | meaning | error number |"
    yield "| --- | --- | --- |"
    for cause in CAUSES.values():
        yield f"| [{cause.name}](#{cause.name}) | {cause.title} | {_numbers(cause) or 'any'} |"
    yield ""


def _numbers(cause: Cause) -> str:
    return ", ".join(errno.errorcode[number] for number in sorted(cause.errnos))


def _section(cause: Cause) -> Iterator[str]:
    yield f"### {cause.name}\n"
    yield f"**{cause.title}.** {cause.meaning}\n"
    why, remedy = (text.format(**cause.example) for text in (cause.why, cause.remedy))
    if cause.traceless is None:
        yield f"- nsbox reports: *{why}*"
    elif cause.example or cause.name in ("chroot", "root-is-no-mount", "too-deep"):
        yield f"- nsbox reports, if the machine shows it: *{why}*; otherwise nsbox lists it as a possible cause"
    else:
        yield "- The machine does not show it, so nsbox only lists it as a possible cause"
    yield f"- What to do: {remedy}"
    for place in PLACES:
        if place in cause.places:
            yield f"- {PLACES[place][:1].upper()}{PLACES[place][1:]}: {cause.places[place].format(**cause.example)}"
    yield f"- Steps: {_steps(cause)}"
    if cause.manual:
        yield f"- More: {cause.manual}"
    yield ""


def _steps(cause: Cause) -> str:
    if len(cause.steps) > len(STEP_NAMES) // 2:
        return f"all but {', '.join(sorted(set(STEP_NAMES) - cause.steps))}"
    return ", ".join(sorted(cause.steps))


def main() -> int:
    """Write the page, or with --check compare it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with status 1 if the page is out of date"
    )
    text = page().rstrip("\n") + "\n"
    if not parser.parse_args().check:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        print("docs/errors.md is out of date: run `make stubs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
