"""Settings that need the running event loop's clock."""

from __future__ import annotations

import trio

from gateway_dialing import runtime_config
from gateway_proto import Config, LocalProtocolError

__all__ = ["check_loop", "with_runtime_defaults"]


def check_loop() -> None:
    """Raise `LocalProtocolError` unless trio is running."""
    try:
        trio.current_time()
    except RuntimeError:
        raise LocalProtocolError(
            "trio is not running here: under asyncio use gateway_asyncio"
        ) from None


def with_runtime_defaults(config: Config) -> Config:
    """Return the config with a random source and the Unix time of this system."""
    check_loop()
    return runtime_config(config, now=trio.current_time())
