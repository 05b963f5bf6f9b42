"""Records of a shard's log, and their heads, as values and as bounded bytes.

Each shard has one log in an engine. A record holds events and the session as of the last of them,
so that the point of a resume and the logged events cannot diverge. Every append names the record
that it follows; the engine refuses it after any other.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import accumulate
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

from gateway_proto._checks import (
    BOOL,
    Check,
    check_fields,
    instance_of,
    integer,
    is_text,
    rejected,
    shown,
)
from gateway_proto.errors import DataError, LocalProtocolError
from gateway_proto.session import Session, check_session

__all__ = [
    "MAX_RECORD_SIZE",
    "LogHead",
    "LogRecord",
    "LoggedEvent",
    "LoggedEvents",
    "claim_record",
]

T = TypeVar("T")
MAX_VALUE_SIZE = 2 * 2**20
"""Maximum bytes of a value in the store that is not a record of a log or of a member. That of
identify slots has less with the counts of 65,536 keys."""
MAX_RECORD_SIZE = 16 * 2**20
"""Maximum bytes of a record, before its compression and after."""
MAX_EVENTS = 2**16
"""Maximum number of events in a record: small ones take 50 times their bytes once decoded."""
MAX_POSITION = 2**53 - 1
"""Maximum position of a record: engines keep positions as floats, exact up to here."""
MAX_NAME_LENGTH = 256
"""Maximum length of the id of a record, and of the name of a member, in characters."""
MAX_SEQUENCE = 2**63 - 1
_EVENT_OVERHEAD = 24
"""Maximum bytes that the encoding adds to the name and the data of an event."""
_Column: TypeAlias = Annotated[tuple[T, ...], msgspec.Meta(max_length=MAX_EVENTS)]
_COMPRESS_ABOVE = 1_000_000
"""Bytes above which a record is compressed.

Compression takes 8 µs per event of 860 bytes, the rest of the encoding 0.2 µs (CPython 3.13). The
usual limit for a message of an engine is 1 MiB, which only records with a large event exceed. With
512 KiB as the limit, the records of the benchmarks' corpus took 0.4 µs more per event.
"""
_ZLIB = b"\x78"
"""First byte of zlib data (RFC 1950, section 2.2). A record that is not compressed begins with 0,
since it has at most 16 MiB."""
_LENGTH = struct.Struct(">I")
"""Length of the head, which precedes it."""
_MAX_PARTS = 64
"""Maximum number of parts with the data of events. More are joined, so that each is worth a field
of an engine and an entry of a list of buffers."""

LoggedEvent: TypeAlias = tuple[str, int, bytes]
"""Name, sequence and undecoded `d` of a dispatch, as received. Sequence 0: it had none."""

BYTES = instance_of(bytes, "bytes")
NAME = Check(
    lambda value: is_text(value) and 0 < len(value) <= MAX_NAME_LENGTH,
    f"a str of 1 to {MAX_NAME_LENGTH} characters, without lone surrogates",
)
_NAME_OR_EMPTY = Check(
    lambda value: is_text(value) and len(value) <= MAX_NAME_LENGTH,
    f"a str of at most {MAX_NAME_LENGTH} characters, without lone surrogates",
)
_EVENT = Check(
    lambda value: (
        isinstance(value, tuple)
        and [*map(type, value)] == [str, int, bytes]
        and is_text(value[0])
        and 0 <= value[1] <= MAX_SEQUENCE
    ),
    f"a tuple of a name without lone surrogates, an int from 0 to {MAX_SEQUENCE}, and bytes",
)
_HEAD_FIELDS = {"position": integer(0, MAX_POSITION), "id": _NAME_OR_EMPTY, "by": _NAME_OR_EMPTY}
_RECORD_FIELDS = {
    "id": NAME,
    "by": NAME,
    "after": _NAME_OR_EMPTY,
    **dict.fromkeys(("claim", "session_lost", "cutover", "entered"), BOOL),
}


class LogHead(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last record of a log, without its events. Position 0 means an empty log."""

    position: int = 0
    id: str = ""
    by: str = ""
    """Name of the member that appended the record."""
    session: Session | None = None
    """Session as of that record: the next owner of the shard resumes it."""

    def to_bytes(self) -> bytes:
        """Return JSON, which `from_bytes` converts to an equal value."""
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> LogHead:
        """Return the head of a `to_bytes` value. Raises `DataError` if it is invalid."""
        head = decoded_value(data, cls, "a head of a log")
        try:
            check_head(head)
        except LocalProtocolError as error:
            why = str(error)
        else:
            return head
        raise DataError(f"data is not a head of a log: {why}")


