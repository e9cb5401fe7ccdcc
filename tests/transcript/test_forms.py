"""Parsing of files with terminal sessions."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nsbox import SpecError
from nsbox.transcript import Step, read

pytestmark = pytest.mark.pure

MARKDOWN = """
    Prose with `$ not a command`.

    <!-- nsbox: mask pid, time -->

    ```console
    $ echo $$
    7128
    # for n in 1 2; do
    > echo $n; done
    1

    2
    [3]
    [root@host ~]# true
    student@host:~/lab$ false
    ```

    ```python
    $ not a command
    ```

    <!-- nsbox: timeout 2.5 -->
    ~~~bash
    # a comment
    first
    second \\
      continued
    ~~~

    ```text
    of the second
    ```

    ```sh
    third
    ```

    Prose in between.

    ```
    of nothing
    ```

    <!-- nsbox: skip -->
    <!-- nsbox: mask none -->
    ```{.console}
    $ skipped
    $ not skipped
    ```
"""
ASCIIDOC = """
    = Title

    // nsbox: mask inode

    [source,bash]
    ----
    pstree -S
    ----
    ....
    systemd
     +-sshd
    ....

    [source,bash,options="nowrap"]
    ----
    alone
    ----

    Prose.

    ....
    of nothing
    ....

    [source,python]
    ----
    $ no
    ----

    [,console]
    ----
    $ yes
    out
    ----
"""
PROMPTS = """
    Some prose.

    $ echo one
    one

    More prose, with a price of 5$ and # signs.
    # nsbox: unchecked
    # id -u
    0
    $ uname
"""
BARE = """
    Exercise

    First, a prose line about echo.

    echo $$
    7128

    unshare -mipf

    echo is a command.

    no-such-program --at all

    ls -l
    total 0
    -rw 1
"""
CRAM = """
    Prose is not indented.

      $ for n in 1 2
      > do echo $n; done
      1
      2
      $ false
      [1]
      $ printf 'a\\n\\nb\\n'
      a
      \\(esc)
      b (re)

    # nsbox: status 3
      $ exit 3
"""


def steps(tmp_path: Path, name: str, text: str) -> tuple[Step, ...]:
    """Parse a text as a file."""
    path = tmp_path / name
    path.write_text(textwrap.dedent(text))
    return read(path).steps


def seen(found: tuple[Step, ...]) -> list[tuple[str, tuple[str, ...] | None, int]]:
    """Return the most important fields of each step."""
    return [(step.command, step.expected, step.status) for step in found]


def test_markdown(tmp_path: Path) -> None:
    """Blocks with prompts, and blocks of commands followed by a block of output."""
    found = steps(tmp_path, "page.md", MARKDOWN)
    assert seen(found) == [
        ("echo $$", ("7128",), 0),
        ("for n in 1 2; do\necho $n; done", ("1", "", "2"), 3),
        ("true", (), 0),
        ("false", (), 0),
        ("first", None, 0),
        ("second \\\n  continued", ("of the second",), 0),
        ("third", None, 0),
        ("skipped", (), 0),
        ("not skipped", (), 0),
    ]
    assert [step.masks for step in found] == [("pid", "time")] * 7 + [()] * 2
    assert [step.timeout for step in found] == [None] * 4 + [2.5] * 5
    assert [step.skip for step in found] == [False] * 7 + [True, False]
    lines = textwrap.dedent(MARKDOWN).splitlines()
    assert all(step.command.split("\n")[0] in lines[step.line - 1] for step in found)
    assert [lines[slice(*step.place)] for step in found if step.place] == [
        ["7128"], ["1", "", "2"], [], [], ["of the second"], [], [],
    ]  # fmt: skip


def test_asciidoc(tmp_path: Path) -> None:
    """The form in which the workshop is written."""
    assert seen(steps(tmp_path, "page.adoc", ASCIIDOC)) == [
        ("pstree -S", ("systemd", " +-sshd"), 0),
        ("alone", None, 0),
        ("yes", ("out",), 0),
    ]


def test_prompts(tmp_path: Path) -> None:
    """Paragraphs that begin with a prompt."""
    assert seen(steps(tmp_path, "page.txt", PROMPTS)) == [
        ("echo one", ("one",), 0),
        ("id -u", None, 0),
        ("uname", (), 0),
    ]


def test_bare(tmp_path: Path) -> None:
    """Paragraphs that begin with the name of an installed command and are no sentence."""
    assert seen(steps(tmp_path, "page.txt", BARE)) == [
        ("echo $$", ("7128",), 0),
        ("unshare -mipf", None, 0),
        ("ls -l", ("total 0", "-rw 1"), 0),
    ]


def test_cram(tmp_path: Path) -> None:
    """Lines indented by two."""
    found = steps(tmp_path, "page.t", CRAM)
    assert seen(found) == [
        ("for n in 1 2\ndo echo $n; done", ("1", "2"), 0),
        ("false", (), 1),
        ("printf 'a\\n\\nb\\n'", ("a", "\\(esc)", "b (re)"), 0),
        ("exit 3", (), 3),
    ]
    assert {step.indent for step in found} == {"  "}


@pytest.mark.parametrize(
    ("note", "problem"),
    [
        ("mask pids", "line 2: nsbox: mask pids: mask: 'pids' is unknown; the masks are pid, time"),
        ("masks", "the directives are mask, timeout"),
        ("", "the directives are mask, timeout"),
        ("timeout soon", "could not convert"),
        ("status", "invalid literal"),
    ],
)
def test_wrong_directives(tmp_path: Path, note: str, problem: str) -> None:
    """A misspelt directive for nsbox is an error with its line, not text."""
    with pytest.raises(SpecError, match=problem):
        steps(tmp_path, "page.md", f"\n<!-- nsbox: {note} -->\n")


def test_unknown_form(tmp_path: Path) -> None:
    """An unknown form is an error that lists the known ones."""
    (tmp_path / "page").write_text("$ true\n")
    assert [step.command for step in read(tmp_path / "page", "prompts").steps] == ["true"]
    message = "form: 'html' is unknown; the forms are markdown, asciidoc, prompts, bare, cram"
    with pytest.raises(SpecError, match=message):
        read(tmp_path / "page", "html")


PIECES = st.lists(
    st.sampled_from([
        "", "$ true", "> more", "# id", "```console", "```", "~~~", "```bash", "[source,bash]", "----", "....", "[1]",
        "  $ x", "  out", "<!-- nsbox: skip -->", "# nsbox: mask pid", "text", "echo $$", "..", "- item", "\\",
    ]) | st.text(max_size=9).filter(lambda line: "nsbox:" not in line and len(line.splitlines()) < 2),
    max_size=30,
)  # fmt: skip


@given(lines=PIECES, form=st.sampled_from(["markdown", "asciidoc", "prompts", "bare", "cram"]))
def test_any_lines(tmp_path_factory: pytest.TempPathFactory, lines: list[str], form: str) -> None:
    """For any file, steps are in order, and each line of output belongs to one step only."""
    path = tmp_path_factory.mktemp("form") / "page"
    path.write_text("\n".join(lines), encoding="utf-8")
    found = read(path, form).steps
    count = len(path.read_text(encoding="utf-8").splitlines())
    taken = 0
    for step in found:
        assert taken < step.line <= count
        taken = step.line
        if step.place is not None:
            assert step.line <= step.place[0] <= step.place[1] <= count
            assert step.expected is None or len(step.expected) == step.place[1] - step.place[0]
