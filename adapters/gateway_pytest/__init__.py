"""pytest plugin with the fixture `gateway_server`: a running gateway for tests of any client.

    def test_my_bot(gateway_server):
        start_my_bot(gateway_server.api_url, gateway_server.token)
        gateway_server.wait_until_ready()
        gateway_server.dispatch("MESSAGE_CREATE", {"content": "!ping"})

A marker configures it: `@pytest.mark.gateway(world=World(...), faults=[Fault(...)], tls=True)`,
with any field of `ServerConfig`.

A trace can be a test, too: `assert_replays("bug.jsonl")`.
"""

# pytest imports this module at each start: everything else is imported when it is used.
from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

try:
    import pytest
except ModuleNotFoundError as _error:
    if _error.name != "pytest":
        raise
    raise ModuleNotFoundError(
        "gateway_pytest needs pytest: install gateway-proto[pytest]", name="pytest"
    ) from None

if TYPE_CHECKING:
    from gateway_pytest._aio import AsyncWaits
    from gateway_pytest._replay import assert_replays
    from gateway_pytest._sending import Sender
    from gateway_pytest._server import RunningGateway

__all__ = [
    "AsyncWaits",
    "RunningGateway",
    "Sender",
    "assert_replays",
    "gateway_server",
    "pytest_configure",
]

_LATER = {
    "AsyncWaits": "_aio",
    "RunningGateway": "_server",
    "Sender": "_sending",
    "assert_replays": "_replay",
}


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "gateway(faults=[], **fields): configures gateway_server; fields of ServerConfig.",
    )


@pytest.fixture
def gateway_server(request: pytest.FixtureRequest) -> Iterator[RunningGateway]:
    """Run a gateway on a free port of localhost, in its own thread, until the test has ended."""
    from gateway_pytest._server import RunningGateway
    from gateway_pytest._settings import config_of

    with RunningGateway(config_of(request.node.iter_markers("gateway"))) as running:
        yield running
        running.check_routes()


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
