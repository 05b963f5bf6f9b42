"""Gateway proxy on PORT: its bot restarts without an Identify at the gateway.

A server for the bots, a client of the real gateway: the session there is the proxy's. A bot that
starts again identifies here; one that kept its session resumes here, and gets what it missed. After
a new session at the real gateway events are missing, so the bots' sessions end.
"""

import asyncio
import contextlib
import os
from typing import Any

import gateway_proto as gp
from gateway_asyncio import open_gateway, serve_gateway
from gateway_proto.server import Server, ServerConfig, ServerConnection, ServerEvent, World
from gateway_proto.session import GuildBackfill

Forwarded = gp.Request | gp.UpdatePresence | gp.UpdateVoiceState


class Mirror(World):
    """The bot and its guilds. The real gateway answers requests."""

    def requested_guild(self, guild_id: str) -> None:
        return None

    def soundboard_sounds(self, request: object) -> list[Any]:
        return []

    def channel_info(self, request: object) -> None:
        return None

    def voice(self, state: object, session_id: str) -> dict[str, Any]:
        return {}


def end_sessions(server: Server, now: float) -> None:
    for session in list(server.sessions.values()):
        if session.connection is not None:
            session.connection.send(gp.SessionInvalidated(), now=now)
        server.expire_session(session)


async def main() -> None:
    token, port, intents = (os.environ[name] for name in ("GATEWAY_TOKEN", "PORT", "INTENTS"))
    config = gp.Config(token=token, api_url=os.environ.get("GATEWAY_API"), intents=int(intents))
    front = Server(ServerConfig(tokens={token}, world=Mirror()))
    commands: asyncio.Queue[Forwarded] = asyncio.Queue()

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        command = getattr(event, "presence", None) or event  # that of Identify
        if isinstance(command, Forwarded):
            commands.put_nowait(command)

    async def forward() -> None:
        while True:
            try:
                await gateway.send(await commands.get())
            except gp.GatewayProtoError as error:
                print(error)

    async with open_gateway(config) as gateway, contextlib.AsyncExitStack() as stack:
        backfill, serving = GuildBackfill(), None
        async for event in gateway:
            if isinstance(event, gp.Dispatch):
                front.world = front.world.after(event.name, event.data)
            backfill = backfill.after(event)
            if serving is not None and isinstance(event, gp.Ready):
                end_sessions(front, serving.now())
            elif serving is not None and type(event) is gp.Dispatch:  # not RESUMED
                serving.dispatch(event.name, event.data)
            elif serving is None and backfill.done:  # all guilds have arrived
                opening = serve_gateway(front, port=int(port), on_event=on_event)
                serving = await stack.enter_async_context(opening)
                stack.callback(asyncio.create_task(forward()).cancel)
                print(serving.api_url, flush=True)


try:
    asyncio.run(main())
except gp.GaveUpError as error:  # such as a rejected token; a lost connection is dialled again
    raise SystemExit(error.reason) from None
