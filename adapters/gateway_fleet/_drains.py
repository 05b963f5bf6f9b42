"""Requests to drain, from outside of a member: one value of a fleet, by the member's name.

A member looks at it after each heartbeat, and a notice brings the next one forward. The value of a
request is random, so that a member which has the name of an earlier one does not take that one's
request for its own.
"""

from __future__ import annotations

import contextlib
import secrets

import anyio
import msgspec

from gateway_fleet._runtime import Notifier
from gateway_fleet._store_failures import StoreFailures
from gateway_fleet._stored_values import decode_stored
from gateway_fleet.store import Store, StoreError
from gateway_proto.fleet import mailbox_of
from gateway_proto.fleet.notices import NOTICE_SECONDS, notice

__all__ = ["DRAINS_KEY", "DrainRequests", "ask_to_drain"]

DRAINS_KEY = "drains"
_RETRY_SECONDS = 0.2


async def ask_to_drain(store: Store, member: str) -> None:
    """Ask a member to drain, and forget the requests to those that are not in the table."""
    while True:
        requests, revision = await _read(store)
        # After the requests: who joins and is asked meanwhile is not forgotten.
        members = await store.heartbeat("-", b"")
        kept = {name: request for name, request in requests.items() if name in members}
        value = msgspec.json.encode({**kept, member: secrets.token_hex(8)})
        if (await store.compare_and_set(DRAINS_KEY, value, revision))[0] == value:
            break
    if (post := getattr(store, "post", None)) is not None:
        with contextlib.suppress(StoreError):
            await post(mailbox_of(member), notice(secrets.token_hex(8), 0), NOTICE_SECONDS)


class DrainRequests:
    """Requests to one member, as of its start: those of that time were for an earlier process."""

    def __init__(self, store: Store, member: str, failures: StoreFailures) -> None:
        self._store = store
        self._member = member
        self._failures = failures
        self._earlier: list[str | None] = []

    async def begin(self) -> None:
        """Look for the first time, before the member is in the table, so that nobody asks it yet.

        If the store fails, the first look that is answered counts.
        """
        await self._is_asked()

    async def until_asked(self, heartbeat: Notifier) -> None:
        """Return once the member is asked to drain; look at each heartbeat."""
        while not await self._is_asked():
            await heartbeat.wait()

    async def was_asked(self) -> bool:
        """Whether it was asked until now; wait for the answer of the store."""
        while (is_asked := await self._is_asked()) is None:
            await anyio.sleep(_RETRY_SECONDS)
        return is_asked

    async def _is_asked(self) -> bool | None:
        try:
            request = (await _read(self._store))[0].get(self._member)
        except StoreError as error:
            self._failures.request(None, "drain requests", error)
            return None
        self._failures.request(None, "drain requests", None)
        self._earlier = self._earlier or [request]
        return request not in (None, *self._earlier)


async def _read(store: Store) -> tuple[dict[str, str], int]:
    value, revision = await store.compare_and_set(DRAINS_KEY, None, 0)
    if value is None:
        return {}, revision
    return decode_stored(value, dict[str, str], "the requests to drain"), revision
