"""Bots of third-party libraries, unmodified: they answer, resume, and log no warning."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from collections.abc import Iterator

import pytest

from gateway_proto import Identify, ReconnectRequested, Resume
from gateway_pytest import RunningGateway
from tests.adapters.bots import Bot
from tests.markdown_blocks import has_node_package

pytestmark = pytest.mark.slow

_SCRIPTS = pathlib.Path(__file__).parent / "third_party"
_MESSAGES = "/channels/{channel_id}/messages"
_CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"


def _command(library: str) -> list[str]:
    if library == "discord.js":
        if not has_node_package(library):
            pytest.skip("discord.js is not on NODE_PATH")
        return ["node", str(_SCRIPTS / "discordjs_bot.cjs")]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    return [sys.executable, str(_SCRIPTS / f"{library}_bot.py")]


@pytest.fixture(params=["nextcord", "interactions", "discord.js"])
def bot(request: pytest.FixtureRequest, gateway_server: RunningGateway) -> Iterator[Bot]:
    bot = Bot([*_command(request.param), gateway_server.api_url, gateway_server.token])
    yield bot
    bot.end()


def test_bot_answers_and_resumes_twice(bot: Bot, gateway_server: RunningGateway) -> None:
    bot.expect("ready")

    gateway_server.say("!hello")
    bot.expect("message !hello")
    reply = gateway_server.wait_for_request("POST", _MESSAGES)
    gateway_server.slash("ping")
    answer = gateway_server.wait_for_request("POST", _CALLBACK)
    gateway_server.drop()
    gateway_server.say("while away")
    bot.expect("message while away", "resumed")
    gateway_server.wait_for(Resume)
    gateway_server.wait_until_ready()
    gateway_server.send(ReconnectRequested())
    gateway_server.say("again")
    bot.expect("message again", "resumed")
    gateway_server.wait_for(Resume)

    assert reply.json["content"] == "Hello, member-1!"
    assert answer.json["data"]["content"] == "pong"
    assert [type(event) for event in gateway_server.received].count(Identify) == 1
