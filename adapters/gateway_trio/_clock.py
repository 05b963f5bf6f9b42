"""Config → Config that has the chance and the unix time of this machine."""

from __future__ import annotations

import random
import time

import attrs
import trio

from gateway_proto import Config, LocalProtocolError

__all__ = ["check_loop", "unix_offset", "with_clock"]


def check_loop() -> None:
    """Raise `LocalProtocolError` unless trio runs here."""
    try:
        trio.current_time()
    except RuntimeError:
        raise LocalProtocolError(
            "trio is not running here: under asyncio use gateway_asyncio"
        ) from None


def with_clock(config: Config) -> Config:
    """Return the config with the randomness and the Unix time of this system."""
    check_loop()
    return attrs.evolve(
        config, random=config.random or random.random, unix_offset=unix_offset(config.unix_offset)
    )


def unix_offset(given: float | None) -> float:
    """Return Unix time minus the time of this system's loop, unless it is given."""
    return time.time() - trio.current_time() if given is None else given
