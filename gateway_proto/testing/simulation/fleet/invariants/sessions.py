"""Invariants of sessions: no needless Identify, and dials under a fresh lease only."""

from __future__ import annotations

from typing import Any

from gateway_proto.client.client import Dial
from gateway_proto.fleet import LogRecord
from gateway_proto.testing.simulation.fleet.invariants.base import FleetInvariant
from gateway_proto.testing.simulation.fleet.observer import MemberView, OwnerView

__all__ = ["DialsUnderLease", "NoNeedlessIdentify"]


class NoNeedlessIdentify(FleetInvariant):
    """No Identify is sent where the session could have been resumed.

    Neither if the session is in the log, nor if a planned move did not wait for it.
    """

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._identifying: dict[int, OwnerView] = {}
        self._abandoned: dict[int, str] = {}

    def identified(self, owner: OwnerView) -> None:
        """Check that no session can be resumed."""
        shard, session = owner.shard, self._fleet.head(owner.shard).session
        resumable = session is not None and self._fleet.can_resume(session)
        self.check(not resumable, f"{owner} identifies, but could resume", shard)
        by = self._abandoned.get(shard)
        self.check(by is None, f"{owner} identifies, since {by} did not wait for READY", shard)
        self._identifying[shard] = owner

    def connection_lost(self, owner: OwnerView) -> None:
        """Forget an Identify that will not be answered."""
        if self._identifying.get(owner.shard) is owner:
            del self._identifying[owner.shard]

    def released(self, owner: OwnerView) -> None:
        """Note a planned move before READY of a session that the server has opened."""
        if self._identifying.get(owner.shard) is owner:
            del self._identifying[owner.shard]
            self._abandoned[owner.shard] = owner.process.member

    def appended(self, shard: int, position: int, record: LogRecord) -> None:
        """Forget what is in the log."""
        if record.session is not None:
            self._abandoned.pop(shard, None)
            identifying = self._identifying.get(shard)
            if identifying is not None and identifying.process.member == record.by:
                del self._identifying[shard]


class DialsUnderLease(FleetInvariant):
    """After a loss an owner dials only if a heartbeat that was sent later was answered."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._sent: dict[str, int] = {}
        self._answered: dict[str, int] = {}
        self._lost: dict[str, int] = {}

    def heartbeat_sent(self, process: MemberView, number: int) -> None:
        """Note the number of the last heartbeat."""
        self._sent[process.member] = number

    def heartbeat_answered(self, process: MemberView, number: int) -> None:
        """Note the highest number that was answered."""
        self._answered[process.member] = max(number, self._answered.get(process.member, 0))

    def connection_lost(self, owner: OwnerView) -> None:
        """Note which heartbeats were sent before the loss."""
        self._lost[owner.claim] = self._sent[owner.process.member]

    def dials(self, owner: OwnerView, dial: Dial) -> None:
        """Check that a later heartbeat was answered."""
        lost = self._lost.get(owner.claim)
        fresh = lost is None or self._answered.get(owner.process.member, 0) > lost
        self.check(fresh, f"{owner} dials without a heartbeat since the loss", owner.shard)
