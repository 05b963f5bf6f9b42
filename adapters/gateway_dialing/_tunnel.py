"""HTTP CONNECT without I/O: the request for a tunnel, and the proxy's response, bounded."""

from __future__ import annotations

import base64
import http

import h11

from gateway_dialing._failures import DialError
from gateway_dialing._proxies import Proxy

__all__ = ["HttpTunnel"]

_MAX_ANSWER = 65536
_MAX_PHRASE = 100


class HttpTunnel:
    """A tunnel through an HTTP proxy (RFC 9110, section 9.3.6).

    Send `request`, then pass the data of the proxy to `receive` until it returns True. h11 parses
    the response also if it arrives in parts; python-socks assumes that one read returns all of it.
    """

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        host = f"[{host}]" if ":" in host else host
        self.authority: str = f"{host}:{port}"
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_ANSWER)
        self._received = 0
        headers = [("Host", self.authority), ("User-Agent", "gateway_proto")]
        if proxy.username is not None:
            # RFC 7617, section 2: user and password in UTF-8.
            pair = f"{proxy.username}:{proxy.password}".encode()
            headers.append(("Proxy-Authorization", f"Basic {base64.b64encode(pair).decode()}"))
        request = h11.Request(method="CONNECT", target=self.authority, headers=headers)
        self.request: bytes = (self._connection.send(request) or b"") + (
            self._connection.send(h11.EndOfMessage()) or b""
        )
        """The bytes to send."""

    def receive(self, data: bytes) -> bool:
        """Return whether the tunnel is open; b"" is the end of the stream.

        Raises `DialError` if the proxy refuses, or if its answer is not one.
        """
        self._received += len(data)
        if not data:
            raise DialError("connection closed before an answer")
        if self._received > _MAX_ANSWER:
            raise DialError(f"answer of more than {_MAX_ANSWER} bytes")
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
            while isinstance(event, h11.InformationalResponse):  # RFC 9110, section 15.2
                event = self._connection.next_event()
        except h11.RemoteProtocolError:
            # Its text may quote what the proxy sent.
            raise DialError("the answer is not HTTP") from None
        if event is h11.NEED_DATA:
            return False
        if not isinstance(event, h11.Response):
            raise DialError("the answer is not a response")
        if not 200 <= event.status_code < 300:
            raise DialError(f"refused with HTTP {_status(event)}")
        # A client sends first, in TLS and in HTTP: nothing can follow yet.
        if self._connection.trailing_data[0]:
            raise DialError("data after the answer, before anything was sent through the tunnel")
        return True


def _status(response: h11.Response) -> str:
    phrase = response.reason.decode("latin-1").strip()
    if not phrase:
        try:
            phrase = http.HTTPStatus(response.status_code).phrase
        except ValueError:
            return str(response.status_code)
    phrase = "".join(char if char.isprintable() else repr(char)[1:-1] for char in phrase)
    return f"{response.status_code} {phrase[:_MAX_PHRASE]}"
