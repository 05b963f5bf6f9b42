"""Exceptions in callbacks, giving up, two iterations, and leaving, with both adapters."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio

from gateway_proto import (
    Config,
    Dispatch,
    GaveUp,
    GaveUpError,
    LocalProtocolError,
    Opened,
    Ready,
    RequestGuildMembers,
    State,
    UpdatePresence,
)
from gateway_proto.server import Server, ServerConfig, ServerConnection, ServerEvent
from gateway_proto.trace import Recorder
from tests.adapters.support import KITS, PATIENCE, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


class CallbackError(Exception):
    pass


def _config(serving: Any, **changes: Any) -> Config:
    given = {"token": "a-secret-token", "intents": 0, "gateway_url": serving.url, **changes}
    return Config(**given)


def _raise(*_: Any) -> float:
    raise CallbackError("from a callback")


def _raise_at(number: int) -> Callable[[str], None]:
    """Return a recorder's callback that raises at one of its calls, and at all later ones."""
    calls = itertools.count()

    def write(line: str) -> None:
        if next(calls) >= number:
            raise CallbackError(f"call {number}")

    return write


async def _first(source: Any, type_: type[Any]) -> Any:
    async for event in source:
        if isinstance(event, type_):
            return event
    raise AssertionError(f"the events ended without {type_.__name__}")


def test_exception_in_random_is_raised_by_the_iteration(kit: Kit) -> None:
    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(_config(serving, random=_raise)) as gateway,
        ):
            for _ in range(2):
                with pytest.raises(CallbackError):
                    async for _ in gateway:
                        pass
            with pytest.raises(CallbackError):
                await gateway.send(UpdatePresence())
            await gateway.stop()

    kit.run(main)


@pytest.mark.parametrize("shards", [False, True])
def test_base_exception_in_random_is_raised_by_the_iteration(kit: Kit, shards: bool) -> None:
    def generate() -> float:
        raise GeneratorExit

    async def main() -> None:
        async with kit.limit(), kit.adapter.serve_gateway(Server()) as serving:
            config = _config(serving, random=generate)
            opening = (
                kit.adapter.open_shards(config, count=1)
                if shards
                else kit.adapter.open_gateway(config)
            )
            async with opening as source:
                with pytest.raises(RuntimeError, match="GeneratorExit was raised in a callback"):
                    async for _ in source:
                        pass

    kit.run(main)


def test_stop_iteration_in_a_callback_is_raised(kit: Kit) -> None:
    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(_config(serving, random=iter([]).__next__)) as gateway,
        ):
            with pytest.raises(RuntimeError, match="StopIteration"):
                async for _ in gateway:
                    pass

    kit.run(main)


def test_exception_without_iteration_is_raised_by_leaving(kit: Kit) -> None:
    async def main() -> None:
        async with kit.limit(), kit.adapter.serve_gateway(Server()) as serving:
            with pytest.raises(CallbackError):
                async with kit.adapter.open_gateway(_config(serving, random=_raise)) as gateway:
                    while not gateway._is_finished:
                        await kit.sleep(0.01)
            with pytest.raises(ZeroDivisionError):
                async with kit.adapter.open_gateway(_config(serving, random=_raise)) as gateway:
                    while not gateway._is_finished:
                        await kit.sleep(0.01)
                    raise ZeroDivisionError

    kit.run(main)


@pytest.mark.parametrize("number", range(0, 60, 3))
def test_exception_in_a_recorder_is_raised_from_any_call(kit: Kit, number: int) -> None:
    async def main() -> None:
        server = Server(ServerConfig(heartbeat_interval=50))
        async with kit.limit(), kit.adapter.serve_gateway(server) as serving:
            with pytest.raises(CallbackError):
                recorder = Recorder(_raise_at(number))
                async with kit.adapter.open_gateway(_config(serving), recorder=recorder) as gateway:
                    await gateway.send(UpdatePresence())
                    async for _ in gateway:
                        pass
            while server.connections:
                await kit.sleep(0.01)

    kit.run(main)


def test_exception_in_one_shard_is_raised_by_the_iteration_once(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(shards=2, max_concurrency=2))
        async with kit.limit(), kit.adapter.serve_gateway(server) as serving:
            # The first random number is for the first shard at HELLO; only that call fails.
            draws = itertools.count()
            config = Config(
                token="a-secret-token",
                intents=0,
                api_url=serving.api_url,
                random=lambda: _raise() if next(draws) == 0 else 0.5,
            )
            async with kit.adapter.open_shards(config) as shards:
                with pytest.raises(CallbackError):
                    async for _ in shards:
                        pass
                while not any(gateway._is_finished for gateway in shards.gateways.values()):
                    await kit.sleep(0.01)
                while not any(g.state is State.READY for g in shards.gateways.values()):
                    await kit.sleep(0.01)

    kit.run(main)


