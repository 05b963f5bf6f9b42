"""Settings that the adapters fill in: randomness and Unix time."""

from __future__ import annotations

import random
import time

import attrs

from gateway_proto import Config
from gateway_proto.server import ServerConfig

__all__ = ["runtime_config", "runtime_server_config"]


def runtime_config(config: Config, *, now: float) -> Config:
    """Return the config with a random source and the Unix time; `now` is of the loop's clock."""
    return attrs.evolve(
        config,
        random=config.random or random.random,
        unix_offset=_unix_offset(config.unix_offset, now),
    )


def runtime_server_config(config: ServerConfig, *, tls: bool, now: float) -> ServerConfig:
    """Return the config with a random source, the Unix time, and whether the server uses TLS."""
    return attrs.evolve(
        config,
        random=config.random or random.SystemRandom().random,
        unix_offset=_unix_offset(config.unix_offset, now),
        tls=config.tls or tls,
    )


def _unix_offset(given: float | None, now: float) -> float:
    """Return Unix time minus the time of the loop's clock, unless it is given."""
    return time.time() - now if given is None else given
