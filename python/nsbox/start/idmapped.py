"""Sources of binds in which files have other owners: those of the caller's files become the ids inside.

The kernel takes such a map from a user namespace, and lets only the owner of the file system use it. So it is made
here, before nsbox-init starts, by a user namespace with the same map that ends at once; nsbox-init mounts the result.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from errno import EINVAL
from typing import Any

from nsbox import _core
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import SpecError
from nsbox.spec.mounts import Bind, NewMount
from nsbox.spec.spec import Spec

__all__ = ["idmapped"]


def idmapped(spec: Spec, *, nested: bool = False) -> contextlib.AbstractContextManager[Spec]:
    """Give the spec with a descriptor in each bind that has ``idmap=True``, open during the ``with`` block.

    Raises:
        SpecError: in a box inside another one, and without ranges of ids.
        SpawnError: when the file system or the kernel does not support it.
    """
    if any(isinstance(mount, Bind) and mount.idmap for mount in spec.mounts):
        return _idmapped(spec, nested)
    return contextlib.nullcontext(spec)


@contextlib.contextmanager
def _idmapped(spec: Spec, nested: bool) -> Iterator[Spec]:
    if nested:
        raise SpecError("idmap: a box inside another one has the files of that one; give the mounts to the outer box")
    if not (spec.maps.users and spec.maps.groups):
        raise SpecError("idmap: takes id maps, such as map_users and map_groups, or private_ids as root")
    with contextlib.ExitStack() as stack:
        namespace = _user_namespace(spec)
        stack.callback(os.close, namespace)
        mounts: list[NewMount] = []
        for mount in spec.mounts:
            if isinstance(mount, Bind) and mount.idmap:
                tree = _tree(mount, namespace)
                if tree is None:
                    mounts.append(replace(mount, idmap=False))
                    continue
                stack.callback(os.close, tree)
                mounts.append(replace(mount, tree=tree))
            else:
                mounts.append(mount)
        yield replace(spec, mounts=tuple(mounts)).leave_out(dict(spec.hardened.left_out))


def _user_namespace(spec: Spec) -> int:
    """Return a descriptor of a new user namespace with the same maps, which no process is in."""
    options: Any = {"map_users": spec.map_users, "map_groups": spec.map_groups}
    box = _core.open_box(_core.compile_box(Spec(unshare="U", **options), _core.facts()), None)
    try:
        return os.open(f"/proc/{box.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        box.kill()
        box.wait()


def _tree(bind: Bind, namespace: int) -> int | None:
    """Return a descriptor of the copy; None for one that is only read, where the file system does not support it."""
    source = os.fsdecode(bind.source)
    try:
        return _core.idmapped_tree(source, bind.recursive, namespace)
    except OSError as error:
        if bind.read_only and error.errno == EINVAL:
            # What everybody may read can be read all the same.
            return None
        call = _core.Call("mount_setattr", path=source, attr_set=("MOUNT_ATTR_IDMAP",))
        raise spawn_error(error.errno or 0, "idmap", "caller", [call], str(error)) from None
