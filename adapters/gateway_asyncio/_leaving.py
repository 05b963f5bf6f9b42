"""End of gateways on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gateway_proto.driver.iteration import LINGER_SECONDS

if TYPE_CHECKING:
    from gateway_asyncio._gateway import Gateway

__all__ = ["leave"]


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
