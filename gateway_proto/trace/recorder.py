"""Recorder of clients, servers and connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import attrs

from gateway_proto._checks import CALLBACK, Check, as_now, instance_of
from gateway_proto._version import __version__
from gateway_proto.client.client import Client
from gateway_proto.client.connection import ClientConnection
from gateway_proto.client.lookup import LookupConnection
from gateway_proto.commands import UpdatePresence
from gateway_proto.config import Config, check_is_config
from gateway_proto.server.config import ServerConfig
from gateway_proto.server.server import Server
from gateway_proto.session import Session, check_client
from gateway_proto.trace.instrument import (
    ClientInstrumentation,
    ConnectionInstrumentation,
    ServerInstrumentation,
)
from gateway_proto.trace.redactor import Redactor
from gateway_proto.trace.serialize import Json, config_to_json, to_json_value
from gateway_proto.trace.writer import TraceLine, TraceWriter
from gateway_proto.urls import Url

__all__ = ["FORMAT", "VERSION", "Recorder"]

_WRITE = Check(CALLBACK.allows, "a function of one line of text that is not async")
_SERVER_CONFIG = instance_of(ServerConfig, "a ServerConfig")

FORMAT = "gateway_proto trace"
VERSION = 2


class Recorder:
    """Maker of clients, servers and connections whose calls are recorded in a trace.

    `write` is called with one JSON line at a time, including its line feed. Its exceptions leave
    the recorded call. Tokens, and other values where tokens are expected, are replaced by
    placeholders of the same length. A line is held back while it could contain a part of a
    secret; `close` writes the lines that still wait. A context manager closes the trace at its end.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        _WRITE.named("write", write)
        self._log = TraceWriter(write, Redactor())
        self._log.line(format=FORMAT, version=VERSION, library=__version__)

    def client(
        self,
        config: Config,
        *,
        session: Session | None = None,
        gateway: Url | None = None,
        lookup_only: bool = False,
        on_slot_needed: Callable[[ClientConnection, float], None] | None = None,
    ) -> Client:
        """Return a `Client` that is recorded with all of its connections.

        `ShardManager(make_client=recorder.client)` records every shard.

        Raises as `Client` does, and `LocalProtocolError` for a version that is not in `VERSIONS`.
        """
        check_client(config, session, gateway, lookup_only, on_slot_needed)
        config, json = self._config(config)
        client = Client(
            config,
            session=session,
            gateway=gateway,
            lookup_only=lookup_only,
            on_slot_needed=None
            if on_slot_needed is None
            else self._log.record_callback(on_slot_needed),
        )
        line = self._new(
            "client",
            config=json,
            session=to_json_value(session),
            gateway=None if gateway is None else str(gateway),
            lookup_only=lookup_only,
        )
        if on_slot_needed is not None:
            line.fields["asks_for_slots"] = True
        ClientInstrumentation(
            self._log, client, line.fields["id"], config.compression
        ).record_state(line.fields)
        self._log.end(line)
        return client

    def connection(
        self,
        config: Config,
        url: Url | str,
        *,
        now: float,
        session: Session | None = None,
        presence: UpdatePresence | None = None,
        framing: bool = True,
    ) -> ClientConnection:
        """Return a recorded `ClientConnection` without a `Client`. Raises as `client` does."""
        now = as_now(now)
        config, json = self._config(config)
        connection = ClientConnection(
            config, url, now=now, session=session, presence=presence, framing=framing
        )
        line = self._new(
            "connection",
            at=now,
            config=json,
            url=str(url),
            session=to_json_value(session),
            presence=to_json_value(presence),
            framing=framing,
        )
        number, compression = line.fields["id"], config.compression
        ConnectionInstrumentation(
            self._log, connection, number, compression=compression
        ).record_state(line.fields)
        self._log.end(line)
        return connection

    def lookup(self, config: Config, url: Url | str, *, now: float) -> LookupConnection:
        """Return a recorded `LookupConnection` without a `Client`. Raises as `client` does."""
        now = as_now(now)
        config, json = self._config(config)
        lookup = LookupConnection(config, url if isinstance(url, Url) else Url.parse(url), now=now)
        line = self._new("lookup", at=now, config=json, url=str(url))
        ConnectionInstrumentation(self._log, lookup, line.fields["id"]).record_state(line.fields)
        self._log.end(line)
        return lookup

    def server(self, config: ServerConfig | None = None) -> Server:
        """Return a `Server` that is recorded with all of its connections.

        Set `ServerConfig.random` if session ids must not be guessable: without it the random source
        is a constant, in an adapter too.
        """
        if config is None:
            config = ServerConfig()
        _SERVER_CONFIG.named("config", config)
        draw = config.random or _constant
        server = Server(attrs.evolve(config, random=self._log.record_random(draw)))
        line = self._new("server")
        ServerInstrumentation(self._log, server, line.fields["id"])
        self._log.end(line)
        return server

    def __enter__(self) -> Self:
        """Return the recorder."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the trace."""
        self.close()

    def close(self) -> None:
        """End the trace: write the waiting lines, with incomplete data blanked.

        The recorded objects still work, but `write` is no longer called.
        """
        self._log.close()

    def _new(self, kind: str, **fields: object) -> TraceLine:
        return self._log.begin(new=kind, id=self._log.number(), **fields)

    def _config(self, config: Config) -> tuple[Config, Json]:
        """Return the config with a recorded random source, and its JSON data."""
        check_is_config(config)
        if self._log.secrets is not None:
            self._log.secrets.add_url(config.api_url)
            self._log.secrets.add_url(config.gateway_url)
        json = config_to_json(config, self._log.redact_token(config.token))
        return attrs.evolve(config, random=self._log.record_random(config.next_random)), json


def _constant() -> float:
    return 0.5
