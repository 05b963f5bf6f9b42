"""URL ↔ host, port, path; and whether the token may go there."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from gateway_proto._checks import rejected
from gateway_proto.errors import LocalProtocolError

__all__ = ["LONGEST_URL", "Trust", "Url"]

LONGEST_URL = 2048
"""Characters of a URL that the network may name."""

# Letters, digits and hyphens between dots: RFC 952 and RFC 1123, section 2.1. Other parsers read
# hosts of other characters differently, and would send the token elsewhere.
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
# What other parsers take for an IPv4 address, also 127.1 and 0x7f000001:
# https://url.spec.whatwg.org/#ends-in-a-number-checker
_NUMERIC = re.compile(r"\d+|0x[0-9a-f]*")
_LONGEST_HOST = 253
_NETLOC = re.compile(r"(?:[^\[\]:]*|\[[^\[\]]*\])(?::[0-9]*)?")
_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}

# A lookup at the left names gateways under the domain at the right.
_GATEWAY_DOMAINS = {
    "discord.com": "discord.gg",
    "discordapp.com": "discord.gg",
    "gateway.discord.gg": "discord.gg",
}


class Url(msgspec.Struct, frozen=True):
    """An absolute ws, wss, http or https URL, taken apart."""

    scheme: str
    host: str
    port: int
    path: str = "/"
    query: str = ""

    @classmethod
    def parse(cls, text: str) -> Url:
        """Return the URL of a text; raises `LocalProtocolError` that says what is wrong with it."""
        if not isinstance(text, str):
            raise rejected("URL", text, "a str")
        # A tenth of what it takes to import this package, and none of it before there is a URL.
        from urllib.parse import urlsplit

        # urlsplit removes some of these, and so would read another URL than was written.
        wrong = next((c for c in text if c <= " " or c in "\\\x7f"), None)
        if wrong is not None:
            raise LocalProtocolError(f"{text!r} is no URL: the character {wrong!r} is not allowed")
        try:
            parts = urlsplit(text)
            if not _NETLOC.fullmatch(parts.netloc.rpartition("@")[2]):
                raise ValueError("its host and port are not understood")
            port = parts.port
            host = _host(parts.hostname or "", bracketed="[" in parts.netloc)
        except ValueError as error:
            raise LocalProtocolError(f"{text!r} is no URL: {error}") from None
        if parts.scheme not in _PORTS:
            raise LocalProtocolError(
                f"{text!r} is no URL of a gateway: begin it with wss://, https://, ws:// or http://"
            )
        if not host or parts.username is not None:
            raise LocalProtocolError(f"{text!r} is no URL of a gateway: it needs a host alone")
        if port == 0:
            raise LocalProtocolError(f"{text!r} is no URL: port 0 cannot be connected to")
        path, query = parts.path or "/", parts.query
        said = path + query
        if not said.isascii() or not said.isprintable() or " " in said:
            raise LocalProtocolError(f"{text!r} is no URL: a character in it must be escaped")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], path, query)

    @property
    def tls(self) -> bool:
        """Whether the transport is encrypted."""
        return self.scheme in ("wss", "https")

    @property
    def host_header(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """Path and query, as a request names them."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine."""
        import ipaddress

        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")

    def with_query(self, parameters: Iterable[tuple[str, str]]) -> Url:
        """The URL with these parameters in place of those of the same names; others stay."""
        from urllib.parse import parse_qsl, urlencode

        new = dict(parameters)
        if not new:
            return self
        old = [(k, v) for k, v in parse_qsl(self.query, keep_blank_values=True) if k not in new]
        return msgspec.structs.replace(self, query=urlencode([*old, *new.items()]))

    def same_as(self, other: Url) -> bool:
        """Return whether both name the same place; ws and http are the same, and so with TLS."""
        mine = (self.tls, self.host, self.port, self.path, self.query)
        return mine == (other.tls, other.host, other.port, other.path, other.query)

    def under(self, name: str) -> Url:
        """The URL of `name` below this path."""
        return msgspec.structs.replace(self, path=self.path.rstrip("/") + "/" + name)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}{self.target}"


class Trust:
    """Which URLs out of the network the token may go to: those of the configured endpoint.

    Its host, hosts below it (for the host that Discord's lookup has: those below its gateway
    domain), and those that the caller lists. Never from TLS down to plain text.
    """

    __slots__ = ("_allow_plaintext", "_hosts", "_suffix", "_tls")

    def __init__(self, configured: Url, hosts: Iterable[str], *, allow_plaintext: bool) -> None:
        if not configured.tls and not configured.loopback and not allow_plaintext:
            raise LocalProtocolError(
                f"{configured} would send the token over the network in plain text: use wss:// or "
                "https://, or say allow_plaintext=True"
            )
        self._tls = configured.tls
        self._allow_plaintext = allow_plaintext
        self._hosts = (configured.host, *map(_trusted_host, hosts))
        domain = _GATEWAY_DOMAINS.get(configured.host, configured.host)
        self._suffix = f".{domain}"

    def check(self, text: str) -> tuple[Url | None, str]:
        """Return the URL if the token may go there; else None, and why not.

        Blanks around it are ignored. Its host is not translated to ASCII, as a configured one is: a
        character that looks like another must not lead to a trusted name.
        """
        text = text.strip()
        if len(text) > LONGEST_URL:
            return None, f"it has {len(text)} characters, more than {LONGEST_URL}"
        try:
            if not text.isascii():
                raise LocalProtocolError(f"{text!r} is no URL: a character in it must be escaped")
            url = Url.parse(text)
        except LocalProtocolError as error:
            return None, str(error)
        if self._tls and not url.tls:
            return None, "it would lower TLS to plain text"
        if not url.tls and not url.loopback and not self._allow_plaintext:
            return None, "it would send the token over the network in plain text"
        if url.host not in self._hosts and not url.host.endswith(self._suffix):
            return None, (
                f"its host {url.host} is neither that of the configured endpoint nor one of "
                "trusted_hosts"
            )
        return url, ""


def _host(text: str, *, bracketed: bool = False) -> str:
    """Return a host in its usual form; raises ValueError if it is no name or plain IP address."""
    import ipaddress

    if bracketed:
        if "%" in text:
            raise ValueError(f"its host {text!r:.80} has a zone")
        return str(ipaddress.IPv6Address(text))
    host = text.encode("idna").decode("ascii").lower() if not text.isascii() else text.lower()
    labels = host.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        return str(ipaddress.IPv4Address(host))
    if not host:
        return host
    if len(host) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(
            f"its host {text!r:.80} is no name of letters, digits, hyphens and dots, and no plain "
            "IP address"
        )
    return host


def _trusted_host(text: str) -> str:
    try:
        host = text.removeprefix("[").removesuffix("]")
        return _host(host, bracketed=":" in host)
    except ValueError:
        # It equals no host that is trusted: those are checked in the same way.
        return text.lower()
