"""Store whose requests or answers wait, as those of a process that is stopped just then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

Choice = Callable[[str, tuple[Any, ...]], bool]
"""Function of a verb and its arguments."""


class GatedStore:
    """A store of which some requests wait until `let_go`: those that `before` chooses are not sent.

    Those that `after` chooses are sent, and their answers wait. `held` has what waits.
    """

    keep_seconds: float | None = None

    def __init__(self, store: Any) -> None:
        self._store = store
        self._gate: dict[str, Any] = {"before": None, "after": None, "open": anyio.Event()}
        self.held: list[tuple[str, tuple[Any, ...]]] = []

    def hold(self, *, before: Choice | None = None, after: Choice | None = None) -> None:
        self._gate.update(before=before, after=after, open=anyio.Event())
        self.held.clear()

    def let_go(self) -> None:
        self._gate.update(before=None, after=None)
        self._gate["open"].set()

    async def __aenter__(self) -> GatedStore:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._store.__aexit__(*exc)

    def scoped(self, prefix: str) -> GatedStore:
        scope = GatedStore(self._store.scoped(prefix))
        scope._gate, scope.held = self._gate, self.held
        return scope

    def records(self, shard: int, after: int) -> Any:
        return self._store.records(shard, after)

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)

        async def call(*arguments: Any) -> Any:
            await self._wait("before", name, arguments)
            answer = await verb(*arguments)
            await self._wait("after", name, arguments)
            return answer

        return call

    async def _wait(self, when: str, name: str, arguments: tuple[Any, ...]) -> None:
        choice = self._gate[when]
        if choice is not None and choice(name, arguments):
            self.held.append((name, arguments))
            await self._gate["open"].wait()


def is_write(name: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a request writes a value."""
    return name == "compare_and_set" and arguments[1] is not None
