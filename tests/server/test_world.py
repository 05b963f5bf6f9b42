"""World of the server: its data, and the dispatches that a session gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_proto import (
    Client,
    Config,
    Dispatch,
    GuildMembers,
    Intents,
    LocalProtocolError,
    Ready,
    RequestAnswered,
    RequestChannelInfo,
    RequestFailed,
    RequestGuildMembers,
    RequestSoundboardSounds,
    UpdateVoiceState,
)
from gateway_proto.server import Server, ServerConfig, World
from gateway_proto.testing import Link


def _member(number: int) -> dict[str, Any]:
    return {"user": {"id": str(number), "username": f"{'ab'[number % 2]}{number}"}, "roles": []}


GUILD: dict[str, Any] = {
    "id": "5",
    "name": "five",
    "members": [_member(number) for number in range(1, 2501)],
    "presences": [{"user": {"id": "2"}, "status": "online"}],
    "channels": [{"id": "50", "status": "chess"}, {"id": "51"}],
    "soundboard_sounds": [{"name": "bell"}],
}
OTHER = {"id": str(1 << 22), "name": "other"}
WORLD = World([GUILD, OTHER])
ALL = Intents((1 << 26) - 1)


def _link(world: World = WORLD, **config: Any) -> Link:
    given = {"token": "t", "intents": ALL, "gateway_url": "ws://localhost", "unix_offset": 0.0}
    return Link(Client(Config(**{**given, **config})), Server(ServerConfig(world=world)))


def _names(link: Link) -> list[str]:
    return [event.name for event in link.client.events if isinstance(event, Dispatch)]


def _ask(link: Link, request: Any) -> Any:
    connection: Any = link.client.connection
    connection.request(request, now=link.now)
    link.run()
    over = [e for e in link.client.take() if isinstance(e, RequestAnswered | RequestFailed)]
    return over[-1] if over else None


# ----- data -----


def test_world_is_read_from_json_and_completed() -> None:
    text = json.dumps({"user": {"id": "7", "username": "me"}, "guilds": [{"id": 5, "name": "x"}]})

    world = World.from_json(text)

    assert (world.user["id"], world.user["username"], world.user["bot"]) == ("7", "me", True)
    guild = world.guild("5")
    assert guild is not None and (guild["id"], guild["name"]) == ("5", "x")
    assert World.from_json("{}") == World()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "[]",
            '{"guild": []}',
            '{"guilds": 5}',
            '{"guilds": [{}]}',
            '{"guilds":[{"id":"x"}]}',
        ),
        '{"guilds":[{"id":' + "[" * 60_000,
    ],
    ids=lambda text: text[:24],
)
def test_invalid_world_is_rejected(text: str) -> None:
    with pytest.raises(LocalProtocolError, match=r"not a world|World.guilds"):
        World.from_json(text)


# ----- guilds and shards -----


def test_guilds_follow_ready_with_all_fields() -> None:
    link = _link()

    created = [e for e in link.client.events if getattr(e, "name", "") == "GUILD_CREATE"]
    assert [event.data["name"] for event in created] == ["five", "other"]
    assert created[0].data["soundboard_sounds"][0]["name"] == "bell"
    assert created[0].data["large"] is True


@pytest.mark.parametrize(("shard", "names"), [((0, 2), ["five"]), ((1, 2), ["other"])])
def test_shard_has_its_own_guilds(shard: tuple[int, int], names: list[str]) -> None:
    """ "shard = (guild_id >> 22) mod count"."""
    link = _link(shard=shard)

    created = [e for e in link.client.events if getattr(e, "name", "") == "GUILD_CREATE"]
    assert [event.data["name"] for event in created] == names
    assert len(link.client.events[3].data["guilds"]) == 1


@pytest.mark.parametrize(
    ("name", "data", "shards"),
    [
        ("MESSAGE_CREATE", {"guild_id": OTHER["id"]}, [1]),
        ("MESSAGE_CREATE", {"guild_id": "5"}, [0]),
        ("MESSAGE_CREATE", {"content": "direct"}, [0]),
        ("GUILD_UPDATE", OTHER, [1]),
        ("MINE", {"guild_id": OTHER["id"]}, [1]),
        ("MINE", {}, [0, 1]),
        ("MINE", [1], [0, 1]),
        ("MINE", {"guild_id": "no number"}, [0, 1]),
    ],
)
def test_dispatch_is_sent_to_the_shard_of_its_guild(
    name: str, data: Any, shards: list[int]
) -> None:
    server = Server()
    got = []
    for number in range(2):
        config = Config(token="t", intents=ALL, gateway_url="ws://localhost", shard=(number, 2))
        link = Link(Client(config), server)
        server.dispatch(name, data, now=link.now)
        link.run()
        if name in _names(link):
            got.append(number)
        link.cut()
        server.sessions.clear()

    assert got == shards


@pytest.mark.parametrize(
    ("name", "data", "intents", "comes"),
    [
        ("MESSAGE_CREATE", {"guild_id": "5"}, Intents.GUILD_MESSAGES, True),
        ("MESSAGE_CREATE", {"guild_id": "5"}, ALL & ~Intents.GUILD_MESSAGES, False),
        ("MESSAGE_CREATE", {}, Intents.DIRECT_MESSAGES, True),
        ("MESSAGE_CREATE", {}, Intents.GUILDS, False),
        ("TYPING_START", {"guild_id": "5"}, ALL & ~Intents.GUILD_MESSAGE_TYPING, False),
        ("GUILD_CREATE", {"id": "9"}, Intents.GUILDS, True),
        ("GUILD_CREATE", {"id": "9"}, ALL & ~Intents.GUILDS, False),
        ("INTERACTION_CREATE", {"guild_id": "5"}, Intents(0), True),
        ("MINE", {}, Intents(0), True),
    ],
)
def test_dispatch_is_sent_to_sessions_with_its_intents(
    name: str, data: Any, intents: Intents, comes: bool
) -> None:
    link = _link(World(), intents=intents)
    host: Any = link._server

    host.dispatch(name, data, now=link.now)
    link.run()

    assert (name in _names(link)) is comes


def test_explicit_sessions_bypass_intent_filter() -> None:
    link = _link(World(), intents=0)
    host: Any = link._server

    assert host.dispatch("MESSAGE_CREATE", {}, now=link.now) == 0
    assert host.dispatch("MESSAGE_CREATE", {}, now=link.now, to=lambda session: True) == 1


@pytest.mark.parametrize("version", [3, 6])
def test_session_without_intents_receives_every_dispatch(version: int) -> None:
    link = _link(version=version, intents=None)
    host: Any = link._server

    assert host.dispatch("MESSAGE_CREATE", {"guild_id": "5"}, now=link.now) == 1


# ----- requests -----


def test_all_members_are_sent_in_chunks_of_1000() -> None:
    answered = _ask(_link(), RequestGuildMembers("5", presences=True))

    assert isinstance(answered.answer, GuildMembers)
    assert len(answered.answer.members) == 2501
    assert [presence["status"] for presence in answered.answer.presences] == ["online"]


@pytest.mark.parametrize(
    ("request_", "ids", "not_found"),
    [
        (RequestGuildMembers("5", "B1", 3), ["1", "11", "13"], []),
        (RequestGuildMembers("5", user_ids=["2", "9999", "1"]), ["2", "1"], ["9999"]),
        (RequestGuildMembers("5", limit=2), ["1", "2"], []),
        (RequestGuildMembers(OTHER["id"], user_ids=["2"]), [], ["2"]),
    ],
)
def test_members_are_found_by_name_or_id(
    request_: RequestGuildMembers, ids: list[str], not_found: list[str]
) -> None:
    answered = _ask(_link(), request_)

    assert [member["user"]["id"] for member in answered.answer.members] == ids
    assert list(answered.answer.not_found) == not_found


def test_request_for_an_unknown_guild_is_not_answered() -> None:
    for request in (
        RequestGuildMembers("404"),
        RequestSoundboardSounds(["404"]),
        RequestChannelInfo("404", ["status"]),
    ):
        assert _ask(_link(), request) is None


def test_version_3_requests_several_guilds_at_once() -> None:
    link = _link(version=3, intents=None)

    link.client.send(RequestGuildMembers(["5", OTHER["id"]], "a", 1))

    chunks = [e.data for e in link.client.events if getattr(e, "name", "") == "GUILD_MEMBERS_CHUNK"]
    assert [chunk["guild_id"] for chunk in chunks] == ["5", OTHER["id"]]


def test_second_request_for_all_members_gets_rate_limited() -> None:
    """Rule 65; our client would delay the request, so the server gets it directly."""
    link = _link()
    connection: Any = link.server.connection
    asked = '{"op":8,"d":{"guild_id":"5","query":"","limit":0,"nonce":"n"}}'
    for _ in range(2):
        connection._process_message(asked, link.now, is_text=True)
        link.run(10)

    limited = next(e for e in link.client.events if getattr(e, "name", "") == "RATE_LIMITED")
    assert limited.data == {
        "opcode": 8,
        "retry_after": 20.0,
        "meta": {"guild_id": "5", "nonce": "n"},
    }
    link.run(30)
    before = _names(link).count("GUILD_MEMBERS_CHUNK")
    connection._process_message(asked, link.now, is_text=True)
    link.run()
    assert _names(link).count("GUILD_MEMBERS_CHUNK") == before + 3


def test_soundboard_sounds_and_channel_info_are_world_data() -> None:
    link = _link()

    sounds = _ask(link, RequestSoundboardSounds(["5", OTHER["id"]]))
    info = _ask(link, RequestChannelInfo("5", ["status", "voice_start_time"]))

    assert [sound["name"] for sound in sounds.answer.sounds["5"]] == ["bell"]
    assert sounds.answer.sounds[OTHER["id"]] == ()
    assert info.answer.channels == ({"id": "50", "status": "chess"},)


@pytest.mark.parametrize(
    ("channel", "names"),
    [("50", ["VOICE_STATE_UPDATE", "VOICE_SERVER_UPDATE"]), (None, ["VOICE_STATE_UPDATE"])],
)
def test_voice_state_update_is_answered(channel: str | None, names: list[str]) -> None:
    link = _link()
    ready = link.client.expect(Ready)
    link.client.take()

    link.client.send(UpdateVoiceState("5", channel, self_mute=True))

    answers = [event for event in link.client.take() if isinstance(event, Dispatch)]
    assert [event.name for event in answers] == names
    assert answers[0].data["session_id"] == ready.session_id
    assert answers[0].data["self_mute"] is True
    assert answers[0].data["member"]["user"]["id"] == ready.data["user"]["id"]
    link.client.send(UpdateVoiceState("404", channel))
    assert not [event for event in link.client.take() if isinstance(event, Dispatch)]


# ----- what is written in messages -----

_TEXT = {"content": "hello", "embeds": [1], "attachments": [2], "components": [3], "poll": {}}
_BARE = {"content": "", "embeds": [], "attachments": [], "components": []}
_ME = {"id": "80351110224678912"}


@pytest.mark.parametrize(
    ("more", "readable"),
    [
        ({"guild_id": "5"}, False),
        ({"guild_id": "5", "author": {"id": "1"}, "mentions": [{"id": "2"}]}, False),
        ({"guild_id": "5", "author": _ME}, True),
        ({"guild_id": "5", "author": {"id": "1"}, "mentions": [{"id": "2"}, _ME]}, True),
        ({}, True),
    ],
)
@pytest.mark.parametrize("name", ["MESSAGE_CREATE", "MESSAGE_UPDATE"])
def test_message_without_the_content_intent_has_no_content(
    name: str, more: dict[str, Any], readable: bool
) -> None:
    """MESSAGE_CONTENT "affects what data is present", from version 10 on."""
    for version, intents in ((10, ALL & ~Intents.MESSAGE_CONTENT), (10, ALL), (9, ALL)):
        link = _link(World(), version=version, intents=intents)
        host: Any = link._server
        host.dispatch(name, {**_TEXT, **more}, now=link.now)
        link.run()
        dispatch = next(e for e in link.client.events if getattr(e, "name", "") == name)
        whole = readable or version == 9 or bool(intents & Intents.MESSAGE_CONTENT)
        assert dispatch.data == ({**_TEXT, **more} if whole else {**_BARE, **more})


@pytest.mark.parametrize(("name", "data"), [("OTHER", _TEXT), ("MESSAGE_CREATE", [1])])
def test_malformed_message_is_sent_unchanged(name: str, data: Any) -> None:
    assert World().without_content(name, data) is None
