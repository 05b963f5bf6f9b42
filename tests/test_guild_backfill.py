"""Rule 86: READY is not the end of the start-up; the guilds follow it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_proto import Client, Config, Dispatch, HeartbeatRequested, Ready
from gateway_proto.server import Server, ServerConfig, World
from gateway_proto.session import GuildBackfill
from gateway_proto.testing import Link


def _ready(*guilds: dict[str, Any]) -> Ready:
    d = Dispatch.of("READY", {"guilds": list(guilds)})._d
    return Ready("READY", 1, d, session_id="s", version=10)


def _stub(id_: str | int) -> dict[str, Any]:
    return {"id": id_, "unavailable": True}


def test_backfill_is_done_when_no_guild_of_ready_is_missing() -> None:
    backfill = GuildBackfill()
    assert not backfill.done

    backfill = backfill.after(_ready(_stub("1"), _stub(2), {"id": "3"}))
    assert backfill.missing == {"1", "2"}
    backfill = backfill.after(Dispatch.of("GUILD_CREATE", {"id": "1"}))
    backfill = backfill.after(Dispatch.of("MESSAGE_CREATE", {"id": "2"}))
    backfill = backfill.after(HeartbeatRequested())
    assert backfill.missing == {"2"}
    backfill = backfill.after(Dispatch.of("GUILD_DELETE", _stub("2")))

    assert backfill.done
    assert backfill.after(Dispatch.of("GUILD_CREATE", {"id": "9"})) is backfill


@pytest.mark.parametrize("version", [3, 10])
def test_backfill_of_a_session_is_done_after_its_last_guild(version: int) -> None:
    config = Config(
        token="t",
        intents=1 if version == 10 else None,
        version=version,
        gateway_url="ws://localhost",
        unix_offset=0.0,
    )
    guilds = tuple({"id": str(number), "name": "g"} for number in range(3))
    link = Link(Client(config), Server(ServerConfig(world=World(guilds))))
    backfill, done_after = GuildBackfill(), None

    for event in link.client.events:
        backfill = backfill.after(event)
        if backfill.done and done_after is None:
            done_after = getattr(event, "sequence", None)

    # Version 3 has whole guilds in READY; later ones send each after it.
    assert done_after == (1 if version == 3 else 4)


def test_malformed_dispatches_do_not_change_the_backfill() -> None:
    backfill = GuildBackfill().after(_ready(_stub("1")))

    assert backfill.after(Dispatch.of("GUILD_CREATE", [])) == backfill
    assert (
        GuildBackfill()
        .after(Ready("READY", 1, msgspec.Raw(b"[]"), session_id="s", version=10))
        .done
    )
