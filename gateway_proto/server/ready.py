"""Data of READY, of the guilds that follow it, and of RESUMED.

<https://docs.discord.com/developers/events/gateway-events#ready>; version 3 is that of the 2016
document, where READY has whole guilds and the heartbeat interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway_proto.server.config import ServerConfig
from gateway_proto.server.session import ServerSession
from gateway_proto.server.world import World
from gateway_proto.versions import ProtocolVersion

__all__ = ["ready_dispatches", "resumed_data"]


def ready_dispatches(
    world: World, session: ServerSession, resume_url: str, config: ServerConfig
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield names and data of the dispatches that start a session: READY and its guilds."""
    yield "READY", _ready_data(world, session, resume_url, config.heartbeat_interval)
    if session.version.guilds_in_ready:
        return
    guilds = world.guilds_of(session.shard)
    if not guilds:
        return
    view = session.members_view(str(world.user["id"]))
    for guild in guilds:
        if session.receives("GUILD_CREATE", guild["id"]):
            yield "GUILD_CREATE", view.guild_create(world.guild_create(guild))


def resumed_data(version: ProtocolVersion, config: ServerConfig) -> dict[str, Any]:
    """Return the data of RESUMED in a protocol version."""
    data: dict[str, Any] = {"_trace": []} if version.trace_in_ready else {}
    if not version.sends_hello:
        data["heartbeat_interval"] = config.heartbeat_interval
    return data


def _ready_data(
    world: World, session: ServerSession, resume_url: str, heartbeat_interval: int
) -> dict[str, Any]:
    version = session.version
    guilds = world.guilds_of(session.shard)
    ready: dict[str, Any] = {
        "v": version.number,
        "user": world.user,
        "session_id": session.id,
        "private_channels": [],
        "guilds": [{"id": guild["id"], "unavailable": True} for guild in guilds],
        "relationships": [],
        "user_settings": {},
    }
    if version.guilds_in_ready:
        view = session.members_view(str(world.user["id"]))
        ready["guilds"] = [view.guild_create(world.guild_create(guild)) for guild in guilds]
    if session.shard is not None:
        ready["shard"] = session.shard
    if version.trace_in_ready:
        ready["_trace"] = []
    if version.sends_hello:
        ready["application"] = {key: world.application[key] for key in ("id", "flags")}
    else:
        ready |= {"heartbeat_interval": heartbeat_interval, "read_state": []}
    if version.resume_url_in_ready:
        ready["resume_gateway_url"] = resume_url
    return ready
