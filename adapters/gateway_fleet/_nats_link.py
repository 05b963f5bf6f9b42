"""One connection of nats-py, which is never opened again once it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import nats.errors
from nats.aio.client import Client

from gateway_fleet._nats_address import NatsAddress
from gateway_fleet.store import StoreError

__all__ = ["NatsLink", "connect", "discard"]

_LOOK_SECONDS = 0.25
"""Time between two looks whether the connection is there: nats-py does not report every loss."""
_PENDING_BYTES = 64 * 2**20
"""Bytes of requests that wait for the network, above which a request waits before it is sent."""
_MIN_VERSION = (2, 11)
_MIN_PAYLOAD = 64 * 2**10


class NatsLink:
    """One connection of nats-py, from its success until it is lost."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.inbox = client.new_inbox()
        self.lost = asyncio.Event()
        self.asking: dict[str, tuple[str, asyncio.Queue[Any]]] = {}
        """Subject and answers of the requests that wait, by the last part of their inbox."""

    async def begin(self) -> None:
        await self.client.subscribe(f"{self.inbox}.*", cb=self._on_answer)

    async def publish(
        self, subject: str, reply: str, headers: Mapping[str, str], data: Sequence[bytes]
    ) -> None:
        """Send a message without a copy of its data. Raises `nats.errors.Error`.

        `publish` of nats-py copies the data twice, which takes 0.7 µs more per event of a record
        (CPython 3.13), and it has no other call. <https://docs.nats.io/reference/reference-protocols/nats-protocol#hpub>
        """
        client = self.client
        if client.is_closed:
            raise nats.errors.ConnectionClosedError
        size = sum(map(len, data))
        if size > client.max_payload:
            raise nats.errors.MaxPayloadError
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"NATS/1.0\r\n{lines}\r\n".encode()
        command = f"HPUB {subject} {reply} {len(head)} {len(head) + size}\r\n".encode()
        parts = command + head, *data, b"\r\n"
        client._pending += parts
        client._pending_data_size += sum(map(len, parts))
        is_full = client._pending_data_size > _PENDING_BYTES
        if is_full or (client._flush_queue is not None and client._flush_queue.empty()):
            await client._flush_pending(force_flush=is_full)

    async def _on_answer(self, message: Any) -> None:
        asking = self.asking.get(message.subject.rpartition(".")[2])
        if asking is not None:
            asking[1].put_nowait(message)

    def denied(self, text: str) -> None:
        """Fail the requests to the subject that the text of an error names."""
        for subject, answers in self.asking.values():
            if f'"{subject.lower()}"' in text.lower():
                answers.put_nowait(StoreError(text))

    async def until_lost(self) -> None:
        while self.client.is_connected and not self.lost.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.lost.wait(), _LOOK_SECONDS)
        self.lost.set()
        for _, answers in self.asking.values():
            answers.put_nowait(StoreError("the connection was lost"))


async def connect(
    client: Client,
    address: NatsAddress,
    *,
    timeout: float,
    ssl_context: ssl.SSLContext | None,
    on_error: Callable[[Exception], None],
) -> NatsLink:
    """Connect a new client; `on_error` is called with errors, then and later."""
    link: NatsLink | None = None

    async def report(error: Exception) -> None:
        on_error(error)
        if link is not None and "permissions violation" in str(error).lower():
            link.denied(str(error))

    async def on_close() -> None:
        if link is not None:
            link.lost.set()

    options: dict[str, Any] = {}
    if ssl_context is not None:
        options["tls"] = ssl_context
    if address.password is not None:
        options["user"] = address.user
        options["password"] = lambda: _secret(client, address, address.password)
    elif address.user is not None:
        options["token"] = lambda: _secret(client, address, address.user)
    async with asyncio.timeout(timeout):
        await client.connect(
            servers=list(address.servers),
            name="gateway_proto",
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=timeout,  # type: ignore[arg-type]
            pending_size=_PENDING_BYTES,
            error_cb=report,
            closed_cb=on_close,
            **options,
        )
        _secret(client, address, "")
        version = client.connected_server_version
        if (version.major, version.minor) < _MIN_VERSION:
            found = f"{version.major}.{version.minor}.{version.patch}"
            raise nats.errors.Error(f"the server is NATS {found}: expected 2.11 or later")
        if client.max_payload < _MIN_PAYLOAD:
            raise nats.errors.Error(
                f"max_payload of the server is {client.max_payload}: "
                f"expected {_MIN_PAYLOAD} or more"
            )
        link = NatsLink(client)
        await link.begin()
    return link


def _secret(client: Client, address: NatsAddress, secret: str | None) -> str | None:
    """Return a secret, unless TLS is asked for and the server offers none."""
    # nats-py would send it as plain text: it looks at what the server requires alone.
    if address.tls and not client._server_info.get("tls_required"):
        raise nats.errors.Error("the server offers no TLS, which the URL requires")
    return secret


async def discard(client: Client) -> None:
    """Close a connection at once, also if the network takes no more bytes."""
    # nats-py has no such call: it waits until everything is sent.
    with contextlib.suppress(AttributeError):
        client._transport._io_writer.transport.abort()  # type: ignore[union-attr]
    client._pending, client._pending_data_size = [], 0
    with anyio.move_on_after(1.0, shield=True), contextlib.suppress(Exception):
        await client.close()
