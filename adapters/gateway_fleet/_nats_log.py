"""Log of one shard in NATS: the messages of one subject, in a stream of all shards.

The engine compares the sequence of the last message of the subject. Sequences count the messages of
all shards, so a record has its position in a header. The first record of a log has none: its
position is its sequence. No position of the subject was ever larger, also if the log is empty since
all its records were older than the retention.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from gateway_fleet._nats_api import JetStream
from gateway_fleet.store import StoreError
from gateway_proto import DataError
from gateway_proto.fleet import LogHead, LogRecord

__all__ = ["NatsLog"]

_POSITION = "Gateway-Position"
_PARTS = "Gateway-Parts"
"""Sequences of the messages that have the data, if it is larger than one may be."""
_HEAD = "Gateway-Head"
"""Head of a record that has parts."""
_BATCH = {"batch": 256, "max_bytes": 2 * 2**20}
_MAX_KNOWN = 16


class NatsLog:
    """Log of the shard with this subject, in a stream.

    It remembers where records are: use another one after the connection was lost.
    """

    def __init__(self, api: JetStream, stream: str, subject: str) -> None:
        self._api = api
        self._stream = stream
        self._subject = subject
        self._head: tuple[int, str, int] | None = None  # position, id, sequence
        self._sequences: dict[int, int] = {}  # by the positions up to which was read

    async def head(self) -> LogHead:
        """Return the head of the log."""
        return (await self._last())[1]

    async def append(self, after: LogHead, record: LogRecord) -> int | None:
        """Append a record after a head; return its position, or None if it is refused."""
        parts = record.to_parts()
        known, self._head = self._head, None
        if known is None or known[:2] != (after.position, after.id):
            sequence, head = await self._last()
            if (head.position, head.id) != (after.position, after.id):
                return None
        else:
            sequence = known[2]
        headers = {_POSITION: str(after.position + 1)} if after.position else {}
        size = await self._api.connection.max_size()
        if sum(map(len, parts)) > size:
            headers[_PARTS] = await self._write_parts(b"".join(parts), size)
            headers[_HEAD] = record.head(0).to_bytes().decode()
            parts = []
        written = await self._api.publish(self._subject, *parts, last=sequence, headers=headers)
        if written is None:
            return None
        position = after.position + 1 if after.position else written
        self._head = position, record.id, written
        return position

    async def records(self, after: int) -> AsyncGenerator[list[tuple[int, bytes]], None]:
        """Iterate over batches of the records that follow a position."""
        sequence: int | None = 1
        if after in self._sequences:
            sequence = self._sequences[after] + 1
        elif after:
            sequence = await self._first_after(after)
        while sequence is not None:
            body = {"seq": sequence, "next_by_subj": self._subject, **_BATCH}
            messages, is_last = await self._api.batch(self._stream, body)
            batch = []
            for message in messages:
                sequence, position = _place(message)
                if position > after:
                    data = await self._data(message)
                    if data is not None:
                        batch.append((position, data))
                    after = position
            if messages:
                self._remember(after, sequence)
            yield batch
            sequence = None if is_last else sequence + 1

    def _remember(self, position: int, sequence: int) -> None:
        self._sequences[position] = sequence
        if len(self._sequences) > _MAX_KNOWN:
            del self._sequences[next(iter(self._sequences))]

    async def _first_after(self, after: int) -> int | None:
        """Return a sequence from which the records after a position follow; None at the head.

        From one record to the next the sequence grows at least as much as the position. So the
        search ends at once if the stream has one shard, and after some 20 requests if it has many.
        """
        first = await self._next(1)
        if first is None or first[1] > after:
            return 1
        low = first[0] + after + 1 - first[1]
        last, head = await self._last()
        if head.position <= after:
            return None
        high = last - (head.position - after - 1)
        while low < high:
            middle = (low + high) // 2
            found = await self._next(middle)
            if found is None:
                raise StoreError(f"{self._subject}: records were dropped during a read")
            sequence, position = found
            if position > after:
                high = min(middle, sequence - (position - after - 1))
            else:
                low = sequence + after + 1 - position
        return low

    async def _next(self, sequence: int) -> tuple[int, int] | None:
        """Return sequence and position of the first record from a sequence on."""
        body = {"seq": sequence, "next_by_subj": self._subject}
        message = await self._api.direct(self._stream, body)
        return None if message is None else _place(message)

    async def _last(self) -> tuple[int, LogHead]:
        """Return the sequence of the last record, and the head."""
        message = await self._api.last_message(self._stream, self._subject)
        if message is None:
            self._head = 0, "", 0
            return 0, LogHead()
        position = int(message.headers.get(_POSITION, message.seq))
        text = message.headers.get(_HEAD)
        try:
            if text is None:
                head = LogRecord.from_bytes(message.data).head(position)
            else:
                head = msgspec.structs.replace(LogHead.from_bytes(text.encode()), position=position)
        except DataError as error:
            raise StoreError(f"{self._subject}: {error}") from None
        self._head = position, head.id, message.seq
        return message.seq, head

    async def _write_parts(self, data: bytes, size: int) -> str:
        """Store data that one message cannot have; return the sequences of its parts."""
        sequences = []
        for begin in range(0, len(data), size):
            part = data[begin : begin + size]
            sequences.append(str(await self._api.publish(f"{self._subject}.part", part)))
        return ",".join(sequences)

    async def _data(self, message: Any) -> bytes | None:
        """Return the data of a record, which may have parts; None if the first was dropped."""
        sequences = message.headers.get(_PARTS)
        if sequences is None:
            data: bytes = message.data
            return data
        parts = []
        for sequence in sequences.split(","):
            part = await self._api.direct(self._stream, {"seq": int(sequence)})
            if part is None:
                return None
            parts.append(part.data)
        return b"".join(parts)


def _place(message: Any) -> tuple[int, int]:
    """Return sequence and position of a record."""
    sequence = int(message.headers["Nats-Sequence"])
    return sequence, int(message.headers.get(_POSITION, sequence))
