"""Functions whose every call has namespaces of its own: `boxed`."""

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
    *, unshare: Namespaces = "mip", timeout: float | None = None, **options: Unpack[Options]
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def boxed(
    function: Callable[..., Any] | None = None,
    /,
    *,
    unshare: Namespaces = "mip",
    timeout: float | None = None,
    **options: Unpack[Options],
) -> Callable[..., Any]:
    """Make a function whose every call is carried out in a new box, of which nothing is left when it returns.

    >>> @boxed(unshare="p")
    ... def parent() -> int:
    ...     import os
    ...     return os.getppid()
    >>> parent()
    1

    What is said of `nsbox.Box.call` holds here too. ``__wrapped__`` is the function itself, to be called without a box.

    Args:
        function: The function.
        unshare: The new namespaces; see `nsbox.Spec`.
        timeout: Seconds after which a call is killed, with all that it has started.
        **options: Further options of `nsbox.Spec`.

    Raises:
        SpecError: for arguments that make no sense, before any call.
    """
    spec = box_spec(unshare, None, options)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        check_call(function, timeout)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            # The Python inside imports this module too, for the sake of the decorated function, and needs no box.
            from nsbox.box.box import Box  # noqa: PLC0415

            with Box(spec=spec) as box:
                return box.call(_Behind(call, args, kwargs), fresh=True, timeout=timeout)

        return call

    return decorate if function is None else decorate(function)


class _Behind:
    """A call of the function behind a decorated one.

    By reference only the decorated one can travel: it has taken the name under which the other would be looked up.
    """

    def __init__(self, decorated: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.__qualname__ = decorated.__qualname__
        self.decorated, self.args, self.kwargs = decorated, args, kwargs

    def __call__(self) -> Any:
        return self.decorated.__wrapped__(*self.args, **self.kwargs)  # type: ignore[attr-defined]
