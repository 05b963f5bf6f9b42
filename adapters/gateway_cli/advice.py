"""what went wrong on the way to a gateway → what it means, and what to do."""

from __future__ import annotations

import os
import socket
import ssl

from gateway_proto import By, Closed

__all__ = [
    "ENCODING",
    "PROXY",
    "TRUST",
    "of_address",
    "of_answer",
    "of_hello",
    "of_name",
    "of_tls",
    "of_upgrade",
]

ENCODING = (
    "The server ignores `encoding` in the URL, and may not read what it is sent: use "
    "--encoding json."
)
"""What to do if HELLO is in another encoding than the one asked for."""
TRUST = (
    "The lookup names a gateway of somebody else. If it may have your token, list its host in "
    "Config.trusted_hosts, or name it with --gateway."
)
"""What to do where the lookup's answer is not trusted."""
PROXY = "Is it that proxy, with user and password if it wants them? --no-proxy connects directly."
"""What to do if a proxy opens no tunnel."""
# OpenSSL's numbers, X509_V_ERR_*.
_NOT_YET_VALID, _EXPIRED = 9, 10
_NOT_TRUSTED = (18, 19, 20, 21)
_OTHER_NAME = (62, 64)


def of_name(error: OSError) -> str:
    """A host has no address."""
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return "The name server does not answer: is this machine online, and may it ask one?"
    return "Nobody knows the name: is it spelt right, and is this machine online?"


def of_address(error: OSError) -> str:
    """No connection to any address of a host."""
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    through = " HTTPS_PROXY is set here, and is not used: is that --no-proxy, or no_proxy?"
    through = through if proxy else ""
    if isinstance(error, ConnectionRefusedError):
        return f"Nobody listens there: is the server running, and is it that port?{through}"
    if isinstance(error, TimeoutError):
        return f"Nothing came back: a firewall drops it, or the machine is off.{through}"
    return f"The network does not lead there.{through}"


def of_tls(error: OSError) -> str:
    """The TLS handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in _NOT_TRUSTED:
            return (
                "Whoever signed the certificate is not trusted here. If the server is yours (serve "
                "--tls prints a file behind `trust`), say SSL_CERT_FILE=that-file; else somebody "
                "between you and it reads along."
            )
        if code in _OTHER_NAME:
            return "The certificate is another host's: use the name that it was made for."
        if code in (_NOT_YET_VALID, _EXPIRED):
            return "Is this machine's clock right? If so, the server needs a new certificate."
        return "The certificate cannot be accepted; the words above are OpenSSL's."
    if isinstance(error, TimeoutError):
        return "It took the connection and says nothing: does that port speak TLS?"
    return "What answers there speaks no TLS: for a server without it use http:// or ws://."


def of_answer(closed: Closed, *, silent: bool) -> str:
    """The lookup named no gateway; `silent`: since nothing came in time."""
    if silent:
        return "It took the question and says nothing: is that the port of an HTTP server?"
    match closed.code:
        case None:
            return "What answers there is no gateway's API: are the host, port and path right?"
        case 401 | 403:
            return "It wants a token even here, and the doctor has none: try gateway-proto tail."
        case 404 | 405:
            return "The path is wrong: --api is what stands before /gateway, such as .../api/v10."
        case status if 300 <= status < 400:
            return "It sends you elsewhere, and a client does not follow: give that URL itself."
        case status:
            return _of_status(status, closed, "The server does not want this: is the URL right?")


def of_upgrade(closed: Closed, *, silent: bool) -> str:
    """The WebSocket did not open; `silent`: since nothing came in time."""
    if silent:
        return "It took the request and says nothing: is that the port of a WebSocket server?"
    if closed.code is None or closed.by is not By.PEER:
        return "What answers there speaks no WebSocket: are the host and the port right?"
    return _of_status(
        closed.code, closed, "An HTTP server, but no WebSocket on this path: is the URL right?"
    )


def of_hello(closed: Closed, *, silent: bool) -> str:
    """The WebSocket was open, and no HELLO came; `silent`: nor anything else."""
    if silent:
        return "The WebSocket is open, but no gateway speaks on it: is the URL that of a gateway?"
    return "It was ended before HELLO: does the server speak this version, and this encoding?"


def _of_status(status: int, closed: Closed, otherwise: str) -> str:
    wait = "" if closed.retry_after is None else f" in {closed.retry_after:.0f} s"
    if status == 429:
        return f"Too many come from here: try again{wait or ' later, and less often'}."
    if status >= 500:
        return f"The server is in trouble, not you: try again{wait or ' later'}."
    return otherwise
