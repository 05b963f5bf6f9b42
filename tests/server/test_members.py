"""Members of guilds: GUILD_CREATE, chunks and RATE_LIMITED."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import Intents
from gateway_proto.server import Server, ServerConfig, ServerConnection, World
from gateway_proto.server.members import MembersView
from tests.server.support import send_payload, sent_payloads

BOT = "80351110224678912"
BASE = Intents.GUILDS
ALL = Intents.GUILDS | Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES


def _member(id_: str, username: str = "", **fields: Any) -> dict[str, Any]:
    return {"user": {"id": id_, "username": username or f"user{id_}"}, "roles": [], **fields}


def _presence(id_: str, status: str = "online") -> dict[str, Any]:
    return {"user": {"id": id_}, "status": status}


def _guild(count: int = 10, **fields: Any) -> dict[str, Any]:
    """Return a guild with the bot and users 1 to `count`; user 2 is in a voice channel."""
    return {
        "id": "5",
        "members": [_member(BOT, "bot"), *(_member(str(n)) for n in range(1, count + 1))],
        "presences": [_presence("1"), _presence("2"), _presence("4", "offline")],
        "voice_states": [{"user_id": "2", "channel_id": "50"}, {"user_id": 3, "channel_id": None}],
        **fields,
    }


def _connected(
    server: Server, intents: int | None = ALL, *, now: float = 0.0, v: int = 10, **identify: Any
) -> tuple[ServerConnection, list[dict[str, Any]]]:
    """Return a ready connection and the guilds of its GUILD_CREATE."""
    target = "/" if v < 4 else f"/?v={v}&encoding=json"
    connection = server.accept(now=now, framing=False, target=target)
    d = {"token": "t", "properties": {}, "v": v, "intents": intents, **identify}
    send_payload(connection, 2, d, now=now)
    came = sent_payloads(connection)
    return connection, [p["d"] for p in came if p["t"] == "GUILD_CREATE"]


def _ask(connection: ServerConnection, *, now: float = 0.0, **d: Any) -> list[Any]:
    """Return names and data of the dispatches that answer a members request."""
    send_payload(connection, 8, {"guild_id": "5", **d}, now=now)
    return [(p["t"], p["d"]) for p in sent_payloads(connection)]


def _ids(members: Any) -> list[str]:
    return [member["user"]["id"] for member in members]


def _server(*guilds: dict[str, Any], **config: Any) -> Server:
    return Server(ServerConfig(world=World(guilds or (_guild(),)), **config))


# ----- GUILD_CREATE -----


def test_guild_create_without_presences_has_bot_and_voice_only() -> None:
    _, (guild,) = _connected(_server(), BASE)

    assert _ids(guild["members"]) == [BOT, "2"]
    assert guild["presences"] == []
    assert guild["large"] is False


@pytest.mark.parametrize(("v", "intents"), [(10, ALL), (6, None)])
def test_guild_create_of_small_guild_has_all_members(v: int, intents: int | None) -> None:
    _, (guild,) = _connected(_server(), intents, v=v)

    assert len(guild["members"]) == 11
    assert _ids(guild["presences"]) == ["1", "2", "4"]


@pytest.mark.parametrize(("threshold", "is_large"), [(249, True), (250, False), (None, True)])
def test_large_threshold_excludes_offline_members(threshold: Any, is_large: bool) -> None:
    guild = _guild(249)
    guild["members"][6] |= {"roles": ["7"]}
    guild["members"][7] |= {"nick": "seven"}

    _, (created,) = _connected(_server(guild), large_threshold=threshold)

    assert created["large"] is is_large
    expected = [BOT, "1", "2", "6", "7"] if is_large else _ids(guild["members"])
    assert _ids(created["members"]) == expected


def test_guild_over_75000_members_has_voice_members_only() -> None:
    _, (guild,) = _connected(_server(_guild(member_count=75_001)))

    assert _ids(guild["members"]) == [BOT, "2"]
    assert _ids(guild["presences"]) == ["2"]
    assert guild["large"] is True


def test_guild_without_members_has_no_members_added() -> None:
    view = MembersView(BASE, 50, BOT)

    assert view.guild_create({"id": "5", "large": True}) == {"id": "5", "large": True}


def test_ready_of_version_3_has_guilds_by_the_same_rules() -> None:
    server = _server(_guild(100))
    connection = server.accept(now=0.0, framing=False, target="/")
    send_payload(connection, 2, {"token": "t", "properties": {}, "v": 3, "large_threshold": 50})

    (guild,) = sent_payloads(connection)[0]["d"]["guilds"]

    assert _ids(guild["members"]) == [BOT, "1", "2"]


# ----- requests -----


def test_whole_list_without_members_intent_is_not_answered() -> None:
    connection, _ = _connected(_server(), BASE)

    for limit in (0, 5):
        assert _ask(connection, query="", limit=limit) == []


def test_prefix_and_ids_need_no_members_intent() -> None:
    connection, _ = _connected(_server(), BASE)

    ((_, by_name),) = _ask(connection, query="USER1", limit=1)
    ((_, by_id),) = _ask(connection, user_ids=["3", "3", "99"])

    assert _ids(by_name["members"]) == ["1"]
    assert (_ids(by_id["members"]), by_id["not_found"]) == (["3"], ["99"])


@pytest.mark.parametrize(
    "d",
    [
        {"query": "user", "limit": 0},
        {"query": "user", "limit": 500},
        {"query": "user", "limit": -1},
        {"user_ids": [str(n) for n in range(1, 151)], "limit": 1},
    ],
)
def test_at_most_100_members_match(d: dict[str, Any]) -> None:
    connection, _ = _connected(_server(_guild(200)))

    ((_, chunk),) = _ask(connection, **d)

    assert len(chunk["members"]) == 100


@pytest.mark.parametrize(("limit", "count"), [(0, 1501), (1200, 1200), (3, 3)])
def test_whole_list_is_sent_in_chunks_of_1000(limit: int, count: int) -> None:
    connection, _ = _connected(_server(_guild(1500)))

    chunks = [chunk for _, chunk in _ask(connection, query="", limit=limit)]

    assert sum(len(chunk["members"]) for chunk in chunks) == count
    assert [chunk["chunk_index"] for chunk in chunks] == list(range(len(chunks)))
    assert {chunk["chunk_count"] for chunk in chunks} == {-(-count // 1000)}


@pytest.mark.parametrize(
    ("nonce", "is_kept"), [("x" * 32, True), ("x" * 33, False), ("é" * 17, False), (None, False)]
)
def test_nonce_over_32_bytes_is_ignored(nonce: str | None, is_kept: bool) -> None:
    connection, _ = _connected(_server())

    ((_, chunk),) = _ask(connection, query="u", limit=1, nonce=nonce)

    assert chunk.get("nonce") == (nonce if is_kept else None)


@pytest.mark.parametrize(("intents", "comes"), [(ALL, True), (BASE, False)])
def test_presences_need_their_intent(intents: int, comes: bool) -> None:
    connection, _ = _connected(_server(), intents)

    ((_, chunk),) = _ask(connection, user_ids=["1", "3"], presences=True)

    presences = [presence["user"]["id"] for presence in chunk.get("presences", ())]
    assert presences == (["1"] if comes else [])


@pytest.mark.parametrize(
    ("v", "guild_ids"), [(10, ["5"]), (8, ["5"]), (7, ["5", "6"]), (3, ["5", "6"])]
)
def test_request_for_several_guilds_is_answered(v: int, guild_ids: list[str]) -> None:
    connection, _ = _connected(_server(_guild(), {**_guild(), "id": "6"}), v=v)

    answers = _ask(connection, guild_id=[5, "404", "6", 5, "6"] if v < 8 else [5, "6"], query="u")

    assert [d["guild_id"] for _, d in answers] == guild_ids


@pytest.mark.parametrize("guild_id", ["404", 10**300, [], [10**300], ["404"] * 500])
def test_request_for_unknown_guild_is_not_answered(guild_id: Any) -> None:
    connection, _ = _connected(_server())

    assert _ask(connection, guild_id=guild_id, query="", limit=0) == []
    assert connection.close_to_send() is None


def test_ids_with_too_many_digits_are_not_found() -> None:
    connection, _ = _connected(_server())

    ((_, chunk),) = _ask(connection, user_ids=[10**300])

    assert chunk["not_found"] == [str(10**300)]


def test_repeated_guilds_are_answered_once() -> None:
    connection, _ = _connected(_server(_guild(1000)), v=7)

    answers = _ask(connection, guild_id=[5] * 1300, query="", limit=0)

    assert len(answers) == 2


def test_repeated_soundboard_guilds_are_answered_once() -> None:
    connection, _ = _connected(_server())

    send_payload(connection, 31, {"guild_ids": ["5", 5, "404"] * 100})

    assert [p["d"]["guild_id"] for p in sent_payloads(connection)] == ["5"]


# ----- RATE_LIMITED -----


def test_members_rate_limit_is_per_bot_and_guild() -> None:
    server = _server(_guild(), {**_guild(), "id": "6"})
    first, _ = _connected(server)
    second, _ = _connected(server)
    other, _ = _connected(server, token="other")

    assert [name for name, _ in _ask(first, now=1.0)] == ["GUILD_MEMBERS_CHUNK"]
    limited = _ask(second, now=11.0, nonce="n")
    at_once = _ask(first, now=11.0)

    assert limited == [
        (
            "RATE_LIMITED",
            {"opcode": 8, "retry_after": 20.0, "meta": {"guild_id": "5", "nonce": "n"}},
        )
    ]
    assert at_once[0][1]["meta"] == {"guild_id": "5"}
    for connection, d in ((second, {"guild_id": "6"}), (other, {}), (first, {"query": "u"})):
        assert [name for name, _ in _ask(connection, now=11.0, **d)] == ["GUILD_MEMBERS_CHUNK"]
    assert [name for name, _ in _ask(second, now=31.0)] == ["GUILD_MEMBERS_CHUNK"]


def test_members_rate_limit_counts_requests_at_the_same_time() -> None:
    connection, _ = _connected(_server())

    names = [name for _ in range(2) for name, _ in _ask(connection, now=5.0)]

    assert names == ["GUILD_MEMBERS_CHUNK", "RATE_LIMITED"]


def test_members_rate_limit_counts_from_the_last_answer() -> None:
    connection, _ = _connected(_server())

    names = [name for now in (0.0, 30.0, 59.5) for name, _ in _ask(connection, now=now)]

    assert names == ["GUILD_MEMBERS_CHUNK", "GUILD_MEMBERS_CHUNK", "RATE_LIMITED"]


def test_members_rate_limit_of_version_7_is_per_guild() -> None:
    connection, _ = _connected(_server(_guild(), {**_guild(), "id": "6"}), v=7)
    _ask(connection, guild_id="6")

    answers = _ask(connection, guild_id=["5", "6"])

    assert [name for name, _ in answers] == ["GUILD_MEMBERS_CHUNK", "RATE_LIMITED"]


@pytest.mark.parametrize("seconds", [0, None])
def test_members_rate_limit_can_be_switched_off(seconds: float | None) -> None:
    connection, _ = _connected(_server(members_seconds=seconds))

    names = [name for _ in range(3) for name, _ in _ask(connection)]

    assert names == ["GUILD_MEMBERS_CHUNK"] * 3


def test_members_rate_limit_can_be_changed() -> None:
    connection, _ = _connected(_server(members_seconds=2.0))

    names = [name for now in (0.0, 1.0, 2.0) for name, _ in _ask(connection, now=now)]

    assert names == ["GUILD_MEMBERS_CHUNK", "RATE_LIMITED", "GUILD_MEMBERS_CHUNK"]


class _Elsewhere(World):
    """A world whose members requests another server answers."""

    def requested_guild(self, guild_id: str) -> None:
        return None


def test_members_request_excluded_by_the_world_is_not_answered() -> None:
    connection, _ = _connected(Server(ServerConfig(world=_Elsewhere([_guild()]))))

    assert _ask(connection, user_ids=["1"]) == []
    assert _ask(connection, query="", limit=0) == []
