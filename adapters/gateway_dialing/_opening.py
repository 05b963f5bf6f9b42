"""Asynchronous context managers whose errors show how to use them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, ParamSpec, TypeVar

from gateway_proto import LocalProtocolError

__all__ = ["opening"]

P = ParamSpec("P")
T = TypeVar("T")


def opening(
    function: Callable[P, AsyncIterator[T]],
) -> Callable[P, contextlib.AbstractAsyncContextManager[T]]:
    """Return a function as `contextlib.asynccontextmanager` does, with clear errors for misuse."""
    manager_of = contextlib.asynccontextmanager(function)

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> contextlib.AbstractAsyncContextManager[T]:
        return _Opening(function.__name__, manager_of(*args, **kwargs))

    return make


class _Opening(contextlib.AbstractAsyncContextManager[T], Generic[T]):
    """Context manager that `async with` enters once."""

    __slots__ = ("_is_entered", "_manager", "_name")

    def __init__(self, name: str, manager: contextlib.AbstractAsyncContextManager[T]) -> None:
        self._name = name
        self._manager = manager
        self._is_entered = False

    async def __aenter__(self) -> T:
        if self._is_entered:
            raise LocalProtocolError(
                f"{self._name}(...) was entered before: call {self._name} again"
            )
        self._is_entered = True
        return await self._manager.__aenter__()

    async def __aexit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._manager.__aexit__(type_, error, traceback)

    if not TYPE_CHECKING:  # type checkers find these mistakes

        def __enter__(self) -> NoReturn:
            raise self._misused("`with`")

        def __exit__(self, *_: object) -> None: ...

        def __await__(self) -> NoReturn:
            raise self._misused("`await`")

        def __aiter__(self) -> NoReturn:
            raise self._misused("`async for`")

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(self._message(f"has no attribute {name!r}"))

    def _misused(self, how: str) -> LocalProtocolError:
        return LocalProtocolError(self._message(f"does not support {how}"))

    def _message(self, what: str) -> str:
        return f"{self._name}(...) {what}: use `async with {self._name}(...) as name`"
