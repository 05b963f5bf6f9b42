"""Messages of the errors for wrong values: the field, the value, and what is allowed."""

from __future__ import annotations

import ast
import enum
import functools
import math
import pathlib
import re
import ssl
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

import gateway_proto
from gateway_proto import (
    Client,
    CloseCodePolicy,
    Closed,
    Config,
    EarlyHeartbeats,
    Initiator,
    Intents,
    LocalProtocolError,
    NextAction,
    Session,
    ZombiePolicy,
)
from gateway_proto.driver.arguments import check_opening, check_serving
from gateway_proto.server import Fault, Scenario, Server, ServerConfig, World
from gateway_proto.shards import ShardManager
from gateway_proto.testing import Link
from gateway_proto.urls import Url


def _config(**fields: Any) -> Config:
    return Config(**{"token": "t", "intents": 0, **fields})


def _error(make: Any, *args: Any, **fields: Any) -> str:
    with pytest.raises(LocalProtocolError) as caught:
        make(*args, **fields)
    return str(caught.value)


# ----- tokens -----


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        (None, "is None: expected a str"),
        (b"secret", "is of type bytes: expected a str"),
        (5, "is of type int: expected a str"),
        ("", "is empty: expected a token"),
        (" \n", "is empty: expected a token"),
        ("Bot ", "is empty: expected a token"),
        (" secret", "begins or ends with whitespace: expected the token alone"),
        ("secret\r\n", "begins or ends with whitespace: expected the token alone"),
        ("bot secret", 'begins with "bot ": expected the token alone, or "Bot " and the token'),
        (
            "Bearer secret",
            'begins with "Bearer ": expected the token alone, or "Bot " and the token',
        ),
        (
            "Bot Bot secret",
            'begins with "Bot ": expected the token alone, or "Bot " and the token',
        ),
        ('"secret"', "has quotation marks around it: expected the token alone"),
        ("secret" * 200, "has 1200 characters: expected at most 1024"),
        ("sécret", "has a non-ASCII character: expected printable ASCII"),
        ("\ud800secret", "has a non-ASCII character: expected printable ASCII"),
        ("sec ret", "contains a space: expected printable ASCII without spaces"),
        ("sec\nret", "contains a control character: expected printable ASCII"),
        ("sec\0ret", "contains a control character: expected printable ASCII"),
    ],
)
def test_token_problem_is_named_without_the_token(token: Any, problem: str) -> None:
    error = _error(_config, token=token)

    assert error == f"Config.token {problem}"
    assert "ret" not in error


# ----- Config -----


class _Text(str):
    __slots__ = ()


class _Number(enum.IntEnum):
    FIVE = 5


class _EqualToAll:
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


async def _async_function() -> float:
    return 0.5


async def _async_generator() -> AsyncIterator[float]:
    yield 0.5


