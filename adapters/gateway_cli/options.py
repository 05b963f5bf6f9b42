"""words of a command line → values: the options that several commands share."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Annotated, TypeAlias

import typer

from gateway_dialing import ProxySetting
from gateway_proto import DIALECTS, Compression, Encoding, Intents, LocalProtocolError

__all__ = [
    "DIALECT_HELP",
    "ApiOption",
    "CompressOption",
    "DialectOption",
    "EncodingOption",
    "GatewayOption",
    "JsonOption",
    "NoProxyOption",
    "ProxyOption",
    "RecordOption",
    "complete_dialect",
    "complete_intents",
    "proxy_setting",
]


def complete_dialect(incomplete: str) -> list[str]:
    """The versions that there are."""
    return [str(version) for version in DIALECTS if str(version).startswith(incomplete)]


def complete_intents(incomplete: str) -> Iterator[str]:
    """The names of intents, behind those that stand there already."""
    before, comma, begun = incomplete.rpartition(",")
    for intent in Intents:
        name = str(intent.name).lower()
        if name.startswith(begun.lower()) and name not in before.split(","):
            yield f"{before}{comma}{name}"


DIALECT_HELP = f"Version of the protocol: {', '.join(map(str, DIALECTS))}."

ApiOption: TypeAlias = Annotated[
    str | None, typer.Option("--api", help="The base under which /gateway lies; see the example.")
]
GatewayOption: TypeAlias = Annotated[
    str | None, typer.Option("--gateway", help="Connect here, without a lookup.")
]
DialectOption: TypeAlias = Annotated[
    int, typer.Option("--dialect", help=DIALECT_HELP, autocompletion=complete_dialect)
]
EncodingOption: TypeAlias = Annotated[
    Encoding, typer.Option(help="How payloads are written; etf needs the extra of that name.")
]
CompressOption: TypeAlias = Annotated[
    Compression,
    typer.Option(help="How the server compresses what it sends; the streams are for 6 and later."),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="One object a line.")]
ProxyOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--proxy", metavar="URL", help="Connect through this proxy; default: the environment's."
    ),
]
NoProxyOption: TypeAlias = Annotated[
    bool, typer.Option("--no-proxy", help="Connect directly, whatever the environment says.")
]
RecordOption: TypeAlias = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--record",
        help="Write a trace here: what replay and timeline read. The token is not in it.",
    ),
]


def proxy_setting(proxy: str | None, *, no_proxy: bool) -> ProxySetting:
    """Return the adapters' `proxy`; raises `LocalProtocolError` if both options are given."""
    if proxy is not None and no_proxy:
        raise LocalProtocolError("--proxy and --no-proxy exclude each other: give one of them")
    return None if no_proxy else proxy or True
