"""Requests to JetStream that `NatsStore` needs, over a connection.

<https://docs.nats.io/reference/reference-protocols/nats_api_reference>. Any replica answers
`DIRECT.GET`: <https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md>.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_fleet._nats_connection import NatsConnection
from gateway_fleet.store import StoreError

__all__ = ["JetStream", "Stored"]

_NO_MESSAGE = 10037
_NO_STREAM = 10059
_REFUSED = (10071, 10164)
"""Wrong last sequence, and another message of the subject is in process."""
_FULL = 10077
_NOT_DELETED = (10043, 10057)
"""Sequence not found, and the reason why a message was not deleted."""
_IS_ABSENT = re.compile("no message found|not found|deleted message")


class Stored(msgspec.Struct):
    """A message, as the leader of its stream returns it."""

    seq: int
    time: str = ""
    data: bytes = b""
    hdrs: bytes = b""

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the message by their names."""
        lines = self.hdrs.decode("utf-8", "replace").split("\r\n")[1:]
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


class JetStream:
    """Verbs of JetStream. They raise `StoreError`."""

    def __init__(self, connection: NatsConnection) -> None:
        self.connection = connection

    async def publish(
        self,
        subject: str,
        *data: bytes,
        last: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int | None:
        """Store a message; return its sequence, or None if it was refused.

        It is refused if `last` is not the sequence of the last message of its subject, or if the
        subject has its maximum number of messages.
        """
        given = dict(headers or {})
        if last is not None:
            given["Nats-Expected-Last-Subject-Sequence"] = str(last)
        answer = await self.connection.request(subject, *data, headers=given)
        if not answer.data:
            # The server was restarted without its streams, or does not have them yet.
            self.connection.renew()
            raise StoreError(f"{subject}: no stream has this subject")
        content = msgspec.json.decode(answer.data)
        error = content.get("error")
        if error is None:
            return int(content["seq"])
        if error.get("err_code") in (*_REFUSED, _FULL) and "bytes" not in error["description"]:
            return None
        raise _error(subject, error)

    async def last_message(self, stream: str, subject: str) -> Stored | None:
        """Return the last message of a subject; the leader of the stream answers."""
        body = {"last_by_subj": subject}
        content = await self.call(f"STREAM.MSG.GET.{stream}", body, allowed=_NO_MESSAGE)
        return None if content is None else msgspec.convert(content["message"], type=Stored)

    async def direct(self, stream: str, body: dict[str, Any]) -> Any:
        """Return one message of a stream, or None."""
        data = msgspec.json.encode(body)
        message = await self.connection.request(f"$JS.API.DIRECT.GET.{stream}", data)
        status = message.headers.get("Status")
        if status not in (None, "404"):
            raise StoreError(f"{stream}: {_text(message)}")
        return None if status else message

    async def batch(self, stream: str, body: dict[str, Any]) -> tuple[list[Any], bool]:
        """Return several messages of a stream, and whether they are the last ones."""
        data = msgspec.json.encode(body)
        *messages, end = await self.connection.collect(f"$JS.API.DIRECT.GET.{stream}", data)
        if end.headers["Status"] not in ("204", "404"):
            raise StoreError(f"{stream}: {_text(end)}")
        return messages, not messages or end.headers.get("Nats-Num-Pending") == "0"

    async def stream(self, name: str) -> Any:
        """Return settings and state of a stream; None if it does not exist."""
        return await self.call(f"STREAM.INFO.{name}", None, allowed=_NO_STREAM)

    async def delete(self, stream: str, sequence: int) -> bool:
        """Remove a message; return whether it was there: one of several calls succeeds."""
        verb = f"STREAM.MSG.DELETE.{stream}"
        content = await self._content(verb, {"seq": sequence, "no_erase": True})
        error = content.get("error")
        if error is None:
            return True
        if error.get("err_code") in _NOT_DELETED and _IS_ABSENT.search(error["description"]):
            return False
        raise _error(verb, error)

    async def purge(self, stream: str, subject: str) -> None:
        """Remove all messages of a subject."""
        await self.call(f"STREAM.PURGE.{stream}", {"filter": subject})

    async def call(self, verb: str, body: Any, *, allowed: int | None = None) -> Any:
        """Return the answer of the API; None if it is the error `allowed`."""
        content = await self._content(verb, body)
        error = content.get("error")
        if error is None:
            return content
        if error.get("err_code") == allowed:
            return None
        raise _error(verb, error)

    async def _content(self, verb: str, body: Any) -> dict[str, Any]:
        data = b"" if body is None else msgspec.json.encode(body)
        answer = await self.connection.request(f"$JS.API.{verb}", data)
        if not answer.data:
            raise StoreError(f"{verb}: the server has no JetStream: enable it in its settings")
        content: dict[str, Any] = msgspec.json.decode(answer.data)
        return content


def _error(verb: str, error: dict[str, Any]) -> StoreError:
    return StoreError(f"{verb}: {error.get('description')} ({error.get('err_code')})")


def _text(message: Any) -> str:
    return f"{message.headers.get('Description', '')} ({message.headers['Status']})"
