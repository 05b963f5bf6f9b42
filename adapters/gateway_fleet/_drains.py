"""Requests to drain, from outside of a member: one value of a fleet, by the member's name.

A member looks at it after each heartbeat, and a notice brings the next one forward. The value of a
request is random, so that a member which has the name of an earlier one does not take that one's
request for its own.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Collection

import msgspec

from gateway_fleet._runtime import Notifier
from gateway_fleet._store_failures import StoreFailures
from gateway_fleet._stored_values import decode_stored
from gateway_fleet.store import Store, StoreError
from gateway_proto.fleet import mailbox_of
from gateway_proto.fleet.notices import NOTICE_SECONDS, notice

__all__ = ["DRAINS_KEY", "ask_to_drain", "until_asked"]

DRAINS_KEY = "drains"


async def ask_to_drain(store: Store, member: str, members: Collection[str]) -> None:
    """Ask a member to drain, and forget the requests to those that are not in `members`."""
    while True:
        requests, revision = await _read(store)
        kept = {name: request for name, request in requests.items() if name in members}
        value = msgspec.json.encode({**kept, member: secrets.token_hex(8)})
        if (await store.compare_and_set(DRAINS_KEY, value, revision))[0] == value:
            break
    if (post := getattr(store, "post", None)) is not None:
        with contextlib.suppress(StoreError):
            await post(mailbox_of(member), notice(secrets.token_hex(8), 0), NOTICE_SECONDS)


async def until_asked(
    store: Store, member: str, heartbeat: Notifier, failures: StoreFailures
) -> None:
    """Return once a member is asked to drain, after the first look; look at each heartbeat."""
    earlier: list[str | None] = []
    while True:
        try:
            request = (await _read(store))[0].get(member)
        except StoreError as error:
            failures.request(None, "drain requests", error)
        else:
            failures.request(None, "drain requests", None)
            if earlier and request not in (None, *earlier):
                return
            earlier = earlier or [request]
        await heartbeat.wait()


async def _read(store: Store) -> tuple[dict[str, str], int]:
    value, revision = await store.compare_and_set(DRAINS_KEY, None, 0)
    if value is None:
        return {}, revision
    return decode_stored(value, dict[str, str], "the requests to drain"), revision
