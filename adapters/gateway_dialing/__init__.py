"""Parts of opening transports that need no event loop, for both adapters and the command line.

Steps of a dial, reasons of failures as text, order of addresses, TLS context, proxies, and settings
of the runtime. It is a package of its own: the core must not import `ssl`, `socket` or `time`, and
neither adapter may import the other. It has no public names.
"""

from gateway_dialing._accepting import AcceptErrors
from gateway_dialing._attempt import Address, Attempt, in_order
from gateway_dialing._dialer import ADDRESS_DELAY, NO_LIMIT, BaseDialer, check_proxy
from gateway_dialing._failures import DialError, is_failed_dial, is_permanent, reason
from gateway_dialing._opening import opening
from gateway_dialing._proxies import Proxy, ProxySetting, proxy_for
from gateway_dialing._runtime import runtime_config, runtime_server_config
from gateway_dialing._tls import Tls
from gateway_dialing._tunnel import HttpTunnel

__all__ = [
    "ADDRESS_DELAY",
    "NO_LIMIT",
    "AcceptErrors",
    "Address",
    "Attempt",
    "BaseDialer",
    "DialError",
    "HttpTunnel",
    "Proxy",
    "ProxySetting",
    "Tls",
    "check_proxy",
    "in_order",
    "is_failed_dial",
    "is_permanent",
    "opening",
    "proxy_for",
    "reason",
    "runtime_config",
    "runtime_server_config",
]
