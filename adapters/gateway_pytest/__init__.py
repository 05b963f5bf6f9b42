"""pytest → a running gateway: the fixture `gateway_server`, for tests of any client.

    def test_my_bot(gateway_server):
        start_my_bot(gateway_server.api_url, gateway_server.token)
        gateway_server.wait_for(Identify)
        gateway_server.dispatch("MESSAGE_CREATE", {"content": "!ping"})

What is different goes into a marker: `@pytest.mark.gateway(world=World(...), faults=[Fault(...)])`,
with any field of `ServerConfig`.

And a trace is a test: `assert_replays("bug.jsonl")`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from gateway_proto import LocalProtocolError, Scenario, ServerConfig
from gateway_pytest._replaying import assert_replays
from gateway_pytest._running import RunningGateway

__all__ = ["RunningGateway", "assert_replays", "gateway_server", "pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "gateway(faults=[], **fields): what gateway_server is told, the fields of ServerConfig.",
    )


@pytest.fixture
def gateway_server(request: pytest.FixtureRequest) -> Iterator[RunningGateway]:
    """A gateway on a free port of this machine, in a thread of its own; closed after the test."""
    fields = {}
    for marker in reversed(list(request.node.iter_markers("gateway"))):
        if marker.args:
            raise pytest.UsageError("the marker gateway takes keywords alone")
        fields.update(marker.kwargs)
    with RunningGateway(_config(fields)) as running:
        yield running


def _config(fields: dict[str, Any]) -> ServerConfig:
    """Return the settings of the markers; raises `pytest.UsageError` for a wrong one."""
    known = {field.name for field in attrs.fields(ServerConfig)}
    unknown = sorted(fields.keys() - known - {"faults"})
    if unknown:
        raise pytest.UsageError(
            f"the marker gateway has no {', '.join(unknown)}: use faults, "
            f"{', '.join(sorted(known))}"
        )
    given = {"tokens": {RunningGateway.token}, **fields}
    faults = given.pop("faults", None)
    try:
        if faults is not None:
            given["scenario"] = Scenario(faults)
        return ServerConfig(**given)
    except LocalProtocolError as error:
        raise pytest.UsageError(f"the marker gateway: {error}") from None
