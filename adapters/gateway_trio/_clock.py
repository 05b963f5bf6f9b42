"""Config → Config that has the chance and the unix time of this machine."""

from __future__ import annotations

import random
import time

import attrs
import trio

from gateway_proto import Config, LocalProtocolError

__all__ = ["check_loop", "with_clock"]


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
    measured = time.time() - trio.current_time()
    offset = measured if config.unix_offset is None else config.unix_offset
    return attrs.evolve(config, random=config.random or random.random, unix_offset=offset)
