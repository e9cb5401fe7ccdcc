"""What a program has written to a root that is an overlay: `Layer`, and the files in it.

The files come from the program, so nothing in them is trusted: names are looked up one at a time below a directory that
is open, no symbolic link is followed, nothing but regular files is opened, and everything that is counted has a limit.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple, overload

from nsbox.errors import NsboxError, SpecError
from nsbox.records.written import FileKind, Kept, WrittenFile
from nsbox.spec.mounts import Overlay
from nsbox.spec.spec import Spec
from nsbox.spec.world import PRIVATE_TMP
from nsbox.views import mime, written_table

__all__ = ["MAX_FILES", "Layer", "WrittenFiles", "changes", "layer_of"]

MAX_FILES = 100_000
"""The number of files that are read or copied, unless the caller gives another one."""
MAX_BYTES = 1 << 30
"""The number of bytes that are copied, unless the caller gives another one."""
_MAX_DEPTH = 100
"""The number of directories in each other that are read: each takes a descriptor."""
_CHUNK_BYTES = 1 << 20
_PERMISSIONS = 0o777
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
"""Extended attributes of a directory below which nothing of the lower layers is visible (overlayfs)."""
_KINDS: dict[int, FileKind] = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device",
}  # fmt: skip


class WrittenFiles(mime.Table, Sequence[WrittenFile]):
    """Files that differ from the layers below, in the order of their paths. `str()` shows a table.

    Attributes:
        notes: What could not be read, such as directories in which a program has left no permission.
    """

    def __init__(self, files: Sequence[WrittenFile], notes: Sequence[str], layer: Layer) -> None:
        """Keep what was read."""
        self._files = tuple(files)
        self.notes = tuple(notes)
        self._layer = layer

    @overload
    def __getitem__(self, index: int) -> WrittenFile: ...
    @overload
    def __getitem__(self, index: slice) -> WrittenFiles: ...
    def __getitem__(self, index: int | slice) -> WrittenFile | WrittenFiles:
        """Return the file at a position."""
        if isinstance(index, slice):
            return WrittenFiles(self._files[index], self.notes, self._layer)
        return self._files[index]

    def __len__(self) -> int:
        """Count the files."""
        return len(self._files)

    def html(self) -> str:
        """Return the table as HTML, without classes, ids or scripts."""
        return written_table.html(self._files, self.notes)

    def __str__(self) -> str:
        """Return the table."""
        return written_table.table(self._files, self.notes)

    def keep(
        self, directory: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
    ) -> Kept:
        """Copy the files and directories that were created or changed into a directory of the caller.

        The copies belong to the caller, without set-user-ID and set-group-ID. Symbolic links, devices, FIFOs and
        sockets are left out.

        Args:
            directory: An empty directory, or one that does not exist.
            max_bytes: The number of bytes to copy at most.
            max_files: The number of files and directories to make at most.

        Returns:
            What was copied, and what was left out.

        Raises:
            FileExistsError: when the directory is not empty.
            NsboxError: when there are more bytes or files. What was copied before stays.
        """
        os.makedirs(directory, exist_ok=True)
        if os.listdir(directory):
            raise FileExistsError(f"keep: {os.fspath(directory)} is not empty")
        with self._layer.opened() as upper:
            target = os.open(directory, _DIRECTORY)
            try:
                return _Copy(upper, target, max_bytes, max_files).all(self._files)
            finally:
                os.close(target)


class Layer:
    """The upper layer of a root, in memory or in a directory. It stays readable when all processes have ended."""

    def __init__(self, upper: int | str, lower: Sequence[str], targets: Sequence[str]) -> None:
        """Keep what is needed to read it.

        Args:
            upper: A descriptor of the upper directory, of which a duplicate is made; or its path.
            lower: The directories below it, the topmost first.
            targets: Where something was mounted: what nsbox has made there was not written by the program.
        """
        self._fd = os.dup(upper) if isinstance(upper, int) else -1
        self._path = upper if isinstance(upper, str) else ""
        self._lower = tuple(lower)
        self._own = {
            str(path) for target in targets for path in (PurePosixPath(target), *PurePosixPath(target).parents)
        }

    def __del__(self) -> None:
        """Close the descriptor."""
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Give a descriptor of the upper directory."""
        fd = os.open(".", _DIRECTORY, dir_fd=self._fd) if self._fd >= 0 else os.open(self._path, _DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)

    def files(self, max_files: int) -> WrittenFiles:
        """Return what was written.

        Raises:
            NsboxError: when there is more than `max_files`.
        """
        with self.opened() as upper:
            status = os.fstat(upper)
            walk = _Walk(max_files, (status.st_uid, status.st_gid))
            walk.directory(upper, "/", self._lower, 0)
        files = [one for one in walk.found if one.state != "created" or one.path not in self._own]
        return WrittenFiles(files, walk.notes, self)


