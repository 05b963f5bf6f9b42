"""Answers of a server's world to the commands of a session."""

from __future__ import annotations

from typing import Any, Protocol

from gateway_proto.commands import (
    Command,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.server.session import ServerSession
from gateway_proto.server.world import World

__all__ = ["AnswerContext", "answers"]


class AnswerContext(Protocol):
    """Interface of a server for the answers to commands."""

    world: World

    def members_wait(self, token: str, guild_id: str, *, now: float) -> float:
        """Return the seconds until a bot may ask for all members; 0 counts the request."""
        ...


def answers(
    command: Command, session: ServerSession, context: AnswerContext, *, now: float
) -> list[tuple[str, Any]]:
    """Return the dispatches that answer a command: their names and data.

    A guild that is not in the world has no answer.
    """
    world = context.world
    match command:
        case RequestGuildMembers():
            return _members(command, session, context, now)
        case RequestSoundboardSounds():
            return [("SOUNDBOARD_SOUNDS", sounds) for sounds in world.soundboard_sounds(command)]
        case RequestChannelInfo():
            info = world.channel_info(command)
            return [] if info is None else [("CHANNEL_INFO", info)]
        case UpdateVoiceState(guild_id=str(guild_id)) if world.guild(guild_id) is not None:
            dispatches = list(world.voice(command, session.id).items())
            for name, d in dispatches:
                context.world = context.world.after(name, d)
            return dispatches
        case UpdatePresence():
            session.update_presence(command, now=now)
    return []


def _members(
    request: RequestGuildMembers, session: ServerSession, context: AnswerContext, now: float
) -> list[tuple[str, Any]]:
    is_limited = session.version.members_limit is not None

    def seconds_left(guild_id: str) -> float:
        return context.members_wait(session.token, guild_id, now=now) if is_limited else 0.0

    view = session.members_view(str(context.world.user["id"]))
    return view.answers(
        request,
        context.world.requested_guild,
        seconds_left,
        many_guilds=session.version.multi_guild_requests,
    )
