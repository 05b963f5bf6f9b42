"""Gateways that run → none: their connections are closed, their tasks and transports ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway_asyncio._gateway import Gateway

__all__ = ["LINGER_SECONDS", "leave", "run_gateways"]

LINGER_SECONDS = 0.5
"""For the peer's answer to a close frame, and for the last bytes to be sent."""


@contextlib.asynccontextmanager
async def run_gateways(gateways: Sequence[Gateway]) -> AsyncIterator[None]:
    """Run gateways meanwhile; leaving stops them, and raises an exception that nobody has seen."""
    for gateway in gateways:
        gateway.start()
    linger = True
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        linger = False
        raise
    finally:
        await leave(gateways, linger=linger)
    for gateway in gateways:
        gateway.raise_unseen_error()


async def leave(gateways: Iterable[Gateway], *, linger: bool) -> None:
    """Stop gateways, and end their tasks and transports.

    Without `linger` it waits for no peer. Cancelling it ends them too: no task of its own could be
    cancelled before its first step.
    """
    gateways = [gateway for gateway in gateways if gateway.is_started]
    try:
        for gateway in gateways:
            gateway.begin_leaving()
        waiting_for = [future for gateway in gateways for future in gateway.waiting_for()]
        if linger and waiting_for:
            await asyncio.wait(waiting_for, timeout=LINGER_SECONDS)
    finally:
        for gateway in gateways:
            gateway.end_leaving()
        waiting_for = [future for gateway in gateways for future in gateway.waiting_for()]
        try:
            if waiting_for:
                await asyncio.wait(waiting_for, timeout=LINGER_SECONDS)
        finally:
            for gateway in gateways:
                gateway.finish()
