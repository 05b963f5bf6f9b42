"""Membership: members table, now → which shards are mine.

Each member writes one record per interval and reads those of all. The live members divide the
shards by `assign_shards`, without a leader. A member claims what is assigned to it and what no
live member owns, and gives away what is assigned to another. It announces a claim one heartbeat
ahead (`wants`), so that two members that start at once do not both claim. After a heartbeat with
news that others wait for it notifies them, so that a move does not wait for their next heartbeats.

None of this keeps two members from owning a shard. That is the log's part: a claim is an append to
it, after which the engine refuses each append of the previous owner. Members that disagree cost
moves, not events.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from gateway_proto._checks import (
    COUNT,
    DURATION,
    POSITIVE,
    TEXT,
    as_now,
    instance_of,
    number,
    optional,
    rejected,
    shown,
)
from gateway_proto.errors import LocalProtocolError
from gateway_proto.fleet.assignment import MAX_MEMBERS, assign_shards
from gateway_proto.fleet.member_record import (
    MEMBER,
    SHARD_COUNT,
    GatewaySettings,
    MemberRecord,
    ShardStatus,
    Stage,
)
from gateway_proto.fleet.members_table import MembersTable
from gateway_proto.fleet.membership_values import (
    ClaimShard,
    MemberJoined,
    MemberLeft,
    MembershipEvent,
    NotifyMember,
    ReleaseRequested,
    ShardAcquired,
    ShardLost,
    StoreRequest,
    WriteMember,
)
from gateway_proto.fleet.notices import who_waits
from gateway_proto.fleet.records import HEAD, LogHead, check_head

__all__ = ["Membership"]

_STATUS = instance_of(ShardStatus, "a ShardStatus")
_STAGE = optional(instance_of(Stage, "a Stage"))
_GATEWAY = optional(instance_of(GatewaySettings, "a GatewaySettings"))
_LOSS_SECONDS = 60.0
"""Seconds within which losses of one shard count as repeated, and maximum wait after them."""
_SOON = 1 / 4
"""Part of the interval after which a heartbeat follows another while something is under way."""
_NEXT = 1 / 16
"""The same if it has news, or if another member has: a move takes several heartbeats."""


class Membership:
    """One member of a fleet: it owns some of `count` shards.

    No other process may have the name `member`, also not an earlier one: add a random part.
    `interval` is the time from heartbeat to heartbeat, and at most a third of `ttl`. At most
    `max_moves` shards are given away at a time. By `gateway` other processes check commands before
    they send them to this one. Raises `LocalProtocolError` for invalid arguments.
    """

    def __init__(
        self,
        member: str,
        count: int,
        *,
        ttl: float = 10.0,
        interval: float = 2.0,
        max_moves: int = 4,
        version: str = "",
        gateway: GatewaySettings | None = None,
        now: float,
    ) -> None:
        MEMBER.named("member", member)
        SHARD_COUNT.named("count", count)
        DURATION.named("ttl", ttl)
        number(0, ttl / 3, "seconds, a third of ttl", is_open=True).named("interval", interval)
        POSITIVE.named("max_moves", max_moves)
        TEXT.named("version", version)
        _GATEWAY.named("gateway", gateway)
        self._member = member
        self._count = count
        self._ttl = ttl
        self._interval = interval
        self._max_moves = max_moves
        self._version = version[:64]
        self._gateway = gateway
        self._now = as_now(now)
        # A process that reuses a name has started at another time, so its ids differ.
        self._claim_prefix = f"{member}@{self._now!r}"
        self._claims = 0
        self._members = MembersTable(member, ttl)
        self._targets: tuple[tuple[str, ...], dict[int, str]] = ((), {})
        self._owned: dict[int, LogHead] = {}
        self._statuses: dict[int, ShardStatus] = {}
        self._stages: dict[int, Stage] = {}
        self._claiming: dict[int, ClaimShard] = {}
        self._wants: dict[int, None] = {}
        self._releasing: dict[int, str | None] = {}
        # Released shards, until their next owner has them, is dead, or has not claimed in time.
        self._moving: dict[int, tuple[str, float]] = {}
        self._losses: dict[int, list[float]] = {}
        self._draining_since: float | None = None
        self._has_left = False
        self._spacing = interval
        self._announced = MemberRecord(0)
        self._sources: dict[int, str] = {}  # owners of wanted shards
        self._n = 0
        self._due = now
        self._in_flight: tuple[WriteMember, MemberRecord | None, float] | None = None
        self._sent_at = -math.inf
        self._answered_sent_at = -math.inf
        self._answered_at = -math.inf
        self._requests: list[StoreRequest] = []
        self._events: list[MembershipEvent] = []

    # ----- state -----

    @property
    def owned(self) -> Mapping[int, LogHead]:
        """Owned shards with the own claims."""
        return MappingProxyType(self._owned)

    @property
    def members(self) -> Mapping[str, MemberRecord]:
        """The other live members, with their last records."""
        return self._members.live

    @property
    def stages(self) -> dict[int, Stage]:
        """Stages of all shards, as their owners report them: of several the last one counts."""
        owners = {shard: (head.position, self._member) for shard, head in self._owned.items()}
        stages = dict(self._stages)
        live = self._members.live
        for shard, (position, name) in self._owners(live).items():
            if position > owners.get(shard, (0, ""))[0]:
                stages.pop(shard, None)
                if (stage := live[name].stages.get(shard)) is not None:
                    stages[shard] = stage
        return stages

    @property
    def lease_until(self) -> float:
        """End of the own lease: `ttl` after the last answered heartbeat was sent."""
        return self._answered_sent_at + self._ttl

    @property
    def has_left(self) -> bool:
        """Whether a drain is complete: all shards are given away, and the table says so."""
        return self._has_left

    def may_dial(self, *, since: float) -> bool:
        """Whether a shard whose connection was lost at `since` may dial again.

        It may once a heartbeat sent after the loss was answered. Otherwise a process that was
        stopped could take a session back from the next owner. Call `hurry` to wait less.
        """
        return self._answered_sent_at > since

    # ----- the loop -----

    def next_timer(self) -> float | None:
        """Return the time to call `handle_timer`, in seconds; None if nothing is due."""
        return None if self._in_flight is not None or self._has_left else self._due

    def handle_timer(self, *, now: float) -> None:
        """Request a heartbeat if it is due."""
        self._advance(now)
        due = self.next_timer()
        if due is not None and due <= self._now:
            self._n += 1
            record = MemberRecord(
                self._n,
                {shard: head.position for shard, head in self._owned.items()},
                self._announced_wants,
                self._draining_since is not None,
                self._version,
                dict(self._statuses),
                dict(self._stages),
                self._gateway,
                self._members.dead,
            )
            self._sent_at, self._spacing = self._now, self._interval
            self._write(WriteMember(self._member, record.to_bytes()), record)

    def store_requests(self) -> list[StoreRequest]:
        """Return new requests to the store."""
        requests, self._requests = self._requests, []
        return requests

    def events(self) -> list[MembershipEvent]:
        """Return new events."""
        events, self._events = self._events, []
        return events

    def hurry(self, *, now: float) -> None:
        """Send the next heartbeat soon, so that `may_dial` soon holds."""
        self._hurry(_SOON, now)

    def notified(self, *, now: float) -> None:
        """Read the table as soon as possible: another member has news, see `NotifyMember`."""
        self._hurry(_NEXT, now)

    def report(self, shard: int, status: ShardStatus) -> None:
        """Set the status of an owned shard, which the next heartbeat publishes."""
        COUNT.named("shard", shard)
        _STATUS.named("status", status)
        status.check()
        if shard in self._owned:
            self._statuses[shard] = status
            self._members.note_session(shard, status.session_age, self._now)

    def session_start(self, shard: int) -> float | None:
        """Return when a shard's session began, by the own clock; None if it is not known.

        Its owners report its age, so the next one knows it without the clocks of others.
        """
        return self._members.session_start(shard)

    def reached(self, shard: int, stage: Stage | None, *, now: float) -> None:
        """Set the stage of an owned shard, which the next heartbeat publishes soon."""
        _STAGE.named("stage", stage)
        self._advance(now)
        if shard not in self._owned or self._stages.get(shard) == stage:
            return
        if stage is None:
            del self._stages[shard]
        else:
            self._stages[shard] = stage
        self.hurry(now=now)

    # ----- answers of the store -----

    def heartbeat_done(self, table: Mapping[str, bytes] | None, *, now: float) -> None:
        """Report the table that answers a `WriteMember`; None if the request failed.

        An answer after more than `ttl / 2` counts as failed. Raises `LocalProtocolError` if none is
        in flight.
        """
        if self._in_flight is None:
            raise LocalProtocolError("no heartbeat is in flight: answer each WriteMember once")
        (_, record, sent_at), self._in_flight = self._in_flight, None
        now = self._advance(now)
        if record is None:  # a dead member was removed
            return
        self._due = max(now, sent_at + self._interval)
        if table is None or now - sent_at > self._ttl / 2:
            return
        if now - self._answered_at > self._ttl / 2:
            self._members.restart(now)
        self._answered_at, self._answered_sent_at = now, sent_at
        joined, died = self._members.observe(table, sent_at=sent_at, now=now)
        self._events += [MemberJoined(name) for name in joined]
        self._events += [MemberLeft(name) for name in died]
        self._decide(record)
        self._due = min(self._due, max(now, sent_at + self._spacing))
        if not self._has_left and (dead := self._members.forgettable(now)) is not None:
            self._write(WriteMember(dead, b""), None)

    def claim_done(self, request: ClaimShard, head: LogHead | None, *, now: float) -> None:
        """Report the head that a claim made; None if it was refused or failed.

        Raises `LocalProtocolError` for a request without an answer pending, and for another head.
        """
        self._advance(now)
        if self._claiming.get(request.shard) != request:
            raise LocalProtocolError(f"no {shown(request)} is pending: answer each once")
        if head is not None:
            HEAD.named("head", head)
            check_head(head)
            if (head.id, head.by) != (request.id, self._member) or not head.position:
                raise rejected("head", head, f"the claim {request.id!r}")
        del self._claiming[request.shard]
        if head is None or self._draining_since is not None:
            return
        self._owned[request.shard] = head
        # A shard that is lost must be announced again before its next claim.
        self._wants.pop(request.shard, None)
        self._events.append(ShardAcquired(request.shard, head))
        self._hurry(_NEXT, now)

    # ----- reports of the owner -----

    def released(self, shard: int, claim: str, *, now: float) -> None:
        """Report that a shard is given away: its connection is closed, its events are logged."""
        self._advance(now)
        if not self._owns(shard, claim):
            return
        if shard not in self._releasing:
            self._losses.setdefault(shard, []).append(self._now)
        elif (to := self._releasing[shard]) is not None:
            self._moving[shard] = to, self._now + self._ttl
        self._forget(shard)
        self._hurry(_NEXT, now)

    def fenced(self, shard: int, claim: str, *, now: float) -> None:
        """Report that another member claimed a shard, seen at a refused append.

        `claim` is the id of the own claim: a newer claim of this member is not affected.
        """
        self._advance(now)
        if self._owns(shard, claim):
            self._lose(shard, "another member appended to the log")

    def drain(self, *, now: float) -> None:
        """Give all shards away, and take none. Then `has_left` is true."""
        self._advance(now)
        if self._draining_since is None:
            self._draining_since = self._now
            self._wants = {}
            self._hurry(_NEXT, now)

    # ----- decisions -----

    def _decide(self, written: MemberRecord) -> None:
        """Decide with the table that answered the record `written`."""
        live = self._members.live
        targets = self._assigned(live)
        owners = self._owners(live)
        for shard, head in list(self._owned.items()):
            position, name = owners.get(shard, (0, ""))
            if position > head.position:
                self._lose(shard, f"{name} claimed it")
        self._losses = {
            shard: recent
            for shard, times in self._losses.items()
            if (recent := [at for at in times if self._now - at < _LOSS_SECONDS])
        }
        self._wants = {
            shard: None
            for shard in range(self._count)
            if targets.get(shard) == self._member
            and shard not in self._owned
            and not self._is_blocked(shard)
        }
        self._claim(written, live, owners)
        self._release(live, targets, owners)
        # A member that drains acquires nothing: what the table says is still so.
        self._has_left = written.draining and not written.owns and not self._claiming
        self._notify(written, targets, owners)
        soon = self._sent_at + self._interval * _SOON
        self._due = min(self._due, max(soon, self._members.next_death()))
        if (
            written.wants != self._announced_wants
            or written.owns.keys() != self._owned.keys()
            or written.dead != self._members.dead
        ):
            self._hurry(_NEXT, self._now)
        elif self._is_moving(targets, owners) or self._members.has_unknown:
            # After the answer: a slow engine is not asked more often, and a notice need not wait.
            self._due = min(self._due, self._now + self._interval * _SOON)

    def _notify(
        self,
        written: MemberRecord,
        targets: Mapping[int, str],
        owners: Mapping[int, tuple[int, str]],
    ) -> None:
        """Notify the members that wait for what `written` is the first to announce."""
        self._sources |= {shard: owners[shard][1] for shard in self._wants if shard in owners}
        names = who_waits(self._announced, written, targets, owners, self._sources)
        self._announced = written
        kept = self._wants.keys() | self._owned.keys() - written.owns.keys()
        self._sources = {shard: self._sources[shard] for shard in kept & self._sources.keys()}
        live = self._members.live
        self._requests += [
            NotifyMember(name)
            for name in sorted(names)
            if (record := live.get(name)) is not None and record.gateway is not None
        ]

    @property
    def _announced_wants(self) -> tuple[int, ...]:
        # Also those that another member is to have by now: else both would claim.
        claiming = self._claiming if self._draining_since is None else ()
        return tuple(sorted({*self._wants, *claiming}))

    def _assigned(self, live: Mapping[str, MemberRecord]) -> dict[int, str]:
        names = {name for name, record in live.items() if not record.draining}
        if self._draining_since is None:
            names.add(self._member)
        members = tuple(sorted(names))[:MAX_MEMBERS]
        if self._targets[0] != members:
            self._targets = members, assign_shards(members, self._count)
        return self._targets[1]

    def _owners(self, live: Mapping[str, MemberRecord]) -> dict[int, tuple[int, str]]:
        """Return the claims of the other members: position and name, the highest of each shard."""
        owners: dict[int, tuple[int, str]] = {}
        for name, record in live.items():
            for shard, position in record.owns.items():
                owners[shard] = max(owners.get(shard, (0, "")), (position, name))
        return owners

    def _claim(
        self,
        written: MemberRecord,
        live: Mapping[str, MemberRecord],
        owners: Mapping[int, tuple[int, str]],
    ) -> None:
        # Of several members that want a shard the one with the lowest name claims it.
        others = {
            shard for name, record in live.items() if name < self._member for shard in record.wants
        }
        announced = set(written.wants).difference(self._claiming, owners, others)
        for shard in self._wants:
            if shard in announced:
                self._claims += 1
                claim_id = f"{self._claim_prefix}.{shard:x}.{self._claims:x}"
                request = self._claiming[shard] = ClaimShard(shard, claim_id)
                self._requests.append(request)

    def _release(
        self,
        live: Mapping[str, MemberRecord],
        targets: Mapping[int, str],
        owners: Mapping[int, tuple[int, str]],
    ) -> None:
        self._moving = {
            shard: (to, until)
            for shard, (to, until) in self._moving.items()
            if until > self._now and to in live and shard not in owners
        }
        wanted = {name: set(record.wants) for name, record in live.items()}
        since = self._draining_since
        is_late = since is not None and self._now - since >= self._ttl
        for shard, head in sorted(self._owned.items()):
            if len(self._releasing) + len(self._moving) >= self._max_moves:
                return
            to = targets.get(shard)
            if to == self._member or shard in self._releasing:
                continue
            # Views may differ: a shard is given to a member only if that will claim it.
            if to is None or is_late or shard in wanted[to]:
                self._releasing[shard] = to
                self._events.append(ReleaseRequested(shard, head.id, to))

    def _is_moving(self, targets: Mapping[int, str], owners: Mapping[int, tuple[int, str]]) -> bool:
        """Whether a shard is about to move here, or from here, so that members wait for another.

        They look at the table more often: a notice may be lost, and some engines have none.
        """
        return (
            bool(self._moving)
            or any(shard in owners for shard in self._wants)
            or any(targets.get(shard, self._member) != self._member for shard in self._owned)
        )

    def _is_blocked(self, shard: int) -> bool:
        """Whether a shard that was lost twice in a minute must wait before the next claim."""
        times = self._losses.get(shard, ())
        if len(times) < 2:
            return False
        return self._now < times[-1] + min(_LOSS_SECONDS, self._ttl * 2.0 ** (len(times) - 2))

    def _hurry(self, part: float, now: float) -> None:
        """Send the next heartbeat a part of the interval after the last one, or at once."""
        self._advance(now)
        self._spacing = min(self._spacing, self._interval * part)
        self._due = min(self._due, max(self._now, self._sent_at + self._spacing))

    def _advance(self, now: float) -> float:
        """Take the time of a call; one smaller than the last counts as the last."""
        self._now = max(self._now, as_now(now))
        return self._now

    def _owns(self, shard: int, claim: str) -> bool:
        head = self._owned.get(shard)
        return head is not None and head.id == claim

    def _lose(self, shard: int, reason: str) -> None:
        claim = self._owned[shard].id
        self._losses.setdefault(shard, []).append(self._now)
        self._forget(shard)
        self._events.append(ShardLost(shard, claim, reason))
        self.hurry(now=self._now)

    def _forget(self, shard: int) -> None:
        del self._owned[shard]
        self._releasing.pop(shard, None)
        self._statuses.pop(shard, None)
        self._stages.pop(shard, None)

    def _write(self, request: WriteMember, record: MemberRecord | None) -> None:
        self._in_flight = request, record, self._now
        self._requests.append(request)