def test_failed_shards_are_named_after_all_have_ended(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(shards=2, max_concurrency=2))
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_shards(
                Config(token="a-secret-token", intents=0, api_url=serving.api_url)
            ) as shards,
        ):
            ready = 0
            with pytest.raises(GaveUpError) as raised:
                async for shard_id, event in shards:
                    ready += isinstance(event, Ready)
                    if isinstance(event, Ready) and ready == 2:
                        first = next(c for c in server.connections if c.session.shard == (0, 2))
                        first.close(4004, now=serving.now())
                        first.on_wake()
                    if isinstance(event, GaveUp):
                        assert shard_id == 0
                        await shards.gateways[1].stop()
            assert raised.value.reason == f"shard 0: {shards.gateways[0].gave_up}"

    kit.run(main)


@pytest.mark.parametrize("shards", [False, True])
def test_giving_up_ends_the_iteration_if_configured(kit: Kit, shards: bool) -> None:
    async def main() -> None:
        server = Server(ServerConfig(tokens=frozenset({"another"})))
        async with kit.limit(), kit.adapter.serve_gateway(server) as serving:
            opening = (
                kit.adapter.open_shards(_config(serving), count=1, raise_on_give_up=False)
                if shards
                else kit.adapter.open_gateway(_config(serving), raise_on_give_up=False)
            )
            async with opening as source:
                events = [event async for event in source]
            assert isinstance(events[-1][1] if shards else events[-1], GaveUp)

    kit.run(main)


def test_gateway_can_send_while_it_is_ready(kit: Kit) -> None:
    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            assert not gateway.can_send(UpdatePresence())
            await _first(gateway, Ready)
            assert gateway.can_send(UpdatePresence())
            await gateway.stop()
            assert not gateway.can_send(UpdatePresence())

    kit.run(main)


def test_send_and_request_after_giving_up_raise_the_reason(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(tokens=frozenset({"another"})))
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            with pytest.raises(GaveUpError, match="4004"):
                await gateway.send(UpdatePresence())
            with pytest.raises(GaveUpError, match="4004") as raised:
                await gateway.request(RequestGuildMembers("1", user_ids=["5"]))
            assert raised.value.reason == gateway.gave_up

    kit.run(main)


def test_request_ends_if_the_driver_fails_meanwhile(kit: Kit) -> None:
    async def main() -> None:
        raising: list[bool] = []
        async with kit.limit(), kit.adapter.serve_gateway(Server()) as serving:
            config = _config(serving, random=lambda: _raise() if raising else 0.5)
            with pytest.raises(CallbackError):
                async with kit.adapter.open_gateway(config) as gateway:
                    await _first(gateway, Ready)

                    async def drop() -> None:
                        await kit.sleep(0.05)
                        raising.append(True)
                        serving.drop()  # the backoff asks for a random number

                    async with kit.together(drop):
                        with pytest.raises(CallbackError):
                            await gateway.request(RequestGuildMembers("1", user_ids=["5"]))

    kit.run(main)


# ----- iterations -----


@pytest.mark.parametrize("shards", [False, True])
def test_second_iterating_task_is_rejected(kit: Kit, shards: bool) -> None:
    async def main() -> None:
        async with kit.limit(), kit.adapter.serve_gateway(Server()) as serving:
            opening = (
                kit.adapter.open_shards(_config(serving), count=1)
                if shards
                else kit.adapter.open_gateway(_config(serving))
            )
            async with opening as source:
                busy, done = [], []

                async def iterate() -> None:
                    async for event in source:
                        busy.append(event)
                        while not done:  # a slow handler
                            await kit.sleep(0.01)
                        break

                async with kit.together(iterate):
                    while not busy:
                        await kit.sleep(0.01)
                    with pytest.raises(LocalProtocolError, match="another task iterates"):
                        async for _ in source:
                            pass
                    done.append(True)
                async for _ in source:  # the other loop was left by break
                    break
                async for _ in source:
                    break

    kit.run(main)


# ----- the server -----


