"""gateway_proto on trio: `open_gateway` for a client, `serve_gateway` for a server."""

from gateway_trio._gateway import Gateway, open_gateway
from gateway_trio._pump import Pump
from gateway_trio._serving import Serving, serve_gateway

__all__ = ["Gateway", "Pump", "Serving", "open_gateway", "serve_gateway"]
