"""Tables of docs/reference/: exactly the events, commands, fields, timers and calls that exist."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args

import attrs
import msgspec
import pytest

import gateway_proto
import gateway_proto.errors
import gateway_proto.server
import gateway_proto.shards
import gateway_proto.trace
from gateway_proto import (
    Activity,
    ChannelInfo,
    Client,
    ClientConnection,
    Command,
    Config,
    Connection,
    Dispatch,
    Event,
    GuildMembers,
    IdentifyProperties,
    Session,
    SoundboardSounds,
)
from gateway_proto.commands import VoiceServerPing
from gateway_proto.server import (
    Server,
    ServerConfig,
    ServerConnection,
    ServerEvent,
    ServerMessage,
    ServerSession,
)
from gateway_proto.session import GuildBackfill
from gateway_proto.shards import IdentifyQueue, ShardManager, ShardPlan
from gateway_proto.timing.timers import Timer
from gateway_proto.versions import VERSIONS
from gateway_proto.wire.command_codec import command_to_payload
from tests.markdown_blocks import DOCS

REFERENCE = DOCS / "reference"
_PUBLIC: dict[str, Any] = {
    name: getattr(module, name)
    for module in (gateway_proto, gateway_proto.server, gateway_proto.shards)
    for name in module.__all__
} | {"VoiceServerPing": VoiceServerPing}


def _rows(page: str, title: str = "") -> list[list[str]]:
    """Return the table cells of a page, or of one of its sections."""
    text = (REFERENCE / f"{page}.md").read_text(encoding="utf-8")
    if title:
        assert f"\n## {title}\n" in text, title
        text = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = []
    for table in re.findall(r"^\|.*\n\|---.*\n((?:\|.*\n)+)", text, re.M):
        for row in table.splitlines():
            found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]])
    return found


def _names(cell: str) -> list[str]:
    """Return the names in the code spans of a cell."""
    return re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", cell))


def _fields(type_: Any) -> set[str]:
    if attrs.has(type_):
        return {field.name for field in attrs.fields(type_)}
    names = {field.name for field in msgspec.structs.fields(type_)}
    return {name for name in names if not name.startswith("_")}


# ----- events and commands -----


def test_event_table_has_exactly_the_events() -> None:
    commands = set(get_args(Command))
    events = {*get_args(Event), *get_args(ServerEvent)} - commands
    answers = {GuildMembers, SoundboardSounds, ChannelInfo}
    # READY and RESUMED are dispatches, and not members of the unions.
    events |= {gateway_proto.Ready, gateway_proto.Resumed}

    named = [_names(row[0])[0] for row in _rows("events")]

    assert sorted(named) == sorted(type_.__name__ for type_ in events | answers)


@pytest.mark.parametrize("row", _rows("events"), ids=lambda row: row[0])
def test_event_rows_have_the_fields(row: list[str]) -> None:
    type_ = _PUBLIC[_names(row[0])[0]]
    expected = _fields(type_)
    if issubclass(type_, Dispatch) and type_ is not Dispatch:
        assert "those of `Dispatch`" in row[1]
        expected = expected - _fields(Dispatch) | {"Dispatch"}

    assert set(_names(row[1])) == expected


def test_server_messages_are_in_their_section() -> None:
    named = [_names(row[0])[0] for row in _rows("events", "Messages of the server")]
    messages = {type_.__name__ for type_ in get_args(ServerMessage)}

    assert set(named) == messages | {"Ready", "Resumed"}


def test_command_table_has_exactly_the_commands() -> None:
    rows = [row for row in _rows("commands") if row[0].startswith("`")]

    named = [_names(row[0])[0] for row in rows]

    expected = {type_.__name__ for type_ in get_args(Command)} | {"Activity", "IdentifyProperties"}
    assert sorted(named) == sorted(expected)
    for row, name in zip(rows, named, strict=True):
        cell = row[1] if name in ("Activity", "IdentifyProperties") else row[2]
        assert set(_names(cell)) == _fields(_PUBLIC[name]), name


def test_command_rows_have_the_op_codes() -> None:
    examples: dict[str, Command] = {
        "UpdatePresence": gateway_proto.UpdatePresence([Activity("chess")]),
        "UpdateVoiceState": gateway_proto.UpdateVoiceState("1", None),
        "VoiceServerPing": VoiceServerPing(),
        "RequestGuildMembers": gateway_proto.RequestGuildMembers("1", query="a", limit=1),
        "RequestSoundboardSounds": gateway_proto.RequestSoundboardSounds(["1"]),
        "RequestChannelInfo": gateway_proto.RequestChannelInfo("1", ["status"]),
        "Heartbeat": gateway_proto.Heartbeat(1),
        "Identify": gateway_proto.Identify(token="t", properties=IdentifyProperties(), intents=0),
        "Resume": gateway_proto.Resume(session_id="s", seq=1, token="t"),
    }
    named = [row for row in _rows("commands") if row[0].startswith("`")]
    rows = {_names(row[0])[0]: row[1] for row in named if row[1].isdecimal()}

    assert set(rows) == set(examples)
    for name, command in examples.items():
        version = 5 if name == "VoiceServerPing" else 10
        op, _ = command_to_payload(command, VERSIONS[version], intents=0)
        assert rows[name] == str(int(op)), name


# ----- settings -----


def _settings(title: str) -> list[list[str]]:
    text = (REFERENCE / "config.md").read_text(encoding="utf-8")
    titles = [t for t in re.findall(r"^## (.+)$", text, re.M) if t.partition(":")[0] == title]
    return [row for title in titles for row in _rows("config", title)]


@pytest.mark.parametrize("type_", [Config, ServerConfig], ids=lambda type_: type_.__name__)
def test_config_table_has_every_field_once(type_: Any) -> None:
    named = [_names(row[0])[0] for row in _settings(type_.__name__)]

    assert sorted(named) == sorted(_fields(type_))


def test_config_table_has_the_defaults() -> None:
    for made, title in ((Config(token="t", intents=0), "Config"), (ServerConfig(), "ServerConfig")):
        for name, default, *_ in _settings(title):
            field = name.strip("`")
            if not default:  # required, or contains the version of the package
                assert field in ("token", "user_agent")
                continue
            stated = eval(default.strip("`"), dict(_PUBLIC))
            given = {"token": "t"} if title == "Config" else {}
            if field == "intents":
                assert stated is None and attrs.fields(Config).intents.default is None
                continue
            if title == "Config":
                given["intents"] = 0
            again = type(made)(**(given | {field: stated}))
            assert getattr(again, field) == getattr(made, field), field


def test_config_table_has_units_and_sources() -> None:
    for title in ("Config", "ServerConfig"):
        for name, default, unit, _, source in _settings(title):
            assert source in ("documentation", "2016", "clients", "here"), name
            value = default.strip("`").replace("_", "")
            is_number = re.fullmatch(r"[\d.* ]+", value) is not None and name != "`version`"
            assert bool(unit) or not is_number, f"{name} has a number without a unit"


# ----- timers and errors -----


def test_timer_table_has_every_timer() -> None:
    assert [_names(row[0])[0] for row in _rows("timers")] == [timer.name for timer in Timer]
    for row in _rows("timers"):
        for config, field in re.findall(r"`(Config|ServerConfig)\.(\w+)`", row[2]):
            assert field in _fields(_PUBLIC[config]), row


def test_paused_timers_are_listed() -> None:
    from gateway_proto.timing.timers import _PAUSABLE

    section = (REFERENCE / "timers.md").read_text().partition("## When reading is paused")[2]
    section = section.partition("## When the system")[0]

    assert {name for name in _names(section) if name.isupper()} == {t.name for t in _PAUSABLE}


def test_exception_table_has_every_exception_and_base() -> None:
    rows = [row for row in _rows("errors") if len(row) == 3]

    named = {_names(row[0])[0]: _names(row[2])[0] for row in rows}

    assert set(named) == {*gateway_proto.errors.__all__, "TraceError"}
    for name, base in named.items():
        type_ = getattr(gateway_proto, name, None) or getattr(gateway_proto.trace, name)
        assert type_.__base__.__name__ == base


# ----- the contract -----


def _public(type_: type[Any], *, without: type[Any] | None = None) -> set[str]:
    source = inspect.getsource(type_.__init__)
    names = {name for name in dir(type_) if not name.startswith("_")}
    names |= set(re.findall(r"self\.([a-z]\w*)(?:: [^=\n]+)? = ", source))
    return names if without is None else names - _public(without)


_FRAMELESS = {"receive_message", "receive_close", "messages_to_send", "close_to_send"}


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("A connection", _public(Connection)),
        ("A connection without frames", _FRAMELESS),
        ("A client's connection", _public(ClientConnection, without=Connection) - _FRAMELESS),
        ("A client", _public(Client)),
        ("Shards of one process", _public(ShardManager)),
        ("Identify slots", _public(IdentifyQueue)),
        ("A server", _public(Server)),
    ],
)
def test_contract_lists_exactly_the_calls(title: str, expected: set[str]) -> None:
    named = {
        name
        for row in _rows("contract", title)
        for name in re.findall(r"`(\w+)(?:\([^`]*\))?`", row[0])
    }

    assert named == expected


@pytest.mark.parametrize(
    ("start", "type_"),
    [("A `ServerConnection` is", ServerConnection), ("A `ServerSession` has", ServerSession)],
)
def test_contract_lists_the_attributes_of_the_server_role(start: str, type_: type[Any]) -> None:
    text = (REFERENCE / "contract.md").read_text(encoding="utf-8")
    sentence = text.partition(start)[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z]\w*)(?:\([^`]*\))?`", sentence))

    if type_ is ServerConnection:
        assert named == _public(type_, without=Connection) - _FRAMELESS
    else:  # its methods are for the server
        assert named == {name for name in _public(type_) if not callable(getattr(type_, name, 0))}


def test_contract_lists_the_attributes_after_close() -> None:
    rows = {
        _names(row[0])[0]: row[1]
        for row in _rows("contract", "Values that outlive a connection")
        if "(" not in row[0]
    }

    assert set(rows) == {"Session", "GuildBackfill", "ShardPlan"}
    for type_ in (Session, GuildBackfill, ShardPlan):
        named = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", rows[type_.__name__]))
        assert named == {name for name in dir(type_) if not name.startswith("_")}, type_


def test_contract_shows_now_where_it_is_a_parameter() -> None:
    for title, type_ in (
        ("A connection", Connection),
        ("A client's connection", ClientConnection),
        ("A connection without frames", ServerConnection),
        ("A client", Client),
        ("Shards of one process", ShardManager),
        ("Identify slots", IdentifyQueue),
        ("A server", Server),
    ):
        for row in _rows("contract", title):
            for name, arguments in re.findall(r"`(\w+)\(([^`]*)\)`", row[0]):
                parameters = list(inspect.signature(getattr(type_, name)).parameters)
                shown = [part.partition("=")[0].strip() for part in arguments.split(",")]
                assert sorted(filter(None, shown)) == sorted(parameters[1:]), f"{title}: {name}"
