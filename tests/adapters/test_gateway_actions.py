"""Actions of people in the pytest plugin: messages, slash commands, components, modals."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import attrs
import pytest

from gateway_proto.server import Server, ServerConfig, World
from gateway_pytest import RunningGateway
from gateway_pytest._people import People
from tests.adapters.support import ClientThread


def test_say_sends_a_message_of_a_member(running: RunningGateway) -> None:
    with ClientThread(running) as client:
        running.wait_until_ready()

        message = running.say("!hello")

    world = running.server.world
    assert client.names == ["READY", "MESSAGE_CREATE", "STOP"]
    assert message["content"] == "!hello"
    assert (message["guild_id"], message["channel_id"]) == ("1000", "2000")
    assert message["author"]["username"] == "member-1"
    assert "user" not in message["member"] and "roles" in message["member"]
    assert world.message(message["id"]) is not None
    assert abs((int(message["id"]) >> 22) + 1420070400000 - time.time() * 1000) < 60_000


_WORLD = World.with_guild(members=2, channels=["general", "other"])


_PRIVATE = attrs.evolve(
    _WORLD, private_channels=[{"id": "9", "recipients": [{"id": "4001", "username": "member-2"}]}]
)


def _people(world: World) -> People:
    return People(Server(ServerConfig(world=world)), 0.0, "http://127.0.0.1:80/api")


@pytest.mark.parametrize(
    ("channel", "author"),
    [
        ("other", "member-2"),
        ("2001", "4001"),
        (2001, 4001),
        (_WORLD.guilds[0]["channels"][1], _WORLD.guilds[0]["members"][1]),
        ({"id": "2001"}, {"id": "4001"}),
    ],
)
def test_people_and_channels_are_chosen_by_name_id_or_object(channel: Any, author: Any) -> None:
    message = _people(_WORLD).message("hi", channel, author, {"nonce": "5"})[1]

    assert (message["channel_id"], message["author"]["id"]) == ("2001", "4001")
    assert message["nonce"] == "5"


def test_direct_messages_have_no_guild() -> None:
    message = _people(_PRIVATE).message("hi", "9", None, {})[1]

    assert (message["channel_id"], message["author"]["id"]) == ("9", "4001")
    assert "guild_id" not in message and "member" not in message


@pytest.mark.parametrize(
    ("world", "channel", "author", "text"),
    [
        (_WORLD, "none", None, "unknown channel 'none': the world has general (2000), other"),
        (_WORLD, None, "nobody", "unknown author 'nobody': the world has member-1 (4000), member"),
        (World(), None, None, "no channel: the world has none"),
        (World.with_guild(members=0), None, None, "no author: the world has gateway_proto"),
    ],
)
def test_unknown_people_and_channels_raise(
    world: World, channel: Any, author: Any, text: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        _people(world).message("hi", channel, author, {})

    assert str(caught.value).startswith(text)


_BUTTONS = [
    {"type": 2, "custom_id": "go", "label": "Next"},
    {"type": 2, "custom_id": "off", "label": "Last", "disabled": True},
]


_MENU = {"type": 3, "custom_id": "menu", "options": [{"label": "One", "value": "1"}]}


_ROWS = [{"type": 1, "components": _BUTTONS}, {"type": 17, "components": [_MENU]}]


def test_slash_command_has_options_and_a_member(running: RunningGateway) -> None:
    with ClientThread(running, intents=1) as client:
        running.wait_until_ready()

        made = running.slash("ping", times=2, options={"channel": "here"}, author="member-1")

    assert client.names[-2:] == ["INTERACTION_CREATE", "STOP"]
    assert made["data"]["name"] == "ping"
    given = {option["name"]: option["value"] for option in made["data"]["options"]}
    assert given == {"channel": "here", "times": 2}
    assert made["member"]["user"]["username"] == "member-1"
    assert made["token"] and made["application_id"]


@pytest.mark.parametrize("button", ["go", "Next", _BUTTONS[0]])
def test_component_of_the_latest_message_is_found(running: RunningGateway, button: Any) -> None:
    with ClientThread(running):
        running.wait_until_ready()
        first = running.say("first", components=_ROWS)
        second = running.say("second", components=_ROWS)

        pressed = running.press(button)
        of_first = running.press(button, message=first)
        chosen = running.select("menu", "1")

        with pytest.raises(AssertionError, match="component 'Last' is disabled"):
            running.press("Last")
        with pytest.raises(AssertionError, match=r"unknown component 'x': the world has Next"):
            running.press("x")
    assert pressed["data"]["custom_id"] == "go"
    assert (pressed["message"]["id"], of_first["message"]["id"]) == (second["id"], first["id"])
    assert chosen["data"]["values"] == ["1"]


def test_submitted_modal_reaches_the_client(running: RunningGateway) -> None:
    inputs = [{"type": 4, "custom_id": "name", "label": "Your name", "style": 1}]
    modal = {"custom_id": "form", "title": "A form", "components": [_row(inputs)]}
    with ClientThread(running) as client:
        running.wait_until_ready()
        opened = running.slash("ping")
        _post(running, f"interactions/{opened['id']}/{opened['token']}/callback", 9, modal)

        made = running.submit("A form", {"Your name": "somebody"})

    assert client.names[-2:] == ["INTERACTION_CREATE", "STOP"]
    assert made["type"] == 5
    assert made["data"]["custom_id"] == "form"
    assert made["data"]["components"][0]["components"][0]["value"] == "somebody"


def _row(components: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": 1, "components": components}


def _post(running: RunningGateway, path: str, type_: int, data: Any) -> None:
    body = json.dumps({"type": type_, "data": data}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{running.api_url}/v10/{path}", body, headers)
    urllib.request.urlopen(request).close()
