"""Settings that need the running event loop's clock."""

from __future__ import annotations

import asyncio

from gateway_dialing import runtime_config
from gateway_proto import Config, LocalProtocolError

__all__ = ["check_loop", "with_runtime_defaults"]


def check_loop() -> None:
    """Raise `LocalProtocolError` unless asyncio is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise LocalProtocolError(
            "no asyncio event loop is running here: under trio use gateway_trio"
        ) from None


def with_runtime_defaults(config: Config) -> Config:
    """Return the config with a random source and the Unix time of this system."""
    check_loop()
    return runtime_config(config, now=asyncio.get_running_loop().time())
