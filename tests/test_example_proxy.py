"""The gateway proxy in examples/: its bots restart without an Identify at the gateway."""

from __future__ import annotations

import asyncio
import pathlib
import select
import subprocess
from typing import Any

import pytest

from gateway_asyncio import open_gateway
from gateway_proto import (
    Activity,
    Config,
    Dispatch,
    Identify,
    Intents,
    Opened,
    Ready,
    RequestGuildMembers,
    Resume,
    Resumed,
    SessionInvalidated,
    UpdatePresence,
)
from gateway_proto.server import World
from gateway_proto.session import GuildBackfill
from gateway_pytest import RunningGateway

SOMEBODY = {"user": {"id": "4000", "username": "somebody"}, "roles": []}
GUILD = {"id": "1000", "name": "a guild", "channels": [], "members": [SOMEBODY]}


@pytest.fixture
def proxy(
    gateway_server: RunningGateway, start_example: Any, tmp_path: pathlib.Path
) -> dict[str, str]:
    """Return the environment of a bot that connects to the proxy."""
    token = gateway_server.token
    intents = Intents.GUILDS | Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT
    api_url = f"{gateway_server.api_url}/v10"
    env = {"INTENTS": str(int(intents)), "PORT": "0"}
    process = start_example("proxy.py", GATEWAY_TOKEN=token, GATEWAY_API=api_url, **env)
    session = str(tmp_path / "session.json")
    api_url = process.stdout.readline().strip()
    assert api_url.startswith("http://127.0.0.1:")
    gateway_server.wait_until_ready(timeout=60)
    return {"GATEWAY_TOKEN": token, "GATEWAY_API": f"{api_url}/v10", "SESSION_FILE": session}


def _stop(bot: subprocess.Popen[str], gateway_server: RunningGateway) -> list[str]:
    """Dispatch until the bot prints something, then stop it once, and return the printed lines.

    Of several `!stop`, those that wait would be replayed to the next process, and end it early.
    """
    assert bot.stdout is not None
    while not select.select([bot.stdout], [], [], 0.2)[0]:
        gateway_server.dispatch("MESSAGE_CREATE", {"content": "hello"})
    gateway_server.dispatch("MESSAGE_CREATE", {"content": "!stop"})
    out, errors = bot.communicate(timeout=60)
    assert errors == ""
    return out.splitlines()


@pytest.mark.gateway(world=World([GUILD]))
def test_proxy_restarts_a_bot_without_identify_upstream(
    gateway_server: RunningGateway, start_example: Any, proxy: dict[str, str]
) -> None:
    first = start_example("on_trio.py", **proxy)
    presence = gateway_server.wait_for(UpdatePresence, timeout=60)
    assert _stop(first, gateway_server)[-1] == "!stop"  # and its session has ended
    second = start_example("on_selectors.py", **proxy)
    assert _stop(second, gateway_server)[-1] == "!stop"

    assert [activity.name for activity in presence.activities] == ["chess"]
    came = [type(event) for event in gateway_server.received]
    assert came.count(Identify) == came.count(Opened) == 1
    assert Resume not in came


@pytest.mark.gateway(world=World([GUILD]))
def test_proxy_replays_missed_dispatches_on_resume(
    gateway_server: RunningGateway, start_example: Any, proxy: dict[str, str]
) -> None:
    _stop(start_example("on_asyncio.py", **proxy), gateway_server)
    for content in ("between the processes", "!stop"):
        gateway_server.dispatch("MESSAGE_CREATE", {"content": content})

    printed = _stop(start_example("on_asyncio.py", **proxy), gateway_server)

    assert printed[-2:] == ["between the processes", "!stop"]
    assert [type(event) for event in gateway_server.received].count(Identify) == 1


@pytest.mark.gateway(world=World([GUILD]))
def test_proxy_sends_existing_guilds_to_a_new_bot(
    gateway_server: RunningGateway, proxy: dict[str, str]
) -> None:
    gateway_server.dispatch("GUILD_UPDATE", {"id": "1000", "name": "another name"})
    gateway_server.dispatch("GUILD_CREATE", {"id": "2000", "name": "a new one"})
    gateway_server.dispatch("GUILD_DELETE", {"id": "2000"})

    async def guilds() -> list[str]:
        config = Config(
            token=proxy["GATEWAY_TOKEN"],
            api_url=proxy["GATEWAY_API"],
            intents=Intents.GUILDS,
            presence=UpdatePresence([Activity("go")]),
        )
        async with open_gateway(config) as gateway:
            backfill, names = GuildBackfill(), []
            async for event in gateway:
                backfill = backfill.after(event)
                if isinstance(event, Dispatch) and event.name == "GUILD_CREATE":
                    names.append(event.data["name"])
                if backfill.done:
                    break
            members = RequestGuildMembers("1000", user_ids=["4000"])
            answer = await gateway.request(members, timeout=60)
            return names + [member["user"]["username"] for member in answer.members]

    async def seen() -> list[str]:
        names = await guilds()
        while "a guild" in names or "a new one" in names:  # the proxy has not read all of them
            names = await guilds()
        return names

    assert asyncio.run(asyncio.wait_for(seen(), 60)) == ["another name", "somebody"]
    assert gateway_server.wait_for(UpdatePresence).activities == (Activity("go"),)


@pytest.mark.slow
@pytest.mark.gateway(world=World([GUILD]))
def test_proxy_invalidates_bots_on_a_new_upstream_session(
    gateway_server: RunningGateway, proxy: dict[str, str]
) -> None:
    async def main() -> list[str]:
        config = Config(
            token=proxy["GATEWAY_TOKEN"], api_url=proxy["GATEWAY_API"], intents=Intents.GUILDS
        )
        names = []
        async with open_gateway(config) as away:
            async for event in away:
                if isinstance(event, Ready):
                    away.handled()
                    break
        async with open_gateway(config) as gateway:
            async for event in gateway:
                names.append(type(event).__name__)
                if isinstance(event, Ready):
                    if names.count("Ready") == 2:
                        break
                    gateway_server.send(SessionInvalidated())
            async with open_gateway(config, session=away.session) as back:
                async for event in back:
                    names.append(type(event).__name__)
                    if isinstance(event, Ready | Resumed):
                        return names
        return names

    names = asyncio.run(asyncio.wait_for(main(), 60))

    assert names.count("SessionInvalidated") == 2, names
    assert names.count("Ready") == 3, names
    assert "Resumed" not in names