class _AsyncCall:
    async def __call__(self) -> float:
        return 0.5


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"intents": "guilds"}, 'Intents.parse("guilds,guild_messages")'),
        ({"intents": ["guilds"]}, 'Intents.parse("guilds,guild_messages")'),
        ({"intents": 1.5}, "Intents.GUILDS | Intents.GUILD_MESSAGES"),
        ({"intents": True}, "invalid Config.intents True: expected an Intents or int"),
        ({"shard": 0}, "invalid Config.shard 0: expected (id, count), two ints, with id below"),
        ({"shard": (1, 2, 3)}, "invalid Config.shard (1, 2, 3)"),
        ({"shard": "01"}, "invalid Config.shard '01'"),
        ({"shard": {0: 2}}, "invalid Config.shard {0: 2}"),
        ({"presence": {"status": "dnd"}}, "expected an UpdatePresence, such as"),
        ({"properties": {"os": "linux"}}, "expected an IdentifyProperties"),
        (
            {"version": "10"},
            "invalid Config.version '10': expected one of 3, 4, 5, 6, 7, 8, 9, 10, or a "
            "ProtocolVersion",
        ),
        ({"zombie_policy": "ack"}, "expected ZombiePolicy.ACK, ZombiePolicy.TRAFFIC"),
        (
            {"close_policies": {4009: NextAction.IDENTIFY}},
            "invalid Config.close_policies[4009] <NextAction.IDENTIFY: 'identify'>: expected a "
            "CloseCodePolicy, such as CloseCodePolicy(NextAction.IDENTIFY, 'why')",
        ),
        ({"close_policies": _EqualToAll()}, "invalid Config.close_policies <"),
        (
            {"close_policies": {"4009": CloseCodePolicy(NextAction.STOP, "")}},
            "invalid Config.close_policies key '4009'",
        ),
        (
            {"close_policies": {1006: CloseCodePolicy(NextAction.STOP, "")}},
            "not 1005, 1006 or 1015",
        ),
        ({"close_policies": [4009]}, "invalid Config.close_policies [4009]: expected a mapping"),
        ({"handshake_timeout": "5"}, "invalid Config.handshake_timeout '5': expected a number of"),
        ({"handshake_timeout": 0}, "expected a number of seconds from more than 0 to 1000000000"),
        ({"gateway_attempts": None}, "Config.gateway_attempts is None: expected an int from 1"),
        ({"identify_attempts": 1.0}, "invalid Config.identify_attempts 1.0: expected an int"),
        ({"message_limit": 10**5000}, "invalid Config.message_limit of type int: expected an int"),
        ({"bot": "yes"}, "invalid Config.bot 'yes': expected a bool"),
        ({"random": _async_function}, "expected a function that is not async"),
        ({"random": functools.partial(_async_function)}, "expected a function that is not async"),
        ({"random": _AsyncCall()}, "expected a function that is not async"),
        ({"random": functools.partial(_AsyncCall())}, "expected a function that is not async"),
        ({"random": _async_generator}, "expected a function that is not async"),
        ({"user_agent": "a\r\nX-Y: z"}, "expected printable ASCII"),
        ({"user_agent": " a"}, "expected printable ASCII"),
        ({"user_agent": ""}, "expected printable ASCII"),
        ({"user_agent": "x" * 513}, "of at most 512 characters"),
        ({"trusted_hosts": "gateway.example"}, "expected a tuple of str, such as"),
        ({"trusted_hosts": ["https://a.example"]}, "invalid Config.trusted_hosts 'https://a.exam"),
        ({"trusted_hosts": ["*.example"]}, "expected a host alone"),
        ({"trusted_hosts": ["a.example:443"]}, "expected a host alone"),
        ({"trusted_hosts": ["bücher.example"]}, "expected a host alone"),
        ({"trusted_hosts": ["a/b"]}, "expected a host alone"),
        ({"trusted_hosts": [""]}, "expected a host alone"),
        ({"trusted_hosts": ["a b"]}, "expected a host alone"),
        ({"trusted_hosts": ["[x"]}, "expected a host alone"),
        ({"trusted_hosts": [None]}, "Config.trusted_hosts is None: expected a host alone"),
        ({"gateway_url": ""}, "invalid Config.gateway_url: invalid gateway URL ''"),
        ({"gateway_url": b"wss://x"}, "invalid Config.gateway_url b'wss://x': expected a URL as a"),
        ({"api_url": "x" * 3000}, "(3002 characters): expected a URL as a str, of at most 2048"),
        ({"unix_offset": math.inf}, "invalid Config.unix_offset inf: expected a number of seconds"),
    ],
)
def test_config_error_names_the_field_and_what_is_allowed(
    fields: dict[str, Any], error: str
) -> None:
    assert error in _error(_config, **fields)


