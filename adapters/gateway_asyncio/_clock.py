"""Config → Config that has the chance and the unix time of this machine."""

from __future__ import annotations

import asyncio
import random
import time

import attrs

from gateway_proto import Config, LocalProtocolError

__all__ = ["check_loop", "with_clock"]


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
    measured = time.time() - asyncio.get_running_loop().time()
    offset = measured if config.unix_offset is None else config.unix_offset
    return attrs.evolve(config, random=config.random or random.random, unix_offset=offset)
