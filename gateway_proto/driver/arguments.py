"""Checks of the arguments of `open_gateway`, `open_shards` and `serve_gateway`."""

from __future__ import annotations

import re
from typing import Any

from gateway_proto._checks import (
    BOOL,
    CALLBACK,
    POSITIVE,
    Check,
    instance_of,
    integer,
    optional,
)
from gateway_proto.config import check_is_config
from gateway_proto.server.server import Server
from gateway_proto.session import check_session

__all__ = ["HOST", "check_before_dial", "check_opening", "check_serving"]

_SERVER = instance_of(Server, "a Server, such as Server(ServerConfig())")


def _ssl_context(side: str, wrong: str, example: str) -> Check:
    """Return the check of a TLS context, which must not be one for the other side only."""

    def is_usable(value: Any) -> bool:
        protocol = getattr(value, "protocol", None)
        is_context = callable(getattr(value, "wrap_bio", None))
        return is_context and getattr(protocol, "name", None) != wrong

    return optional(Check(is_usable, f"an ssl.SSLContext for {side}, such as {example}"))


_CLIENT_TLS = _ssl_context("clients", "PROTOCOL_TLS_SERVER", "ssl.create_default_context()")
_SERVER_TLS = _ssl_context(
    "servers", "PROTOCOL_TLS_CLIENT", "ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)"
)
_RECORDER = optional(
    Check(
        lambda value: callable(getattr(value, "client", None)), "a Recorder of gateway_proto.trace"
    )
)
_PROXY = optional(
    Check(lambda value: value is True or isinstance(value, str), "a URL as a str, True")
)
_CONNECT = optional(Check(callable, "a function"))
_BEFORE_DIAL = optional(Check(callable, "an async function"))
_PORT = integer(0, 65535)
# RFC 1035, 2.3.4: a label has at most 63 bytes. The resolver of Python raises for a longer one.
_HOST_TEXT = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_:%-]{1,63}(\.[A-Za-z0-9_:%-]{1,63})*", re.ASCII)
HOST = Check(
    lambda value: isinstance(value, str) and bool(_HOST_TEXT.fullmatch(value)),
    "the name or address of an interface in ASCII, such as '127.0.0.1', 'localhost' or '::'",
)
_ON_EVENT = optional(CALLBACK)


def check_opening(
    config: Any,
    session: Any,
    ssl_context: Any,
    proxy: Any,
    connect: Any,
    queue_limit: Any,
    recorder: Any,
    raise_on_give_up: Any,
) -> None:
    """Check the arguments of `open_gateway` and `open_shards`; raises `LocalProtocolError`."""
    check_is_config(config)
    check_session("session", session)
    POSITIVE.named("queue_limit", queue_limit)
    BOOL.named("raise_on_give_up", raise_on_give_up)
    _CLIENT_TLS.named("ssl_context", ssl_context)
    _PROXY.named("proxy", proxy)
    _CONNECT.named("connect", connect)
    _RECORDER.named("recorder", recorder)


def check_before_dial(before_dial: Any) -> None:
    """Check `before_dial` of `open_gateway` and `open_shards`; raises `LocalProtocolError`."""
    _BEFORE_DIAL.named("before_dial", before_dial)


def check_serving(server: Any, host: Any, port: Any, *, ssl_context: Any, on_event: Any) -> None:
    """Check the arguments of `serve_gateway`; raises `LocalProtocolError`."""
    _SERVER.named("server", server)
    HOST.named("host", host)
    _PORT.named("port", port)
    _SERVER_TLS.named("ssl_context", ssl_context)
    _ON_EVENT.named("on_event", on_event)
