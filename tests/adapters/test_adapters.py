"""One suite for both adapters: real sockets on loopback, and streams that a test holds still."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
import trustme

import gateway_asyncio
import gateway_trio
from gateway_proto import (
    Activity,
    By,
    Closed,
    Config,
    DialFailed,
    Dispatch,
    Event,
    GaveUp,
    GaveUpError,
    GuildMembers,
    HeartbeatAcked,
    Identify,
    LocalProtocolError,
    Ready,
    RequestError,
    RequestGuildMembers,
    Resume,
    Resumed,
    Server,
    ServerConfig,
    ServerConnection,
    ServerEvent,
    State,
    Suspended,
    Then,
    UpdatePresence,
    UpdateVoiceState,
    Url,
)


@attrs.frozen
class Kit:
    """What a test needs of a framework and its adapter."""

    name: str
    adapter: Any
    run: Callable[[Callable[[], Awaitable[None]]], None]
    sleep: Callable[[float], Awaitable[None]]
    limit: Callable[[float], Any]
    together: Callable[[Callable[[], Awaitable[None]]], Any]

    def __str__(self) -> str:
        return self.name


@contextlib.asynccontextmanager
async def _trio_limit(seconds: float) -> AsyncIterator[None]:
    with trio.fail_after(seconds):
        yield


def _run_asyncio(main: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await main()
        async with asyncio.timeout(5):
            while asyncio.all_tasks() != {asyncio.current_task()}:
                await asyncio.sleep(0.01)

    asyncio.run(whole(), debug=True)


@contextlib.asynccontextmanager
async def _together_asyncio(task: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    running = asyncio.ensure_future(task())
    yield
    await running


@contextlib.asynccontextmanager
async def _together_trio(task: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        yield


KITS = [
    Kit(
        "asyncio", gateway_asyncio, _run_asyncio, asyncio.sleep, asyncio.timeout, _together_asyncio
    ),
    Kit("trio", gateway_trio, lambda main: trio.run(main), trio.sleep, _trio_limit, _together_trio),
]
DIALECTS = [3, 10]

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def _config(serving: Any, version: int = 10, **changes: Any) -> Config:
    given = {
        "token": "secret",
        "dialect": version,
        "intents": 0,
        "api_url": serving.api_url,
        "backoff_first": 0.05,
        **changes,
    }
    return Config(**given)


async def _all_until_gave_up(gateway: Any) -> list[Event]:
    events: list[Event] = []
    with pytest.raises(GaveUpError) as raised:
        async for event in gateway:
            events.append(event)
    assert raised.value.reason == gateway.gave_up
    return events


async def _until(gateway: Any, type_: type[Any]) -> Any:
    async for event in gateway:
        if isinstance(event, type_):
            return event
    raise AssertionError(f"the events ended without {type_.__name__}")


@pytest.mark.parametrize("version", DIALECTS)
def test_reconnect_over_real_sockets_loses_no_dispatch(kit: Kit, version: int) -> None:
    received: list[ServerEvent] = []

    async def main() -> None:
        server = Server()
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(server, on_event=lambda _, e: received.append(e)) as serving,
            kit.adapter.open_gateway(_config(serving, version)) as gateway,
        ):
            await _until(gateway, Ready)
            serving.dispatch("NUMBER", 1)
            serving.drop()
            serving.dispatch("NUMBER", 2)
            numbers: list[int] = []
            async for event in gateway:
                if type(event) is Dispatch:
                    numbers.append(event.data)
                if isinstance(event, Resumed):
                    break
            assert numbers == [1, 2]

    kit.run(main)

    assert sum(isinstance(event, Identify) for event in received) == 1
    assert sum(isinstance(event, Resume) for event in received) == 1


@pytest.mark.parametrize("version", DIALECTS)
def test_send_waits_for_ready_and_the_server_gets_the_command(kit: Kit, version: int) -> None:
    received: list[ServerEvent] = []
    presence = UpdatePresence([Activity("chess")], since=1)

    async def main() -> None:
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(
                Server(), on_event=lambda _, e: received.append(e)
            ) as serving,
            kit.adapter.open_gateway(_config(serving, version)) as gateway,
        ):
            await gateway.send(presence)
            assert gateway.state is State.READY
            while presence not in received:
                await kit.sleep(0.01)

    kit.run(main)


def test_event_counts_as_handled_when_the_next_is_requested(kit: Kit) -> None:
    async def main() -> None:
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            await _until(gateway, Ready)
            assert gateway.session is None
            serving.dispatch("A", 1)
            event = await _until(gateway, Dispatch)
            assert event.name == "A"
            assert gateway.session.sequence == 1
            serving.dispatch("B", 2)
            await _until(gateway, Dispatch)
            assert gateway.session.sequence == 2

    kit.run(main)


def test_stored_session_is_resumed_by_another_gateway(kit: Kit) -> None:
    async def main() -> None:
        async with kit.limit(15), kit.adapter.serve_gateway(Server()) as serving:
            config = _config(serving)
            async with kit.adapter.open_gateway(config) as gateway:
                await _until(gateway, Ready)
                serving.dispatch("HANDLED", 1)
                await _until(gateway, Dispatch)
                serving.dispatch("NOT HANDLED", 2)
                await _until(gateway, Dispatch)
            stored = gateway.session
            async with kit.adapter.open_gateway(config, session=stored) as gateway:
                event = await _until(gateway, Dispatch)
                assert event.name == "NOT HANDLED"
                await _until(gateway, Resumed)

    kit.run(main)


def test_latency_is_that_of_the_last_heartbeat(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(heartbeat_interval=50))
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            assert gateway.latency is None
            acked = await _until(gateway, HeartbeatAcked)
            assert gateway.latency is not None
            assert 0 <= gateway.latency < 5
            assert acked.latency >= 0

    kit.run(main)


def test_slow_consumer_pauses_the_socket_and_is_not_a_zombie(kit: Kit) -> None:
    """Backpressure: heartbeats go on, the connection lives, and nothing is lost."""
    count = 3000
    received: list[ServerEvent] = []

    async def main() -> None:
        # Three intervals pass without a read; the server closes after 1.5 without a heartbeat.
        # An ACK comes behind 15 MB: an interval is long enough to read them on a busy machine.
        server = Server(ServerConfig(heartbeat_interval=600, replay_limit=10 * count))
        async with (
            kit.limit(30),
            kit.adapter.serve_gateway(server, on_event=lambda _, e: received.append(e)) as serving,
            kit.adapter.open_gateway(_config(serving), queue_limit=10) as gateway,
        ):
            await _until(gateway, Ready)
            for number in range(count):
                serving.dispatch("NUMBER", {"number": number, "padding": "x" * 5000})
            await kit.sleep(1.8)
            # The socket and its buffers are full; what was read since is far from all.
            assert gateway._client.session.sequence < count / 2
            assert not any(
                isinstance(event, Closed) and event.by is not By.SELF for event in received
            )
            numbers = []
            async for event in gateway:
                assert not isinstance(event, Closed)
                if type(event) is Dispatch:
                    numbers.append(event.data["number"])
                    if len(numbers) == count:
                        break
            assert numbers == list(range(count))

    kit.run(main)

    assert sum(isinstance(event, Identify) for event in received) == 1


def test_buffered_data_for_a_slow_consumer_is_bounded_in_bytes(kit: Kit) -> None:
    """A few kilobytes that decompress to 40 MB wait still compressed, and nothing is lost."""
    count = 400

    async def main() -> None:
        config = {"compression": "zlib-stream", "events_limit": 1_000_000}
        async with (
            kit.limit(30),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(_config(serving, **config)) as gateway,
        ):
            await _until(gateway, Ready)
            for number in range(count):
                serving.dispatch("NUMBER", {"number": number, "padding": "x" * 100_000})
            numbers: list[int] = []

            async def take(until: int) -> None:
                while len(numbers) < until:
                    numbers.append((await _until(gateway, Dispatch)).data["number"])

            for taken in (0, 15, 40):  # what was taken makes room for as much
                await take(taken)
                await kit.sleep(0.3)
                assert gateway._client.session.sequence < taken + 40
            await take(count)
            assert numbers == list(range(count))

    kit.run(main)


def test_rejected_dial_is_reported_and_the_dial_limit_gives_up(kit: Kit) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

    async def main() -> None:
        config = Config(
            token="secret",
            intents=0,
            gateway_url=f"ws://127.0.0.1:{port}",
            dial_attempts=2,
            backoff_first=0.01,
        )
        async with kit.limit(15), kit.adapter.open_gateway(config) as gateway:
            events = await _all_until_gave_up(gateway)
            assert sum(isinstance(event, DialFailed) for event in events) == 2
            assert isinstance(events[-1], GaveUp)
            assert str(port) in gateway.gave_up
            with pytest.raises(GaveUpError, match=str(port)):
                await gateway.send(UpdatePresence())

    kit.run(main)


def test_fatal_close_ends_the_events_with_a_reason(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(tokens=frozenset({"another"})))
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            events = await _all_until_gave_up(gateway)
            assert isinstance(events[-1], GaveUp)
            assert gateway.last_closed.code == 4004
            assert gateway.last_closed.then is Then.STOP
            assert "4004" in gateway.gave_up

    kit.run(main)


def test_stop_without_keeping_the_session_ends_it_on_the_server(kit: Kit) -> None:
    async def main() -> None:
        server = Server()
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            await _until(gateway, Ready)
            assert server.sessions
            await gateway.stop(keep_session=False)
            assert gateway.session is None
            assert not [event async for event in gateway if isinstance(event, GaveUp)]
            while server.sessions:
                await kit.sleep(0.01)

    kit.run(main)


def test_stop_during_a_dial_ends_the_client(kit: Kit) -> None:
    # A socket that is bound and listens, but that nobody accepts on, opens; then comes silence.
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            config = Config(token="secret", intents=0, gateway_url=f"ws://127.0.0.1:{port}")
            async with kit.limit(15), kit.adapter.open_gateway(config) as gateway:
                await gateway.stop()
                assert not [event async for event in gateway if isinstance(event, GaveUp)]
            async with kit.limit(15), kit.adapter.open_gateway(config) as gateway:
                await kit.sleep(0)
                await kit.sleep(0)
                await gateway.stop()
                await kit.sleep(0.05)
                assert gateway.gave_up is None

    kit.run(main)


def test_stop_during_the_backoff_ends_the_events_immediately(kit: Kit) -> None:
    async def main() -> None:
        config = Config(
            token="secret",
            intents=0,
            gateway_url="ws://127.0.0.1:1",
            backoff_first=1000.0,
            backoff_longest=1000.0,
            random=lambda: 0.99,
        )
        async with kit.limit(5), kit.adapter.open_gateway(config) as gateway:
            await _until(gateway, DialFailed)
            await gateway.stop()
            assert all(type(event) is not GaveUp for event in [e async for e in gateway])
            with pytest.raises(LocalProtocolError, match="closed for good: it was stopped"):
                await gateway.send(UpdatePresence())

    kit.run(main)


def test_leaving_by_an_exception_closes_cleanly_and_raises_it(kit: Kit) -> None:
    class Mine(Exception):
        pass

    async def main() -> None:
        server = Server()
        async with kit.limit(15), kit.adapter.serve_gateway(server) as serving:
            with pytest.raises(Mine):
                async with kit.adapter.open_gateway(_config(serving)) as gateway:
                    await _until(gateway, Ready)
                    raise Mine
            while server.connections:
                await kit.sleep(0.01)
            assert len(server.sessions) == 1

    kit.run(main)


def test_cancelling_a_reader_closes_all_connections(kit: Kit) -> None:
    async def main() -> None:
        server = Server()
        async with kit.limit(15), kit.adapter.serve_gateway(server) as serving:
            with contextlib.suppress(TimeoutError, trio.TooSlowError):
                async with (
                    kit.limit(0.3),
                    kit.adapter.open_gateway(_config(serving)) as gateway,
                ):
                    async for _ in gateway:
                        pass
            while server.connections:
                await kit.sleep(0.01)

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        kit.run(main)


def test_leaving_during_the_backoff_is_immediate(kit: Kit) -> None:
    async def main() -> None:
        config = Config(
            token="secret",
            intents=0,
            gateway_url="ws://127.0.0.1:1",
            backoff_first=1000.0,
            backoff_longest=1000.0,
            random=lambda: 0.99,
        )
        async with kit.limit(5), kit.adapter.open_gateway(config) as gateway:
            await _until(gateway, DialFailed)

    kit.run(main)


def test_closing_server_sends_close_and_the_client_resumes_later(kit: Kit) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def main() -> None:
        server = Server()
        config = Config(
            token="secret",
            intents=0,
            gateway_url=f"ws://127.0.0.1:{port}",
            backoff_first=0.05,
            backoff_longest=0.05,
        )
        async with kit.limit(15), kit.adapter.open_gateway(config) as gateway:
            async with kit.adapter.serve_gateway(server, port=port):
                await _until(gateway, Ready)
            closed = await _until(gateway, Closed)
            assert (closed.code, closed.by, closed.then) == (1001, By.PEER, Then.RESUME)
            async with kit.adapter.serve_gateway(server, port=port):
                await _until(gateway, Resumed)

    kit.run(main)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def _server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def test_tls_with_a_trusted_certificate_becomes_ready(kit: Kit, authority: trustme.CA) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def main() -> None:
        # The lookup and READY must name the gateway with TLS too: a URL without it is refused.
        tls = _server_tls(authority)
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(Server(), ssl_context=tls) as serving,
            kit.adapter.open_gateway(_config(serving), ssl_context=trusting) as gateway,
        ):
            assert Url.parse(serving.api_url).tls
            ready = await _until(gateway, Ready)
            assert ready.resume_gateway_url == serving.url
            serving.drop()
            await _until(gateway, Resumed)

    kit.run(main)


def test_tls_with_an_unknown_certificate_is_rejected_by_default(
    kit: Kit, authority: trustme.CA
) -> None:
    async def main() -> None:
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(Server(), ssl_context=_server_tls(authority)) as serving,
            kit.adapter.open_gateway(_config(serving, dial_attempts=1)) as gateway,
        ):
            events = await _all_until_gave_up(gateway)
            assert isinstance(events[-1], GaveUp)
            assert "CERTIFICATE_VERIFY_FAILED" in gateway.gave_up

    kit.run(main)


def test_port_in_use_raises_os_error(kit: Kit) -> None:
    async def main() -> None:
        async with kit.adapter.serve_gateway(Server()) as serving:
            with pytest.raises(OSError, match="in use"):
                async with kit.adapter.serve_gateway(Server(), port=serving.port):
                    pass

    kit.run(main)


def test_two_gateways_do_not_mix_their_events(kit: Kit) -> None:
    async def main() -> None:
        server = Server()
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_gateway(_config(serving, shard=(0, 2))) as first,
            kit.adapter.open_gateway(_config(serving, shard=(1, 2))) as second,
        ):
            await _until(first, Ready)
            await _until(second, Ready)
            serving.dispatch("FOR", 0, to=lambda session: session.shard == (0, 2))
            serving.dispatch("FOR", 1, to=lambda session: session.shard == (1, 2))
            assert (await _until(first, Dispatch)).data == 0
            assert (await _until(second, Dispatch)).data == 1

    kit.run(main)


def test_adapter_source_has_no_op_codes_and_no_versions(kit: Kit) -> None:
    import pathlib
    import re

    folder = pathlib.Path(kit.adapter.__file__).parent
    for path in folder.glob("*.py"):
        source = path.read_text()
        found = re.search(r"Opcode|\bop\b|heartbeat_interval|\bversion\b|dialect", source)
        assert found is None, f"{path.name}: {found}"
        assert len(source.splitlines()) < 250, path.name


def test_garbage_from_a_client_ends_only_its_connection(kit: Kit) -> None:
    ended: list[Closed] = []

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        if isinstance(event, Closed) and event.error:
            ended.append(event)

    async def main() -> None:
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(Server(), on_event=on_event) as serving,
        ):
            with socket.create_connection((serving.host, serving.port)) as raw:
                raw.sendall(b"\x16\x03\x01garbage\r\n\r\n" * 10)
                while not ended:
                    await kit.sleep(0.01)
            async with kit.adapter.open_gateway(_config(serving)) as gateway:
                await _until(gateway, Ready)

    kit.run(main)


# ----- requests -----


def _answering(serving_box: list[Any]) -> Callable[[ServerConnection, ServerEvent], None]:
    """A server that answers members requests in two chunks."""

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        if not isinstance(event, RequestGuildMembers) or event.guild_id == "404":
            return
        for index in range(2):
            d = {
                "guild_id": event.guild_id,
                "nonce": event.nonce,
                "members": [index],
                "chunk_index": index,
                "chunk_count": 2,
            }
            connection.send(Dispatch.of("GUILD_MEMBERS_CHUNK", d), now=serving_box[0].now())

    return on_event


def test_request_is_awaited_with_its_complete_answer(kit: Kit) -> None:
    box: list[Any] = []

    async def main() -> None:
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(Server(), on_event=_answering(box)) as serving,
            kit.adapter.open_gateway(_config(serving), queue_limit=1) as gateway,
        ):
            box.append(serving)
            # Nobody takes events meanwhile, and the queue of one has long been full.
            answer = await gateway.request(RequestGuildMembers("1", user_ids=["5"]))
            assert answer == GuildMembers("1", (0, 1))
            with pytest.raises(RequestError, match=r"no answer for 0\.05 s"):
                await gateway.request(RequestGuildMembers("404", user_ids=["5"]), timeout=0.05)
            with pytest.raises(LocalProtocolError, match="expected a snowflake"):
                await gateway.request(RequestGuildMembers("x"))

    kit.run(main)


def test_request_fails_if_the_gateway_is_stopped(kit: Kit) -> None:
    async def main() -> None:
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            await _until(gateway, Ready)

            async def stop() -> None:
                await kit.sleep(0.05)
                await gateway.stop()

            async with kit.together(stop):
                with pytest.raises(RequestError, match="the client was stopped"):
                    await gateway.request(RequestGuildMembers("1", user_ids=["5"]))
            with pytest.raises(LocalProtocolError, match="closed for good: it was stopped"):
                await gateway.request(RequestGuildMembers("1", user_ids=["5"]))

    kit.run(main)


def test_cancelled_request_leaves_no_state(kit: Kit) -> None:
    box: list[Any] = []

    async def main() -> None:
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(Server(), on_event=_answering(box)) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            box.append(serving)
            with pytest.raises(TimeoutError if kit.name == "asyncio" else trio.TooSlowError):
                async with kit.limit(0.05):
                    await gateway.request(RequestGuildMembers("404", user_ids=["5"]), timeout=0.2)
            await kit.sleep(0.3)
            assert await gateway.request(RequestGuildMembers("1", user_ids=["5"]))

    kit.run(main)


def test_queued_commands_are_visible_in_waiting(kit: Kit) -> None:
    async def main() -> None:
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            assert gateway.waiting == ()
            for _ in range(120):
                await gateway.send(UpdateVoiceState("1", None))
            assert gateway.waiting
            assert set(gateway.waiting) == {UpdateVoiceState("1", None)}

    kit.run(main)


# ----- shards -----


def test_shards_are_looked_up_identify_and_deliver_their_events(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(shards=3, max_concurrency=3))
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_shards(_config(serving)) as shards,
        ):
            ready = set()
            async for shard_id, event in shards:
                if isinstance(event, Ready):
                    assert event.shard == (shard_id, 3)
                    ready.add(shard_id)
                if len(ready) == 3:
                    break
            assert shards.plan.count == 3
            assert len(shards.sessions) == 2, "all but the event that is being handled"
            gateway = shards.of_guild(1 << 22)
            assert gateway is shards.gateways[1]
            await gateway.send(UpdatePresence())
            serving.dispatch("HERE", 1, to=lambda session: session.shard == (2, 3))
            async for shard_id, event in shards:
                if isinstance(event, Dispatch) and event.name == "HERE":
                    assert shard_id == 2
                    break
            await shards.stop()
            async for _ in shards:
                pass
        # The event that was taken last counts as handled once the next is asked for.
        assert {n: session.sequence for n, session in shards.sessions.items()} == {0: 1, 1: 1, 2: 2}

        # Another process goes on where this one had come to.
        received = []
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(server, on_event=lambda _, e: received.append(e)) as serving,
            kit.adapter.open_shards(_config(serving), sessions=shards.sessions) as again,
        ):
            resumed = set()
            async for shard_id, event in again:
                if isinstance(event, Resumed):
                    resumed.add(shard_id)
                if len(resumed) == 3:
                    break
        assert not any(isinstance(event, Identify) for event in received)

    kit.run(main)


def test_identify_slot_is_granted_automatically(kit: Kit) -> None:
    async def main() -> None:
        identified = []
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(
                Server(), on_event=lambda _, e: identified.append(e)
            ) as serving,
            kit.adapter.open_shards(_config(serving), count=2) as shards,
        ):
            began = time.monotonic()
            ready = []
            async for shard_id, event in shards:
                if isinstance(event, Ready):
                    ready.append((shard_id, time.monotonic() - began))
                if len(ready) == 2:
                    break
        assert {shard_id for shard_id, _ in ready} == {0, 1}
        assert ready[1][1] >= 5.0
        assert sum(isinstance(event, Identify) for event in identified) == 2

    kit.run(main)


def test_end_of_one_shard_does_not_end_another(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(shards=2, max_concurrency=2))
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_shards(_config(serving)) as shards,
        ):
            ready = 0
            async for shard_id, event in shards:
                ready += isinstance(event, Ready)
                if ready == 2 and isinstance(event, Ready):
                    first = next(c for c in server.connections if c.session.shard == (0, 2))
                    first.close(4004, now=serving.now())
                    first.on_wake()
                if isinstance(event, GaveUp):
                    assert shard_id == 0
                    break
            assert shards.gateways[0].gave_up
            assert shards.gateways[1].state is State.READY

    kit.run(main)


def test_shards_raise_the_reason_of_a_failed_lookup(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(tokens=frozenset({"other"})))
        async with kit.limit(15), kit.adapter.serve_gateway(server) as serving:
            with pytest.raises(GaveUpError, match="is the token right"):
                async with kit.adapter.open_shards(_config(serving)) as shards:
                    async for shard_id, _ in shards:
                        assert shard_id is None

    kit.run(main)


def test_exception_in_the_body_of_shards_is_raised_unchanged(kit: Kit) -> None:
    async def main() -> None:
        async with kit.limit(15), kit.adapter.serve_gateway(Server()) as serving:
            with pytest.raises(ZeroDivisionError):
                async with kit.adapter.open_shards(_config(serving)):
                    raise ZeroDivisionError

    kit.run(main)


# ----- a clock that stands still -----


def test_system_suspend_is_followed_by_a_resume(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 12."""

    async def main() -> None:
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(Server(ServerConfig(heartbeat_interval=100))) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            await _until(gateway, HeartbeatAcked)
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() + 3600)
            suspended = await _until(gateway, Suspended)
            assert suspended.seconds == pytest.approx(3600, abs=5)
            await _until(gateway, Resumed)

    kit.run(main)


