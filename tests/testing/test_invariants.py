"""A mutation for each invariant, which the simulation detects by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import pytest

import gateway_proto.client.connection
import gateway_proto.driver.event_queue
from gateway_proto import Client, ClientConnection, Compression, LocalProtocolError, Session, State
from gateway_proto.driver import BaseGateway
from gateway_proto.server import ServerConnection
from gateway_proto.session import session_after
from gateway_proto.shards import IdentifyQueue
from gateway_proto.testing import InvariantViolation, Simulation, SimulationConfig
from gateway_proto.testing.simulation.invariants import INVARIANTS
from gateway_proto.timing.backoff import Backoff
from gateway_proto.timing.heartbeat import HeartbeatScheduler
from gateway_proto.timing.rate_limit import SlidingWindow
from gateway_proto.urls import Url, UrlPolicy
from gateway_proto.versions import Opcode
from gateway_proto.wire import frames
from gateway_proto.wire.compression import make_decompressor
from gateway_proto.wire.frames import ClientFrames

SETTING = SimulationConfig(
    clients=2,
    fault_interval=60.0,
    dispatch_interval=20.0,
    fault_phase=7200.0,
    recovery_phase=2000.0,
)
ONLY_STALLS = attrs.evolve(
    SETTING,
    excluded_faults=Simulation.fault_kinds.keys() - {"heartbeat_request", "stall"},
)
SEEDS = range(4)
ZLIB = Compression.ZLIB_STREAM
Patch = pytest.MonkeyPatch


def _resumes_at(change: int) -> Callable[[Patch], None]:
    def mutate(patch: Patch) -> None:
        true = ClientConnection.session.fget

        def session(self: ClientConnection) -> Session | None:
            own = true(self)  # type: ignore[misc]
            return own and msgspec.structs.replace(own, sequence=max(1, own.sequence + change))

        patch.setattr(ClientConnection, "session", property(session))

    return mutate


def _hides_losses(patch: Patch) -> None:
    def after(session: Session | None, event: Any) -> Session | None:
        return session_after(session, event) or session

    patch.setattr(gateway_proto.driver.event_queue, "session_after", after)


def _beats_late(patch: Patch) -> None:
    true = HeartbeatScheduler.record_sent

    def sent(self: HeartbeatScheduler, now: float) -> None:
        true(self, now)
        self.due += 0.3 * self.interval

    patch.setattr(HeartbeatScheduler, "record_sent", sent)


def _forgets_to_beat(patch: Patch) -> None:
    patch.setattr(ClientConnection, "_on_heartbeat_timer", lambda self, now: None)


def _answers_op_1_by_schedule(patch: Patch) -> None:
    true = ClientConnection._handle_control

    def handle(self: ClientConnection, payload: Any, now: float) -> None:
        true(self, payload, now)
        if payload.op == Opcode.HEARTBEAT:
            self._heartbeats.due = now + self._heartbeats.interval

    patch.setattr(ClientConnection, "_handle_control", handle)


def _hears_no_acks(patch: Patch) -> None:
    patch.setattr(HeartbeatScheduler, "record_ack", lambda self, now: None)


def _knows_no_zombies(patch: Patch) -> None:
    patch.setattr(HeartbeatScheduler, "is_zombie", lambda self: False)


def _has_no_window(of_sends: bool) -> Callable[[Patch], None]:
    def mutate(patch: Patch) -> None:
        true = SlidingWindow.next_slot_at

        def free_at(self: SlidingWindow, now: float, *, reserve: int = 0) -> float:
            own = true(self, now, reserve=reserve)
            return now if (self._limit > 100) is of_sends else own

        patch.setattr(SlidingWindow, "next_slot_at", free_at)

    return mutate


def _takes_no_turns(patch: Patch) -> None:
    patch.setattr(IdentifyQueue, "join", lambda self, shard_id, grant: grant(0.0))


def _has_no_budget(patch: Patch) -> None:
    patch.setattr(Client, "_identify_budget_error", lambda self, now: None)


def _waits(seconds: float) -> Callable[[Patch], None]:
    def mutate(patch: Patch) -> None:
        patch.setattr(Backoff, "delay", lambda self: seconds)

    return mutate


def _trusts_everybody(patch: Patch) -> None:
    def check(self: UrlPolicy, text: str) -> tuple[Url | None, str]:
        try:
            return Url.parse(text), ""
        except LocalProtocolError as error:
            return None, str(error)

    patch.setattr(UrlPolicy, "check", check)


def _tells_the_token(patch: Patch) -> None:
    patch.setattr(
        Client, "_describe_close", lambda self, closed: f"with {self._config.token} it closed"
    )


def _is_shown_with_the_token(patch: Patch) -> None:
    patch.setattr(
        ClientConnection, "__repr__", lambda self: f"<{self._config.token}>", raising=False
    )


def _stops_without_a_word(patch: Patch) -> None:
    patch.setattr(Client, "_dial_again", lambda self, now, delay, error: None)


def _gives_up_at_once(patch: Patch) -> None:
    patch.setattr(
        Client, "_dial_again", lambda self, now, delay, error: self._give_up("no more of this")
    )


def _reads_on_and_on(patch: Patch) -> None:
    patch.setattr(BaseGateway, "_has_capacity", lambda self: True)


def _keeps_its_timers(patch: Patch) -> None:
    patch.setattr(ClientConnection, "next_timer", lambda self: self._timers.next_timer())


def _closes_twice(patch: Patch) -> None:
    true = ClientConnection._finish

    def finish(self: ClientConnection, closed: Any, now: float) -> None:
        self._events.append(closed)
        true(self, closed, now)

    patch.setattr(ClientConnection, "_finish", finish)


def _trusts_siblings(patch: Patch) -> None:
    true = UrlPolicy.__init__

    def init(self: UrlPolicy, configured: Url, *rest: Any, **options: Any) -> None:
        true(self, configured, *rest, **options)
        self._suffix = "." + ".".join(configured.host.split(".")[-2:])

    patch.setattr(UrlPolicy, "__init__", init)


def _identifies_while_closing(patch: Patch) -> None:
    def grant(self: ClientConnection, *, now: float) -> None:
        if self._awaiting_identify_slot and self._state is not State.CLOSED:
            self._send_identify(now)
            self._wake()

    patch.setattr(ClientConnection, "grant_identify", grant)


def _writes_after_close(patch: Patch) -> None:
    true = ClientFrames.close

    def close(self: ClientFrames, code: int, reason: str) -> None:
        before = len(self._out)
        true(self, code, reason)
        if len(self._out) > before:
            self._out.append(b"\x8a\x80\0\0\0\0")

    patch.setattr(ClientFrames, "close", close)


def _never_goes_back(patch: Patch) -> None:
    true = ClientConnection._process_messages

    def take(self: ClientConnection, messages: list[Any], now: float, *, is_text: bool) -> None:
        before, session = self._sequence, self._session
        true(self, messages, now, is_text=is_text)
        if before is not None and self._sequence is not None and self._session is session:
            self._sequence = max(before, self._sequence)

    patch.setattr(ClientConnection, "_process_messages", take)


def _keeps_an_ack_for_later(patch: Patch) -> None:
    true = HeartbeatScheduler.record_ack

    def acked(self: HeartbeatScheduler, now: float) -> float | None:
        if self._awaited_since is None:
            self._missed = -1
        return true(self, now)

    patch.setattr(HeartbeatScheduler, "record_ack", acked)


def _excuses_no_pause(patch: Patch) -> None:
    true = HeartbeatScheduler.reset_liveness

    def excuse(self: HeartbeatScheduler) -> None:
        if not hasattr(self, "has_traffic"):
            true(self)

    patch.setattr(HeartbeatScheduler, "reset_liveness", excuse)


def _keeps_its_resume_url(patch: Patch) -> None:
    true = ClientConnection._handle_ready
    kept: dict[str, str | None] = {}

    def ready(self: ClientConnection, dispatch: Any, now: float) -> None:
        true(self, dispatch, now)
        if self._session is not None:
            url = kept.setdefault(self._config.token, self._session.resume_url)
            self._session = msgspec.structs.replace(self._session, resume_url=url)

    patch.setattr(ClientConnection, "_handle_ready", ready)


def _serves_without_a_limit(patch: Patch) -> None:
    patch.setattr(ServerConnection, "_check_output", lambda self, now: None)


def _decompresses_twice_the_limit(patch: Patch) -> None:
    def twice(compression: Any, *, limit: int) -> Any:
        return make_decompressor(compression, limit=2 * limit)

    patch.setattr(gateway_proto.client.connection, "make_decompressor", twice)


def _counts_no_bytes_of_events(patch: Patch) -> None:
    patch.setattr(BaseGateway, "_holds_at_most", lambda self, most: self._queued_count <= most)


def _answers_every_ping(patch: Patch) -> None:
    patch.setattr(frames, "_MAX_PONGS", 1 << 60)


def _raises_at_what_it_cannot_read(patch: Patch) -> None:
    def malformed(self: ClientConnection, error: str, now: float) -> None:
        raise ValueError(error)

    patch.setattr(ClientConnection, "_handle_malformed", malformed)


MUTANTS: list[tuple[str, Callable[[Patch], None], SimulationConfig]] = [
    ("HandledOnce", _resumes_at(-1), SETTING),
    ("HandledOnce", _resumes_at(+1), SETTING),
    ("SessionLossReported", _hides_losses, SETTING),
    ("HeartbeatsOnTime", _beats_late, SETTING),
    ("HeartbeatsOnTime", _forgets_to_beat, SETTING),
    ("LatenessReported", _answers_op_1_by_schedule, ONLY_STALLS),
    ("NoFalseZombie", _hears_no_acks, SETTING),
    ("ZombieDetected", _knows_no_zombies, SETTING),
    ("SendLimit", _has_no_window(of_sends=True), SETTING),
    ("PresenceLimit", _has_no_window(of_sends=False), SETTING),
    ("IdentifyLimit", _takes_no_turns, attrs.evolve(SETTING, sharded=True)),
    ("IdentifyBudgetKept", _has_no_budget, attrs.evolve(SETTING, identify_budget=5)),
    ("DialLimit", _waits(0.0), SETTING),
    ("TokenOnlyToTrustedHosts", _trusts_everybody, SETTING),
    ("TokenRedacted", _tells_the_token, SETTING),
    ("TokenRedacted", _is_shown_with_the_token, SETTING),
    ("RecoversAfterOutage", _waits(1e6), SETTING),
    ("GivesReason", _stops_without_a_word, SETTING),
    ("GivesReason", _gives_up_at_once, SETTING),
    ("BoundedBuffers", _reads_on_and_on, SETTING),
    ("TokenOnlyToTrustedHosts", _trusts_siblings, SETTING),
    ("NothingAfterClose", _identifies_while_closing, attrs.evolve(SETTING, sharded=True)),
    ("NothingAfterClose", _writes_after_close, SETTING),
    ("LastSequence", _never_goes_back, SETTING),
    ("ZombieDetected", _keeps_an_ack_for_later, SETTING),
    ("PauseIsNotSilence", _excuses_no_pause, SETTING),
    ("ReadyReplacesSession", _keeps_its_resume_url, SETTING),
    ("BoundedBuffers", _serves_without_a_limit, SETTING),
    ("BoundedBuffers", _decompresses_twice_the_limit, attrs.evolve(SETTING, compression=ZLIB)),
    ("BoundedBuffers", _answers_every_ping, SETTING),
    ("BoundedBuffers", _counts_no_bytes_of_events, SETTING),
    ("SilentAfterClosed", _keeps_its_timers, SETTING),
    ("SilentAfterClosed", _closes_twice, SETTING),
    ("OnlyLocalProtocolError", _raises_at_what_it_cannot_read, SETTING),
]


def _first_broken(setting: SimulationConfig) -> InvariantViolation | None:
    for seed in SEEDS:
        try:
            Simulation(seed, setting).run(86400)
        except InvariantViolation as broken:
            return broken
    return None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mutate", "setting"), MUTANTS, ids=[mutant[1].__qualname__ for mutant in MUTANTS]
)
def test_mutated_state_machine_breaks_its_invariant(
    name: str, mutate: Callable[[Patch], None], setting: SimulationConfig, monkeypatch: Patch
) -> None:
    with monkeypatch.context() as patch:
        mutate(patch)
        broken = _first_broken(setting)

    assert broken is not None
    assert broken.name == name, str(broken)


def test_every_invariant_has_a_mutant() -> None:
    assert {name for name, _, _ in MUTANTS} == {kind.__name__ for kind in INVARIANTS}
