"""Connections of `NatsStore`: losses, users, TLS, servers and settings that cannot be used."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import re
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
import trustme

import gateway_fleet
from gateway_fleet import NatsStore, StoreError
from gateway_proto import LocalProtocolError
from gateway_proto.fleet import LoggedEvents, LogHead, LogRecord
from tests.adapters.engines import NatsProcess, free_port, nats_process, needs_nats
from tests.adapters.nats_logs import PREFIXES, SESSION, client_of, fill, noise, positions, run
from tests.adapters.stalling_proxy import StallingProxy
from tests.markdown_blocks import DOCS

pytestmark = needs_nats


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    with nats_process(tmp_path_factory.mktemp("nats")) as process:
        yield process


@contextlib.contextmanager
def fake_server(hello: bytes, on_data: Callable[[bytes], None]) -> Iterator[int]:
    """Serve connections that get `hello`, and PONG whatever they send."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, contextlib.suppress(OSError):
                    client.sendall(hello)
                    while data := client.recv(4096):
                        on_data(data)
                        client.sendall(b"PONG\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


# ----- the connection -----


def test_attempts_to_connect_share_one_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = []

    def make_context() -> ssl.SSLContext:
        contexts.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return contexts[-1]

    async def body() -> None:
        store = NatsStore(f"tls://127.0.0.1:{free_port()}", timeout=0.5)
        for _ in range(3):
            with pytest.raises(StoreError, match="ConnectionRefusedError"):
                async with store:
                    pass

    monkeypatch.setattr(ssl, "create_default_context", make_context)
    run(body)

    assert len(contexts) == 1


def test_server_that_is_away_raises_and_returns(tmp_path: pathlib.Path) -> None:
    async def body() -> None:
        with nats_process(tmp_path) as process:
            async with NatsStore(process.url, timeout=0.5) as store:
                record = LogRecord("a.1", "a", SESSION)
                assert await store.append(0, LogHead(), record) == 1
                process.kill()
                with pytest.raises(StoreError, match=r"connection was lost|ConnectionRefused"):
                    await store.head(0)
                with pytest.raises(StoreError, match="ConnectionRefusedError"):
                    await store.head(0)
                process.start()
                assert await store.head(0) == record.head(1)
                assert await store.append(0, record.head(1), LogRecord("a.2", "a")) == 2
            process.kill()
            with pytest.raises(StoreError):
                async with NatsStore(process.url, timeout=20.0):
                    pass

    run(body)


def test_server_that_lost_its_streams_gets_them_again(tmp_path: pathlib.Path) -> None:
    async def body() -> None:
        with nats_process(tmp_path) as process:
            async with NatsStore(process.url, timeout=10.0) as store:
                await fill(store, 0, 3)
                async with client_of(process.url) as admin:
                    for name in ("gw-log", "gw-mail", "KV_gw-members", "KV_gw-values"):
                        await admin.delete_stream(name)
                with pytest.raises(StoreError, match="no stream has this subject"):
                    await store.heartbeat("a", b"1")

                assert await store.heartbeat("a", b"1") == {"a": b"1"}
                assert await store.head(0) == LogHead()

    run(body)


def test_stopped_server_raises_after_the_timeout(tmp_path: pathlib.Path) -> None:
    async def body() -> None:
        with nats_process(tmp_path) as process:
            async with NatsStore(process.url, timeout=1.0) as store:
                head = LogHead()
                process.process.send_signal(signal.SIGSTOP)
                with pytest.raises(StoreError, match="no answer in 1 s"):
                    while True:  # it may answer until all its threads are stopped
                        record = LogRecord(f"a.{head.position}", "a")
                        position = await store.append(0, head, record)
                        assert position == head.position + 1
                        head = record.head(position)
                process.process.send_signal(signal.SIGCONT)
                while True:
                    with contextlib.suppress(StoreError):
                        found = await store.head(0)
                        break
                assert found in (head, record.head(head.position + 1)), "the last is done or not"

    run(body)


@pytest.mark.slow
def test_network_that_takes_no_bytes_delays_no_call(engine: NatsProcess) -> None:
    async def body() -> None:
        proxy = StallingProxy(engine.port)
        url, prefix = f"nats://127.0.0.1:{proxy.port}", next(PREFIXES)
        big = LoggedEvents.of(("E", 1, noise(14_000_000)))
        async with NatsStore(url, prefix=prefix, timeout=0.5) as store:
            await fill(store, 0, 1)
            proxy.flows.clear()
            for number in range(3):
                began = time.monotonic()
                with pytest.raises(StoreError):
                    await store.append(1, LogHead(), LogRecord(f"b.{number}", "b", events=big))
                assert time.monotonic() - began < 3.0
            proxy.flows.set()
            while True:
                with contextlib.suppress(StoreError):
                    assert (await store.head(0)).id == "0.0"
                    break
        proxy.close()

    run(body)


def test_too_large_value_raises_and_keeps_the_connection(engine: NatsProcess) -> None:
    async def body() -> None:
        async with NatsStore(engine.url, prefix=next(PREFIXES)) as store:
            with pytest.raises(StoreError, match="MaxPayloadError"):
                await store.compare_and_set("key", bytes(2**20 + 1), 0)
            assert await store.compare_and_set("key", b"v", 0) == (b"v", 1)
            assert store._shared.connection.opened == 1

    run(body)


def test_store_can_be_entered_again(engine: NatsProcess) -> None:
    store = NatsStore(engine.url, prefix=next(PREFIXES))
    heads = []

    async def body() -> None:
        async with store:
            heads.extend(await asyncio.gather(*(store.head(0) for _ in range(3))))
            await fill(store, 0, 1)

    run(body)
    run(body)
    assert [head.position for head in heads] == [0, 0, 0, 1, 1, 1]


def test_listener_goes_on_after_a_restart(tmp_path: pathlib.Path) -> None:
    async def body() -> None:
        notified: list[int] = []
        with nats_process(tmp_path) as process:
            async with NatsStore(process.url, timeout=10.0) as store:
                scope = store.scoped("x.y *>")
                task = asyncio.create_task(scope.listen(notified.append))
                for shard in (3, 4):
                    while shard not in notified:
                        with contextlib.suppress(StoreError):  # it was killed just now
                            await fill(scope, shard, 1)
                            await fill(store, 7, 1)
                    process.kill()
                    process.start()
                assert set(notified) == {3, 4}
                task.cancel()
                await asyncio.wait([task])

    run(body)


# ----- users and TLS -----


def test_documented_permissions_allow_each_verb(tmp_path: pathlib.Path) -> None:
    page = (DOCS / "howto" / "fleet.md").read_text(encoding="utf-8")
    found = re.search(r"^ *(\{user: fleet.*?\}\})$", page, re.M | re.S)
    assert found is not None

    async def body() -> None:
        with nats_process(tmp_path, authorization=f"{{users: [{found[1]}]}}") as process:
            url = process.url.replace("//", "//fleet:a-long-password@")
            async with NatsStore(url, retention=100, timeout=10.0) as store:
                notified: list[Any] = []
                scope = store.scoped("x")
                tasks = [
                    asyncio.create_task(scope.listen(notified.append)),
                    asyncio.create_task(scope.watch("m", lambda: notified.append("m"))),
                ]
                await store.heartbeat("a", b"1")
                await store.heartbeat("a", b"")
                await store.compare_and_set("key", b"v", 0)
                await scope.compare_and_set("key", b"v", 0)
                scope._shared.streams.retention = 0.01
                while not await scope.forget(4, ["key"]):
                    await asyncio.sleep(0.05)
                assert await scope.compare_and_set("key", None, 0) == (None, 0)
                while len(set(notified)) < 2:
                    await fill(scope, 3, 1)
                    assert await scope.post("m", b"x", 1.0)
                    assert await scope.unpost("m", b"x")
                    assert await scope.post("m", b"x", 1.0)
                    assert await scope.take("m") == [b"x"]
                big = LogRecord("big", "a", events=LoggedEvents.of(("E", 1, noise(3_000_000))))
                assert await scope.append(3, await scope.head(3), big) is not None
                assert (await positions(scope, 3))[-1] == (await scope.head(3)).position
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            async with NatsStore(url, retention=200, timeout=10.0) as store:
                assert store.keep_seconds == 50
            with pytest.raises(
                StoreError, match=r'permissions violation.*"\$js\.api\.stream\.info'
            ):
                async with NatsStore(url, prefix="other", timeout=10.0):
                    pass

    run(body)


def test_wrong_password_is_named_but_not_shown(tmp_path: pathlib.Path) -> None:
    async def body() -> None:
        users = '{users: [{user: "a b", password: "right@:/"}]}'
        with nats_process(tmp_path, authorization=users) as process:
            url = process.url.replace("//", "//a%20b:{}@")
            async with NatsStore(url.format("right%40%3A%2F"), timeout=10.0) as store:
                await fill(store, 0, 1)
            with pytest.raises(StoreError, match="Authorization Violation") as caught:
                async with NatsStore(url.format("hidden"), timeout=20.0):
                    pass
            assert "hidden" not in str(caught.value)
        with nats_process(tmp_path, authorization="{token: hidden}") as process:
            async with NatsStore(process.url.replace("//", "//hidden@"), timeout=20.0):
                pass

    run(body)


def test_tls_is_verified_and_required(tmp_path: pathlib.Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    trusting, wary = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(trusting)
    other.configure_trust(wary)
    files = f'{{cert_file: "{tmp_path}/cert.pem", key_file: "{tmp_path}/key.pem"}}'

    async def body() -> None:
        with nats_process(tmp_path, tls=files) as process:
            url = process.url.replace("nats:", "tls:")
            async with NatsStore(url, ssl_context=trusting, timeout=10.0) as store:
                await fill(store, 0, 1)
            with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
                async with NatsStore(url, ssl_context=wary, timeout=20.0):
                    pass

    run(body)


def test_password_is_not_sent_to_a_server_without_tls() -> None:
    received: list[bytes] = []

    async def body() -> None:
        for login in ("user:hidden@", "hidden@", ""):
            url = f"tls://{login}127.0.0.1:{port}"
            with pytest.raises(StoreError, match="the server offers no TLS") as caught:
                async with NatsStore(url, timeout=20.0):
                    pass
            assert "hidden" not in str(caught.value)

    hello = b'INFO {"version":"2.11.0","max_payload":1048576}\r\n'
    with fake_server(hello, received.append) as port:
        run(body)
    assert any(b"CONNECT" in data for data in received)
    assert not any(b"hidden" in data for data in received)


# ----- settings -----


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"jetstream": "disabled"}, "the server has no JetStream"),
        ({"max_payload": "4096"}, "max_payload of the server is 4096: expected 65536 or more"),
    ],
)
def test_server_that_cannot_be_used_raises(
    tmp_path: pathlib.Path, settings: dict[str, str], text: str
) -> None:
    async def body() -> None:
        with nats_process(tmp_path, **settings) as process, pytest.raises(StoreError, match=text):
            async with NatsStore(process.url, timeout=20.0):
                pass

    run(body)


