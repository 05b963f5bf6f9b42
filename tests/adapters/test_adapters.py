"""Gateways and servers over real sockets on loopback, with both adapters."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import time

import pytest
import trustme

from gateway_proto import (
    Activity,
    ClockJumped,
    Closed,
    Config,
    DialFailed,
    Dispatch,
    GaveUp,
    GaveUpError,
    HeartbeatAcked,
    Identify,
    Initiator,
    NextAction,
    Ready,
    Resume,
    Resumed,
    State,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.server import Server, ServerConfig, ServerConnection, ServerEvent
from gateway_proto.urls import Url
from tests.adapters.support import (
    KITS,
    PATIENCE,
    VERSIONS,
    Kit,
    adapter_config,
    events_until_gave_up,
    wait_for_event,
)

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


@pytest.mark.parametrize("version", VERSIONS)
def test_reconnect_over_real_sockets_loses_no_dispatch(kit: Kit, version: int) -> None:
    received: list[ServerEvent] = []

    async def main() -> None:
        server = Server()
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server, on_event=lambda _, e: received.append(e)) as serving,
            kit.adapter.open_gateway(adapter_config(serving, version)) as gateway,
        ):
            await wait_for_event(gateway, Ready)
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


@pytest.mark.parametrize("version", VERSIONS)
def test_send_waits_for_ready_and_the_server_gets_the_command(kit: Kit, version: int) -> None:
    received: list[ServerEvent] = []
    presence = UpdatePresence([Activity("chess")], since=1)

    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(
                Server(), on_event=lambda _, e: received.append(e)
            ) as serving,
            kit.adapter.open_gateway(adapter_config(serving, version)) as gateway,
        ):
            await gateway.send(presence)
            assert gateway.state is State.READY
            while presence not in received:
                await kit.sleep(0.01)

    kit.run(main)


def test_event_counts_as_handled_when_the_next_is_requested(kit: Kit) -> None:
    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(adapter_config(serving)) as gateway,
        ):
            await wait_for_event(gateway, Ready)
            assert gateway.session is None
            serving.dispatch("A", 1)
            event = await wait_for_event(gateway, Dispatch)
            assert event.name == "A"
            assert gateway.session.sequence == 1
            serving.dispatch("B", 2)
            await wait_for_event(gateway, Dispatch)
            assert gateway.session.sequence == 2

    kit.run(main)


def test_stored_session_is_resumed_by_another_gateway(kit: Kit) -> None:
    async def main() -> None:
        async with kit.limit(), kit.adapter.serve_gateway(Server()) as serving:
            config = adapter_config(serving)
            async with kit.adapter.open_gateway(config) as gateway:
                await wait_for_event(gateway, Ready)
                serving.dispatch("HANDLED", 1)
                await wait_for_event(gateway, Dispatch)
                serving.dispatch("NOT HANDLED", 2)
                await wait_for_event(gateway, Dispatch)
            stored = gateway.session
            async with kit.adapter.open_gateway(config, session=stored) as gateway:
                event = await wait_for_event(gateway, Dispatch)
                assert event.name == "NOT HANDLED"
                await wait_for_event(gateway, Resumed)

    kit.run(main)


def test_latency_is_that_of_the_last_heartbeat(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(heartbeat_interval=50))
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_gateway(adapter_config(serving)) as gateway,
        ):
            assert gateway.latency is None
            began = time.monotonic()
            acked = await wait_for_event(gateway, HeartbeatAcked)
            assert gateway.latency is not None
            assert 0 <= gateway.latency <= time.monotonic() - began
            assert acked.latency >= 0

    kit.run(main)


def test_slow_consumer_pauses_the_socket_and_is_not_a_zombie(kit: Kit) -> None:
    """Backpressure: heartbeats continue, the connection stays open, and no event is lost."""
    count = 3000
    received: list[ServerEvent] = []

    async def main() -> None:
        # Three intervals pass without a read; the server closes after 1.5 without a heartbeat.
        # An ACK follows 15 MB of data: the interval is long enough for a loaded system.
        server = Server(ServerConfig(heartbeat_interval=600, replay_limit=10 * count))
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server, on_event=lambda _, e: received.append(e)) as serving,
            kit.adapter.open_gateway(adapter_config(serving), queue_limit=10) as gateway,
        ):
            await wait_for_event(gateway, Ready)
            for number in range(count):
                serving.dispatch("NUMBER", {"number": number, "padding": "x" * 5000})
            await kit.sleep(1.8)
            # The socket and its buffers are full; most dispatches are not read yet.
            assert gateway._client.session.sequence < count / 2
            assert not any(
                isinstance(event, Closed) and event.initiator is not Initiator.SELF
                for event in received
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
    """Data that decompresses to 40 MB is buffered compressed, and no event is lost."""
    count = 400

    async def main() -> None:
        config = {"compression": "zlib-stream", "events_limit": 1_000_000}
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(adapter_config(serving, **config)) as gateway,
        ):
            await wait_for_event(gateway, Ready)
            for number in range(count):
                serving.dispatch("NUMBER", {"number": number, "padding": "x" * 100_000})
            numbers: list[int] = []

            async def take(until: int) -> None:
                while len(numbers) < until:
                    numbers.append((await wait_for_event(gateway, Dispatch)).data["number"])

            for taken in (0, 15, 40):  # each taken event frees its buffer
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
            backoff_initial=0.01,
        )
        async with kit.limit(), kit.adapter.open_gateway(config) as gateway:
            events = await events_until_gave_up(gateway)
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
            kit.limit(),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_gateway(adapter_config(serving)) as gateway,
        ):
            events = await events_until_gave_up(gateway)
            assert isinstance(events[-1], GaveUp)
            assert gateway.last_closed.code == 4004
            assert gateway.last_closed.next_action is NextAction.STOP
            assert "4004" in gateway.gave_up

    kit.run(main)


def test_closing_server_sends_close_and_the_client_resumes_later(kit: Kit) -> None:
    # Other tests take free ports of 127.0.0.1 between the two servers.
    host = "127.0.0.3"
    with socket.socket() as free:
        free.bind((host, 0))
        port = free.getsockname()[1]

    async def main() -> None:
        server = Server()
        config = Config(
            token="secret",
            intents=0,
            gateway_url=f"ws://{host}:{port}",
            backoff_initial=0.05,
            backoff_max=0.05,
        )
        async with kit.limit(), kit.adapter.open_gateway(config) as gateway:
            async with kit.adapter.serve_gateway(server, host, port):
                await wait_for_event(gateway, Ready)
            closed = await wait_for_event(gateway, Closed)
            assert (closed.code, closed.initiator, closed.next_action) == (
                1001,
                Initiator.PEER,
                NextAction.RESUME,
            )
            async with kit.adapter.serve_gateway(server, host, port):
                await wait_for_event(gateway, Resumed)

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
        # The lookup and READY must name a URL with TLS: one without it is rejected.
        tls = _server_tls(authority)
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server(), ssl_context=tls) as serving,
            kit.adapter.open_gateway(adapter_config(serving), ssl_context=trusting) as gateway,
        ):
            assert Url.parse(serving.api_url).tls
            ready = await wait_for_event(gateway, Ready)
            assert ready.resume_gateway_url == serving.url
            serving.drop()
            await wait_for_event(gateway, Resumed)

    kit.run(main)


def test_tls_with_an_unknown_certificate_is_rejected_by_default(
    kit: Kit, authority: trustme.CA
) -> None:
    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server(), ssl_context=_server_tls(authority)) as serving,
            kit.adapter.open_gateway(adapter_config(serving, dial_attempts=1)) as gateway,
        ):
            events = await events_until_gave_up(gateway)
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
            kit.limit(),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_gateway(adapter_config(serving, shard=(0, 2))) as first,
            kit.adapter.open_gateway(adapter_config(serving, shard=(1, 2))) as second,
        ):
            await wait_for_event(first, Ready)
            await wait_for_event(second, Ready)
            serving.dispatch("FOR", 0, to=lambda session: session.shard == (0, 2))
            serving.dispatch("FOR", 1, to=lambda session: session.shard == (1, 2))
            assert (await wait_for_event(first, Dispatch)).data == 0
            assert (await wait_for_event(second, Dispatch)).data == 1

    kit.run(main)


def test_adapter_source_has_no_op_codes_and_no_versions(kit: Kit) -> None:
    import pathlib
    import re

    folder = pathlib.Path(kit.adapter.__file__).parent
    for path in folder.glob("*.py"):
        source = path.read_text()
        found = re.search(r"Opcode|\bop\b|heartbeat_interval|\bversion\b|ProtocolVersion", source)
        assert found is None, f"{path.name}: {found}"
        assert len(source.splitlines()) < 250, path.name


def test_garbage_from_a_client_ends_only_its_connection(kit: Kit) -> None:
    ended: list[Closed] = []

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        if isinstance(event, Closed) and event.error:
            ended.append(event)

    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server(), on_event=on_event) as serving,
        ):
            with socket.create_connection((serving.host, serving.port)) as raw:
                raw.sendall(b"\x16\x03\x01garbage\r\n\r\n" * 10)
                while not ended:
                    await kit.sleep(0.01)
            async with kit.adapter.open_gateway(adapter_config(serving)) as gateway:
                await wait_for_event(gateway, Ready)

    kit.run(main)


# ----- suspend, many senders, references -----


def test_system_suspend_is_followed_by_a_resume(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 12."""

    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server(ServerConfig(heartbeat_interval=100))) as serving,
            kit.adapter.open_gateway(adapter_config(serving)) as gateway,
        ):
            await wait_for_event(gateway, HeartbeatAcked)
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() + 3600)
            suspended = await wait_for_event(gateway, ClockJumped)
            assert suspended.seconds == pytest.approx(3600, abs=PATIENCE)
            await wait_for_event(gateway, Resumed)

    kit.run(main)


def test_concurrent_senders_neither_mix_nor_lose_commands(kit: Kit) -> None:
    """Rule 67: all senders wait for READY and continue after it."""
    received: list[ServerEvent] = []
    ids = [str(number) for number in range(1, 61)]

    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(
                Server(), on_event=lambda _, e: received.append(e)
            ) as serving,
            kit.adapter.open_gateway(adapter_config(serving)) as gateway,
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
    """A cycle would keep the data of many connections until the garbage collector runs."""
    over: list[ServerConnection] = []

    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(
                Server(), on_event=lambda connection, _: over.append(connection)
            ) as serving,
        ):
            with socket.create_connection((serving.host, serving.port)) as hostile:
                hostile.sendall(b"garbage\r\n\r\n")
                while not over:
                    await kit.sleep(0.01)
            while any(connection.on_wake is not None for connection in over):
                await kit.sleep(0.01)

    kit.run(main)
    assert len(over) == 1
