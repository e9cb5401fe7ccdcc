"""Values as bytes and back: the encoding of what comes out of a box, where a hostile program may have written it.

Unlike pickle it has data only: decoding imports nothing that the sender names, and calls nothing but the constructors
of listed types. A value is a letter, and then a number, a text, or a count and that many values. A value of another
type is the letter T, the name of its type, and its parts (`nsbox.remote.named_types`).

A traceback is written as None: it is made of frames, which stay inside.

An object that occurs twice is written twice, and arrives as two objects. An object that contains itself is refused.
"""

from __future__ import annotations

import struct
from types import TracebackType

from nsbox.errors import TransferError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_INT_BYTES", "MAX_MEMORY", "RefusedError", "decode", "encode"]

MAX_BYTES = 1 << 28
"""The longest encoded value, in bytes."""
MAX_MEMORY = 1 << 30
"""The bytes of memory that a decoded value may take, as estimated before it is made."""
MAX_DEPTH = 100
"""How deep containers may be nested."""
MAX_INT_BYTES = 1 << 20
"""The size of the largest int."""

_COUNT = struct.Struct("<Q")
_INT = struct.Struct("<q")
_FLOAT = struct.Struct("<d")
_COMPLEX = struct.Struct("<dd")
_MIN_PACKED = 8
"""The length from which a list of small ints or of floats is written as an array, which is as fast as pickle."""
_SLOT_BYTES, _ENTRY_BYTES, _OBJECT_BYTES = 48, 192, 512
"""Upper limits of the memory for an element of a list, an entry of a dictionary, and an object of another type."""
_MAX_SAME_HASHES = 100
"""How many keys of a dictionary may have the same hash: with n of them it takes n² comparisons."""
_MAX_NAME_BYTES = 100


class RefusedError(Exception):
    """A value cannot be encoded. The text says which one: "a value of type generator"."""


def encode(value: object) -> bytes:
    """Return a value as bytes.

    Raises:
        RefusedError: for a type that is not listed, and for values that are too deep or too large.
    """
    writer = _Writer()
    writer.put(value)
    return bytes(writer.data)


def decode(data: bytes, memory: int = MAX_MEMORY) -> Any:
    """Return the value in bytes that may have been written by anybody.

    Args:
        data: The bytes.
        memory: The bytes of memory that the value may take, as estimated before it is made.

    Raises:
        TransferError: for all bytes that `encode` does not write.
    """
    reader = _Reader(data, memory)
    try:
        value = reader.get()
        if reader.at != len(data):
            raise ValueError("bytes follow the value")
    except Exception as error:
        raise TransferError(f"what arrived is no encoded value: {type(error).__name__}: {str(error)[:200]!a}") from None
    return value


