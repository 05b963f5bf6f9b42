"""The type of a connection follows from `framing`, which may be a variable."""

from typing import Any, assert_type

from gateway_proto import Client, ClientConnection
from gateway_proto.connection import Connection


def dial(client: Client, framing: bool) -> None:
    assert_type(client.dial_succeeded(now=0.0), Connection[Any, Any])
    assert_type(client.dial_succeeded(now=0.0, framing=True), Connection[Any, Any])
    assert_type(client.dial_succeeded(now=0.0, framing=False), ClientConnection)
    assert_type(client.dial_succeeded(now=0.0, framing=framing), Connection[Any, Any])
