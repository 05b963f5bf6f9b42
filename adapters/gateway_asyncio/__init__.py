"""gateway_proto on asyncio: clients with `open_gateway` and `open_shards`, `serve_gateway`."""

from gateway_asyncio._dialing import Connect
from gateway_asyncio._gateway import Gateway, open_gateway
from gateway_asyncio._pump import Pump
from gateway_asyncio._serving import Serving, serve_gateway
from gateway_asyncio._shards import Shards, open_shards

__all__ = [
    "Connect",
    "Gateway",
    "Pump",
    "Serving",
    "Shards",
    "open_gateway",
    "open_shards",
    "serve_gateway",
]
