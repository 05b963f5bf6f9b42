"""gateway_proto on asyncio: `open_gateway` for a client, `serve_gateway` for a server."""

from gateway_asyncio._gateway import Gateway, open_gateway
from gateway_asyncio._pump import Pump
from gateway_asyncio._serving import Serving, serve_gateway

__all__ = ["Gateway", "Pump", "Serving", "open_gateway", "serve_gateway"]
