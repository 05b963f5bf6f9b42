"""Client: picows' WebSocket and orjson, and no gateway library at all."""

from __future__ import annotations

import asyncio

import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.baseline import decompressor
from benchmarks.clients.stopwatch import IDENTIFY, Stopwatch


class Counter(WSListener):  # type: ignore[misc]
    """Decompresses, decodes, counts."""

    def __init__(self) -> None:
        self._watch = Stopwatch()
        self._decompress = decompressor(self._watch.compression)
        self._count = 0
        self._total = self._watch.total

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A message: none comes in fragments here."""
        data = frame.get_payload_as_memoryview()
        payload = orjson.loads(data if self._decompress is None else self._decompress(data))
        name = payload["t"]
        if name is None:
            transport.send(WSMsgType.TEXT, IDENTIFY)
        elif name == "READY":
            self._watch.start()
        else:
            self._count += 1
            if self._count == self._total:
                self._watch.stop(self._count, payload["s"])


async def main() -> None:
    """One connection, until it has counted all."""
    transport, _ = await ws_connect(Counter, Stopwatch().url)
    await transport.wait_disconnected()


asyncio.run(main())
