"""HTTP server of `fleet run --metrics`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway_cli import metrics_server
from gateway_cli.metrics_server import serve_metrics
from gateway_proto.fleet import FleetMetrics
from tests.adapters.support import PATIENCE

Ask = Callable[[bytes], Awaitable[tuple[str, dict[str, str], str]]]


@contextlib.asynccontextmanager
async def _serving(text: str | None = "# EOF\n") -> AsyncIterator[Ask]:
    async with asyncio.timeout(PATIENCE), serve_metrics(0, lambda: text) as url:
        port = int(url.removeprefix("http://127.0.0.1:").removesuffix("/metrics"))

        async def ask(request: bytes) -> tuple[str, dict[str, str], str]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answer = ""
            with contextlib.suppress(ConnectionError):
                try:
                    writer.write(request)
                    answer = (await reader.read()).decode()
                finally:
                    writer.close()
                    await writer.wait_closed()
            head, _, body = answer.partition("\r\n\r\n")
            first, *rest = head.split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in rest)
            return first, headers, body

        yield ask


def _request(target: str = "/metrics", method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.mark.parametrize("target", ["/metrics", "/metrics?name=x"])
def test_metrics_are_served_as_openmetrics(target: str) -> None:
    async def main() -> None:
        async with _serving("a 1\n# EOF\n") as ask:
            first, headers, body = await ask(_request(target))

        assert first == "HTTP/1.1 200 OK"
        assert headers["content-type"] == FleetMetrics.content_type
        assert headers["content-length"] == "10"
        assert headers["connection"] == "close"
        assert body == "a 1\n# EOF\n"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("request_", "status", "length"),
    [
        (_request("/"), 404, 28),
        (_request("/metrics/x"), 404, 28),
        (_request(method="POST"), 405, 16),
        (_request(method="HEAD"), 200, 0),
        (b"no HTTP\r\n\r\n", 400, None),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 40000, 431, None),
    ],
    ids=str,
)
def test_other_requests_get_their_status(request_: bytes, status: int, length: int | None) -> None:
    async def main() -> None:
        async with _serving() as ask:
            first, headers, body = await ask(request_)

        assert int(first.split()[1]) == status
        assert length is None or len(body) == length
        assert "# EOF" not in body
        assert ("allow" in headers) == (status == 405)

    asyncio.run(main())


def test_metrics_before_the_fleet_is_open_are_unavailable() -> None:
    async def main() -> None:
        async with _serving(None) as ask:
            first, _, _ = await ask(_request())

        assert first == "HTTP/1.1 503 Service Unavailable"

    asyncio.run(main())


def test_silent_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "_SECONDS", 0.1)

    async def main() -> None:
        async with _serving() as ask:
            assert await ask(b"GET /metrics HTTP/1.1\r\n") == ("", {}, "")

    asyncio.run(main())


def test_connections_above_the_limit_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "_MAX_CONNECTIONS", 1)

    async def main() -> None:
        async with _serving() as ask:
            first = asyncio.create_task(ask(b"GET"))
            await asyncio.sleep(0.05)
            closed = await ask(_request())
        assert await first == ("", {}, "")

        assert closed == ("", {}, "")

    asyncio.run(main())


def test_open_connections_end_with_the_server() -> None:
    async def main() -> None:
        async with _serving() as ask:
            waiting = asyncio.create_task(ask(b"GET"))
            await asyncio.sleep(0.05)
        assert await waiting == ("", {}, "")

    asyncio.run(main())


def test_reader_that_stops_reading_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "_SECONDS", 0.3)

    async def main() -> None:
        text = "# " + "x" * 2**24
        async with asyncio.timeout(PATIENCE), serve_metrics(0, lambda: text) as url:
            port = int(url.removeprefix("http://127.0.0.1:").removesuffix("/metrics"))
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(_request())
            await asyncio.sleep(1)
            with contextlib.suppress(ConnectionError):
                received = 0
                while data := await reader.read(65536):
                    received += len(data)
            writer.close()

        assert received < len(text)

    asyncio.run(main())
