"""A decorator that runs each call of a function in a new box: `boxed`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from nsbox.remote.protocol import check_call
from nsbox.spec.kinds import Namespaces
from nsbox.spec.spec import Options, box_spec

__all__ = ["boxed"]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def boxed(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def boxed(
    *, unshare: Namespaces = "mip", timeout: float | None = None, trust: bool = False, **options: Unpack[Options]
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def boxed(
    function: Callable[..., Any] | None = None,
    /,
    *,
    unshare: Namespaces = "mip",
    timeout: float | None = None,
    trust: bool = False,
    **options: Unpack[Options],
) -> Callable[..., Any]:
    """Run each call of a function in a new box, whose processes have all ended when the call returns.

    >>> @boxed(unshare="p")
    ... def parent() -> int:
    ...     import os
    ...     return os.getppid()
    >>> parent()
    1

    The function, its arguments and its result are sent as by `nsbox.Box.call`: the result is plain data.
    ``__wrapped__`` is the function itself, to be called without a box.

    Args:
        function: The function.
        unshare: The new namespaces; see `nsbox.Spec`.
        timeout: Seconds after which a call and all processes that it has started are killed.
        trust: Whether results may be unpickled; see `nsbox.Box`.
        **options: Further options of `nsbox.Spec`.

    Raises:
        SpecError: for arguments that make no sense, before any call.
    """
    spec = box_spec(unshare, None, options)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        check_call(function, timeout)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            # Imported only here: the Python inside imports this module for the decorated function, but makes no box.
            from nsbox.box.box import Box  # noqa: PLC0415

            with Box(spec=spec, trust=trust) as box:
                return box.call(_WrappedCall(call, args, kwargs), fresh=True, timeout=timeout)

        return call

    return decorate if function is None else decorate(function)


class _WrappedCall:
    """A call of the function itself, which cannot be pickled: pickle would find the decorated one under its name."""

    def __init__(self, decorated: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.__qualname__ = decorated.__qualname__
        self.decorated, self.args, self.kwargs = decorated, args, kwargs

    def __call__(self) -> Any:
        return self.decorated.__wrapped__(*self.args, **self.kwargs)  # type: ignore[attr-defined]
