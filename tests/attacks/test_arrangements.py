"""The attacks are tried in the arrangements that they name."""

from __future__ import annotations

import os

from tests.support.attack import Arrangement
from tests.support.forked import USER

WHO_AM_I = """
import os
print("OUT", os.getuid(), os.getgid(), len(os.getgroups()), os.readlink("/proc/self/ns/user"))
"""


def test_arrangements(arrangement: Arrangement) -> None:
    """The payload is who the arrangement says, in `run` and in a box."""

    def use() -> tuple[list[str], list[str], str]:
        import nsbox

        with nsbox.Box(**arrangement.options) as box:
            return (
                arrangement.attack(WHO_AM_I),
                arrangement.attack_from(box, WHO_AM_I),
                os.readlink("/proc/self/ns/user"),
            )

    (alone,), (boxed,), outer = arrangement(use)
    uid, gid, _, user_namespace = alone.split()
    assert boxed.split()[:2] == [uid, gid]
    if arrangement.as_id:
        assert (int(uid), int(gid), user_namespace) == (USER, USER, outer)
    else:
        assert user_namespace != outer
