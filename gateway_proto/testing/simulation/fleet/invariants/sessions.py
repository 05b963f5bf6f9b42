"""Invariants of sessions: no needless Identify, and dials under a fresh lease only."""

from __future__ import annotations

import math
from typing import Any

from gateway_proto.client.client import Dial
from gateway_proto.fleet import Generations, LogRecord
from gateway_proto.testing.simulation.fleet.invariants.base import FleetInvariant
from gateway_proto.testing.simulation.fleet.observer import LogId, MemberView, OwnerView
from gateway_proto.testing.simulation.fleet.shard_owner import ShardOwner

__all__ = ["DialsUnderLease", "NoNeedlessIdentify"]

_NOTICE = 10.0
"""Seconds within which a machine that runs notices the end of a generation.

Meanwhile requests may be lost.
"""


class NoNeedlessIdentify(FleetInvariant):
    """No Identify is sent where the session could have been resumed.

    Neither if the session is in the log, nor if a planned move did not wait for it, nor for a shard
    that was closed for good, nor for a generation that was cancelled, if the machine ran for ten
    seconds since then.
    """

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._identifying: dict[LogId, OwnerView] = {}
        self._abandoned: dict[LogId, str] = {}
        self._cut: dict[LogId, int] = {}
        self._running: set[str] = set()
        self._ended: dict[str, float] = {}

    def identified(self, owner: OwnerView) -> None:
        """Check that no session can be resumed."""
        log, session = owner.log, self._fleet.head(owner.log).session
        resumable = session is not None and self._fleet.can_resume(session)
        self.check(not resumable, f"{owner} identifies, but could resume", log)
        by = self._abandoned.get(log)
        self.check(by is None, f"{owner} identifies, since {by} did not wait for READY", log)
        self.check(log not in self._cut, f"{owner} identifies, but the shard was closed", log)
        assert isinstance(owner, ShardOwner)
        ended = self._ended.get(log.generation, math.inf)
        late = self._fleet.scheduler.now - max(ended, owner.process.thawed_at)
        self.check(late < _NOTICE, f"{owner} identifies, but its generation is over", log)
        self._identifying[log] = owner

    def generations_written(self, generations: Generations) -> None:
        """Note which generations run."""
        running = {one.id for one in (generations.present, generations.next) if one is not None}
        for id_ in self._running - running:
            self._ended[id_] = self._fleet.scheduler.now
        self._running = running

    def rewound(self, log: LogId, position: int) -> None:
        """Forget a cutover that the store has lost."""
        if position < self._cut.get(log, 0):
            del self._cut[log]

    def connection_lost(self, owner: OwnerView) -> None:
        """Forget an Identify that will not be answered."""
        if self._identifying.get(owner.log) is owner:
            del self._identifying[owner.log]

    def released(self, owner: OwnerView) -> None:
        """Note a planned move before READY of a session that the server has opened."""
        if self._identifying.get(owner.log) is owner:
            del self._identifying[owner.log]
            self._abandoned[owner.log] = owner.process.member

    def appended(self, log: LogId, position: int, record: LogRecord) -> None:
        """Forget what is in the log, and note that a shard was closed for good."""
        if record.cutover:
            self._cut.setdefault(log, position)
        if record.session is not None:
            self._abandoned.pop(log, None)
            identifying = self._identifying.get(log)
            if identifying is not None and identifying.process.member == record.by:
                del self._identifying[log]


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
        self.check(fresh, f"{owner} dials without a heartbeat since the loss", owner.log)
