"""Sources of binds in which files have other owners: those of the caller's files become the ids inside.

The kernel takes such a map from a user namespace, and lets only the owner of the file system use it. So it is made
here, before nsbox-init starts, by a user namespace with the same map that ends at once; nsbox-init mounts the result.

Mounts can only be copied in their own mount namespace (open_tree(2)). For a box in a box that has mounts of its own,
the nsbox-init of that box copies them, and sends the copy.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from errno import EINVAL
from typing import Any, TypeAlias

from nsbox import _core
from nsbox.diagnosis.failure import spawn_error
from nsbox.errors import SpawnError, SpecError
from nsbox.spec.mounts import Bind, NewMount, Overlay
from nsbox.spec.spec import Spec

__all__ = ["CopyTree", "idmapped"]

CopyTree: TypeAlias = "Callable[[str, bool], _core.Descriptor]"
"""Copies what is mounted at a path; the second argument says whether the mounts below come along."""


def idmapped(spec: Spec, copy: CopyTree = _core.copied_tree) -> contextlib.AbstractContextManager[Spec]:
    """Give the spec with a descriptor in each bind that has ``idmap=True``, open during the ``with`` block.

    Args:
        spec: What is to be started.
        copy: Copies the sources: by default those that the caller sees.

    Raises:
        SpecError: without ranges of ids.
        SpawnError: when the file system or the kernel does not support it.
    """
    if any(isinstance(mount, Bind) and mount.idmap for mount in spec.mounts):
        return _idmapped(spec, copy)
    return contextlib.nullcontext(spec)


@contextlib.contextmanager
def _idmapped(spec: Spec, copy: CopyTree) -> Iterator[Spec]:
    if not (spec.maps.users and spec.maps.groups):
        raise SpecError("idmap: takes id maps, such as map_users and map_groups, or private_ids as root")
    with contextlib.ExitStack() as stack:
        namespace = _user_namespace(spec)
        stack.callback(os.close, namespace)
        mounts: list[NewMount] = []
        for mount in spec.mounts:
            if isinstance(mount, Bind) and mount.idmap:
                tree = _tree(mount, namespace, copy)
                if tree is None:
                    if not _is_layer(mount, spec):
                        mounts.append(replace(mount, idmap=False))
                    continue
                mounts.append(replace(mount, tree=stack.enter_context(tree).fileno()))
            else:
                mounts.append(mount)
        yield replace(spec, mounts=tuple(mounts)).leave_out(dict(spec.hardened.left_out))


def _is_layer(bind: Bind, spec: Spec) -> bool:
    """Whether a bind covers a layer of the root, which is there all the same."""
    return isinstance(spec.root, Overlay) and bind.source == bind.target and bind.source in spec.root.lower


def _user_namespace(spec: Spec) -> int:
    """Return a descriptor of a new user namespace with the same maps, which no process is in."""
    from nsbox.seeing.target import number_in_proc  # noqa: PLC0415 - few starts need it

    options: Any = {"map_users": spec.map_users, "map_groups": spec.map_groups}
    box = _core.open_box(_core.compile_box(Spec(unshare="U", **options), _core.facts()), None)
    try:
        return os.open(f"/proc/{number_in_proc(box.pidfd)}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        box.kill()
        box.wait()


def _tree(bind: Bind, namespace: int, copy: CopyTree) -> _core.Descriptor | None:
    """Return a descriptor of the copy; None for one that is only read, where the file system does not support it."""
    source = os.fsdecode(bind.source)
    try:
        tree = copy(source, bind.recursive)
        try:
            _core.idmap_tree(tree.fileno(), bind.recursive, namespace)
        except BaseException:
            tree.close()
            raise
        return tree
    except SpawnError:
        raise
    except OSError as error:
        if bind.read_only and error.errno == EINVAL:
            # What everybody may read can be read all the same.
            return None
        call = _core.Call("mount_setattr", path=source, attr_set=("MOUNT_ATTR_IDMAP",))
        raise spawn_error(error.errno or 0, "idmap", "caller", [call], str(error)) from None