class LoggedEvents(msgspec.Struct, frozen=True, eq=False, array_like=True):
    """Events of a record as columns. Iterate over it to get each event as a `LoggedEvent`.

    `of` makes them from events, and checks these. The types in columns are not checked. An object
    for each event would take 0.4 µs more per event that is logged (CPython 3.13).
    """

    names: _Column[str] = ()
    sequences: _Column[int] = ()
    sizes: _Column[int] = ()
    """Bytes of the data of each event."""
    parts: _Column[bytes] = ()
    """Data of all events, one after the other, divided anywhere."""

    @classmethod
    def of(cls, *events: LoggedEvent) -> LoggedEvents:
        """Return the columns of events. Raises `LocalProtocolError` for one of other types."""
        if not events:
            return cls()
        for event in events:
            _EVENT.named("event", event)
        names, sequences, data = zip(*events, strict=True)
        return cls(names, sequences, (*map(len, data),), data)

    @property
    def data(self) -> bytes:
        """Data of all events, one after the other."""
        return b"".join(self.parts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LoggedEvents):
            return NotImplemented
        return (*self._columns(), self.data) == (*other._columns(), other.data)

    def __ne__(self, other: object) -> bool:  # that of msgspec.Struct compares the identity
        return not self == other

    def __hash__(self) -> int:
        return hash(self._columns())

    def _columns(self) -> tuple[object, ...]:
        return self.names, self.sequences, self.sizes

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[LoggedEvent]:
        data, ends = self.data, accumulate(self.sizes)
        for name, sequence, size, end in zip(
            self.names, self.sequences, self.sizes, ends, strict=True
        ):
            yield name, sequence, data[end - size : end]


class LogRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One append to the log of a shard."""

    id: str
    """Unique within the log, so that an owner recognizes a record whose answer was lost."""
    by: str
    """Name of the member that appends it."""
    session: Session | None = None
    """Session as of the last event. All events of a record are of one session."""
    events: LoggedEvents = LoggedEvents()
    claim: bool = False
    """Whether the record only takes the shard over."""
    session_lost: bool = False
    """Whether the session of the previous record ended before the events of this one."""
    cutover: bool = False
    """Whether consumers continue with the logs of another number of shards: the log ends here."""
    entered: bool = False
    """Whether consumers that come from another number of shards begin here: no event is before."""
    after: str = ""
    """Id of the record that it follows, so that readers notice a log that lost its end and grew
    again. Empty for the first record, or if it is not known."""

    def size(self) -> int:
        """Return the maximum bytes of the record before its compression, apart from the session."""
        events = self.events
        names, data = sum(map(len, events.names)), sum(map(len, events.parts))
        return events_size(len(events), names, data)

    def head(self, position: int) -> LogHead:
        """Return the head of a log that ends with this record."""
        return LogHead(position, self.id, self.by, self.session)

    def to_parts(self) -> list[bytes]:
        """Return the bytes of the record in parts, which an engine joins.

        The first one is the length of the head, in four bytes, and the head: the record without the
        data of its events, as MessagePack. The others are that data, which is copied only if it has
        more than 64 parts: a copy takes 0.3 µs per event (CPython 3.13). A large record is one
        part, compressed by zlib. Raises `LocalProtocolError` for invalid fields, and above
        `MAX_RECORD_SIZE`.
        """
        try:
            _check_record(self)
            events = self.events
            record = self
            if events.parts:
                columns = LoggedEvents(events.names, events.sequences, events.sizes)
                record = msgspec.structs.replace(self, events=columns)
            head = msgspec.msgpack.encode(record)
        except LocalProtocolError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise LocalProtocolError(f"invalid LogRecord.events: {error}") from None
        data = events.parts if len(events.parts) <= _MAX_PARTS else (events.data,)
        parts = [_LENGTH.pack(len(head)) + head, *data]
        size = sum(map(len, parts))
        if _COMPRESS_ABOVE < size <= MAX_RECORD_SIZE:
            parts = [zlib.compress(b"".join(parts), 1)]
            size = len(parts[0])  # more than before, if the data cannot be compressed
        if size > MAX_RECORD_SIZE:
            raise LocalProtocolError(
                f"LogRecord has {size} bytes: expected at most {MAX_RECORD_SIZE}"
            )
        return parts

    def to_bytes(self) -> bytes:
        """Return the parts of `to_parts` as one value."""
        return b"".join(self.to_parts())

    @classmethod
    def from_bytes(cls, data: bytes) -> LogRecord:
        """Return the record of a `to_bytes` value. Raises `DataError` if it is invalid."""
        BYTES.named("data", data)
        try:
            record = _decoded(_decompressed(data))
            _check_record(record)
        except _INVALID as error:
            why = str(error)
        else:
            return record
        raise DataError(f"data is not a record of a log: {why}")


HEAD = instance_of(LogHead, "a LogHead")
RECORD = instance_of(LogRecord, "a LogRecord")
_INVALID: Any = (
    msgspec.DecodeError,
    UnicodeError,
    RecursionError,
    zlib.error,
    DataError,
    LocalProtocolError,
)


def decoded_value(data: bytes, kind: type[T], what: str) -> T:
    """Decode a value of the store that is JSON and no log. Raises `DataError`."""
    BYTES.named("data", data)
    try:
        if len(data) <= MAX_VALUE_SIZE:
            return msgspec.json.decode(data, type=kind)
        why = f"it has {len(data)} bytes: expected at most {MAX_VALUE_SIZE}"
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        why = str(error)
    raise DataError(f"data is not {what}: {why}")


def claim_record(member: str, claim_id: str, head: LogHead) -> LogRecord:
    """Return the record by which a member takes a shard over; append it after `head`.

    It keeps the session. If `head.id` is `claim_id`, the claim was appended already.
    """
    NAME.named("member", member)
    NAME.named("claim_id", claim_id)
    HEAD.named("head", head)
    return LogRecord(claim_id, member, head.session, claim=True, after=head.id)


def events_size(count: int, names_length: int, data_size: int) -> int:
    """Return the maximum bytes that `count` events add to a record."""
    return 4 * names_length + data_size + _EVENT_OVERHEAD * count


def check_head(head: LogHead) -> None:
    check_fields(head, _HEAD_FIELDS)
    check_session("LogHead.session", head.session)


def _check_record(record: LogRecord) -> None:
    check_fields(record, _RECORD_FIELDS)
    check_session("LogRecord.session", record.session)
    events = record.events
    if not isinstance(events, LoggedEvents):
        raise rejected("LogRecord.events", events, "LoggedEvents")
    count = len(events.names)
    if count > MAX_EVENTS:
        raise LocalProtocolError(
            f"LogRecord.events has {count} members: expected at most {MAX_EVENTS}"
        )
    if len(events.sequences) != count or len(events.sizes) != count:
        raise LocalProtocolError(
            f"LogRecord.events has {count} names, {len(events.sequences)} sequences and "
            f"{len(events.sizes)} sizes: expected as many of each"
        )
    if count and not 0 <= min(events.sequences) <= max(events.sequences) <= MAX_SEQUENCE:
        wrong = next(each for each in events.sequences if not 0 <= each <= MAX_SEQUENCE)
        raise LocalProtocolError(
            f"invalid sequence {shown(wrong)} in LogRecord.events: expected an int from 0 to "
            f"{MAX_SEQUENCE}"
        )
    if count and min(events.sizes) < 0:
        raise LocalProtocolError(
            f"invalid size {shown(min(events.sizes))} in LogRecord.events: expected 0 or more"
        )
    if not {*map(type, events.parts)} <= {bytes}:
        raise rejected("LogRecord.events.parts", events.parts, "a tuple of bytes")
    size = sum(map(len, events.parts))
    if sum(events.sizes) != size:
        raise LocalProtocolError(
            f"LogRecord.events has {size} bytes of data: expected {sum(events.sizes)}, the sum of "
            f"its sizes"
        )


def _decoded(data: bytes) -> LogRecord:
    if len(data) < _LENGTH.size:
        raise DataError("it is truncated")
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    if end > len(data):
        raise DataError("its head is truncated")
    record = msgspec.msgpack.decode(memoryview(data)[_LENGTH.size : end], type=LogRecord)
    events = record.events
    if events.parts:
        raise DataError("its head has data of events")
    if end < len(data):
        events = LoggedEvents(events.names, events.sequences, events.sizes, (data[end:],))
    return msgspec.structs.replace(record, events=events)


def _decompressed(data: bytes) -> bytes:
    if len(data) > MAX_RECORD_SIZE:
        raise DataError(f"it has {len(data)} bytes: expected at most {MAX_RECORD_SIZE}")
    if data[:1] != _ZLIB:
        return data
    context = zlib.decompressobj()
    text = context.decompress(data, MAX_RECORD_SIZE + 1)
    if len(text) > MAX_RECORD_SIZE:
        raise DataError(f"it decompresses to more than {MAX_RECORD_SIZE} bytes")
    if not context.eof or context.unused_data:
        raise DataError("its zlib data is truncated, or is followed by other data")
    return text
