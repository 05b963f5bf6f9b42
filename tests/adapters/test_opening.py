"""Use of `open_gateway`, `open_shards` and `serve_gateway` without `async with`, or twice."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import gateway_asyncio
import gateway_trio
from gateway_proto import Config, LocalProtocolError
from gateway_proto.server import Server
from tests.adapters.test_connect import RUNNERS

CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost:1")
OPENINGS = {
    "open_gateway": CONFIG,
    "open_shards": CONFIG,
    "serve_gateway": Server(),
}
each_opening = pytest.mark.parametrize("function", OPENINGS)
each_adapter = pytest.mark.parametrize("adapter", [gateway_asyncio, gateway_trio])


async def _await(opening: Any) -> None:
    await opening


async def _iterate(opening: Any) -> None:
    async for _ in opening:
        pass


def _with(opening: Any) -> None:
    with opening:
        pass


@each_adapter
@each_opening
@pytest.mark.parametrize(
    ("use", "name"),
    [(_with, "`with`"), (_await, "`await`"), (_iterate, "`async for`")],
)
def test_misuse_names_async_with(
    adapter: Any, function: str, use: Callable[[Any], Awaitable[None] | None], name: str
) -> None:
    opening = getattr(adapter, function)(OPENINGS[function])

    with pytest.raises(LocalProtocolError) as raised:
        result = use(opening)
        if inspect.iscoroutine(result):
            result.send(None)

    expected = f"{function}(...) does not support {name}: use `async with {function}(...) as name`"
    assert str(raised.value) == expected


@each_adapter
@each_opening
def test_attribute_of_an_unopened_gateway_names_async_with(adapter: Any, function: str) -> None:
    opening = getattr(adapter, function)(OPENINGS[function])

    with pytest.raises(AttributeError) as raised:
        _ = opening.send

    assert str(raised.value) == (
        f"{function}(...) has no attribute 'send': use `async with {function}(...) as name`"
    )


@pytest.mark.parametrize("name", RUNNERS)
def test_second_entry_of_one_opening_is_rejected(name: str) -> None:
    adapter, run = RUNNERS[name]
    errors: list[str] = []

    async def main() -> None:
        opening = adapter.serve_gateway(Server())
        async with opening as serving:
            assert serving.port > 0
        try:
            async with opening:
                pass
        except LocalProtocolError as error:
            errors.append(str(error))

    run(main)

    assert errors == ["serve_gateway(...) was entered before: call serve_gateway again"]


@each_adapter
@each_opening
def test_opening_keeps_the_signature_and_the_docstring(adapter: Any, function: str) -> None:
    made = getattr(adapter, function)

    assert made.__name__ == function
    assert inspect.getdoc(made).endswith(".")
    assert next(iter(inspect.signature(made).parameters)) in ("config", "server")
    assert isinstance(made(OPENINGS[function]), contextlib.AbstractAsyncContextManager)
