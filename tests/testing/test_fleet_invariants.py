"""A mutation for each invariant of a fleet, which the simulation detects by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from gateway_proto import ClientConnection
from gateway_proto.fleet import (
    CancelChange,
    FeedCursor,
    FeedEvent,
    GenerationFollower,
    GenerationPhase,
    GenerationRole,
    Generations,
    GenerationStep,
    GroupPlace,
    Ledger,
    LogHead,
    LogRecord,
    Membership,
    ReferenceStore,
    Resharding,
    Stage,
)
from gateway_proto.testing import (
    FleetSimulation,
    FleetSimulationConfig,
    InvariantViolation,
)
from gateway_proto.testing.simulation.fleet import generation_keeper
from gateway_proto.testing.simulation.fleet.consumer import ConsumedShard
from gateway_proto.testing.simulation.fleet.invariants import FLEET_INVARIANTS
from gateway_proto.testing.simulation.fleet.shard_owner import ShardOwner
from gateway_proto.testing.simulation.fleet.store import StoreClient
from tests.testing.support import fence_nobody

Patch = pytest.MonkeyPatch
SEEDS = range(20)


def _only(*kinds: str, **settings: Any) -> FleetSimulationConfig:
    return FleetSimulationConfig(
        **{"machines": 3, "shards": 4, "max_concurrency": 4, "fault_interval": 2.0, **settings},
        excluded_faults=FleetSimulation.fault_kinds.keys() - set(kinds),
    )


def _compares_positions_alone(patch: Patch) -> None:
    true = ReferenceStore.append

    def append(self: ReferenceStore, shard: int, after: LogHead, record: LogRecord) -> int | None:
        head = self.head(shard)
        return true(self, shard, head if head.position == after.position else after, record)

    patch.setattr(ReferenceStore, "append", append)


def _hides_lost_sessions(patch: Patch) -> None:
    true = Ledger.next_append

    def next_append(self: Ledger) -> tuple[LogHead, LogRecord] | None:
        append = true(self)
        if append is None:
            return None
        return append[0], msgspec.structs.replace(append[1], session_lost=False)

    patch.setattr(Ledger, "next_append", next_append)


def _ignores_that_it_is_fenced(patch: Patch) -> None:
    patch.setattr(Membership, "fenced", lambda self, shard, claim, *, now: None)


def _moves_before_ready(patch: Patch) -> None:
    patch.setattr(ShardOwner, "may_release", lambda self: True)


def _identifies_without_reading_the_head(patch: Patch) -> None:
    def check_claim(self: ShardOwner, connection: ClientConnection, granted_at: float) -> None:
        connection.grant_identify(now=granted_at)

    patch.setattr(ShardOwner, "_check_claim", check_claim)


def _dials_without_a_lease(patch: Patch) -> None:
    patch.setattr(Membership, "may_dial", lambda self, *, since: True)


def _has_slots_per_process(patch: Patch) -> None:
    true = StoreClient.compare_and_set

    def compare_and_set(self: StoreClient, key: str, *rest: Any) -> None:
        true(self, f"{key}-of-{id(self)}" if key == "slots" else key, *rest)

    patch.setattr(StoreClient, "compare_and_set", compare_and_set)


def _reads_a_stale_table(patch: Patch) -> None:
    true = Membership.heartbeat_done
    first: dict[int, Mapping[str, bytes]] = {}

    def heartbeat_done(self: Membership, table: Mapping[str, bytes] | None, *, now: float) -> None:
        true(self, None if table is None else first.setdefault(id(self), table), now=now)

    patch.setattr(Membership, "heartbeat_done", heartbeat_done)


def _acknowledges_what_is_not_handled(patch: Patch) -> None:
    true = ConsumedShard.next_event

    def next_event(self: ConsumedShard) -> FeedEvent | None:
        event = true(self)
        self.acknowledge(lambda: None)
        return event

    patch.setattr(ConsumedShard, "next_event", next_event)


def _fences_no_consumer(patch: Patch) -> None:
    def adopt(self: FeedCursor, value: bytes | None, revision: int) -> None:
        self._revision = revision

    patch.setattr(FeedCursor, "_adopt", adopt)


def _does_not_see_replaced_records(patch: Patch) -> None:
    patch.setattr(FeedCursor, "_is_replaced", lambda self, position, record: False)


def _trusts_its_place_after_an_error(patch: Patch) -> None:
    true = FeedCursor.restart

    def restart(self: FeedCursor) -> None:
        true(self)
        if self._delivered.recent:
            self._is_checking, self._position = False, self._delivered.recent[-1][0]

    patch.setattr(FeedCursor, "restart", restart)


def _leaves_without_resuming(patch: Patch) -> None:
    patch.setattr(ShardOwner, "must_resume", lambda self: False)


def _enters_without_waiting_for_others(patch: Patch) -> None:
    true = Resharding.wanted

    def wanted(
        self: Resharding, generations: Generations, *stages: Mapping[int, Stage], now: float
    ) -> Generations | None:
        if generations.phase is GenerationPhase.ENTERING:
            return generations.advanced()
        return true(self, generations, *stages, now=now)

    patch.setattr(Resharding, "wanted", wanted)


def _drops_events_that_others_have_kept(patch: Patch) -> None:
    patch.setattr(GenerationRole, "must_look", lambda self, session: False)
    patch.setattr(generation_keeper, "_CHANGE_SECONDS", 8.0)  # else they know of others soon


def _reports_no_cutover(patch: Patch) -> None:
    true = Membership.reached

    def reached(self: Membership, shard: int, stage: Stage | None, *, now: float) -> None:
        true(self, shard, None if stage is Stage.LEFT else stage, now=now)

    patch.setattr(Membership, "reached", reached)


def _cancels_in_every_phase(patch: Patch) -> None:
    def cancelled(self: Generations) -> Generations:
        return msgspec.structs.replace(self, next=None, phase=GenerationPhase.PREPARING)

    patch.setattr(Generations, "cancelled", cancelled)


def _runs_cancelled_generations(patch: Patch) -> None:
    def follow(self: GenerationFollower, known: Generations) -> list[GenerationStep]:
        return [step for step in true(self, known) if not isinstance(step, CancelChange)]

    true = GenerationFollower.follow
    patch.setattr(GenerationFollower, "follow", follow)


def _reads_on_before_all_cutovers(patch: Patch) -> None:
    def following(
        self: GroupPlace, generations: Generations, stages: Mapping[int, Stage]
    ) -> GroupPlace | None:
        after = generations.after(self.generation)
        return None if after is None else GroupPlace(after, entered=True)

    patch.setattr(GroupPlace, "following", following)


MUTANTS: list[tuple[str, Callable[[Patch], None], FleetSimulationConfig]] = [
    ("LoggedOnce", fence_nobody, _only("machine_stall", "store_cut")),
    (
        "LoggedOnce",
        _compares_positions_alone,
        _only(
            "store_rewind", "store_cut", "machine_stall", dispatch_interval=6.0, fault_interval=1.0
        ),
    ),
    ("GapReported", _hides_lost_sessions, _only("expire", "invalidate")),
    ("OwnedAfterRecovery", _ignores_that_it_is_fenced, _only("store_rewind", "machine_crash")),
    ("NoNeedlessIdentify", _moves_before_ready, _only("machine_drain", "expire", latency=0.3)),
    (
        "NoNeedlessIdentify",
        _identifies_without_reading_the_head,
        _only(
            *("store_rewind", "store_cut", "store_slow", "machine_stall"),
            latency=0.25,
            max_concurrency=1,
            fault_interval=0.5,
        ),
    ),
    ("DialsUnderLease", _dials_without_a_lease, _only("cut")),
    ("IdentifyLimit", _has_slots_per_process, _only("expire", max_concurrency=1)),
    (
        "IdentifyBudgetKept",
        _has_slots_per_process,
        _only("expire", max_concurrency=16, shards=6, identify_budget=10),
    ),
    ("ConsumedInOrder", _acknowledges_what_is_not_handled, _only("consumer_crash")),
    ("ConsumedInOrder", _fences_no_consumer, _only("consumer_stall", "consumer_cut")),
    ("ConsumedInOrder", _does_not_see_replaced_records, _only("store_rewind")),
    ("ConsumedInOrder", _trusts_its_place_after_an_error, _only("store_rewind", "consumer_drain")),
    ("StableAssignment", _reads_a_stale_table, _only("machine_crash", fault_phase=30.0)),
    (
        "NothingMissedAtCutover",
        _leaves_without_resuming,
        _only("reshard", "cut", latency=0.4, fault_interval=0.2, dispatch_interval=0.2),
    ),
    ("NothingMissedAtCutover", _enters_without_waiting_for_others, _only("reshard")),
    (
        "LoggedOnce",
        _drops_events_that_others_have_kept,
        _only(
            *("reshard", "machine_drain"),
            look_interval=8.0,
            fault_interval=0.3,
            dispatch_interval=0.2,
            consumers=0,
        ),
    ),
    ("ChangeEnds", _reports_no_cutover, _only("reshard")),
    (
        "CancelLeavesNothing",
        _cancels_in_every_phase,
        _only("reshard", "reshard_cancel", fault_interval=0.3, consumers=0, max_concurrency=16),
    ),
    (
        "CancelLeavesNothing",
        _runs_cancelled_generations,
        _only("reshard", "reshard_cancel", consumers=0),
    ),
    ("CutoverOnce", _reads_on_before_all_cutovers, _only("reshard")),
]


def _first_broken(config: FleetSimulationConfig) -> InvariantViolation | None:
    for seed in SEEDS:
        try:
            FleetSimulation(seed, config).run()
        except InvariantViolation as broken:
            return broken
    return None


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "mutate", "config"), MUTANTS, ids=[mutant[1].__qualname__ for mutant in MUTANTS]
)
def test_mutated_fleet_breaks_its_invariant(
    name: str, mutate: Callable[[Patch], None], config: FleetSimulationConfig, monkeypatch: Patch
) -> None:
    with monkeypatch.context() as patch:
        mutate(patch)
        broken = _first_broken(config)

    assert broken is not None
    assert broken.name == name, str(broken)


def test_every_invariant_of_a_fleet_has_a_mutant() -> None:
    assert {name for name, _, _ in MUTANTS} == {kind.__name__ for kind in FLEET_INVARIANTS}
