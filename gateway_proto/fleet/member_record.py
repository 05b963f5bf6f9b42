"""Member records: what each process of a fleet reports about itself, as values and as bytes."""

from __future__ import annotations

import enum
from typing import Annotated, Literal, TypeAlias

import msgspec

from gateway_proto._checks import Check, integer, is_text
from gateway_proto.errors import DataError, LocalProtocolError
from gateway_proto.fleet.records import BYTES, MAX_POSITION, MAX_RECORD_SIZE, MAX_SEQUENCE

__all__ = ["MAX_DEAD", "MAX_SHARDS", "GatewaySettings", "MemberRecord", "ShardStatus", "Stage"]

MAX_SHARDS = 2**16
"""Maximum number of shards of a fleet."""
MAX_DEAD = 64
"""Maximum number of dead members that a record lists."""
SHARD_COUNT = integer(1, MAX_SHARDS)
MEMBER = Check(
    # "-" is for those that only read the members table: each read would remove that member.
    lambda value: is_text(value) and 0 < len(value) <= 128 and value != "-",
    "a str of 1 to 128 characters, without lone surrogates, and not '-'",
)

_Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQUENCE)]
_Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Shard: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=MAX_SHARDS)]
_Member: TypeAlias = Annotated[str, msgspec.Meta(max_length=128)]
_Position: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MAX_POSITION)]

_INVALID = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)


class Stage(enum.IntEnum):
    """Progress of a shard in the change to another number of shards, see `Generations`."""

    PREPARED = 1
    """READY, and its guilds have arrived; its events are dropped."""
    ENTERED = 2
    """Its events are kept, and its log says so (`LogRecord.entered`)."""
    LEFT = 3
    """Its connection is closed, and its log ends with `LogRecord.cutover`."""


class ShardStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """Status of an owned shard, for operators. Nothing is decided by it."""

    state: _Text = ""
    """State of the connection, such as "ready"."""
    sequence: _Count = 0
    pending: _Count = 0
    """Bytes of events that wait for the engine."""
    latency: _Seconds | None = None
    """Seconds from a heartbeat of the gateway to its acknowledgement."""
    session_age: _Seconds | None = None
    """Seconds since READY; None if another member received it, and nobody reported it."""
    owned_for: _Seconds | None = None
    """Seconds since the shard was acquired."""
    reason: _Text = ""
    """Reason for which the shard was acquired."""

    def check(self) -> None:
        """Raise `LocalProtocolError` unless each value is allowed in the record of a member."""
        try:
            msgspec.json.decode(msgspec.json.encode(self), type=ShardStatus)
            return
        except _INVALID as error:
            why = str(error)
        raise LocalProtocolError(f"invalid ShardStatus: {why}")


class GatewaySettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Settings of a member's connections, by which others check a command before they send it."""

    version: Annotated[int, msgspec.Meta(ge=1, le=255)]
    """Number of the protocol version."""
    intents: _Count | None = None
    encoding: Literal["json", "etf"] = "json"
    payload_limit: _Count | None = None
    """Maximum bytes of a command; None means that of the version."""
    publishes: bool = False
    """Whether the member logs events, so that the answer of a request is in the log."""


class MemberRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Record of a member in the members table, written by its heartbeat."""

    n: _Count
    """Number of the heartbeat. A member whose record does not change is dead."""
    owns: dict[_Shard, _Position] = {}
    """Owned shards with the positions of their claims."""
    wants: Annotated[tuple[_Shard, ...], msgspec.Meta(max_length=MAX_SHARDS)] = ()
    """Shards that the member is about to claim."""
    draining: bool = False
    """Whether the member gives all shards away."""
    version: _Text = ""
    shards: dict[_Shard, ShardStatus] = {}
    stages: dict[_Shard, Stage] = {}
    """Owned shards that take part in the change to another number of shards."""
    gateway: GatewaySettings | None = None
    """None means that the member takes no commands, and no notices, from others."""
    dead: Annotated[dict[_Member, _Count], msgspec.Meta(max_length=MAX_DEAD)] = {}
    """Members that did not change their record for `ttl`, with its number `n`.

    A member that has just started counts them as dead, too: else it would wait for `ttl` before it
    claims their shards.
    """

    def to_bytes(self) -> bytes:
        """Return JSON, which `from_bytes` converts to an equal value.

        Statuses that would make it too large are left out.
        """
        data = msgspec.json.encode(self)
        if len(data) > MAX_RECORD_SIZE:
            data = msgspec.json.encode(msgspec.structs.replace(self, shards={}))
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> MemberRecord:
        """Return the record of a `to_bytes` value. Raises `DataError` if it is invalid."""
        BYTES.named("data", data)
        if len(data) > MAX_RECORD_SIZE:
            raise DataError(
                f"the record of a member has {len(data)} bytes: expected at most {MAX_RECORD_SIZE}"
            )
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            why = str(error)
        raise DataError(f"data is not the record of a member: {why}")