@pytest.mark.parametrize(
    ("hello", "text"),
    [
        (b'INFO {"version":"2.10.26","max_payload":1048576}\r\n', "NATS 2.10.26: expected 2.11"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "empty response from server"),
        (b"INFO {\r\n", "json parse error"),
    ],
)
def test_unknown_server_raises(hello: bytes, text: str) -> None:
    async def body() -> None:
        with pytest.raises(StoreError, match=text):
            async with NatsStore(f"nats://127.0.0.1:{port}", timeout=20.0):
                pass

    with fake_server(hello, lambda _: None) as port:
        run(body)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"url": None}, "invalid url: expected nats://host[:port][,host[:port]] or tls://host"),
        ({"url": "http://u:hidden@h"}, "invalid url: expected nats://host"),
        ({"url": "nats://u:hidden@h:none"}, "invalid url: expected nats://host"),
        ({"url": "nats://u:hidden@h:99999"}, "invalid url: expected nats://host"),
        ({"url": "nats://u:hidden@a,,b"}, "invalid url: expected nats://host"),
        ({"url": "nats://"}, "invalid url: expected nats://host"),
        ({"timeout": 0}, "invalid timeout 0: expected a number of seconds from more than 0"),
        ({"retention": 0}, "invalid retention 0: expected a number of seconds from 8"),
        ({"retention": float("inf")}, "invalid retention inf: expected a number of seconds"),
        ({"max_bytes": "1"}, "invalid max_bytes '1': expected an int from 65536"),
        ({"ssl_context": True}, "invalid ssl_context True: expected an ssl.SSLContext, or None"),
        ({"replicas": True}, "invalid replicas True: expected 1, 3 or 5"),
        ({"prefix": "a.b"}, "invalid prefix 'a.b': expected 1 to 64 letters, digits, hyphens"),
        ({"replicas": 2}, "invalid replicas 2: expected 1, 3 or 5"),
    ],
)
def test_invalid_settings_of_a_nats_store_raise(options: dict[str, Any], text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        NatsStore(**{"url": "nats://localhost", **options})
    assert text in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_one_of_several_servers_is_enough(engine: NatsProcess) -> None:
    async def body() -> None:
        url = f"nats://127.0.0.1:{free_port()},localhost:{free_port()},127.0.0.1:{engine.port}/"
        async with NatsStore(url, prefix=next(PREFIXES)) as store:
            await fill(store, 0, 1)

    run(body)


def test_nats_store_on_trio_raises() -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="NatsStore needs asyncio"):
            async with NatsStore("nats://localhost"):
                pass

    trio.run(main)


def test_missing_nats_py_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats", None)
    monkeypatch.delitem(sys.modules, "gateway_fleet.nats", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"install gateway-proto\[nats\]"):
        assert gateway_fleet.NatsStore
