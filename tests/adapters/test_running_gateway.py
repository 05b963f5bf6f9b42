"""The gateway of the fixture: waits from threads and event loops, settings, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest
import trio

import gateway_asyncio
import gateway_trio
from gateway_proto import (
    Closed,
    Dispatch,
    Identify,
    LocalProtocolError,
    Opened,
    Ready,
    ReconnectRequested,
)
from gateway_proto.server import HttpRequested, ServerConfig, World
from gateway_pytest import RunningGateway
from gateway_pytest._settings import config_of
from tests.adapters.support import PATIENCE, ClientThread, client_config

# ----- waiting -----


def test_dispatch_after_ready_reaches_the_client(running: RunningGateway) -> None:
    with ClientThread(running) as client:
        running.wait_until_ready()
        assert running.dispatch("MESSAGE_CREATE", {"content": "hello"}) == 1

    assert client.names == ["READY", "MESSAGE_CREATE", "STOP"]


def test_client_is_ready_again_after_a_drop(running: RunningGateway) -> None:
    with ClientThread(running):
        running.wait_until_ready()

        assert running.drop() == 1
        running.wait_until_ready()

        assert running.send(ReconnectRequested()) == 1
    assert sum(isinstance(event, Opened) for event in running.received) >= 2


def test_predicate_selects_the_event(running: RunningGateway) -> None:
    with ClientThread(running, intents=513):
        found = running.wait_for(lambda e: isinstance(e, Identify) and e.intents == 513)

        assert isinstance(found, Identify)
        running.wait_until_ready()


def test_predicate_may_call_the_gateway(running: RunningGateway) -> None:
    with ClientThread(running):
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
        (lambda r: r.wait_until_ready(timeout=0), "0 of 1 shards were ready in 0 s; received:"),
        (lambda r: r.wait_until_ready(shards=2, timeout=0), "0 of 2 shards were ready in 0 s"),
        (
            lambda r: r.wait_for(Identify, timeout=0),
            "no Identify was received in 0 s; received instead:",
        ),
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
        (lambda r: r.requests(path=5), "invalid path 5: expected a str"),
        (lambda r: r.requests(5), "invalid method 5: expected a str"),
        (lambda r: r.wait_for_request(path=b"/"), "invalid path b'/': expected a str"),
        (lambda r: r.slash("ping", options=["a"]), "invalid options ['a']: expected a mapping"),
        (lambda r: r.submit("modal", [1]), "invalid inputs [1]: expected a mapping of values"),
        (lambda r: r.close("4000", allow_none=True), "invalid close code '4000': use 1000"),
        (lambda r: r.close(999, allow_none=True), "invalid close code 999: use 1000"),
        (lambda r: r.close(4000, b"x", allow_none=True), "invalid close reason b'x'"),
        (lambda r: r.close(4000, allow_none=1), "invalid allow_none 1: expected a bool"),
        (lambda r: r.drop(allow_none="no"), "invalid allow_none 'no': expected a bool"),
        (lambda r: r.dispatch("X", {}, allow_none=None), "allow_none is None: expected a bool"),
        (lambda r: r.send(ReconnectRequested(), allow_none=0), "invalid allow_none 0"),
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
        (lambda r, **k: r.dispatch("MESSAGE_CREATE", {}, **k), "MESSAGE_CREATE reached no client"),
        (lambda r, **k: r.send(ReconnectRequested(), **k), "ReconnectRequested reached no client"),
        (lambda r, **k: r.drop(**k), "drop reached no client"),
        (lambda r, **k: r.close(4000, **k), "close 4000 reached no client"),
    ],
)
def test_action_without_a_recipient_raises(running: RunningGateway, act: Any, text: str) -> None:
    assert act(running, allow_none=True) == 0

    with pytest.raises(AssertionError) as caught:
        act(running)

    assert str(caught.value).startswith(text)
    assert "call wait_until_ready() first; or pass allow_none=True" in str(caught.value)


def test_dispatch_without_the_intent_raises(running: RunningGateway) -> None:
    with ClientThread(running, intents=1):
        running.wait_until_ready()

        with pytest.raises(AssertionError, match=r"none of the 1 sessions .* the intents"):
            running.dispatch("MESSAGE_CREATE", {"guild_id": "1"})


def test_dispatch_without_a_recipient_changes_nothing(running: RunningGateway) -> None:
    with ClientThread(running, intents=0):
        running.wait_until_ready()
        world = running.server.world

        with pytest.raises(AssertionError, match="GUILD_CREATE reached no client"):
            running.dispatch("GUILD_CREATE", {"id": "77", "name": "new"})

        assert running.server.world is world
        assert running.dispatch("GUILD_CREATE", {"id": "77", "name": "new"}, allow_none=True) == 0
        assert running.server.world.guild("77") is not None


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
        ("GET", "/gateway", "those that match arrived before the end of an earlier wait: gateway"),
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
    assert first.endswith("was received in 0 s; received requests:")
    assert lines[:3] == [
        "  GET /api/v10/gateway (200), waited for before",
        "  GET /api/v10/channels/2000 (401)",
        "  GET /api/v10/users/@me (401)",
    ]
    assert lines[3:] == [] if hint is None else lines[3].startswith(hint)


def test_timeout_without_requests_reports_none(running: RunningGateway) -> None:
    with pytest.raises(AssertionError, match=r"received in 0 s; there was no request$"):
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
    """Run a client in the same loop as the waits."""
    async with open_gateway(client_config(running)) as gateway:
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
    asyncio.run(asyncio.wait_for(_use(running, gateway_asyncio.open_gateway), PATIENCE))


def test_await_on_trio_does_not_block_the_client(running: RunningGateway) -> None:
    async def main() -> None:
        with trio.fail_after(PATIENCE):
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
