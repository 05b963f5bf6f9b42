"""Checks of arguments that the functions of this package share."""

from __future__ import annotations

import inspect
from typing import Any

from gateway_proto import LocalProtocolError
from gateway_proto._checks import DURATION, number, optional, shown
from gateway_proto.fleet.member_record import MEMBER

__all__ = ["check_feed_store", "check_member", "check_store", "check_times"]

_MEMBER = optional(MEMBER)


def check_store(store: Any) -> None:
    """Raise `LocalProtocolError` unless a store has the verbs of `Store`."""
    _check(store, "a Store", "compare_and_set")


def check_feed_store(store: Any) -> None:
    """Raise `LocalProtocolError` unless a store has the verbs of `FeedStore`."""
    _check(store, "a FeedStore", "listen", "watch")


def check_times(ttl: Any, interval: Any) -> None:
    """Raise `LocalProtocolError` unless a membership takes these times."""
    DURATION.named("ttl", ttl)
    number(0, ttl / 3, "seconds, a third of ttl", is_open=True).named("interval", interval)


def check_member(member: Any) -> None:
    """Raise `LocalProtocolError` unless `member` is a name of a member, or None."""
    _MEMBER.named("member", member)


def _check(store: Any, expected: str, *verbs: str) -> None:
    if inspect.isclass(store) or not all(callable(getattr(store, verb, None)) for verb in verbs):
        raise LocalProtocolError(
            f"invalid store {shown(store)}: expected {expected}, such as RedisStore(url)"
        )
