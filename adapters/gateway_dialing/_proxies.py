"""Selection of the proxy of a dial, from a URL or the environment."""

from __future__ import annotations

import importlib.util
from typing import Literal
from urllib.parse import unquote, urlsplit

import attrs

from gateway_proto import LocalProtocolError
from gateway_proto._checks import shown

__all__ = ["Proxy", "ProxySetting", "proxy_for"]

ProxySetting = str | Literal[True] | None
"""URL of a proxy; True means the proxy of the environment; None means a direct connection."""
_SOCKS = ("socks5h", "socks5", "socks4a", "socks4")
_PORTS = {"http": 80, "https": 443, **dict.fromkeys(_SOCKS, 1080)}
_RESOLVED_BY_PROXY = ("socks5h", "socks4a")


@attrs.frozen
class Proxy:
    """Proxy. Neither its text nor its repr contains the credentials."""

    scheme: str
    host: str
    port: int
    username: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, *, source: str = "proxy") -> Proxy:
        """Return the proxy of a URL; raises `LocalProtocolError` without user and password.

        `source` is the origin of the URL, in the words of the caller.
        """
        try:
            parts = urlsplit(url)
            port, host = parts.port, (parts.hostname or "").encode("idna").decode("ascii")
        except ValueError:
            # Neither the URL nor the error's text is shown: the invalid part may be the password.
            raise LocalProtocolError(f"invalid {source}: expected scheme://host:port") from None
        if parts.scheme not in _PORTS:
            raise _invalid(source, url, f"scheme must be one of {', '.join(_PORTS)}")
        if not host or not _is_plain(host):
            raise _invalid(source, url, "a host is missing")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise _invalid(source, url, "path, query and fragment are not allowed")
        if parts.username is not None and parts.password is None:
            raise _invalid(source, url, "a user name needs a password")
        username, password = parts.username, parts.password
        if username is not None and password is not None:
            try:
                username, password = (unquote(one, errors="strict") for one in (username, password))
            except UnicodeError:
                raise _invalid(source, url, "user and password must be UTF-8") from None
        proxy = cls(parts.scheme, host, port or _PORTS[parts.scheme], username, password)
        proxy._check_credentials(source)
        if proxy.is_socks and importlib.util.find_spec("python_socks") is None:
            raise LocalProtocolError(
                f"{source} {proxy} needs python-socks: install gateway-proto[proxy]"
            )
        return proxy

    def _check_credentials(self, source: str) -> None:
        """Raise `LocalProtocolError` for a user name or password that the protocol cannot carry."""
        if self.username is None or self.password is None:
            return
        what, limit = "", 255
        if not self.is_socks and ":" in self.username:
            what = "a user name with a colon cannot be sent to an HTTP proxy (RFC 7617, section 2)"
        elif self.is_socks and not (self.username + self.password).isascii():
            what = "user and password must be ASCII for a SOCKS proxy"
        elif self.is_socks and max(len(self.username), len(self.password)) > limit:
            what = f"user and password have at most {limit} bytes (RFC 1929, section 2)"
        if what:
            raise LocalProtocolError(f"invalid {source} {self}: {what}")

    @property
    def is_socks(self) -> bool:
        """Whether the protocol is SOCKS; else it is HTTP."""
        return self.scheme in _SOCKS

    @property
    def tls(self) -> bool:
        """Whether the connection to the proxy itself is encrypted."""
        return self.scheme == "https"

    @property
    def resolves_names(self) -> bool:
        """Whether a SOCKS proxy is given names, and resolves them."""
        return self.scheme in _RESOLVED_BY_PROXY

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def proxy_for(setting: ProxySetting, url: str) -> Proxy | None:
    """Return the proxy for a URL; None means a direct connection.

    The environment is read as the `websockets` library reads it: `no_proxy` first; then
    `wss_proxy` or `ws_proxy`, a SOCKS proxy of the system, `https_proxy`, and for an URL without
    TLS `http_proxy`.
    """
    if setting is None:
        return None
    if setting is not True:
        return Proxy.parse(_checked(setting))
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    tls = parts.scheme in ("wss", "https")
    if proxy_bypass(f"{parts.hostname}:{parts.port or (443 if tls else 80)}"):
        return None
    proxies = getproxies()
    for name in ("wss", "socks", "https") if tls else ("ws", "socks", "https", "http"):
        found = proxies.get(name)
        if found:
            if name == "socks" and found.startswith("http://"):  # how systems' settings write it
                found = "socks5h://" + found.removeprefix("http://")
            return Proxy.parse(found, source=f"{name}_proxy of the environment")
    return None


def _checked(setting: object) -> str:
    if not isinstance(setting, str):
        raise LocalProtocolError(f"invalid proxy {shown(setting)}: expected a URL, True or None")
    return setting


def _is_plain(host: str) -> bool:
    return host.isascii() and host.isprintable() and " " not in host


def _invalid(source: str, url: str, allowed: str) -> LocalProtocolError:
    """Return the error of a URL, without the part before its host."""
    rest = url.partition("://")[2] if "://" in url else url
    scheme = url[: len(url) - len(rest)]
    shown = scheme + rest.rpartition("@")[2]
    shown = shown if len(shown) <= 100 else f"{shown[:100]}..."
    return LocalProtocolError(f"invalid {source} {shown!r}: {allowed}")
