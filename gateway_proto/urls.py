"""Parsing of URLs, and the policy for URLs that may receive the token."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from gateway_proto._checks import rejected
from gateway_proto.errors import LocalProtocolError

__all__ = ["MAX_URL_LENGTH", "Url", "UrlPolicy"]

MAX_URL_LENGTH = 2048
"""Maximum length in characters of a URL from the network."""

# Patterns are compiled on first use, and kept by `re`.
# RFC 952 and RFC 1123, section 2.1: letters, digits and hyphens between dots. URL parsers disagree
# about other characters, so an adapter could send the token to another host.
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
# Other parsers treat these as an IPv4 address, including 127.1 and 0x7f000001:
# https://url.spec.whatwg.org/#ends-in-a-number-checker
_NUMERIC = r"\d+|0x[0-9a-f]*"
# RFC 1123, section 2.1, and RFC 1035, section 2.3.4.
_MAX_HOST_LENGTH = 253
_NETLOC = r"(?:[^\[\]:]*|\[[^\[\]]*\])(?::[0-9]*)?"
_ESCAPED = "percent-encoded printable ASCII"
_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}

# API host → domain of the gateways that its lookup returns.
_GATEWAY_DOMAINS = {
    "discord.com": "discord.gg",
    "discordapp.com": "discord.gg",
    "gateway.discord.gg": "discord.gg",
}


class Url(msgspec.Struct, frozen=True):
    """Parsed absolute URL with the scheme ws, wss, http or https."""

    scheme: str
    host: str
    port: int
    path: str = "/"
    query: str = ""

    @classmethod
    def parse(cls, text: str) -> Url:
        """Parse a URL. Raises `LocalProtocolError` if it is invalid."""
        if not isinstance(text, str):
            raise rejected("URL", text, "a str")
        # Imported on use: it takes a tenth of the import time of this package.
        from urllib.parse import urlsplit

        # urlsplit removes some of these characters, and so would parse another URL.
        wrong = next((c for c in text if c <= " " or c in "\\\x7f"), None)
        if wrong is not None:
            raise LocalProtocolError(
                f"invalid URL {_shown(text)}: character {wrong!r} is not allowed"
            )
        try:
            parts = urlsplit(text)
            if not re.fullmatch(_NETLOC, parts.netloc.rpartition("@")[2]):
                raise ValueError("expected host or host:port")
            port = parts.port
            host = _host(parts.hostname or "", bracketed="[" in parts.netloc)
        except ValueError as error:
            raise LocalProtocolError(f"invalid URL {_shown(text)}: {error}") from None
        if parts.scheme not in _PORTS:
            raise LocalProtocolError(
                f"invalid gateway URL {_shown(text)}: scheme must be ws, wss, http or https"
            )
        if not host or parts.username is not None:
            raise LocalProtocolError(
                f"invalid gateway URL {_shown(text)}: expected a host without user name"
            )
        if port == 0:
            raise LocalProtocolError(f"invalid URL {_shown(text)}: port must be from 1 to 65535")
        path, query = parts.path or "/", parts.query
        target = path + query
        if not target.isascii() or not target.isprintable() or " " in target:
            raise LocalProtocolError(f"invalid URL {_shown(text)}: expected {_ESCAPED}")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], path, query)

    @property
    def tls(self) -> bool:
        """Whether the transport uses TLS."""
        return self.scheme in ("wss", "https")

    @property
    def host_header(self) -> str:
        """Value of the Host header field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """Request target: path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def loopback(self) -> bool:
        """Whether the host is the local host."""
        import ipaddress

        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")

    def with_query(self, parameters: Iterable[tuple[str, str]]) -> Url:
        """Return the URL with these parameters added, replacing those of the same names."""
        from urllib.parse import parse_qsl, urlencode

        new = dict(parameters)
        if not new:
            return self
        old = [(k, v) for k, v in parse_qsl(self.query, keep_blank_values=True) if k not in new]
        return msgspec.structs.replace(self, query=urlencode([*old, *new.items()]))

    def same_as(self, other: Url) -> bool:
        """Whether both URLs are equal, with ws equal to http and wss to https."""
        mine = (self.tls, self.host, self.port, self.path, self.query)
        return mine == (other.tls, other.host, other.port, other.path, other.query)

    def under(self, name: str) -> Url:
        """Return the URL of `name` below this path."""
        return msgspec.structs.replace(self, path=self.path.rstrip("/") + "/" + name)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}{self.target}"


class UrlPolicy:
    """Policy for URLs from the network that may receive the token.

    Trusted are the host of the configured endpoint, its subdomains (for Discord's API: those of its
    gateway domain), and hosts that the caller lists. An endpoint with TLS requires TLS.
    """

    __slots__ = ("_allow_plaintext", "_hosts", "_suffix", "_tls")

    def __init__(self, configured: Url, hosts: Iterable[str], *, allow_plaintext: bool) -> None:
        if not configured.tls and not configured.loopback and not allow_plaintext:
            raise LocalProtocolError(
                f"{configured} would send the token in plain text: expected wss:// or https://, or "
                "allow_plaintext=True"
            )
        self._tls = configured.tls
        self._allow_plaintext = allow_plaintext
        self._hosts = (configured.host, *map(_trusted_host, hosts))
        domain = _GATEWAY_DOMAINS.get(configured.host, configured.host)
        self._suffix = f".{domain}"

    def check(self, text: str) -> tuple[Url | None, str]:
        """Return the URL if it may receive the token, else None and the reason.

        Surrounding whitespace is ignored. Non-ASCII hosts are rejected, not converted by IDNA, so
        that a look-alike character cannot produce a trusted name.
        """
        text = text.strip()
        if len(text) > MAX_URL_LENGTH:
            return None, f"URL has {len(text)} characters: expected at most {MAX_URL_LENGTH}"
        try:
            if not text.isascii():
                raise LocalProtocolError(f"invalid URL {_shown(text)}: expected {_ESCAPED}")
            url = Url.parse(text)
        except LocalProtocolError as error:
            return None, str(error)
        if self._tls and not url.tls:
            return None, "URL without TLS: expected wss:// or https://"
        if not url.tls and not url.loopback and not self._allow_plaintext:
            return None, "URL would send the token in plain text: expected wss:// or https://"
        if url.host not in self._hosts and not url.host.endswith(self._suffix):
            return None, (
                f"untrusted host {url.host!r}: expected the configured endpoint or one of "
                "Config.trusted_hosts"
            )
        return url, ""


def _shown(text: str) -> str:
    """Return the repr of a URL without its user name and password."""
    shown = re.sub(r"//.*@", "//", text, flags=re.DOTALL)
    return f"{shown!r:.200}"


def _host(text: str, *, bracketed: bool = False) -> str:
    """Return a host in its canonical form. Raises ValueError if it is invalid."""
    import ipaddress

    if bracketed:
        if "%" in text:
            raise ValueError(f"host {text!r:.80} has a zone: expected none")
        return str(ipaddress.IPv6Address(text))
    host = text.encode("idna").decode("ascii").lower() if not text.isascii() else text.lower()
    labels = host.split(".")
    if re.fullmatch(_NUMERIC, labels[-1]):
        return str(ipaddress.IPv4Address(host))
    if not host:
        return host
    if len(host) > _MAX_HOST_LENGTH or not all(re.fullmatch(_LABEL, label) for label in labels):
        raise ValueError(
            f"invalid host {text!r:.80}: expected letters, digits, hyphens and dots, or an IP "
            "address"
        )
    return host


def _trusted_host(text: str) -> str:
    try:
        host = text.removeprefix("[").removesuffix("]")
        return _host(host, bracketed=":" in host)
    except ValueError:
        # It cannot match: hosts of URLs pass the same check.
        return text.lower()
