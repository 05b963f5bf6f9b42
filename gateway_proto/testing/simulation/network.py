"""The network between clients and servers: hosts, latency, and faults of dials."""

from __future__ import annotations

from typing import Any

import attrs

from gateway_proto.client.client import Dial
from gateway_proto.testing.simulation.client_endpoint import Dialer
from gateway_proto.testing.simulation.config import SimulationConfig
from gateway_proto.testing.simulation.observer import Observer
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.testing.simulation.server_process import DOMAIN, HttpError, ServerProcess
from gateway_proto.testing.simulation.tcp import TcpLink

__all__ = ["API", "Network"]

API = f"api.{DOMAIN}"
"""The host of the lookup. The hosts of the gateways are its subdomains."""
_DIAL_TIMEOUT = 20.0
"""Seconds."""


@attrs.frozen
class _HttpFault:
    until: float
    status: int
    retry_after: int | None


class Network:
    """The servers by host, the latency to them, and the faults of dials to them."""

    def __init__(
        self,
        scheduler: Scheduler,
        rng: SeededRandom,
        config: SimulationConfig,
        observer: Observer[Any, Any],
    ) -> None:
        self._scheduler = scheduler
        self._random = rng
        self._latency = config.latency
        self.servers: tuple[ServerProcess, ...] = tuple(
            ServerProcess(scheduler, rng.child(f"server {number}"), config, number, observer)
            for number in range(config.servers)
        )
        self.untrusted: ServerProcess = ServerProcess(
            scheduler, rng.child("untrusted"), config, 0, observer, trusted=False
        )
        """The untrusted server, which answers at every untrusted host."""
        self._dials = 0
        self._refused: dict[str, float] = {}
        self._silent: dict[str, float] = {}
        self._http_faults: dict[str, _HttpFault] = {}

    # ----- faults -----

    def refuse(self, host: str, seconds: float) -> None:
        """Refuse dials to a host for some seconds."""
        self._refused[host] = self._scheduler.now + seconds

    def mute(self, host: str, seconds: float) -> None:
        """Leave dials to a host unanswered for some seconds."""
        self._silent[host] = self._scheduler.now + seconds

    def answer_with(
        self, host: str, status: int, retry_after: int | None, *, seconds: float
    ) -> None:
        """Answer HTTP requests at a host with an error for some seconds."""
        self._http_faults[host] = _HttpFault(self._scheduler.now + seconds, status, retry_after)

    def recover(self) -> None:
        """End all faults of hosts and servers."""
        self._refused.clear()
        self._silent.clear()
        self._http_faults.clear()
        for provider in self.servers:
            provider.recover()

    # ----- sessions -----

    def is_sound(self, session_id: str) -> bool:
        """Whether a server knows the session, and no bit was flipped in it."""
        for provider in self.servers:
            if session_id in provider.corrupted_sessions:
                return False
            if session_id in provider.known:
                return True
        return False

    def last_number(self, session_id: str) -> int:
        """Return the number of the last dispatch of a session."""
        return max(provider.numbers.get(session_id, 0) for provider in self.servers)

    # ----- dials -----

    def server_of(self, bot: Dialer, dial: Dial) -> ServerProcess | None:
        """Return the server for a dial, or None if the host does not exist."""
        if dial.host == API:
            # A lookup returns the same server for a client unless that server is down.
            at = bot.number % len(self.servers)
            order = self.servers[at:] + self.servers[:at]
            return next((p for p in order if not p.is_down), order[0])
        for provider in self.servers:
            if dial.host in provider.hosts:
                return provider if dial.tls else self.untrusted
        return None if dial.host.endswith(f".{API}") else self.untrusted

    def dial(self, bot: Dialer, dial: Dial) -> None:
        """Answer a dial after the latency or the timeout."""
        self._dials += 1
        rng = self._random.child(f"wire {self._dials}")
        latency = self._latency * (1.0 + rng.random())
        if self._scheduler.now < self._silent.get(dial.host, 0.0):
            bot.after(_DIAL_TIMEOUT, lambda: bot.dial_failed(dial, "timed out"))
        else:
            bot.after(2 * latency, lambda: self._answer(bot, dial, rng, latency))

    def _answer(self, bot: Dialer, dial: Dial, rng: SeededRandom, latency: float) -> None:
        now = self._scheduler.now
        provider = self.server_of(bot, dial)
        if provider is None:
            bot.dial_failed(dial, "host not found")
        elif provider.is_down or now < self._refused.get(dial.host, 0.0):
            bot.dial_failed(dial, "connection refused")
        else:
            wire = TcpLink(self._scheduler, rng, latency)
            if bot.dial_succeeded(dial, wire):
                self._connect(bot, dial, provider, wire)

    def _connect(self, bot: Dialer, dial: Dial, provider: ServerProcess, wire: TcpLink) -> None:
        own = bot.end
        assert own is not None
        fault = self._http_faults.get(dial.host)
        if fault is not None and self._scheduler.now < fault.until:
            error = HttpError(wire, fault.status, fault.retry_after)
            wire.join(own, error)
        else:
            peer = provider.accept(bot, dial.host, wire)
            own.peer = peer
            wire.join(own, peer)
            peer.process_output()
        own.process_output()
