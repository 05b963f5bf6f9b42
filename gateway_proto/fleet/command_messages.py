"""Commands to a shard that another member owns, and their answers, as values and as bytes.

A message is in the mailbox of the owner, its answer in that of the sender. Neither has the token.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec

from gateway_proto._checks import instance_of, shown
from gateway_proto.client.command_encoding import check_sent_by_caller
from gateway_proto.commands import (
    Activity,
    Command,
    RawCommand,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    UpdatePresence,
    UpdateVoiceState,
    VoiceServerPing,
)
from gateway_proto.encoding import json_text
from gateway_proto.encoding.raw_value import DECODE_ERRORS
from gateway_proto.errors import DataError, LocalProtocolError
from gateway_proto.fleet.mailboxes import MAX_MESSAGE_SIZE
from gateway_proto.fleet.member_record import MAX_SHARDS, GatewaySettings
from gateway_proto.versions import VERSIONS, Encoding
from gateway_proto.wire.command_codec import command_to_payload
from gateway_proto.wire.payload import encode_payload

__all__ = [
    "CommandAnswer",
    "CommandMessage",
    "DesiredPresence",
    "check_command",
    "decode_command",
    "encode_command",
    "mailbox_of",
]

T = TypeVar("T")
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        UpdatePresence,
        UpdateVoiceState,
        VoiceServerPing,
        RequestGuildMembers,
        RequestSoundboardSounds,
        RequestChannelInfo,
        RawCommand,
    )
}
_MAX_REASON = 500
_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_SETTINGS = instance_of(GatewaySettings, "a GatewaySettings")
_INVALID = (*DECODE_ERRORS, LocalProtocolError, TypeError)


class CommandMessage(msgspec.Struct, frozen=True, array_like=True):
    """One attempt to have a command sent by the owner of its shard."""

    id: _Name
    """Unique among all commands; a further attempt has the same."""
    attempt: Annotated[int, msgspec.Meta(ge=1)]
    reply_to: _Name
    """Mailbox of the answer."""
    shard: Annotated[int, msgspec.Meta(ge=0, lt=MAX_SHARDS)]
    seconds: Annotated[float, msgspec.Meta(gt=0, le=1e6)]
    """Seconds, from when the message is taken, after which the command is not sent."""
    command: bytes
    """See `encode_command`; that of a presence has no contents, see `DesiredPresence`."""

    def to_bytes(self) -> bytes:
        """Return MessagePack. Raises `LocalProtocolError` for a command that is too large."""
        data = msgspec.msgpack.encode(self)
        if len(data) > MAX_MESSAGE_SIZE:
            raise LocalProtocolError(
                f"the command has {len(data)} bytes: expected at most {MAX_MESSAGE_SIZE}"
            )
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> CommandMessage:
        """Return the message of a `to_bytes` value. Raises `DataError` if it is invalid."""
        return _decoded(data, cls, "a command")


class CommandAnswer(msgspec.Struct, frozen=True, array_like=True):
    """Result of a command, by the member that took it."""

    id: _Name
    attempt: int
    outcome: Literal["sent", "not mine", "not sent", "invalid"]
    """All but "sent" mean that the command was not sent, and will not be."""
    text: Annotated[str, msgspec.Meta(max_length=_MAX_REASON)] = ""
    """Id of the session in which the command was sent, or why it was not."""

    def to_bytes(self) -> bytes:
        """Return MessagePack; a long reason is cut."""
        text = self.text.encode("utf-8", "replace").decode()[:_MAX_REASON]
        return msgspec.msgpack.encode(msgspec.structs.replace(self, text=text))

    @classmethod
    def from_bytes(cls, data: bytes) -> CommandAnswer:
        """Return the answer of a `to_bytes` value. Raises `DataError` if it is invalid."""
        return _decoded(data, cls, "an answer to a command")


class DesiredPresence(msgspec.Struct, frozen=True):
    """The presence that each owner of a shard sends, as a value of the store."""

    presence: UpdatePresence
    nonce: str
    """Makes each write unlike any other, so that its writer recognizes it."""

    def to_bytes(self) -> bytes:
        """Return bytes, which `from_bytes` converts to an equal value."""
        return msgspec.msgpack.encode([self.nonce, encode_command(self.presence)])

    @classmethod
    def from_bytes(cls, data: bytes) -> DesiredPresence:
        """Return the value of `to_bytes`. Raises `DataError` if it is invalid."""
        nonce, encoded = _decoded(data, tuple[str, bytes], "a presence")
        presence = decode_command(encoded)
        if not isinstance(presence, UpdatePresence):
            raise DataError("data is not a presence")
        return cls(presence, nonce)


def mailbox_of(member: str) -> str:
    """Return the name of the mailbox in which a member takes commands."""
    return f"member:{member}"


def encode_command(command: Command) -> bytes:
    """Return a command as JSON, for any version. Raises `LocalProtocolError`.

    Commands that the connection sends by itself cannot be sent.
    """
    check_sent_by_caller(command)
    kind = type(command).__name__
    if type(command) is not _KINDS.get(kind):
        raise LocalProtocolError(
            f"invalid command {shown(command)}: expected a command of gateway_proto, such as "
            "UpdatePresence([Activity('chess')])"
        )
    return json_text([kind, command])


def decode_command(data: bytes) -> Command:
    """Return the command of `encode_command`. Raises `DataError` if it is invalid."""
    try:
        kind, fields = msgspec.json.decode(data, type=tuple[str, dict[str, Any]])
        if kind == UpdatePresence.__name__:
            fields["activities"] = msgspec.convert(fields.get("activities"), list[Activity])
        command: Command = _KINDS[kind](**fields)
    except (*_INVALID, KeyError) as error:
        why = f"{type(error).__name__}: {error}"
    else:
        return command
    raise DataError(f"data is not a command: {why}")


def check_command(command: Command, settings: GatewaySettings) -> None:
    """Raise `LocalProtocolError` for a command that a client with these settings cannot send."""
    check_sent_by_caller(command)
    _SETTINGS.named("settings", settings)
    version = VERSIONS.get(settings.version)
    if version is None:
        return  # the member has a later release than this process
    op, d = command_to_payload(command, version, intents=settings.intents)
    if settings.encoding != Encoding.JSON.value:
        return  # the encoder of the other encoding may be missing here
    size = len(encode_payload(op, d, Encoding.JSON))
    limit = settings.payload_limit or version.payload_limit
    if size > limit:
        raise LocalProtocolError(
            f"{type(command).__name__} has {size} bytes, more than the {limit} that a gateway takes"
        )


def _decoded(data: bytes, kind: type[T], what: str) -> T:
    try:
        if len(data) <= MAX_MESSAGE_SIZE:
            return msgspec.msgpack.decode(data, type=kind)
        why = f"it has {len(data)} bytes"
    except _INVALID as error:
        why = str(error)
    raise DataError(f"data is not {what}: {why}")
