"""Options that the commands of a fleet share, the store that they name, and its errors."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from gateway_cli.running import run
from gateway_cli.show import MISUSED, Screen, fail
from gateway_proto import GaveUpError, LocalProtocolError

if TYPE_CHECKING:
    from gateway_fleet import FeedStore

__all__ = ["BotOption", "StoreOption", "opened_store", "run_with_store"]

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
BotOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--bot", metavar="FINGERPRINT", help="Which bot, if the store has the fleets of several."
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
    try:
        if is_nats:
            from gateway_fleet import NatsStore

            return NatsStore(url, **settings)
        from gateway_fleet import RedisStore

        if "replicas" in settings:
            fail("--replicas is for a server of NATS alone", status=MISUSED)
        return RedisStore(url, **settings)
    except ModuleNotFoundError as error:
        if error.name not in ("anyio", "coredis", "nats"):
            raise
        extra = "nats" if is_nats else "redis"
        fail(f"--store needs {error.name}: install gateway-proto[{extra}]", status=MISUSED)
    except LocalProtocolError as error:
        fail(f"invalid --store: {error}", status=MISUSED)


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
