"""Exceptions that come out of a box: of which classes, and how they are made from data of an attacker.

Three kinds of classes are known:

- listed ones: those of Python, of some standard modules, and of nsbox. Their own constructors are called.
- the outcomes of pytest, if pytest is loaded: `pytest.skip`, `fail`, `xfail` and `exit`.
- any other class that is loaded here, if nothing of it runs by itself (`obstacle`). It is made by the constructor of
  the built-in exception from which it derives, and gets its attributes as data. No function of it is called, so its
  own constructor may take any arguments.

Nothing is imported for a name that was sent.
"""

from __future__ import annotations

import builtins
import sys
from types import GetSetDescriptorType, MemberDescriptorType, ModuleType

from nsbox import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "LISTED",
    "OUTCOMES",
    "class_at",
    "listed",
    "listed_parts",
    "loaded",
    "loaded_parts",
    "obstacle",
    "outcome",
    "outcome_class",
    "outcome_parts",
    "parts_to_make",
    "remade",
]

LISTED = {
    *(f"builtins.{name}" for name, kind in vars(builtins).items()
      if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__name__ == name),
    *(f"nsbox.errors.{name}" for name in errors.__all__),
    "asyncio.CancelledError", "asyncio.IncompleteReadError", "asyncio.InvalidStateError",
    "asyncio.QueueEmpty", "asyncio.QueueFull",
    "binascii.Error", "concurrent.futures.BrokenExecutor", "concurrent.futures.CancelledError",
    "concurrent.futures.InvalidStateError", "configparser.Error", "csv.Error",
    "decimal.DivisionByZero", "decimal.InvalidOperation", "decimal.Overflow",
    "http.client.HTTPException", "io.UnsupportedOperation", "json.JSONDecodeError", "lzma.LZMAError",
    "pickle.PickleError", "pickle.PicklingError", "pickle.UnpicklingError", "queue.Empty", "queue.Full", "re.error",
    "shutil.Error", "shutil.SameFileError", "socket.gaierror", "socket.herror", "sqlite3.DatabaseError",
    "sqlite3.Error", "sqlite3.IntegrityError", "sqlite3.OperationalError", "statistics.StatisticsError",
    "struct.error", "subprocess.CalledProcessError", "subprocess.SubprocessError", "subprocess.TimeoutExpired",
    "tarfile.TarError", "tarfile.ReadError", "unittest.SkipTest", "urllib.error.URLError", "zipfile.BadZipFile",
    "zlib.error", "zoneinfo.ZoneInfoNotFoundError", "nsbox.start.output.OutputLimitError",
}  # fmt: skip
"""The names of the classes whose constructors are called."""

# Listed classes


def listed_parts(error: BaseException) -> Any:
    """Return the arguments and the attributes of an exception of a listed class."""
    reduced: Any = error.__reduce__()
    state = dict(reduced[2]) if len(reduced) > 2 and isinstance(reduced[2], dict) else {}
    if notes := getattr(error, "__notes__", None):
        state["__notes__"] = list(map(str, notes))
    args = _args_of_group(error) if isinstance(error, BaseExceptionGroup) else tuple(reduced[1])
    return args, {name: value for name, value in state.items() if _is_attribute(type(error), name)}


def listed(kind: Any, parts: Any) -> BaseException:
    """Return an exception of a listed class."""
    args, attributes = _checked(kind, parts)
    error: BaseException = kind(*args)
    for name, value in attributes.items():
        if not _is_attribute(kind, name):
            raise AttributeError("an attribute that an exception does not have")
        setattr(error, name, value)
    if kind.__module__ != "builtins":
        # Their texts are made of their attributes, which may have another type.
        str(error)
    return error


def _checked(kind: type, parts: Any) -> tuple[tuple[Any, ...], dict[Any, Any]]:
    """Return arguments and attributes of an exception, checked as far as that does not depend on its class."""
    if type(parts) is not tuple or [type(part) for part in parts] != [tuple, dict]:
        raise TypeError("parts of other types")
    args, attributes = parts
    _check_args(kind, args)
    notes = attributes.get("__notes__", [])
    if type(notes) is not list or not all(type(one) is str for one in notes):
        raise TypeError("notes that are no texts")
    return args, attributes


