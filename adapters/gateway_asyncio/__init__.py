"""gateway_proto on asyncio: clients with `open_gateway` and `open_shards`, `serve_gateway`."""

from gateway_asyncio._dialing import Connect
from gateway_asyncio._driver import ConnectionDriver
from gateway_asyncio._gateway import Gateway, open_gateway
from gateway_asyncio._server import RunningServer, serve_gateway
from gateway_asyncio._shards import Shards, open_shards

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