def test_concurrent_senders_neither_mix_nor_lose_commands(kit: Kit) -> None:
    """Rule 67: they wait for READY together, and all are woken."""
    received: list[ServerEvent] = []
    ids = [str(number) for number in range(1, 61)]

    async def main() -> None:
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(
                Server(), on_event=lambda _, e: received.append(e)
            ) as serving,
            kit.adapter.open_gateway(_config(serving)) as gateway,
        ):
            async with contextlib.AsyncExitStack() as stack:
                for id_ in ids:
                    command = UpdateVoiceState(id_, None)
                    await stack.enter_async_context(
                        kit.together(functools.partial(gateway.send, command))
                    )
            while sum(isinstance(event, UpdateVoiceState) for event in received) < len(ids):
                await kit.sleep(0.01)

    kit.run(main)
    sent = [event.guild_id for event in received if isinstance(event, UpdateVoiceState)]
    assert sorted(sent, key=lambda id_: int(id_ or 0)) == ids


def test_closed_connection_has_no_cycle_with_its_driver(kit: Kit) -> None:
    """Else what a thousand hostile connections sent stays until the collector comes by."""
    over: list[ServerConnection] = []

    async def main() -> None:
        async with (
            kit.limit(15),
            kit.adapter.serve_gateway(
                Server(), on_event=lambda connection, _: over.append(connection)
            ) as serving,
        ):
            with socket.create_connection((serving.host, serving.port)) as hostile:
                hostile.sendall(b"garbage\r\n\r\n")
                await kit.sleep(0.05)
            while any(connection.on_wake is not None for connection in over):
                await kit.sleep(0.01)

    kit.run(main)
    assert len(over) == 1