def layer_of(spec: Spec, descriptor: int) -> Layer:
    """Return the layer to which a root is written.

    Args:
        spec: What was started.
        descriptor: The descriptor of an upper layer in memory; -1 if there is none.

    Raises:
        SpecError: when the root is no overlay.
    """
    if not isinstance(spec.root, Overlay):
        raise SpecError("changes: the root is no overlay; see root=Overlay([DIRECTORY])")
    targets = [*PRIVATE_TMP, *(str(mount.target) for mount in spec.mounts)]
    targets += ["/dev/pts"] if spec.hardened.new_session else []
    targets += [os.fsdecode(spec.mount_proc)] if isinstance(spec.mount_proc, bytes) else []
    lower = [str(path) for path in spec.root.lower]
    if spec.root.upper is not None:
        return Layer(str(spec.root.upper), lower, targets)
    if descriptor < 0:
        raise NsboxError("nsbox-init sent no descriptor of the upper layer: too many may be open in this process")
    return Layer(descriptor, lower, targets)


def changes(spec: Spec | None, descriptor: int, max_files: int | None) -> WrittenFiles:
    """Return the files that were written to a root: for `nsbox.fork_exec` and `nsbox.Shell`.

    Args:
        spec: What was started; None if its root is no overlay, or that of a box.
        descriptor: The descriptor of an upper layer in memory; -1 if there is none.
        max_files: The number of files to read at most; by default `MAX_FILES`.

    Raises:
        SpecError: when the root is no overlay of its own.
        NsboxError: when there are more files.
    """
    if spec is None:
        raise SpecError(
            "changes: the root is no overlay; see root=Overlay([DIRECTORY]). A process in a box shares its root: see "
            "the method changes of the box"
        )
    return layer_of(spec, descriptor).files(MAX_FILES if max_files is None else max_files)


class _Below(NamedTuple):
    """What the lower layers have at a path."""

    status: os.stat_result | None
    directories: tuple[str, ...]


class _Walk:
    """Reads directories, one below the other."""

    def __init__(self, max_files: int, root: tuple[int, int]) -> None:
        """Begin; `root` are the ids of root inside, as seen outside."""
        self._root = root
        self.found: list[WrittenFile] = []
        self.notes: list[str] = []
        self._max_files = max_files

    def directory(self, fd: int, path: str, lower: tuple[str, ...], depth: int) -> None:
        """Read a directory of the upper layer."""
        if depth > _MAX_DEPTH:
            self.notes.append(f"{path}: not read, as it is below more than {_MAX_DEPTH} directories")
            return
        with os.scandir(fd) as entries:
            # As many names as a program could make would not fit into memory.
            names = []
            for entry in entries:
                names.append(entry.name)
                if len(names) > self._max_files:
                    self._too_many()
        for name in sorted(names):
            with contextlib.suppress(FileNotFoundError):
                self._entry(fd, name, f"{path.rstrip('/')}/{name}", lower, depth)

    def _entry(self, directory: int, name: str, path: str, lower: tuple[str, ...], depth: int) -> None:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        below = _below(lower, name)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            # A whiteout; without a file below it hides nothing.
            if below.status is not None:
                self._add(WrittenFile(path, "deleted", _kind(below.status)))
            return
        fd = self._opened(directory, name, path, status)
        try:
            self._compare(path, status, below, is_opaque=fd >= 0 and _is_opaque(fd))
            if fd >= 0:
                is_visible = below.status is not None and stat.S_ISDIR(below.status.st_mode) and not _is_opaque(fd)
                self.directory(fd, path, below.directories if is_visible else (), depth + 1)
        finally:
            if fd >= 0:
                os.close(fd)

    def _opened(self, directory: int, name: str, path: str, status: os.stat_result) -> int:
        if not stat.S_ISDIR(status.st_mode):
            return -1
        try:
            return os.open(name, _DIRECTORY, dir_fd=directory)
        except PermissionError:
            self.notes.append(f"{path}: not read, as this user may not open it")
            return -1

    def _compare(self, path: str, status: os.stat_result, below: _Below, *, is_opaque: bool) -> None:
        kind, size = _kind(status), status.st_size if stat.S_ISREG(status.st_mode) else None
        mode = stat.S_IMODE(status.st_mode)
        if below.status is None:
            return self._add(WrittenFile(path, "created", kind, size, mode))
        if is_opaque or _kind(below.status) != kind:
            self._add(WrittenFile(path, "deleted", _kind(below.status)))
            return self._add(WrittenFile(path, "created", kind, size, mode))
        # A directory is copied to the upper layer for what is written below it. With private ids of root's, its owner
        # has the same number inside.
        owner, before = (status.st_uid, status.st_gid), (below.status.st_uid, below.status.st_gid)
        moved = (before[0] + self._root[0], before[1] + self._root[1])
        same = mode == stat.S_IMODE(below.status.st_mode) and owner in (before, moved)
        if kind != "directory" or not same:
            self._add(WrittenFile(path, "changed", kind, size, mode))

    def _add(self, file: WrittenFile) -> None:
        if len(self.found) >= self._max_files:
            self._too_many()
        self.found.append(file)

    def _too_many(self) -> None:
        raise NsboxError(f"changes: more than {self._max_files} files were written; max_files allows more")


