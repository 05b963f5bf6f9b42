"""Messages that `NatsLink` sends without a copy of their data, through nats-py."""

from __future__ import annotations

import asyncio
import pathlib
from typing import Any

import pytest

from tests.adapters.engines import nats_process, needs_nats
from tests.adapters.nats_logs import run

nats = pytest.importorskip("nats")
NatsLink = pytest.importorskip("gateway_fleet._nats_link").NatsLink
pytestmark = needs_nats


@pytest.mark.slow
def test_publishing_waits_once_64_mebibytes_are_not_sent(tmp_path: pathlib.Path) -> None:
    async def body() -> None:
        received = []

        async def on_message(message: Any) -> None:
            received.append((message.headers, message.data))

        client = await nats.connect(url)
        await client.subscribe("subject", cb=on_message, pending_bytes_limit=2**30)
        link = NatsLink(client)
        waiting = []
        for number in range(80):
            data = [bytes([number]) * 10**5] * 10
            await link.publish("subject", "", {"Number": str(number), "Sign": "é"}, data)
            waiting.append(client.pending_data_size)
        while len(received) < 80:
            await asyncio.sleep(0.01)
        assert 60 * 2**20 < max(waiting) <= 64 * 2**20
        assert received == [
            ({"Number": str(number), "Sign": "é"}, bytes([number]) * 10**6) for number in range(80)
        ]
        await client.close()

    with nats_process(tmp_path) as process:
        url = process.url
        run(body)


def test_message_that_the_server_would_refuse_is_not_sent(tmp_path: pathlib.Path) -> None:
    async def body() -> None:
        client = await nats.connect(url)
        link = NatsLink(client)
        with pytest.raises(nats.errors.MaxPayloadError):
            await link.publish("subject", "", {}, [bytes(client.max_payload), b"1"])
        await client.flush()
        await client.close()
        with pytest.raises(nats.errors.ConnectionClosedError):
            await link.publish("subject", "", {}, [b"data"])

    with nats_process(tmp_path) as process:
        url = process.url
        run(body)
