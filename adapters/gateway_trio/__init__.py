"""gateway_proto on trio: clients with `open_gateway` and `open_shards`, `serve_gateway`."""

try:
    import trio as _trio  # noqa: F401
except ModuleNotFoundError as _error:
    if _error.name != "trio":
        raise
    raise ModuleNotFoundError(
        "gateway_trio needs trio: install gateway-proto[trio], or use gateway_asyncio", name="trio"
    ) from None

from gateway_trio._dialing import Connect
from gateway_trio._driver import ConnectionDriver
from gateway_trio._gateway import Gateway, open_gateway
from gateway_trio._server import RunningServer, serve_gateway
from gateway_trio._shards import Shards, open_shards

__all__ = [
    "Connect",
    "ConnectionDriver",
    "Gateway",
    "RunningServer",
    "Shards",
    "open_gateway",
    "open_shards",
    "serve_gateway",
]
