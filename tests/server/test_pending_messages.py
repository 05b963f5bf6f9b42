"""Dispatches about messages change the world of a server when it is needed, as if at once."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.server import Server, ServerConfig, World, pending_messages, world_messages
from gateway_proto.server.pending_messages import PendingMessages

EMOJI = {"id": None, "name": "x"}


def _dispatch(random_: random.Random, names: list[str]) -> tuple[str, Any]:
    name = random_.choice(names)
    id_: Any = random_.choice([random_.randrange(100, 120), str(random_.randrange(100, 120))])
    match name:
        case "MESSAGE_DELETE_BULK":
            return name, {"ids": [str(id_), "105"]}
        case "MESSAGE_CREATE" | "MESSAGE_UPDATE" | "MESSAGE_DELETE":
            return name, {"id": id_, "content": f"{random_.random()}"}
        case _:
            user_id = random_.choice(["1", "2"])
            return name, {"message_id": str(id_), "user_id": user_id, "emoji": EMOJI}


def _worlds(seed: int, names: list[str]) -> tuple[World, World]:
    """Return the world of a server after dispatches, and the world that each changed at once."""
    random_ = random.Random(seed)
    server, expected = Server(), World()
    for _ in range(random_.randrange(1, 80)):
        name, data = _dispatch(random_, names)
        server.dispatch(name, data, now=0.0)
        expected = expected.after(name, msgspec.json.decode(msgspec.json.encode(data)))
        if random_.random() < 0.05:
            assert server.world.messages == expected.messages
    return server.world, expected


@pytest.mark.parametrize("seed", range(40))
def test_dispatches_about_messages_have_the_same_effect_later(seed: int) -> None:
    found, expected = _worlds(seed, list(world_messages.MESSAGE_CHANGES))

    assert found.messages == expected.messages


@pytest.mark.parametrize("seed", range(40))
def test_messages_over_the_limit_are_the_last_ones(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world_messages, "MAX_KEPT", 5)
    monkeypatch.setattr(pending_messages, "MAX_KEPT", 5)
    monkeypatch.setattr(pending_messages, "_MAX_IDS", 7)

    found, expected = _worlds(seed, ["MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_REACTION_ADD"])

    assert found.messages == expected.messages


@pytest.mark.parametrize("data", [5, {}, {"id": None}, {"id": "x"}, {"id": -1}, {"id": True}])
def test_message_without_a_valid_id_changes_nothing(data: Any) -> None:
    server = Server()
    server.dispatch("MESSAGE_CREATE", {"id": "1"}, now=0.0)

    server.dispatch("MESSAGE_CREATE", data, now=0.0)
    server.dispatch("MESSAGE_DELETE", data, now=0.0)

    assert [message["id"] for message in server.world.messages] == ["1"]


@pytest.mark.parametrize("limit", ["_MAX_COUNT", "_MAX_BYTES"])
def test_pending_dispatches_are_bounded(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_messages, limit, 40)
    server = Server()
    server.dispatch("MESSAGE_CREATE", {"id": "1"}, now=0.0)

    for number in range(200):
        server.dispatch("MESSAGE_UPDATE", {"id": "1", "content": str(number)}, now=0.0)

    assert not server._context._messages.is_full
    (message,) = server.world.messages
    assert message["content"] == "199"


def test_replaced_and_deleted_messages_do_not_wait() -> None:
    pending, world = PendingMessages(), World()
    for _ in range(3):
        pending.add(world, "MESSAGE_CREATE", {"id": "1"}, b'{"id":"1"}')
    pending.add(world, "MESSAGE_UPDATE", {"id": "2"}, b'{"id":"2"}')

    assert pending.take() == [("MESSAGE_CREATE", b'{"id":"1"}')]
    assert pending.take() == []
    pending.add(world, "MESSAGE_CREATE", {"id": "1"}, b'{"id":"1"}')
    pending.add(world, "MESSAGE_DELETE", {"id": "1"}, b'{"id":"1"}')
    assert pending.take() == []


def test_new_world_forgets_the_dispatches_before_it() -> None:
    server = Server()
    server.dispatch("MESSAGE_CREATE", {"id": "1"}, now=0.0)
    server.world = World()
    server.dispatch("MESSAGE_CREATE", {"id": "2"}, now=0.0)
    assert [message["id"] for message in server.world.messages] == ["2"]

    server.config = ServerConfig(world=World.with_guild())
    server.dispatch("MESSAGE_CREATE", {"id": "3"}, now=0.0)

    assert [message["id"] for message in server.world.messages] == ["3"]
    assert len(server.world.guilds) == 1


def test_message_that_is_rejected_does_not_wait() -> None:
    server = Server()

    with pytest.raises(LocalProtocolError):
        server.dispatch("MESSAGE_CREATE", {"id": "1", "x": msgspec.Raw(b"{")}, now=0.0)

    assert server.world.messages == ()