def test_exception_in_on_event_ends_the_server_and_is_raised(kit: Kit) -> None:
    server = Server()

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        raise CallbackError

    async def main() -> None:
        async with kit.limit():
            with pytest.raises(CallbackError):
                async with kit.adapter.serve_gateway(server, on_event=on_event) as serving:
                    with socket.create_connection((serving.host, serving.port)) as client:
                        client.sendall(b"GET /api/v10/gateway HTTP/1.1\r\nHost: x\r\n\r\n")
                        await kit.sleep(2 * PATIENCE)
            assert not server.connections

    kit.run(main)


def test_exception_of_the_body_precedes_that_of_on_event(kit: Kit) -> None:
    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        raise CallbackError

    async def main() -> None:
        async with kit.limit():
            with pytest.raises(ZeroDivisionError):
                async with kit.adapter.serve_gateway(Server(), on_event=on_event) as serving:
                    with socket.create_connection((serving.host, serving.port)) as client:
                        client.sendall(b"GET /api/v10/gateway HTTP/1.1\r\nHost: x\r\n\r\n")
                        try:
                            await kit.sleep(2 * PATIENCE)
                        finally:
                            raise ZeroDivisionError

    kit.run(main)


@pytest.mark.parametrize(
    ("error", "raised"), [(CallbackError, CallbackError), (GeneratorExit, RuntimeError)]
)
def test_exception_in_the_random_source_of_a_server_is_raised(
    kit: Kit, error: type[BaseException], raised: type[Exception]
) -> None:
    def generate() -> float:
        raise error

    async def main() -> None:
        async with kit.limit():
            with pytest.raises(raised):
                async with (
                    kit.adapter.serve_gateway(Server(ServerConfig(random=generate))) as serving,
                    kit.adapter.open_gateway(_config(serving)) as gateway,
                ):
                    async for _ in gateway:
                        pass

    kit.run(main)


def test_exception_in_the_recorder_of_a_server_is_raised(kit: Kit) -> None:
    async def main() -> None:
        async with kit.limit():
            with pytest.raises(CallbackError):
                server = Recorder(_raise_at(8)).server(ServerConfig())
                async with (
                    kit.adapter.serve_gateway(server) as serving,
                    kit.adapter.open_gateway(_config(serving)) as gateway,
                ):
                    async for _ in gateway:
                        pass

    kit.run(main)


# ----- log records -----


def test_dials_and_closes_are_logged_without_secrets(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "gateway_proto")

    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            await _first(gateway, Ready)
            serving.dispatch("SECRET_NEWS", {"content": "d-of-a-payload"})
            await _first(gateway, Dispatch)
            serving.drop()
            await _first(gateway, Ready.__mro__[1])

    kit.run(main)

    text = caplog.text
    for words in (
        "dial scheduled",
        "connected: ",
        "READY",
        "connection closed",
        "op 0 SECRET_NEWS",
    ):
        assert words in text, words
    for secret in ("a-secret-token", "d-of-a-payload", "v=10", "encoding="):
        assert secret not in text, secret


def test_giving_up_and_a_rejected_dial_are_logged(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

    async def main() -> None:
        config = Config(
            token="a-secret-token",
            intents=0,
            gateway_url=f"ws://127.0.0.1:{port}",
            dial_attempts=1,
        )
        async with (
            kit.limit(),
            kit.adapter.open_gateway(config, raise_on_give_up=False) as gateway,
        ):
            async for _ in gateway:
                pass

    kit.run(main)

    levels = [record.levelname for record in caplog.records if record.name == "gateway_proto"]
    assert levels == ["WARNING", "ERROR"]


@pytest.mark.parametrize("shards", [False, True])
def test_cancelling_while_leaving_leaves_no_connection(kit: Kit, shards: bool) -> None:
    async def main() -> None:
        server = Server()
        async with kit.limit(), kit.adapter.serve_gateway(server) as serving:
            for number in range(60):
                with contextlib.suppress(TimeoutError, trio.TooSlowError):
                    async with kit.limit(number / 3000):
                        opening = (
                            kit.adapter.open_shards(_config(serving), count=1)
                            if shards
                            else kit.adapter.open_gateway(_config(serving))
                        )
                        async with opening as source:
                            async for event in source:
                                if isinstance(event[1] if shards else event, Opened):
                                    break
            while server.connections:
                await kit.sleep(0.01)

    kit.run(main)


def test_leaving_immediately_leaves_no_task(kit: Kit) -> None:
    async def main() -> None:
        async with kit.limit(), kit.adapter.serve_gateway(Server()) as serving:
            for _ in range(50):
                async with kit.adapter.open_gateway(_config(serving)):
                    await kit.sleep(0)
            if kit.name == "asyncio":
                tasks = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}
                assert not any("Gateway" in name for name in tasks)

    kit.run(main)