class _Writer:
    """Appends values to `data`."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._depth = 0

    def put(self, value: Any) -> None:
        """Append a value."""
        if put := _WRITERS.get(type(value)):
            put(self, value)
        else:
            self._put_named(value)

    def _put_simple(self, value: object) -> None:
        self.data += _SIMPLE_LETTERS[value]

    def _put_nothing(self, _: object) -> None:
        self.data += b"N"

    def _put_int(self, value: int) -> None:
        if -(1 << 63) <= value < 1 << 63:
            self.data += b"i" + _INT.pack(value)
            return
        size = value.bit_length() // 8 + 1
        if size > MAX_INT_BYTES:
            raise RefusedError(f"an int of more than {MAX_INT_BYTES} bytes")
        self._put_sized(b"I", value.to_bytes(size, "little", signed=True))

    def _put_float(self, value: float) -> None:
        self.data += b"f" + _FLOAT.pack(value)

    def _put_complex(self, value: complex) -> None:
        self.data += b"c" + _COMPLEX.pack(value.real, value.imag)

    def _put_str(self, value: str) -> None:
        self._put_sized(b"s", value.encode("utf-8", "surrogatepass"))

    def _put_bytes(self, value: bytes) -> None:
        self._put_sized(b"b", value)

    def _put_bytearray(self, value: bytearray) -> None:
        self._put_sized(b"a", value)

    def _put_sized(self, letter: bytes, content: bytes | bytearray) -> None:
        self._begin(letter, content)
        self.data += content

    def _put_range(self, value: range | slice) -> None:
        self.data += b"r" if type(value) is range else b"S"
        for part in (value.start, value.stop, value.step):
            self.put(part)

    def _put_many(self, value: Collection[Any]) -> None:
        kind = type(value)
        if len(value) >= _MIN_PACKED and kind in _PACKED_LETTERS and self._put_packed(_PACKED_LETTERS[kind], value):
            return
        self._begin(_CONTAINER_LETTERS[kind], value)
        for one in value:
            self.put(one)
        self._depth -= 1

    def _put_packed(self, letter: bytes, value: Collection[Any]) -> bool:
        kinds = set(map(type, value))
        form = "q" if kinds == {int} else "d" if kinds == {float} else ""
        if not form:
            return False
        try:
            packed = struct.pack(f"<{len(value)}{form}", *value)
        except struct.error:  # an int of more than 64 bits
            return False
        self._begin(letter + form.encode(), value)
        self._depth -= 1
        self.data += packed
        return True

    def _put_dict(self, value: dict[Any, Any]) -> None:
        self._begin(b"d", value)
        for key, one in value.items():
            self.put(key)
            self.put(one)
        self._depth -= 1

    def _begin(self, letter: bytes, content: Collection[Any]) -> None:
        """Append a letter and a count; for containers go one level deeper."""
        self.data += letter + _COUNT.pack(len(content))
        if not isinstance(content, bytes | bytearray):
            self._deeper()
        elif len(content) > MAX_BYTES:
            raise RefusedError(f"more than {MAX_BYTES} bytes")
        if len(self.data) > MAX_BYTES:
            raise RefusedError(f"more than {MAX_BYTES} bytes")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RefusedError(f"an object that contains itself, or is nested more than {MAX_DEPTH} levels deep")

    def _put_named(self, value: object) -> None:
        from nsbox.remote.named_types import parts_of  # noqa: PLC0415 - only if needed, as a worker imports little

        named = parts_of(value)
        if named is None:
            kind = type(value)
            module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
            raise RefusedError(f"a value of type {module}{kind.__qualname__}")
        name, parts = named
        self._put_sized(b"T", name.encode())
        self._deeper()
        self.put(parts)
        self._depth -= 1


_SIMPLE: list[tuple[bytes, object]] = [(b"N", None), (b"1", True), (b"0", False), (b".", Ellipsis)]
_SIMPLE_LETTERS = {value: letter for letter, value in _SIMPLE}
_CONTAINER_LETTERS: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"e", frozenset: b"z"}
_PACKED_LETTERS: dict[type, bytes] = {list: b"L", tuple: b"P"}
_WRITERS: dict[type, Callable[[_Writer, Any], None]] = {
    **{type(value): _Writer._put_simple for _, value in _SIMPLE},
    int: _Writer._put_int,
    float: _Writer._put_float,
    complex: _Writer._put_complex,
    str: _Writer._put_str,
    bytes: _Writer._put_bytes,
    bytearray: _Writer._put_bytearray,
    range: _Writer._put_range,
    slice: _Writer._put_range,
    dict: _Writer._put_dict,
    TracebackType: _Writer._put_nothing,
    **dict.fromkeys(_CONTAINER_LETTERS, _Writer._put_many),
}


class _Reader:
    """Reads values from hostile bytes. Everything that is raised is an `Exception`, and means that they are wrong."""

    def __init__(self, data: bytes, memory: int) -> None:
        self._data = data
        self._memory = memory
        self._depth = 0
        self.at = 0

    def get(self) -> Any:
        """Read a value."""
        letter = self._data[self.at]
        self.at += 1
        return _READERS[letter](self)

    def _get_none(self) -> None:
        return None

    def _get_true(self) -> bool:
        return True

    def _get_false(self) -> bool:
        return False

    def _get_ellipsis(self) -> object:
        return ...

    def _get_int(self) -> int:
        (value,) = self._unpacked(_INT)
        return int(value)

    def _get_large_int(self) -> int:
        size = self._count()
        if size > MAX_INT_BYTES:
            raise ValueError(f"an int of {size} bytes")
        return int.from_bytes(self._take(size), "little", signed=True)

    def _get_float(self) -> float:
        (value,) = self._unpacked(_FLOAT)
        return float(value)

    def _get_complex(self) -> complex:
        return complex(*self._unpacked(_COMPLEX))

    def _get_str(self) -> str:
        data = self._take(self._count())
        if not data.isascii():
            # One character can make all of them four bytes wide.
            self._charge(4 * len(data))
        return data.decode("utf-8", "surrogatepass")

    def _get_bytes(self) -> bytes:
        return self._take(self._count())

    def _get_bytearray(self) -> bytearray:
        return bytearray(self._take(self._count()))

    def _get_range(self) -> range:
        return range(*self._parts(int, int, int))

    def _get_slice(self) -> slice:
        self._charge(_OBJECT_BYTES)
        self._enter()
        value = slice(self.get(), self.get(), self.get())
        self._depth -= 1
        return value

    def _parts(self, *kinds: type) -> list[Any]:
        self._charge(_OBJECT_BYTES)
        parts = [self.get() for _ in kinds]
        if [type(part) for part in parts] != list(kinds):
            raise TypeError("a part of another type")
        return parts

    def _get_list(self) -> list[Any]:
        return self._items(self._count(1, _SLOT_BYTES))

    def _get_tuple(self) -> tuple[Any, ...]:
        return tuple(self._get_list())

    def _get_packed_list(self) -> list[Any]:
        return list(self._get_packed_tuple())

    def _get_packed_tuple(self) -> tuple[Any, ...]:
        form = self._take(1).decode("ascii")
        if form not in ("q", "d"):
            raise ValueError(f"an array of {form!a}")
        # The elements are made twice for a list.
        count = self._count(8, 2 * _SLOT_BYTES)
        return struct.unpack(f"<{count}{form}", self._take(8 * count))

    def _get_set(self) -> set[Any]:
        return set(_checked_keys(self._items(self._count(1, _ENTRY_BYTES))))

    def _get_frozenset(self) -> frozenset[Any]:
        return frozenset(self._get_set())

    def _get_dict(self) -> dict[Any, Any]:
        flat = self._items(2 * self._count(2, _ENTRY_BYTES))
        return dict(zip(_checked_keys(flat[::2]), flat[1::2], strict=True))

    def _get_named(self) -> Any:
        from nsbox.remote.named_types import made_from  # noqa: PLC0415 - only if needed

        size = self._count()
        if size > _MAX_NAME_BYTES:
            raise ValueError(f"a name of {size} bytes")
        name = self._take(size).decode()
        self._charge(_OBJECT_BYTES)
        start = self.at
        self._enter()
        parts = self.get()
        self._depth -= 1
        # The object may have a copy of its parts.
        self._charge(2 * (self.at - start))
        return made_from(name, parts)

    def _count(self, item_bytes: int = 1, memory: int = 2) -> int:
        """Read a count; refuse it if fewer items than that are left, or if there is no memory for them."""
        (count,) = self._unpacked(_COUNT)
        if count * item_bytes > len(self._data) - self.at:
            raise ValueError(f"{count} items of which only a part is there")
        self._charge(_OBJECT_BYTES // 4 + count * memory)
        return int(count)

    def _charge(self, memory: int) -> None:
        self._memory -= memory
        if self._memory < 0:
            raise ValueError("it takes too much memory (trust=True lifts this limit)")

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._data):
            raise ValueError("an end in the middle of a value")
        start, self.at = self.at, end
        return self._data[start:end]

    def _unpacked(self, form: struct.Struct) -> tuple[Any, ...]:
        values = form.unpack_from(self._data, self.at)
        self.at += form.size
        return values

    def _items(self, count: int) -> list[Any]:
        self._enter()
        items = [self.get() for _ in range(count)]
        self._depth -= 1
        return items

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")


_SAFE_KEYS = {str, bytes, type(None), bool}
"""Types whose hashes a sender cannot choose (PYTHONHASHSEED), or that have few values."""


def _checked_keys(keys: list[Any]) -> list[Any]:
    """Return the keys of a dictionary or a set; refuse many with the same hash."""
    kinds = set(map(type, keys))
    if not kinds <= _SAFE_KEYS:
        seen: dict[int, int] = {}
        for key in keys:
            number = hash(key)
            seen[number] = seen.get(number, 0) + 1
        if max(seen.values()) > _MAX_SAME_HASHES:
            raise ValueError("too many keys with the same hash")
    return keys


_READERS: dict[int, Callable[[_Reader], Any]] = {
    letter[0]: reader
    for letter, reader in {
        b"N": _Reader._get_none,
        b"1": _Reader._get_true,
        b"0": _Reader._get_false,
        b".": _Reader._get_ellipsis,
        b"i": _Reader._get_int,
        b"I": _Reader._get_large_int,
        b"f": _Reader._get_float,
        b"c": _Reader._get_complex,
        b"s": _Reader._get_str,
        b"b": _Reader._get_bytes,
        b"a": _Reader._get_bytearray,
        b"r": _Reader._get_range,
        b"S": _Reader._get_slice,
        b"l": _Reader._get_list,
        b"t": _Reader._get_tuple,
        b"L": _Reader._get_packed_list,
        b"T": _Reader._get_named,
        b"P": _Reader._get_packed_tuple,
        b"e": _Reader._get_set,
        b"z": _Reader._get_frozenset,
        b"d": _Reader._get_dict,
    }.items()
}
