"""Requests to a store and events of a membership."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gateway_proto.fleet.records import LogHead

__all__ = [
    "ClaimShard",
    "MemberJoined",
    "MemberLeft",
    "MembershipEvent",
    "NotifyMember",
    "ReleaseRequested",
    "ShardAcquired",
    "ShardLost",
    "StoreRequest",
    "WriteMember",
]


class WriteMember(msgspec.Struct, frozen=True):
    """Write a value of the members table and read the table; answer with `heartbeat_done`."""

    member: str
    """The own name, or that of a member that is long dead."""
    value: bytes
    """Empty to remove the member from the table."""


class ClaimShard(msgspec.Struct, frozen=True):
    """Append a claim to the log of a shard, see `claim_record`; answer with `claim_done`.

    If the append is refused, read the head again. Answer with None after three attempts, and if
    `LogHead.by` has changed: another member has claimed the shard meanwhile.
    """

    shard: int
    id: str
    """Id of the record."""


class NotifyMember(msgspec.Struct, frozen=True):
    """Have another member call `notified`, since it waits for what the last heartbeat has.

    Nothing answers it. A notice may be lost: then the member has the news with its next heartbeat.
    """

    member: str


class ShardAcquired(msgspec.Struct, frozen=True):
    """The shard is owned: make a `Ledger` with `head`, and a client that resumes its session."""

    shard: int
    head: LogHead
    """The own claim."""


class ShardLost(msgspec.Struct, frozen=True):
    """The shard belongs to another member: close its connection with 4000, and append nothing."""

    shard: int
    claim: str
    """Id of the own claim."""
    reason: str


class ReleaseRequested(msgspec.Struct, frozen=True):
    """Give the shard away: wait for READY if it identifies, close, append the rest, `released`."""

    shard: int
    claim: str
    """Id of the own claim."""
    to: str | None
    """Member that will claim the shard. None means that nobody will."""


class MemberJoined(msgspec.Struct, frozen=True):
    """Another member is alive."""

    member: str


class MemberLeft(msgspec.Struct, frozen=True):
    """Another member has not changed its record for `ttl` seconds."""

    member: str


StoreRequest: TypeAlias = WriteMember | ClaimShard | NotifyMember
"""Requests to a store. Each but `NotifyMember` is answered once."""
MembershipEvent: TypeAlias = (
    ShardAcquired | ShardLost | ReleaseRequested | MemberJoined | MemberLeft
)
"""Events of a membership."""
