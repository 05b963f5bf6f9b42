"""Config → Config that has the chance and the unix time of this machine."""

from __future__ import annotations

import asyncio
import random
import time

import attrs

from gateway_proto import Config

__all__ = ["with_clock"]


def with_clock(config: Config) -> Config:
    """The config with chance, and unix time, of this machine."""
    measured = time.time() - asyncio.get_running_loop().time()
    offset = measured if config.unix_offset is None else config.unix_offset
    return attrs.evolve(config, random=config.random or random.random, unix_offset=offset)
