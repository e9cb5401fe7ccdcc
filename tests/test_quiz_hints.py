"""The hints of `nsbox.quiz` are commands, and show the answer."""

from __future__ import annotations

import os
import re
import subprocess

import nsbox
import pytest
from nsbox import quiz

from tests.support.forked import Who


def test_every_hint_is_a_command(who: Who) -> None:
    def hints() -> None:
        with nsbox.Box("mpinuC", mount_proc=True, hostname="quizzed") as box, box.Popen(["sleep", "60"]) as process:
            facts = {
                "numbers": quiz.numbers(process),
                "parent": quiz.parent(process),
                "shares": quiz.shares(process, "pid"),
                "new_kinds": quiz.new_kinds(process),
                "id_map": quiz.id_map(process),
                "mounted": quiz.mounted(process, "/proc"),
                "host_name": quiz.host_name(process),
                "interfaces": quiz.interfaces(process),
                "sees": quiz.sees(process, "/etc"),
                "owner": quiz.owner_of_file("/etc/passwd"),
                "ipc": quiz.ipc_objects(process),
            }
            for name, fact in facts.items():
                with pytest.raises(quiz.WrongAnswerError) as caught:
                    quiz.check(..., fact)
                assert str(caught.value).endswith(fact.command), name
                done = subprocess.run(["sh", "-c", fact.command], capture_output=True, text=True, check=False)
                assert (done.returncode, done.stderr) == (0, ""), (name, fact.command)
                words = re.findall(r"[\w.-]+", done.stdout)
                value = fact.value
                if name in ("numbers", "id_map", "interfaces"):
                    assert {str(one) for one in value} <= {*words}, name  # type: ignore[attr-defined]
                elif name in ("parent", "mounted", "host_name"):
                    assert str(value) in words, name
            # The init of a box may not be traced by an ordinary user, so a command would fail.
            assert bool(quiz.shares(box, "pid").command) == (os.geteuid() == 0)
            process.kill()

    who(hints)
