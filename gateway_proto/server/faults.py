"""Faults that a server injects, as data: objects, JSON or YAML.

    Scenario([Fault("drop", on="dispatch", nth=3, connection=1), Fault("close", code=4009)])

A scenario has the same effect in virtual time and over a network: it counts connections and
triggers on them, and contains no randomness.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs
import msgspec

from gateway_proto._checks import (
    BOOL,
    JSON,
    POSITIVE,
    SECONDS,
    TEXT,
    Check,
    Each,
    as_text,
    as_tuple,
    instance_of,
    integer,
    is_text,
    one_of,
    optional,
    rejected,
)
from gateway_proto.errors import LocalProtocolError
from gateway_proto.wire.close_codes import ALL_DEFINED, is_defined

__all__ = ["Fault", "Scenario"]

FAULT_ACTIONS = {
    "refuse": "reject the upgrade with an HTTP status",
    "drop": "drop the transport without a close frame, after `size` more bytes",
    "close": "close with a code and a reason",
    "reconnect": "send RECONNECT, with a URL if one is given",
    "invalidate": "send INVALID_SESSION, resumable or not",
    "silence": "send nothing more, not even a close frame",
    "no_acks": "acknowledge no further heartbeat",
    "hold": "send nothing for `seconds`, then all of it",
    "corrupt": "corrupt the frame header of the next message",
    "corrupt_data": "corrupt the data of the next message",
    "garbage": "send bytes that are not a frame",
    "bomb": "send a message that decompresses to `size` bytes",
    "fragment": "send the next message in frames of `size` bytes",
    "merge": "hold the next `size` messages, and send them at once",
    "trickle": "send `size` bytes at a time, `seconds` apart",
    "skip": "skip `size` sequences",
    "repeat": "send the last dispatch again",
    "resume_url": "name another resume URL in READY",
}
_TRIGGERS = (
    "upgrade",
    "open",
    "identify",
    "resume",
    "ready",
    "resumed",
    "dispatch",
    "heartbeat",
)


_Entries: TypeAlias = list[dict[str, Any]]


def _is_close_code(value: Any) -> bool:
    return integer(1000, 4999).allows(value) and is_defined(value)


def _is_reason(value: Any) -> bool:
    return is_text(value) and len(value) <= _MAX_BODY


_MAX_BODY = 2**16
_MAX_REASON = 123
"""Bytes: a control frame has at most 125 (RFC 6455, 5.5), of which the code takes two."""
_CLOSE_CODE = Check(_is_close_code, ALL_DEFINED)
_REASON = Check(_is_reason, f"a str of at most {_MAX_BODY} characters")
_YAML = instance_of((str, bytes), "YAML as a str or bytes")
_SIZE = integer(0, 2**30)
_FAULTS = "faults, such as [Fault('drop')]"


@attrs.frozen
class Fault:
    """One fault, and the trigger that causes it."""

    what: str = attrs.field(validator=one_of(FAULT_ACTIONS))
    """refuse, drop, close, reconnect, invalidate, silence, no_acks, hold, corrupt, corrupt_data,
    garbage, bomb, fragment, merge, trickle, skip, repeat or resume_url."""
    on: str = attrs.field(default="ready", kw_only=True, validator=one_of(_TRIGGERS))
    """upgrade, open (before HELLO), identify (before READY), resume (before RESUMED), ready,
    resumed, dispatch (after it) or heartbeat (before its ACK)."""
    connection: int | None = attrs.field(default=1, kw_only=True, validator=optional(POSITIVE))
    """Number of the upgrade since the scenario was set, counted from 1; None means every one."""
    nth: int = attrs.field(default=1, kw_only=True, validator=POSITIVE)
    """Which occurrence of the trigger on that connection, counted from 1."""
    after: float = attrs.field(default=0.0, kw_only=True, validator=SECONDS)
    """Seconds from the trigger to the fault."""
    code: int = attrs.field(default=4000, kw_only=True, validator=_CLOSE_CODE)
    reason: str = attrs.field(default="", kw_only=True, validator=_REASON)
    status: int = attrs.field(default=503, kw_only=True, validator=integer(200, 599))
    """Status of the HTTP response."""
    retry_after: float | None = attrs.field(default=None, kw_only=True, validator=optional(SECONDS))
    """Seconds in Retry-After of the HTTP response; None omits it."""
    resumable: bool = attrs.field(default=False, kw_only=True, validator=BOOL)
    url: str | None = attrs.field(default=None, kw_only=True, validator=optional(TEXT))
    size: int = attrs.field(default=0, kw_only=True, validator=_SIZE)
    """Bytes, or messages to merge, or sequences to skip."""
    seconds: float = attrs.field(default=1.0, kw_only=True, validator=SECONDS)

    def __attrs_post_init__(self) -> None:
        # The reason of a refusal is the body of the response, and may be longer.
        if self.what == "close" and len(self.reason.encode()) > _MAX_REASON:
            raise rejected("Fault.reason", self.reason, f"at most {_MAX_REASON} bytes for a close")


def _faults(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    members: tuple[Fault, ...] = as_tuple(faults)
    return members


@attrs.frozen
class Scenario:
    """Faults of a server, for all of its connections."""

    faults: tuple[Fault, ...] = attrs.field(
        default=(),
        converter=_faults,
        validator=Each(instance_of(Fault, "a Fault, such as Fault('drop')"), _FAULTS),
    )

    @classmethod
    def from_json(cls, text: str | bytes) -> Scenario:
        """Return the scenario of a list of objects with the fields of `Fault`.

        Raises `LocalProtocolError` with the number of the invalid one.
        """
        JSON.named("text", text)
        try:
            entries = msgspec.json.decode(as_text(text), type=_Entries)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise LocalProtocolError(f"invalid scenario: {error}") from None
        return cls._from_entries(entries)

    @classmethod
    def from_yaml(cls, text: str | bytes) -> Scenario:
        """Return the scenario of YAML, which needs PyYAML; the extra `cli` installs it.

        Raises `LocalProtocolError`, and ImportError without PyYAML.
        """
        _YAML.named("text", text)
        try:
            entries = msgspec.yaml.decode(as_text(text), type=list[dict[Any, Any]])
        # Invalid dates raise ValueError.
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
            raise LocalProtocolError(f"invalid scenario: {error}") from None
        # YAML reads the word `on` as true.
        return cls._from_entries(
            [
                {"on" if key is True else str(key): value for key, value in entry.items()}
                for entry in entries
            ]
        )

    @classmethod
    def _from_entries(cls, entries: _Entries) -> Scenario:
        known = {field.name for field in attrs.fields(Fault)}
        faults = []
        for number, entry in enumerate(entries, 1):
            if "what" not in entry or entry.keys() - known:
                raise LocalProtocolError(
                    f"fault {number} of the scenario has {sorted(entry)}: expected what, and "
                    f"optionally {sorted(known - {'what'})}"
                )
            try:
                faults.append(Fault(**entry))
            except LocalProtocolError as error:
                raise LocalProtocolError(f"fault {number} of the scenario: {error}") from None
        return cls(faults)

    def for_connection(self, connection: int) -> tuple[Fault, ...]:
        """Return the faults of a connection, by its number."""
        return tuple(fault for fault in self.faults if fault.connection in (None, connection))
