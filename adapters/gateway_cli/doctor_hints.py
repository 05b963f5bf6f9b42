"""Hints of `gateway-proto doctor`: likely causes and fixes of a failed step."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl

from gateway_proto import Closed, Initiator, NextAction

__all__ = [
    "ENCODING",
    "PROXY",
    "UNTRUSTED_GATEWAY_HINT",
    "connect_hint",
    "dns_hint",
    "hello_hint",
    "lookup_hint",
    "retry_hint",
    "tls_hint",
    "upgrade_hint",
]

ENCODING = (
    "The server ignores `encoding` in the URL, and may not decode the client's payloads: use "
    "--encoding json."
)
"""Hint if HELLO is not in the requested encoding."""
UNTRUSTED_GATEWAY_HINT = (
    "The lookup names an untrusted gateway. If it may receive your token, add its host to "
    "Config.trusted_hosts, or pass it as --gateway."
)
"""Hint if the gateway of the lookup is not trusted."""
PROXY = "Check the proxy's URL, user and password. --no-proxy connects directly."
"""Hint if a proxy opens no tunnel."""
# OpenSSL's numbers, X509_V_ERR_*.
_NOT_YET_VALID, _EXPIRED = 9, 10
_NOT_TRUSTED = (18, 19, 20, 21)
_OTHER_NAME = (62, 64)


def dns_hint(error: OSError) -> str:
    """Return the hint for a host without an address."""
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return "The name server does not answer: check that this system is online."
    return "Unknown host name: check its spelling, and that this system is online."


def connect_hint(error: OSError) -> str:
    """Return the hint for a host that cannot be connected to."""
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    through = " HTTPS_PROXY is set but ignored, because of --no-proxy or no_proxy."
    through = through if proxy else ""
    if isinstance(error, ConnectionRefusedError):
        return (
            "Connection refused: check that the server is running and that the port is correct."
            f"{through}"
        )
    if isinstance(error, TimeoutError):
        return f"No answer: a firewall drops the packets, or the host is off.{through}"
    return f"No network route to this host.{through}"


def tls_hint(error: OSError) -> str:
    """Return the hint for a failed TLS handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in _NOT_TRUSTED:
            return (
                "The issuer of the certificate is not trusted here. For your own server (serve "
                "--tls prints the file after `trust`), set SSL_CERT_FILE=that-file. Otherwise "
                "somebody may intercept the connection."
            )
        if code in _OTHER_NAME:
            return "The certificate is for another host: use the name in the certificate."
        if code in (_NOT_YET_VALID, _EXPIRED):
            return "Check this system's clock. If it is right, the server needs a new certificate."
        return "The certificate is invalid; the reason above is OpenSSL's."
    if isinstance(error, TimeoutError):
        return "No answer after the connection: check that this port uses TLS."
    return "The server does not use TLS: for a server without TLS use http:// or ws://."


def lookup_hint(closed: Closed, *, silent: bool) -> str:
    """Return the hint for a lookup without a gateway; `silent`: no answer in time."""
    if silent:
        return "No answer to the request: check that this is the port of an HTTP server."
    match closed.code:
        case None:
            return "The server is not a gateway's API: check the host, port and path."
        case 401 | 403:
            return "The lookup requires a token, and doctor has none: try gateway-proto tail."
        case 404 | 405:
            return "Wrong path: --api is the URL before /gateway, such as .../api/v10."
        case status if 300 <= status < 400:
            return "Clients do not follow redirects: pass the URL of the redirect itself."
        case status:
            return _of_status(status, closed, "The server rejects the request: check the URL.")


def upgrade_hint(closed: Closed, *, silent: bool) -> str:
    """Return the hint for a WebSocket that did not open; `silent`: no answer in time."""
    if silent:
        return "No answer to the request: check that this is the port of a WebSocket server."
    if closed.code is None or closed.initiator is not Initiator.PEER:
        return "The server does not support WebSocket: check the host and the port."
    return _of_status(
        closed.code, closed, "An HTTP server without a WebSocket on this path: check the URL."
    )


def hello_hint(closed: Closed, *, silent: bool) -> str:
    """Return the hint for a WebSocket without HELLO; `silent`: no data in time."""
    if silent:
        return "The WebSocket is open, but sends no HELLO: check that this is a gateway's URL."
    return "Closed before HELLO: check that the server supports this version and encoding."


def retry_hint(text: str, *, api: str | None) -> str | None:
    """Return the hint for a lookup that failed, and is tried again; None if it is given up.

    `text` is the description of the event, `api` the option --api.
    """
    found = re.search(r"ended with status (\d+)", text)
    if found is not None and int(found[1]) in (401, 403):
        return None
    if text.endswith(f": {os.strerror(errno.ECONNREFUSED)}"):
        cause = connect_hint(ConnectionRefusedError())
    elif text.startswith("could not connect"):
        cause = "Check the host of --api, and that this system is online."
    else:
        code = None if found is None else int(found[1])
        closed = Closed(code=code, initiator=Initiator.PEER, next_action=NextAction.IDENTIFY)
        cause = lookup_hint(closed, silent=False)
    check = "gateway-proto doctor" + ("" if api is None else f" --api {api}")
    return f"{cause} It is tried again until it answers; {check} checks each step."


def _of_status(status: int, closed: Closed, otherwise: str) -> str:
    wait = "" if closed.retry_after is None else f" in {closed.retry_after:.0f} s"
    if status == 429:
        return f"Too many requests from this system: try again{wait or ' later, and less often'}."
    if status >= 500:
        return f"A fault of the server: try again{wait or ' later'}."
    return otherwise
