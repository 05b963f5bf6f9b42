"""a scenario, as objects or a file → what a server does wrong, and when.

    Scenario([Fault("drop", on="dispatch", nth=3, connection=1), Fault("close", code=4009)])

The same scenario does the same in fake time and on the wire: it counts connections and what happens
on them, and has no chance in it.
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
    as_tuple,
    instance_of,
    integer,
    is_text,
    one_of,
    optional,
    rejected,
)
from gateway_proto._layers.close_codes import reply_to
from gateway_proto.errors import LocalProtocolError

__all__ = ["Fault", "Scenario"]

_KINDS = {
    "refuse": "answers the upgrade with an HTTP status",
    "drop": "ends the transport without a close frame, after some more bytes",
    "close": "closes with a code and a reason",
    "reconnect": "sends RECONNECT, with a URL if one is given",
    "invalidate": "sends INVALID_SESSION, resumable or not",
    "silence": "sends nothing any more, not even a close frame",
    "no_acks": "acknowledges no heartbeat any more",
    "hold": "sends nothing for some seconds, and then all of it",
    "corrupt": "breaks the frame of the next message",
    "corrupt_data": "breaks what is in the next message",
    "garbage": "sends bytes that are no frame",
    "bomb": "sends a message that inflates to so many bytes",
    "fragment": "sends the next message in frames of so many bytes",
    "merge": "keeps the next so many messages back, and sends them at once",
    "trickle": "sends so many bytes at a time, and waits some seconds between them",
    "skip": "leaves out sequences",
    "repeat": "sends the last dispatch again",
    "resume_url": "names another resume URL in READY",
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
    # RFC 6455, 7.4: no endpoint may send the others.
    return integer(1000, 4999).allows(value) and reply_to(value) == value


def _is_reason(value: Any) -> bool:
    return is_text(value) and len(value) <= _LONGEST_BODY


_LONGEST_BODY = 2**16
_LONGEST_REASON = 123
"""Bytes: a control frame has at most 125 (RFC 6455, 5.5), of which the code takes two."""
_CLOSE_CODE = Check(_is_close_code, "1000 to 1003, 1007 to 1014 or 3000 to 4999")
_REASON = Check(_is_reason, f"a str of at most {_LONGEST_BODY} characters")
_YAML = instance_of((str, bytes), "YAML as a str or bytes")
_SIZE = integer(0, 2**30)
_FAULTS = "faults, such as [Fault('drop')]"


@attrs.frozen
class Fault:
    """One thing that goes wrong."""

    what: str = attrs.field(validator=one_of(_KINDS))
    """refuse, drop, close, reconnect, invalidate, silence, no_acks, hold, corrupt, corrupt_data,
    garbage, bomb, fragment, merge, trickle, skip, repeat or resume_url."""
    on: str = attrs.field(default="ready", kw_only=True, validator=one_of(_TRIGGERS))
    """upgrade, open (before HELLO), identify (before READY), resume (before RESUMED), ready,
    resumed, dispatch (after it) or heartbeat (before its ACK)."""
    connection: int | None = attrs.field(default=1, kw_only=True, validator=optional(POSITIVE))
    """Which upgrade to the server, counted from 1; None: every one."""
    nth: int = attrs.field(default=1, kw_only=True, validator=POSITIVE)
    """The how-manieth time on that connection."""
    after: float = attrs.field(default=0.0, kw_only=True, validator=SECONDS)
    """Seconds from then."""
    code: int = attrs.field(default=4000, kw_only=True, validator=_CLOSE_CODE)
    reason: str = attrs.field(default="", kw_only=True, validator=_REASON)
    status: int = attrs.field(default=503, kw_only=True, validator=integer(200, 599))
    """Of the HTTP answer."""
    retry_after: float | None = attrs.field(default=None, kw_only=True, validator=optional(SECONDS))
    """Seconds, in the header of the HTTP answer."""
    resumable: bool = attrs.field(default=False, kw_only=True, validator=BOOL)
    url: str | None = attrs.field(default=None, kw_only=True, validator=optional(TEXT))
    size: int = attrs.field(default=0, kw_only=True, validator=_SIZE)
    """Bytes, or messages to merge, or sequences to skip."""
    seconds: float = attrs.field(default=1.0, kw_only=True, validator=SECONDS)

    def __attrs_post_init__(self) -> None:
        # Of a refusal it is the body, and may be longer.
        if self.what == "close" and len(self.reason.encode()) > _LONGEST_REASON:
            raise rejected(
                "Fault.reason", self.reason, f"at most {_LONGEST_REASON} bytes for a close"
            )


def _faults(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    members: tuple[Fault, ...] = as_tuple(faults)
    return members


@attrs.frozen
class Scenario:
    """What goes wrong in the life of a server."""

    faults: tuple[Fault, ...] = attrs.field(
        default=(),
        converter=_faults,
        validator=Each(instance_of(Fault, "a Fault, such as Fault('drop')"), _FAULTS),
    )

    @classmethod
    def from_json(cls, text: str | bytes) -> Scenario:
        """The scenario of a list of objects with the fields of `Fault`.

        Raises `LocalProtocolError` that says which is none.
        """
        JSON.named("text", text)
        try:
            entries = msgspec.json.decode(text, type=_Entries)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise LocalProtocolError(f"this text is no scenario: {error}") from None
        return cls._from_entries(entries)

    @classmethod
    def from_yaml(cls, text: str | bytes) -> Scenario:
        """The same of YAML, which needs PyYAML; the extra `cli` brings it.

        Raises `LocalProtocolError`, and ImportError without PyYAML.
        """
        _YAML.named("text", text)
        try:
            entries = msgspec.yaml.decode(text, type=list[dict[Any, Any]])
        # Its dates raise ValueError.
        except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
            raise LocalProtocolError(f"this text is no scenario: {error}") from None
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
                    f"fault {number} of the scenario has {sorted(entry)}: it needs what, and may "
                    f"have {sorted(known - {'what'})}"
                )
            try:
                faults.append(Fault(**entry))
            except LocalProtocolError as error:
                raise LocalProtocolError(f"fault {number} of the scenario: {error}") from None
        return cls(faults)

    def of(self, connection: int) -> tuple[Fault, ...]:
        """The faults of a connection."""
        return tuple(fault for fault in self.faults if fault.connection in (None, connection))
