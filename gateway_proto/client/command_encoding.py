"""Commands of a client as encoded messages, checked before they are sent."""

from __future__ import annotations

from gateway_proto._checks import shown
from gateway_proto.commands import Command, Heartbeat, Identify, Request, Resume, UpdatePresence
from gateway_proto.config import Config
from gateway_proto.errors import LocalProtocolError
from gateway_proto.session import Session
from gateway_proto.versions import Compression, Encoding
from gateway_proto.wire.command_codec import command_to_payload
from gateway_proto.wire.payload import encode_payload

__all__ = [
    "check_is_request",
    "check_sent_by_caller",
    "encode_command",
    "encode_identify",
    "identify_command",
    "resume_command",
]


def encode_command(config: Config, command: Command) -> str | bytes:
    """Return the message that carries a command; raises `LocalProtocolError`."""
    op, d = command_to_payload(command, config.version, intents=config.intents)
    text = encode_payload(op, d, config.encoding)
    limit = config.payload_limit or config.version.payload_limit
    # The values in Resume and Heartbeat come from the server.
    if len(text) > limit and not isinstance(command, Resume | Heartbeat):
        raise LocalProtocolError(
            f"{type(command).__name__} has {len(text)} bytes, more than the {limit} that a "
            "gateway takes"
        )
    return text.decode() if config.encoding is Encoding.JSON else text


def identify_command(config: Config, presence: UpdatePresence | None) -> Identify:
    """Return the Identify of a client with this config and a presence."""
    return Identify(
        token=config.token,
        properties=config.properties,
        intents=config.intents,
        compress=config.compression is Compression.PAYLOAD,
        large_threshold=config.large_threshold,
        shard=config.shard,
        presence=presence,
        guild_subscriptions=config.guild_subscriptions,
    )


def encode_identify(config: Config, presence: UpdatePresence | None) -> str | bytes:
    """Return the encoded Identify; raises `LocalProtocolError`, as for one that is too large."""
    return encode_command(config, identify_command(config, presence))


def resume_command(config: Config, session: Session) -> Resume:
    """Return the Resume of a session."""
    with_token = config.resume_with_token
    if with_token is None:
        with_token = config.version.resume_with_token
    token = config.token if with_token else None
    return Resume(session_id=session.id, seq=session.sequence, token=token)


def check_sent_by_caller(command: Command) -> None:
    """Raise `LocalProtocolError` for a command that only the connection itself sends."""
    if isinstance(command, Identify | Resume | Heartbeat):
        raise LocalProtocolError(
            f"invalid command {type(command).__name__}: the connection sends it by itself"
        )


def check_is_request(request: Request) -> None:
    """Raise `LocalProtocolError` unless `request` is a request with an answer, of one guild."""
    if not isinstance(request, Request):
        raise LocalProtocolError(f"{shown(request)} is not a request with an answer: use send")
    if isinstance(getattr(request, "guild_id", ""), tuple):
        raise LocalProtocolError(
            "invalid guild_id: answers for several guilds cannot be separated, ask for one"
        )
