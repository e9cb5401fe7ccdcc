"""The capabilities of a marked test, compared with those of the same test without the marker, and of a program."""

from __future__ import annotations

from pathlib import Path

from tests.support.forked import Who
from tests.support.inner_pytest import Inner

CAPABILITIES = """
    import nsbox, pytest

    OPTIONS = [
        {"map_current_user": True}, {"map_user": 1234, "map_group": 1234}, {"map_root_user": True},
        {"map_current_user": True, "keep_caps": True},
    ]

    def caps(text):
        return [line for line in text.splitlines() if line.startswith("Cap")]

    def own():
        with open("/proc/self/status") as file:
            return caps(file.read())

    @pytest.fixture
    def unmarked():
        return own()

    @pytest.fixture
    def of_a_program(request):
        options = request.node.get_closest_marker("unshare").kwargs
        run = nsbox.run(["cat", "/proc/self/status"], unshare="user pid", capture_output=True, text=True, **options)
        return caps(run.stdout)

    @pytest.mark.parametrize("number", [pytest.param(n, marks=pytest.mark.unshare("user pid", **options))
                                        for n, options in enumerate(OPTIONS)])
    def test_as_a_program(number, of_a_program):
        assert own()[1:3] == of_a_program[1:3]
        assert own()[4] == of_a_program[4]

    @pytest.mark.unshare("net", map_root_user=False)
    def test_without_a_user_namespace(unmarked):
        assert own() == unmarked
"""

REFUSED = """
    import os, pytest

    def refused(tmp_path):
        file = tmp_path / "file"
        file.write_text("secret")
        file.chmod(0)
        with pytest.raises(PermissionError):
            file.read_text()
        with pytest.raises(PermissionError):
            os.setgroups([])

    def test_unmarked(tmp_path):
        refused(tmp_path)

    @pytest.mark.unshare("user pid", map_current_user=True)
    def test_marked(tmp_path):
        refused(tmp_path)

    @pytest.mark.unshare("user pid", map_current_user=True, keep_caps=True)
    def test_keeps_them(tmp_path):
        (tmp_path / "file").touch(0)
        assert (tmp_path / "file").read_text() == ""
"""


def test_capabilities(inner: Inner) -> None:
    """They are those that a program gets with the same options; without a user namespace they do not change."""
    inner.write(test_it=CAPABILITIES)
    arguments = () if inner.who.is_root else ("-k", "not without_a_user_namespace")
    result = inner.run(*arguments)
    result.assert_outcomes(passed=5 if inner.who.is_root else 4, deselected=0 if inner.who.is_root else 1)


def test_permissions(place: Path) -> None:
    """What the kernel refuses an ordinary user, it refuses that user's marked test."""
    inner = Inner(place, Who("user"))
    inner.write(test_it=REFUSED)
    inner.run().assert_outcomes(passed=3)
