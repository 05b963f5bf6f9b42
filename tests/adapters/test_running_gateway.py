"""The gateway of the fixture: what can be waited for, from threads and event loops; TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import trio

import gateway_asyncio
import gateway_trio
from gateway_proto import (
    Closed,
    Config,
    Dispatch,
    HttpRequested,
    Identify,
    LocalProtocolError,
    Opened,
    Ready,
    ReconnectRequested,
    Server,
    ServerConfig,
    World,
)
from gateway_pytest import RunningGateway
from gateway_pytest._people import People
from gateway_pytest._settings import config_of


@pytest.fixture
def running() -> Iterator[RunningGateway]:
    with RunningGateway() as gateway:
        yield gateway


def _config(running: RunningGateway, **fields: Any) -> Config:
    given = {"token": running.token, "api_url": running.api_url, "intents": 512, **fields}
    return Config(**given)


class _Client:
    """A client in a thread of its own, which ends after a dispatch "STOP"."""

    def __init__(self, running: RunningGateway, **fields: Any) -> None:
        self.names: list[str] = []
        self._running = running
        self._config = _config(running, **fields)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> _Client:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._running.dispatch("STOP", None, to=lambda session: True)
        self._thread.join(20)

    async def _run(self) -> None:
        async with asyncio.timeout(20), gateway_asyncio.open_gateway(self._config) as gateway:
            async for event in gateway:
                if isinstance(event, Dispatch):
                    self.names.append(event.name)
                    if event.name == "STOP":
                        return


# ----- waiting -----


def test_dispatch_after_ready_reaches_the_client(running: RunningGateway) -> None:
    with _Client(running) as client:
        running.wait_until_ready()
        assert running.dispatch("MESSAGE_CREATE", {"content": "hello"}) == 1

    assert client.names == ["READY", "MESSAGE_CREATE", "STOP"]


def test_client_is_ready_again_after_a_drop(running: RunningGateway) -> None:
    with _Client(running):
        running.wait_until_ready()

        assert running.drop() == 1
        running.wait_until_ready()

        assert running.send(ReconnectRequested()) == 1
    assert sum(isinstance(event, Opened) for event in running.received) >= 2


def test_predicate_selects_the_event(running: RunningGateway) -> None:
    with _Client(running, intents=513):
        found = running.wait_for(lambda e: isinstance(e, Identify) and e.intents == 513)

        assert isinstance(found, Identify)
        running.wait_until_ready()


def test_predicate_may_call_the_gateway(running: RunningGateway) -> None:
    with _Client(running):
        running.wait_until_ready()

        def accepts(event: object) -> bool:
            return isinstance(event, Identify) and running.dispatch("TYPING", None) == 1

        assert isinstance(running.wait_for(accepts), Identify)


def test_exception_of_a_predicate_is_raised(running: RunningGateway) -> None:
    urllib.request.urlopen(f"{running.api_url}/gateway").close()

    with pytest.raises(ZeroDivisionError):
        running.wait_for(lambda event: 1 / 0)


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (lambda r: r.wait_until_ready(timeout=0), "0 of 1 shards were ready in 0 s; what came:"),
        (lambda r: r.wait_until_ready(shards=2, timeout=0), "0 of 2 shards were ready in 0 s"),
        (lambda r: r.wait_for(Identify, timeout=0), "no Identify was received in 0 s; what came:"),
        (
            lambda r: r.wait_for(lambda event: False, timeout=0.01),
            "no event that the predicate accepts was received in 0.01 s",
        ),
    ],
)
def test_missing_event_raises(running: RunningGateway, wait: Any, text: str) -> None:
    with pytest.raises(AssertionError) as caught:
        wait(running)

    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (
            lambda r: r.wait_for(ReconnectRequested),
            "invalid what ReconnectRequested: expected a type that the server receives, of Closed",
        ),
        (lambda r: r.wait_for(int), "invalid what int: expected a type that the server receives"),
        (lambda r: r.send(7), "invalid message 7: expected ReconnectRequested(), SessionInv"),
        (lambda r: r.send(ReconnectRequested), "invalid message <class"),
        (lambda r: r.wait_for(5), "invalid what 5: expected a type or a predicate"),
        (lambda r: r.wait_for(Identify, timeout="1"), "invalid timeout '1': expected"),
        (lambda r: r.wait_until_ready(timeout=-1), "invalid timeout -1: expected"),
        (lambda r: r.wait_until_ready(shards=0), "invalid shards 0: expected"),
        (lambda r: r.ca_file, "this server has no TLS: use @pytest.mark.gateway(tls=True)"),
        (lambda r: r.ssl_context, "this server has no TLS"),
    ],
)
def test_invalid_arguments_are_rejected(running: RunningGateway, wait: Any, text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        wait(running)

    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda r, **k: r.dispatch("MESSAGE_CREATE", {}, **k), "MESSAGE_CREATE reached nobody"),
        (lambda r, **k: r.send(ReconnectRequested(), **k), "ReconnectRequested reached nobody"),
        (lambda r, **k: r.drop(**k), "drop reached nobody"),
        (lambda r, **k: r.close(4000, **k), "close 4000 reached nobody"),
    ],
)
def test_action_without_a_recipient_raises(running: RunningGateway, act: Any, text: str) -> None:
    assert act(running, allow_none=True) == 0

    with pytest.raises(AssertionError) as caught:
        act(running)

    assert str(caught.value).startswith(text)
    assert "call wait_until_ready() first; or pass allow_none=True" in str(caught.value)


def test_dispatch_without_the_intent_raises(running: RunningGateway) -> None:
    with _Client(running, intents=1):
        running.wait_until_ready()

        with pytest.raises(AssertionError, match=r"none of the 1 sessions .* the intents"):
            running.dispatch("MESSAGE_CREATE", {"guild_id": "1"})


# ----- what people do -----


def test_say_sends_a_message_of_a_member(running: RunningGateway) -> None:
    with _Client(running) as client:
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
    return People(Server(ServerConfig(world=world)), 0.0)


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
    with pytest.raises(LocalProtocolError) as caught:
        _people(world).message("hi", channel, author, {})

    assert str(caught.value).startswith(text)


_BUTTONS = [
    {"type": 2, "custom_id": "go", "label": "Next"},
    {"type": 2, "custom_id": "off", "label": "Last", "disabled": True},
]
_MENU = {"type": 3, "custom_id": "menu", "options": [{"label": "One", "value": "1"}]}
_ROWS = [{"type": 1, "components": _BUTTONS}, {"type": 17, "components": [_MENU]}]


def test_slash_command_has_options_and_a_member(running: RunningGateway) -> None:
    with _Client(running, intents=1) as client:
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
    with _Client(running):
        running.wait_until_ready()
        first = running.say("first", components=_ROWS)
        second = running.say("second", components=_ROWS)

        pressed = running.press(button)
        of_first = running.press(button, message=first)
        chosen = running.select("menu", "1")

        with pytest.raises(LocalProtocolError, match="component 'Last' is disabled"):
            running.press("Last")
        with pytest.raises(LocalProtocolError, match=r"unknown component 'x': the world has Next"):
            running.press("x")
    assert pressed["data"]["custom_id"] == "go"
    assert (pressed["message"]["id"], of_first["message"]["id"]) == (second["id"], first["id"])
    assert chosen["data"]["values"] == ["1"]


def test_submitted_modal_reaches_the_client(running: RunningGateway) -> None:
    inputs = [{"type": 4, "custom_id": "name", "label": "Your name", "style": 1}]
    modal = {"custom_id": "form", "title": "A form", "components": [_row(inputs)]}
    with _Client(running) as client:
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


# ----- requests -----


def test_requests_are_chosen_by_method_and_path(running: RunningGateway) -> None:
    for path in ("gateway", "v10/gateway", "v10/channels/5"):
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"{running.api_url}/{path}").close()

    first = running.wait_for_request("get", "/gateway")
    second = running.wait_for_request(path="/api/v10/gateway")
    channel = running.wait_for_request("GET", "/channels/{channel_id}")

    assert [first, second] == running.requests("GET", "/gateway")
    assert channel.path.endswith("/channels/5")
    assert running.requests() == [first, second, channel]
    assert running.requests("POST") == running.requests(path="/channels/{channel_id}/x") == []
    with pytest.raises(AssertionError, match=r"no GET /gateway was received in 0 s"):
        running.wait_for_request("GET", "/gateway", timeout=0)


@pytest.mark.parametrize(
    ("method", "path", "hint"),
    [
        ("GET", "/channel/{channel_id}", "did you mean GET /channels/{channel_id}?"),
        ("PATCH", "/channels/{channel_id}", "did you mean GET /channels/{channel_id}?"),
        ("get", "/api/v10/users/@meh", "did you mean GET /users/@me?"),
        (None, "/channels/{id}/x", "did you mean GET /channels/{channel_id}?"),
        ("GET", "/gateway", "those that match came before the end of an earlier wait: gateway"),
        ("POST", "/guilds/{guild_id}/members/{user_id}/roles", None),
        ("POST", None, None),
    ],
)
def test_timeout_lists_requests_and_the_nearest_match(
    running: RunningGateway, method: str | None, path: str | None, hint: str | None
) -> None:
    for route in ("gateway", "channels/2000", "users/@me"):
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"{running.api_url}/v10/{route}").close()
    running.wait_for_request("GET", "/gateway")
    running.wait_for(lambda e: isinstance(e, HttpRequested) and e.path.endswith("@me"))

    with pytest.raises(AssertionError) as caught:
        running.wait_for_request(method, path, timeout=0)

    first, *lines = str(caught.value).splitlines()
    assert first.endswith("was received in 0 s; requests that came:")
    assert lines[:3] == [
        "  GET /api/v10/gateway (200), waited for before",
        "  GET /api/v10/channels/2000 (401)",
        "  GET /api/v10/users/@me (401)",
    ]
    assert lines[3:] == [] if hint is None else lines[3].startswith(hint)


def test_timeout_without_requests_reports_none(running: RunningGateway) -> None:
    with pytest.raises(AssertionError, match=r"received in 0 s; no request came$"):
        running.wait_for_request("GET", "/gateway", timeout=0)


def test_timeout_omits_the_close_of_an_http_exchange(running: RunningGateway) -> None:
    urllib.request.urlopen(f"{running.api_url}/gateway").close()
    running.wait_for(Closed)

    with pytest.raises(AssertionError) as caught:
        running.wait_until_ready(timeout=0)

    assert "HttpRequested(" in str(caught.value) and "Closed(" not in str(caught.value)


def test_request_of_an_unknown_route_is_reported(running: RunningGateway) -> None:
    running.check_routes()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{running.api_url}/v10/nowhere")
    caught.value.close()

    with pytest.raises(AssertionError, match=r"does not have: GET /api/v10/nowhere \(404\)"):
        running.check_routes()


def test_scripted_route_is_not_reported(running: RunningGateway) -> None:
    running.rest.reply("GET", "/nowhere", json=[])

    with urllib.request.urlopen(f"{running.api_url}/v10/nowhere") as answer:
        assert answer.read() == b"[]"
    running.check_routes()


# ----- event loops -----


async def _use(running: RunningGateway, open_gateway: Any) -> None:
    """Open a client in the loop that waits."""
    async with open_gateway(_config(running)) as gateway:
        identify = await running.aio.wait_for(Identify)
        assert identify.intents == 512
        await running.aio.wait_until_ready()
        running.dispatch("MESSAGE_CREATE", {"content": "hello"})
        async for event in gateway:
            if isinstance(event, Dispatch) and not isinstance(event, Ready):
                assert event.data == {"content": "hello"}
                break
    with pytest.raises(AssertionError, match=r"no Identify was received in 0\.05 s"):
        await running.aio.wait_for(Identify, timeout=0.05)
    for wait in (lambda: running.wait_for(Identify), lambda: running.wait_until_ready()):
        with pytest.raises(LocalProtocolError, match=r"use await gateway_server\.aio\.wait_"):
            wait()


def test_await_on_asyncio_does_not_block_the_client(running: RunningGateway) -> None:
    asyncio.run(asyncio.wait_for(_use(running, gateway_asyncio.open_gateway), 20))


def test_await_on_trio_does_not_block_the_client(running: RunningGateway) -> None:
    async def main() -> None:
        with trio.fail_after(20):
            await _use(running, gateway_trio.open_gateway)

    trio.run(main)


def test_cancelled_await_leaves_no_waiter(running: RunningGateway) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(running.aio.wait_for(Identify), 0.05)

    asyncio.run(main())

    assert running._changes._wakers == set()


# ----- settings -----


def _marked(**fields: Any) -> ServerConfig:
    return config_of([pytest.mark.gateway(**fields).mark])


def test_token_is_one_of_the_accepted_tokens() -> None:
    assert RunningGateway(_marked(tokens={"other", "another"})).token == "another"


def test_token_is_its_own_if_all_are_accepted() -> None:
    own = RunningGateway(_marked()).token

    assert own.startswith("ODAzNTExMTAyMjQ2Nzg5MTI=.")
    assert RunningGateway(_marked(tokens=None)).token == own
    assert _marked().tokens == {own}


def test_token_contains_the_user_id_of_the_world() -> None:
    world = World(user={"id": "5", "username": "bot"})

    assert RunningGateway(_marked(world=world)).token.startswith("NQ==.")


def test_token_is_rejected_if_none_is_accepted() -> None:
    running = RunningGateway(_marked(tokens=set()))

    assert running.token not in (running.server.config.tokens or ())


# ----- TLS -----


def test_tls_is_trusted_by_context_and_by_file() -> None:
    with RunningGateway(_marked(tls=True)) as running:
        assert running.url.startswith("wss://")
        assert running.api_url.startswith("https://")
        context = ssl.create_default_context(cafile=running.ca_file)
        for trusting in (running.ssl_context, context):
            url = f"{running.api_url}/v10/gateway"
            with urllib.request.urlopen(url, context=trusting) as answer:
                assert running.url.encode() in answer.read()
        path = pathlib.Path(running.ca_file)

    assert not path.exists()


# ----- the thread -----


def test_error_in_the_server_ends_waits_and_calls() -> None:
    gateway = RunningGateway()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    gateway._thread._on_event = fail
    gateway.__enter__()
    urllib.request.urlopen(f"{gateway.api_url}/gateway").close()

    with pytest.raises(ZeroDivisionError):
        gateway.wait_for(Identify)
    with pytest.raises(ZeroDivisionError):
        gateway.dispatch("STOP", None)
    with pytest.raises(ZeroDivisionError):
        gateway.__exit__(None, None, None)


def test_plugin_imports_no_module_until_it_is_used() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import gateway_pytest\n"
        "print([n for n in sys.modules if n.split('.')[0] not in {b.split('.')[0] for b in before}"
        " and n != 'gateway_pytest'])\n"
        "gateway_pytest.RunningGateway, gateway_pytest.assert_replays, gateway_pytest.AsyncWaits\n"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (result.stdout, result.stderr) == ("[]\n", "")
