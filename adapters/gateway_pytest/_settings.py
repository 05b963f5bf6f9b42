"""`ServerConfig` of a test's markers, and the token of its client."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.server import Scenario, ServerConfig, World

__all__ = ["config_of", "token_of"]


def config_of(markers: Iterable[pytest.Mark]) -> ServerConfig:
    """Return the settings of markers, nearest first; raises `pytest.UsageError`.

    By default the world has a guild, and the token that `token_of` returns is accepted.
    """
    fields: dict[str, Any] = {}
    for marker in reversed(list(markers)):
        if marker.args:
            raise pytest.UsageError("the marker gateway takes keywords alone")
        fields.update(marker.kwargs)
    known = {field.name for field in attrs.fields(ServerConfig)}
    unknown = sorted(fields.keys() - known - {"faults"})
    if unknown:
        raise pytest.UsageError(
            f"the marker gateway has no {', '.join(unknown)}: use faults, "
            f"{', '.join(sorted(known))}"
        )
    faults = fields.pop("faults", None)
    try:
        if faults is not None:
            fields["scenario"] = Scenario(faults)
        config = ServerConfig(**{"world": World.with_guild(), **fields})
        if "tokens" not in fields:
            config = attrs.evolve(config, tokens={_token(config.world)})
    except LocalProtocolError as error:
        raise pytest.UsageError(f"the marker gateway: {error}") from None
    return config


def token_of(config: ServerConfig) -> str:
    """Return a token that the server accepts; if it accepts none, one that it rejects."""
    own = _token(config.world)
    if not config.tokens or own in config.tokens:
        return own
    return min(config.tokens)


def _token(world: World) -> str:
    # Clients decode the user id from the first part.
    first = base64.b64encode(str(world.user["id"]).encode()).decode()
    return f"{first}.aaaaaa.bbbb"