def test_config_converts_unambiguous_values() -> None:
    config = Config(
        token=_Text("Bot abc"),
        intents=Intents.GUILDS,
        shard=[0, 2],
        compression="zlib-stream",
        zombie_policy=ZombiePolicy.ACK,
        early_heartbeats=EarlyHeartbeats.ALWAYS,
        trusted_hosts=["A.example", "::1", "10.0.0.1"],
        close_policies={4009: CloseCodePolicy(NextAction.IDENTIFY, "why", min_delay=2)},
        identify_attempts=_Number.FIVE,
        close_timeout=0,
    )

    assert config.token == "abc"
    assert config.shard == (0, 2)
    assert config.trusted_hosts == ("A.example", "::1", "10.0.0.1")
    assert attrs.evolve(config) == config


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (
            {"next_action": "identify"},
            "invalid Config.close_policies[4009].next_action 'identify'",
        ),
        ({"meaning": None}, "Config.close_policies[4009].meaning is None: expected a str"),
        (
            {"action_if_resuming": "stop"},
            "[4009].action_if_resuming 'stop'",
        ),
        (
            {"min_delay": math.nan},
            "invalid Config.close_policies[4009].min_delay nan: expected a number",
        ),
        ({"min_delay": "5"}, "invalid Config.close_policies[4009].min_delay '5'"),
        (
            {"caused_by_command": 1},
            ".caused_by_command 1: expected a bool",
        ),
    ],
)
def test_close_code_policy_is_checked_in_the_config(fields: dict[str, Any], error: str) -> None:
    policy = CloseCodePolicy(**{"next_action": NextAction.STOP, "meaning": "why", **fields})

    assert error in _error(_config, close_policies={4009: policy})


def test_random_number_out_of_range_is_reported() -> None:
    config = _config(random=lambda: 5)

    assert _error(config.next_random) == "invalid Config.random() 5: expected a float from 0 to 1"


# ----- the server role -----


@pytest.mark.parametrize(
    ("make", "fields", "error"),
    [
        (ServerConfig, {"tokens": "secret"}, "ServerConfig.tokens is of type str: expected a coll"),
        (ServerConfig, {"tokens": {"secret": 1}}, "ServerConfig.tokens is of type dict"),
        (ServerConfig, {"tokens": [None]}, "a token of ServerConfig.tokens is None"),
        (ServerConfig, {"tokens": ["sec ret"]}, "a token of ServerConfig.tokens contains a space"),
        (ServerConfig, {"tokens": [["secret"]]}, "a token of ServerConfig.tokens is of type list"),
        (ServerConfig, {"versions": []}, "ServerConfig.versions has 0 members: expected a tuple"),
        (ServerConfig, {"versions": 10}, "invalid ServerConfig.versions 10: expected a tuple of"),
        (ServerConfig, {"versions": ["10"]}, "invalid ServerConfig.versions '10': expected one or"),
        (ServerConfig, {"world": {}}, "invalid ServerConfig.world {}: expected a World, such as"),
        (ServerConfig, {"scenario": [Fault("drop")]}, "expected a Scenario, such as Scenario([Fa"),
        (ServerConfig, {"heartbeat_interval": "1s"}, "expected an int from 1 to 2147483647"),
        (ServerConfig, {"url": "https://a.example"}, "expected the URL of a gateway as a str"),
        (ServerConfig, {"url": "a.example"}, "invalid ServerConfig.url 'a.example'"),
        (Fault, {"what": "drop", "nth": "3"}, "invalid Fault.nth '3': expected an int from 1 to"),
        (Fault, {"what": "drop", "after": -1}, "invalid Fault.after -1: expected a number of sec"),
        (Fault, {"what": "drop", "after": math.nan}, "invalid Fault.after nan"),
        (Fault, {"what": "drop", "connection": 0}, "invalid Fault.connection 0"),
        (Fault, {"what": "close", "code": 1006}, "expected 1000 to 1003, 1007 to 1014 or 3000 to"),
        (Fault, {"what": "close", "code": True}, "invalid Fault.code True"),
        (Fault, {"what": "close", "reason": "é" * 62}, "expected at most 123 bytes for a close"),
        (Fault, {"what": "refuse", "status": 101}, "expected an int from 200 to 599"),
        (Fault, {"what": "bomb", "size": 2**40}, "expected an int from 0 to 1073741824"),
        (Scenario, {"faults": [{"what": "drop"}]}, "invalid Scenario.faults {'what': 'drop'}: exp"),
        (Scenario, {"faults": Fault("drop")}, "expected faults, such as [Fault('drop')]"),
        (World, {"guilds": "world.json"}, "World.from_json takes text"),
        (World, {"guilds": [{"name": "x"}]}, "id of a guild of World.guilds is None"),
        (World, {"guilds": [{"id": "1", "members": {}}]}, "guild 1: members {}: expected a list"),
        (
            World,
            {"guilds": [{"id": 1, "members": [{"user": {"id": 1, "username": 5}}]}]},
            "and a username",
        ),
        (World, {"guilds": [{"id": 1, "channels": [{}]}]}, "expected a list of objects with an id"),
        (
            World,
            {"guilds": [{"id": 1, "icon": object()}]},
            "guild 1: value cannot be encoded",
        ),
        (
            World,
            {"user": {"username": "x"}},
            "invalid World.user {'username': 'x'}: expected",
        ),
        (World, {"user": {"id": 1, "x": object()}}, "invalid World.user: value cannot be encoded"),
    ],
)
def test_server_config_error_names_the_field_and_the_allowed(
    make: Any, fields: dict[str, Any], error: str
) -> None:
    found = _error(make, **fields)

    assert error in found
    assert "secret" not in found


