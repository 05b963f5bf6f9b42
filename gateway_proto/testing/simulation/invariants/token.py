"""Invariants of the token: sent to trusted hosts only, and shown nowhere."""

from __future__ import annotations

from typing import Any

from gateway_proto.commands import Identify, Resume
from gateway_proto.testing.simulation.client_endpoint import ClientEndpoint
from gateway_proto.testing.simulation.client_process import ClientProcess
from gateway_proto.testing.simulation.invariants.base import Invariant

__all__ = ["TokenOnlyToTrustedHosts", "TokenRedacted"]


class TokenOnlyToTrustedHosts(Invariant):
    """The token reaches trusted hosts only, over TLS only."""

    def arrived(self, bot: ClientProcess, host: str, trusted: bool, data: bytes) -> None:
        """Check the bytes that a server received."""
        if not trusted:
            secret = bot.config.token.encode()
            self.check(secret not in data, f"the token was sent to {host}", bot)

    def received_by_server(self, bot: ClientProcess, host: str, trusted: bool, event: Any) -> None:
        """Check a command that a server received."""
        if not trusted:
            has_token = isinstance(event, Identify | Resume) and event.token == bot.config.token
            self.check(not has_token, f"the token was sent to {host} in a command", bot)


class TokenRedacted(Invariant):
    """The token is in no event, repr, trace or log."""

    def traced(self, bot: ClientProcess, text: str) -> None:
        """Check a line of a trace."""
        self.check(bot.config.token not in text, "the token is in an event or a trace", bot)

    def closed(self, bot: ClientProcess, end: ClientEndpoint) -> None:
        """Check all reprs and reasons."""
        shown = f"{bot.config!r} {bot.client!r} {end.connection!r} {bot.client.session!r}"
        shown += f" {bot.client.gave_up} {bot.client.last_closed!r} {bot.client.next_dial()!r}"
        self.check(bot.config.token not in shown, "the token is in a repr", bot)
