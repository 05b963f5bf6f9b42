"""What both adapters and the command line share of opening transports, without an event loop.

Reasons of failures as text, the order of addresses, the TLS context, proxies. It is a package of
its own: the core must not import `ssl` or `socket`, and neither adapter may import the other. It
has no names for users.
"""

from gateway_dialing._attempt import Address, Attempt, in_order
from gateway_dialing._failures import DialError, is_failed_dial, is_permanent, reason
from gateway_dialing._proxies import Proxy, ProxySetting, proxy_for
from gateway_dialing._tls import Tls
from gateway_dialing._tunnel import HttpTunnel

__all__ = [
    "Address",
    "Attempt",
    "DialError",
    "HttpTunnel",
    "Proxy",
    "ProxySetting",
    "Tls",
    "in_order",
    "is_failed_dial",
    "is_permanent",
    "proxy_for",
    "reason",
]
