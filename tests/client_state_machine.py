"""Random steps on a client and on the reference client, compared after each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import gateway_proto as gp
from gateway_proto import State
from tests.reference_client import INFINITY, Model

__all__ = ["ClientStateMachine", "state_machine_of"]

UNIX = 1_450_996_513.618
TOKEN = "the-token"
URLS = {"main": "ws://localhost/main", "lookup": "http://localhost/api/gateway"}
RESUME_URL, REDIRECT = "ws://us.localhost/", "ws://localhost/next"
INTERVALS = st.sampled_from([41250, 45000, 7001, 20011])
CODES = [None, 1000, 1001, 1012, *range(4000, 4016)]
SECONDS = st.floats(0.001, 70, allow_subnormal=False)


def _model_event(event: Any) -> tuple[Any, ...] | None:
    """Return an event in the model's format, or None if the model has no such event."""
    match event:
        case gp.Ready():
            return "ready", event.sequence
        case gp.Resumed():
            return "resumed", event.sequence
        case gp.Dispatch():
            return "dispatch", event.sequence, event.name
        case gp.Hello():
            return ("hello",)
        case gp.HeartbeatSent(d):
            return "heartbeat", d
        case gp.HeartbeatLate():
            return ("late",)
        case gp.HeartbeatRequested():
            return ("heartbeat requested",)
        case gp.HeartbeatAcked(latency):
            return "acked", latency is not None
        case gp.ReconnectRequested(url):
            return "reconnect", url
        case gp.SessionInvalidated(resumable):
            return "invalidated", resumable
        case gp.UnknownPayload(op):
            return "unknown", op
        case gp.Closed():
            by, then = event.initiator.value, event.next_action.value
            return "closed", event.code, by, then, event.retry_after or 0.0
        case _:
            assert isinstance(event, gp.Opened), event
            return None


def _model_payload(message: str) -> tuple[int, Any]:
    """Return a sent payload in the model's format."""
    payload = json.loads(message)
    op, d = payload["op"], payload["d"]
    if op == 3:
        return 3, _presence(d)
    if op == 2:
        kept = {key: d[key] for key in ("v", "intents") if key in d}
        presence = {"presence": _presence(d["presence"])} if "presence" in d else {}
        assert d["token"] == TOKEN
        return 2, {**kept, **presence}
    if op == 6:
        return 6, {key: value == TOKEN or value for key, value in d.items()}
    return op, d


def _presence(d: dict[str, Any]) -> str:
    activity = d["activities"][0] if "activities" in d else d["game"]
    name: str = activity["name"]
    return name


