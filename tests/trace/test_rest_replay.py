"""Replay of scripted REST responses of a server."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.server import Server, ServerConfig
from gateway_proto.trace import read
from tests.trace.support import Trace, differences, random_source


def _get(server: Server, path: str) -> bytes:
    connection: Any = server.accept(now=1.0)
    connection.receive_data(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode(), now=1.0)
    return bytes(connection.data_to_send())


def test_scripted_responses_are_replayed() -> None:
    made = Trace()
    server = made.recorder.server(ServerConfig(random=random_source()))
    server.rest.reply("GET", "/gateway", status=503, json={"message": "x"}, times=1)
    server.rest.reply("GET", "/body", body=b"\x00<html>", headers={"X-A": "b"})
    server.rest.rate_limit("GET", "/limited", retry_after=2.0)
    server.rest.ignore("GET", "/silent")

    statuses = [_get(server, path)[9:12] for path in ("/gateway", "/body", "/limited", "/silent")]
    server.rest.clear()
    statuses.append(_get(server, "/body")[9:12])

    assert statuses == [b"503", b"200", b"429", b"", b"404"]
    lines = made.close()
    assert differences(lines) == []
    calls = [line["call"] for line in read(lines) if str(line.get("call")).startswith("rest.")]
    assert calls == ["rest.reply", "rest.reply", "rest.rate_limit", "rest.ignore", "rest.clear"]


def test_rejected_scripted_response_is_replayed() -> None:
    made = Trace()
    server = made.recorder.server(ServerConfig(random=random_source()))

    for body in (None, "text"):
        with pytest.raises(LocalProtocolError):
            server.rest.reply("GET", "no path", body=body)  # type: ignore[arg-type]

    assert differences(made.close()) == []
