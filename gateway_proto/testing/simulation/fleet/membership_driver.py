"""Membership of a simulated process: what connects a `Membership` with the store."""

from __future__ import annotations

from typing import Protocol

from gateway_proto.fleet import (
    ClaimShard,
    LogHead,
    Membership,
    MembershipEvent,
    NotifyMember,
    WriteMember,
    claim_record,
)
from gateway_proto.testing.simulation.fleet.store import StoreClient
from gateway_proto.testing.simulation.process import SimulatedProcess

__all__ = ["MembershipDriver", "MembershipHandler"]

_CLAIM_ATTEMPTS = 3
_TICK = 1e-6
"""Seconds by which two clocks may differ because of rounding."""


class MembershipHandler(Protocol):
    """Actions of a process on its membership."""

    def heartbeat_sent(self, number: int) -> None:
        """Note that a heartbeat is sent; they are numbered from 1."""
        ...

    def heartbeat_answered(self, number: int) -> None:
        """Note that the heartbeat of that number was answered."""
        ...

    def lease_renewed(self) -> None:
        """Do what waited for an answered heartbeat."""
        ...

    def membership_event(self, event: MembershipEvent) -> None:
        """Handle an event."""
        ...

    def has_left(self) -> None:
        """End: the membership has given all shards away."""
        ...

    def notify(self, member: str) -> None:
        """Send a notice to another member, if the store has notices."""
        ...


class MembershipDriver:
    """The membership of one process, which claims shards in the logs of `store`."""

    def __init__(
        self,
        process: SimulatedProcess,
        member: str,
        membership: Membership,
        store: StoreClient,
        handler: MembershipHandler,
    ) -> None:
        self.membership: Membership = membership
        """The state machine."""
        self._process = process
        self._member = member
        self._store = store
        self._handler = handler
        self._heartbeats = 0
        self._timer: float | None = None
        self._is_stopped = False

    def stop(self) -> None:
        """Send nothing more."""
        self._is_stopped = True

    def step(self) -> None:
        """Send the requests of the membership, hand its events over, and set the timer."""
        if self._is_stopped:
            return
        for request in self.membership.store_requests():
            match request:
                case WriteMember():
                    self._write_member(request)
                case ClaimShard():
                    self._claim(request, 1)
                case NotifyMember(member):  # pragma: no branch
                    self._handler.notify(member)
        for event in self.membership.events():
            self._handler.membership_event(event)
        if self.membership.has_left:
            self._handler.has_left()
            return
        at = self.membership.next_timer()
        if at is not None and (self._timer is None or at < self._timer):
            self._timer = at
            self._process.at(at + self._process.clock_lag, self._on_timer)

    def notified(self) -> None:
        """Receive a notice of another member."""
        self.membership.notified(now=self._process.clock())
        self.step()

    def _on_timer(self) -> None:
        at = self.membership.next_timer()
        self._timer = None
        if at is not None and at <= self._process.clock() + _TICK:
            self.membership.handle_timer(now=max(at, self._process.clock()))
        self.step()

    def _write_member(self, request: WriteMember) -> None:
        self._heartbeats += 1
        number = self._heartbeats
        self._handler.heartbeat_sent(number)

        def done(table: dict[str, bytes]) -> None:
            self._handler.heartbeat_answered(number)
            self.membership.heartbeat_done(table, now=self._process.clock())
            self._handler.lease_renewed()
            self.step()

        def failed() -> None:
            self.membership.heartbeat_done(None, now=self._process.clock())
            self.step()

        self._store.heartbeat(request.member, request.value, done, failed)

    def _claim(self, request: ClaimShard, attempt: int) -> None:
        """Read the head, and append the claim after it; up to three times, if it is refused."""
        shard = request.shard

        def done(head: LogHead | None) -> None:
            self.membership.claim_done(request, head, now=self._process.clock())
            self.step()

        def read(head: LogHead) -> None:
            record = claim_record(self._member, request.id, head)

            def answered(position: int | None) -> None:
                if position is not None:
                    done(record.head(position))
                elif attempt < _CLAIM_ATTEMPTS:
                    self._claim(request, attempt + 1)
                else:
                    done(None)

            self._store.append(shard, head, record, answered, unanswered)

        def unanswered() -> None:
            # The claim may be in the log: only the head knows.
            self._store.head(shard, reread, lambda: done(None))

        def reread(head: LogHead) -> None:
            done(head if head.id == request.id else None)

        self._store.head(shard, read, lambda: done(None))
