"""dials → wires, or reasons why there is none: names, doors that are shut, and latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from gateway_proto.client import Dial
from gateway_proto.testing.agenda import Agenda
from gateway_proto.testing.chance import Chance
from gateway_proto.testing.provider import DOMAIN, HttpError, Provider
from gateway_proto.testing.setting import Setting
from gateway_proto.testing.wire import Wire

if TYPE_CHECKING:
    from gateway_proto.testing.bot import Bot

__all__ = ["API", "Network"]

API = f"api.{DOMAIN}"
"""The host of the lookup; those of the gateways are below it."""
_TIMEOUT = 20.0


@attrs.frozen
class _Unwell:
    until: float
    status: int
    retry_after: int | None


class Network:
    """Who answers at which host, how far away it is, and what is wrong on the way."""

    def __init__(self, agenda: Agenda, chance: Chance, setting: Setting) -> None:
        self._agenda = agenda
        self._chance = chance
        self._latency = setting.latency
        self.providers: tuple[Provider, ...] = tuple(
            Provider(agenda, chance.child(f"server {number}"), setting, number)
            for number in range(setting.servers)
        )
        self.thief: Provider = Provider(agenda, chance.child("thief"), setting, 0, trusted=False)
        """Answers wherever no token may go."""
        self._dials = 0
        self._refused: dict[str, float] = {}
        self._silent: dict[str, float] = {}
        self._unwell: dict[str, _Unwell] = {}

    # ----- trouble -----

    def refuse(self, host: str, seconds: float) -> None:
        """Refuse dials to a host for a while."""
        self._refused[host] = self._agenda.now + seconds

    def fall_silent(self, host: str, seconds: float) -> None:
        """Do not answer dials to a host for a while."""
        self._silent[host] = self._agenda.now + seconds

    def answer_with(
        self, host: str, status: int, retry_after: int | None, *, seconds: float
    ) -> None:
        """Answer HTTP requests at a host with an error for a while."""
        self._unwell[host] = _Unwell(self._agenda.now + seconds, status, retry_after)

    def heal(self) -> None:
        """Let every host answer again."""
        self._refused.clear()
        self._silent.clear()
        self._unwell.clear()
        for provider in self.providers:
            provider.heal()

    # ----- sessions -----

    def is_sound(self, session_id: str) -> bool:
        """Whether a session is as its server made it: no bit was turned over in it."""
        for provider in self.providers:
            if session_id in provider.tainted:
                return False
            if session_id in provider.known:
                return True
        return False

    def last_number(self, session_id: str) -> int:
        """Of the last dispatch of a session."""
        return max(provider.numbers.get(session_id, 0) for provider in self.providers)

    # ----- dials -----

    def provider_of(self, bot: Bot, dial: Dial) -> Provider | None:
        """Who answers a dial; None: there is no such host."""
        if dial.host == API:
            # The lookup sends a bot to the same server, unless that is away.
            at = bot.number % len(self.providers)
            order = self.providers[at:] + self.providers[:at]
            return next((p for p in order if not p.is_down), order[0])
        for provider in self.providers:
            if dial.host in provider.hosts:
                return provider if dial.tls else self.thief
        return None if dial.host.endswith(f".{API}") else self.thief

    def dial(self, bot: Bot, dial: Dial) -> None:
        """Answer a dial, when the time has come."""
        self._dials += 1
        chance = self._chance.child(f"wire {self._dials}")
        latency = self._latency * (1.0 + chance.random())
        if self._agenda.now < self._silent.get(dial.host, 0.0):
            bot.after(_TIMEOUT, lambda: bot.dial_failed(dial, "timed out"))
        else:
            bot.after(2 * latency, lambda: self._answer(bot, dial, chance, latency))

    def _answer(self, bot: Bot, dial: Dial, chance: Chance, latency: float) -> None:
        now = self._agenda.now
        provider = self.provider_of(bot, dial)
        if provider is None:
            bot.dial_failed(dial, "there is no such host")
        elif provider.is_down or now < self._refused.get(dial.host, 0.0):
            bot.dial_failed(dial, "connection refused")
        else:
            wire = Wire(self._agenda, chance, latency)
            if bot.dial_succeeded(dial, wire):
                self._connect(bot, dial, provider, wire)

    def _connect(self, bot: Bot, dial: Dial, provider: Provider, wire: Wire) -> None:
        own = bot.end
        assert own is not None
        unwell = self._unwell.get(dial.host)
        if unwell is not None and self._agenda.now < unwell.until:
            error = HttpError(wire, unwell.status, unwell.retry_after)
            wire.join(own, error)
        else:
            peer = provider.accept(bot, dial.host, wire)
            own.peer = peer
            wire.join(own, peer)
            peer.turn()
        own.turn()
