"""Start and end of gateways on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING

from gateway_proto.driver.iteration import LINGER_SECONDS

if TYPE_CHECKING:
    from gateway_asyncio._gateway import Gateway

__all__ = ["leave", "run_gateways"]


@contextlib.asynccontextmanager
async def run_gateways(gateways: Sequence[Gateway]) -> AsyncIterator[None]:
    """Run gateways; leaving stops them, and raises an exception that no iteration has raised."""
    for gateway in gateways:
        gateway._start()
    linger = True
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        linger = False
        raise
    finally:
        await leave(gateways, linger=linger)
    for gateway in gateways:
        gateway._raise_unseen_error()


async def leave(gateways: Iterable[Gateway], *, linger: bool) -> None:
    """Stop gateways, and end their tasks and transports.

    Without `linger` no peer is waited for. If this is cancelled, the gateways are ended, too.
    """
    gateways = [gateway for gateway in gateways if gateway._is_started]
    try:
        for gateway in gateways:
            gateway._begin_leaving()
        pending = [future for gateway in gateways for future in gateway._pending()]
        if linger and pending:
            await asyncio.wait(pending, timeout=LINGER_SECONDS)
    finally:
        for gateway in gateways:
            gateway._end_leaving()
        pending = [future for gateway in gateways for future in gateway._pending()]
        try:
            if pending:
                await asyncio.wait(pending, timeout=LINGER_SECONDS)
        finally:
            for gateway in gateways:
                gateway._ensure_finished()
