"""Simulated processes with a client: stopped, frozen, killed and slow."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest

from gateway_proto import (
    ClockJumped,
    Event,
    HeartbeatSent,
    Ready,
    RequestGuildMembers,
    Resumed,
    State,
)
from gateway_proto.testing import ClientProcess, Simulation, SimulationConfig
from gateway_proto.testing.simulation.network import API

IDLE = SimulationConfig(clients=1, fault_interval=None, dispatch_interval=20.0)
MEMBERS = RequestGuildMembers("1", user_ids=[f"10000000000000000{n:02}" for n in range(100)])


class Watched(Simulation):
    """A simulation that counts the events of its applications."""

    def __init__(self, setting: SimulationConfig = IDLE) -> None:
        self.names: Counter[str] = Counter()
        super().__init__(1, setting, handle=self._handle)
        self.bot = self.clients[0]

    def _handle(self, bot: ClientProcess, event: Event) -> None:
        self.names[type(event).__name__] += 1


def test_stopped_process_resumes_its_session() -> None:
    simulation = Watched()
    simulation.run(100)

    simulation.bot.stop(keep_session=True)
    simulation.bot.stop(keep_session=False)  # it is already stopping
    simulation.run(200)

    assert simulation.bot.run_number == 2
    assert (simulation.names["Ready"], simulation.names["Resumed"]) == (1, 1)


def test_process_that_ends_its_session_gets_a_new_one() -> None:
    simulation = Watched()
    simulation.run(100)

    simulation.bot.stop(keep_session=False)
    simulation.run(200)

    assert (simulation.names["Ready"], simulation.names["Resumed"]) == (2, 0)


def _slow(bot: ClientProcess, event: Event) -> None:
    bot.slowness = 5.0


@pytest.mark.parametrize("refused", [False, True])
def test_dial_before_the_stop_is_discarded(refused: bool) -> None:
    simulation = Simulation(1, attrs.evolve(IDLE, latency=1.0), handle=_slow)
    (bot,) = simulation.clients
    simulation.network.refuse(API, 30.0 if refused else 0.0)
    simulation.run(0.5)

    bot.stop(keep_session=True)
    simulation.run(3)

    assert bot.alive, "it has events to handle"
    assert bot.end is None
    simulation.run(200)
    assert bot.is_ready
    assert bot.run_number == 2


def test_delayed_dial_is_not_made_after_the_stop() -> None:
    simulation = Simulation(1, IDLE, handle=_slow)
    (bot,) = simulation.clients
    simulation.network.refuse(API, 30.0)
    simulation.run(0.2)
    dial = bot.client.next_dial()
    assert dial is not None and dial.at > simulation.now

    bot.stop(keep_session=True)
    simulation.run(4)

    assert bot.alive
    assert bot.end is None


def test_unknown_session_is_not_sound() -> None:
    assert not Watched().network.is_sound("made up")


def test_process_killed_during_an_event_receives_it_again() -> None:
    simulation = Watched()
    simulation.run(100)
    simulation.bot.slowness = 5.0
    while simulation.bot.gateway.handling is None:
        simulation.run(1)

    simulation.bot.crash()
    simulation.bot.start()
    simulation.bot.start()  # it already runs
    simulation.run(100)

    assert simulation.bot.is_ready
    assert simulation.names["Resumed"] == 1


def test_suspend_with_stopped_clock_is_detected() -> None:
    simulation = Watched()
    simulation.run(100)

    simulation.bot.freeze(30.0, clock_stands=True)
    simulation.run(29.9)
    assert simulation.names["ClockJumped"] == 0
    simulation.run(100)

    assert simulation.bot.clock_lag == 30.0
    assert simulation.names[ClockJumped.__name__] == 1
    assert simulation.names[Resumed.__name__] == 1


def test_process_killed_during_suspend_does_not_continue() -> None:
    simulation = Watched()
    simulation.run(100)

    simulation.bot.freeze(30.0, clock_stands=True)
    assert not simulation.bot.send(MEMBERS), "a frozen process sends no command"
    simulation.bot.crash()
    simulation.bot.start()
    simulation.run(100)

    assert simulation.bot.clock_lag == 0.0
    assert simulation.bot.is_ready


def test_heartbeat_blocked_by_the_transport_is_not_late() -> None:
    simulation = Watched()
    simulation.run(100)
    assert simulation.bot.end is not None and simulation.bot.end.peer is not None
    simulation.bot.end.peer.reading = False
    for _ in range(100):
        assert simulation.bot.send(MEMBERS)
    before = simulation.names[HeartbeatSent.__name__]

    simulation.run(30)
    assert simulation.bot.end.outgoing.is_blocked
    simulation.bot.end.peer.read_on()
    simulation.run(300)

    assert simulation.names[HeartbeatSent.__name__] >= before + 8
    assert simulation.bot.is_ready


def test_identify_slot_for_a_frozen_process_is_requested_again() -> None:
    simulation = Watched(attrs.evolve(IDLE, clients=3, sharded=True))
    simulation.run(2)
    for bot in simulation.clients[1:]:
        bot.freeze(60.0, clock_stands=False)

    simulation.run(200)

    assert simulation.names[Ready.__name__] == 3
    assert all(bot.is_ready for bot in simulation.clients)


def test_newly_started_process_need_not_be_ready() -> None:
    simulation = Watched(
        attrs.evolve(IDLE, fault_interval=1e9, fault_phase=10.0, recovery_phase=1000.0)
    )
    simulation.run(1005)
    simulation.bot.crash()
    simulation.network.refuse(API, 100.0)
    simulation.bot.saved = None
    simulation.bot.start()

    simulation.run(10)

    assert not simulation.bot.is_ready


def test_garbage_before_identify_taints_no_session() -> None:
    simulation = Watched(attrs.evolve(IDLE, latency=1.0))
    bot = simulation.bot
    while bot.connection is None or bot.connection.state is not State.IDENTIFYING:
        simulation.run(0.01)

    simulation.chaos.inject(bot, "garbage")
    simulation.run(200)

    assert simulation.fault_counts["garbage"] == 1
    assert not any(server.corrupted_sessions for server in simulation.network.servers)
    assert bot.is_ready


def test_large_dispatches_end_with_their_session() -> None:
    simulation = Watched()
    simulation.run(100)
    assert simulation.bot.end is not None and simulation.bot.end.peer is not None
    peer = simulation.bot.end.peer

    simulation.chaos.inject(simulation.bot, "large_dispatches")
    peer.provider.expire(peer.connection)
    simulation.run(400)

    assert simulation.fault_counts["large_dispatches"] == 1
    assert simulation.names["Ready"] == 2
    assert simulation.bot.is_ready


def test_ready_of_a_closed_connection_breaks_no_invariant() -> None:
    simulation = Watched(attrs.evolve(IDLE, latency=1.0))
    bot = simulation.bot
    while bot.connection is None or bot.connection.state is not State.IDENTIFYING:
        simulation.run(0.01)
    assert bot.end is not None and bot.end.peer is not None
    peer = bot.end.peer.connection
    bot.freeze(10.0, clock_stands=False)
    while peer.state is not State.READY:
        simulation.run(0.01)

    peer.close(4000, "bye", now=simulation.now)
    simulation.run(10)

    assert simulation.names["Ready"] == 1, "with the close in one read"
    simulation.run(200)
    assert bot.is_ready


def test_client_that_may_not_identify_need_not_recover() -> None:
    setting = attrs.evolve(
        IDLE, fault_interval=1e9, fault_phase=300.0, recovery_phase=1000.0, identify_budget=1
    )
    simulation = Watched(setting)
    simulation.run(200)

    simulation.chaos.inject(simulation.bot, "invalidate")
    simulation.run(1500)

    assert simulation.names["IdentifyBudgetSpent"] == 1
    assert not simulation.bot.is_ready


def test_connection_that_dropped_during_a_freeze_ends_with_it() -> None:
    simulation = Watched()
    simulation.run(100)
    end = simulation.bot.end
    assert end is not None

    simulation.bot.freeze(10.0, clock_stands=False)
    end.wire.cut()
    simulation.run(5)
    assert not end.is_closed
    simulation.run(6)

    assert end.is_closed
    assert simulation.bot.end is not end


def test_paused_connection_reads_nothing_after_a_freeze() -> None:
    simulation = Watched()
    simulation.run(100)
    end = simulation.bot.end
    assert end is not None
    end.pause()

    simulation.bot.freeze(5.0, clock_stands=False)
    simulation.run(6)
    assert not end.reading
    end.make_room()

    assert end.reading


def test_closed_connection_reads_nothing_after_a_freeze() -> None:
    simulation = Watched()
    simulation.run(100)
    end = simulation.bot.end
    assert end is not None
    end.close()
    end.reading = False

    end.thaw()

    assert not end.reading
