"""Simulation: deterministic for a seed, all fault kinds, custom clients, shrinking."""

from __future__ import annotations

import pickle
from collections import Counter

import attrs
import pytest

from gateway_proto import (
    Activity,
    Config,
    Dispatch,
    Event,
    Heartbeat,
    HeartbeatAcked,
    LocalProtocolError,
    Ready,
    RequestAnswered,
    RequestFailed,
    RequestGuildMembers,
    UpdatePresence,
)
from gateway_proto.testing import (
    FAULT_KINDS,
    ClientProcess,
    InvariantViolation,
    Simulation,
    SimulationConfig,
    shrink,
)
from gateway_proto.testing.simulation.history import History
from gateway_proto.testing.simulation.invariants import INVARIANTS
from tests.testing.support import digest_elsewhere

FAULTY = SimulationConfig(
    clients=2,
    fault_interval=40.0,
    dispatch_interval=30.0,
    fault_phase=7200.0,
    recovery_phase=2000.0,
)
IDLE = SimulationConfig(clients=1, fault_interval=None, dispatch_interval=None)
RUN = "Simulation.for_seed(5).run(9000)"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_seed_gives_the_same_history_in_every_process() -> None:
    digests = {
        *(digest_elsewhere(RUN, seed) for seed in ("1", "2")),
        Simulation.for_seed(5).run(9000).digest,
    }

    assert len(digests) == 1
    assert digests != {Simulation.for_seed(6).run(9000).digest}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_history_does_not_depend_on_the_number_of_runs() -> None:
    whole, parts = Simulation(1, FAULTY), Simulation(1, FAULTY)

    for _ in range(10):
        parts.run(700)

    assert parts.run(0) == whole.run(7000)
    assert parts.now == 7000


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [3, 5, 10])
def test_invariants_hold_while_all_faults_are_injected(version: int) -> None:
    fault_counts: Counter[str] = Counter()
    for seed in range(3):
        setting = attrs.evolve(FAULTY, version=version, sharded=version != 3 and seed == 1)
        report = Simulation(seed, setting).run(20_000)
        fault_counts += report.fault_counts
        assert report.events > 1000
        assert report.years == 2 * 20_000 / (365 * 86400)

    assert set(fault_counts) == set(FAULT_KINDS), "each fault kind was injected"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_excluded_fault_is_not_injected() -> None:
    setting = attrs.evolve(FAULTY, excluded_faults={"cut", "crash"})

    fault_counts = Simulation(2, setting).run(20_000).fault_counts

    assert not {"cut", "crash"} & set(fault_counts)
    assert len(fault_counts) > 25


def test_unknown_fault_name_is_rejected() -> None:
    with pytest.raises(LocalProtocolError, match="unknown fault kind 'rain'"):
        SimulationConfig(excluded_faults={"cut", "rain"})


def test_idle_day_has_heartbeats_only() -> None:
    names: Counter[str] = Counter()

    def handle(bot: ClientProcess, event: Event) -> None:
        names[type(event).__name__] += 1

    Simulation(1, IDLE, handle=handle).run(86400)

    assert names["HeartbeatAcked"] == names["HeartbeatSent"] == 2094
    assert names["Ready"] == names["Closed"] == 1, "the lookup's connection is one too"


def test_custom_client_can_be_simulated() -> None:
    config = Config(token="t0ken", intents=1, presence=UpdatePresence([Activity("chess")]))
    seen: list[Event] = []
    sent: list[bool] = []
    asked: list[object] = []

    def handle(bot: ClientProcess, event: Event) -> None:
        seen.append(event)
        match event:
            case Ready():
                # If the connection is lost before READY is handled, no command can be sent.
                sent.append(bot.send(UpdatePresence([Activity("go")])))
                asked.append(bot.request(RequestGuildMembers("1", query="a", limit=1)))
                assert not bot.send(Heartbeat(1)), "a rejected command is not sent"
            case _:
                pass

    simulation = Simulation(3, attrs.evolve(FAULTY, clients=1), client_config=config, handle=handle)
    (bot,) = simulation.clients
    assert not bot.send(UpdatePresence()), "the connection is not open yet"
    simulation.run(7200)

    assert bot.config.presence == config.presence
    assert any(sent)
    assert any(asked)
    assert sum(isinstance(event, Ready) for event in seen) > 1
    assert any(isinstance(event, RequestAnswered | RequestFailed) for event in seen)
    assert any(isinstance(event, Dispatch) and event.name == "SIMULATED_TICK" for event in seen)
    assert simulation.fault_counts.total() > 20


def test_exception_of_the_application_ends_the_simulation() -> None:
    def handle(bot: ClientProcess, event: Event) -> None:
        if isinstance(event, HeartbeatAcked):
            raise KeyError("a bug")

    with pytest.raises(InvariantViolation, match="KeyError: 'a bug'") as caught:
        Simulation(1, IDLE, handle=handle).run(3600)

    assert caught.value.name == "OnlyLocalProtocolError"
    assert isinstance(caught.value.__cause__, KeyError)


# ----- broken invariants -----


def _break_when_cut(patch: pytest.MonkeyPatch) -> None:
    """Register an invariant that is broken by dropped connections only."""
    true = History.received

    def received(self: History, bot: ClientProcess, event: Event) -> None:
        true(self, bot, event)
        if "without a close frame" in repr(event) and "Closed" in repr(event):
            raise self.broken("NeverCut", "it was cut", bot)

    patch.setattr(History, "received", received)


def test_broken_invariant_is_reported_with_command_and_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _break_when_cut(monkeypatch)

    with pytest.raises(InvariantViolation) as caught:
        Simulation.for_seed(5, excluded_faults=["garbage"]).run(10 * 86400)

    broken = caught.value
    assert broken.name == "NeverCut"
    assert broken.replay == "gateway-proto simulate --seed 5 --without garbage"
    assert "it was cut" in broken.what
    assert "without a close frame" in broken.trace[-1]
    assert len(broken.trace) <= 40
    assert str(broken.at)[:5] in str(broken)
    copy = pickle.loads(pickle.dumps(broken))
    assert (copy.name, copy.trace, str(copy)) == (broken.name, broken.trace, str(broken))


@pytest.mark.slow
def test_shrinking_excludes_unrelated_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    _break_when_cut(monkeypatch)
    with pytest.raises(InvariantViolation) as caught:
        Simulation.for_seed(5).run(10 * 86400)

    small = shrink(caught.value)

    assert small.name == "NeverCut"
    left_out = small.replay.rpartition(" ")[2].split(",")
    assert len(set(FAULT_KINDS) - set(left_out)) == 1
    with pytest.raises(InvariantViolation, match="NeverCut"):
        Simulation.for_seed(5, excluded_faults=left_out).run(10 * 86400)


@pytest.mark.slow
def test_shrinking_keeps_a_failure_of_another_invariant() -> None:
    other = InvariantViolation("Another", "x", at=60.0, seed=5, replay="replay", trace=())

    assert shrink(other) is other


def test_every_invariant_has_a_description() -> None:
    names = [kind.__name__ for kind in INVARIANTS]

    assert len(names) == len(set(names))
    assert all(kind.__doc__ for kind in INVARIANTS)
