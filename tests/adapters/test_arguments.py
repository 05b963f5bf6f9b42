"""Wrong arguments of `open_gateway`, `open_shards` and `serve_gateway`, on both event loops."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio

import gateway_asyncio
import gateway_trio
from gateway_proto import Config, LocalProtocolError
from gateway_proto.server import Server, ServerConfig

CONFIG = Config(token="t", intents=0, gateway_url="ws://127.0.0.1:1")
LOOPS: list[tuple[Any, Callable[..., Any]]] = [
    (gateway_asyncio, asyncio.run),
    (gateway_trio, lambda coroutine: trio.run(lambda: coroutine)),
]


async def _on_event(*_: object) -> None:
    """Must not be async."""


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "trio"])
@pytest.mark.parametrize(
    ("function", "arguments", "fields", "error"),
    [
        ("open_gateway", ["secret"], {}, "config is of type str: expected a Config"),
        ("open_gateway", [CONFIG], {"session": "{}"}, "Session.from_json"),
        ("open_gateway", [CONFIG], {"ssl_context": True}, "expected an ssl.SSLContext"),
        ("open_gateway", [CONFIG], {"queue_limit": "9"}, "invalid queue_limit '9'"),
        ("open_gateway", [CONFIG], {"recorder": "trace.jsonl"}, "expected a Recorder"),
        ("open_shards", ["secret"], {}, "config is of type str: expected a Config"),
        ("open_shards", [CONFIG], {"queue_limit": 0}, "invalid queue_limit 0"),
        ("open_shards", [CONFIG], {"sessions": {0: "{}"}}, "invalid sessions[0]"),
        ("open_shards", [CONFIG], {"ids": "01", "count": 2}, "invalid ids '01'"),
        ("serve_gateway", [ServerConfig()], {}, "expected a Server, such as"),
        ("serve_gateway", [Server(), "127.0.0.1", "80"], {}, "invalid port '80'"),
        ("serve_gateway", [Server(), None], {}, "host is None: expected the name or address"),
        ("serve_gateway", [Server(), ""], {}, "invalid host '': expected the name or address"),
        ("serve_gateway", [Server(), " localhost"], {}, "invalid host ' localhost'"),
        ("serve_gateway", [Server(), "x" * 64], {}, "expected the name or address"),
        ("serve_gateway", [Server(), "a." * 126 + "ab"], {}, "expected the name or address"),
        ("serve_gateway", [Server(), "bücher.example"], {}, "in ASCII"),
        ("serve_gateway", [Server(), "localhost\n"], {}, "expected the name or address"),
        ("open_shards", [CONFIG], {"identify_queue": ","}, "invalid identify_queue ','"),
        ("serve_gateway", [Server()], {"on_event": _on_event}, "that is not async"),
    ],
)
def test_invalid_argument_raises_before_a_connection_is_opened(
    loop: tuple[Any, Callable[..., Any]],
    function: str,
    arguments: list[Any],
    fields: dict[str, Any],
    error: str,
) -> None:
    module, run = loop

    async def main() -> None:
        async with getattr(module, function)(*arguments, **fields):
            raise AssertionError("it was opened")

    with pytest.raises(LocalProtocolError) as caught:
        run(main())

    assert error in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "trio"])
@pytest.mark.parametrize("hook", ["before_dial", "connect"])
def test_hook_that_is_not_async_ends_the_iteration_with_its_name(
    loop: tuple[Any, Callable[..., Any]], hook: str
) -> None:
    module, run = loop

    async def main() -> None:
        async with module.open_gateway(CONFIG, **{hook: lambda _dial: None}) as gateway:
            async for _ in gateway:
                """The first dial fails."""

    with pytest.raises(LocalProtocolError) as caught:
        run(main())

    assert str(caught.value) == (
        f"{hook}() is None: expected an awaitable, as an async function returns"
    )


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "trio"])
@pytest.mark.parametrize("opener", ["open_gateway", "open_shards"])
def test_flag_of_stop_that_is_no_bool_stops_nothing(
    loop: tuple[Any, Callable[..., Any]], opener: str
) -> None:
    module, run = loop

    async def main() -> None:
        fields = {"count": 1} if opener == "open_shards" else {}
        async with getattr(module, opener)(CONFIG, **fields) as opened:
            with pytest.raises(LocalProtocolError, match="invalid keep_session 'no': expected a b"):
                await opened.stop(keep_session="no")
            first = await anext(aiter(opened))
            assert first is not None

    run(main())


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "trio"])
def test_port_of_an_int_subclass_is_served(loop: tuple[Any, Callable[..., Any]]) -> None:
    class Port(int):
        __slots__ = ()

    module, run = loop

    async def main() -> int:
        async with module.serve_gateway(Server(), port=Port(0)) as running:
            return int(running.port)

    assert run(main()) > 0


@pytest.mark.parametrize(
    ("module", "run", "other"),
    [
        (gateway_asyncio, LOOPS[1][1], "under trio use gateway_trio"),
        (gateway_trio, LOOPS[0][1], "under asyncio use gateway_asyncio"),
    ],
    ids=["asyncio", "trio"],
)
@pytest.mark.parametrize(
    ("function", "argument"),
    [("open_gateway", CONFIG), ("open_shards", CONFIG), ("serve_gateway", Server())],
)
def test_adapter_of_another_event_loop_is_named(
    module: Any, run: Callable[..., Any], other: str, function: str, argument: Any
) -> None:
    async def main() -> None:
        async with getattr(module, function)(argument):
            raise AssertionError("it was opened")

    with pytest.raises(LocalProtocolError, match=other):
        run(main())


@pytest.mark.parametrize("extra", ["trio", "pytest"])
def test_import_without_its_extra_names_the_extra(extra: str) -> None:
    script = f"import sys; sys.modules[{extra!r}] = None; import gateway_{extra}"

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert result.returncode == 1
    assert f"gateway_{extra} needs {extra}: install gateway-proto[{extra}]" in result.stderr
