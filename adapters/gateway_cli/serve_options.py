"""Options of `serve`, and the settings of the server."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias

import typer

from gateway_cli.options import complete_intents
from gateway_cli.show import MISUSED, fail
from gateway_proto import Intents, LocalProtocolError
from gateway_proto.server import ServerConfig

__all__ = [
    "AllowedIntentsOption",
    "ConcurrencyOption",
    "ControlHostOption",
    "GuildsPerShardOption",
    "IdentifiesPerDayOption",
    "IdentifySecondsOption",
    "MembersSecondsOption",
    "ReplayBytesOption",
    "ReplayLimitOption",
    "SessionLifetimeOption",
    "ShardsOption",
    "UrlOption",
    "server_config",
]

UrlOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="URL in lookups and READY; default: from the client's Host."
    ),
]
ShardsOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--shards", metavar="NUMBER", help="Number that the lookup recommends."),
]
ConcurrencyOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--max-concurrency", metavar="NUMBER", help="Number of concurrent Identifies."),
]
IdentifySecondsOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--identify-seconds",
        metavar="SECONDS",
        help="Between two Identifies of one key; Discord: 5, default: 0.",
    ),
]
IdentifiesPerDayOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--identifies-per-day", metavar="NUMBER", help="More are refused; default: 1000."),
]
AllowedIntentsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--allowed-intents",
        metavar="INTENTS",
        help="Others are closed with 4014; names, separated by commas, or a number.",
        autocompletion=complete_intents,
    ),
]
GuildsPerShardOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--guilds-per-shard",
        metavar="NUMBER",
        help="A shard with more is closed with 4011; default: 2500.",
    ),
]
MembersSecondsOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--members-seconds",
        metavar="SECONDS",
        help="Between requests for all members of a guild; 0: no limit, default: 30.",
    ),
]
SessionLifetimeOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--session-lifetime",
        metavar="SECONDS",
        help="How long a session without a connection may be resumed; default: 300.",
    ),
]
ReplayLimitOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--replay-limit",
        metavar="NUMBER",
        help="Dispatches that a session keeps for a resume; default: 1000.",
    ),
]
ReplayBytesOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--replay-bytes", metavar="BYTES", help="Size of these dispatches; default: 16 MiB."
    ),
]
ControlHostOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--control-host",
        metavar="HOST",
        help="Answer --control for this host name too; may be repeated.",
    ),
]


def server_config(*, allowed_intents: str | None, **settings: Any) -> ServerConfig:
    """Return the settings that are not None; end with the reason if one is invalid."""
    given = {name: value for name, value in settings.items() if value is not None}
    try:
        if allowed_intents is not None:
            given["allowed_intents"] = int(Intents.parse(allowed_intents))
        return ServerConfig(**given)
    except LocalProtocolError as error:
        fail(re.sub(r"ServerConfig\.(\w+)", _option, str(error)), status=MISUSED)


def _option(field: re.Match[str]) -> str:
    return "--" + _OPTIONS.get(field[1], field[1].replace("_", "-"))


_OPTIONS = {
    "tokens": "token",
    "control_hosts": "control-host",
    "versions": "api-version",
    "identifies_per_day": "identifies-per-day",
}
"""Options that are not named as their fields are."""