def test_server_config_converts_unambiguous_values() -> None:
    config = ServerConfig(tokens=["Bot a", "b"], versions=[3, 10], session_lifetime=5)

    assert config.tokens == {"a", "b"}
    assert config.versions == (3, 10)
    assert Scenario([Fault("refuse", reason="x" * 500)]).faults[0].status == 503


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4000, 4014])
def test_close_fault_sends_every_code_of_real_servers(code: int) -> None:
    scenario = Scenario([Fault("close", on="ready", code=code, reason="restart")])
    link = Link(
        Client(_config(gateway_url="ws://localhost")), Server(ServerConfig(scenario=scenario))
    )

    closed = link.client.expect(Closed)

    assert (closed.code, closed.reason, closed.initiator) == (code, "restart", Initiator.PEER)


# ----- arguments -----


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Client("secret"), "config is of type str: expected a Config, such as Config("),  # type: ignore[arg-type]
        (lambda: Client(_config(), session={}), "invalid session {}: expected a Session, such as"),  # type: ignore[arg-type]
        (lambda: Client(_config(), session="{}"), "such as Session.from_json(text)"),  # type: ignore[arg-type]
        (lambda: ShardManager({"token": "secret"}), "config is of type dict: expected a Config"),  # type: ignore[arg-type]
        (
            lambda: ShardManager(_config(), sessions={0: "{}"}),
            "invalid sessions[0] '{}': expected a Ses",
        ),  # type: ignore[dict-item]
        (
            lambda: Client(_config(), on_slot_needed=5),  # type: ignore[arg-type]
            "invalid on_slot_needed 5: expected a function of a connection and the time",
        ),
        (lambda: Client(_config(), gateway="wss://x"), "invalid gateway 'wss://x': expected a Url"),  # type: ignore[arg-type]
        (lambda: Url.parse(None), "URL is None: expected a str"),  # type: ignore[arg-type]
        (
            lambda: Server().dispatch("X", {}, now=0.0, to="s"),
            "invalid to 's': expected",
        ),  # type: ignore[arg-type]
        (lambda: Server({}), "invalid config {}: expected a ServerConfig, such as ServerConfig("),  # type: ignore[arg-type]
        (lambda: Server().dispatch("message_create", {}, now=0.0), "expected MESSAGE_CREATE"),
        (lambda: Server().dispatch("MESAGE_CREATE", {}, now=0.0), "expected MESSAGE_CREATE"),
        (lambda: Server().dispatch("", {}, now=0.0), "invalid dispatch name '': expected a str"),
        (lambda: Server().dispatch(["X"], {}, now=0.0), "invalid dispatch name ['X']: expected"),  # type: ignore[arg-type]
        (lambda: Server().dispatch("\ud800", {}, now=0.0), "invalid dispatch name"),
    ],
)
def test_wrong_argument_is_named_with_what_is_allowed(make: Any, error: str) -> None:
    found = _error(make)

    assert error in found
    assert "secret" not in found


