"""Options that the commands of a fleet share, the store that they name, and its errors."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from gateway_cli.running import run
from gateway_cli.show import MISUSED, Screen, fail
from gateway_proto import GaveUpError, LocalProtocolError

if TYPE_CHECKING:
    from gateway_fleet import RedisStore

__all__ = ["BotOption", "StoreOption", "opened_store", "run_with_store"]

T = TypeVar("T")

StoreOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="GATEWAY_STORE",
        help="redis://, rediss:// or unix:// of a server of Redis 7 or Valkey.",
    ),
]
BotOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--bot", metavar="FINGERPRINT", help="Which bot, if the store has the fleets of several."
    ),
]


def opened_store(url: str, **settings: Any) -> RedisStore:
    """Return the store of a URL; end with the reason if it, or the extra, is missing."""
    try:
        from gateway_fleet import RedisStore

        return RedisStore(url, **settings)
    except ModuleNotFoundError as error:
        if error.name not in ("anyio", "coredis"):
            raise
        fail(f"--store needs {error.name}: install gateway-proto[redis]", status=MISUSED)
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
