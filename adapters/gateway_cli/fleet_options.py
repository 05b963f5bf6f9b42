"""Options that the commands of a fleet share, the store that they name, and its errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from gateway_cli.running import run
from gateway_cli.show import MISUSED, Screen, fail
from gateway_proto import GaveUpError, LocalProtocolError

if TYPE_CHECKING:
    from gateway_fleet import FeedStore
    from gateway_proto._checks import Check

__all__ = ["BotOption", "StoreOption", "check_option", "opened_store", "run_with_store"]

T = TypeVar("T")

StoreOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="GATEWAY_STORE",
        help="redis://, rediss:// or unix:// of Redis 7 or Valkey; nats:// or tls:// of NATS.",
    ),
]


def _fingerprint(value: str | None) -> str | None:
    if value is not None and not re.fullmatch("[0-9a-f]{16}", value):
        # The value may be a token.
        fail("invalid --bot: expected the 16 digits that fleet run prints", status=MISUSED)
    return value


BotOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--bot",
        metavar="FINGERPRINT",
        help="Which bot, if the store has the fleets of several.",
        callback=_fingerprint,
    ),
]


def opened_store(url: str, **settings: Any) -> FeedStore:
    """Return the store of a URL; end with the reason if it, or the extra, is missing.

    Settings that are None are those of the store.
    """
    settings = {name: value for name, value in settings.items() if value is not None}
    is_nats = url.startswith(("nats://", "tls://"))
    if not is_nats and not url.startswith(("redis://", "rediss://", "unix://")):
        # It may have a password.
        fail(
            "invalid --store: expected redis://, rediss://, unix://, nats:// or tls://",
            status=MISUSED,
        )
    if not is_nats and "replicas" in settings:
        fail("--replicas is for a server of NATS alone", status=MISUSED)
    try:
        _check_settings(settings)
        if is_nats:
            from gateway_fleet import NatsStore

            return NatsStore(url, **settings)
        from gateway_fleet import RedisStore

        return RedisStore(url, **settings)
    except ModuleNotFoundError as error:
        if error.name not in ("anyio", "coredis", "nats"):
            raise
        extra = "nats" if is_nats else "redis"
        fail(f"--store needs {error.name}: install gateway-proto[{extra}]", status=MISUSED)
    except LocalProtocolError as error:
        fail(f"invalid --store: {str(error).removeprefix('invalid url: ')}", status=MISUSED)


def _check_settings(settings: Mapping[str, Any]) -> None:
    """End with the reason if a setting is invalid, under the name of its option."""
    from gateway_fleet._store_settings import REPLICAS, RETENTION

    for name, check in (("retention", RETENTION), ("replicas", REPLICAS)):
        if name in settings:
            check_option(f"--{name}", check, settings[name])


def check_option(option: str, check: Check, value: Any) -> None:
    """End with the reason if the value of an option is invalid."""
    try:
        check.named(option, value)
    except LocalProtocolError as error:
        fail(str(error), status=MISUSED)


def run_with_store(
    screen: Screen, main: Callable[[], Coroutine[Any, Any, T]], **settings: Any
) -> T:
    """Run the coroutine of a command; end with the reason if the store or the fleet fails."""
    from gateway_fleet import StoreError

    try:
        return run(screen.output, main, **settings)
    except StoreError as error:
        fail(f"the store failed: {error}")
    except (GaveUpError, LocalProtocolError) as error:
        fail(str(error))
