"""Binds whose files have other ids inside: for private ids, to which all files of the machine belong to nobody.

Changing the ids of files takes rights over their file system (mount_setattr(2), MOUNT_ATTR_IDMAP), which nsbox-init
does not have in a user namespace. So the caller copies the mounts, and nsbox-init gets them as descriptors.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nsbox import _core
from nsbox.errors import SpecError, UnsupportedError
from nsbox.spec.mounts import Bind
from nsbox.spec.spec import Spec

__all__ = ["idmapped"]


@contextlib.contextmanager
def idmapped(spec: Spec) -> Iterator[Spec]:
    """Give the spec with a descriptor for each bind with ``idmap``. The descriptors are open in the ``with`` block.

    Raises:
        SpecError: without id maps.
        UnsupportedError: when the caller lacks the rights, or a file system cannot do it.
    """
    if not any(isinstance(mount, Bind) and mount.idmap for mount in spec.mounts):
        yield spec
        return
    if not (spec.maps.users and spec.maps.groups):
        raise SpecError("idmap: needs map_users and map_groups, or the private ids of harden")
    with contextlib.ExitStack() as stack:
        namespace = _user_namespace(spec)
        stack.callback(os.close, namespace)
        mounts = tuple(
            _with_tree(mount, namespace, stack) if isinstance(mount, Bind) and mount.idmap else mount
            for mount in spec.mounts
        )
        yield replace(spec, mounts=mounts).leave_out(dict(spec.hardened.left_out))


def _user_namespace(spec: Spec) -> int:
    """Return a descriptor of a user namespace with the id maps of the spec, in which no process is."""
    maps: Any = {"map_users": spec.maps.users, "map_groups": spec.maps.groups}
    alone = Spec(unshare="pU", **maps)
    box = _core.open_box(_core.compile_box(alone, _core.facts()))
    try:
        return os.open(f"/proc/{box.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        box.kill()
        box.wait()


def _with_tree(mount: Bind, namespace: int, stack: contextlib.ExitStack) -> Bind:
    source = os.fsdecode(mount.source)
    try:
        tree = _core.idmapped_tree(os.fsencode(source), namespace)
    except OSError as error:
        if mount.read_only and error.errno in (errno.EINVAL, errno.EPERM):
            # What everybody may read can be read all the same.
            return mount
        if error.errno in (errno.EINVAL, errno.EPERM):
            raise UnsupportedError(
                f"idmap: the ids of files in {source} cannot be changed ({error.strerror}): it takes "
                "CAP_SYS_ADMIN, and a file system that can, such as ext4, xfs, btrfs, or tmpfs since Linux 6.3"
            ) from None
        raise OSError(error.errno, error.strerror, source) from None
    stack.callback(os.close, tree)
    found = replace(mount)
    object.__setattr__(found, "tree", tree)
    return found
