"""Unit tests of a bot, without a network and with one.

pip install "gateway-proto[pytest]" && pytest test_a_bot.py
"""

import asyncio

import pytest

from gateway_asyncio import open_gateway
from gateway_proto import (
    Activity,
    Client,
    Command,
    Config,
    Dispatch,
    Event,
    Identify,
    Intents,
    Ready,
    Resume,
    Resumed,
    UpdatePresence,
)
from gateway_proto.server import Fault, Server
from gateway_proto.testing import Link
from gateway_pytest import RunningGateway

# ----- the bot: what it decides is a function, so that a test needs no loop -----


def answer(event: Event) -> Command | None:
    match event:
        case Dispatch(name="MESSAGE_CREATE") if event.data["content"].startswith("!play "):
            return UpdatePresence([Activity(event.data["content"].removeprefix("!play "))])
    return None


async def run(config: Config) -> None:
    async with open_gateway(config) as gateway:
        async for event in gateway:
            if (command := answer(event)) is not None:
                await gateway.send(command)
                return


# ----- its tests -----

INTENTS = Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT  # without it `content` is empty


def test_it_plays_what_it_is_told_to() -> None:
    message = Dispatch.of("MESSAGE_CREATE", {"content": "!play chess"})
    assert answer(message) == UpdatePresence([Activity("chess")])


def test_it_misses_nothing_while_the_network_is_away() -> None:
    server = Server()
    config = Config(token="t", intents=INTENTS, api_url="http://localhost/api")
    link = Link(Client(config), server)
    link.client.expect(Ready)
    link.cut()
    server.dispatch("MESSAGE_CREATE", {"content": "!play go"}, now=link.now)
    link.run(60)  # a minute passes at once
    assert answer(link.client.expect(Dispatch)) == UpdatePresence([Activity("go")])
    link.client.expect(Resumed)


@pytest.mark.gateway(faults=[Fault("drop", on="ready")])
def test_on_a_real_socket_it_resumes_and_answers(gateway_server: RunningGateway) -> None:
    config = Config(
        token=gateway_server.token,
        api_url=gateway_server.api_url,
        intents=INTENTS,
    )

    async def play() -> None:
        bot = asyncio.create_task(run(config))
        await asyncio.to_thread(gateway_server.wait_for, Identify)
        await asyncio.to_thread(gateway_server.wait_for, Resume)  # after the drop
        gateway_server.dispatch("MESSAGE_CREATE", {"content": "!play shogi"})
        await asyncio.wait_for(bot, 10)

    asyncio.run(play())
    assert gateway_server.wait_for(UpdatePresence).activities == (Activity("shogi"),)
