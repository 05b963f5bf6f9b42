"""bytes, now ↔ commands: one connection of a server to a client.

What it sends stands in `_telling.py`, what it makes of a command here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from gateway_proto._checks import SHARD
from gateway_proto._connection import DROPPED
from gateway_proto._control import Wait, control_refusal
from gateway_proto._layers import etf
from gateway_proto._layers.frames import Refused, Requested, ServerFrames
from gateway_proto._layers.inflate import deflater, has_zstd
from gateway_proto._layers.payloads import Payload, decode
from gateway_proto._layers.spelling import read
from gateway_proto._layers.state import Input, State
from gateway_proto._ready import ready_data
from gateway_proto._server_host import Host
from gateway_proto._telling import ServerSession, Telling
from gateway_proto._timing.deadlines import Timer
from gateway_proto._timing.ratelimit import SlidingWindow
from gateway_proto.commands import (
    Command,
    Heartbeat,
    Identify,
    Raw,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resume,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.dialects import DIALECTS, Compression, Encoding, Then
from gateway_proto.endpoint import Answer, answer
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import (
    By,
    Closed,
    HeartbeatAcked,
    Hello,
    HttpRequested,
    Opened,
    SessionInvalidated,
)
from gateway_proto.rest import as_entry

__all__ = ["ServerConnection"]

_INTENTS_END = 1 << 32
_WITHOUT_VERSION = ("3", "6")
"""Who names no version speaks 3, which says it in Identify; where that is not spoken, 6, which
was the default for years."""


class ServerConnection(Telling):
    """One connection of a server to a client; made by `Server.accept`."""

    def __init__(self, server: Host, *, now: float, framing: bool) -> None:
        config = server.config
        super().__init__(config, now=now, framing=framing)
        self._server = server
        self._target = "/"
        self._host = "localhost"
        self._encoding_by_form = False
        self._version_is_bad = False
        self._wait: Wait | None = None
        self._size = 0  # of the payload being handled, in bytes
        self._window = SlidingWindow(*self._dialect.send_limit)
        self._deadlines.set(Timer.HANDSHAKE, now + config.handshake_timeout)

    # ----- the road upwards -----

    def _http(self, item: Refused | Requested, now: float) -> None:
        assert isinstance(item, Requested)
        assert isinstance(self._frames, ServerFrames)
        host = item.headers.get("host", self._host)
        controlled = None if item.upgrade else self._control(item, now)
        if isinstance(controlled, Wait):
            self._begin_wait(controlled, now)
            return
        if controlled is not None:
            status = controlled.status
            self._frames.respond(status, b"application/json", controlled.body)
        elif not item.upgrade:
            self._rest(item, host, now)
            return
        else:
            self._begin_upgrade(*self._server.next_upgrade())
            refusal = self._mischief.refusal()
            error = self._choose(item.target, host)
            if refusal is None and error is None:
                self._take(self._frames.accept(), now)
                return
            status, text, retry_after = 400, error or "", None
            if refusal is not None:
                status, text, retry_after = refusal.status, refusal.reason, refusal.retry_after
            self._frames.respond(status, b"text/plain", text.encode() + b"\n", retry_after)
        path, _, query = item.target.partition("?")
        requested = HttpRequested(item.method, path, status, query)
        self._events.append(requested)
        if controlled is None:
            self._server.note("HttpRequested", self.number, **as_entry(requested))
        self._end(Closed(code=status, by=By.SELF, then=Then.STOP), now)

    def _rest(self, item: Requested, host: str, now: float) -> None:
        """Answer a request of a REST route; one without an answer waits for the timeout."""
        assert isinstance(self._frames, ServerFrames)
        token = item.headers.get("authorization", "")
        authorized = bool(token) and self._server.allows(token)
        found = self._server.found(self._url(host), now=now)
        answered, requested = self._server.rest.answer(
            self._server,
            item.method,
            item.target,
            item.body,
            item.headers.get("content-type", ""),
            authorized=authorized,
            usual=lambda method, route: answer(method, route, found=found, authorized=authorized),
            now=now,
        )
        self._events.append(requested)
        self._server.note("HttpRequested", self.number, **as_entry(requested))
        if answered is not None:
            self._frames.respond(
                answered.status, b"application/json", answered.body, more=answered.headers
            )
            self._end(Closed(code=answered.status, by=By.SELF, then=Then.STOP), now)

    def _begin_wait(self, wait: Wait, now: float) -> None:
        """Answer later: after an entry of the journal, or when the time is over."""
        self._wait = wait
        self._deadlines.clear(Timer.HANDSHAKE)
        self._deadlines.set(Timer.REQUEST, now + wait.seconds)
        entry = self._server.find_entry(wait)
        if entry is None:
            self._server.wait(self)
        else:
            self.check_wait(entry)

    def check_wait(self, entry: Mapping[str, Any]) -> None:
        """Answer a request that waits, if this entry of the journal is what it waits for."""
        assert self._wait is not None
        if self._wait.is_for(entry):
            self._end_wait(Answer(200, msgspec.json.encode(entry)), self._now)

    def _end_wait(self, answer: Answer, now: float) -> None:
        assert isinstance(self._frames, ServerFrames)
        self._wait = None
        self._frames.respond(answer.status, b"application/json", answer.body)
        path, _, query = self._target.partition("?")
        self._events.append(HttpRequested("GET", path, answer.status, query))
        self._end(Closed(code=answer.status, by=By.SELF, then=Then.STOP), now)
        self._wake()

    def _control(self, item: Requested, now: float) -> Answer | Wait | None:
        """What the control route has to say; None: it is not asked."""
        prefix = self._config.control
        path, _, query = item.target.partition("?")
        if prefix is None or not f"{path}/".startswith(f"{prefix}/"):
            return None
        refusal = control_refusal(item.headers, self._config.control_hosts)
        if refusal is not None:
            return refusal
        self._target = item.target
        rest = path.removeprefix(prefix)
        return self._server.control(item.method, rest, query, item.body, now=now)

    def begin(self, target: str, host: str, *, now: float) -> None:
        """The WebSocket was accepted elsewhere, for this target and host."""
        error = self._choose(target, host)
        if error is not None:
            self.drop(now=now)
            raise LocalProtocolError(error)
        self._begin_upgrade(*self._server.next_upgrade())
        self._opened(now)

    def _choose(self, target: str, host: str) -> str | None:
        """Speak what the query asks for; returns what is wrong with it."""
        query = dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))
        self._target, self._host = target, host
        versions = {str(version): DIALECTS[version] for version in self._config.versions}
        version = query.get("v")
        if version == "":
            return "version '' is not supported: expected one of " + ", ".join(versions)
        if version is None:
            version = next((v for v in _WITHOUT_VERSION if v in versions), min(versions, key=int))
        if version not in versions and not re.fullmatch("[0-9]{1,3}", version):
            return f"version {version[:20]!r} is not spoken here"
        # One that is a number is told by close code 4012.
        self._version_is_bad = version not in versions
        self._dialect = versions.get(version, versions[max(versions, key=int)])
        encoding = query.get("encoding", "json")
        if encoding not in self._encodings():
            return f"encoding {encoding[:20]!r} is not spoken here"
        self._encoding = Encoding(encoding)
        compress = query.get("compress")
        if compress is None:
            return None
        spoken = {c.value: c for c in self._dialect.compressions if c.in_query}
        if compress not in spoken or (compress == "zstd-stream" and not has_zstd()):
            return f"compression {compress[:20]!r} is not spoken here"
        self._compress(spoken[compress])
        return None

    def _encodings(self) -> list[str]:
        return ["json", "etf"] if etf.available() else ["json"]

    def _compress(self, compression: Compression) -> None:
        self._compression = compression
        self._deflater = deflater(compression)

    def _url(self, host: str) -> str:
        return self._config.url or f"ws{'s' if self._config.tls else ''}://{host}"

    def _opened(self, now: float) -> None:
        self._move(Input.OPENED)
        self._encoding_by_form = not self._dialect.in_query
        self._deadlines.clear(Timer.HANDSHAKE)
        self._deadlines.set(Timer.SESSION, now + self._config.identify_timeout)
        self._events.append(Opened(self._target))
        self._server.note("Opened", self.number, path=self._target)
        self._window = SlidingWindow(*self._dialect.send_limit)
        if not self._reach("open", now):
            return
        if self._version_is_bad:
            self._refuse(4012, "Invalid API version", now)
        elif self._dialect.greets:
            self.write(Hello(self._config.heartbeat_interval), now=now)
            self._await_heartbeat(now)

    def _await_heartbeat(self, now: float) -> None:
        seconds = self._config.heartbeat_interval / 1000 * self._config.heartbeat_tolerance
        self._deadlines.set(Timer.LIVENESS, now + seconds)

    _decode = staticmethod(decode)

    def _take_text(self, text: str | bytes, now: float, *, inflated: bool) -> None:
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        self._size = len(data)
        super()._take_text(text, now, inflated=inflated)

    def _received(self, payload: Payload, now: float) -> None:
        if self._encoding_by_form:
            # "JSON or ETF, by the form of the first packet."
            self._encoding_by_form = False
            is_etf = payload.raw.startswith(etf.VERSION)
            self._encoding = Encoding.ETF if is_etf else Encoding.JSON
        if self._window.free_at(now) > now:
            self._refuse(4008, "Rate limited", now)
            return
        self._window.take(now)
        # <https://docs.discord.com/developers/events/gateway#sending-events>: 4096 bytes.
        if self._size > self._dialect.payload_limit:
            self._refuse(4002, "Payload too large", now)
            return
        op = payload.opcode
        if op is None:
            self._refuse(4001, "Unknown opcode", now)
            return
        try:
            command = read(op, payload.raw, self._dialect)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            self._malformed(str(error), now)
            return
        self._events.append(command)
        self._server.note_payload(type(command).__name__, self.number, payload)
        match command:
            case Heartbeat():
                self._heard_heartbeat(now)
            case Identify() if self._state is State.IDENTIFYING:
                self._identify(command, now)
            case Resume() if self._state is State.IDENTIFYING:
                self._resume(command, now)
            case Identify() | Resume():
                self._refuse(4005, "Already authenticated", now)
            case Raw(op) if op not in self._dialect.commands:
                self._refuse(4001, "Unknown opcode", now)
            case _ if not self._move(Input.COMMAND):
                self._refuse(4003, "Not authenticated", now)
            case _:
                self._answer(command, now)

    def _answer(self, command: Command, now: float) -> None:
        """What the world has to say to a command; nothing of guilds that are not in it."""
        world = self._server.world
        match command:
            case RequestGuildMembers():
                self._answer_members(command, now)
            case RequestSoundboardSounds():
                for sounds in world.soundboard_sounds(command):
                    self._dispatch("SOUNDBOARD_SOUNDS", sounds, now)
            case RequestChannelInfo():
                info = world.channel_info(command)
                if info is not None:
                    self._dispatch("CHANNEL_INFO", info, now)
            case UpdateVoiceState(guild_id=str(guild_id)) if world.guild(guild_id) is not None:
                assert self.session is not None
                for name, d in world.voice(command, self.session.id).items():
                    self._server.world = self._server.world.after(name, d)
                    self._dispatch(name, d, now)
            case UpdatePresence():
                assert self.session is not None
                self.session.show(command, now=now)
            case _:
                pass

    def _answer_members(self, request: RequestGuildMembers, now: float) -> None:
        assert self.session is not None
        world, token = self._server.world, self.session.token
        is_limited = self._dialect.members_limit is not None

        def seconds_left(guild_id: str) -> float:
            return self._server.members_wait(token, guild_id, now=now) if is_limited else 0.0

        view = self.session.members_view(str(world.user["id"]))
        answers = view.answers(
            request,
            world.requested_guild,
            seconds_left,
            many_guilds=self._dialect.many_guilds_a_request,
        )
        for name, d in answers:
            self._dispatch(name, d, now)

    def _dispatch(self, name: str, d: Any, now: float) -> None:
        assert self.session is not None
        self.write(self.session.next(name, msgspec.json.encode(d)), now=now)

    def _heard_heartbeat(self, now: float) -> None:
        self._move(Input.HEARTBEAT)
        # A client may wait long for its turn to identify, and beats meanwhile.
        if self._state is State.IDENTIFYING:
            self._deadlines.set(Timer.SESSION, now + self._config.identify_timeout)
        self._await_heartbeat(now)
        if self._reach("heartbeat", now) and self._dialect.acks and not self._mischief.no_acks:
            self.write(HeartbeatAcked(), now=now)

    def _identify(self, identify: Identify, now: float) -> None:
        shard, intents = identify.shard, identify.intents
        if not self._reach("identify", now):
            return
        if not self._server.allows(identify.token):
            self._refuse(4004, "Authentication failed", now)
        elif shard is not None and not SHARD.allows(shard):
            self._refuse(4010, "Invalid shard", now)
        elif not self._server.has_sessions_left(now=now):
            self._refuse(4004, "Authentication failed: too many sessions today", now)
        elif not self._knows(intents):
            self._refuse(4013, "Invalid intent(s)", now)
        elif not self._allows(intents):
            self._refuse(4014, "Disallowed intent(s)", now)
        elif len(self._server.world.guilds_of(shard)) > self._config.guilds_per_shard:
            self._refuse(4011, "Sharding required", now)
        elif not (self._server.has_capacity(now=now) and self._server.may_identify(shard, now=now)):
            self.write(SessionInvalidated(resumable=False), now=now)
        else:
            self._move(Input.IDENTIFY)
            session = self._server.open_session(identify, self._dialect)
            self._begin_session(session, now)
            self._greet(now)
            self._server.note("Ready", self.number, session=session.id)
            self._reach("ready", now)

    def _knows(self, intents: int | None) -> bool:
        return (
            not self._dialect.intents_required if intents is None else 0 <= intents < _INTENTS_END
        )

    def _allows(self, intents: int | None) -> bool:
        allowed = self._config.allowed_intents
        return intents is None or allowed is None or not intents & ~allowed

    def _begin_session(self, session: ServerSession, now: float) -> None:
        self._attach(session)
        session.encoding = self._encoding
        self._server.back(session)
        self._deadlines.clear(Timer.SESSION)
        json = self._encoding is Encoding.JSON
        if session.compress and self._compression is Compression.NONE and json:
            self._compress(Compression.PAYLOAD)
        if not self._dialect.greets:
            self._await_heartbeat(now)

    def _greet(self, now: float) -> None:
        """Send READY and the guilds."""
        assert self.session is not None
        session, world = self.session, self._server.world
        ready = ready_data(
            world,
            session,
            resume_url=self._mischief.resume_url or self._url(self._host),
            heartbeat_interval=self._config.heartbeat_interval,
        )
        self.write(session.next("READY", msgspec.json.encode(ready)), now=now)
        if self._dialect.guilds_in_ready:
            return
        view = session.members_view(str(world.user["id"]))
        for guild in world.guilds_of(session.shard):
            if session.gets("GUILD_CREATE", guild["id"]):
                created = view.guild_create(world.guild_create(guild))
                self._dispatch("GUILD_CREATE", created, now)

    def _resume(self, resume: Resume, now: float) -> None:
        if not self._reach("resume", now):
            return
        session = self._server.find_session(resume, self._dialect, now=now)
        if session is not None and resume.seq > session.sequence:
            self._refuse(4007, "Invalid seq", now)
            return
        missed = None if session is None else session.missed(resume.seq, self._encoding)
        if session is None or missed is None:
            code = self._dialect.failed_resume_close
            if code is None:
                self.write(SessionInvalidated(resumable=False), now=now)
            else:
                self._refuse(code, "Invalid session", now)
            return
        self._move(Input.RESUME)
        if session.connection is not None:
            # The client lost it before we did.
            session.connection.drop(now=now)
        self._begin_session(session, now)
        for dispatch in missed:
            self.write(dispatch, now=now)
        d: dict[str, Any] = {"_trace": []} if self._dialect.trace_in_ready else {}
        if not self._dialect.greets:
            d["heartbeat_interval"] = self._config.heartbeat_interval
        self.write(session.next("RESUMED", msgspec.json.encode(d), replay=False), now=now)
        self._server.note("Resumed", self.number, session=session.id)
        self._reach("resumed", now)

    def _invalidate(self, message: SessionInvalidated, now: float) -> None:
        """Take the session from the connection, which may identify or resume again.

        <https://docs.discord.com/developers/events/gateway-events#invalid-session>: `d` says
        whether the session can be resumed; before version 6 it never can.
        """
        session = self.session
        if session is None or not self._move(Input.INVALID_SESSION):
            return
        resumable = message.resumable and self._dialect.invalid_session_says
        self._detach()
        self._server.detach(session, now=now, forget=not resumable)
        self._deadlines.set(Timer.SESSION, now + self._config.identify_timeout)

    # ----- ends -----

    def _refuse(self, code: int, reason: str, now: float) -> None:
        """Close for what the client did."""
        self._close(Closed(code=code, reason=reason, by=By.SELF, then=Then.STOP), now)

    def _malformed(self, error: str, now: float) -> None:
        self._server.note("MalformedPayload", self.number, error=error)
        self._refuse(4002, "Error while decoding payload", now)

    def _fired(self, timer: Timer, now: float) -> None:
        match timer:
            case Timer.LIVENESS | Timer.SESSION:
                self._refuse(4009, "Session timed out", now)
            case Timer.CLOSE:
                self._end(self._peer_closed(None, ""), now)
            case Timer.REQUEST:
                assert self._wait is not None
                self._end_wait(self._wait.in_vain(), now)
            case Timer.FAULT:
                self._mischief.handle_timer(self, now)
                self.wire.handle_timer(now)
                if self._mischief.held_until is None:
                    self._release(now)
                self._plan_mischief()
            case _:
                self._fail(DROPPED, f"waited too long for {timer.value}", now)

    def _then(self, then: Then) -> Then:
        return Then.STOP

    def _peer_closed(self, code: int | None, reason: str) -> Closed:
        return Closed(code=code, reason=reason, by=By.PEER, then=Then.STOP)

    def _finished(self, closed: Closed, now: float) -> None:
        if self.number is not None:
            self._server.note(
                "Closed", self.number, code=closed.code, reason=closed.reason, by=closed.by.value
            )
        if closed.by is By.PEER:
            # <https://docs.discord.com/developers/events/gateway#disconnections>: a client that
            # closes with 1000 or 1001 invalidates its session.
            forget = closed.code in (1000, 1001)
        else:
            # Codes after which a client has to identify or to stop end it as well: 4007, 4014.
            # After 4009 gateways let clients resume, though the documentation asks for Identify.
            after = self._dialect.closes.get(closed.code or 0)
            forget = after is not None and after.then is not Then.RESUME
        self._server.leave(self, now=now, forget=forget)