def _check_args(kind: type, args: tuple[Any, ...]) -> None:
    """Check arguments by which the text of an exception reads beyond an object, or is longer than memory."""
    if issubclass(kind, UnicodeError) and any(type(one) is int and one < 0 for one in args):
        raise ValueError("a negative position")
    if issubclass(kind, SyntaxError):
        details = args[1] if len(args) > 1 and type(args[1]) is tuple else ()
        if any(type(one) is int and not -1 <= one <= _MAX_POSITION for one in details):
            raise ValueError("a position that is far away")


def _is_attribute(kind: type, name: object) -> bool:
    """Return whether an exception can have an attribute that is not one of its arguments, and hides nothing."""
    if type(name) is not str or not name.isidentifier():
        return False
    if name.startswith("_"):
        return name == "__notes__"
    return not hasattr(kind, name) or (name in _IMPORT_ERROR_ATTRIBUTES and issubclass(kind, ImportError))


def _args_of_group(error: BaseExceptionGroup[Any]) -> tuple[Any, ...]:
    return error.message, list(error.exceptions)


_IMPORT_ERROR_ATTRIBUTES = ("name", "path", "name_from")
_MAX_POSITION = 1 << 20

# The outcomes of pytest. Skipped says that it was defined in builtins, so no other way finds these classes.


def outcome_parts(error: Any) -> Any:
    """Return the message and the attributes of an outcome of pytest."""
    forms = OUTCOMES[f"_pytest.outcomes.{type(error).__qualname__}"]
    return error.msg, {name: getattr(error, name) for name in forms if hasattr(error, name)}


def outcome(kind: Any, parts: Any) -> BaseException:
    """Return an outcome of pytest."""
    message, attributes = parts
    forms = OUTCOMES[f"_pytest.outcomes.{kind.__qualname__}"]
    if type(message) not in (str, type(None)) or type(attributes) is not dict:
        raise TypeError("parts of other types")
    error: BaseException = kind(message)
    for name, value in attributes.items():
        if type(value) not in forms[name]:
            raise TypeError("an attribute of another type")
        setattr(error, name, value)
    if attributes.get("returncode") == 0:
        # It would end the whole run with success. `forms` has this name for `Exit` alone.
        error.returncode = None  # type: ignore[attr-defined]
    return error


_BOOL: tuple[type, ...] = (bool,)
_FAILED = {"pytrace": _BOOL, "__notes__": (list,)}
OUTCOMES: dict[str, dict[str, tuple[type, ...]]] = {
    "_pytest.outcomes.Skipped": {**_FAILED, "allow_module_level": _BOOL, "_use_item_location": _BOOL},
    "_pytest.outcomes.Failed": _FAILED,
    "_pytest.outcomes.XFailed": _FAILED,
    "_pytest.outcomes.Exit": {"returncode": (int, type(None)), "__notes__": (list,)},
}
"""The names of the outcomes of pytest, and the types of their attributes."""


def outcome_class(name: str) -> Any:
    """Return the class of an outcome.

    Raises:
        LookupError: when pytest is not loaded in this process.
    """
    module, _, kind = name.rpartition(".")
    return vars(sys.modules[module])[kind]


# Other classes that are loaded


def loaded_parts(error: BaseException) -> Any:
    """Return the class of an exception by its name, its arguments, and its attributes."""
    kind = type(error)
    args, state = parts_to_make(error)
    attributes = {name: value for name, value in state.items() if _is_own_attribute(kind, name)}
    return kind.__module__, kind.__qualname__, args, attributes


