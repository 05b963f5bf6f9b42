"""Config → Config that has the chance and the unix time of this machine."""

from __future__ import annotations

import asyncio
import random
import time

import attrs

from gateway_proto import Config, LocalProtocolError

__all__ = ["check_loop", "unix_offset", "with_clock"]


def check_loop() -> None:
    """Raise `LocalProtocolError` unless asyncio runs here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise LocalProtocolError(
            "no asyncio event loop is running here: under trio use gateway_trio"
        ) from None


def with_clock(config: Config) -> Config:
    """Return the config with the randomness and the Unix time of this system."""
    check_loop()
    return attrs.evolve(
        config, random=config.random or random.random, unix_offset=unix_offset(config.unix_offset)
    )


def unix_offset(given: float | None) -> float:
    """Return Unix time minus the time of this system's loop, unless it is given."""
    return time.time() - asyncio.get_running_loop().time() if given is None else given
