"""Steps of one dial, and the text of its failure with the reason of each tried address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from gateway_dialing._failures import DialError, is_permanent, reason

__all__ = ["Address", "Attempt", "in_order"]


@attrs.frozen
class Address:
    """Address of a host, in the form that sockets expect."""

    family: int
    kind: int
    protocol: int
    sockaddr: Any

    def __str__(self) -> str:
        return f"{self.sockaddr[0]} port {self.sockaddr[1]}"


def in_order(found: Sequence[tuple[Any, ...]]) -> list[Address]:
    """Return the addresses of `getaddrinfo`, families alternating (RFC 8305, section 4)."""
    addresses = [
        Address(family, kind, protocol, sockaddr) for family, kind, protocol, _, sockaddr in found
    ]
    addresses = list(dict.fromkeys(addresses))
    first = [one for one in addresses if one.family == addresses[0].family]
    others = [one for one in addresses if one.family != addresses[0].family]
    ordered: list[Address] = []
    while first or others:
        ordered += [queue.pop(0) for queue in (first, others) if queue]
    return ordered


class Attempt:
    """Steps of one dial so far, and the result of each address that was tried."""

    def __init__(self) -> None:
        self._step = ""
        self._via = ""
        self._host = ""
        self.tried: dict[Address, OSError | None] = {}
        """Addresses that were tried, each with its error; None while it is being tried."""
        self._is_connecting = False

    def resolving(self, host: str) -> None:
        """Begin to look up the addresses of a host."""
        self._step = f"resolving {host!r}"

    def connecting(self, host: str) -> None:
        """Begin to try the addresses of a host."""
        self._host = host
        self._step = f"connecting to {host!r}"
        self._is_connecting = True

    def through(self, proxy: str) -> None:
        """Begin to connect to a proxy; texts of failures name it."""
        self._via = f"proxy {proxy}: "

    def tunnelling(self, authority: str) -> None:
        """Begin to ask the proxy for a tunnel."""
        self._step = f"asking for a tunnel to {authority}"

    def tunnelled(self) -> None:
        """End the steps of the proxy: the next ones concern the host."""
        self._via = ""

    def encrypting(self, host: str) -> None:
        """Begin the TLS handshake with a host."""
        self._step = f"TLS handshake with {host!r}"

    def calling(self, name: str) -> None:
        """Begin to call a function of the caller."""
        self._step = f"calling {name}"

    def trying(self, address: Address) -> None:
        """Note that an address is tried."""
        self.tried[address] = None

    def refused(self, address: Address, error: OSError) -> None:
        """Note why an address cannot be connected to."""
        self.tried[address] = error

    @property
    def refusals(self) -> str:
        """Addresses that were tried, each with its reason; only the reason if it is the host."""
        reasons = {
            address: "no answer" if error is None else reason(error)
            for address, error in self.tried.items()
        }
        if [address.sockaddr[0] for address in reasons] == [self._host]:
            return "".join(reasons.values())
        return "; ".join(f"{address}: {why}" for address, why in reasons.items())

    def connected(self) -> None:
        """Note that an address answered, so that the others are not reported."""
        self._is_connecting = False

    def no_address_answers(self) -> DialError:
        """Return the error of a host whose addresses all failed."""
        return DialError(self._via + self.refusals)

    def failed(self, error: BaseException) -> DialError:
        """Return the error of a step that failed."""
        text = f"{self._via}{self._step}: {reason(error)}"
        return DialError(text, permanent=is_permanent(error))

    def timed_out(self, seconds: float) -> DialError:
        """Return the error of a dial that took too long, with the step that it was in."""
        tried = f" ({self.refusals})" if self._is_connecting else ""
        return DialError(f"{self._via}timed out after {seconds:g} s: {self._step}{tried}")