def parts_to_make(error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments for the constructor of its built-in base class, and its attributes."""
    state = dict(vars(error))
    if notes := state.get("__notes__"):
        state["__notes__"] = list(map(str, notes))
    if isinstance(error, ImportError):
        state |= {name: getattr(error, name) for name in _IMPORT_ERROR_ATTRIBUTES if hasattr(ImportError, name)}
    if isinstance(error, BaseExceptionGroup):
        return _args_of_group(error), state
    # That of OSError adds the names of files.
    reduced: Any = _base_of(type(error)).__reduce__(error)
    return tuple(reduced[1]), state


def loaded(parts: Any) -> BaseException:
    """Return an exception of a class that is loaded, and has no obstacle."""
    module, qualname, args, attributes = parts
    kind = _loaded_class(module, qualname)
    _checked(kind, (args, attributes))
    if not all(_is_own_attribute(kind, name) for name in attributes):
        raise AttributeError("an attribute that hides one of the class")
    return remade(kind, args, attributes)


def remade(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    """Return an exception that is made by the constructor of its built-in base class, with these attributes."""
    base = _base_of(kind)
    error: BaseException = base.__new__(kind, *args)
    base.__init__(error, *args)
    own = dict(attributes)
    if isinstance(error, ImportError):
        for name in _IMPORT_ERROR_ATTRIBUTES:
            if name in own and hasattr(ImportError, name):
                getattr(ImportError, name).__set__(error, own.pop(name))
    vars(error).update(own)
    return error


def obstacle(kind: type[BaseException]) -> str:
    """Return why an exception of a class cannot be made of data, or an empty text.

    Nothing of the class may run when the exception is made, shown or deleted: an attacker chooses its attributes, and
    the functions of a class rely on what its constructor has checked.
    """
    if not issubclass(kind, Exception):
        return "its class is no subclass of Exception"
    for one in kind.__mro__:
        if one is object or one in _BUILTIN:
            continue
        if type(one) is not type or not issubclass(one, BaseException):
            return "its class has a metaclass, or a base class that is no exception"
        for name, value in vars(one).items():
            if name not in _HARMLESS and name.startswith("_") and name.endswith("_"):
                return f"its class has a {name} of its own"
            if name not in _HARMLESS and type(value) in (MemberDescriptorType, GetSetDescriptorType):
                return "its class has __slots__"
    return ""


def _loaded_class(module: object, qualname: object) -> type[BaseException]:
    """Find a class of exceptions by its own name."""
    if type(module) is not str or type(qualname) is not str:
        raise TypeError("names that are no texts")
    kind: Any = class_at(module, qualname)
    if kind is None:
        raise LookupError(_NOT_LOADED)
    if type(kind) is not type or not issubclass(kind, BaseException):
        raise LookupError("its class is no class of exceptions")
    if (kind.__module__, kind.__qualname__) != (module, qualname):
        raise LookupError(_NOT_LOADED)
    if problem := obstacle(kind):
        raise TypeError(problem)
    return kind


def class_at(module: str, qualname: str) -> type | None:
    """Return the class that a loaded module has under a name, without running any code; None if there is none.

    A lookup of an attribute in a lazy module would import it.
    """
    place: object = sys.modules.get(module)
    if not issubclass(type(place), ModuleType):
        return None
    names = _NAMES_OF_MODULE.__get__(place)
    found: Any = None
    for part in qualname.split("."):
        found = names.get(part)
        if not issubclass(type(found), type):
            return None
        names = _NAMES_OF_CLASS.__get__(found)
    return found  # type: ignore[no-any-return]


# An attribute of a module or a class could be a function of its own.
_NAMES_OF_MODULE: Any = vars(ModuleType)["__dict__"]
_NAMES_OF_CLASS: Any = vars(type)["__dict__"]
_NOT_LOADED = "its class is not loaded here under its own name"


def _is_own_attribute(kind: type, name: object) -> bool:
    """Return whether an exception can have an attribute that hides no function and no property of its class."""
    if type(name) is not str or not name.isidentifier():
        return False
    if name.startswith("_") and name.endswith("_"):
        return name == "__notes__"
    if name in _IMPORT_ERROR_ATTRIBUTES and issubclass(kind, ImportError):
        return True
    hidden = next((vars(one)[name] for one in kind.__mro__ if name in vars(one)), None)
    return type(hidden) in _PLAIN


def _base_of(kind: type[BaseException]) -> type[BaseException]:
    """Return the built-in class whose memory layout a class has."""
    base: Any = kind
    while base not in _BUILTIN:
        base = base.__base__
    found: type[BaseException] = base
    return found


_BUILTIN = {kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)}
_PLAIN = {type(None), bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset}
"""The types of default values in a class that an attribute of an exception may hide."""
_HARMLESS = {
    "__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__slots__", "__firstlineno__",
    "__static_attributes__", "__annotations__", "__annotations_cache__", "__annotate__", "__annotate_func__",
    "__orig_bases__", "__parameters__", "__type_params__", "__match_args__", "__final__",  # facts
    "__init__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__",  # called by constructors and pickle
}  # fmt: skip
"""What a class may have of its own: Python calls none of it for an exception that exists."""