class ClientStateMachine(RuleBasedStateMachine):
    """One client and its model."""

    version = 10

    def __init__(self) -> None:
        super().__init__()
        self.connection: Any = None
        self.sequence = 0

    @initialize(draw=st.sampled_from([0.0, 0.25, 0.5, 0.999]))
    def begin(self, draw: float) -> None:
        self.model = Model(self.version, draw, UNIX)
        self.client = gp.Client(
            gp.Config(
                token=TOKEN,
                version=self.version,
                intents=0 if self.version >= 6 else None,
                api_url="http://localhost/api",
                unix_offset=UNIX,
                random=lambda: draw,
            )
        )
        self.now = 0.0

    # ----- no connection -----

    def is_dialling(self) -> bool:
        return self.connection is None and self.client.next_dial() is not None

    def _wait_for_dial(self) -> None:
        dial = self.client.next_dial()
        assert dial is not None
        self.now = self.model.now = max(self.now, dial.at)

    @precondition(is_dialling)
    @rule()
    def open(self) -> None:
        self._wait_for_dial()
        dial = self.client.next_dial()
        assert dial is not None
        if dial.purpose is gp.DialPurpose.LOOKUP:
            lookup = self.client.dial_succeeded(now=self.now)
            body = json.dumps({"url": URLS["main"]}).encode()
            lookup.receive_data(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body), now=self.now
            )
            self.model.looked_up()
        else:
            self.connection = self.client.dial_succeeded(now=self.now, framing=False)
            self.model.opens()

    @precondition(is_dialling)
    @rule(times=st.integers(1, 4))
    def refuse(self, times: int) -> None:
        for _ in range(times):
            self._wait_for_dial()
            self.client.dial_failed("refused", now=self.now)
            self.model.dial_fails()
            self.both_are_the_same()

    # ----- a connection -----

    def is_connected(self) -> bool:
        return self.connection is not None

    def _receive(self, op: int, d: Any = None, s: int | None = None, t: str | None = None) -> None:
        message = json.dumps({"op": op, "d": d, "s": s, "t": t})
        self.connection.receive_message(message, now=self.now)
        self.model.receives(op, _renamed(d), s, t)
        self.model.passes(self.now)

    @rule(steps=st.integers(1, 5))
    def go_on(self, steps: int) -> None:
        """Do what a correct server does next; random steps alone seldom get to READY."""
        for _ in range(steps):
            self.both_are_the_same()
            if self.is_dialling():
                self.open()
            elif self.model.phase == "awaiting_hello":
                self.hello(41250)
            elif self.model.phase == "identifying":
                self.ready(41250, has_url=True)
            elif self.model.phase == "resuming":
                self.resumed(41250)

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence

    @precondition(is_connected)
    @rule(interval=INTERVALS)
    def hello(self, interval: int) -> None:
        self._receive(10, {"heartbeat_interval": interval})

    @precondition(is_connected)
    @rule(interval=INTERVALS, has_url=st.booleans())
    def ready(self, interval: int, has_url: bool) -> None:
        number = self._next()
        d = {"session_id": f"s{number}", "heartbeat_interval": interval}
        url = {"resume_gateway_url": RESUME_URL} if has_url else {}
        self._receive(0, {**d, **url}, number, "READY")

    @precondition(is_connected)
    @rule(interval=INTERVALS)
    def resumed(self, interval: int) -> None:
        self._receive(0, {"heartbeat_interval": interval}, self._next(), "RESUMED")

    @precondition(is_connected)
    @rule(is_counted=st.booleans())
    def dispatch(self, is_counted: bool) -> None:
        self._receive(0, {"n": 1}, self._next() if is_counted else None, "MESSAGE_CREATE")

    @precondition(is_connected)
    @rule(op=st.sampled_from([1, 11, 11, 11, 99]))
    def control(self, op: int) -> None:
        self._receive(op)

    @precondition(is_connected)
    @rule(d=st.sampled_from([None, {"url": REDIRECT}]))
    def reconnect(self, d: Any) -> None:
        self._receive(7, d)

    @precondition(is_connected)
    @rule(d=st.sampled_from([True, False, None, 1]))
    def invalidate(self, d: Any) -> None:
        self._receive(9, d)

    @precondition(is_connected)
    @rule(code=st.sampled_from(CODES))
    def peer_closes(self, code: int | None) -> None:
        self.connection.receive_close(code, "", now=self.now)
        self.model.peer_closes(code)

    @precondition(is_connected)
    @rule()
    def break_(self) -> None:
        self.connection.receive_eof(now=self.now)
        self.model.breaks()

    @precondition(lambda self: self.is_connected() and self.model.phase != "closing")
    @rule(name=st.sampled_from(["chess", "go"]))
    def send_presence(self, name: str) -> None:
        self.connection.send(gp.UpdatePresence([gp.Activity(name)]), now=self.now)
        self.model.wants_presence(name)

    @rule(keep=st.booleans(), number=st.integers(0, 9))
    def stop(self, keep: bool, number: int) -> None:
        if number == 0 and self.model.phase not in ("closing", "stopped"):
            self.client.stop(keep_session=keep, now=self.now)
            self.model.stops(keep=keep)

    # ----- time -----

    @precondition(is_connected)
    @rule()
    def wait_until_due(self) -> None:
        at = self.connection.next_timer()
        if at is not None:
            self._wait(at)

    @precondition(is_connected)
    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self._wait(self.now + seconds)

    @precondition(is_connected)
    @rule(seconds=SECONDS)
    def stall(self, seconds: float) -> None:
        """Block the event loop: data received meanwhile is read before the timers fire."""
        self.now = self.model.now = self.now + seconds
        self._receive(0, {"n": 2}, self._next(), "TYPING_START")

    def _wait(self, at: float) -> None:
        self.now = at
        self.connection.handle_timer(now=at)
        self.model.passes(at)

    # ----- the same -----

    @invariant()
    def both_are_the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        model, connection = self.model, self.connection
        self.client.events()
        reported, model.reported = model.reported, []
        sent_by_model, model.sent = model.sent, []
        if connection is not None:
            events = [_model_event(event) for event in connection.events()]
            assert [event for event in events if event is not None] == reported
            assert [
                _model_payload(message) for message in connection.messages_to_send()
            ] == sent_by_model
            assert (connection.next_timer() or INFINITY) == pytest.approx(model.timer(), abs=1e-6)
            if connection.state is State.CLOSED:
                assert model.phase in ("dialling", "stopped")
                self.connection = None
            else:
                assert connection.state.value == model.phase
        session = self.client.session
        kept = None if session is None else ((session.id, session.resume_url), session.sequence)
        assert kept == (None if model.session is None else (model.session, model.seq))
        if self.connection is None:
            self._same_dial()

    def _same_dial(self) -> None:
        dial, expected = self.client.next_dial(), self.model.dial()
        assert (dial is None) == (expected is None)
        assert self.model.given_up == (self.client.gave_up is not None)
        if dial is None or expected is None:
            return
        purpose, target = expected
        assert (dial.purpose.value, dial.url.partition("?")[0]) == (
            purpose,
            URLS.get(target, target),
        )
        if self.client.last_closed is None or dial.at <= self.now - 1:
            return
        delay = dial.at - self.now
        spaced = self.model.identified_at + 5 - self.now if target == "main" else 0.0
        if purpose == "identify":
            assert delay >= spaced
        most = max(self.model.wait, self.model.most)
        assert self.model.wait - 1e-6 <= delay <= max(most, spaced + 1) + 1e-6
        assert not self.model.hurry or delay == 0 or purpose == "identify"


def _renamed(d: Any) -> Any:
    if isinstance(d, dict) and "session_id" in d:
        return {**d, "url": d.get("resume_gateway_url")}
    return d


def state_machine_of(version: int) -> type[ClientStateMachine]:
    """Return the state machine for one version."""
    return type(f"ClientStateMachine{version}", (ClientStateMachine,), {"version": version})
