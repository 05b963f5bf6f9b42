"""Client configuration from options."""

from __future__ import annotations

import os
import pathlib
import re
from typing import Any

import attrs

from gateway_cli.options import chosen, version_of
from gateway_cli.progress import read_text
from gateway_cli.show import MISUSED, fail
from gateway_proto import Compression, Config, Encoding, Intents, LocalProtocolError
from gateway_proto._checks import token_problem
from gateway_proto.urls import Url

__all__ = ["Settings", "client_config", "parsed_url"]

_MAX_TOKEN_BYTES = 2**16
_TOKEN_OF_DISCORD = re.compile(r"(Bot )?[\w-]+\.[\w-]+\.[\w-]+")
"""A bot's: three parts of base64url. https://docs.discord.com/developers/reference"""
_OPTIONS = {
    "api_url": "api",
    "compression": "compression",
    "encoding": "encoding",
    "gateway_url": "gateway",
    "intents": "intents",
    "version": "api-version",
}
"""Options of fields of `Config`."""


@attrs.frozen(kw_only=True)
class Settings:
    """Options of `tail` and `fleet run`."""

    api: str | None
    gateway: str | None
    version: int
    intents: str | None
    encoding: str
    compression: str
    token_file: pathlib.Path | None
    allow_plaintext: bool


def client_config(given: Settings) -> Config:
    """Return the Config; end with the reason if an option is invalid."""
    url = parsed_url(given.api, given.gateway)
    if url is not None and not (url.tls or url.loopback or given.allow_plaintext):
        fail(
            f"{url} would send the token to another host in plain text: use wss:// or https://, "
            "or add --allow-plaintext",
            status=MISUSED,
        )
    version = version_of(given.version)
    return configured(
        token=_token(given.token_file, is_default=url is None),
        version=version,
        api_url=given.api,
        gateway_url=given.gateway,
        intents=_intents(given.intents)
        if given.intents is not None or version.intents_required
        else None,
        encoding=chosen("--encoding", given.encoding, Encoding),
        compression=chosen("--compression", given.compression, Compression),
        allow_plaintext=given.allow_plaintext,
    )


def configured(**fields: Any) -> Config:
    """Return the Config of fields; end with the reason if they conflict."""
    try:
        return Config(**fields)
    except LocalProtocolError as error:
        fail(re.sub(r"Config\.(\w+)", _option, str(error)), status=MISUSED)


def _option(field: re.Match[str]) -> str:
    name = _OPTIONS.get(field[1])
    return field[0] if name is None else f"--{name}"


def parsed_url(api: str | None, gateway: str | None) -> Url | None:
    """Return the URL of the options, or None; end with the reason if it is invalid."""
    if api is not None and gateway is not None:
        fail("--api and --gateway exclude each other: leave out one of them", status=MISUSED)
    option, text = ("--api", api) if gateway is None else ("--gateway", gateway)
    if text is None:
        return None
    try:
        return Url.parse(text)
    except LocalProtocolError as error:
        fail(f"invalid {option}: {error}", status=MISUSED)


def _intents(text: str | None) -> Intents | int:
    if text is None:
        return 0
    try:
        return Intents.parse(text)
    except (LocalProtocolError, ValueError) as error:
        fail(f"invalid --intents {text!r}: {error}", status=MISUSED)


def _token(path: pathlib.Path | None, *, is_default: bool) -> str:
    if path is None:
        token, source = os.environ.get("GATEWAY_TOKEN", "").strip(), "GATEWAY_TOKEN"
    else:
        source = f"--token-file {path}"
        token = read_text(path, option="--token-file", largest=_MAX_TOKEN_BYTES).strip()
    if not token:
        fail("missing token: set GATEWAY_TOKEN, or pass a file with --token-file", status=MISUSED)
    if (problem := token_problem(token)) is not None:
        fail(f"{source}: the token {problem}", status=MISUSED)
    if is_default and not _TOKEN_OF_DISCORD.fullmatch(token):
        # It is for another server, which must then be named: it is not sent to Discord.
        fail(
            f"{source} has no token of a bot of Discord, which are three parts with dots between: "
            "for another server pass --api URL or --gateway URL",
            status=MISUSED,
        )
    return token
