"""The bots of a store: fingerprints of the tokens whose fleets it keeps."""

from __future__ import annotations

import logging
import re
import secrets
from typing import Any

import anyio
import msgspec

from gateway_fleet._generation import read_generation
from gateway_fleet._stored_values import decode_stored
from gateway_fleet.store import FeedStore, Store
from gateway_proto import LocalProtocolError
from gateway_proto.fleet import Generation

__all__ = ["check_bot", "find_bot", "register_bot", "wait_for_fleet"]

_KEY = "bots"
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_WAIT_SECONDS = 0.5
"""Time between two looks for a fleet that has not begun."""
_LOOKS_BEFORE_WARNING = 4
_log = logging.getLogger("gateway_proto.fleet")


class _Bots(msgspec.Struct, frozen=True):
    fingerprints: tuple[str, ...] = ()
    nonce: str = ""
    """Makes each write unlike any other, so that its writer recognizes it."""


def check_bot(bot: Any) -> None:
    """Check the argument `bot` of a feed; raises `LocalProtocolError`."""
    if bot is not None and not (isinstance(bot, str) and _FINGERPRINT.fullmatch(bot)):
        # The value may be a token.
        raise LocalProtocolError("invalid bot: expected token_fingerprint(token), or None")


async def register_bot(store: Store, fingerprint: str) -> None:
    """Add a bot to those of the store, so that feeds find it without its token."""
    bots, revision = await _read(store)
    while fingerprint not in bots.fingerprints:
        wanted = _Bots((*bots.fingerprints, fingerprint), secrets.token_hex(8))
        value = msgspec.json.encode(wanted)
        answer, revision = await store.compare_and_set(_KEY, value, revision)
        bots = _decoded(answer)


async def find_bot(store: Store, bot: str | None) -> str | None:
    """Return the fingerprint of the bot, by default the only one, or None before the first.

    Raises `LocalProtocolError` if `bot` is not given and there are several.
    """
    if bot is not None:
        return bot
    bots, _ = await _read(store)
    if len(bots.fingerprints) > 1:
        known = ", ".join(bots.fingerprints)
        raise LocalProtocolError(f"the store has several bots: expected bot=, one of {known}")
    return bots.fingerprints[0] if bots.fingerprints else None


async def wait_for_fleet(store: FeedStore, bot: str | None) -> tuple[FeedStore, Generation]:
    """Wait for a fleet, and return the store of its bot and its generation."""
    looks = 0
    while True:
        found = await find_bot(store, bot)
        if found is not None:
            bot_store = store.scoped(found)
            generation, _ = await read_generation(bot_store)
            if generation is not None:
                return bot_store, generation
        looks += 1
        if looks == _LOOKS_BEFORE_WARNING:
            of_bot = "" if bot is None else f" of the bot {bot}"
            _log.warning("the store has no fleet%s yet: waiting until one begins", of_bot)
        await anyio.sleep(_WAIT_SECONDS)


async def _read(store: Store) -> tuple[_Bots, int]:
    value, revision = await store.compare_and_set(_KEY, None, 0)
    return _decoded(value), revision


def _decoded(value: bytes | None) -> _Bots:
    return _Bots() if value is None else decode_stored(value, _Bots, "the bots")