@pytest.mark.parametrize("name", ["MESSAGE_CREATE", "NUMBER", "CHAT_MESSAGE", "own event"])
def test_documented_and_unknown_dispatch_names_are_allowed(name: str) -> None:
    assert Server().dispatch(name, {}, now=0.0) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 5),
        ("id", ""),
        ("sequence", "7"),
        ("sequence", -1),
        ("resume_url", b"wss://x"),
        ("shard", [0, 1]),
        ("version", "10"),
        ("token_fingerprint", None),
    ],
)
def test_session_with_a_wrong_field_is_rejected_with_its_name(field: str, value: Any) -> None:
    session = Session(**{"id": "s", "sequence": 1, "version": 10, field: value})

    assert f"Session.{field} " in _error(Client, _config(), session=session)


_SERVER_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
_CLIENT_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_OPENING = {
    "config": _config(),
    "session": None,
    "ssl_context": None,
    "proxy": True,
    "connect": None,
    "queue_limit": 1000,
    "recorder": None,
    "raise_on_give_up": True,
}


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("config", "secret", "config is of type str: expected a Config"),
        ("session", {"id": "s"}, "invalid session {'id': 's'}: expected a Session"),
        ("ssl_context", True, "invalid ssl_context True: expected an ssl.SSLContext"),
        ("ssl_context", _SERVER_TLS, "expected an ssl.SSLContext for clients, such as ssl.create"),
        ("proxy", 8080, "invalid proxy 8080: expected a URL as a str, True, or None"),
        ("connect", "localhost", "invalid connect 'localhost': expected a function, or None"),
        ("queue_limit", None, "queue_limit is None: expected an int from 1"),
        ("recorder", "trace.jsonl", "expected a Recorder of gateway_proto.trace"),
        ("raise_on_give_up", "no", "invalid raise_on_give_up 'no': expected a bool"),
    ],
)
def test_wrong_argument_of_open_gateway_is_named(field: str, value: Any, error: str) -> None:
    check_opening(**_OPENING)

    found = _error(check_opening, **{**_OPENING, field: value})

    assert error in found
    assert "secret" not in found


_SERVING = {
    "server": Server(),
    "host": "127.0.0.1",
    "port": 0,
    "ssl_context": None,
    "on_event": print,
}


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("server", ServerConfig(), "expected a Server, such as Server(ServerConfig())"),
        ("host", None, "host is None: expected the name or address"),
        ("host", "", "invalid host '': expected the name or address of an"),
        ("port", "8080", "invalid port '8080': expected an int from 0 to 65535"),
        ("port", 70000, "invalid port 70000"),
        ("ssl_context", "cert.pem", "expected an ssl.SSLContext"),
        ("ssl_context", _CLIENT_TLS, "expected an ssl.SSLContext for servers, such as ssl.SSL"),
        ("on_event", _async_function, "expected a function that is not async, or None"),
    ],
)
def test_wrong_argument_of_serve_gateway_is_named(field: str, value: Any, error: str) -> None:
    check_serving(**_SERVING)

    assert error in _error(check_serving, **{**_SERVING, field: value})


@pytest.mark.parametrize(
    "parse", [Session.from_json, World.from_json, Scenario.from_json, Scenario.from_yaml]
)
@pytest.mark.parametrize("text", [None, {}, [], 5])
def test_text_of_another_type_is_rejected(parse: Any, text: Any) -> None:
    assert "expected JSON as" in _error(parse, text).replace("YAML", "JSON")


def test_every_field_of_a_session_is_checked() -> None:
    right = {"id": "s", "sequence": 1, "version": 10}
    for field in Session.__struct_fields__:
        session = Session(**{**right, field: object()})

        assert f"invalid Session.{field} " in _error(Client, _config(), session=session)


def test_stored_session_out_of_range_is_rejected() -> None:
    error = _error(Session.from_json, '{"id":"s","sequence":-1,"version":10}')

    assert error.startswith("text is not a session: invalid Session.sequence -1: expected an int")


def test_enum_members_named_in_strings_exist() -> None:
    found = set()
    for path in pathlib.Path(gateway_proto.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"\b([A-Z][a-z]\w+)\.([A-Z][A-Z_]+)\b", node.value))

    assert ("NextAction", "IDENTIFY") in found
    for owner, member in sorted(found):
        assert member in getattr(gateway_proto, owner).__members__, f"{owner}.{member}"
