"""Options that several commands share, and their values."""

from __future__ import annotations

import enum
import math
import pathlib
from collections.abc import Iterator
from typing import Annotated, TypeAlias, TypeVar

import typer

from gateway_cli.show import MISUSED, fail
from gateway_dialing import Proxy, ProxySetting, proxy_for
from gateway_proto import Compression, Encoding, Intents, LocalProtocolError, ProtocolVersion
from gateway_proto.urls import Url
from gateway_proto.versions import VERSIONS

__all__ = [
    "API_VERSION_HELP",
    "AllowPlaintextOption",
    "ApiOption",
    "ApiVersionOption",
    "CompressionOption",
    "ConnectionsOption",
    "EncodingOption",
    "GatewayOption",
    "IntentsOption",
    "JsonOption",
    "NoProxyOption",
    "ProxyOption",
    "RecordOption",
    "TokenFileOption",
    "chosen",
    "complete_api_version",
    "complete_intents",
    "finite",
    "proxy_setting",
    "version_of",
]


def complete_api_version(incomplete: str) -> list[str]:
    """Complete the supported versions."""
    return [str(version) for version in VERSIONS if str(version).startswith(incomplete)]


def complete_intents(incomplete: str) -> Iterator[str]:
    """Complete names of intents, after those already typed."""
    before, comma, begun = incomplete.rpartition(",")
    for intent in Intents:
        name = str(intent.name).lower()
        if name.startswith(begun.lower()) and name not in before.split(","):
            yield f"{before}{comma}{name}"


API_VERSION_HELP = f"Version of the protocol: {', '.join(map(str, VERSIONS))}."

ApiOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--api",
        metavar="URL",
        help="The base URL of /gateway; without it and --gateway: Discord's.",
    ),
]
GatewayOption: TypeAlias = Annotated[
    str | None, typer.Option("--gateway", metavar="URL", help="Connect here, without a lookup.")
]
ApiVersionOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--api-version",
        metavar="VERSION",
        help=API_VERSION_HELP,
        autocompletion=complete_api_version,
    ),
]
IntentsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--intents",
        metavar="NAMES",
        help="Names, separated by commas, or a number; default: none, or all if the version "
        "does not require intents.",
        autocompletion=complete_intents,
    ),
]
# Words, not enumerations: click before 8.2 does not know the default of one again.
EncodingOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--encoding",
        metavar="ENCODING",
        help="json, or etf, which needs the extra of that name.",
        autocompletion=lambda: [encoding.value for encoding in Encoding],
    ),
]
CompressionOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--compression",
        metavar="COMPRESSION",
        help="none, payload or, from version 6 on, zlib-stream or zstd-stream.",
        autocompletion=lambda: [compression.value for compression in Compression],
    ),
]
ConnectionsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--shards",
        metavar="NUMBER",
        help="NUMBER connections; 0: as many as the lookup recommends.",
        min=0,
        max=2**16,
    ),
]
TokenFileOption: TypeAlias = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="Read the token here; else it is the variable GATEWAY_TOKEN.",
    ),
]
AllowPlaintextOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-plaintext", help="Send the token to another host without TLS (ws, http)."
    ),
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per line.")
]
ProxyOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--proxy", metavar="URL", help="Connect through this proxy; default: the environment's."
    ),
]
NoProxyOption: TypeAlias = Annotated[
    bool, typer.Option("--no-proxy", help="Connect directly, and ignore the environment.")
]
RecordOption: TypeAlias = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--record",
        metavar="FILE",
        help="Write a trace here: what replay and timeline read. The token is not in it.",
    ),
]

E = TypeVar("E", bound=enum.Enum)


def chosen(option: str, word: str, kind: type[E]) -> E:
    """Return the member with this name, or end with the allowed names."""
    try:
        return kind(word)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        fail(f"invalid {option} {word!r}: use one of {known}", status=MISUSED)


def finite(option: typer.CallbackParam, value: float | None) -> float | None:
    """Return the value of an option; reject nan, which is in any range, and infinity."""
    if value is not None and not math.isfinite(value):
        fail(f"invalid {option.opts[0]} {value}: expected a finite number", status=MISUSED)
    return value


def version_of(number: int) -> ProtocolVersion:
    """Return the version of the protocol, or end with the allowed versions."""
    if number not in VERSIONS:
        known = ", ".join(map(str, VERSIONS))
        fail(f"invalid --api-version {number}: use one of {known}", status=MISUSED)
    return VERSIONS[number]


def proxy_setting(proxy: str | None, endpoint: Url, *, no_proxy: bool) -> ProxySetting:
    """Return the adapters' `proxy`; end with the reason if it is invalid."""
    if proxy is not None and no_proxy:
        fail("--proxy and --no-proxy exclude each other: leave out one of them", status=MISUSED)
    setting: ProxySetting = None if no_proxy else proxy or True
    try:
        if proxy:
            Proxy.parse(proxy, source="--proxy")
        proxy_for(setting, str(endpoint))
    except LocalProtocolError as error:
        fail(str(error), status=MISUSED)
    return setting
