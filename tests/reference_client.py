"""Reference client: inputs to the outputs and events that the specification requires.

Written from the documents of the protocol, without names, tables, layers or timers of the package.
It covers one connection at a time and the client around it: slow, simple and short. Times are
seconds, payloads are decoded JSON.
"""

from __future__ import annotations

from typing import Any

INFINITY = float("inf")
# Next action after a close code: "resume", "identify" or "stop". Other codes, and a missing code,
# allow a resume.
OLD = {1000: "identify", 4001: "identify", 4002: "identify", 4003: "identify", 4004: "stop"}
OLD |= {4005: "identify", 4006: "identify", 4007: "identify", 4008: "identify", 4009: "identify"}
OLD |= {4010: "stop"}
NEW = {4001: "identify", 4003: "identify", 4004: "stop", 4005: "identify", 4007: "identify"}
NEW |= dict.fromkeys(range(4010, 4015), "stop")


class Model:
    """A client of one version; `draw` returns random numbers."""

    def __init__(self, version: int, draw: float, unix: float) -> None:
        self.v, self.draw, self.unix = version, draw, unix
        self.has_hello = self.acked = version >= 5
        self.now = 0.0
        self.phase = "dialling"
        self.sent: list[tuple[int, Any]] = []
        self.reported: list[tuple[Any, ...]] = []
        self.session: tuple[str, str | None] | None = None  # id, URL to resume at
        self.seq: int | None = None
        self.presence: str | None = None
        # State of the client.
        self.gateway_known = False
        self.redirect: str | None = None
        self.identified_at = -INFINITY
        self.url_failures = self.resume_failures = 0
        self.losses = self.dial_failures = self.gateway_failures = 0
        self.culprit: tuple[int, Any] | None = None
        self.given_up = False
        self.wait = self.most = 0.0
        self.hurry = False

    # ----- where to go next -----

    def on_resume_url(self) -> bool:
        has_resume_url = self.session is not None and self.session[1] is not None
        return has_resume_url and self.redirect is None and self.url_failures < 3

    def dial(self) -> tuple[str, str] | None:
        """What for, and where."""
        if self.given_up or self.phase == "stopped":
            return None
        purpose = "identify" if self.session is None else "resume"
        if self.redirect is not None:
            return purpose, self.redirect
        if self.on_resume_url():
            assert self.session is not None and self.session[1] is not None
            return purpose, self.session[1]
        return (purpose, "main") if self.gateway_known else ("lookup", "lookup")

    def dial_fails(self) -> None:
        dial = self.dial()
        assert dial is not None
        # A dead host does not end the session, but the next URL is tried.
        if dial[0] == "resume" and self.on_resume_url():
            self.url_failures += 1
        elif dial[1] == "main":
            # "Only retrieve a new URL when unable to establish a connection using the cached one."
            self.gateway_failures += 1
            if self.gateway_failures >= (1 if self.v == 3 else 3):
                self.gateway_known, self.gateway_failures = False, 0
        self.redirect = None
        self.dial_failures += 1
        self.wait, self.most, self.hurry = 0.0, 15.0, False

    def looked_up(self) -> None:
        self.gateway_known = True
        self.wait, self.most, self.hurry = 0.0, 0.0, False

    def opens(self) -> None:
        """Open the WebSocket; versions without HELLO send at once."""
        self.interval = 0.0
        self.heartbeat_at = self.due = self.answer_at = self.close_at = self.capacity_at = INFINITY
        self.awaited_since: float | None = None
        self.missed, self.heard, self.answered, self.held = 0, True, True, False
        self.ready_at: float | None = None
        self.sent_presence: str | None = None
        self.presences: list[float] = []
        self.pending = False
        self.last: tuple[int, Any] | None = None
        self.reconnects = False
        self.gateway_failures = 0
        self.tried = "identify" if self.session is None else "resume"
        self.tried = "resume url" if self.on_resume_url() else self.tried
        self.next_url: str | None = None
        # Whether the gateway sent data; whether Resume is pending, unanswered, or answered by op 9.
        self.reached = not self.has_hello
        self.unanswered = self.ignored = self.refused = False
        if self.has_hello:
            self.phase, self.answer_at = "awaiting_hello", self.now + 20
        else:
            self.introduce()

    def introduce(self) -> None:
        self.answer_at = self.now + 60
        if self.session is None:
            self.phase, self.identified_at = "identifying", self.now
            self.sent_presence = self.presence if self.v >= 6 else None
            d = {"v": 3} if self.v == 3 else {"intents": 0} if self.v >= 6 else {}
            self.send(2, {**d, "presence": self.sent_presence} if self.sent_presence else d)
            if self.sent_presence:
                self.presences.append(self.now)
        else:
            self.phase, self.answered, self.unanswered = "resuming", False, True
            self.answer_at = self.now + 15
            token = {"token": True} if self.v >= 4 else {}
            self.send(6, {"session_id": self.session[0], "seq": self.seq, **token})

    def send(self, op: int, d: Any) -> None:
        self.sent.append((op, d))
        if op != 1:
            self.last = (op, d)

    # ----- heartbeats -----

    def send_heartbeat(self) -> None:
        d: Any = self.seq
        if self.v == 3:
            d = str(int((self.now + self.unix) * 1000))
        self.send(1, d)
        self.reported.append(("heartbeat", d))

    def schedule_heartbeats(self, milliseconds: float, first: float) -> None:
        self.interval = milliseconds / 1000
        self.heartbeat_at = self.due = self.now + self.interval * first
        self.awaited_since, self.missed, self.heard, self.held = None, 0, True, False

    def heartbeat_is_due(self) -> None:
        if not self.answered:  # not while Resume is unanswered
            self.held, self.heartbeat_at = True, INFINITY
            return
        if self.awaited_since is not None:
            self.missed += 1
            if not self.heard or self.missed >= 2:
                self.end(4000, "self", "resume")
                return
        if self.now - self.due > 1 and not self.held:
            self.reported.append(("late",))
        self.held = False
        self.heartbeat_at = self.due = self.now + self.interval
        if self.acked:
            self.awaited_since, self.heard = self.now, False
        self.send_heartbeat()

    # ----- what comes -----

    def receives(
        self, op: int, d: Any = None, seq: int | None = None, name: str | None = None
    ) -> None:
        """Receive a payload."""
        if self.phase in ("closing", "dialling", "stopped"):
            return
        self.heard = self.answered = True
        self.reached = self.reached or op != 0
        if op == 0:
            if self.unanswered:
                self.unanswered, self.answer_at = False, self.now + 60
            self.dispatched(d, seq, name)
        elif op == 10 and self.has_hello:
            self.reported.append(("hello",))
            self.schedule_heartbeats(d["heartbeat_interval"], self.draw)
            if self.phase == "awaiting_hello":
                self.introduce()
        elif op == 1:
            self.reported.append(("heartbeat requested",))
            self.send_heartbeat()
        elif op == 11 and self.acked:
            self.reported.append(("acked", self.awaited_since is not None))
            self.awaited_since, self.missed = None, 0
        elif op == 7:
            self.next_url = d["url"] if self.v <= 4 and isinstance(d, dict) else None
            self.reconnects = True
            self.reported.append(("reconnect", self.next_url))
            self.end(4000, "self", "resume")
        elif op == 9:
            resumable = self.v >= 6 and d is True
            wait = 1 + 4 * self.draw if self.v >= 6 else 0.0
            if self.phase == "identifying":
                wait = max(wait, 5.0)
            if not resumable:
                self.session = self.seq = None
            self.reported.append(("invalidated", resumable))
            self.unanswered, self.refused = False, self.phase == "resuming"
            self.end(4000, "self", "resume", wait)
        else:
            self.reported.append(("unknown", op))
        if self.held and self.phase not in ("dialling", "stopped"):
            self.heartbeat_is_due()

    def dispatched(self, d: Any, seq: int | None, name: str | None) -> None:
        if name == "READY":
            if self.phase == "awaiting_hello":
                return
            if not self.has_hello:
                self.schedule_heartbeats(d["heartbeat_interval"], 1)
            assert seq is not None
            # Id, URL and sequence change together.
            self.session, self.seq = (d["session_id"], d["url"] if self.v >= 6 else None), seq
            self.reported.append(("ready", seq))
            # The gateway has the presence of Identify, not a later one.
            self.pending = False
            self.starts(send=self.presence != self.sent_presence)
            return
        self.seq = self.seq if seq is None else seq
        if name != "RESUMED":
            self.reported.append(("dispatch", seq, name))
            return
        if not self.has_hello:
            self.schedule_heartbeats(d["heartbeat_interval"], 1)
        if self.phase in ("identifying", "resuming", "ready"):
            self.reported.append(("resumed", seq))
            if self.phase != "identifying":
                self.starts(send=True)

    def starts(self, *, send: bool) -> None:
        self.phase, self.answer_at = "ready", INFINITY
        if self.ready_at is None:
            self.ready_at = self.now
        self.url_failures = self.resume_failures = 0
        self.pending = self.pending or (send and self.presence is not None)
        self.flush()

    # ----- a presence -----

    def wants_presence(self, presence: str) -> None:
        self.presence = presence
        if self.phase == "ready":
            self.pending = True
            self.flush()

    def flush(self) -> None:
        many, seconds = {3: (1, 12), 4: (5, 60), 5: (5, 60)}.get(self.v, (5, 20))
        self.capacity_at = INFINITY
        if self.pending:
            recent = [at for at in self.presences if at + seconds > self.now]
            if len(recent) >= many:
                self.capacity_at = recent[-many] + seconds
                return
            self.pending = False
            self.presences.append(self.now)
            self.send(3, self.presence)

    # ----- time, and the end -----

    def timer(self) -> float:
        """Return the time of the next timer."""
        if self.phase in ("dialling", "stopped"):
            return INFINITY
        if self.phase == "closing":
            return self.close_at
        return min(self.heartbeat_at, self.answer_at, self.capacity_at)

    def passes(self, now: float) -> None:
        """Advance the time."""
        self.now = now
        while self.timer() <= now:
            due = self.timer()
            if self.phase == "closing":
                self.end(None, "peer", "stop")
            elif due == self.heartbeat_at:
                self.heartbeat_is_due()
            elif due == self.capacity_at:
                self.flush()
            else:
                self.ignored = self.unanswered
                self.end(4000, "self", "resume")

    def peer_closes(self, code: int | None) -> None:
        then = (OLD if self.v <= 5 else NEW).get(code or 0, "resume")
        if self.v == 5 and code == 4006:
            then = "resume"  # is no longer sent
        if self.v >= 6 and self.phase == "resuming" and code in (1000, 4009):
            then = "identify"
        blames = code in (4001, 4002)
        self.end(code, "peer", then, 5.0 if code == 4008 else 0.0, blames=blames)

    def breaks(self) -> None:
        """End the transport."""
        self.end(None, "transport", "resume")

    def stops(self, *, keep: bool) -> None:
        """Close by the caller."""
        self.asked = (4000 if keep else 1000, "self", "stop")
        if self.phase == "dialling":
            self.phase = "stopped"
            if not keep:
                self.session = self.seq = None
        else:
            self.phase, self.close_at = "closing", self.now + 5

    def end(
        self, code: int | None, by: str, then: str, wait: float = 0.0, *, blames: bool = False
    ) -> None:
        if self.phase == "closing":
            code, by, then = self.asked
            self.reported.append(("closed", code, by, then, 0.0))
            if code == 1000:
                self.session = self.seq = None
            self.phase = "stopped"
            return
        if then == "resume" and self.session is None:
            then = "identify"
        self.reported.append(("closed", code, by, then, wait))
        self.count()
        if then != "resume":
            self.session = self.seq = None
        stable = self.ready_at is not None and self.now - self.ready_at >= 60
        if self.reached:
            # HELLO ends an outage; a rejected Resume does not mean an outage.
            self.dial_failures = 0
            self.losses = (0 if stable else self.losses) + (not self.refused)
        else:
            self.dial_failures += 1
        # Identify and Resume are sent by the client itself, so they are not suspects.
        blames = blames and self.last is not None and self.last[0] not in (2, 6)
        before, self.culprit = self.culprit, self.last if blames else None
        self.phase = "dialling"
        is_suspect = self.culprit is not None and self.culprit == before and not stable
        if then == "stop" or is_suspect:
            self.given_up = True
            return
        self.redirect = self.next_url
        if self.v == 3:
            self.gateway_known = False  # "must not be cached"
        failures = self.losses if self.reached else self.dial_failures
        self.wait, self.most = wait, 60.0 if self.reached else 15.0
        self.hurry = self.reconnects and failures <= 1
        if self.refused:
            self.most, self.hurry = wait, False
        if self.session is not None and not self.on_resume_url() and self.resume_failures >= 3:
            self.session = self.seq = None

    def count(self) -> None:
        if self.ready_at is not None:
            return
        failures = 3 if self.ignored else 1
        if self.tried == "resume url":
            self.url_failures += failures
        elif self.tried == "resume":
            self.resume_failures += failures
