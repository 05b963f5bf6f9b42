"""Exceptions of `before_dial`, of `connect` and of its streams, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import trio

from gateway_proto import LocalProtocolError, Ready
from gateway_proto.server import Server
from tests.adapters.support import KITS, BugError, Kit, NotAnException, shards_config

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


async def _open(kit: Kit, serving: Any, options: Any, *, shards: bool) -> list[Any]:
    """Iterate until the first READY; return the events."""
    config, events = shards_config(serving), []
    opening = (
        kit.adapter.open_shards(config, count=2, **options)
        if shards
        else kit.adapter.open_gateway(config, **options)
    )
    async with kit.limit(), opening as source:
        async for item in source:
            event = item[1] if shards else item
            events.append(event)
            if isinstance(event, Ready):
                break
        else:
            raise AssertionError("the iteration ended without an exception")
    return events


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("callback", ["before_dial", "connect"])
@pytest.mark.parametrize("error", [NotAnException, GeneratorExit])
def test_base_exception_in_a_callback_is_raised(
    kit: Kit, shards: bool, callback: str, error: type[BaseException]
) -> None:
    async def call(*_: Any) -> Any:
        raise error

    async def main() -> None:
        async with kit.adapter.serve_gateway(Server()) as serving:
            with pytest.raises(RuntimeError, match=f"{error.__name__} was raised in a callback"):
                await _open(kit, serving, {callback: call}, shards=shards)

    kit.run(main)


@pytest.mark.parametrize("shards", [False, True])
def test_cancelled_await_in_before_dial_is_raised(kit: Kit, shards: bool) -> None:
    async def before_dial(*_: Any) -> None:
        raise asyncio.CancelledError  # a future that somebody else cancelled

    async def main() -> None:
        async with kit.adapter.serve_gateway(Server()) as serving:
            with pytest.raises(RuntimeError, match="CancelledError was raised in a callback"):
                await _open(kit, serving, {"before_dial": before_dial}, shards=shards)

    kit.run(main)


@pytest.mark.parametrize("callback", ["before_dial", "connect"])
def test_system_exit_in_a_callback_ends_the_program(kit: Kit, callback: str) -> None:
    async def call(*_: Any) -> Any:
        raise SystemExit(3)

    async def main() -> None:
        async with kit.adapter.serve_gateway(Server()) as serving:
            await _open(kit, serving, {callback: call}, shards=False)

    with pytest.raises((SystemExit, BaseExceptionGroup)) as raised:
        kit.run(main)

    error: Any = raised.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, SystemExit)


class _Wrapped:
    """Object with one attribute replaced by a call that raises; None as the error removes it."""

    def __init__(self, inner: Any, name: str, error: Exception | None) -> None:
        self._inner, self._name, self._error = inner, name, error

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._inner, name)
        if self._error is None:
            raise AttributeError(name)
        return self._raise if name in ("write", "close", "abort") else self._raise_async

    def _raise(self, *_: Any) -> None:
        assert self._error is not None
        raise self._error

    async def _raise_async(self, *_: Any) -> None:
        self._raise()


class _Stream(trio.abc.Stream):
    def __init__(self, inner: trio.SocketStream, name: str, error: Exception) -> None:
        self._inner, self._name, self._error = inner, name, error

    def _check(self, name: str) -> None:
        if name == self._name:
            raise self._error

    async def send_all(self, data: Any) -> None:
        self._check("write")
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._check("read")
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        self._inner.socket.close()
        self._check("close")


async def _broken(kit: Kit, dial: Any, name: str, error: Exception) -> Any:
    if kit.name == "trio":
        return _Stream(await trio.open_tcp_stream(dial.host, dial.port), name, error)
    reader, writer = await asyncio.open_connection(dial.host, dial.port)
    if name == "read":
        return _Wrapped(reader, name, error), writer
    return reader, _Wrapped(writer, name, error)


@pytest.mark.parametrize("name", ["read", "write", "close"])
def test_bug_of_a_stream_is_raised(kit: Kit, name: str) -> None:
    async def main() -> None:
        server = Server()

        async def connect(dial: Any) -> Any:
            return await _broken(kit, dial, name, BugError())

        async with kit.limit(), kit.adapter.serve_gateway(server) as serving:
            with pytest.raises(BugError):
                await _open(kit, serving, {"connect": connect}, shards=False)

    kit.run(main)


@pytest.mark.parametrize("name", ["read", "write", "close"])
@pytest.mark.parametrize("error", [ConnectionResetError(), EOFError()], ids=repr)
def test_network_error_of_a_stream_is_a_lost_connection(
    kit: Kit, name: str, error: Exception
) -> None:
    dials = []

    async def main() -> None:
        async def connect(dial: Any) -> Any:
            dials.append(dial)
            return await _broken(kit, dial, name if len(dials) == 1 else "none", error)

        async with kit.adapter.serve_gateway(Server()) as serving:
            await _open(kit, serving, {"connect": connect}, shards=False)

    kit.run(main)

    assert len(dials) == (1 if name == "close" else 2)


def test_stream_writer_without_a_transport_is_rejected(kit: Kit) -> None:
    if kit.name == "trio":
        pytest.skip("asyncio's streams")
    writers = []

    async def connect(dial: Any) -> Any:
        reader, writer = await asyncio.open_connection(dial.host, dial.port)
        writers.append(writer)
        return reader, _Wrapped(writer, "transport", None)

    async def main() -> None:
        async with kit.adapter.serve_gateway(Server()) as serving:
            with pytest.raises(LocalProtocolError, match=r"expected \(StreamReader, StreamWriter"):
                await _open(kit, serving, {"connect": connect}, shards=False)
            writers[0].close()
            with contextlib.suppress(ConnectionError):
                await writers[0].wait_closed()

    kit.run(main)


def test_iteration_ends_if_a_transport_cannot_be_aborted(kit: Kit) -> None:
    if kit.name == "trio":
        pytest.skip("asyncio's streams")

    async def connect(dial: Any) -> Any:
        reader, writer = await asyncio.open_connection(dial.host, dial.port)
        broken = _Wrapped(writer, "write", BugError("of write"))
        transport = _Wrapped(writer.transport, "abort", BugError("of abort"))
        broken.transport = transport  # type: ignore[attr-defined]
        return reader, broken

    async def main() -> None:
        async with kit.adapter.serve_gateway(Server()) as serving:
            with pytest.raises(BugError, match="of write"):
                await _open(kit, serving, {"connect": connect}, shards=False)

    kit.run(main)