def _below(lower: tuple[str, ...], name: str) -> _Below:
    """Return the topmost file of this name in the directories of the lower layers, and the directories of this name."""
    first, directories = None, []
    for directory in lower:
        path = os.path.join(directory, name)
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            break
        first = first or status
        if not stat.S_ISDIR(status.st_mode):
            break
        directories.append(path)
    return _Below(first, tuple(directories))


def _is_opaque(fd: int) -> bool:
    for name in _OPAQUE:
        with contextlib.suppress(OSError):
            if os.getxattr(fd, name) == b"y":
                return True
    return False


def _kind(status: os.stat_result) -> FileKind:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "device")


class _Copy:
    """Copies files from one directory to another."""

    def __init__(self, source: int, target: int, max_bytes: int, max_files: int) -> None:
        self._source = source
        self._target = target
        self._bytes, self._files = 0, 0
        self._max_bytes, self._max_files = max_bytes, max_files
        self._skipped: list[tuple[str, str]] = []

    def all(self, files: Sequence[WrittenFile]) -> Kept:
        for file in files:
            if file.state == "deleted":
                continue
            if file.kind not in ("file", "directory"):
                self._skipped.append((file.path, f"is a {file.kind}"))
                continue
            try:
                self._one(file)
            except OSError as error:
                self._skipped.append((file.path, error.strerror or str(error)))
        return Kept(self._files, self._bytes, tuple(self._skipped))

    def _one(self, file: WrittenFile) -> None:
        *parents, name = file.path.lstrip("/").split("/")
        with contextlib.ExitStack() as stack:
            source, target = self._source, self._target
            for parent in parents:
                source = _pushed(stack, os.open(parent, _DIRECTORY, dir_fd=source))
                self._make(parent, target)
                target = _pushed(stack, os.open(parent, _DIRECTORY, dir_fd=target))
            if file.kind == "directory":
                self._make(name, target)
                return
            # A FIFO in its place would block, and a device could do anything; both are refused once it is open.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
            reader = _pushed(stack, os.open(name, flags, dir_fd=source))
            status = os.fstat(reader)
            if not stat.S_ISREG(status.st_mode):
                self._skipped.append((file.path, "is not a file any more"))
                return
            self._count()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            writer = _pushed(stack, os.open(name, flags, 0o600, dir_fd=target))
            self._contents(reader, writer)
            os.fchmod(writer, status.st_mode & _PERMISSIONS)

    def _make(self, name: str, directory: int) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=directory)
            self._count()

    def _contents(self, reader: int, writer: int) -> None:
        while data := os.read(reader, min(_CHUNK_BYTES, self._max_bytes - self._bytes + 1)):
            if self._bytes + len(data) > self._max_bytes:
                raise NsboxError(f"keep: the files have more than {self._max_bytes} bytes; max_bytes allows more")
            self._bytes += len(data)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(writer, rest) :]

    def _count(self) -> None:
        if self._files >= self._max_files:
            raise NsboxError(f"keep: there are more than {self._max_files} files; max_files allows more")
        self._files += 1


def _pushed(stack: contextlib.ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd
