"""The injection of faults: the effect of each kind."""

from __future__ import annotations

from collections import Counter

from gateway_proto.commands import (
    Activity,
    RequestGuildMembers,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.events import (
    HeartbeatAcked,
    HeartbeatRequested,
    ReconnectRequested,
    SessionInvalidated,
)
from gateway_proto.server.faults import Fault
from gateway_proto.state import State
from gateway_proto.testing.simulation.client_process import ClientProcess
from gateway_proto.testing.simulation.config import MESSAGE_LIMIT, SimulationConfig
from gateway_proto.testing.simulation.fault_kinds import FAULT_KINDS
from gateway_proto.testing.simulation.network import API, Network
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.testing.simulation.server_process import ServerEndpoint, ServerProcess
from gateway_proto.testing.simulation.tcp import TcpLink

__all__ = ["ChaosController"]

_NAMES = tuple(FAULT_KINDS)
_PING = b"\x89\x7d" + b"ping " * 25
"""A ping with the longest payload, so that parsing costs little for each byte."""
_PING_COUNT = 2_000
_LARGE_DISPATCHES = 12
"""One in each second."""
_PADDING = 40_000
"""Bytes."""
_STATUSES = ((429, 7), (429, None), (500, None), (502, None), (503, 30), (503, None))
_UNTRUSTED_URLS = (
    "wss://g0.evil.example",
    "wss://evilsim.example",
    "wss://sim.example.evil.example",
    "ws://g0.api.sim.example",
    "wss://api.sim.example@evil.example",
    "wss://evil.sim.example",
    "wss://evilapi.sim.example",
    "wss://sim.example",
    "wss://",
)


class ChaosController:
    """Injection of faults into clients, each kind with equal probability, and their counts."""

    def __init__(
        self, scheduler: Scheduler, rng: SeededRandom, config: SimulationConfig, network: Network
    ) -> None:
        self._scheduler = scheduler
        self._random = rng
        self._config = config
        self._network = network
        self._count = 0
        self.counts: Counter[str] = Counter()
        """The number of faults of each kind."""

    def inject(self, bot: ClientProcess, kind: str | None = None) -> None:
        """Inject a fault into a client, of a random kind by default, if it is possible now."""
        self._count += 1
        rng = self._random.child(f"strike {self._count}")
        random_kind = rng.choice(_NAMES)  # also if not used: all later numbers stay the same
        kind = random_kind if kind is None else kind
        if kind in self._config.excluded_faults or not bot.alive or bot.frozen:
            return
        injected = (
            self._on_connection(bot, kind, rng)
            or self._on_dials(bot, kind, rng)
            or self._at_server(bot, kind, rng)
            or self._at_server_connection(bot, kind, rng)
            or self._in_process(bot, kind, rng)
        )
        if injected:
            self.counts[kind] += 1

    # ----- the network -----

    def _on_connection(self, bot: ClientProcess, kind: str, rng: SeededRandom) -> bool:
        if bot.end is None:
            return False
        wire = bot.end.wire
        match kind:
            case "latency":
                self._slow_down(wire, rng)
            case "chop":
                wire.up.chops = wire.down.chops = True
            case "reorder":
                rng.choice(wire.flows).hold(self._scheduler.now + rng.uniform(0.1, 30.0))
            case "cut":
                wire.cut()
            case "cut_up" | "cut_down":
                flow = wire.up if kind == "cut_up" else wire.down
                flow.cut_in = 1 + rng.randrange(400)
            case "silence" | "silence_up" | "silence_down":
                wire.up.swallows |= kind != "silence_down"
                wire.down.swallows |= kind != "silence_up"
            case "corrupt_up" | "corrupt_down" if bot.end.peer is not None:
                (wire.up if kind == "corrupt_up" else wire.down).corrupts = True
                bot.end.peer.process_output()
            case "slow_reader" if bot.end.peer is not None:
                bot.end.peer.reading = False
                self._scheduler.after(rng.uniform(1.0, 120.0), bot.end.peer.read_on)
            case "ping_flood" if bot.end.peer is not None:
                bot.end.peer.reading = False
                bot.end.peer.outgoing.send(_PING * _PING_COUNT)
                self._scheduler.after(rng.uniform(1.0, 120.0), bot.end.peer.read_on)
            case _:
                return False
        return True

    def _slow_down(self, wire: TcpLink, rng: SeededRandom) -> None:
        more = rng.choice((0.3, 1.0, 4.0, 15.0)) * rng.random()
        for flow in wire.flows:
            flow.latency += more

        def recover() -> None:
            for flow in wire.flows:
                flow.latency = max(0.0, flow.latency - more)

        self._scheduler.after(rng.uniform(10.0, 600.0), recover)

    def _on_dials(self, bot: ClientProcess, kind: str, rng: SeededRandom) -> bool:
        hosts = (API, *self._provider(bot).gateway_hosts)
        seconds = rng.uniform(5.0, 600.0)
        match kind:
            case "refuse":
                for host in hosts:
                    self._network.refuse(host, seconds)
            case "unreachable":
                for host in hosts:
                    self._network.mute(host, seconds)
            case "http_error":
                status, retry_after = rng.choice(_STATUSES)
                self._network.answer_with(rng.choice(hosts), status, retry_after, seconds=seconds)
            case "dead_resume_host":
                self._network.refuse(self._provider(bot).resume_host, 3 * seconds)
            case _:
                return False
        self._break(bot, rng)
        return True

    def _break(self, bot: ClientProcess, rng: SeededRandom) -> None:
        """Drop the connection in half of the cases: only a dial meets faults of dials."""
        if bot.end is not None and rng.happens(0.5):
            bot.end.wire.cut()

    # ----- servers -----

    def _provider(self, bot: ClientProcess) -> ServerProcess:
        peer = None if bot.end is None else bot.end.peer
        providers = self._network.servers
        return providers[bot.number % len(providers)] if peer is None else peer.provider

    def _at_server(self, bot: ClientProcess, kind: str, rng: SeededRandom) -> bool:
        provider = self._provider(bot)
        match kind:
            case "restart":
                provider.restart(rng.uniform(1.0, 300.0))
            case "server_crash":
                provider.crash(rng.uniform(1.0, 300.0))
            case "move":
                provider.move()
            case "untrusted_url":
                provider.return_untrusted_url(rng.choice(_UNTRUSTED_URLS))
                self._scheduler.after(rng.uniform(60.0, 900.0), provider.return_own_urls)
                self._break(bot, rng)
            case _:
                return False
        return True

    def _at_server_connection(self, bot: ClientProcess, kind: str, rng: SeededRandom) -> bool:
        peer = None if bot.end is None else bot.end.peer
        if peer is None or peer.connection.state not in (State.IDENTIFYING, State.READY):
            return False
        connection, now = peer.connection, self._scheduler.now
        match kind:
            case "reconnect":
                connection._send_unchecked(ReconnectRequested(), now=now)
            case "redirect":
                url = self._redirect_url(rng)
                connection._send_unchecked(ReconnectRequested(url), now=now)
            case "invalidate":
                connection._send_unchecked(SessionInvalidated(resumable=False), now=now)
            case "invalidate_resumable":
                connection._send_unchecked(SessionInvalidated(resumable=True), now=now)
            case "no_acks":
                connection.inject(Fault("no_acks"), now=now)
            case "rate_limit":
                connection.close(4008, "Rate limited", now=now)
            case "heartbeat_request":
                connection._send_unchecked(HeartbeatRequested(), now=now)
            case "garbage":
                self._taint(peer)
                connection.inject(Fault("garbage"), now=now)
            case "spare_ack":
                connection._send_unchecked(HeartbeatAcked(), now=now)
                connection.inject(Fault("no_acks"), now=now)
            case "bomb":
                connection.inject(Fault("bomb", size=MESSAGE_LIMIT * 3 // 2), now=now)
            case "sequence_back" if connection.session is not None:
                peer.provider.decrease_sequence(connection.session, 1 + rng.randrange(5))
            case "expire" if connection.session is not None:
                peer.provider.expire(connection)
            case _:
                return False
        return True

    def _redirect_url(self, rng: SeededRandom) -> str | None:
        hosts = [host for provider in self._network.servers for host in provider.gateway_hosts]
        known = [None, *(f"wss://{host}" for host in hosts)]
        return rng.choice(known if rng.happens(0.8) else _UNTRUSTED_URLS)

    def _taint(self, peer: ServerEndpoint) -> None:
        # Garbage may be parsed as a frame with a dispatch that the session did not send.
        if peer.connection.session is not None:
            peer.provider.corrupted_sessions.add(peer.connection.session.id)

    # ----- applications and clocks -----

    def _in_process(self, bot: ClientProcess, kind: str, rng: SeededRandom) -> bool:
        match kind:
            case "slow_consumer":
                self._slow_consumer(bot, rng)
            case "commands":
                return self._commands(bot, rng)
            case "large_dispatches":
                return self._large_dispatches(bot, rng)
            case "pause":
                return self._pause(bot, rng)
            case "stop_at_slot":
                bot.stop_at_slot()
            case "crash":
                bot.crash()
                self._scheduler.after(rng.uniform(10.0, 400.0), bot.start)
            case "stop":
                bot.stop(keep_session=rng.happens(0.7))
            case "suspend":
                bot.freeze(rng.uniform(1.0, 2000.0), clock_stands=True)
            case "stall":
                bot.freeze(rng.uniform(0.5, 150.0), clock_stands=False)
            case "clock_jump":
                bot.unix_skew += rng.uniform(-7200.0, 7200.0)
            case _:
                return False
        return True

    def _slow_consumer(self, bot: ClientProcess, rng: SeededRandom) -> None:
        bot.slowness = rng.uniform(0.5, 5.0)
        provider, number = self._provider(bot), bot.run_number

        def burst() -> None:
            connection = bot.connection
            session = None if connection is None else connection.session
            known = None if session is None else provider.server.sessions.get(session.id)
            for _ in range(20 if known is not None else 0):
                assert known is not None
                provider.dispatch(known)

        def recover() -> None:
            if bot.run_number == number:
                bot.slowness = 0.0

        for second in range(60):
            self._scheduler.after(float(second), burst)
        self._scheduler.after(rng.uniform(100.0, 600.0), recover)

    def _large_dispatches(self, bot: ClientProcess, rng: SeededRandom) -> bool:
        connection = bot.connection
        session = None if connection is None else connection.session
        provider = self._provider(bot)
        if session is None:
            return False
        bot.freeze(rng.uniform(20.0, 60.0), clock_stands=False)
        bot.slowness = 3.0
        number = bot.run_number

        def recover() -> None:
            if bot.run_number == number:
                bot.slowness = 0.0

        self._scheduler.after(120.0, recover)

        def dispatch() -> None:
            known = provider.server.sessions.get(session.id)
            if known is not None:
                # Random digits, because zeros would be compressed to almost nothing.
                digits = "".join(f"{rng.randrange(1 << 32):08x}" for _ in range(_PADDING // 8))
                provider.dispatch(known, padding=digits)

        for second in range(_LARGE_DISPATCHES):
            self._scheduler.after(float(second), dispatch)
        return True

    def _pause(self, bot: ClientProcess, rng: SeededRandom) -> bool:
        end = bot.end
        if end is None or bot.connection is None or end.paused:
            return False
        end.pause()
        seconds = self._config.heartbeat_interval / 1000 * rng.uniform(0.5, 2.0)
        end.wire.down.hold(self._scheduler.now + seconds + rng.uniform(1.0, 20.0))
        bot.after(seconds, end.make_room)
        return True

    def _commands(self, bot: ClientProcess, rng: SeededRandom) -> bool:
        if not bot.is_ready:
            return False
        for number in range(rng.choice((3, 30, 300, 1500))):
            match rng.randrange(4):
                case 0:
                    bot.send(UpdatePresence([Activity(f"game {number}")]))
                case 1:
                    bot.send(UpdateVoiceState(guild_id="1", channel_id=None))
                case 2:
                    bot.send(RequestGuildMembers("1", query="a", limit=2))
                case _:
                    bot.request(RequestGuildMembers("1", query="a", limit=3))
        return True
